/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of TCP connections that come to a listener, as events of their own:
 *
 *   inet_csk_complete_hashdance   the handshake is complete: queued
 *   inet_csk_reqsk_queue_add      the same by a SYN cookie, or with fast open
 *   tcp_done                      ended by a packet or a timer
 *   inet_sock_set_state           ended otherwise
 *   tcp_fin                       the peer is gone before accept
 *   tcp_conn_request              dropped at the SYN, a queue is full
 *   tcp_v4/v6_syn_recv_sock       dropped at the last ACK, the accept queue is full
 *   inet_child_forget             lost from the queue when the listener was closed
 *   inet_csk_listen_start         a listener begins to be one
 *
 * No connection is noted anywhere: which of those that end belong to a listener is
 * told by the port that they are on.
 *
 * A program is not run where it would interrupt itself. All changes of state in
 * softirq that matter go through tcp_done or tcp_fin, and nearly never those of tasks, so
 * that what interrupts inet_sock_set_state is told by another program.
 */
#ifndef ACC_LIFE_H
#define ACC_LIFE_H

enum { QUEUED = 3, CLOSED, DROP, STATE, LISTEN };
enum {
	HOOK_HASHDANCE = 8, HOOK_QUEUE_ADD, HOOK_SET_STATE, HOOK_CONN_REQUEST, HOOK_SYN_RECV, HOOK_CHILD_FORGET, HOOK_LISTEN_START,
	HOOK_TCP_DONE, HOOK_TCP_FIN,
};
enum {
	TCP_ESTABLISHED = 1, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSE_WAIT = 8, TCP_LAST_ACK, TCP_LISTEN, TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};
enum { SHUT_FIN_CAME = 4, SHUT_FIN_ACKED = 8 }; /* beside sk_shutdown's own */
#define IPPROTO_TCP 6

/* A ring record of its own size. */
struct life_event {
	u64 boot_ns;
	u64 cpu_seq;
	u64 listener; /* inode number */
	u64 inode;    /* of the connection, 0 if no file has it */
	u64 cookie;
	u64 bytes_in;
	u64 bytes_out;
	u32 netns;
	u32 cpu;
	u32 backlog;
	u32 backlog_max;
	u32 syn_queue;
	u32 handshake_us;
	u32 segs_in;
	u32 segs_out;
	u32 retransmits;
	u32 srtt_us;
	u32 min_rtt_us;
	u16 mark;
	u16 family;
	u16 type;
	u16 proto;
	u16 lport; /* host order */
	u16 rport; /* host order */
	u16 sock_err;
	u8 kind;
	u8 hook;
	u8 state;
	u8 old_state;
	u8 shutdown;
	u8 unused;
	u8 laddr[16];
	u8 raddr[16];
};

const struct life_event *unused_life_event __attribute__((unused)); /* keeps the type in BTF for Go */

/* What is or was listened on: the recorder notes what it finds, the programs what they see. */
struct place {
	u32 netns;
	u16 port;
	u16 unused;
};

const struct place *unused_place __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct place);
	__type(value, u8);
} places SEC(".maps");

/* What a CPU is in the middle of. */
enum {
	COMPLETING, /* the child that completed its handshake and has yet to be queued */
	ENDING,     /* the socket that tcp_done told of and whose state has yet to change */
	AWOKEN,     /* the ports of the connection in TIME-WAIT that was ended last */
	AWOKEN_NS,  /* and when */
	NUM_PENDING,
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NUM_PENDING);
	__type(key, u32);
	__type(value, u64);
} pending SEC(".maps");

static __always_inline u64 *pending_slot(u32 what) { return bpf_map_lookup_elem(&pending, &what); }

#ifdef ACC_MODERN
#define cookie_of(sk) bpf_get_socket_cookie(sk)
#else
#define cookie_of(sk) 0
#endif

/* Counts a hit and makes room for its event; NULL: the ring is full. */
static __always_inline struct life_event *reserve_life(u32 probe, u8 kind, u8 hook)
{
	struct counters *c = counters();
	struct life_event *e;
	u64 seq;

	if (!c)
		return 0;
	seq = add_one(&c->hits[probe]);
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&c->lost[probe], 1);
		return 0;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->boot_ns = bpf_ktime_get_boot_ns();
	e->cpu_seq = seq;
	e->cpu = bpf_get_smp_processor_id();
	e->kind = kind;
	e->hook = hook;
	return e;
}

static __always_inline u64 inode_of(struct sock *sk)
{
	struct socket *sock = BPF_CORE_READ(sk, sk_socket);

	return sock ? BPF_CORE_READ((struct socket_alloc *)sock, vfs_inode.i_ino) : 0;
}

/* Reads which connection it is. */
static __noinline void read_connection(struct life_event *e, void *sk, u64 cookie)
{
	u8 head[SOCK_HEAD] __attribute__((aligned(8)));
	struct net *net;
	u16 port = 0;

	if (bpf_probe_read_kernel(head, sizeof(head), sk))
		return;
	e->family = AT(head, u16, skc_family);
	e->state = AT(head, u8, skc_state);
	READ_TWO(&e->type, sk, sk_type, sk_protocol);
	if (e->family == AF_INET6) {
		__builtin_memcpy(e->laddr, &AT(head, u64, skc_v6_rcv_saddr), 16);
		__builtin_memcpy(e->raddr, &AT(head, u64, skc_v6_daddr), 16);
	} else {
		*(u32 *)e->laddr = AT(head, u32, skc_rcv_saddr);
		*(u32 *)e->raddr = AT(head, u32, skc_daddr);
	}
	e->rport = __builtin_bswap16(AT(head, u16, skc_dport));
	bpf_probe_read_kernel(&port, sizeof(port), sk + bpf_core_field_offset(struct inet_sock, inet_sport));
	e->lport = __builtin_bswap16(port);
	net = AT(head, struct net *, skc_net);
	e->netns = BPF_CORE_READ(net, ns.inum);
	e->inode = inode_of(sk);
	e->cookie = cookie;
	if (bpf_core_field_exists(struct tcp_sock, is_mptcp)) {
		u32 at = bpf_core_field_offset(struct tcp_sock, is_mptcp);
		u8 mptcp = 0;

		BRANCH(at);
		bpf_probe_read_kernel(&mptcp, sizeof(mptcp), sk + at);
		if (mptcp) {
			/* What is accepted is another socket, with a cookie of its own. */
			e->proto = IPPROTO_MPTCP;
			e->cookie = 0;
		}
	}
}

#ifdef ACC_MODERN
/*
 * What follows reads by plain loads where the type is known to the verifier, as typed.h
 * does. A program gets it from what the function is given, by bpf_skc_to_tcp_sock.
 */
#define GET(typed, p, field) ((typed) ? (p)->field : BPF_CORE_READ(p, field))
#define TYPED 1

static __always_inline u64 typed_inode(struct sock *sk)
{
	struct socket *sock = sk->sk_socket;

	return sock ? sock->file->f_inode->i_ino : 0;
}

/* As read_connection. */
static __always_inline void typed_connection(struct life_event *e, struct tcp_sock *tp, u64 cookie)
{
	struct sock *sk = (struct sock *)tp;
	u64 *laddr = (u64 *)&sk->__sk_common.skc_v6_rcv_saddr, *raddr = (u64 *)&sk->__sk_common.skc_v6_daddr;

	e->family = sk->__sk_common.skc_family;
	e->state = sk->__sk_common.skc_state;
	e->type = sk->sk_type;
	e->proto = sk->sk_protocol;
	if (e->family == AF_INET6) {
		*(u64 *)e->laddr = laddr[0];
		*(u64 *)(e->laddr + 8) = laddr[1];
		*(u64 *)e->raddr = raddr[0];
		*(u64 *)(e->raddr + 8) = raddr[1];
	} else {
		*(u32 *)e->laddr = sk->__sk_common.skc_rcv_saddr;
		*(u32 *)e->raddr = sk->__sk_common.skc_daddr;
	}
	e->rport = __builtin_bswap16(sk->__sk_common.skc_dport);
	e->lport = __builtin_bswap16(((struct inet_sock *)tp)->inet_sport);
	e->netns = sk->__sk_common.skc_net.net->ns.inum;
	e->inode = typed_inode(sk);
	e->cookie = cookie;
	if (bpf_core_field_exists(struct tcp_sock, is_mptcp) && tp->is_mptcp) {
		e->proto = IPPROTO_MPTCP;
		e->cookie = 0;
	}
}
#else
#define GET(typed, p, field) BPF_CORE_READ(p, field)
#define TYPED 0
#endif

/* Gives a socket that a trampoline's function is given as TCP's, whose type the
 * verifier knows; NULL if it is not TCP's. Others get it as it is. */
static __always_inline struct tcp_sock *as_tcp(bool typed, void *sk)
{
#ifdef ACC_MODERN
	if (typed)
		return bpf_skc_to_tcp_sock(sk);
#endif
	return sk;
}

/* Reads whose connection an event is of. */
static __always_inline void tell_connection(bool typed, struct life_event *e, struct tcp_sock *tp, u64 cookie)
{
#ifdef ACC_MODERN
	if (typed) {
		typed_connection(e, tp, cookie);
		return;
	}
#endif
	read_connection(e, tp, cookie);
}

/* Reads the listener and its queues. */
static __always_inline void read_listening(bool typed, struct life_event *e, struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;

#ifdef ACC_MODERN
	if (typed) {
		e->backlog = sk->sk_ack_backlog;
		e->backlog_max = sk->sk_max_ack_backlog;
		e->syn_queue = ((struct inet_connection_sock *)tp)->icsk_accept_queue.qlen.counter;
		e->listener = typed_inode(sk);
		return;
	}
#endif
	READ_TWO(&e->backlog, (void *)sk, sk_ack_backlog, sk_max_ack_backlog);
	e->syn_queue = BPF_CORE_READ((struct inet_connection_sock *)sk, icsk_accept_queue.qlen.counter);
	e->listener = inode_of(sk);
}

/* Notes that a place is listened on. */
static __noinline void note_place(u32 netns, u16 port)
{
	struct place p = {.netns = netns, .port = port};
	u8 one = 1;

	if (!bpf_map_lookup_elem(&places, &p))
		bpf_map_update_elem(&places, &p, &one, BPF_ANY);
}

static __always_inline int queued(bool typed, u32 probe, u8 hook, struct tcp_sock *listener, struct tcp_sock *child, void *req, u64 cookie, u16 mark)
{
	u64 first = BPF_CORE_READ((struct tcp_request_sock *)req, snt_synack);
	struct sock *sk = (struct sock *)listener;
	struct life_event *e;
	struct net *net;

	net = GET(typed, sk, __sk_common.skc_net.net);
	note_place(GET(typed, net, ns.inum), GET(typed, sk, __sk_common.skc_num));
	e = reserve_life(probe, QUEUED, hook);
	if (!e)
		return 0;
	tell_connection(typed, e, child, cookie);
	read_listening(typed, e, listener);
	if (first && !(mark & MARK_FAST_OPEN))
		e->handshake_us = bpf_ktime_get_ns() / 1000 - first;
	if (!first && hook == HOOK_QUEUE_ADD && !mark)
		mark = MARK_SYN_COOKIE;
	/* The same bit is set when the last ACK was dropped because the accept queue was full. */
	if (BPF_CORE_READ_BITFIELD_PROBED((struct inet_request_sock *)req, acked) &&
	    GET(typed, (struct inet_connection_sock *)listener, icsk_accept_queue.rskq_defer_accept))
		mark |= MARK_DEFERRED;
	e->mark = mark;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int hashdance(bool typed, void *sk, void *child, void *req, u64 cookie)
{
	struct tcp_sock *listener = as_tcp(typed, sk), *tp = as_tcp(typed, child);
	u64 *slot = pending_slot(COMPLETING);

	if (slot)
		*slot = (u64)child;
	if (!listener || !tp)
		return 0;
	return queued(typed, PROBE_HASHDANCE, HOOK_HASHDANCE, listener, tp, req, cookie, 0);
}

/* Where the compiler did not put this function into the other, it is called by that, too. */
static __always_inline int queue_add(bool typed, void *sk, void *req, void *child, u64 cookie)
{
	struct tcp_sock *listener = as_tcp(typed, sk), *tp = as_tcp(typed, child);
	u64 *slot = pending_slot(COMPLETING);
	u16 mark = 0;

	if (slot) {
		u64 before = *slot;

		*slot = 0;
		if (before == (u64)child) {
			/* Where the compiler put it inside, it may be an older one at the same address. */
			if (!adds_settled)
				adds_inside = 1;
			if (adds_inside)
				return 0;
		}
	}
	if (!listener || !tp)
		return 0;
	if (GET(typed, tp, fastopen_rsk))
		mark = MARK_FAST_OPEN;
	return queued(typed, PROBE_QUEUE_ADD, HOOK_QUEUE_ADD, listener, tp, req, cookie, mark);
}

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

static __noinline void tell_drop(u32 probe, struct sock *sk, struct sk_buff *skb, u16 mark)
{
	struct life_event *e;

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
	e->mark = mark;
	read_listening(0, e, (struct tcp_sock *)sk);
	read_packet(e, skb);
	bpf_ringbuf_submit(e, 0);
}

/* A SYN for a connection in TIME-WAIT ends that, and passes by the limit of the SYN queue from 6.10 on. */
static __always_inline bool was_waiting(struct sk_buff *skb)
{
	u64 *ports = pending_slot(AWOKEN), *ns = pending_slot(AWOKEN_NS);
	u32 these = 0;

	if (!ports || !ns || !*ns || bpf_ktime_get_boot_ns() - *ns > 1000000000)
		return 0;
	bpf_probe_read_kernel(&these, sizeof(these), BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header));
	return *ports == these;
}

SEC("fentry/inet_twsk_deschedule_put")
int fentry_twsk_deschedule(u64 *ctx)
{
	struct inet_timewait_sock *tw = (struct inet_timewait_sock *)ctx[0];
	u64 *ports = pending_slot(AWOKEN), *ns = pending_slot(AWOKEN_NS);

	if (!ports || !ns)
		return 0;
	*ports = tw->__tw_common.skc_dport | (u32)__builtin_bswap16(tw->__tw_common.skc_num) << 16; /* as in the packet */
	*ns = bpf_ktime_get_boot_ns();
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

/* Decides as the kernel is about to. */
static __always_inline int conn_request(bool typed, struct sock *sk, struct sk_buff *skb)
{
	struct tcp_sock *listener = as_tcp(typed, sk);
	u32 queue[2] = {};
	s32 requests;

	if (!listener)
		return 0;
	requests = GET(typed, (struct inet_connection_sock *)listener, icsk_accept_queue.qlen.counter);
	read_limits(typed, queue, sk);
	if ((u32)requests + full_at_limit > queue[1] && !BPF_CORE_READ(sk, __sk_common.skc_net.net, ipv4.sysctl_tcp_syncookies) && !was_waiting(skb))
		tell_drop(PROBE_CONN_REQUEST, sk, skb, MARK_SYN_QUEUE);
	else if (queue[0] > queue[1])
		tell_drop(PROBE_CONN_REQUEST, sk, skb, 0);
	return 0;
}

/* version: of the packets that the function is for; one for IPv6 hands those of IPv4 on to the other. */
static __always_inline int syn_recv(bool typed, struct sock *sk, struct sk_buff *skb, u8 version)
{
	u32 queue[2] = {};

	read_limits(typed, queue, sk);
	if (queue[0] <= queue[1])
		return 0;
	if (version == 6) {
		u8 first = 0;

		bpf_probe_read_kernel(&first, sizeof(first), BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header));
		if (first >> 4 != 6)
			return 0;
	}
	tell_drop(PROBE_SYN_RECV, sk, skb, 0);
	return 0;
}

static __always_inline int child_forget(void *sk, void *child, u64 cookie)
{
	struct life_event *e = reserve_life(PROBE_CHILD_FORGET, DROP, HOOK_CHILD_FORGET);

	if (!e)
		return 0;
	read_connection(e, child, cookie);
	read_listening(0, e, sk);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Reads the totals of a connection that ends, and what of them are FINs. */
static __always_inline void read_totals(bool typed, struct life_event *e, struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	u32 rtt = GET(typed, tp, rtt_min.s[0].v);

	e->sock_err = GET(typed, sk, sk_err);
	e->shutdown = GET(typed, sk, sk_shutdown);
	if (GET(typed, sk, __sk_common.skc_flags) & 1 << SOCK_DONE)
		e->shutdown |= SHUT_FIN_CAME;
	switch (e->old_state) {
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		if (GET(typed, tp, snd_una) == GET(typed, tp, write_seq))
			e->shutdown |= SHUT_FIN_ACKED;
	}
	e->bytes_in = GET(typed, tp, bytes_received);
	e->bytes_out = GET(typed, tp, bytes_acked);
	e->segs_in = GET(typed, tp, segs_in);
	e->segs_out = GET(typed, tp, segs_out);
	e->retransmits = GET(typed, tp, total_retrans);
	e->srtt_us = GET(typed, tp, srtt_us) >> 3;
	e->min_rtt_us = rtt == ~0U ? 0 : rtt;
}

/* Whether a socket is at a place that is listened on. */
static __always_inline bool placed(struct sock *sk)
{
	struct place p = {};

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0; /* MPTCP: its subflow has the same event */
	p.netns = sk->__sk_common.skc_net.net->ns.inum;
	p.port = __builtin_bswap16(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	return bpf_map_lookup_elem(&places, &p) != 0;
}

static __always_inline int ended(struct sock *sk, u32 probe, u8 hook, u8 old)
{
	struct tcp_sock *tp = as_tcp(TYPED, sk);
	struct life_event *e;
	u64 cookie = with_cookies ? cookie_of(sk) : 0;

	if (!tp)
		return 0;
	e = reserve_life(probe, CLOSED, hook);
	if (!e)
		return 0;
	tell_connection(TYPED, e, tp, cookie);
	e->state = TCP_CLOSE;
	e->old_state = old;
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
	u64 *slot;

	if (old == TCP_CLOSE || old == TCP_LISTEN || old == TCP_SYN_SENT || !placed(sk))
		return 0;
	slot = pending_slot(ENDING);
	if (slot)
		*slot = (u64)sk;
	return ended(sk, PROBE_DONE, HOOK_TCP_DONE, old);
}

SEC("fentry/tcp_fin")
int fentry_tcp_fin(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u8 old = sk->__sk_common.skc_state;

	if (sk->sk_socket || (old != TCP_ESTABLISHED && old != TCP_SYN_RECV) || !placed(sk))
		return 0; /* a program that has it sees that */
	return gone(sk, PROBE_FIN, HOOK_TCP_FIN, old);
}

SEC("tp_btf/inet_sock_set_state")
int tp_inet_sock_set_state(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u32 old = ctx[1], new = ctx[2];
	u64 *slot;

	if (new == TCP_CLOSE_WAIT) {
		if (with_fins || sk->sk_socket || !placed(sk))
			return 0;
		return gone(sk, PROBE_STATE, HOOK_SET_STATE, old);
	}
	if (new != TCP_CLOSE || old == TCP_LISTEN || old == TCP_SYN_SENT || old == TCP_CLOSE || !placed(sk))
		return 0;
	slot = pending_slot(ENDING);
	if (slot && *slot == (u64)sk) {
		*slot = 0;
		return 0;
	}
	return ended(sk, PROBE_CLOSED, HOOK_SET_STATE, old);
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
	return syn_recv(TYPED, (struct sock *)ctx[0], (struct sk_buff *)ctx[1], 4);
}

SEC("fentry/tcp_v6_syn_recv_sock")
int fentry_v6_syn_recv(u64 *ctx)
{
	return syn_recv(TYPED, (struct sock *)ctx[0], (struct sk_buff *)ctx[1], 6);
}

SEC("fentry/inet_child_forget")
int fentry_child_forget(u64 *ctx)
{
	return child_forget((void *)ctx[0], (void *)ctx[2], cookie_of((void *)ctx[2]));
}

SEC("fexit/inet_csk_listen_start")
int fexit_listen_start(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct task_struct *task;
	struct event *e;
	u64 seq = 0;

	if (sk->__sk_common.skc_state != TCP_LISTEN || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	task = current_task();
	note_place(sk->__sk_common.skc_net.net->ns.inum, sk->__sk_common.skc_num);
	introduce(task, 0);
	e = reserve(PROBE_LISTEN, &seq, 0);
	if (!e)
		return 0;
	describe(e, task, LISTEN, HOOK_LISTEN_START, seq);
	e->netns = sk->__sk_common.skc_net.net->ns.inum;
	e->sockfd = -1;
	e->flags = 0;
	e->ret = 0;
	e->via = VIA_UNKNOWN;
	__builtin_memset(&e->facts, 0, sizeof(e->facts));
	e->facts.listener = inode_of(sk);
	read_sock(&e->facts, sk, 0);
	read_queue(&e->facts, sk, e->facts.proto);
	bpf_ringbuf_submit(e, 0);
	return 0;
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
	return syn_recv(0, (struct sock *)PT_REGS_PARM1(ctx), (struct sk_buff *)PT_REGS_PARM2(ctx), 4);
}

SEC("kprobe/tcp_v6_syn_recv_sock")
int kprobe_v6_syn_recv(struct pt_regs *ctx)
{
	return syn_recv(0, (struct sock *)PT_REGS_PARM1(ctx), (struct sk_buff *)PT_REGS_PARM2(ctx), 6);
}

SEC("kprobe/inet_child_forget")
int kprobe_child_forget(struct pt_regs *ctx)
{
	return child_forget((void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM3(ctx), 0);
}

#endif
