/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The two ends of an attempt: __sys_accept4 and do_accept. */
#ifndef ACC_ACCEPT_H
#define ACC_ACCEPT_H

#include "call.h"

/* Writes the entry that is noted in a. f: what is known of its listener; listener: the socket, or NULL. */
static __noinline void tell_enter(struct task_struct *task, struct attempt *a, struct facts *f, void *listener)
{
	struct event *e;
	u64 seq = 0;

	a->untold = 0;
	a->sk = (u64)listener;
	e = reserve(PROBE_ENTER, &seq, f->family == AF_UNIX ? listener : 0);
	a->enter_lost = !e;
	if (!e) {
		a->who.tid = 0;
		return;
	}
	if (SAME_TASK && a->who.tid) {
		identify_anew(a, task);
		identify_again(e, &a->who);
	} else {
		identify(e, task);
		keep_identity(&a->who, e);
		a->base = 0;
	}
	write_enter(e, a, seq);
	e->facts = *f;
	bpf_ringbuf_submit(e, 0);
}

/* Notes an entry that is to be told. */
static __always_inline void note_accept(struct task_struct *task, struct attempt *a, s32 fd, u64 addr, u64 addrlen, u32 flags)
{
	bool missed;

	a->enter_ns = bpf_ktime_get_boot_ns();
	KEEP(a, a->sockfd, fd);
	KEEP(a, a->flags, flags);
	note_buffer(a, addr, addrlen);
	KEEP(a, a->via, via_of(syscall_nr(task)));
	missed = a->in_flight && !a->skipped;
	a->sk = 0;
	a->enter_mark = 0;
	a->deferred = NOT_DEFERRED;
	a->untold = 1;
	a->skipped = 0;
	a->held = 0;
	a->guarded = 0;
	a->in_flight = 1;
	a->mark = 0;
	a->request = 0;
	a->pending = 0;
	a->enter_lost = 0;
	a->done = 0;
	a->returned = 0;
	a->passed = 0;
	if (missed)
		a->enter_mark = MARK_PREV_MISSED;
}

static __always_inline int enter_accept(s32 fd, u64 addr, u64 addrlen, u32 flags)
{
	struct task_struct *task = current_task();
	struct attempt *noted = begin_attempt(task), *a = noted;
	struct file *file;
	bool over;
	u32 zero = 0;
	void *sk;

	if (!a) {
		a = bpf_map_lookup_elem(&spare, &zero);
		if (!a)
			return 0;
		__sync_fetch_and_add(&this_cpu()->no_attempt, 1);
		a->who.tid = 0;
		a->in_flight = 0;
	}
	note_accept(task, a, fd, addr, addrlen, flags);
	over = over_now(a);
	if (!selecting && !over)
		introduce(task, noted);
	file = file_of(task, fd);
#ifdef ACC_MODERN
	sk = keep_listener_found(a, file);
#else
	__builtin_memset(&a->in, 0, sizeof(a->in));
	sk = read_listener(&a->in, file);
#endif
	if (begin_selected(task, a, &a->in, sk))
		return 0;
	if (over && noted)
		return hold_entry(a, sk);
	if (selecting)
		introduce(task, noted);
	if (defer(task, a, sk, file))
		return 0;
	a->facts = a->in;
	tell_enter(task, a, &a->facts, sk);
	return 0;
}

#ifdef ACC_MODERN
/* The entry where do_accept has a probe, too, which reads the listener and tells of the entry. */
static __always_inline int enter_accept_noted(s32 fd, u64 addr, u64 addrlen, u32 flags)
{
	struct task_struct *task = current_task();
	struct attempt *a = begin_attempt(task);

	if (!a)
		return enter_accept(fd, addr, addrlen, flags);
	note_accept(task, a, fd, addr, addrlen, flags);
	return 0;
}

static __always_inline int enter_do_accept(struct file *file)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);
	bool over;
	void *sk;

	if (!a || !a->in_flight || !a->untold)
		return 0;
	over = over_now(a);
	if (!selecting && !over)
		introduce(task, a);
	sk = keep_listener(TYPED_BY_PROBE, a, file);
	if (begin_selected(task, a, &a->in, sk))
		return 0;
	if (over)
		return hold_entry(a, sk);
	if (selecting)
		introduce(task, a);
	if (defer(task, a, sk, file))
		return 0;
	a->facts = a->in;
	tell_enter(task, a, &a->facts, sk);
	return 0;
}
#endif

static __noinline bool request_selected(struct task_struct *task, struct attempt *a)
{
	struct task_struct *asked = asker((void *)a->req);
	bool current = !asked || BPF_CORE_READ(asked, tgid) == (int)(bpf_get_current_pid_tgid() >> 32);

	if (!once_selected(current ? task : asked, &a->facts, a->file || a->mark & MARK_CLIENT_LOST, a->ret, current))
		return 0;
	introduce(task, a);
	if (selecting & SELECT_TASK && a->file)
		follow_accepted((struct file *)a->file, &a->facts);
	return 1;
}

/* Writes the event of a request's attempt. end: why the request does not go on, if it is multishot. */
static __noinline void tell_request(struct task_struct *task, struct attempt *a, u32 probe)
{
	u8 hook = probe == PROBE_DO_ACCEPT ? HOOK_DO_ACCEPT : HOOK_IO_ACCEPT;
	struct event *e;
	u64 seq = 0;

	a->pending = 0;
	if (selecting && !request_selected(task, a)) {
		count_filtered(probe == PROBE_DO_ACCEPT ? PROBE_DO_ACCEPT : PROBE_IO_ACCEPT);
		return;
	}
	if (a->ret < 0 && !(a->mark & MARK_ARMED) && failure_counted(&a->facts, hook, a->ret)) {
		u8 yes = 1;

		bpf_map_update_elem(&failed, &a->req, &yes, BPF_ANY);
		return;
	}
	if ((a->ret < 0 && !(a->mark & MARK_ARMED)) || a->end) {
		u8 yes = 1;

		bpf_map_update_elem(&failed, &a->req, &yes, BPF_ANY);
	}
	e = reserve(probe == PROBE_DO_ACCEPT ? PROBE_DO_ACCEPT : PROBE_IO_ACCEPT, &seq, a->facts.family == AF_UNIX ? (void *)a->sk : 0);
	if (!e)
		return;
	identify_asker(e, task, asker((void *)a->req));
	stamp(e, RETURN, hook, seq, bpf_ktime_get_boot_ns());
	e->sockfd = a->sockfd;
	e->flags = a->flags;
	e->ret = a->ret;
	e->via = VIA_IO_URING;
	e->uring = a->uring;
	e->uring_end = a->end;
	e->user_data = a->user_data;
	e->mark = a->mark;
	e->facts = a->facts;
	if (a->file)
		tell_address(e, a, (struct file *)a->file);
	bpf_ringbuf_submit(e, 0);
}

/* The result of do_accept in a request of io_uring. */
static __always_inline int request_accepted(struct task_struct *task, struct attempt *a, KEPT *failed, u64 ret)
{
	if (a->pending) {
		a->uring |= URING_MULTISHOT; /* no other request accepts twice in one call */
		a->end = GOES_ON;
		tell_request(task, a, PROBE_DO_ACCEPT);
		__builtin_memset(a->facts.raddr, 0, 16);
		a->facts.inode = 0;
		a->facts.cookie = 0;
		a->facts.rport = 0;
		a->facts.peer_pid = 0;
		a->facts.peer_uid = 0;
	}
	a->attempts = 1;
	a->pending = 1;
	a->mark = 0;
	a->file = 0;
	if (a->sk)
		read_queue(&a->facts, (void *)a->sk, a->facts.proto);
	if (!IS(*failed)) {
		read_new(&a->facts, (struct file *)ret);
		a->file = ret;
		a->ret = 0;
		a->mark = MARK_NO_FD;
		if (a->uring & URING_DIRECT && a->slot != ~0U) {
			a->ret = a->slot - 1;
			a->mark = 0;
		}
		return 0;
	}
	a->ret = (s32)ret;
	if (a->sk) {
		/* What a socket before it said is not the listener's. */
		read_sock(&a->facts, (void *)a->sk, 0);
	}
	return 0;
}

#ifdef ACC_MODERN
/* What came of a call is in a->made. */
static __always_inline void kept(struct attempt *a, struct file *made, bool accepted, bool deferred)
{
	a->done = accepted;
	if (selecting & SELECT_TASK && !passing && accepted)
		follow_accepted(made, &a->made);
	if (deferred)
		a->deferred = DEFERRED_RETURN;
	else
		describe_made(a);
}
#endif

/* What enter_do_accept does, at the return, since that was missed or not come to. file: the listener's. */
static __noinline void enter_late(struct task_struct *task, struct attempt *a, struct file *file)
{
	void *sk;

	a->base = 0;
	a->kept = 0;
	__builtin_memset(&a->in, 0, sizeof(a->in));
	sk = read_listener(&a->in, file);
	a->facts = a->in;
	if (begin_selected(task, a, &a->in, sk))
		return;
	if (over_now(a)) {
		hold_entry(a, sk);
		return;
	}
	introduce(task, a);
	tell_enter(task, a, &a->in, sk);
}

/* listener: its file, NULL if the probe, which is no trampoline then, does not see it. */
static __always_inline int return_do_accept(struct file *listener, u64 ret)
{
	KEPT failed = ret >= (u64)-MAX_ERRNO;
	KEPT lost = 0;
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);
	struct file *made = (struct file *)ret;
	struct event *e;
	u64 seq = 0;

	if (IS(failed)) {
		made = 0;
		if ((s32)ret != -EAGAIN && (s32)ret != -ERESTARTSYS)
			made = dropped_file(task);
		lost = made != 0;
	}
	if (a && a->in_flight) {
		if (listener && a->untold)
			enter_late(task, a, listener);
		if (a->skipped && !selected_since(task, a))
			return 0;
#ifdef ACC_MODERN
		if (!listener && a->deferred && !IS(lost)) {
			keep_made(a, made);
			kept(a, made, !IS(failed), 1);
			return 0;
		}
#endif
		if (a->deferred)
			tell_deferred(a);
		else if (a->held)
			a->facts = a->in;
		if (a->sk)
			read_queue(&a->facts, (void *)a->sk, a->facts.proto);
		if (!IS(failed) || IS(lost))
			read_new(&a->facts, made);
		if (selecting & SELECT_TASK && !passing && !IS(failed))
			follow_accepted(made, &a->facts);
		a->done = !IS(failed);
		if (IS(lost))
			a->mark |= MARK_CLIENT_LOST;
		return 0;
	}
	if (a && a->request) {
		request_accepted(task, a, &failed, ret);
		if (IS(lost)) {
			read_new(&a->facts, made);
			a->mark |= MARK_CLIENT_LOST;
		}
		return 0;
	}
	struct facts f;

	__builtin_memset(&f, 0, sizeof(f));
	read_listener(&f, listener);
	if (!IS(failed) || IS(lost))
		read_new(&f, made);
	/* Not ret itself: a trampoline gives it as a pointer, whose sign can't be looked at. */
	if (selecting && !once_selected(task, &f, !IS(failed) || IS(lost), IS(failed) ? -1 : 0, 1)) {
		count_filtered(PROBE_DO_ACCEPT);
		return 0;
	}
	if (IS(failed) && failure_counted(&f, HOOK_DO_ACCEPT, (s32)ret))
		return 0;
	introduce(task, 0);
	e = reserve(PROBE_DO_ACCEPT, &seq, 0);
	if (!e)
		return 0;
	describe(e, task, RETURN, HOOK_DO_ACCEPT, seq);
	e->sockfd = -1;
	e->flags = 0;
	e->ret = IS(failed) ? (s32)ret : 0;
	e->via = via_of(syscall_nr(task)) == VIA_UNKNOWN ? VIA_IO_URING : VIA_UNKNOWN;
	e->mark = IS(failed) ? 0 : MARK_NO_FD;
	e->facts = f;
	if (IS(lost))
		e->mark |= MARK_CLIENT_LOST;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#ifdef ACC_MODERN
/* Whether what an attempt's call came to can be read by plain loads. a->deferred says all of it: see defer. */
static __always_inline bool is_typed(struct attempt *a)
{
	return a->deferred == DEFERRED_ENTRY || (a->in_flight && !a->untold && is_kept(a));
}

/* The same for a system call's attempt that accepted, or found nothing; the rest is return_do_accept's. */
static __always_inline int return_do_accept_typed(struct file *listener, struct file *made, u64 ret)
{
	KEPT failed = ret >= (u64)-MAX_ERRNO;
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);
	struct socket *sock;
	struct sock *sk = 0;

	if (a && is_typed(a) && (!IS(failed) || (s32)ret == -EAGAIN || (s32)ret == -ERESTARTSYS)) {
		sock = bpf_sock_from_file(listener);
		if (sock)
			sk = sock->sk;
	}
	/* Where the entry is a kprobe's, another thread can have put another file behind the descriptor since. */
	if (!sk || (u64)sk != a->sk)
		return return_do_accept(listener, ret);
	if (a->skipped && !selected_since(task, a))
		return 0;
	if (!IS(failed))
		keep_new(TYPED_BY_PROBE, a, made);
	keep_queue(TYPED_BY_PROBE, a, &a->made, sk);
	kept(a, made, !IS(failed), a->deferred);
	return 0;
}
#endif

/* Writes the return of the attempt in flight. */
static __noinline void tell_return(struct task_struct *task, struct attempt *a, u32 probe, u8 hook, s32 ret)
{
	KEPT accepted = ret >= 0;
	struct event *e;
	u64 seq = 0;

	if (a->untold) /* it did not come to do_accept */
		enter_late(task, a, file_of(task, a->sockfd));
	if (a->deferred)
		tell_deferred(a);
	if (selecting && !end_selected(task, a, probe, ret))
		return;
	if (repeat_counted(a, hook, ret))
		return;
	if (selecting || a->held)
		introduce(task, a);
	if (a->held && still_young(a, hook))
		tell_enter(task, a, &a->in, a->in.family == AF_UNIX ? (void *)a->sk : 0);
	if (IS(accepted) && !a->done) {
		/* What do_accept returned was not seen. The descriptor may still be open. */
		u64 ino;
		struct file *file = file_of(task, ret);

		if (file && file_sock(file, &ino)) {
			read_new(&a->facts, file);
			a->done = 1;
		}
	}
	e = reserve(probe, &seq, 0);
	if (!e)
		return;
	if (a->who.tid)
		identify_again(e, &a->who);
	else
		identify(e, task);
	stamp(e, RETURN, hook, seq, bpf_ktime_get_boot_ns());
	e->ret = ret;
	e->mark = a->mark;
	e->sockfd = a->sockfd;
	e->flags = a->flags;
	e->via = a->via;
	if (a->enter_lost)
		e->mark |= MARK_ENTER_LOST;
	e->facts = a->facts;
	if (IS(accepted) && !a->done) {
		/* The facts are the listener's: keep but its own. */
		__builtin_memset(&e->facts, 0, sizeof(e->facts));
		e->facts.listener = a->facts.listener;
		e->facts.netns = a->facts.netns;
		e->facts.backlog = a->facts.backlog;
		e->facts.backlog_max = a->facts.backlog_max;
		e->mark |= MARK_NO_FACTS;
	}
	if (IS(accepted) && a->addr)
		tell_address(e, a, a->facts.family == AF_UNIX ? file_of(task, ret) : 0);
	bpf_ringbuf_submit(e, 0);
}

/* What is known of a call of which no entry was seen. */
struct unknown {
	u32 probe;
	s32 sockfd; /* -1: not even that */
	s32 ret;
	u16 mark;
	u8 hook;
	u8 via;
};

/* Writes the return of such a call. made: the new socket's file, if it is known. */
static __noinline void tell_unknown(struct task_struct *task, struct unknown *u, struct file *made)
{
	struct event *e;
	struct facts f;
	u64 seq = 0;
	u64 ino;

	__builtin_memset(&f, 0, sizeof(f));
	if (u->sockfd >= 0)
		read_listener(&f, file_of(task, u->sockfd));
	if (u->ret >= 0) {
		if (!made)
			made = file_of(task, u->ret);
		if (made && file_sock(made, &ino))
			read_new(&f, made);
		else
			u->mark |= MARK_NO_FACTS;
	}
	if (selecting && !once_selected(task, &f, u->ret >= 0, u->ret, 1)) {
		count_filtered(u->probe);
		return;
	}
	if (u->ret < 0 && failure_counted(&f, u->hook, u->ret))
		return;
	introduce(task, 0);
	/* As constants: the verifier of 5.10 forgets a bound. */
	if (u->probe == PROBE_RETURN)
		e = reserve(PROBE_RETURN, &seq, 0);
	else if (u->probe == PROBE_SYS_EXIT)
		e = reserve(PROBE_SYS_EXIT, &seq, 0);
	else
		e = reserve(PROBE_FD_INSTALL, &seq, 0);
	if (!e)
		return;
	describe(e, task, RETURN, u->hook, seq);
	e->ret = u->ret;
	e->mark = u->mark;
	e->sockfd = u->sockfd;
	e->flags = 0;
	e->via = u->via;
	e->facts = f;
	bpf_ringbuf_submit(e, 0);
}

static __always_inline int return_accept(s32 ret)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);

	if (a && a->in_flight) {
		if (watch & WATCH_ENDING)
			return 0; /* the recorder looks for what is in flight */
#ifdef ACC_MODERN
		if (call_returns(a, ret)) {
			attempt_done(a);
			return 0;
		}
#endif
		tell_return(task, a, PROBE_RETURN, HOOK_SYS_ACCEPT4, ret);
		attempt_done(a);
		return 0;
	}
	struct unknown u = {
		.probe = PROBE_RETURN, .hook = HOOK_SYS_ACCEPT4, .via = via_of(syscall_nr(task)), .sockfd = -1, .ret = ret,
		/* Without memory to note it the entry was still recorded; with memory and no
		 * attempt in it, its probe did not run. */
		.mark = a ? MARK_ENTER_LOST : 0,
	};
	tell_unknown(task, &u, 0);
	if (a)
		a->returned = 1;
	return 0;
}

#endif
