/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which connections a listener made. A socket that comes to be by accept's way is a copy of its listener, and so
 * has the limit of the listener's queue, whatever ports they have: sk_lookup programs, TPROXY and bpf_sk_assign
 * bring connections of other ports. Sockets of connect() have none. Of listeners with a limit of 0 the local
 * port tells: places are network namespaces and ports, those of what listens when the recording
 * begins, and of connections that such listeners got.
 */
#ifndef ACC_PLACE_H
#define ACC_PLACE_H

#include "common.h"

struct place {
	u32 netns;
	u16 port;
	u16 unused;
};

const struct place *unused_place __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct place);
	__type(value, u8);
} places SEC(".maps");

/*
 * By port, the network namespace of the place that was noted last, 0: none was, in any. Another one is looked up in places.
 */
VARIABLE(placed_last, u32[65536]);

static __always_inline volatile u32 *placed(u16 port)
{
	u64 at = port;

	asm volatile("%0 &= 0xffff" : "+r"(at)); /* which the verifier does not know of all ports */
	return (volatile u32 *)ADDRESS(placed_last) + at;
}

/* There was no room in places: now a port that was noted in one namespace counts in all. So more is recorded, never less. */
volatile u32 places_full = 0;

/* Notes a place. */
static __noinline void note_place(u32 netns, u16 port)
{
	struct place p = {.netns = netns, .port = port};
	volatile u32 *last = placed(port);
	u8 one = 1;

	if (*last == netns)
		return;
	if (!bpf_map_lookup_elem(&places, &p) && bpf_map_update_elem(&places, &p, &one, BPF_ANY))
		places_full = 1;
	*last = netns;
}

/* Whether a port of the network namespace of sk was noted. */
static __always_inline bool is_place(struct sock *sk, u16 port)
{
	u32 last = *placed(port);
	struct place p = {.port = port};

	if (!last)
		return 0;
	p.netns = sk->__sk_common.skc_net.net->ns.inum;
	return last == p.netns || places_full || bpf_map_lookup_elem(&places, &p);
}

/* Whether a listener can have made a socket that is bound. */
static __always_inline bool may_be_accepted(struct sock *sk)
{
	return sk->sk_max_ack_backlog || is_place(sk, sk->__sk_common.skc_num);
}

/* False only where may_be_accepted is false; without a call. */
static __always_inline bool perhaps_accepted(struct sock *sk)
{
	return sk->sk_max_ack_backlog || *placed(sk->__sk_common.skc_num);
}

/*
 * Sockets of connect() that have a limit, because they listened, or were accepted, before: a client's own
 * connection. Each is forgotten when it ends.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u8);
} clients SEC(".maps");

volatile u32 clients_noted = 0; /* there has been one */

static __noinline void note_client(struct sock *sk)
{
	u64 key = (u64)sk;
	u8 one = 1;

	bpf_map_update_elem(&clients, &key, &one, BPF_ANY);
	clients_noted = 1;
}

static __always_inline bool is_client(void *sk)
{
	u64 key = (u64)sk;

	return clients_noted && bpf_map_lookup_elem(&clients, &key);
}

/* Forgets a socket, whether it is one of these or not. */
static __always_inline bool forget_client(void *sk)
{
	u64 key = (u64)sk;

	return clients_noted && !bpf_map_delete_elem(&clients, &key);
}

#endif
