/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The same facts read by plain loads, where the verifier knows the type of what a
 * pointer points to: what do_accept is given and gives. A load takes an instruction
 * or two, a bpf_probe_read_kernel some fifty. The kernel makes a fault read zero.
 */
#ifndef ACC_TYPED_H
#define ACC_TYPED_H

#include "sock.h"

#ifdef ACC_MODERN

/* Reads the addresses and ports of a socket of family AF_INET or AF_INET6. */
static __always_inline void typed_inet(struct facts *f, struct sock *sk, u16 family, bool peer)
{
	f->lport = sk->__sk_common.skc_num;
	if (family == AF_INET6) {
		u64 *laddr = (u64 *)&sk->__sk_common.skc_v6_rcv_saddr, *raddr = (u64 *)&sk->__sk_common.skc_v6_daddr;

		*(u64 *)f->laddr = laddr[0];
		*(u64 *)(f->laddr + 8) = laddr[1];
		if (peer) {
			*(u64 *)f->raddr = raddr[0];
			*(u64 *)(f->raddr + 8) = raddr[1];
		}
	} else {
		*(u32 *)f->laddr = sk->__sk_common.skc_rcv_saddr;
		if (peer)
			*(u32 *)f->raddr = sk->__sk_common.skc_daddr;
	}
	if (!peer)
		return;
	f->rport = __builtin_bswap16(sk->__sk_common.skc_dport);
	if (f->state == TCP_CLOSE) {
		/* As in read_inet. */
		u16 port = 0;

		bpf_probe_read_kernel(&port, sizeof(port), (void *)sk + bpf_core_field_offset(struct inet_sock, inet_sport));
		f->lport = __builtin_bswap16(port);
	}
}

/* As read_sock. */
static __always_inline void typed_sock(struct facts *f, struct sock *sk, bool peer)
{
	u16 family = sk->__sk_common.skc_family;

	if (family != AF_INET && family != AF_INET6) {
		read_sock(f, sk, peer);
		return;
	}
	f->netns = sk->__sk_common.skc_net.net->ns.inum;
	f->family = family;
	f->state = sk->__sk_common.skc_state;
	if (peer)
		f->cookie = sk->__sk_common.skc_cookie.counter;
	f->type = sk->sk_type;
	f->proto = sk->sk_protocol;
	typed_inet(f, sk, family, peer);
}

/* As read_queue. */
static __always_inline void typed_queue(struct facts *f, struct sock *sk)
{
	if (f->proto == IPPROTO_MPTCP) {
		read_queue(f, sk, IPPROTO_MPTCP);
		return;
	}
	f->backlog = f->family == AF_UNIX ? sk->sk_receive_queue.qlen : sk->sk_ack_backlog;
	f->backlog_max = sk->sk_max_ack_backlog;
}

/* As read_listener; file is a parameter of the probed function. */
static __always_inline void *typed_listener(struct facts *f, struct file *file)
{
	struct socket *sock = bpf_sock_from_file(file);
	struct sock *sk;

	__builtin_memset(f, 0, sizeof(*f));
	if (!sock)
		return 0;
	sk = sock->sk;
	if (!sk)
		return 0;
	f->listener = file->f_inode->i_ino;
	typed_sock(f, sk, 0);
	typed_queue(f, sk);
	return sk;
}

/* As read_new; file is what the probed function returned. */
static __always_inline void typed_new(struct facts *f, struct file *file)
{
	struct socket *sock = bpf_sock_from_file(file);
	struct sock *sk;

	__builtin_memset(f->laddr, 0, 16);
	if (!sock)
		return;
	f->inode = file->f_inode->i_ino;
	sk = sock->sk;
	if (sk)
		typed_sock(f, sk, 1);
}

#endif
#endif
