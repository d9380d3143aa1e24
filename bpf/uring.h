/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attempts without a system call: requests of io_uring, and the kernel's own. */
#ifndef ACC_URING_H
#define ACC_URING_H

#include "accept.h"

/* io_uring: io_accept, or, where that is inlined, io_issue_sqe, which is called for every request. */

/* URING_* of a request; what belongs to the operation lies at its start. */
static __always_inline u8 kind_of(struct io_kiocb *req)
{
	struct io_accept *accept = (struct io_accept *)req;
	u8 kind = BPF_CORE_READ(accept, file_slot) ? URING_DIRECT : 0;
	u64 req_flags = BPF_CORE_READ(req, flags);

	if (req_flags & IOSQE_FIXED_FILE) /* REQ_F_FIXED_FILE is the same bit */
		kind |= URING_REGISTERED;

	if (bpf_core_field_exists(struct io_accept, iou_flags)) {
		u32 at = bpf_core_field_offset(struct io_accept, iou_flags), flags = 0;

		BRANCH(at);
		bpf_probe_read_kernel(&flags, sizeof(flags), (void *)req + at);
		if (flags & IORING_ACCEPT_MULTISHOT)
			kind |= URING_MULTISHOT;
	} else if (req_flags & multishot_flag) {
		kind |= URING_MULTISHOT;
	}
	return kind;
}

/* What was noted of a request when it began to wait, or NULL. */
static __noinline struct waiting *waiting_of(u64 req, u64 user_data, u64 file)
{
	struct waiting *w = bpf_map_lookup_elem(&armed, &req);

	return w && w->user_data == user_data && w->file == file ? w : 0;
}

/*
 * The descriptor of a request's listener, or its number among the ring's registered
 * files; -1: not known. It stands in the request until that is tried again.
 */
static __noinline s32 descriptor_of(struct task_struct *task, struct io_kiocb *req, struct io_cqe *cqe, struct file *file)
{
	u64 flags = BPF_CORE_READ(req, flags);
	struct waiting *w;

	if (flags & polled_flag) {
		w = waiting_of((u64)req, cqe->user_data, (u64)file);
		if (w)
			return w->sockfd;
	} else if (flags & IOSQE_FIXED_FILE) {
		return polled_flag ? cqe->fd : -1;
	}
	return !(flags & IOSQE_FIXED_FILE) && file_of(task, cqe->fd) == file ? cqe->fd : -1;
}

/* Notes the descriptor of a request that begins to wait. */
static __always_inline void note_waiting(struct io_kiocb *req, struct attempt *a)
{
	struct waiting w = {.user_data = a->user_data, .file = (u64)BPF_CORE_READ(req, file), .sockfd = a->sockfd};

	if (a->sockfd >= 0 && polled_flag && !(BPF_CORE_READ(req, flags) & polled_flag))
		bpf_map_update_elem(&armed, &a->req, &w, BPF_ANY);
}

/* Why a multishot request does not go on after a call of io_accept that gave ret and whose last attempt gave got. */
static __always_inline u32 multishot_end(struct attempt *a, s32 got, s32 ret)
{
	if (!(a->uring & URING_MULTISHOT))
		return GOES_ON;
	if (got >= 0) /* it goes on, unless there was no room to tell the program */
		return ret == 0 || ret == -ECANCELED ? END_QUEUE_FULL : GOES_ON;
	return got == -EAGAIN && ret != 0 ? GOES_ON : END_FAILED;
}

/* Writes the event of a request that ended without an attempt. */
static __noinline void tell_ended(struct io_kiocb *req, u64 user_data, s32 res)
{
	struct task_struct *task = current_task(), *asked = asker(req);
	struct file *file = BPF_CORE_READ(req, file);
	KEPT current = !asked || BPF_CORE_READ(asked, tgid) == (int)(bpf_get_current_pid_tgid() >> 32);
	struct waiting *w;
	struct event *e;
	struct facts f;
	u64 seq = 0;

	__builtin_memset(&f, 0, sizeof(f));
	if (res == -ECANCELED)
		read_listener(&f, file);
	if (selecting && !once_selected(IS(current) ? task : asked, &f, 0, res, IS(current))) {
		count_filtered(PROBE_IO_COMPLETE);
		return;
	}
	if (res < 0 && failure_counted(&f, HOOK_IO_COMPLETE, res))
		return;
	if (IS(current))
		introduce(task, 0);
	e = reserve(PROBE_IO_COMPLETE, &seq, 0);
	if (!e)
		return;
	identify_asker(e, task, asked);
	stamp(e, RETURN, HOOK_IO_COMPLETE, seq, bpf_ktime_get_boot_ns());
	e->sockfd = -1;
	e->flags = 0;
	e->ret = res;
	e->via = VIA_IO_URING;
	e->user_data = user_data;
	e->facts = f;
	/* What kind it is stands in it only from its preparation on. */
	if (res == -ECANCELED || res == -EBADF) {
		e->uring = kind_of(req);
		e->flags = BPF_CORE_READ((struct io_accept *)req, flags);
	}
	if (res == -ECANCELED) {
		w = waiting_of((u64)req, user_data, (u64)file);
		if (w)
			e->sockfd = w->sockfd;
	}
	if (*(volatile u8 *)&e->uring & URING_MULTISHOT) {
		e->uring_end = res == -ECANCELED ? END_CANCELLED : END_FAILED;
		if (BPF_CORE_READ(asked, flags) & PF_EXITING)
			e->uring_end = END_THREAD_ENDED;
		else if (BPF_CORE_READ(req, ctx, refs.percpu_count_ptr) & PERCPU_REF_DEAD)
			e->uring_end = END_RING_CLOSED;
	}
	bpf_ringbuf_submit(e, 0);
}

static __always_inline int enter_request(struct io_kiocb *req)
{
	struct task_struct *task;
	struct attempt *a;
	struct file *file;
	void *sk;

	if (BPF_CORE_READ(req, opcode) != IORING_OP_ACCEPT)
		return 0;
	if (!fds_wanted)
		fds_wanted = 1;
	task = current_task();
	a = attempt_of(task, 1);
	if (!a)
		return 0;
	if (!selecting)
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
		a->sockfd = descriptor_of(task, req, &cqe, file);
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
	/* What was noted of the request that was at this address before. */
	bpf_map_delete_elem(&failed, &a->req);
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
	struct io_kiocb *req;
	KEPT failed;

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
	req = (struct io_kiocb *)a->req;
	if (ret != 0)
		note_waiting(req, a);
	/* After an attempt that accepted, none is left for the next one; then the request ends with that. */
	failed = a->pending && a->ret >= 0 && ret < 0 && ret > -ERESTARTSYS && ret != -EAGAIN && ret != -ECANCELED;
	if (a->pending) {
		/* Zero is an end of the request; anything else leaves it waiting, or to be tried again. */
		if (a->ret == -EAGAIN && ret != 0)
			a->mark |= MARK_ARMED;
		a->end = IS(failed) ? GOES_ON : multishot_end(a, a->ret, ret);
		tell_request(task, a, PROBE_DO_ACCEPT);
	}
	if (IS(failed) || (!a->attempts && ret < 0)) {
		/* No descriptor was left; or (-EAGAIN) the request is to wait before it tries. */
		a->ret = ret;
		a->mark = ret == -EAGAIN ? MARK_ARMED : 0;
		a->file = 0;
		if (IS(failed) && a->sk) { /* what a socket before it said is not the listener's */
			read_sock(&a->facts, (void *)a->sk, 0);
			read_queue(&a->facts, (void *)a->sk, a->facts.proto);
		}
		a->end = multishot_end(a, ret, ret);
		tell_request(task, a, PROBE_IO_ACCEPT);
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
	struct task_struct *task;
	struct attempt *a;
	u32 tid = (u32)bpf_get_current_pid_tgid();
	s32 *sockfd;
	u64 ino;

	if (!fds_wanted)
		return 0;
	task = current_task();
	a = attempt_of(task, 0);
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
	KEPT accepted = ret >= 0;
	struct event *e;
	struct facts f;
	u64 seq = 0;

	__builtin_memset(&f, 0, sizeof(f));
	f.listener = BPF_CORE_READ((struct socket_alloc *)listener, vfs_inode.i_ino);
	read_sock(&f, sk, 0);
	read_queue(&f, sk, f.proto);
	if (IS(accepted)) {
		struct socket *sock = 0;

		bpf_probe_read_kernel(&sock, sizeof(sock), made);
		f.inode = BPF_CORE_READ((struct socket_alloc *)sock, vfs_inode.i_ino);
		__builtin_memset(f.laddr, 0, 16);
		sk = BPF_CORE_READ(sock, sk);
		read_sock(&f, sk, 1);
	}
	if (selecting && !once_selected(task, &f, IS(accepted), ret, 1)) {
		count_filtered(PROBE_KERNEL_ACCEPT);
		return 0;
	}
	e = reserve(PROBE_KERNEL_ACCEPT, &seq, 0);
	if (!e)
		return 0;
	describe(e, task, RETURN, HOOK_KERNEL_ACCEPT, seq);
	e->sockfd = -1;
	e->flags = 0;
	e->ret = ret;
	e->via = VIA_KERNEL;
	e->mark = IS(accepted) ? MARK_NO_FD : 0; /* the kernel needs none */
	e->facts = f;
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

/* On 5.10, inside of the request's last attempt: it had a connection, and no slot for it. */
static __always_inline int complete_inside(struct trace_event_raw_io_uring_complete *ctx, s32 res)
{
	struct attempt *a = attempt_of(current_task(), 0);

	if (a && a->request && a->pending && a->ret >= 0 && a->user_data == BPF_CORE_READ(ctx, user_data)) {
		a->ret = res;
		a->mark = MARK_CLIENT_LOST;
	}
	return 0;
}

/*
 * A request that fails without an attempt: cancelled, of a bad descriptor, or
 * refused for what it asks. What kind it is stands in it only from its preparation on.
 */
SEC("tracepoint/io_uring/io_uring_complete")
int tp_io_uring_complete(struct trace_event_raw_io_uring_complete *ctx)
{
	s32 res = BPF_CORE_READ(ctx, res);
	struct io_kiocb *req;
	u64 key;

	if (res >= 0)
		return 0;
	if (!bpf_core_field_exists(struct trace_event_raw_io_uring_complete, req))
		return complete_inside(ctx, res);
	req = BPF_CORE_READ(ctx, req);
	if (!req || BPF_CORE_READ(req, opcode) != IORING_OP_ACCEPT)
		return 0;
	key = (u64)req;
	if (!bpf_map_delete_elem(&failed, &key))
		return 0;
	tell_ended(req, BPF_CORE_READ(ctx, user_data), res);
	return 0;
}

#endif
