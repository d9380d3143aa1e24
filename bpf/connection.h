/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The record of an event of a connection's life, and what it is read from. */
#ifndef ACC_CONNECTION_H
#define ACC_CONNECTION_H

#include "attempt.h"

enum {
	TCP_ESTABLISHED = 1, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSE_WAIT = 8, TCP_LAST_ACK, TCP_LISTEN, TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};
#define SHUTDOWN_MASK 3 /* both directions, as close() of a listener leaves it */
/* Beside sk_shutdown's own. What the program read of what came is told since there is SHUT_READ_KNOWN. */
enum { SHUT_FIN_CAME = 4, SHUT_FIN_ACKED = 8, SHUT_READ_KNOWN = 16, SHUT_UNREAD = 32, SHUT_NOTHING_READ = 64, SHUT_UNACKED = 128 };

/* A ring record of its own size. */
struct life_event {
	u64 boot_ns;
	u64 cpu_seq;
	u64 inode; /* of the connection, 0 if no file has it */
	u64 cookie;
	u64 bytes_in;
	u64 bytes_out;
	u64 closing_us; /* since the server closed its side, 0 not known */
	u64 fin_us;     /* since the client's FIN came */
	u8 raddr[16];
	u32 cpu;
	u32 syn_queue;
	u32 handshake_us;
	u32 segs_in;
	u32 segs_out;
	u32 retransmits;
	u32 srtt_us;
	u32 min_rtt_us;
	u16 rport; /* host order */
	u16 sock_err;
	u32 backlog;
	u32 backlog_max; /* from here on what mostly stays the same */
	u32 netns;
	u64 listener; /* inode number */
	u8 laddr[16];
	u16 mark;
	u16 family;
	u16 type;
	u16 proto;
	u16 lport; /* host order */
	u8 kind;
	u8 hook;
	u8 state;
	u8 old_state;
	u8 shutdown;
	u8 cause;
};

_Static_assert(offsetof(struct life_event, backlog_max) == offsetof(struct life_event, backlog) + 4, "both are read at once");

const struct life_event *unused_life_event __attribute__((unused)); /* keeps the type in BTF for Go */

#ifdef ACC_MODERN
#define cookie_of(sk) bpf_get_socket_cookie(sk)
#else
#define cookie_of(sk) 0
#endif

/* Counts a hit and makes room for its event; NULL: the ring is full. */
static __always_inline struct life_event *reserve_life(u32 probe, u8 kind, u8 hook)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct per_cpu *c = of_cpu(cpu);
	struct life_event *e;
	u64 seq;

	if (watch & WATCH_ENDING)
		return 0;
	seq = add_one(&c->hits[probe]);
	e = shedding & SHED_LIFE ? 0 : bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&c->lost[probe], 1);
		if (shedding & SHED_LIFE)
			__sync_fetch_and_add(&c->shed, 1);
		return 0;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->boot_ns = bpf_ktime_get_boot_ns();
	e->cpu_seq = seq;
	e->cpu = cpu;
	e->kind = kind;
	e->hook = hook;
	return e;
}

/* Reads the network namespace's setting that a condition of the kernel's depends on. */
#define SETTING(typed, sk, name)                                                                                 \
	((typed) ? (sk)->__sk_common.skc_net.net->ipv4.name : BPF_CORE_READ(sk, __sk_common.skc_net.net, ipv4.name))

#define NETNS(typed, sk) ((typed) ? (sk)->__sk_common.skc_net.net->ns.inum : BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum))

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
 * What follows reads by plain loads where the type is known to the verifier, as keep.h
 * does. A program gets it from what the function is given, by bpf_skc_to_tcp_sock.
 */
#define GET(typed, p, field) ((typed) ? (p)->field : BPF_CORE_READ(p, field))
#define GET_BIT(typed, p, field) ((typed) ? BPF_CORE_READ_BITFIELD(p, field) : BPF_CORE_READ_BITFIELD_PROBED(p, field))
#define TYPED 1

static __always_inline u64 typed_inode(struct sock *sk)
{
	struct socket *sock = sk->sk_socket;

	return sock ? sock->file->f_inode->i_ino : 0;
}

/* As read_connection, but for the state. A load takes six instructions and more: what lies together is read at once. */
static __always_inline void typed_connection(struct life_event *e, struct tcp_sock *tp, u64 cookie)
{
	struct sock *sk = (struct sock *)tp;
	u64 *laddr = (u64 *)&sk->__sk_common.skc_v6_rcv_saddr, *raddr = (u64 *)&sk->__sk_common.skc_v6_daddr;
	u32 ports = sk->__sk_common.skc_portpair;

	e->family = sk->__sk_common.skc_family;
	e->type = SOCK_STREAM;
	e->proto = IPPROTO_TCP; /* else as_tcp gives none */
	if (e->family == AF_INET6) {
		*(u64 *)e->laddr = laddr[0];
		*(u64 *)(e->laddr + 8) = laddr[1];
		*(u64 *)e->raddr = raddr[0];
		*(u64 *)(e->raddr + 8) = raddr[1];
	} else {
		u64 addrs = sk->__sk_common.skc_addrpair;

		*(u32 *)e->raddr = addrs;
		*(u32 *)e->laddr = addrs >> 32;
	}
	e->rport = __builtin_bswap16(ports);
	e->lport = ports >> 16;
	if (!e->lport) /* it has given it back */
		e->lport = __builtin_bswap16(((struct inet_sock *)tp)->inet_sport);
	e->netns = sk->__sk_common.skc_net.net->ns.inum;
	if (e->kind != QUEUED) /* else no file has it yet */
		e->inode = typed_inode(sk);
	e->cookie = cookie;
	if (bpf_core_field_exists(struct tcp_sock, is_mptcp) && tp->is_mptcp) {
		e->proto = IPPROTO_MPTCP;
		e->cookie = 0;
	}
}
#else
#define GET(typed, p, field) BPF_CORE_READ(p, field)
#define GET_BIT(typed, p, field) BPF_CORE_READ_BITFIELD_PROBED(p, field)
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

/* The same for a request of a connection; NULL too if the listener has another protocol than TCP's own above it. */
static __always_inline struct tcp_request_sock *as_request(bool typed, void *req)
{
#ifdef ACC_MODERN
	if (typed)
		return bpf_skc_to_tcp_request_sock(req);
#endif
	return 0;
}

/* The cookie of a connection that mostly has one. */
static __always_inline u64 known_cookie(struct sock *sk)
{
#ifdef ACC_MODERN
	u64 cookie = sk->__sk_common.skc_cookie.counter;

	return cookie ? cookie : cookie_of(sk);
#else
	return 0;
#endif
}

/* Reads whose connection an event is of, but for its state. */
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

#endif
