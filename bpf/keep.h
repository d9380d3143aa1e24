/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The facts of a call's listener and of its new socket as they are kept with the attempt: most are those of the thread's
 * call before. Typed: the verifier knows what a pointer points to, as of what do_accept is given and gives; then a fact is a
 * plain load, of seven instructions (a fault reads zero). Else it is copied first, in a call of the kernel of some fifty.
 * For what is not TCP's or like it, there is sock.h.
 */
#ifndef ACC_KEEP_H
#define ACC_KEEP_H

#include "attempt.h"

#ifdef ACC_MODERN

#define COMMON(type, field) (typed ? (type)sk->__sk_common.field : AT(head, type, field))
#define COMMON_LONGS(field) (typed ? (u64 *)&sk->__sk_common.field : &AT(head, u64, field))

/* Reads a socket of family AF_INET or AF_INET6 into f, which is of a; false: it is none. peer: it is a connection. */
static __always_inline bool keep_sock(const bool typed, struct attempt *a, struct facts *f, struct sock *sk, const bool peer)
{
	u8 head[SOCK_HEAD] __attribute__((aligned(8)));
	u16 family, lport, types[2] = {};
	struct net *net;
	u64 *laddr, *raddr;

	if (!typed && bpf_probe_read_kernel(head, sizeof(head), sk))
		return 0;
	family = COMMON(u16, skc_family);
	if (family != AF_INET && family != AF_INET6)
		return 0;
	if (family != f->family) {
		a->base = 0;
		__builtin_memset(f, 0, sizeof(*f));
		f->family = family;
	}
	if (typed) {
		KEEP(a, f->netns, sk->__sk_common.skc_net.net->ns.inum);
		KEEP(a, f->type, sk->sk_type);
		KEEP(a, f->proto, sk->sk_protocol);
	} else {
		net = AT(head, struct net *, skc_net);
		if (peer && (u64)net == a->net) { /* which the listener holds: another one is not at the same address */
			KEEP(a, f->netns, a->in.netns);
		} else {
			KEEP(a, f->netns, BPF_CORE_READ(net, ns.inum));
		}
		if (!peer)
			a->net = (u64)net;
		READ_TWO(types, (void *)sk, sk_type, sk_protocol);
		KEEP(a, f->type, types[0]);
		KEEP(a, f->proto, types[1]);
	}
	KEEP(a, f->state, COMMON(u8, skc_state));
	lport = COMMON(u16, skc_num);
	if (peer && f->state == TCP_CLOSE) { /* as in read_inet */
		bpf_probe_read_kernel(&lport, sizeof(lport), (void *)sk + bpf_core_field_offset(struct inet_sock, inet_sport));
		lport = __builtin_bswap16(lport);
	}
	KEEP(a, f->lport, lport);
	if (peer) {
		f->cookie = COMMON(u64, skc_cookie.counter);
		f->rport = __builtin_bswap16(COMMON(u16, skc_dport));
	}
	if (family == AF_INET6) {
		laddr = COMMON_LONGS(skc_v6_rcv_saddr);
		KEEP(a, *(u64 *)f->laddr, laddr[0]);
		KEEP(a, *(u64 *)(f->laddr + 8), laddr[1]);
		if (peer) {
			raddr = COMMON_LONGS(skc_v6_daddr);
			*(u64 *)f->raddr = raddr[0];
			*(u64 *)(f->raddr + 8) = raddr[1];
		}
	} else {
		KEEP(a, *(u32 *)f->laddr, COMMON(u32, skc_rcv_saddr));
		if (peer)
			*(u32 *)f->raddr = COMMON(u32, skc_daddr);
	}
	return 1;
}

/* The socket that an open file is, and its inode number; NULL: it is none. sure: it is one, or there is no file. */
static __always_inline struct sock *keep_socket(const bool typed, struct file *file, const bool sure, u64 *ino)
{
	struct socket *sock;
	struct sock *sk = 0;
	void *inode;

	if (typed) {
		sock = bpf_sock_from_file(file);
		if (!sock)
			return 0;
		*ino = file->f_inode->i_ino;
		return sock->sk;
	}
	if (!file)
		return 0;
	sock = BPF_CORE_READ(file, private_data);
	inode = (void *)sock + bpf_core_field_offset(struct socket_alloc, vfs_inode); /* of a socket, in one piece with it */
	if (!sure && (void *)BPF_CORE_READ(file, f_inode) != inode)
		return 0;
	bpf_probe_read_kernel(ino, sizeof(*ino), inode + bpf_core_field_offset(struct inode, i_ino));
	bpf_probe_read_kernel(&sk, sizeof(sk), (void *)sock + bpf_core_field_offset(struct socket, sk));
	return sk;
}

/* Reads the length of a queue and its limit. */
static __always_inline void keep_queue(const bool typed, struct attempt *a, struct facts *f, struct sock *sk)
{
	u32 queue[2] = {};

	if (typed) {
		f->backlog = sk->sk_ack_backlog;
		KEEP(a, f->backlog_max, sk->sk_max_ack_backlog);
		return;
	}
	READ_TWO(queue, (void *)sk, sk_ack_backlog, sk_max_ack_backlog);
	f->backlog = queue[0];
	KEEP(a, f->backlog_max, queue[1]);
}

/* Reads the listener that an open file is, with its queue, into a->in; gives it, NULL if it is no socket. */
static __always_inline void *keep_listener(const bool typed, struct attempt *a, struct file *file)
{
	struct facts *f = &a->in;
	struct sock *sk;
	u64 ino = 0;

	sk = keep_socket(typed, file, 0, &ino);
	if (!sk || !keep_sock(typed, a, f, sk, 0)) {
		a->base = 0;
		a->net = 0;
		__builtin_memset(f, 0, sizeof(*f));
		return read_listener(f, file);
	}
	KEEP(a, f->listener, ino);
	if (f->proto == IPPROTO_MPTCP)
		read_queue(f, sk, IPPROTO_MPTCP);
	else
		keep_queue(typed, a, f, sk);
	return sk;
}

/* Whether keep_new and keep_queue can read what came of a call at its listener. */
static __always_inline bool is_kept(struct attempt *a)
{
	return (a->in.family == AF_INET || a->in.family == AF_INET6) && a->in.proto != IPPROTO_MPTCP;
}

/* Reads the new socket into a->made. */
static __always_inline void keep_new(const bool typed, struct attempt *a, struct file *file)
{
	struct facts *f = &a->made;
	struct sock *sk;
	u64 ino = 0;

	sk = keep_socket(typed, file, 1, &ino);
	if (!sk || !keep_sock(typed, a, f, sk, 1)) {
		a->base = 0;
		*f = a->in;
		read_new(f, file);
		return;
	}
	f->inode = ino;
	KEEP(a, f->listener, a->in.listener);
}

#endif
#endif
