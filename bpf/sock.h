/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is read of sockets and of the files that they are. */
#ifndef ACC_SOCK_H
#define ACC_SOCK_H

#include "common.h"

/* Keeps the compiler from reading what this kernel does not have and choosing afterwards. */
#define BRANCH(x) asm volatile("" : "+r"(x))

/*
 * A condition that is asked for again after a call of another function of ours is
 * kept as KEPT and read by IS each time: of a register the verifier of Linux 6.1
 * (6.1.176) takes over the answer of another path, and removes live code.
 */
#define KEPT volatile u64
#define IS(kept) (*(volatile u8 *)&(kept))

#ifdef ACC_MODERN
/* Tells the verifier what a pointer points to, where with_casts is set. No instruction is left of the call. */
extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym __weak;
#define CAST(type, p) ((type *)bpf_rdonly_cast((const void *)(p), bpf_core_type_id_kernel(type)))
#endif

#define SOCK_HEAD 96      /* bytes that hold all of sock_common that is read here */
#define SOCK_HEAD_IPV4 24 /* bytes that mostly hold addresses of IPv4, ports, family and state */
#define AT(head, type, field) (*(type *)((head) + bpf_core_field_offset(struct sock_common, field)))

/*
 * Reads two members of struct sock into two neighbours at dst: at once on the
 * kernels where they are neighbours too (sk_type and sk_protocol are not on 7.3).
 */
#define READ_TWO(dst, sk, a, b)                                                                                  \
	do {                                                                                                     \
		u32 at = bpf_core_field_offset(struct sock, a), next = bpf_core_field_offset(struct sock, b);    \
                                                                                                                 \
		if (next == at + sizeof(*(dst))) {                                                               \
			bpf_probe_read_kernel(dst, 2 * sizeof(*(dst)), (sk) + at);                               \
		} else {                                                                                         \
			bpf_probe_read_kernel(dst, sizeof(*(dst)), (sk) + at);                                   \
			bpf_probe_read_kernel((dst) + 1, sizeof(*(dst)), (sk) + next);                           \
		}                                                                                                \
	} while (0)

/* struct sockaddr_vm, of a module, whose types not every kernel tells. */
struct vm_end {
	u16 family;
	u16 reserved;
	u32 port;
	u32 cid;
	u32 zero;
};

/* Reads the context id and port of both ends of a vsock socket, which follow struct sock. */
static __always_inline void read_vsock(struct facts *f, void *sk, bool peer)
{
	struct vm_end ends[2];

	bpf_probe_read_kernel(ends, sizeof(ends), sk + bpf_core_type_size(struct sock) + 8);
	if (ends[0].family != AF_VSOCK)
		return;
	*(u32 *)f->laddr = ends[0].cid;
	*(u32 *)(f->laddr + 4) = ends[0].port;
	if (peer) {
		*(u32 *)f->raddr = ends[1].cid;
		*(u32 *)(f->raddr + 4) = ends[1].port;
	}
}

/* Gives the TCP socket under an SMC socket: its first member after struct sock, or after struct inet_sock. */
static __always_inline void *smc_tcp(void *sk)
{
	u64 at[2] = {bpf_core_type_size(struct sock), bpf_core_type_size(struct inet_sock)};

	for (int i = 0; i < 2; i++) {
		struct socket *clc = 0;
		struct sock *tcp = 0;
		u16 family = 0;

		bpf_probe_read_kernel(&clc, sizeof(clc), sk + at[i]);
		tcp = BPF_CORE_READ(clc, sk);
		family = BPF_CORE_READ(tcp, __sk_common.skc_family);
		if (family == AF_INET || family == AF_INET6)
			return tcp;
	}
	return 0;
}

/* Reads the addresses that sock_common has, of family. */
static __always_inline void read_inet(struct facts *f, u8 *head, void *sk, u16 family, bool peer)
{
	f->lport = AT(head, u16, skc_num);
	if (family == AF_INET6) {
		__builtin_memcpy(f->laddr, &AT(head, u64, skc_v6_rcv_saddr), 16);
		if (peer)
			__builtin_memcpy(f->raddr, &AT(head, u64, skc_v6_daddr), 16);
	} else {
		*(u32 *)f->laddr = AT(head, u32, skc_rcv_saddr);
		if (peer)
			*(u32 *)f->raddr = AT(head, u32, skc_daddr);
	}
	if (!peer)
		return;
	f->rport = __builtin_bswap16(AT(head, u16, skc_dport));
	if (AT(head, u8, skc_state) == TCP_CLOSE) {
		/* skc_num is gone; what was bound stays in inet_sport. */
		u16 port = 0;

		bpf_probe_read_kernel(&port, sizeof(port), sk + bpf_core_field_offset(struct inet_sock, inet_sport));
		f->lport = __builtin_bswap16(port);
	}
}

/* Reads what a socket says of itself into f. */
static __noinline void read_sock(struct facts *f, void *sk, bool peer)
{
	u8 head[SOCK_HEAD] __attribute__((aligned(8)));
	struct net *net;
	u16 family;

	if (bpf_probe_read_kernel(head, sizeof(head), sk))
		return;
	family = AT(head, u16, skc_family);
	net = AT(head, struct net *, skc_net);
	f->netns = BPF_CORE_READ(net, ns.inum);
	f->family = family;
	f->state = AT(head, u8, skc_state);
	if (peer)
		f->cookie = AT(head, u64, skc_cookie);
	READ_TWO(&f->type, sk, sk_type, sk_protocol);
	if (family == AF_INET || family == AF_INET6) {
		read_inet(f, head, sk, family, peer);
	} else if (family == AF_UNIX) {
		struct sock *s = sk;
		struct pid *pid;

		if (!peer)
			return;
		pid = BPF_CORE_READ(s, sk_peer_pid);
		if (pid)
			f->peer_pid = BPF_CORE_READ(pid, numbers[0].nr);
		f->peer_uid = BPF_CORE_READ(s, sk_peer_cred, uid.val);
	} else if (family == AF_VSOCK) {
		read_vsock(f, sk, peer);
	} else if (family == AF_SMC) {
		void *tcp = smc_tcp(sk);

		if (!tcp || bpf_probe_read_kernel(head, sizeof(head), tcp))
			return;
		read_inet(f, head, tcp, AT(head, u16, skc_family), peer);
		f->inner = AT(head, u16, skc_family);
	}
}

/* Reads the name that a socket in the UNIX domain is bound to. */
static __noinline void read_unix_name(struct unix_name *name, void *sk)
{
	struct unix_address *addr = 0;
	u32 len;

	name->len = 0;
	bpf_probe_read_kernel(&addr, sizeof(addr), sk + bpf_core_field_offset(struct unix_sock, addr));
	if (!addr)
		return;
	len = BPF_CORE_READ(addr, len) - sizeof(u16);
	if (len == sizeof(name->path) + 1) /* with the zero that the kernel adds */
		len--;
	if (len > sizeof(name->path))
		return;
	/* The name is a flexible array of struct sockaddr_un at the end: its family, its path. */
	bpf_probe_read_kernel(name->path, sizeof(name->path), (void *)addr + bpf_core_field_offset(struct unix_address, name) + sizeof(u16));
	name->len = len;
}

/* Reads the listener's queue. MPTCP keeps it in the first subflow. */
static __noinline void read_queue(struct facts *f, void *sk, u16 proto)
{
	if (proto == IPPROTO_MPTCP && bpf_core_type_exists(struct mptcp_sock)) {
		struct sock *first = 0;

		bpf_probe_read_kernel(&first, sizeof(first), sk + bpf_core_field_offset(struct mptcp_sock, first));
		if (first)
			sk = first;
	}
	u32 queue[2] = {};

	READ_TWO(queue, sk, sk_ack_backlog, sk_max_ack_backlog);
	if (f->family == AF_UNIX) /* whose connections wait as packets */
		queue[0] = BPF_CORE_READ((struct sock *)sk, sk_receive_queue.qlen);
	f->backlog = queue[0];
	f->backlog_max = queue[1];
}

/* Gives the socket of an open file and its inode number; NULL if it is none. */
static __noinline void *file_sock(struct file *file, u64 *ino)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct socket *sock;

	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	*ino = BPF_CORE_READ(inode, i_ino);
	sock = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(sock, sk);
}

/*
 * After a failed do_accept: the file that it had made and drops, if a connection
 * had been taken from the queue for it, which is lost with it. The file is the
 * newest thing that the task has to do before it leaves the kernel.
 */
static __noinline struct file *dropped_file(struct task_struct *task)
{
	void *work = BPF_CORE_READ(task, task_works);
	struct socket *sock;
	struct file *file;
	u32 at;

	if (bpf_core_field_exists(struct file, f_task_work)) {
		at = bpf_core_field_offset(struct file, f_task_work);
		BRANCH(at);
	} else if (bpf_core_field_exists(struct file___rcuhead, f_rcuhead)) {
		at = bpf_core_field_offset(struct file___rcuhead, f_rcuhead);
		BRANCH(at);
	} else {
		at = bpf_core_field_offset(struct file___u, f_u);
		BRANCH(at);
	}
	if (!work)
		return 0;
	file = work - at;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	sock = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(sock, sk) ? file : 0;
}

/* The open file behind a descriptor of the current task. */
static __noinline struct file *file_of(struct task_struct *task, u32 fd)
{
	struct file *file = 0;
	struct fdtable *fdt;
	struct file **files;

#ifdef ACC_MODERN
	fdt = task->files->fdt;
	if (fd >= fdt->max_fds)
		return 0;
	files = fdt->fd;
	if (with_casts) /* a callback_head begins with a pointer, as each entry of the table */
		return (struct file *)CAST(struct callback_head, files + fd)->next;
#else
	fdt = BPF_CORE_READ(task, files, fdt);
	if (fd >= BPF_CORE_READ(fdt, max_fds))
		return 0;
	files = BPF_CORE_READ(fdt, fd);
#endif
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
}

#endif
