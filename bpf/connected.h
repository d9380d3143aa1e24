/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sockets that listened, and connected before the recording began: they have the limit of a queue as those have that a
 * listener made (place.h), and nothing was noted of them.
 *
 * A port that a program chose is locked to its socket (SOCK_BINDPORT_LOCK); sk_clone_lock takes that off what a listener
 * makes. A port that connect() chose is in a bucket that bind() can't share (fastreuse is -1); what a listener makes is
 * in the listener's, or, steered from another port, in that port's, which connect() may have chosen for somebody else:
 * such ones are noted when they are queued. The bucket is given back before inet_sock_set_state tells of a socket that
 * its own program resets.
 */
#ifndef ACC_CONNECTED_H
#define ACC_CONNECTED_H

#include "connection.h"
#include "place.h"

#define SOCK_BINDPORT_LOCK 8

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, u64);
	__type(value, u8);
} steered SEC(".maps");

volatile u32 steered_noted = 0; /* there has been one */

/* Whether connect() chose the port of a socket, or of another one that shares it. */
static __always_inline bool port_of_connect(bool typed, struct tcp_sock *tp)
{
	struct inet_bind_bucket *port = GET(typed, (struct inet_connection_sock *)tp, icsk_bind_hash);

	return port && (s32)(signed char)GET(typed, port, fastreuse) < 0;
}

/* Notes a connection that a listener got from such a port. */
static __noinline void note_steered(struct tcp_sock *tp)
{
	u64 key = (u64)tp;
	u8 one = 1;

	bpf_map_update_elem(&steered, &key, &one, BPF_ANY);
	steered_noted = 1;
}

static __always_inline bool connected_itself(struct tcp_sock *tp)
{
	u64 key = (u64)tp;

	if (GET_BIT(TYPED, (struct sock *)tp, sk_userlocks) & SOCK_BINDPORT_LOCK)
		return 1;
	return port_of_connect(TYPED, tp) && (!steered_noted || !bpf_map_lookup_elem(&steered, &key));
}

#endif
