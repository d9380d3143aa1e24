/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A task's attempt in flight, what system call it is in, and what all its events have. */
#ifndef ACC_ATTEMPT_H
#define ACC_ATTEMPT_H

#include "sock.h"
#include "told.h"

/* What a CPU has of its own. A program stays on its CPU; what preempts it there changes the same by add_one. */
static __always_inline struct per_cpu *of_cpu(u32 cpu) { return (struct per_cpu *)ADDRESS(cpus) + (cpu & cpu_mask); }

static __always_inline struct per_cpu *this_cpu(void) { return of_cpu(bpf_get_smp_processor_id()); }

/* The attempt of the current task that is not noted by the thread's number; made if asked to. NULL: none. */
static __always_inline struct attempt *attempt_elsewhere(struct task_struct *task, bool make)
{
#ifdef TASK_STORAGE
	return bpf_task_storage_get(&attempts, task, 0, make ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
#else
	u32 tid = (u32)bpf_get_current_pid_tgid();
	struct attempt *a = bpf_map_lookup_elem(&attempts, &tid);

	if (!a && make) {
		static const struct attempt none;

		bpf_map_update_elem(&attempts, &tid, &none, BPF_NOEXIST);
		a = bpf_map_lookup_elem(&attempts, &tid);
	}
	return a;
#endif
}

#ifdef ACC_MODERN
#define TURN(a) (*(volatile u64 *)&(a)->turn)

/* Gives a place back. What was read and written there comes before. */
#if defined(__TARGET_ARCH_x86)
#define LEAVE(a) (*(volatile u64 *)&(a)->turn = (a)->turn + 1)
#else
#define LEAVE(a) __sync_fetch_and_add(&(a)->turn, 1)
#endif

/*
 * The number of a thread, read once: the compiler takes a load of a task's member for cheap, but it is seven instructions.
 * It has 64 bits: of 32, the compiler clears the others again before each comparison.
 */
static __always_inline u64 tid_of(struct task_struct *task)
{
	u64 tid = (u32)task->pid;

	BRANCH(tid);
	return tid;
}

/* The place of a thread's number, whosever it is now. */
static __always_inline struct attempt *call_place(u64 tid)
{
	return (struct attempt *)ADDRESS(calls) + (tid & (NUM_PLACES - 1));
}
#endif

/* The attempt of the current task; made if asked to. NULL: none. */
static __always_inline struct attempt *attempt_of(struct task_struct *task, bool make)
{
#ifdef ACC_MODERN
	u64 tid = tid_of(task), turn;
	struct attempt *a = call_place(tid);

	if (!make) {
		turn = TURN(a);
		if (turn & 1 && turn >> 32 == tid)
			return a;
	}
#endif
	return attempt_elsewhere(task, make);
}

/* Forgets an attempt, but not that its return was seen while sys_exit may ask for it. */
static __always_inline void attempt_done(struct attempt *a)
{
	a->in_flight = 0;
	a->request = 0;
	a->returned = 1;
#ifdef ACC_MODERN
	if (a->turn) {
		LEAVE(a);
		return;
	}
#endif
#ifndef TASK_STORAGE
	if (!watch) {
		u32 tid = (u32)bpf_get_current_pid_tgid();

		bpf_map_delete_elem(&attempts, &tid);
	}
#endif
}

/* The number of the system call that the current task is in. */
static __always_inline long syscall_nr(struct task_struct *task)
{
	struct pt_regs *regs;

#ifdef ACC_MODERN
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return -1;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
#if defined(__TARGET_ARCH_x86)
	return regs->orig_ax;
#else
	return regs->syscallno;
#endif
#elif defined(__TARGET_ARCH_x86)
	/* The user's registers stand at the very top of the stack, 16 KiB. */
	regs = (struct pt_regs *)((char *)BPF_CORE_READ(task, stack) + 16384 - bpf_core_type_size(struct pt_regs));
	return BPF_CORE_READ(regs, orig_ax);
#else
	return -1;
#endif
}

static __always_inline u8 via_of(long nr)
{
	switch (nr) {
#if defined(__TARGET_ARCH_x86)
	case 43:
	case 43 | 0x40000000: /* x32 */
		return VIA_ACCEPT;
	case 288:
	case 288 | 0x40000000:
	case 364: /* i386 */
		return VIA_ACCEPT4;
	case 102: /* i386 */
		return VIA_SOCKETCALL;
#else
	case 202:
	case 285: /* 32-bit */
		return VIA_ACCEPT;
	case 242:
	case 366: /* 32-bit */
		return VIA_ACCEPT4;
#endif
	}
	return VIA_UNKNOWN;
}

/* By which way a system call that ends asked to accept, and for which descriptor;
 * VIA_UNKNOWN if it did not. */
static __always_inline u8 accept_call(struct task_struct *task, struct pt_regs *regs, s32 *sockfd)
{
#if defined(__TARGET_ARCH_x86)
	u64 nr = 0;

	bpf_probe_read_kernel(&nr, sizeof(nr), &regs->orig_ax);
	if (nr != 43 && nr != 288 && nr != 102 && nr != 364)
		return VIA_UNKNOWN;
	if (!(BPF_CORE_READ(task, thread_info.status) & TS_COMPAT)) {
		*sockfd = BPF_CORE_READ(regs, di);
		return nr == 43 ? VIA_ACCEPT : nr == 288 ? VIA_ACCEPT4 : VIA_UNKNOWN;
	}
	*sockfd = BPF_CORE_READ(regs, bx);
	if (nr == 364)
		return VIA_ACCEPT4;
	if (nr == 102 && (*sockfd == SYS_ACCEPT || *sockfd == SYS_ACCEPT4)) {
		*sockfd = -1;
		bpf_probe_read_user(sockfd, sizeof(*sockfd), (void *)BPF_CORE_READ(regs, cx));
		return VIA_SOCKETCALL;
	}
#else
	s32 nr = BPF_CORE_READ(regs, syscallno);
	bool compat = BPF_CORE_READ(task, thread_info.flags) & TIF_32BIT;

	*sockfd = BPF_CORE_READ(regs, orig_x0);
	if (nr == (compat ? 285 : 202))
		return VIA_ACCEPT;
	if (nr == (compat ? 366 : 242))
		return VIA_ACCEPT4;
#endif
	return VIA_UNKNOWN;
}

#define PF_EXITING 0x4
#define PF_IO_WORKER 0x10

/* Fills in whose event it is. */
static __noinline void identify(struct event *e, struct task_struct *task)
{
#ifdef ACC_MODERN
	struct task_struct *leader = task->group_leader;
	u64 *comm = (u64 *)&task->comm;

	if (task->flags & PF_IO_WORKER) /* the ring's process, not its worker */
		comm = (u64 *)&leader->comm;
	*(u64 *)e->comm = comm[0];
	*(u64 *)(e->comm + 8) = comm[1];
	e->cgroup = task->cgroups->dfl_cgrp->kn->id;
	e->start_ns = leader->start_boottime;
	e->netns = task->nsproxy->net_ns->ns.inum;
	e->pid = task->tgid;
	e->tid = task->pid;
	e->uid = task->cred->uid.val;
#else
	u64 id = bpf_get_current_pid_tgid();

	*(u64 *)e->comm = 0;
	*(u64 *)(e->comm + 8) = 0;
	if (BPF_CORE_READ(task, flags) & PF_IO_WORKER)
		bpf_probe_read_kernel_str(e->comm, sizeof(e->comm), BPF_CORE_READ(task, group_leader)->comm);
	else
		bpf_get_current_comm(e->comm, sizeof(e->comm));
	e->cgroup = bpf_get_current_cgroup_id();
	e->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	e->netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	e->pid = id >> 32;
	e->tid = (u32)id;
	e->uid = (u32)bpf_get_current_uid_gid();
#endif
}

/* Fills in whose event it is, of a task that need not be the current one, nor live. */
static __noinline void identify_other(struct event *e, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	e->pid = BPF_CORE_READ(task, tgid);
	e->tid = BPF_CORE_READ(task, pid);
	if (BPF_CORE_READ(leader, pid) != e->pid || BPF_CORE_READ(leader, tgid) != e->pid)
		leader = task; /* a thread that has ended: the process's first one may be gone */
	*(u64 *)e->comm = 0;
	*(u64 *)(e->comm + 8) = 0;
	bpf_probe_read_kernel_str(e->comm, sizeof(e->comm), BPF_CORE_READ(task, flags) & PF_IO_WORKER ? leader->comm : task->comm);
	e->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	e->start_ns = BPF_CORE_READ(leader, start_boottime);
	e->netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	e->uid = BPF_CORE_READ(task, cred, uid.val);
}

/* Who asked for a request of io_uring, whoever runs it, or ends it. NULL: not known. */
static __noinline struct task_struct *asker(struct io_kiocb *req)
{
	struct task_struct *task = 0;
	struct io_uring_task *tctx = 0;
	u32 at;

	if (bpf_core_field_exists(struct io_kiocb, task)) {
		at = bpf_core_field_offset(struct io_kiocb, task);
		BRANCH(at);
		bpf_probe_read_kernel(&task, sizeof(task), (void *)req + at);
	} else if (bpf_core_field_exists(struct io_kiocb___tctx, tctx)) {
		at = bpf_core_field_offset(struct io_kiocb___tctx, tctx);
		BRANCH(at);
		bpf_probe_read_kernel(&tctx, sizeof(tctx), (void *)req + at);
		task = BPF_CORE_READ(tctx, task);
	}
	return task;
}

/* Fills in whose request it is: the thread that runs it if that is one of the asker's process, else the asker. */
static __always_inline void identify_asker(struct event *e, struct task_struct *task, struct task_struct *asked)
{
	if (asked && BPF_CORE_READ(asked, tgid) != (int)(bpf_get_current_pid_tgid() >> 32))
		identify_other(e, asked);
	else
		identify(e, task);
}

/* Keeps whose event it is for the other end of the attempt. */
static __always_inline void keep_identity(struct identity *who, struct event *e)
{
	*who = (struct identity){
		.cgroup = e->cgroup, .start_ns = e->start_ns, .pid = e->pid, .tid = e->tid, .uid = e->uid, .netns = e->netns,
		.comm = {*(u64 *)e->comm, *(u64 *)(e->comm + 8)},
	};
}

/* Fills in what keep_identity kept, or identify_task read. */
static __always_inline void identify_again(struct event *e, struct identity *who)
{
	e->cgroup = who->cgroup;
	e->start_ns = who->start_ns;
	e->pid = who->pid;
	e->tid = who->tid;
	e->uid = who->uid;
	e->netns = who->netns;
	*(u64 *)e->comm = who->comm[0];
	*(u64 *)(e->comm + 8) = who->comm[1];
}

#ifdef ACC_MODERN
/* Makes a part of an attempt a value. If it had another one, no earlier call is like this one (see call.h). */
#define KEEP(a, part, value)                                                                                     \
	do {                                                                                                     \
		typeof(part) now_ = (value);                                                                     \
                                                                                                                 \
		if ((part) != now_) {                                                                            \
			(part) = now_;                                                                           \
			(a)->base = 0;                                                                           \
		}                                                                                                \
	} while (0)

/* Reads again what is not the same for all of a task's attempts under one exec and in one cgroup. */
static __always_inline void identify_anew(struct attempt *a, struct task_struct *task)
{
	u64 *comm = (u64 *)&task->comm;

	KEEP(a, a->who.comm[0], comm[0]);
	KEEP(a, a->who.comm[1], comm[1]);
	KEEP(a, a->who.uid, task->cred->uid.val);
	KEEP(a, a->who.netns, task->nsproxy->net_ns->ns.inum);
}

/* Reads whose the attempts of a task in a system call are. */
static __always_inline void identify_task(struct attempt *a, struct task_struct *task)
{
	if (!a->who.tid) {
		a->base = 0;
		a->who.cgroup = task->cgroups->dfl_cgrp->kn->id;
		a->who.start_ns = task->group_leader->start_boottime;
		a->who.pid = task->tgid;
		a->who.tid = task->pid;
	}
	identify_anew(a, task);
}
#else
#define KEEP(a, part, value) ((part) = (value))
#define identify_anew(a, task)
#endif

#ifdef TASK_STORAGE
#define SAME_TASK 1
#else
#define SAME_TASK 0 /* what is noted under its number may be another's */
#endif

/* Fills in what every event has beside whose it is. */
static __always_inline void stamp(struct event *e, u8 kind, u8 hook, u64 seq, u64 boot_ns)
{
	e->boot_ns = boot_ns;
	e->cpu_seq = seq;
	e->cpu = bpf_get_smp_processor_id();
	e->kind = kind;
	e->hook = hook;
	e->user_data = 0;
	e->uring = 0;
	e->mark = 0;
	e->has_addr = 0;
	e->has_addrlen = 0;
	e->uring_end = 0;
	e->cause = 0;
	__builtin_memset(e->spare, 0, sizeof(e->spare));
	__builtin_memset(&e->told, 0, sizeof(e->told));
}

/* Fills in what every event has. */
static __always_inline void describe(struct event *e, struct task_struct *task, u8 kind, u8 hook, u64 seq)
{
	identify(e, task);
	stamp(e, kind, hook, seq, bpf_ktime_get_boot_ns());
}

/* Counts a hit and makes room for its event; NULL: the ring is full. unix_sk: a
 * socket in the UNIX domain whose name is wanted, or NULL. */
static __always_inline struct event *reserve(u32 probe, u64 *seq, void *unix_sk)
{
	struct per_cpu *c = this_cpu();
	struct event *e;

	if (watch & WATCH_ENDING)
		return 0;
	*seq = add_one(&c->hits[probe]);
	if (unix_sk) {
		struct named_event *named = bpf_ringbuf_reserve(&events, sizeof(*named), 0);

		if (named) {
			read_unix_name(&named->name, unix_sk);
			return &named->event;
		}
		e = 0;
	} else {
		e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	}
	if (!e)
		__sync_fetch_and_add(&c->lost[probe], 1);
	return e;
}

/* Reads the listener that an open file is, with its queue; NULL if it is no socket. */
static __noinline void *read_listener(struct facts *f, struct file *file)
{
	void *sk = file ? file_sock(file, &f->listener) : 0;

	if (sk) {
		read_sock(f, sk, 0);
		read_queue(f, sk, f->proto);
	}
	return sk;
}

/* Reads the new socket's facts over those of the listener in f. */
static __noinline void read_new(struct facts *f, struct file *file)
{
	void *sk = file_sock(file, &f->inode);

	__builtin_memset(f->laddr, 0, 16);
	if (sk)
		read_sock(f, sk, 1);
}

/* Whether eight bytes at an address are in one page, whatever the size of pages is. */
#define IN_PAGE(addr) (((addr) & 4095) <= 4096 - 8)

/* Reads a length from the program's memory. Eight bytes are copied by one move, four by four. */
static __always_inline s32 read_length(u64 addr)
{
	u64 word = 0; /* on the stack: the kernel checks long where else a copy goes */

	if (IN_PAGE(addr))
		bpf_probe_read_user(&word, sizeof(word), (void *)addr);
	else
		bpf_probe_read_user(&word, sizeof(s32), (void *)addr);
	return (s32)word;
}

/* Notes where the program wants the peer's address, and how much of it. */
static __always_inline void note_buffer(struct attempt *a, u64 addr, u64 addrlen)
{
	if (a->addr != addr || a->addrlen != addrlen) {
		if (!a->addr != !addr || !a->addrlen != !addrlen) /* no earlier call is like this one */
			a->base = 0;
		a->addr = addr;
		a->addrlen = addrlen;
	}
	KEEP(a, a->addrlen_in, addrlen ? read_length(addrlen) : 0);
}

/* Reads what the program was told of the peer of its new socket. file: that, or NULL. */
static __always_inline void tell_address(struct event *e, struct attempt *a, struct file *file)
{
	u64 ino;
	void *sk = 0;

	if (!a->addr)
		return;
	e->told.addrlen_in = a->addrlen_in;
	if (e->facts.family == AF_UNIX && file)
		sk = file_sock(file, &ino);
	e->mark |= read_told(&e->told, &e->facts, a->addr, a->addrlen, sk);
}

#endif
