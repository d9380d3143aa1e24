/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets that a listener refuses because one of its queues is full. */
#ifndef ACC_DROP_H
#define ACC_DROP_H

#include "select_life.h"

/* Reads whose packet it was. The child is of the listener's family, whatever the packet's. */
static __noinline void read_packet(struct life_event *e, struct sk_buff *skb)
{
	u8 ip[40] __attribute__((aligned(8)));
	u16 ports[2] = {};
	void *head = BPF_CORE_READ(skb, head);

	bpf_probe_read_kernel(ip, sizeof(ip), head + BPF_CORE_READ(skb, network_header));
	bpf_probe_read_kernel(ports, sizeof(ports), head + BPF_CORE_READ(skb, transport_header));
	e->rport = __builtin_bswap16(ports[0]);
	e->lport = __builtin_bswap16(ports[1]);
	if (ip[0] >> 4 == 6) {
		__builtin_memcpy(e->raddr, ip + 8, 16);
		__builtin_memcpy(e->laddr, ip + 24, 16);
	} else if (e->family == AF_INET6) {
		*(u16 *)(e->raddr + 10) = 0xffff;
		*(u16 *)(e->laddr + 10) = 0xffff;
		*(u32 *)(e->raddr + 12) = *(u32 *)(ip + 12);
		*(u32 *)(e->laddr + 12) = *(u32 *)(ip + 16);
	} else {
		*(u32 *)e->raddr = *(u32 *)(ip + 12);
		*(u32 *)e->laddr = *(u32 *)(ip + 16);
	}
}

static __noinline void tell_drop(u32 probe, struct sock *sk, struct sk_buff *skb, u8 cause)
{
	struct life_event *e;

	if (selecting && !packet_selected(sk, skb)) {
		count_filtered(probe == PROBE_SYN_RECV ? PROBE_SYN_RECV : PROBE_CONN_REQUEST);
		return;
	}
	if (probe == PROBE_SYN_RECV)
		e = reserve_life(PROBE_SYN_RECV, DROP, HOOK_SYN_RECV);
	else
		e = reserve_life(PROBE_CONN_REQUEST, DROP, HOOK_CONN_REQUEST);
	if (!e)
		return;
	e->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	e->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	READ_TWO(&e->type, (void *)sk, sk_type, sk_protocol);
	e->state = probe == PROBE_SYN_RECV ? TCP_NEW_SYN_RECV : 0;
	e->cause = cause;
	e->mark = cause == CAUSE_SYN_QUEUE_FULL ? MARK_SYN_QUEUE : 0;
	read_listening(0, e, (struct tcp_sock *)sk);
	read_packet(e, skb);
	bpf_ringbuf_submit(e, 0);
}

/* A SYN for a connection in TIME-WAIT ends that, and passes by the limit of the SYN queue from 6.10 on. */
static __always_inline bool was_waiting(struct sk_buff *skb)
{
	u64 *pending = this_cpu()->pending;
	u32 these = 0;

	if (!pending[AWOKEN_NS] || bpf_ktime_get_boot_ns() - pending[AWOKEN_NS] > 1000000000)
		return 0;
	bpf_probe_read_kernel(&these, sizeof(these), BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header));
	return pending[AWOKEN] == these;
}

SEC("fentry/inet_twsk_deschedule_put")
int fentry_twsk_deschedule(u64 *ctx)
{
	struct inet_timewait_sock *tw = (struct inet_timewait_sock *)ctx[0];
	u64 *pending = this_cpu()->pending;

	pending[AWOKEN] = tw->__tw_common.skc_dport | (u32)__builtin_bswap16(tw->__tw_common.skc_num) << 16; /* as in the packet */
	pending[AWOKEN_NS] = bpf_ktime_get_boot_ns();
	return 0;
}

/* Reads the length of an accept queue and its limit. */
static __always_inline void read_limits(bool typed, u32 *queue, struct sock *sk)
{
#ifdef ACC_MODERN
	if (typed) {
		queue[0] = sk->sk_ack_backlog;
		queue[1] = sk->sk_max_ack_backlog;
		return;
	}
#endif
	READ_TWO(&queue[0], (void *)sk, sk_ack_backlog, sk_max_ack_backlog);
}

/* Whether a listener's SYN queue is full. limit: how many handshakes it takes. */
static __always_inline bool requests_full(bool typed, struct sock *sk, u32 limit)
{
	struct tcp_sock *listener = as_tcp(typed, sk);

	return listener && (u32)GET(typed, (struct inet_connection_sock *)listener, icsk_accept_queue.qlen.counter) + full_at_limit > limit;
}

/* Decides as the kernel is about to. */
static __always_inline int conn_request(bool typed, struct sock *sk, struct sk_buff *skb)
{
	u32 queue[2] = {};

	read_limits(typed, queue, sk);
	if (!SETTING(typed, sk, sysctl_tcp_syncookies) && requests_full(typed, sk, queue[1]) && !was_waiting(skb))
		tell_drop(PROBE_CONN_REQUEST, sk, skb, CAUSE_SYN_QUEUE_FULL);
	else if (queue[0] > queue[1])
		tell_drop(PROBE_CONN_REQUEST, sk, skb, CAUSE_ACCEPT_QUEUE_FULL);
	return 0;
}

/* Notes what the packet is that is about to complete a request whose bare ACK was left aside (TCP_DEFER_ACCEPT). */
static __noinline void note_deferred(struct sk_buff *skb, void *req)
{
	struct tcp_skb_cb *cb = (void *)skb + bpf_core_field_offset(struct sk_buff, cb);
	u64 *pending = this_cpu()->pending;
	u8 flags = 0;

	pending[DEFERRED] = (u64)req;
	pending[DEFERRED_CAUSE] = CAUSE_DEFER_DATA;
	bpf_probe_read_kernel(&flags, sizeof(flags), BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header) + 13);
	flags &= 1; /* FIN */
	if (BPF_CORE_READ(cb, end_seq) - BPF_CORE_READ(cb, seq) == flags)
		pending[DEFERRED_CAUSE] = flags ? CAUSE_DEFER_CLOSED : CAUSE_DEFER_RAN_OUT;
}

/*
 * version: of the packets that the function is for; one for IPv6 hands those of IPv4 on to the other. unhash:
 * the request that is to be taken off the table, 0 of a SYN cookie, which has none there.
 */
static __always_inline int syn_recv(bool typed, struct sock *sk, struct sk_buff *skb, void *req, u64 unhash, u8 version)
{
	struct tcp_sock *listener = as_tcp(typed, sk);
	u8 cause = CAUSE_ACCEPT_QUEUE_FULL;
	u32 queue[2] = {};

	if (!listener)
		return 0;
	if (GET(typed, (struct inet_connection_sock *)listener, icsk_accept_queue.rskq_defer_accept))
		note_deferred(skb, req);
	read_limits(typed, queue, sk);
	if (queue[0] <= queue[1])
		return 0;
	if (version == 6) {
		u8 first = 0;

		bpf_probe_read_kernel(&first, sizeof(first), BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header));
		if (first >> 4 != 6)
			return 0;
	}
	if (!unhash)
		cause = CAUSE_COOKIE_DROPPED;
	else if (SETTING(typed, sk, sysctl_tcp_abort_on_overflow))
		cause = CAUSE_ABORTED;
	tell_drop(PROBE_SYN_RECV, sk, skb, cause);
	return 0;
}

#endif
