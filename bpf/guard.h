/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The rate guard: calls that fail cost their program little, so that one which fails in a loop would push what others do
 * out of the ring and fill the disk. Beyond a rate of its process, or five times that of its user, a failed call is
 * counted by process, listener and error instead; it takes no number. What accepts is always recorded.
 *
 * A call is decided at its entry: while somebody is over its rate (guard_until), the entry of such a process is held
 * until its return. Nobody else looks at more than guard_until, and what fails at its bucket.
 */
#ifndef ACC_GUARD_H
#define ACC_GUARD_H

#include "attempt.h"

/* Set by the recorder. */
volatile const u64 guard_step = 0;  /* ns for each failed call of a process, 0: no bound */
volatile const u64 guard_burst = 0; /* ns that a process's bucket holds */
volatile const u64 guard_burst_of_user = 0;
volatile const u32 guard_seed = 0;  /* so that nobody can choose a process that shares another's bucket */

#define GUARD_USERS 5 /* times the rate of a process */
#define GUARD_BUCKETS 4096
#define GUARD_STAYS 1000000000
#define GUARD_PAUSE 1000000000 /* ns without a call, after which first_ns is anew */

volatile u64 guard_until = 0; /* boot clock: until then processes are looked at when they begin a call */

/* Of each process, and then of each user, when the failed calls so far will have been paid for. */
VARIABLE(buckets, u64[2 * GUARD_BUCKETS]);

struct repeated_key {
	u64 listener;
	u32 pid; /* 0: processes of the user */
	u32 uid; /* ~0: users */
	s32 ret; /* 0: calls that were recorded but for their entry; 1: errors */
	u32 hook; /* of the return */
};

struct repeated {
	u64 entries;
	u64 returns;
	u64 first_ns;
	u64 last_ns;
	u64 start_ns; /* of the process */
	char comm[16];
	u8 laddr[16];
	u32 netns;
	u16 lport;
	u16 family;
};

const struct repeated_key *unused_repeated_key __attribute__((unused));
const struct repeated *unused_repeated __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct repeated_key);
	__type(value, struct repeated);
} repeats SEC(".maps");

/* By hook of the return, those for which there was no room in repeats. */
#define GUARD_HOOKS 32
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GUARD_HOOKS);
	__type(key, u32);
	__type(value, struct repeated);
} repeats_rest SEC(".maps");

static __always_inline u64 *bucket_of(u32 id, u32 from)
{
	return (u64 *)ADDRESS(buckets) + from + ((((id ^ guard_seed) * 2654435761U) >> 20) & (GUARD_BUCKETS - 1));
}

/* What of a call is counted. */
enum repeat { REPEAT_ENTRY = 1, REPEAT_RETURN = 2 };
enum over { OVER_NOTHING, OVER_PROCESS, OVER_USER };

/* Whether the current process, or its user, is over its rate. */
static __noinline u32 over_rate(u64 now)
{
	u64 *process = bucket_of(bpf_get_current_pid_tgid() >> 32, 0);
	u64 *user = bucket_of((u32)bpf_get_current_uid_gid(), GUARD_BUCKETS);

	if (shedding & SHED_FAILURES)
		return OVER_PROCESS;
	if (*process > now + guard_burst)
		return OVER_PROCESS;
	return *user > now + guard_burst_of_user ? OVER_USER : OVER_NOTHING;
}

static __always_inline void pay(u64 *bucket, u64 now, u64 step)
{
	if (*(volatile u64 *)bucket < now)
		*(volatile u64 *)bucket = now + step;
	else
		__sync_fetch_and_add(bucket, step);
}

/* A failed call of the current process: it is paid for, or it is over the rate, OVER_. */
static __noinline u32 call_failed(void)
{
	u64 now = bpf_ktime_get_boot_ns();
	u32 over;

	if (!guard_step && !(shedding & SHED_FAILURES))
		return OVER_NOTHING;
	over = over_rate(now);
	if (over) {
		if (guard_until < now + GUARD_STAYS / 2)
			guard_until = now + GUARD_STAYS;
		return over;
	}
	pay(bucket_of(bpf_get_current_pid_tgid() >> 32, 0), now, guard_step);
	pay(bucket_of((u32)bpf_get_current_uid_gid(), GUARD_BUCKETS), now, guard_step / GUARD_USERS);
	return OVER_NOTHING;
}

static __noinline struct repeated *make_repeated(struct repeated_key *key)
{
	static const struct repeated none;
	struct repeated *r = bpf_map_lookup_elem(&repeats, key);

	if (r)
		return r;
	bpf_map_update_elem(&repeats, key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&repeats, key);
}

/* Counts what is not recorded of a call of the current process: its entry, its return, or both. */
static __noinline int count_repeat(struct facts *f, u32 over, u32 hook, s32 ret, u32 what)
{
	struct task_struct *task = current_task();
	struct repeated_key key = {
		.listener = f->listener, .pid = bpf_get_current_pid_tgid() >> 32, .uid = (u32)bpf_get_current_uid_gid(), .ret = ret, .hook = hook,
	};
	u64 now = bpf_ktime_get_boot_ns();
	struct repeated *r = 0;

	if (watch & WATCH_ENDING)
		return 0;
	if (over != OVER_USER)
		r = make_repeated(&key);
	if (!r) {
		key.pid = 0;
		r = make_repeated(&key);
	}
	if (!r) {
		key.listener = 0;
		key.ret = ret < 0;
		r = make_repeated(&key);
	}
	if (!r) {
		hook &= GUARD_HOOKS - 1;
		r = bpf_map_lookup_elem(&repeats_rest, &hook);
	}
	if (!r)
		return 0;
	if (!r->last_ns || now - r->last_ns > GUARD_PAUSE)
		r->first_ns = now;
	r->last_ns = now;
	if (key.listener && !r->family) {
		r->netns = f->netns;
		r->lport = f->lport;
		r->family = f->family;
		*(u64 *)r->laddr = *(u64 *)f->laddr;
		*(u64 *)(r->laddr + 8) = *(u64 *)(f->laddr + 8);
	}
	if (key.pid && !r->start_ns) {
		r->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
		bpf_get_current_comm(r->comm, sizeof(r->comm));
	}
	if (what & REPEAT_ENTRY)
		__sync_fetch_and_add(&r->entries, 1);
	if (what & REPEAT_RETURN)
		__sync_fetch_and_add(&r->returns, 1);
	return 0;
}

/* Whether the entry of an attempt that begins is to be held, since its process is over its rate. */
static __always_inline bool over_now(struct attempt *a) { return guard_until > a->enter_ns && over_rate(a->enter_ns); }

/* Holds it. */
static __always_inline int hold_entry(struct attempt *a, void *sk)
{
	a->untold = 0;
	a->sk = (u64)sk;
	a->held = 1;
	a->guarded = 1;
	return 0;
}

/* The return of an attempt. True: it is counted, with its entry. */
static __always_inline bool repeat_counted(struct attempt *a, u32 hook, s32 ret)
{
	u32 over;

	if (ret >= 0)
		return 0;
	over = call_failed();
	if (!over || !a->held)
		return 0;
	count_repeat(&a->in, over, hook, ret, REPEAT_ENTRY | REPEAT_RETURN);
	return 1;
}

/* The failure of an attempt of one event. True: it is counted. */
static __noinline bool failure_counted(struct facts *f, u32 hook, s32 ret)
{
	u32 over = call_failed();

	if (over)
		count_repeat(f, over, hook, ret, REPEAT_RETURN);
	return over != OVER_NOTHING;
}

#endif
