/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * When each side of a connection closed, which its end tells of: the server's close() or shutdown() takes it to FIN-WAIT-1
 * or LAST-ACK, the client's FIN comes to tcp_fin. Both are noted in an array, which takes no call of the kernel, at a place
 * by the hash that the kernel finds the connection by. Where another one has the same place meanwhile, the time is not
 * known.
 */
#ifndef ACC_CLOSING_H
#define ACC_CLOSING_H

#include "connection.h"

enum closer { SERVER_CLOSED, CLIENT_CLOSED };

struct closing {
	u64 ns;
	u64 tag; /* whose it is, and ns once more: two CPUs may write one place at once */
};

#define NUM_CLOSINGS 16384
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * NUM_CLOSINGS);
	__type(key, u32);
	__type(value, struct closing);
} closings SEC(".maps");

/* Both stay until the connection is gone; its own port does not. */
#define CLOSING_TAG(sk, ns) (((u64)(sk)->__sk_common.skc_hash << 32 | (sk)->__sk_common.skc_dport) ^ (ns))

static __always_inline struct closing *closing_of(struct sock *sk, u32 who)
{
	u32 key = (sk->__sk_common.skc_hash & (NUM_CLOSINGS - 1)) << 1 | who;

	return bpf_map_lookup_elem(&closings, &key);
}

static __always_inline void note_closing(struct sock *sk, u32 who)
{
	struct closing *c = closing_of(sk, who);

	if (!c)
		return;
	c->ns = bpf_ktime_get_boot_ns();
	c->tag = CLOSING_TAG(sk, c->ns);
}

/* How long ago that was, in microseconds; 0: it is not known. It is forgotten, for the next one with these addresses. */
static __always_inline u64 closed_ago(struct sock *sk, u32 who, u64 now)
{
	struct closing *c = closing_of(sk, who);
	u64 ns;

	if (!c)
		return 0;
	ns = c->ns;
	if (c->tag != CLOSING_TAG(sk, ns) || ns > now)
		return 0;
	c->tag = 0;
	return (now - ns) / 1000 + 1;
}

#endif
