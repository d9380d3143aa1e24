/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Calls that should not wait. Their entry is noted in the place of the thread's number (see attempt.h) and deferred
 * until the return: then one record has both events. A thread mostly does what it did before: what stays the same from
 * call to call stays in its place, and a call for which nothing of that has changed is a record that has the rest
 * alone (struct same_call). Whatever does not fit is written as two records.
 */
#ifndef ACC_CALL_H
#define ACC_CALL_H

#include "keep.h"
#include "process.h"
#include "select.h"

/* Writes what is noted in a of an entry, but for its facts. */
static __always_inline void write_enter(struct event *e, struct attempt *a, u64 seq)
{
	stamp(e, ENTER, HOOK_SYS_ACCEPT4, seq, a->enter_ns);
	e->sockfd = a->sockfd;
	e->flags = a->flags;
	e->ret = 0;
	e->via = a->via;
	e->mark = a->enter_mark;
	e->has_addr = a->addr != 0;
	e->has_addrlen = a->addrlen != 0;
	e->told.addrlen_in = a->addrlen_in;
}

_Static_assert(sizeof(struct event) == 232 && sizeof(struct entry) == 56,
	       "what is new in an event is kept by KEEP, or is in struct same_call: else repeats have that of an earlier call");

#ifdef ACC_MODERN
/* Fills in the facts of the return of a call from what is kept. */
static __always_inline void describe_made(struct attempt *a)
{
	if (a->done) {
		a->facts = a->made;
		return;
	}
	a->facts = a->in;
	a->facts.backlog = a->made.backlog;
	a->facts.backlog_max = a->made.backlog_max;
}

/* Writes an entry that was deferred, with the number that it has: it and its return do not fit into one record. */
static __noinline void tell_deferred(struct attempt *a)
{
	struct event *e;

	if (a->deferred == DEFERRED_RETURN)
		describe_made(a);
	else
		a->facts = a->in;
	a->deferred = NOT_DEFERRED;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		a->enter_lost = 1;
		__sync_fetch_and_add(&this_cpu()->lost[PROBE_ENTER], 1);
		return;
	}
	identify_again(e, &a->who);
	write_enter(e, a, a->enter_seq);
	e->cpu = a->enter_cpu;
	e->facts = a->in;
	bpf_ringbuf_submit(e, 0);
}

/*
 * The attempt of the current task at a system call that begins. Nobody else has the place of the thread's number
 * while turn is odd. NULL: the kernel gives no memory.
 */
static __always_inline struct attempt *begin_attempt(struct task_struct *task)
{
	u64 was, got, tid = tid_of(task), start = task->start_boottime;
	struct attempt *a = call_place(tid), *other;

	was = TURN(a);
	if (was >> 32 == tid) {
		if (was & 1 && a->deferred) /* its return was missed */
			tell_deferred(a);
		if (watch) {
			if (was & 1 && a->started == start) {
				LEAVE(a);
				other = attempt_elsewhere(task, 1);
				if (other)
					other->in_flight = 1;
				return other;
			}
			a->returned = 0;
			return attempt_elsewhere(task, 1);
		}
	} else if (was & 1 || watch) {
		return attempt_elsewhere(task, 1);
	}
	got = __sync_val_compare_and_swap(&a->turn, was, tid << 32 | (u32)(((u32)was + 1) | 1));
	BRANCH(got);
	if (got != was)
		return attempt_elsewhere(task, 1);
	if (was >> 32 != tid || a->started != start) {
		a->started = start;
		a->known = 0;
		a->who.tid = 0;
		a->in_flight = 0;
		a->deferred = NOT_DEFERRED;
		a->base = 0;
		a->kept = 0;
		a->made.family = 0;
		__builtin_memset(&a->in, 0, sizeof(a->in));
		other = attempt_elsewhere(task, 0);
		if (other && other->in_flight) {
			other->in_flight = 0;
			a->in_flight = 1;
		}
	}
	return a;
}

#define O_NONBLOCK 04000

/*
 * Leaves the entry of a call that should not wait to the record of its return: there is a connection in the queue, or
 * the call does not wait for one. If another thread takes that connection first, the call waits all the same, and the
 * recorder finds its entry in the map. False: the entry is to be written now.
 */
static __always_inline bool defer(struct task_struct *task, struct attempt *a, void *listener, struct file *file)
{
	u32 cpu;

	if (!a->turn || !listener || (a->in.family != AF_INET && a->in.family != AF_INET6) || a->in.proto == IPPROTO_MPTCP)
		return 0;
	if (!a->in.backlog && !(BPF_CORE_READ(file, f_flags) & O_NONBLOCK))
		return 0;
	if (watch)
		return 0;
	identify_task(a, task);
	a->untold = 0;
	a->sk = (u64)listener;
	cpu = bpf_get_smp_processor_id();
	a->enter_cpu = cpu;
	a->enter_seq = add_one(&of_cpu(cpu)->hits[PROBE_ENTER]);
	a->deferred = DEFERRED_ENTRY;
	return 1;
}
#else
#define begin_attempt(task) attempt_of(task, 1)
#define defer(task, a, listener, file) 0
#define tell_deferred(a)
#endif

#ifdef ACC_MODERN
/* Reads an IPv4 address and its length from the program's memory: at once where the length stands right before the
 * address, or right behind it, as compilers mostly put them. False: it can't be read. */
static __always_inline bool read_address_v4(u64 addr, u64 addrlen, u64 *got, s32 *len)
{
	u64 both[3];

	if (addr - addrlen == 4 && !bpf_probe_read_user(both, 16, (void *)addrlen)) { /* of the 16 that are there, 12 */
		*len = (s32)both[0];
		*got = both[0] >> 32 | both[1] << 32;
		return 1;
	}
	if (addrlen - addr == 16 && IN_PAGE(addrlen) && !bpf_probe_read_user(both, 24, (void *)addr)) {
		*len = (s32)both[2];
		*got = both[0];
		return 1;
	}
	return !bpf_probe_read_user(len, sizeof(*len), (void *)addrlen) && !bpf_probe_read_user(got, sizeof(*got), (void *)addr);
}

/* Whether the address that the program got, and its length, are those of its new socket's peer, in full. */
static __always_inline bool told_right(struct attempt *a)
{
	struct facts *f = &a->made;
	u64 got[4];
	s32 len = 0;

	if (f->family == AF_INET) {
		u64 want = AF_INET | (u64)__builtin_bswap16(f->rport) << 16 | (u64)*(u32 *)f->raddr << 32;

		return a->addrlen_in >= 16 && read_address_v4(a->addr, a->addrlen, got, &len) && got[0] == want && len == 16;
	}
	if (f->family != AF_INET6 || a->addrlen_in < 28 || bpf_probe_read_user(&len, sizeof(len), (void *)a->addrlen) ||
	    bpf_probe_read_user(got, 28, (void *)a->addr))
		return 0;
	return len == 28 && (u32)got[0] == (AF_INET6 | (u32)__builtin_bswap16(f->rport) << 16) && got[1] == *(u64 *)f->raddr &&
	       got[2] == *(u64 *)(f->raddr + 8);
}

/* Whether the entry of this call was deferred and fits into one record with its return. */
static __always_inline bool is_call(struct attempt *a, s32 ret)
{
	if (a->deferred != DEFERRED_RETURN || a->mark || a->done != (ret >= 0))
		return 0;
	return ret < 0 || (kind_of_socket(&a->made) == kind_of_socket(&a->in) && a->made.netns == a->in.netns);
}

/* Counts the return of the call in flight, and makes room for a record of both its events; NULL: the ring is full. */
static __always_inline void *reserve_call(struct attempt *a, const u64 size, u32 *cpu, u64 *seq)
{
	struct per_cpu *c;
	void *r;

	a->deferred = NOT_DEFERRED;
	*cpu = bpf_get_smp_processor_id();
	c = of_cpu(*cpu);
	*seq = add_one(&c->hits[PROBE_RETURN]);
	r = bpf_ringbuf_reserve(&events, size, 0);
	if (!r) {
		__sync_fetch_and_add(&c->lost[PROBE_ENTER], 1);
		__sync_fetch_and_add(&c->lost[PROBE_RETURN], 1);
	}
	return r;
}

/* Writes both events of the call in flight. right: the program got its peer's address, or did not ask for it. */
static __always_inline void tell_call(struct attempt *a, s32 ret, bool right)
{
	struct call *r;
	struct event *e;
	u64 seq = 0;
	u32 cpu;

	r = reserve_call(a, sizeof(*r), &cpu, &seq);
	if (!r)
		return;
	e = &r->event;
	identify_again(e, &a->who);
	stamp(e, RETURN, HOOK_SYS_ACCEPT4, seq, bpf_ktime_get_boot_ns());
	e->ret = ret;
	e->sockfd = a->sockfd;
	e->flags = a->flags;
	e->via = a->via;
	if (ret >= 0) {
		e->facts = a->made;
	} else {
		e->facts = a->in;
		e->facts.backlog = a->made.backlog;
		e->facts.backlog_max = a->made.backlog_max;
	}
	r->entry.backlog_max = a->in.backlog_max;
	r->entry.state = a->in.state;
	r->entry.lport = a->in.lport;
	*(u64 *)r->entry.laddr = *(u64 *)a->in.laddr;
	*(u64 *)(r->entry.laddr + 8) = *(u64 *)(a->in.laddr + 8);
	r->entry.mark = a->enter_mark;
	r->entry.has_addr = a->addr != 0;
	r->entry.has_addrlen = a->addrlen != 0;
	r->entry.backlog = a->in.backlog;
	r->entry.boot_ns = a->enter_ns;
	r->entry.cpu_seq = a->enter_seq;
	r->entry.cpu = a->enter_cpu;
	e->told.addrlen_in = a->addrlen_in;
	if (ret >= 0 && a->addr) {
		if (right)
			e->told.addrlen_out = a->made.family == AF_INET ? 16 : 28;
		else
			e->mark = read_told(&e->told, &a->made, a->addr, a->addrlen, 0);
	}
	r->entry.base = 0;
	if (right && !a->enter_mark) {
		if (!++a->bases)
			a->bases = 1;
		r->entry.base = a->bases;
		if (ret >= 0) {
			a->base = (a->base >> 32 << 32) | a->bases;
		} else {
			a->base = (u32)a->base | (u64)a->bases << 32;
			a->failed = ret;
		}
	}
	bpf_ringbuf_submit(r, 0);
}

/* Writes both events of the call in flight as what differs from an earlier one. */
static __always_inline void tell_same_call(struct attempt *a, s32 ret, u32 base)
{
	struct same_call *r;
	u64 seq = 0;
	u32 cpu;

	r = reserve_call(a, sizeof(*r), &cpu, &seq);
	if (!r)
		return;
	r->enter_ns = a->enter_ns;
	r->enter_seq = a->enter_seq;
	r->boot_ns = bpf_ktime_get_boot_ns();
	r->cpu_seq = seq;
	r->inode = a->made.inode; /* of a call that failed, this and what follows of the connection is an earlier one's */
	r->cookie = a->made.cookie;
	*(u64 *)r->raddr = *(u64 *)a->made.raddr;
	*(u64 *)(r->raddr + 8) = *(u64 *)(a->made.raddr + 8);
	r->enter_backlog = a->in.backlog;
	r->backlog = a->made.backlog;
	r->enter_cpu = a->enter_cpu;
	r->cpu = cpu;
	r->tid = a->who.tid;
	r->base = base;
	r->ret = ret;
	r->rport = a->made.rport;
	r->unused = 0;
	bpf_ringbuf_submit(r, 0);
}

/* Writes both events of the call in flight, if one record can tell of them. */
static __always_inline bool call_returns(struct attempt *a, s32 ret)
{
	KEPT right = 1;
	u32 base;

	if (!is_call(a, ret))
		return 0;
	if (ret < 0)
		call_failed();
	else if (a->addr)
		right = told_right(a);
	base = ret >= 0 ? a->base : a->base >> 32;
	if (base && IS(right) && !a->enter_mark && (ret >= 0 || ret == a->failed))
		tell_same_call(a, ret, base);
	else
		tell_call(a, ret, IS(right));
	return 1;
}
#endif

#endif
