/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attempts without a system call: requests of io_uring, and the kernel's own. */
#ifndef ACC_URING_H
#define ACC_URING_H

/* io_uring: io_accept, or, where that is inlined, io_issue_sqe, which is called for every request. */

/* URING_* of a request; what belongs to the operation lies at its start. */
static __always_inline u8 kind_of(struct io_kiocb *req)
{
	struct io_accept *accept = (struct io_accept *)req;
	u8 kind = BPF_CORE_READ(accept, file_slot) ? URING_DIRECT : 0;

	if (bpf_core_field_exists(struct io_accept, iou_flags)) {
		u32 at = bpf_core_field_offset(struct io_accept, iou_flags), flags = 0;

		BRANCH(at);
		bpf_probe_read_kernel(&flags, sizeof(flags), (void *)req + at);
		if (flags & IORING_ACCEPT_MULTISHOT)
			kind |= URING_MULTISHOT;
	} else if (BPF_CORE_READ(req, flags) & multishot_flag) {
		kind |= URING_MULTISHOT;
	}
	return kind;
}

static __always_inline int enter_request(struct io_kiocb *req)
{
	struct task_struct *task;
	struct attempt *a;
	struct file *file;
	void *sk;

	if (BPF_CORE_READ(req, opcode) != IORING_OP_ACCEPT)
		return 0;
	task = current_task();
	a = attempt_of(task, 1);
	if (!a)
		return 0;
	introduce(task, a);
	__builtin_memset(&a->facts, 0, sizeof(a->facts));
	file = BPF_CORE_READ(req, file);
	sk = read_listener(&a->facts, file);
	a->sk = (u64)sk;
	a->sockfd = -1;
	if (bpf_core_field_exists(struct io_kiocb, cqe)) {
		u32 at = bpf_core_field_offset(struct io_kiocb, cqe);
		struct io_cqe cqe = {};

		BRANCH(at);
		bpf_probe_read_kernel(&cqe, sizeof(cqe), (void *)req + at);
		a->user_data = cqe.user_data;
		/* The descriptor stands there until the request is tried again. */
		if (file_of(task, cqe.fd) == file)
			a->sockfd = cqe.fd;
	} else {
		u32 at = bpf_core_field_offset(struct io_kiocb___old, user_data);

		BRANCH(at);
		bpf_probe_read_kernel(&a->user_data, sizeof(a->user_data), (void *)req + at);
	}
	note_buffer(a, (u64)BPF_CORE_READ((struct io_accept *)req, addr), (u64)BPF_CORE_READ((struct io_accept *)req, addr_len));
	a->req = (u64)req;
	a->flags = BPF_CORE_READ((struct io_accept *)req, flags);
	a->slot = BPF_CORE_READ((struct io_accept *)req, file_slot);
	a->uring = kind_of(req);
	a->via = VIA_IO_URING;
	a->mark = 0;
	a->pending = 0;
	a->attempts = 0;
	a->file = 0;
	a->in_flight = 0;
	a->untold = 0;
	a->returned = 0;
	a->request = 1;
	return 0;
}

static __always_inline int return_request(s32 ret)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);

	if (!a || !a->request)
		return 0;
	if (a->pending && a->ret >= 0 && a->uring & URING_DIRECT && bpf_core_field_exists(struct io_kiocb___old, result)) {
		/* 5.10: how the slot was taken stands in the request. */
		u32 at = bpf_core_field_offset(struct io_kiocb___old, result);
		s32 result = 0;

		BRANCH(at);
		bpf_probe_read_kernel(&result, sizeof(result), (void *)a->req + at);
		if (result < 0) {
			a->ret = result;
			a->mark = MARK_CLIENT_LOST;
		}
	}
	if (a->pending) {
		/* Zero is an end of the request; anything else leaves it waiting, or to be tried again. */
		if (a->ret == -EAGAIN && ret != 0)
			a->mark |= MARK_ARMED;
		tell_request(task, a, PROBE_DO_ACCEPT, HOOK_DO_ACCEPT);
	} else if (!a->attempts && ret < 0) {
		/* No descriptor was left; or (-EAGAIN) the request is to wait before it tries. */
		a->ret = ret;
		if (ret == -EAGAIN)
			a->mark |= MARK_ARMED;
		tell_request(task, a, PROBE_IO_ACCEPT, HOOK_IO_ACCEPT);
	}
	attempt_done(a);
	return 0;
}

static __always_inline int return_fixed_install(s32 ret)
{
	struct attempt *a = attempt_of(current_task(), 0);

	if (!a || !a->request || !a->pending)
		return 0;
	if (ret < 0) {
		a->ret = ret; /* no slot: the connection is dropped */
		a->mark = MARK_CLIENT_LOST;
	} else if (a->slot == ~0U) {
		a->ret = ret;
		a->mark = 0;
	}
	return 0;
}

static __always_inline int install(u32 fd, struct file *file)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);
	u32 tid = (u32)bpf_get_current_pid_tgid();
	s32 *sockfd;
	u64 ino;

	if (a && a->request && a->pending && a->file == (u64)file) {
		a->ret = fd;
		a->mark &= ~MARK_NO_FD;
		return 0;
	}
	if (a && a->in_flight)
		return 0;
	sockfd = bpf_map_lookup_elem(&sleepers, &tid);
	if (!sockfd || *sockfd == SLEEPER_TOLD || !file_sock(file, &ino))
		return 0;
	introduce(task, 0);
	struct unknown u = {
		.probe = PROBE_FD_INSTALL, .hook = HOOK_FD_INSTALL, .via = via_of(syscall_nr(task)), .sockfd = *sockfd, .ret = fd, .mark = MARK_BEFORE,
	};
	*sockfd = SLEEPER_TOLD;
	tell_unknown(task, &u, file);
	return 0;
}

/* kernel_accept(listener, where the new socket is put, flags) */

static __always_inline int enter_kernel(struct socket *listener, void *made)
{
	struct attempt *a = attempt_of(current_task(), 1);

	if (!a)
		return 0;
	a->sk = (u64)listener;
	a->file = (u64)made;
	a->request = 0;
	a->in_flight = 0;
	a->pending = 1;
	return 0;
}

static __always_inline int return_kernel(struct socket *listener, struct socket **made, s32 ret)
{
	struct task_struct *task = current_task();
	struct sock *sk = BPF_CORE_READ(listener, sk);
	struct event *e;
	u64 seq = 0;

	e = reserve(PROBE_KERNEL_ACCEPT, &seq, 0);
	if (!e)
		return 0;
	describe(e, task, RETURN, HOOK_KERNEL_ACCEPT, seq);
	e->sockfd = -1;
	e->flags = 0;
	e->ret = ret;
	e->via = VIA_KERNEL;
	e->mark = ret >= 0 ? MARK_NO_FD : 0; /* the kernel needs none */
	__builtin_memset(&e->facts, 0, sizeof(e->facts));
	e->facts.listener = BPF_CORE_READ((struct socket_alloc *)listener, vfs_inode.i_ino);
	read_sock(&e->facts, sk, 0);
	read_queue(&e->facts, sk, e->facts.proto);
	if (*(volatile s32 *)&e->ret >= 0) {
		struct socket *sock = 0;

		bpf_probe_read_kernel(&sock, sizeof(sock), made);
		e->facts.inode = BPF_CORE_READ((struct socket_alloc *)sock, vfs_inode.i_ino);
		__builtin_memset(e->facts.laddr, 0, 16);
		sk = BPF_CORE_READ(sock, sk);
		read_sock(&e->facts, sk, 1);
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int return_kernel_noted(s32 ret)
{
	struct attempt *a = attempt_of(current_task(), 0);

	if (!a || !a->pending || a->request)
		return 0;
	a->pending = 0;
	return_kernel((struct socket *)a->sk, (struct socket **)a->file, ret);
	attempt_done(a);
	return 0;
}

#endif
