/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The facts of a call's listener and of its new socket as they are kept with the attempt: most are those of the thread's
 * call before. Typed: the verifier knows what a pointer points to, as of what do_accept is given and gives, or is
 * told so (CAST); then a fact is a plain load, of seven instructions (a fault reads zero). Else it is copied first, in
 * a call of the kernel of some sixty, and seven for each eight bytes. For what is not TCP's or like it, there is sock.h.
 */
#ifndef ACC_KEEP_H
#define ACC_KEEP_H

#include "attempt.h"

#ifdef ACC_MODERN

/* How the facts are read. */
enum reads {
	COPIED,
	TYPED_BY_CAST,
	TYPED_BY_PROBE, /* do_accept's trampolines at both ends of the call: its listener is the same one at both */
};

#define COMMON(type, field) (typed ? (type)sk->__sk_common.field : AT(head, type, field))
#define COMMON_LONGS(field) (typed ? (u64 *)&sk->__sk_common.field : &AT(head, u64, field))

/* Reads what a socket has for life. */
static __always_inline void keep_kind(const enum reads typed, struct attempt *a, struct facts *f, struct sock *sk,
				      u8 *head)
{
	struct net *net;
	u16 types[2] = {};

	if (typed) {
		KEEP(a, f->netns, sk->__sk_common.skc_net.net->ns.inum);
		KEEP(a, f->type, sk->sk_type);
		KEEP(a, f->proto, sk->sk_protocol);
		return;
	}
	net = AT(head, struct net *, skc_net);
	KEEP(a, f->netns, BPF_CORE_READ(net, ns.inum));
	READ_TWO(types, (void *)sk, sk_type, sk_protocol);
	KEEP(a, f->type, types[0]);
	KEEP(a, f->proto, types[1]);
}

/* Whether a new socket is a copy of its listener, but for state, port and addresses: the kernel makes those of TCP so. */
static __always_inline bool is_copy(struct attempt *a) { return a->in.proto == IPPROTO_TCP; }

/* The same of a copy, which has it from its listener. */
static __always_inline void keep_copied(struct attempt *a, struct facts *f)
{
	if (f->listener == a->in.listener && f->proto == IPPROTO_TCP)
		return;
	a->base = 0;
	f->netns = a->in.netns;
	f->type = a->in.type;
	f->proto = IPPROTO_TCP;
}

/* What is read of a listener of IPv4 that is known: whether all of it is in the first SOCK_HEAD_IPV4 bytes. */
#define ENDS_EARLY(type, field) (bpf_core_field_offset(struct sock_common, field) + sizeof(type) <= SOCK_HEAD_IPV4)
static __always_inline bool known_ends_early(void)
{
	return ENDS_EARLY(u32, skc_rcv_saddr) && ENDS_EARLY(u16, skc_num) && ENDS_EARLY(u8, skc_state);
}

/* Copies what is read of a socket by AT. known: the family of a listener whose kind is known, 0: all is read. */
static __always_inline bool copy_head(u8 *head, struct sock *sk, u16 known)
{
	if (known == AF_INET && known_ends_early())
		return !bpf_probe_read_kernel(head, SOCK_HEAD_IPV4, sk);
	return !bpf_probe_read_kernel(head, SOCK_HEAD, sk);
}

/* Reads a socket of family AF_INET or AF_INET6 into f, which is of a; false: it is none. peer: it is a connection.
 * If it is typed by the probe, the listener that gave it is a->in. same: it is the socket that f is of. */
static __always_inline bool keep_sock(const enum reads typed, struct attempt *a, struct facts *f, struct sock *sk,
				      const bool peer, const bool same)
{
	u8 head[SOCK_HEAD] __attribute__((aligned(8)));
	u16 family = same ? f->family : 0, lport;
	u32 ports, local;
	u64 *laddr, *raddr, ends;
	bool copy;

	if (!typed && !copy_head(head, sk, peer ? 0 : family))
		return 0;
	copy = peer && is_copy(a);
	if (!same) {
		family = typed == TYPED_BY_PROBE && copy ? a->in.family : COMMON(u16, skc_family);
		if (!(typed == TYPED_BY_PROBE && copy) && family != AF_INET && family != AF_INET6)
			return 0;
		if (family != f->family) {
			a->base = 0;
			__builtin_memset(f, 0, sizeof(*f));
			f->family = family;
		}
		if (copy && family == a->in.family)
			keep_copied(a, f);
		else
			keep_kind(typed, a, f, sk, head);
	}
	KEEP(a, f->state, COMMON(u8, skc_state));
	if (peer) {
		ports = COMMON(u32, skc_portpair);
		lport = ports >> 16;
		f->rport = __builtin_bswap16(ports);
		f->cookie = COMMON(u64, skc_cookie.counter);
		if (f->state == TCP_CLOSE) { /* as in read_inet */
			u16 port = 0;

			bpf_probe_read_kernel(&port, sizeof(port), (void *)sk + bpf_core_field_offset(struct inet_sock, inet_sport));
			lport = __builtin_bswap16(port);
		}
	} else {
		lport = COMMON(u16, skc_num);
	}
	KEEP(a, f->lport, lport);
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
		if (peer) {
			ends = COMMON(u64, skc_addrpair);
			*(u32 *)f->raddr = ends;
			local = ends >> 32;
		} else {
			local = COMMON(u32, skc_rcv_saddr);
		}
		KEEP(a, *(u32 *)f->laddr, local);
	}
	return 1;
}

/*
 * The socket that an open file is, and its inode number; NULL: it is none. made: it is a new one, or there is no file.
 * Of a listener that is kept, neither is its file looked at again where that is copied, nor its sock looked for.
 */
static __always_inline struct sock *keep_socket(const enum reads typed, struct attempt *a, struct file *file,
						const bool made, u64 *ino)
{
	struct socket *sock;
	struct sock *sk = 0;
	void *inode;

	if (typed == TYPED_BY_PROBE) {
		sock = bpf_sock_from_file(file);
		if (!sock)
			return 0;
		*ino = file->f_inode->i_ino;
		return sock->sk;
	}
	if (!file)
		return 0;
	if (typed == TYPED_BY_CAST) {
		struct file *opened = CAST(struct file, file);
		struct inode *node = opened->f_inode;

		if (!made && (node->i_mode & S_IFMT) != S_IFSOCK)
			return 0;
		*ino = node->i_ino;
		sock = CAST(struct socket, opened->private_data);
		return sock->sk;
	}
	sock = BPF_CORE_READ(file, private_data);
	inode = (void *)sock + bpf_core_field_offset(struct socket_alloc, vfs_inode); /* of a socket, in one piece with it */
	bpf_probe_read_kernel(ino, sizeof(*ino), inode + bpf_core_field_offset(struct inode, i_ino));
	if (!made) {
		if (a->kept && (u64)sock == a->socket && *ino == a->in.listener)
			return (struct sock *)a->kept;
		if ((void *)BPF_CORE_READ(file, f_inode) != inode)
			return 0;
		a->socket = (u64)sock;
	}
	bpf_probe_read_kernel(&sk, sizeof(sk), (void *)sock + bpf_core_field_offset(struct socket, sk));
	return sk;
}

/* Reads the length of a queue and its limit. */
static __always_inline void keep_queue(const enum reads typed, struct attempt *a, struct facts *f, struct sock *sk)
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

/*
 * Reads the listener that an open file is, with its queue, into a->in; gives it, NULL if it is no socket. It is the one
 * of the call before if it is at the same address and has the same inode number, which the kernel counts up.
 */
static __always_inline void *keep_listener(const enum reads typed, struct attempt *a, struct file *file)
{
	struct facts *f = &a->in;
	struct sock *sk;
	u64 ino = 0;
	bool same;

	sk = keep_socket(typed, a, file, 0, &ino);
	same = sk && (u64)sk == a->kept && ino == f->listener;
	if (!same)
		a->kept = 0;
	if (!sk || !keep_sock(typed, a, f, sk, 0, same)) {
		a->base = 0;
		__builtin_memset(f, 0, sizeof(*f));
		return read_listener(f, file);
	}
	if (!same) {
		KEEP(a, f->listener, ino);
		if (f->proto == IPPROTO_MPTCP) {
			read_queue(f, sk, IPPROTO_MPTCP);
			return sk;
		}
		a->kept = (u64)sk;
	}
	keep_queue(typed, a, f, sk);
	return sk;
}

/* Whether keep_new and keep_queue can read what came of a call at its listener. */
static __always_inline bool is_kept(struct attempt *a)
{
	return (a->in.family == AF_INET || a->in.family == AF_INET6) && a->in.proto != IPPROTO_MPTCP;
}

/* Reads the new socket into a->made. */
static __always_inline void keep_new(const enum reads typed, struct attempt *a, struct file *file)
{
	struct facts *f = &a->made;
	struct sock *sk;
	u64 ino = 0;

	sk = keep_socket(typed, a, file, 1, &ino);
	if (!sk || !keep_sock(typed, a, f, sk, 1, 0)) {
		a->base = 0;
		*f = a->in;
		read_new(f, file);
		return;
	}
	f->inode = ino;
	KEEP(a, f->listener, a->in.listener);
}

/* As keep_listener and keep_new, where the verifier does not know what the pointers point to. */
static __always_inline void *keep_listener_found(struct attempt *a, struct file *file)
{
	return with_casts ? keep_listener(TYPED_BY_CAST, a, file) : keep_listener(COPIED, a, file);
}

/* made: NULL if the call failed. */
static __always_inline void keep_made(struct attempt *a, struct file *made)
{
	if (with_casts) {
		if (made)
			keep_new(TYPED_BY_CAST, a, made);
		keep_queue(TYPED_BY_CAST, a, &a->made, CAST(struct sock, a->sk));
	} else {
		if (made)
			keep_new(COPIED, a, made);
		keep_queue(COPIED, a, &a->made, (struct sock *)a->sk);
	}
}

#endif
#endif
