/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of TCP connections that come to a listener, as events of their own:
 *
 *   inet_csk_complete_hashdance   the handshake is complete: queued
 *   inet_csk_reqsk_queue_add      the same by a SYN cookie, or with fast open
 *   reuseport_migrate_sock        moved from the queue of a listener that stops to that of another
 *   tcp_done                      ended by a packet or a timer
 *   inet_sock_set_state           ended otherwise
 *   tcp_fin                       the peer is gone before accept
 *   tcp_conn_request              dropped at the SYN, a queue is full
 *   tcp_v4/v6_syn_recv_sock       dropped at the last ACK, the accept queue is full
 *   inet_child_forget             lost from the queue when the listener was closed
 *   inet_csk_listen_start         a listener begins to be one
 *   inet_listen                   it is told to listen again: its queue gets another limit
 *   __inet_listen_sk              the same of MPTCP
 *   inet_csk_listen_stop          it does not listen any more
 *
 * No connection is noted anywhere: which of those that end belong to a listener, place.h tells.
 *
 * A program is not run where it would interrupt itself. All changes of state in
 * softirq that matter go through tcp_done or tcp_fin, and nearly never those of tasks, so
 * that what interrupts inet_sock_set_state is told by another program.
 */
#ifndef ACC_LIFE_H
#define ACC_LIFE_H

#include "place.h"
#include "connected.h"
#include "closing.h"
#include "drop.h"
#include "listener.h"


/*
 * Sockets of connect() to which a SYN came: two that connect to each other at once, or one that connects to
 * itself. Their connection has no listener, and so no accept. Counted by network namespace; 0: there
 * was no room for more of these.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} simultaneous SEC(".maps");

static __noinline int count_simultaneous(struct sock *sk)
{
	u32 netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	u64 zero = 0, *n;

	if (watch & WATCH_ENDING)
		return 0;
	bpf_map_update_elem(&simultaneous, &netns, &zero, BPF_NOEXIST);
	n = bpf_map_lookup_elem(&simultaneous, &netns);
	if (!n) {
		netns = 0;
		bpf_map_update_elem(&simultaneous, &netns, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&simultaneous, &netns);
	}
	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}

/* Why a connection came into a queue by another way than at the end of a handshake. */
static __always_inline u8 cause_of_add(bool typed, struct sock *listener, struct tcp_sock *child, void *req, u64 first, u16 *mark)
{
	u8 cookies;

	if (*mark & MARK_FAST_OPEN)
		return CAUSE_FAST_OPEN;
	if (BPF_CORE_READ((struct request_sock *)req, sk) == (struct sock *)child) /* it was in a queue already */
		return CAUSE_MOVED;
	if (first)
		return CAUSE_UNKNOWN;
	*mark |= MARK_SYN_COOKIE;
	cookies = SETTING(typed, listener, sysctl_tcp_syncookies);
	return cookies == 2 ? CAUSE_COOKIE_ALWAYS : cookies == 1 ? CAUSE_COOKIE_FULL : CAUSE_UNKNOWN;
}

/* What a packet that completed a request at a listener with TCP_DEFER_ACCEPT was, as syn_recv noted. */
static __always_inline u8 cause_of_deferred(void *req)
{
	u64 *pending = this_cpu()->pending;

	return pending[DEFERRED] == (u64)req ? pending[DEFERRED_CAUSE] : CAUSE_UNKNOWN;
}

/*
 * How long a handshake took since the first SYN-ACK, in microseconds; 0: it is not known. The kernel has just measured it
 * for the round-trip time, if the SYN-ACK was sent but once (tcp_synack_rtt_meas); srtt_us has room for nine minutes.
 */
static __always_inline u32 measured_handshake(struct tcp_sock *child, struct request_sock *req)
{
	return req->num_retrans ? 0 : GET(TYPED, child, srtt_us) >> 3;
}

/* The same by the clock. first: when the SYN-ACK was sent, 0 of a SYN cookie. */
static __always_inline u32 timed_handshake(bool typed, void *req, u64 *first)
{
	struct tcp_request_sock *request = as_request(typed, req);

	*first = request ? GET(typed, request, snt_synack) : BPF_CORE_READ((struct tcp_request_sock *)req, snt_synack);
	return *first ? bpf_ktime_get_ns() / 1000 - *first : 0;
}

/* Whether the last ACK came once before. The same bit is set when it was dropped because the accept queue was full. */
static __always_inline bool acked(bool typed, void *req)
{
	struct tcp_request_sock *request = as_request(typed, req);

	return request ? GET_BIT(typed, (struct inet_request_sock *)request, acked) : BPF_CORE_READ_BITFIELD_PROBED((struct inet_request_sock *)req, acked);
}

static __always_inline int queued(bool typed, u32 probe, u8 hook, struct tcp_sock *listener, struct tcp_sock *child, void *req, u64 cookie, u16 mark)
{
	u8 defers = GET(typed, (struct inet_connection_sock *)listener, icsk_accept_queue.rskq_defer_accept);
	struct sock *sk = (struct sock *)listener;
	u64 first = 1; /* when the SYN-ACK was sent, if that is read */
	struct life_event *e;
	u32 took = 0; /* before the event's own time */

	if (typed && hook == HOOK_HASHDANCE && !defers)
		took = measured_handshake(child, req);
	if (!took)
		took = timed_handshake(typed, req, &first);
	if (!GET(typed, (struct sock *)child, sk_max_ack_backlog))
		note_place(NETNS(typed, sk), __builtin_bswap16(GET(typed, (struct inet_sock *)child, inet_sport)));
	if (port_of_connect(typed, child))
		note_steered(child);
	if (selecting && !queue_selected(sk, (struct sock *)child))
		return count_filtered(probe);
	e = reserve_life(probe, QUEUED, hook);
	if (!e)
		return 0;
	tell_connection(typed, e, child, cookie);
	e->state = GET(typed, (struct sock *)child, __sk_common.skc_state);
	read_listening(typed, e, listener);
	if (!(mark & MARK_FAST_OPEN))
		e->handshake_us = took;
	if (hook == HOOK_QUEUE_ADD) {
		e->cause = cause_of_add(typed, sk, child, req, first, &mark);
		e->mark = mark;
		bpf_ringbuf_submit(e, 0);
		return 0;
	}
	e->cause = CAUSE_HANDSHAKE;
	if (defers && acked(typed, req)) {
		mark |= MARK_DEFERRED;
		e->cause = cause_of_deferred(req);
	} else if (GET(typed, (struct request_sock *)req, __req_common.skc_listener) != sk) {
		e->cause = CAUSE_MOVED_HANDSHAKE;
	}
	e->mark = mark;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int hashdance(bool typed, void *sk, void *child, void *req, u64 cookie)
{
	struct tcp_sock *listener = as_tcp(typed, sk), *tp = as_tcp(typed, child);

	if (!adds_settled || adds_inside)
		this_cpu()->pending[COMPLETING] = (u64)child;
	if (!listener || !tp)
		return 0;
	forget_client(child);
	return queued(typed, PROBE_HASHDANCE, HOOK_HASHDANCE, listener, tp, req, cookie, 0);
}

/* Where the compiler did not put this function into the other, it is called by that, too. */
static __always_inline int queue_add(bool typed, void *sk, void *req, void *child, u64 cookie)
{
	struct tcp_sock *listener = as_tcp(typed, sk), *tp = as_tcp(typed, child);
	u64 *slot = &this_cpu()->pending[COMPLETING], before = *slot;
	u16 mark = 0;

	*slot = 0;
	if (before == (u64)child) {
		/* Where the compiler put it inside, it may be an older one at the same address. */
		if (!adds_settled)
			adds_inside = 1;
		if (adds_inside)
			return 0;
	}
	if (!listener || !tp)
		return 0;
	if (moves_told && BPF_CORE_READ((struct request_sock *)req, sk) == child)
		return 0; /* it was in a queue already */
	forget_client(child);
	if (GET(typed, tp, fastopen_rsk))
		mark = MARK_FAST_OPEN;
	return queued(typed, PROBE_QUEUE_ADD, HOOK_QUEUE_ADD, listener, tp, req, cookie, mark);
}

/* A connection in the queue of a listener that stops is about to be put into that of another one. Of a request, its
 * handshake's end tells. */
static __always_inline int migrated(struct sock *sk, struct sock *child)
{
	struct tcp_sock *listener, *tp;
	struct life_event *e;

	if (!sk || child->__sk_common.skc_state == TCP_NEW_SYN_RECV)
		return 0;
	listener = as_tcp(TYPED, sk);
	tp = as_tcp(TYPED, child);
	if (!listener || !tp)
		return 0;
	if (selecting && !queue_selected(sk, child))
		return count_filtered(PROBE_MIGRATE);
	e = reserve_life(PROBE_MIGRATE, QUEUED, HOOK_MIGRATE_SOCK);
	if (!e)
		return 0;
	tell_connection(TYPED, e, tp, cookie_of(child));
	e->state = child->__sk_common.skc_state;
	read_listening(TYPED, e, listener);
	e->cause = CAUSE_MOVED;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int child_forget(void *sk, void *child, u64 cookie)
{
	struct life_event *e;

	if (selecting && !forgotten_selected(sk, child))
		return count_filtered(PROBE_CHILD_FORGET);
	e = reserve_life(PROBE_CHILD_FORGET, DROP, HOOK_CHILD_FORGET);
	if (!e)
		return 0;
	read_connection(e, child, cookie);
	read_listening(0, e, sk);
	if (e->proto == IPPROTO_TCP) /* of MPTCP, another socket says it */
		e->cause = cause_of_loss(sk);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Reads the totals of a connection that ends, and what of them are FINs. */
static __always_inline void read_totals(bool typed, struct life_event *e, struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	u32 rtt = GET(typed, tp, rtt_min.s[0].v);
	u32 unread = GET(typed, tp, rcv_nxt) - GET(typed, tp, copied_seq); /* close() leaves it as it was */
	u32 unacked = GET(typed, tp, write_seq) - GET(typed, tp, snd_una); /* the server's FIN is one of them */
	bool fin = GET(typed, sk, __sk_common.skc_flags) & 1 << SOCK_DONE;
	struct closer_key key = closer_key(sk);

	e->sock_err = GET(typed, sk, sk_err);
	e->shutdown = GET(typed, sk, sk_shutdown);
	if (fin) {
		e->shutdown |= SHUT_FIN_CAME;
		e->fin_us = closed_ago(&key, CLIENT_CLOSED, e->boot_ns);
	}
	e->bytes_in = GET(typed, tp, bytes_received);
	e->shutdown |= SHUT_READ_KNOWN;
	if (unread > fin)
		e->shutdown |= SHUT_UNREAD;
	if (unread == (u32)e->bytes_in || e->bytes_in == fin) /* a FIN is read, too, when the program is told of it */
		e->shutdown |= SHUT_NOTHING_READ;
	switch (e->old_state) {
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		e->closing_us = closed_ago(&key, SERVER_CLOSED, e->boot_ns);
		if (!unacked)
			e->shutdown |= SHUT_FIN_ACKED;
		else
			unacked--;
	}
	if (unacked)
		e->shutdown |= SHUT_UNACKED;
	e->bytes_out = GET(typed, tp, bytes_acked);
	e->segs_in = GET(typed, tp, segs_in);
	e->segs_out = GET(typed, tp, segs_out);
	e->retransmits = GET(typed, tp, total_retrans);
	e->srtt_us = GET(typed, tp, srtt_us) >> 3;
	e->min_rtt_us = rtt == ~0U ? 0 : rtt;
}

/* Gives a socket that may be accepted as TCP's if a listener made it, and it has not connected itself since; else NULL. */
static __always_inline struct tcp_sock *made_by_listener(struct sock *sk)
{
	struct tcp_sock *tp;

	if (!TYPED && sk->sk_protocol != IPPROTO_TCP)
		return 0;
	tp = as_tcp(TYPED, sk); /* not MPTCP's: its subflow has the same event */
	return !tp || is_client(sk) || connected_itself(tp) ? 0 : tp;
}

/* As may_be_accepted, of a socket that may have given its port back. */
static __always_inline bool had_listener(struct sock *sk, struct tcp_sock *tp)
{
	return sk->sk_max_ack_backlog || is_place(sk, __builtin_bswap16(GET(TYPED, (struct inet_sock *)tp, inet_sport)));
}

static __always_inline int ended(struct sock *sk, struct tcp_sock *tp, u32 probe, u8 hook, u8 old)
{
	struct life_event *e;
	u64 cookie = with_cookies ? known_cookie(sk) : 0;

	if (selecting && !connection_selected(sk, 1))
		return count_filtered(probe);
	e = reserve_life(probe, CLOSED, hook);
	if (!e)
		return 0;
	tell_connection(TYPED, e, tp, cookie);
	e->state = TCP_CLOSE;
	e->old_state = old;
	e->backlog_max = sk->sk_max_ack_backlog;
	read_totals(TYPED, e, tp);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int gone(struct sock *sk, u32 probe, u8 hook, u8 old)
{
	struct life_event *e;
	u64 cookie;

	if (bpf_core_field_exists(struct tcp_sock, is_mptcp) && BPF_CORE_READ((struct tcp_sock *)sk, is_mptcp))
		return 0; /* a subflow has no file of its own */
	cookie = with_cookies ? cookie_of(sk) : 0;
	if (selecting && !connection_selected(sk, 0))
		return count_filtered(probe);
	e = reserve_life(probe, STATE, hook);
	if (!e)
		return 0;
	read_connection(e, sk, cookie);
	e->state = TCP_CLOSE_WAIT;
	e->old_state = old;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("fentry/tcp_done")
int fentry_tcp_done(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u8 old = sk->__sk_common.skc_state;
	struct tcp_sock *tp;

	if (old == TCP_CLOSE || old == TCP_LISTEN || old == TCP_SYN_SENT || !may_be_accepted(sk))
		return 0;
	tp = made_by_listener(sk);
	if (!tp && (!sk->sk_max_ack_backlog || is_client(sk)))
		return 0;
	this_cpu()->pending[ENDING] = (u64)sk;
	*ending_of(sk) = (u64)sk;
	if (!tp)
		return 0; /* it connected itself, which can't be told any more when its state changes */
	return ended(sk, tp, PROBE_DONE, HOOK_TCP_DONE, old);
}

SEC("fentry/tcp_fin")
int fentry_tcp_fin(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u8 old = sk->__sk_common.skc_state;

	if ((old != TCP_ESTABLISHED && old != TCP_SYN_RECV) || !may_be_accepted(sk))
		return 0;
	note_closing(sk, CLIENT_CLOSED);
	if (sk->sk_socket || !made_by_listener(sk))
		return 0; /* a program that has it sees that */
	return gone(sk, PROBE_FIN, HOOK_TCP_FIN, old);
}

/* Whether a change of state may tell something: most of those of a connection do not. */
static __always_inline bool telling(struct sock *sk, u32 old, u32 new)
{
	if (new == TCP_CLOSE)
		return 1;
	if (new == TCP_FIN_WAIT1 || new == TCP_LAST_ACK || (new == TCP_CLOSE_WAIT && !with_fins))
		return perhaps_accepted(sk);
	if (new == TCP_SYN_SENT)
		return sk->sk_max_ack_backlog;
	return new == TCP_SYN_RECV && old == TCP_SYN_SENT;
}

/* Whether fentry_tcp_done has told of a connection's end, to which this change of state belongs. */
static __always_inline bool end_is_told(struct sock *sk)
{
	u64 *last = &this_cpu()->pending[ENDING], *place = ending_of(sk);
	bool told = 0;

	if (*last == (u64)sk) {
		*last = 0;
		told = 1;
	}
	if (*place == (u64)sk) {
		*place = 0;
		told = 1;
	}
	return told;
}

static __noinline int state_changed(struct sock *sk, u32 old, u32 new)
{
	struct tcp_sock *tp;

	if (new == TCP_FIN_WAIT1 || new == TCP_LAST_ACK) {
		if (may_be_accepted(sk))
			note_closing(sk, SERVER_CLOSED);
		return 0;
	}
	if (new == TCP_CLOSE_WAIT) {
		if (!may_be_accepted(sk))
			return 0;
		note_closing(sk, CLIENT_CLOSED);
		if (sk->sk_socket || !made_by_listener(sk))
			return 0;
		return gone(sk, PROBE_STATE, HOOK_SET_STATE, old);
	}
	if (new == TCP_SYN_RECV)
		return sk->sk_protocol == IPPROTO_TCP ? count_simultaneous(sk) : 0;
	if (new == TCP_SYN_SENT) {
		note_client(sk);
		return 0;
	}
	if (forget_client(sk) || old == TCP_LISTEN || old == TCP_SYN_SENT || old == TCP_CLOSE)
		return 0;
	if (sk->sk_max_ack_backlog && end_is_told(sk))
		return 0;
	if (!TYPED && sk->sk_protocol != IPPROTO_TCP)
		return 0;
	tp = as_tcp(TYPED, sk);
	if (!tp || !had_listener(sk, tp) || end_is_told(sk))
		return 0;
	if (is_client(sk) || connected_itself(tp))
		return 0;
	return ended(sk, tp, PROBE_CLOSED, HOOK_SET_STATE, old);
}

/* Small, so that most of its runs save no registers. */
SEC("tp_btf/inet_sock_set_state")
int tp_inet_sock_set_state(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];

	return telling(sk, ctx[1], ctx[2]) ? state_changed(sk, ctx[1], ctx[2]) : 0;
}

SEC("fentry/inet_csk_complete_hashdance")
int fentry_hashdance(u64 *ctx)
{
	if (!(u8)ctx[3])
		return 0; /* another packet had been faster */
	return hashdance(TYPED, (void *)ctx[0], (void *)ctx[1], (void *)ctx[2], cookie_of((void *)ctx[1]));
}

SEC("fentry/inet_csk_reqsk_queue_add")
int fentry_queue_add(u64 *ctx)
{
	return queue_add(TYPED, (void *)ctx[0], (void *)ctx[1], (void *)ctx[2], cookie_of((void *)ctx[2]));
}

SEC("fentry/tcp_conn_request")
int fentry_conn_request(u64 *ctx)
{
	return conn_request(TYPED, (struct sock *)ctx[2], (struct sk_buff *)ctx[3]);
}

SEC("fentry/tcp_v4_syn_recv_sock")
int fentry_v4_syn_recv(u64 *ctx)
{
	return syn_recv(TYPED, (struct sock *)ctx[0], (struct sk_buff *)ctx[1], (void *)ctx[2], ctx[4], 4);
}

SEC("fentry/tcp_v6_syn_recv_sock")
int fentry_v6_syn_recv(u64 *ctx)
{
	return syn_recv(TYPED, (struct sock *)ctx[0], (struct sk_buff *)ctx[1], (void *)ctx[2], ctx[4], 6);
}

SEC("fentry/inet_child_forget")
int fentry_child_forget(u64 *ctx)
{
	return child_forget((void *)ctx[0], (void *)ctx[2], cookie_of((void *)ctx[2]));
}

SEC("fexit/reuseport_migrate_sock")
int fexit_migrate_sock(u64 *ctx)
{
	return migrated((struct sock *)ctx[3], (struct sock *)ctx[1]);
}

/* Where the kernel has no trampolines. There are no cookies for these. */

SEC("kprobe/inet_csk_complete_hashdance")
int kprobe_hashdance(struct pt_regs *ctx)
{
	if (!(u8)PT_REGS_PARM4(ctx))
		return 0;
	return hashdance(0, (void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM2(ctx), (void *)PT_REGS_PARM3(ctx), 0);
}

SEC("kprobe/inet_csk_reqsk_queue_add")
int kprobe_queue_add(struct pt_regs *ctx)
{
	return queue_add(0, (void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM2(ctx), (void *)PT_REGS_PARM3(ctx), 0);
}

SEC("kprobe/tcp_conn_request")
int kprobe_conn_request(struct pt_regs *ctx)
{
	return conn_request(0, (struct sock *)PT_REGS_PARM3(ctx), (struct sk_buff *)PT_REGS_PARM4(ctx));
}

SEC("kprobe/tcp_v4_syn_recv_sock")
int kprobe_v4_syn_recv(struct pt_regs *ctx)
{
	return syn_recv(0, (struct sock *)PT_REGS_PARM1(ctx), (struct sk_buff *)PT_REGS_PARM2(ctx), (void *)PT_REGS_PARM3(ctx), PT_REGS_PARM5(ctx), 4);
}

SEC("kprobe/tcp_v6_syn_recv_sock")
int kprobe_v6_syn_recv(struct pt_regs *ctx)
{
	return syn_recv(0, (struct sock *)PT_REGS_PARM1(ctx), (struct sk_buff *)PT_REGS_PARM2(ctx), (void *)PT_REGS_PARM3(ctx), PT_REGS_PARM5(ctx), 6);
}

SEC("kprobe/inet_child_forget")
int kprobe_child_forget(struct pt_regs *ctx)
{
	return child_forget((void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM3(ctx), 0);
}

#endif
