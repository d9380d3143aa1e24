/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which connections and listeners are selected: see select.h. */
#ifndef ACC_SELECT_LIFE_H
#define ACC_SELECT_LIFE_H

#include "connection.h"
#include "select.h"


static __noinline u16 bound_port(void *sk)
{
	u16 port = 0; /* stays when skc_num is gone */

	bpf_probe_read_kernel(&port, sizeof(port), sk + bpf_core_field_offset(struct inet_sock, inet_sport));
	return __builtin_bswap16(port);
}

static __noinline bool place_of(struct sock *sk)
{
	return place_selected(BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum), BPF_CORE_READ(sk, __sk_common.skc_family), bound_port(sk));
}

static __always_inline void read_ends(u8 *laddr, u8 *raddr, struct sock *sk, u32 family)
{
	if (family == AF_INET6) {
		BPF_CORE_READ_INTO((struct in6_addr *)laddr, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)raddr, sk, __sk_common.skc_v6_daddr);
	} else {
		*(u32 *)laddr = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		*(u32 *)raddr = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	}
}

static __noinline bool addrs_of(struct sock *sk, bool peer)
{
	struct addrs a = {.family = BPF_CORE_READ(sk, __sk_common.skc_family), .peer = peer};

	read_ends(a.laddr, a.raddr, sk, a.family);
	return addrs_selected(&a);
}

/* Whether what happens to a listener's connections is. */
static __noinline bool listener_selected(struct sock *sk)
{
	if (selecting & SELECT_SOCKET && !place_of(sk))
		return 0;
	return !(selecting & SELECT_TASK) || is_chosen(inode_of(sk));
}

/* A connection that is queued. */
static __noinline bool queue_selected(struct sock *listener, struct sock *child)
{
	bool yes;

	if (passing)
		return 1;
	if (selecting & SELECT_FAILED)
		return 0;
	yes = listener_selected(listener) && (!(selecting & SELECT_ADDRS) || addrs_of(child, 1));
	if (selecting & SELECT_TASK ? yes : selecting & SELECT_PORT && bound_port(child) != bound_port(listener))
		follow(child, yes);
	return yes;
}

static __noinline bool connected_before_selected(struct sock *sk)
{
	struct ends ends = {.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum), .lport = bound_port(sk)};

	ends.rport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	read_ends(ends.laddr, ends.raddr, sk, BPF_CORE_READ(sk, __sk_common.skc_family));
	return bpf_map_lookup_elem(&connected_before, &ends);
}

/* A connection whose listener is not known any more. last: this is its end. */
static __noinline bool connection_selected(struct sock *sk, bool last)
{
	u64 key = (u64)sk;
	bool yes;
	u8 *of;

	if (passing)
		return 1;
	if (selecting & SELECT_FAILED)
		return 0;
	of = followed_noted ? bpf_map_lookup_elem(&followed, &key) : 0;
	if (of) {
		yes = *of;
		if (last)
			bpf_map_delete_elem(&followed, &key);
		return yes;
	}
	if (selecting & SELECT_TASK)
		return connected_before_selected(sk);
	return (!(selecting & SELECT_SOCKET) || place_of(sk)) && (!(selecting & SELECT_ADDRS) || addrs_of(sk, 1));
}

/* A packet that a listener drops. */
static __noinline bool packet_selected(struct sock *sk, struct sk_buff *skb)
{
	u8 ip[40] __attribute__((aligned(8)));
	struct addrs a = {.family = AF_INET, .peer = 1};

	if (passing)
		return 1;
	if (!listener_selected(sk))
		return 0;
	if (!(selecting & SELECT_ADDRS))
		return 1;
	bpf_probe_read_kernel(ip, sizeof(ip), BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header));
	if (ip[0] >> 4 == 6) {
		a.family = AF_INET6;
		__builtin_memcpy(a.raddr, ip + 8, 16);
		__builtin_memcpy(a.laddr, ip + 24, 16);
	} else {
		*(u32 *)a.raddr = *(u32 *)(ip + 12);
		*(u32 *)a.laddr = *(u32 *)(ip + 16);
	}
	return addrs_selected(&a);
}

/* A queued connection that is lost with its listener. */
static __noinline bool forgotten_selected(struct sock *listener, struct sock *child)
{
	return passing || (listener_selected(listener) && (!(selecting & SELECT_ADDRS) || addrs_of(child, 1)));
}

/* A listener that begins or ends. Of an address, one that listens at all of them is. */
static __noinline bool listening_selected(struct task_struct *task, struct sock *sk)
{
	u8 laddr[16] = {}, raddr[16] = {};
	u64 inode = inode_of(sk);
	u32 family;

	if (passing)
		return 1;
	if (selecting & SELECT_SOCKET && !place_of(sk))
		return 0;
	if (selecting & SELECT_LADDR) {
		family = BPF_CORE_READ(sk, __sk_common.skc_family);
		read_ends(laddr, raddr, sk, family);
		if ((*(u64 *)laddr || *(u64 *)(laddr + 8)) && !(networks_of(family, laddr) & SELECT_LADDR))
			return 0;
	}
	if (!(selecting & SELECT_TASK) || is_chosen(inode))
		return 1;
	if (!task_selected(task, 1))
		return 0;
	choose(inode);
	return 1;
}

#endif
