//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What acc runs in the kernel: three probes on the accept path, each as a
 * kprobe and as a trampoline (fentry, fexit) program.
 *
 *   entry of __sys_accept4    an attempt begins: one event
 *   return of do_accept       the new socket: noted for the attempt, or, outside
 *                             of an accept system call (io_uring), one event
 *   return of __sys_accept4   the attempt ends: one event, with what was noted
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

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AF_INET 2
#define AF_INET6 10
#define TCP_CLOSE 7
#define IPPROTO_MPTCP 262
#define MAX_ERRNO 4095

/* The numbers of format.Kind, format.Hook, format.Via and the marks. */
enum { ENTER = 1, RETURN = 2 };
enum { HOOK_SYS_ACCEPT4 = 1, HOOK_DO_ACCEPT = 2 };
enum { VIA_UNKNOWN, VIA_ACCEPT, VIA_ACCEPT4, VIA_SOCKETCALL, VIA_IO_URING };
enum { MARK_ENTER_LOST = 1, MARK_PREV_MISSED = 2, MARK_NO_FACTS = 4 };

/* What an event is counted under. */
enum { PROBE_ENTER, PROBE_RETURN, PROBE_DO_ACCEPT, NUM_PROBES };

/* What is known of a listener, and of a socket: the listener or the new one. */
struct facts {
	u64 listener; /* inode number of the listening socket */
	u64 inode;    /* of the new socket */
	u64 cookie;   /* of the new socket */
	u32 backlog;
	u32 backlog_max;
	u16 family;
	u16 type;
	u16 proto;
	u16 state;
	u16 lport; /* host order */
	u16 rport; /* host order */
	u32 unused;
	u8 laddr[16];
	u8 raddr[16];
};

struct event {
	u64 boot_ns;
	u64 cpu_seq;
	u64 cgroup;
	u64 start_ns; /* of the process, boot clock */
	u32 pid;
	u32 tid;
	u32 uid;
	u32 netns;
	u32 cpu;
	s32 sockfd;
	u32 flags;
	s32 ret;
	u8 kind;
	u8 hook;
	u8 via;
	u8 mark;
	u8 has_addr;
	u8 has_addrlen;
	u8 unused[2];
	char comm[16];
	struct facts facts;
};

const struct event *unused_event __attribute__((unused)); /* keeps the type in BTF for Go */

/* A task's attempt in flight. */
struct attempt {
	struct facts facts;
	u64 sk; /* the listener's address, valid while the call holds its file */
	s32 sockfd;
	u32 flags;
	u8 via;
	u8 in_flight;
	u8 enter_lost;
	u8 done; /* do_accept gave a socket and facts describe it */
};

struct counters {
	u64 hits[NUM_PROBES];
	u64 lost[NUM_PROBES];
	u64 no_attempt; /* entries for which the kernel gave no memory to note the attempt */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

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

static __always_inline void attempt_done(struct attempt *a)
{
#ifdef TASK_STORAGE
	a->in_flight = 0;
#else
	u32 tid = (u32)bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&attempts, &tid);
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

#define SOCK_HEAD 96 /* bytes that hold all of sock_common that is read here */
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

/* Reads what a socket says of itself into f. */
static __always_inline void read_sock(struct facts *f, void *sk, bool peer)
{
	u8 head[SOCK_HEAD] __attribute__((aligned(8)));

	if (bpf_probe_read_kernel(head, sizeof(head), sk))
		return;
	f->family = AT(head, u16, skc_family);
	f->state = AT(head, u8, skc_state);
	f->lport = AT(head, u16, skc_num);
	if (f->family == AF_INET6) {
		__builtin_memcpy(f->laddr, &AT(head, u64, skc_v6_rcv_saddr), 16);
		if (peer)
			__builtin_memcpy(f->raddr, &AT(head, u64, skc_v6_daddr), 16);
	} else if (f->family == AF_INET) {
		*(u32 *)f->laddr = AT(head, u32, skc_rcv_saddr);
		if (peer)
			*(u32 *)f->raddr = AT(head, u32, skc_daddr);
	}
	if (peer) {
		f->rport = __builtin_bswap16(AT(head, u16, skc_dport));
		f->cookie = AT(head, u64, skc_cookie);
		if (f->state == TCP_CLOSE && (f->family == AF_INET || f->family == AF_INET6)) {
			/* skc_num is gone; what was bound stays in inet_sport. */
			u16 port = 0;

			bpf_probe_read_kernel(&port, sizeof(port), sk + bpf_core_field_offset(struct inet_sock, inet_sport));
			f->lport = __builtin_bswap16(port);
		}
	}
	READ_TWO(&f->type, sk, sk_type, sk_protocol);
}

/* Reads the listener's queue. MPTCP keeps it in the first subflow. */
static __always_inline void read_queue(struct facts *f, void *sk, u16 proto)
{
	if (proto == IPPROTO_MPTCP && bpf_core_type_exists(struct mptcp_sock)) {
		struct sock *first = 0;

		bpf_probe_read_kernel(&first, sizeof(first), sk + bpf_core_field_offset(struct mptcp_sock, first));
		if (first)
			sk = first;
	}
	READ_TWO(&f->backlog, sk, sk_ack_backlog, sk_max_ack_backlog);
}

/* Gives the socket of an open file and its inode number; NULL if it is none. */
static __always_inline void *file_sock(struct file *file, u64 *ino)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct socket *sock;

	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	*ino = BPF_CORE_READ(inode, i_ino);
	sock = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(sock, sk);
}

/* The open file behind a descriptor of the current task. */
static __always_inline struct file *file_of(struct task_struct *task, u32 fd)
{
	struct file *file = 0;
	struct fdtable *fdt;
	struct file **files;

	fdt = BPF_CORE_READ(task, files, fdt);
	if (fd >= BPF_CORE_READ(fdt, max_fds))
		return 0;
	files = BPF_CORE_READ(fdt, fd);
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
}

/* Fills in what every event has. */
static __always_inline void describe(struct event *e, struct task_struct *task, u8 kind, u8 hook, u64 seq)
{
	u64 id = bpf_get_current_pid_tgid();

	e->boot_ns = bpf_ktime_get_boot_ns();
	e->cpu_seq = seq;
	e->cgroup = bpf_get_current_cgroup_id();
#ifdef ACC_MODERN
	e->start_ns = task->group_leader->start_boottime;
	e->netns = task->nsproxy->net_ns->ns.inum;
#else
	e->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	e->netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
#endif
	e->pid = id >> 32;
	e->tid = (u32)id;
	e->uid = (u32)bpf_get_current_uid_gid();
	e->cpu = bpf_get_smp_processor_id();
	e->kind = kind;
	e->hook = hook;
	e->has_addr = 0;
	e->has_addrlen = 0;
	*(u16 *)e->unused = 0;
	*(u64 *)e->comm = 0;
	*(u64 *)(e->comm + 8) = 0;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
}

/* Counts a hit and makes room for its event; NULL: the ring is full. */
static __always_inline struct event *reserve(u32 probe, u64 *seq)
{
	struct counters *c = counters();
	struct event *e;

	if (!c)
		return 0;
	*seq = add_one(&c->hits[probe]);
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		__sync_fetch_and_add(&c->lost[probe], 1);
	return e;
}

static __always_inline int enter_accept(s32 fd, u64 addr, u64 addrlen, u32 flags)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 1);
	struct file *file = file_of(task, fd);
	struct attempt spare;
	struct event *e;
	void *sk;
	u8 mark = 0;
	u64 seq = 0;

	if (a) {
		if (a->in_flight)
			mark = MARK_PREV_MISSED;
		__builtin_memset(&a->facts, 0, sizeof(a->facts));
	} else {
		struct counters *c = counters();

		if (c)
			__sync_fetch_and_add(&c->no_attempt, 1);
		__builtin_memset(&spare, 0, sizeof(spare));
		a = &spare;
	}
	sk = file ? file_sock(file, &a->facts.listener) : 0;
	if (sk) {
		read_sock(&a->facts, sk, 0);
		read_queue(&a->facts, sk, a->facts.proto);
	}
	a->sk = (u64)sk;
	a->sockfd = fd;
	a->flags = flags;
	a->via = via_of(syscall_nr(task));
	a->done = 0;
	a->in_flight = 1;
	e = reserve(PROBE_ENTER, &seq);
	a->enter_lost = !e;
	if (!e)
		return 0;
	describe(e, task, ENTER, HOOK_SYS_ACCEPT4, seq);
	e->sockfd = fd;
	e->flags = flags;
	e->ret = 0;
	e->via = a->via;
	e->mark = mark;
	e->has_addr = addr != 0;
	e->has_addrlen = addrlen != 0;
	e->facts = a->facts;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Reads the new socket's facts over those of the listener in f. */
static __always_inline void read_new(struct facts *f, struct file *file)
{
	void *sk = file_sock(file, &f->inode);

	if (sk)
		read_sock(f, sk, 1);
}

/* listener: its file, NULL if the probe does not see it. */
static __always_inline int return_do_accept(struct file *listener, u64 ret)
{
	bool failed = ret >= (u64)-MAX_ERRNO;
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);
	struct event *e;
	u64 seq = 0;

	if (a && a->in_flight) {
		if (a->sk)
			read_queue(&a->facts, (void *)a->sk, a->facts.proto);
		if (!failed) {
			__builtin_memset(a->facts.laddr, 0, 16);
			read_new(&a->facts, (struct file *)ret);
			a->done = 1;
		}
		return 0;
	}
	e = reserve(PROBE_DO_ACCEPT, &seq);
	if (!e)
		return 0;
	describe(e, task, RETURN, HOOK_DO_ACCEPT, seq);
	e->sockfd = -1;
	e->flags = 0;
	e->ret = failed ? (s32)ret : 0;
	e->via = via_of(syscall_nr(task)) == VIA_UNKNOWN ? VIA_IO_URING : VIA_UNKNOWN;
	e->mark = 0;
	__builtin_memset(&e->facts, 0, sizeof(e->facts));
	if (listener) {
		void *sk = file_sock(listener, &e->facts.listener);

		if (sk) {
			read_sock(&e->facts, sk, 0);
			read_queue(&e->facts, sk, e->facts.proto);
		}
	}
	if (!failed) {
		__builtin_memset(e->facts.laddr, 0, 16);
		read_new(&e->facts, (struct file *)ret);
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int return_accept(s32 ret)
{
	struct task_struct *task = current_task();
	struct attempt *a = attempt_of(task, 0);
	bool known = a && a->in_flight;
	struct event *e;
	u64 seq = 0;

	e = reserve(PROBE_RETURN, &seq);
	if (e) {
		describe(e, task, RETURN, HOOK_SYS_ACCEPT4, seq);
		e->ret = ret;
		e->mark = 0;
		if (known) {
			e->sockfd = a->sockfd;
			e->flags = a->flags;
			e->via = a->via;
			if (a->enter_lost)
				e->mark |= MARK_ENTER_LOST;
			if (ret >= 0 && !a->done) {
				/* The facts are the listener's: keep but its own. */
				__builtin_memset(&e->facts, 0, sizeof(e->facts));
				e->facts.listener = a->facts.listener;
				e->facts.backlog = a->facts.backlog;
				e->facts.backlog_max = a->facts.backlog_max;
				e->mark |= MARK_NO_FACTS;
			} else {
				e->facts = a->facts;
			}
		} else {
			e->sockfd = -1;
			e->flags = 0;
			e->via = via_of(syscall_nr(task));
			/* Without memory to note it the entry was still recorded; with
			 * memory and no attempt in it, its probe did not run. */
			e->mark = (a ? MARK_ENTER_LOST : 0) | (ret >= 0 ? MARK_NO_FACTS : 0);
			__builtin_memset(&e->facts, 0, sizeof(e->facts));
		}
		bpf_ringbuf_submit(e, 0);
	}
	if (known)
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
	return enter_accept(ctx[0], addr, addrlen, ctx[3]);
}
#endif

SEC("fexit/do_accept")
int fexit_do_accept(u64 *ctx)
{
	return return_do_accept((struct file *)ctx[0], ctx[5]);
}

SEC("fexit/__sys_accept4")
int fexit___sys_accept4(u64 *ctx)
{
	return return_accept(ctx[4]);
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
