//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What acc runs in the kernel: probes on the accept path, each as a kprobe and as
 * a trampoline (fentry, fexit) program.
 *
 *   entry of __sys_accept4     an attempt begins: one event
 *   return of do_accept        the new socket: noted for the attempt in flight
 *   return of __sys_accept4    the attempt ends: one event, with what was noted
 *   entry, return of io_accept the same for a request of io_uring, whose attempts
 *                              are one event each: a request may have many
 *   return of kernel_accept    the kernel accepted for itself: one event
 *
 * and, attached only while they are needed, because others pay for them too:
 *
 *   return of any system call  accepts that began before the recording, whose own
 *                              return was missed, or that seccomp refused
 *   fd_install, io_uring_complete  the descriptors and ends of io_uring's accepts
 *
 * life.h has the probes on what happens to a connection before and after.
 *
 * Compiled three times: with -mcpu=v3 and ACC_MODERN for kernels from 5.12, which
 * have fetching atomics and typed tasks; with ACC_HASH too where task storage does
 * not work (it needs cmpxchg16b from 6.18 on, which not every CPU has); and
 * plainly for 5.10.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#include "sock.h"

/* The numbers of format.Kind, format.Hook, format.Via and the marks. */
enum { ENTER = 1, RETURN = 2 };
enum {
	HOOK_SYS_ACCEPT4 = 1, HOOK_DO_ACCEPT, HOOK_IO_ACCEPT, HOOK_IO_COMPLETE, HOOK_KERNEL_ACCEPT, HOOK_SYS_EXIT, HOOK_FD_INSTALL,
};
enum { VIA_UNKNOWN, VIA_ACCEPT, VIA_ACCEPT4, VIA_SOCKETCALL, VIA_IO_URING, VIA_KERNEL };
enum {
	MARK_ENTER_LOST = 1, MARK_PREV_MISSED = 2, MARK_NO_FACTS = 4, MARK_ARMED = 8, MARK_CLIENT_LOST = 16, MARK_BEFORE = 32,
	MARK_NO_FD = 64, MARK_DENIED = 128, MARK_SYN_COOKIE = 256, MARK_FAST_OPEN = 512, MARK_DEFERRED = 1024,
	MARK_SYN_QUEUE = 2048, MARK_ADDR_SHORT = 4096, MARK_ADDR_DIFFERS = 8192,
};
enum { URING_MULTISHOT = 1, URING_DIRECT = 2 };

#include "told.h"

/* The kernel's own numbers. */
enum { EPERM = 1, EBADF = 9, EAGAIN = 11, EACCES = 13, ENOSYS = 38, ECANCELED = 125, ERESTARTSYS = 512 };
#define TS_COMPAT 2       /* x86: the system call came by the 32-bit way */
#define TIF_32BIT (1 << 22) /* arm64 */
enum { SYS_ACCEPT = 5, SYS_ACCEPT4 = 18 }; /* calls of socketcall */
enum { IORING_OP_ACCEPT = 13, IORING_ACCEPT_MULTISHOT = 1 };

/* What an event is counted under. */
enum {
	PROBE_ENTER, PROBE_RETURN, PROBE_DO_ACCEPT, PROBE_IO_ACCEPT, PROBE_IO_COMPLETE, PROBE_KERNEL_ACCEPT, PROBE_SYS_EXIT,
	PROBE_FD_INSTALL, PROBE_HASHDANCE, PROBE_QUEUE_ADD, PROBE_CLOSED, PROBE_STATE, PROBE_CONN_REQUEST, PROBE_SYN_RECV,
	PROBE_CHILD_FORGET, PROBE_LISTEN, NUM_PROBES,
};

/* What differs from event to event of a task comes first, here and in facts: the
 * recorder compares the rest. */
struct event {
	u64 boot_ns;
	u64 cpu_seq;
	u32 cpu;
	s32 ret;
	u64 cgroup;
	u64 start_ns; /* of the process, boot clock */
	u64 user_data;
	u32 pid;
	u32 tid;
	u32 uid;
	u32 netns;
	s32 sockfd;
	u32 flags;
	u8 kind;
	u8 hook;
	u8 via;
	u8 uring;
	u16 mark;
	u8 has_addr;
	u8 has_addrlen;
	char comm[16];
	struct told told;
	struct facts facts;
};

/* An event with the listener's name in the UNIX domain: a ring record of its own size. */
struct named_event {
	struct event event;
	struct unix_name name;
};

const struct event *unused_event __attribute__((unused)); /* keep the types in BTF for Go */
const struct named_event *unused_named_event __attribute__((unused));

/* A task's attempt in flight. */
struct attempt {
	struct facts facts;
	u64 sk;        /* the listener's address, valid while the call holds its file */
	u64 file;      /* a new file whose descriptor is not known yet; kernel_accept: where its socket is put */
	u64 user_data; /* of the request */
	u64 req;       /* its address */
	u64 known;     /* the exec under which the process was introduced, plus one */
	u64 addr;      /* where the program wants the peer's address, 0: nowhere */
	u64 addrlen;   /* where it has the length of that buffer */
	s32 addrlen_in;
	s32 sockfd;
	u32 flags;
	s32 ret;     /* of a request's attempt, as far as it is known */
	u32 slot;    /* of a direct descriptor, as the request gives it: from 1, ~0 is any */
	u16 mark;    /* of a request's attempt */
	u8 via;
	u8 in_flight; /* a system call, or kernel_accept */
	u8 uring;     /* URING_*, of a request */
	u8 request;   /* inside of io_accept */
	u8 pending;   /* the request has an attempt that no event tells of yet */
	u8 attempts;  /* the request has had an attempt in this call of io_accept */
	u8 enter_lost;
	u8 untold;   /* no event tells of the entry yet */
	u8 enter_mark;
	u8 has_addr;
	u8 has_addrlen;
	u64 enter_ns;
	u8 done;     /* do_accept gave a socket and facts describe it */
	u8 returned; /* the return was seen; the end of the system call is to come */
};

struct counters {
	u64 hits[NUM_PROBES];
	u64 lost[NUM_PROBES];
	u64 no_attempt; /* entries for which the kernel gave no memory to note the attempt */
};

/* Set by the recorder. */
volatile const u64 multishot_flag = 0; /* of io_kiocb.flags, where io_accept does not have it */
#ifdef ACC_MODERN
volatile const u32 with_cookies = 1; /* all probes of a connection's life can give its cookie */
#else
volatile const u32 with_cookies = 0;
#endif
volatile u32 watch = 0;                /* what sys_exit is to look for */
enum { WATCH_RETURNS = 1, WATCH_BEFORE = 2, WATCH_DENIED = 4, WATCH_ENDING = 8 };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

#include "process.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counters);
} counts SEC(".maps");

#if defined(ACC_MODERN) && !defined(ACC_HASH)
#define TASK_STORAGE
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct attempt);
} attempts SEC(".maps");
#else
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, struct attempt);
} attempts SEC(".maps");
#endif

/* Tasks that sat in accept when the recording began, and their descriptor; filled by the recorder. */
#define SLEEPER_TOLD -2 /* its return was told when its new descriptor was installed */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, u32);
	__type(value, s32);
} sleepers SEC(".maps");

/* Requests of io_uring whose failure was told, until they complete. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u8);
} failed SEC(".maps");

#ifdef ACC_MODERN
#define current_task() bpf_get_current_task_btf()
#define add_one(p) (__sync_fetch_and_add((p), 1) + 1)
#else
#define current_task() ((struct task_struct *)bpf_get_current_task())
#define add_one(p) (++*(p)) /* the kernel does not preempt programs here */
#endif

static __always_inline struct counters *counters(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&counts, &zero);
}

/* The attempt of the current task; made if asked to. NULL: none. */
static __always_inline struct attempt *attempt_of(struct task_struct *task, bool make)
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

/* Forgets an attempt, but not that its return was seen while sys_exit may ask for it. */
static __always_inline void attempt_done(struct attempt *a)
{
	a->in_flight = 0;
	a->request = 0;
	a->returned = 1;
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

#define PF_IO_WORKER 0x10

/* Fills in what every event has. */
static __noinline void describe(struct event *e, struct task_struct *task, u8 kind, u8 hook, u64 seq)
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
	e->boot_ns = bpf_ktime_get_boot_ns();
	e->cpu_seq = seq;
	e->cpu = bpf_get_smp_processor_id();
	e->kind = kind;
	e->hook = hook;
	e->user_data = 0;
	e->uring = 0;
	e->mark = 0;
	e->has_addr = 0;
	e->has_addrlen = 0;
	__builtin_memset(&e->told, 0, sizeof(e->told));
}

/* Counts a hit and makes room for its event; NULL: the ring is full. unix_sk: a
 * socket in the UNIX domain whose name is wanted, or NULL. */
static __always_inline struct event *reserve(u32 probe, u64 *seq, void *unix_sk)
{
	struct counters *c = counters();
	struct event *e;

	if (!c)
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

/* Notes where the program wants the peer's address, and how much of it. */
static __always_inline void note_buffer(struct attempt *a, u64 addr, u64 addrlen)
{
	a->addr = addr;
	a->addrlen = addrlen;
	a->addrlen_in = 0;
	if (addrlen)
		bpf_probe_read_user(&a->addrlen_in, sizeof(a->addrlen_in), (void *)addrlen);
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

#include "typed.h"

/* Writes the entry that is noted in a. listener: its socket, or NULL. */
static __noinline void tell_enter(struct task_struct *task, struct attempt *a, void *listener)
{
	struct event *e;
	u64 seq = 0;

	a->untold = 0;
	a->sk = (u64)listener;
	e = reserve(PROBE_ENTER, &seq, a->facts.family == AF_UNIX ? listener : 0);
	a->enter_lost = !e;
	if (!e)
		return;
	describe(e, task, ENTER, HOOK_SYS_ACCEPT4, seq);
	e->boot_ns = a->enter_ns;
	e->sockfd = a->sockfd;
	e->flags = a->flags;
	e->ret = 0;
	e->via = a->via;
	e->mark = a->enter_mark;
	e->has_addr = a->has_addr;
	e->has_addrlen = a->has_addrlen;
	e->told.addrlen_in = a->addrlen_in;
	e->facts = a->facts;
	bpf_ringbuf_submit(e, 0);
}

/* Notes an entry that is to be told. */
static __always_inline void note_accept(struct task_struct *task, struct attempt *a, s32 fd, u64 addr, u64 addrlen, u32 flags)
{
	__builtin_memset(&a->facts, 0, sizeof(a->facts));
	a->enter_ns = bpf_ktime_get_boot_ns();
	a->sockfd = fd;
	a->flags = flags;
	note_buffer(a, addr, addrlen);
	a->has_addr = addr != 0;
	a->has_addrlen = addrlen != 0;
	a->via = via_of(syscall_nr(task));
	a->sk = 0;
	a->mark = 0;
	a->enter_mark = 0;
	if (a->in_flight)
		a->enter_mark = MARK_PREV_MISSED;
	a->done = 0;
	a->request = 0;
	a->pending = 0;
	a->returned = 0;
	a->enter_lost = 0;
	a->untold = 1;
	a->in_flight = 1;
}

static __always_inline int enter_accept(s32 fd, u64 addr, u64 addrlen, u32 flags)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 1);
	struct attempt spare;

	introduce(task, a ? &a->known : 0);
	if (!a) {
		struct counters *c = counters();

		if (c)
			__sync_fetch_and_add(&c->no_attempt, 1);
		__builtin_memset(&spare, 0, sizeof(spare));
		a = &spare;
	}
	note_accept(task, a, fd, addr, addrlen, flags);
	tell_enter(task, a, read_listener(&a->facts, file_of(task, fd)));
	return 0;
}

#ifdef ACC_MODERN
/* The entry where do_accept has a probe, too, which reads the listener and tells of the entry. */
static __always_inline int enter_accept_noted(s32 fd, u64 addr, u64 addrlen, u32 flags)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 1);

	if (!a)
		return enter_accept(fd, addr, addrlen, flags);
	note_accept(task, a, fd, addr, addrlen, flags);
	return 0;
}

static __always_inline int enter_do_accept(struct file *file)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);
	void *sk;

	if (!a || !a->in_flight || !a->untold)
		return 0;
	introduce(task, &a->known);
	sk = typed_listener(&a->facts, file);
	tell_enter(task, a, sk);
	return 0;
}
#endif

/* Writes the event of a request's attempt. */
static __noinline void tell_request(struct task_struct *task, struct attempt *a, u32 probe, u8 hook)
{
	struct event *e;
	u64 seq = 0;

	a->pending = 0;
	if (a->ret < 0 && !(a->mark & MARK_ARMED)) {
		u8 yes = 1;

		bpf_map_update_elem(&failed, &a->req, &yes, BPF_ANY);
	}
	e = reserve(probe, &seq, a->facts.family == AF_UNIX ? (void *)a->sk : 0);
	if (!e)
		return;
	describe(e, task, RETURN, hook, seq);
	e->sockfd = a->sockfd;
	e->flags = a->flags;
	e->ret = a->ret;
	e->via = VIA_IO_URING;
	e->uring = a->uring;
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
		tell_request(task, a, PROBE_DO_ACCEPT, HOOK_DO_ACCEPT);
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

/* listener: its file, NULL if the probe does not see it. */
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
		if (a->sk)
			read_queue(&a->facts, (void *)a->sk, a->facts.proto);
		if (!IS(failed) || IS(lost))
			read_new(&a->facts, made);
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
	if (watch & WATCH_ENDING)
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
	__builtin_memset(&e->facts, 0, sizeof(e->facts));
	read_listener(&e->facts, listener);
	if (!IS(failed) || IS(lost))
		read_new(&e->facts, made);
	if (IS(lost))
		e->mark |= MARK_CLIENT_LOST;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#ifdef ACC_MODERN
/* The same for a system call's attempt; the rest is return_do_accept's. */
static __always_inline int return_do_accept_typed(struct file *listener, struct file *made, u64 ret)
{
	struct attempt *a = attempt_of(current_task(), 0);
	struct socket *sock;
	struct sock *sk;

	if (ret >= (u64)-MAX_ERRNO || !a || !a->in_flight)
		return return_do_accept(listener, ret);
	sock = bpf_sock_from_file(listener);
	if (sock) {
		sk = sock->sk;
		if (sk)
			typed_queue(&a->facts, sk);
	}
	typed_new(&a->facts, made);
	a->done = 1;
	return 0;
}
#endif

/* Writes the return of the attempt in flight. */
static __noinline void tell_return(struct task_struct *task, struct attempt *a, u32 probe, u8 hook, s32 ret)
{
	KEPT accepted = ret >= 0;
	struct event *e;
	u64 seq = 0;

	if (a->untold) { /* it did not come to do_accept */
		introduce(task, &a->known);
		tell_enter(task, a, read_listener(&a->facts, file_of(task, a->sockfd)));
	}
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
	describe(e, task, RETURN, hook, seq);
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
		e->facts.backlog = a->facts.backlog;
		e->facts.backlog_max = a->facts.backlog_max;
		e->mark |= MARK_NO_FACTS;
	}
	if (IS(accepted))
		tell_address(e, a, file_of(task, ret));
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
	u64 seq = 0;
	u64 ino;

	if (u->probe >= NUM_PROBES)
		return;
	e = reserve(u->probe, &seq, 0);
	if (!e)
		return;
	describe(e, task, RETURN, u->hook, seq);
	e->ret = u->ret;
	e->mark = u->mark;
	e->sockfd = u->sockfd;
	e->flags = 0;
	e->via = u->via;
	__builtin_memset(&e->facts, 0, sizeof(e->facts));
	if (*(volatile s32 *)&e->sockfd >= 0)
		read_listener(&e->facts, file_of(task, u->sockfd));
	if (*(volatile s32 *)&e->ret >= 0) {
		if (!made)
			made = file_of(task, u->ret);
		if (made && file_sock(made, &ino))
			read_new(&e->facts, made);
		else
			e->mark |= MARK_NO_FACTS;
	}
	bpf_ringbuf_submit(e, 0);
}

static __always_inline int return_accept(s32 ret)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);

	if (a && a->in_flight) {
		tell_return(task, a, PROBE_RETURN, HOOK_SYS_ACCEPT4, ret);
		attempt_done(a);
		return 0;
	}
	if (watch & WATCH_ENDING) /* entries are not seen any more */
		return 0;
	introduce(task, 0);
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
	introduce(task, &a->known);
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

/* Trampoline programs. On kernels before 5.17 the entry can't be one: their
 * verifier refuses to read an int pointer among the arguments. */

#ifdef ACC_MODERN
SEC("fentry/__sys_accept4")
int fentry___sys_accept4(u64 *ctx)
{
	u64 addr = 0, addrlen = 0;

	bpf_get_func_arg(ctx, 1, &addr);
	bpf_get_func_arg(ctx, 2, &addrlen);
	return enter_accept_noted(ctx[0], addr, addrlen, ctx[3]);
}

SEC("fentry/do_accept")
int fentry_do_accept(u64 *ctx)
{
	return enter_do_accept((struct file *)ctx[0]);
}
#endif

SEC("fexit/do_accept")
int fexit_do_accept(u64 *ctx)
{
#ifdef ACC_MODERN
	return return_do_accept_typed((struct file *)ctx[0], (struct file *)ctx[5], ctx[5]);
#else
	u64 ret = 0; /* as a number: the verifier takes it for nothing but a pointer */

	bpf_probe_read_kernel(&ret, sizeof(ret), &ctx[5]);
	return return_do_accept((struct file *)ctx[0], ret);
#endif
}

SEC("fexit/__sys_accept4")
int fexit___sys_accept4(u64 *ctx)
{
	return return_accept(ctx[4]);
}

SEC("fentry/io_accept")
int fentry_io_accept(u64 *ctx)
{
	return enter_request((struct io_kiocb *)ctx[0]);
}

SEC("fexit/io_accept")
int fexit_io_accept(u64 *ctx)
{
	return return_request(ctx[2]);
}

SEC("fexit/io_fixed_fd_install")
int fexit_io_fixed_fd_install(u64 *ctx)
{
	return return_fixed_install(ctx[4]);
}

SEC("fentry/fd_install")
int fentry_fd_install(u64 *ctx)
{
	return install(ctx[0], (struct file *)ctx[1]);
}

SEC("kprobe/__sys_accept4")
int kprobe___sys_accept4(struct pt_regs *ctx)
{
	return enter_accept(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx), PT_REGS_PARM4(ctx));
}

SEC("kretprobe/do_accept")
int kretprobe_do_accept(struct pt_regs *ctx)
{
	return return_do_accept(0, PT_REGS_RC(ctx));
}

SEC("kretprobe/__sys_accept4")
int kretprobe___sys_accept4(struct pt_regs *ctx)
{
	return return_accept(PT_REGS_RC(ctx));
}

SEC("kprobe/io_accept")
int kprobe_io_accept(struct pt_regs *ctx)
{
	return enter_request((struct io_kiocb *)PT_REGS_PARM1(ctx));
}

SEC("kretprobe/io_accept")
int kretprobe_io_accept(struct pt_regs *ctx)
{
	return return_request(PT_REGS_RC(ctx));
}

SEC("kretprobe/io_fixed_fd_install")
int kretprobe_io_fixed_fd_install(struct pt_regs *ctx)
{
	return return_fixed_install(PT_REGS_RC(ctx));
}

SEC("kprobe/kernel_accept")
int kprobe_kernel_accept(struct pt_regs *ctx)
{
	return enter_kernel((struct socket *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM2(ctx));
}

SEC("kretprobe/kernel_accept")
int kretprobe_kernel_accept(struct pt_regs *ctx)
{
	return return_kernel_noted(PT_REGS_RC(ctx));
}

SEC("kprobe/fd_install")
int kprobe_fd_install(struct pt_regs *ctx)
{
	return install(PT_REGS_PARM1(ctx), (struct file *)PT_REGS_PARM2(ctx));
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
	struct task_struct *task;
	struct io_kiocb *req;
	struct event *e;
	u64 seq = 0, key;

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
	task = current_task();
	introduce(task, 0);
	e = reserve(PROBE_IO_COMPLETE, &seq, 0);
	if (!e)
		return 0;
	describe(e, task, RETURN, HOOK_IO_COMPLETE, seq);
	e->sockfd = -1;
	e->flags = 0;
	e->ret = res;
	e->via = VIA_IO_URING;
	e->user_data = BPF_CORE_READ(ctx, user_data);
	__builtin_memset(&e->facts, 0, sizeof(e->facts));
	if (res == -ECANCELED || res == -EBADF) {
		e->uring = kind_of(req);
		e->flags = BPF_CORE_READ((struct io_accept *)req, flags);
	}
	if (res == -ECANCELED)
		read_listener(&e->facts, BPF_CORE_READ(req, file));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* The end of any system call. */
static __always_inline int syscall_ends(struct pt_regs *regs, s32 ret)
{
	struct task_struct *task = current_task();
	struct attempt *a;
	u16 mark;
	s32 sockfd;
	u8 via = accept_call(task, regs, &sockfd);

	if (via == VIA_UNKNOWN)
		return 0;
	a = attempt_of(task, 0);
	if (a && a->in_flight) {
		tell_return(task, a, PROBE_SYS_EXIT, HOOK_SYS_EXIT, ret);
		a->in_flight = 0;
		return 0;
	}
	if (a && a->returned) {
		a->returned = 0;
#ifndef TASK_STORAGE
		u32 tid = (u32)bpf_get_current_pid_tgid();

		bpf_map_delete_elem(&attempts, &tid);
#endif
		return 0;
	}
	if (ret == -EPERM || ret == -EACCES || ret == -ENOSYS || !(watch & WATCH_BEFORE))
		mark = MARK_DENIED;
	else
		mark = MARK_BEFORE;
	if (!(watch & (WATCH_BEFORE | WATCH_DENIED)) || (mark == MARK_DENIED && ret >= 0))
		return 0;
	u32 tid = (u32)bpf_get_current_pid_tgid();
	s32 *sleeper = bpf_map_lookup_elem(&sleepers, &tid);

	if (sleeper && *sleeper == SLEEPER_TOLD) {
		bpf_map_delete_elem(&sleepers, &tid);
		return 0;
	}
	introduce(task, 0);
	struct unknown u = {.probe = PROBE_SYS_EXIT, .hook = HOOK_SYS_EXIT, .via = via, .sockfd = sockfd, .ret = ret, .mark = mark};
	tell_unknown(task, &u, 0);
	bpf_map_delete_elem(&sleepers, &tid);
	return 0;
}

SEC("raw_tp/sys_exit")
int raw_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	return syscall_ends((struct pt_regs *)ctx->args[0], ctx->args[1]);
}

#ifdef ACC_MODERN
/* The same where programs can be preempted, but for those of perf events: it is
 * dearer, but not skipped. */
SEC("tracepoint/raw_syscalls/sys_exit")
int tp_sys_exit(struct trace_event_raw_sys_exit *ctx)
{
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return 0;
	return syscall_ends((struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf()), BPF_CORE_READ(ctx, ret));
}
#endif

#include "life.h"
