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
VARIABLE(closings, struct closing[NUM_CLOSINGS][2]);

/* What of a connection tells it apart there. Both stay until it is gone; its own port does not. */
struct closer_key {
	u32 hash;
	u16 dport;
};

static __always_inline struct closer_key closer_key(struct sock *sk)
{
	return (struct closer_key){sk->__sk_common.skc_hash, sk->__sk_common.skc_dport};
}

static __always_inline u64 closing_tag(const struct closer_key *key, u64 ns) { return ((u64)key->hash << 32 | key->dport) ^ ns; }

static __always_inline struct closing *closing_of(const struct closer_key *key, u32 who)
{
	return (struct closing *)ADDRESS(closings) + (key->hash & (NUM_CLOSINGS - 1)) * 2 + who;
}

static __always_inline void note_closing(struct sock *sk, u32 who)
{
	struct closer_key key = closer_key(sk);
	struct closing *c = closing_of(&key, who);

	c->ns = bpf_ktime_get_boot_ns();
	c->tag = closing_tag(&key, c->ns);
}

/* How long ago that was, in microseconds; 0: it is not known. It is forgotten, for the next one with these addresses. */
static __always_inline u64 closed_ago(const struct closer_key *key, u32 who, u64 now)
{
	struct closing *c = closing_of(key, who);
	u64 ns;

	ns = c->ns;
	if (c->tag != closing_tag(key, ns) || ns > now)
		return 0;
	c->tag = 0;
	return (now - ns) / 1000 + 1;
}

/*
 * The sockets that tcp_done told of and whose state has yet to change, at places by their hash. Each CPU has the last one,
 * too (ENDING). That alone is not enough: a packet interrupts a program's thread that ends a connection, and ends another
 * one; and a kernel that preempts may go on on another CPU. Nor is this: on a busy host, two at once have the same place.
 */
#define NUM_ENDINGS 4096
VARIABLE(endings, u64[NUM_ENDINGS]);

static __always_inline u64 *ending_of(struct sock *sk)
{
	return (u64 *)ADDRESS(endings) + (sk->__sk_common.skc_hash & (NUM_ENDINGS - 1));
}

#endif
