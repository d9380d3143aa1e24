/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What all parts of the programs have in common: numbers that Go has too, the records of the ring, what is known of an
 * attempt in flight, what the recorder sets, and maps. A type or a map of one part alone stands with that.
 */
#ifndef ACC_COMMON_H
#define ACC_COMMON_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include <bpf/bpf_tracing.h>

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_VSOCK 40
#define AF_SMC 43
#define TCP_CLOSE 7
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define MAX_ERRNO 4095

/*
 * The numbers of format.Kind, Hook, Via and the marks, which TestEnums of package
 * capture holds against those.
 */
enum kind { ENTER = 1, RETURN, QUEUED, CLOSED, DROP, STATE, LISTEN, STOP };
enum hook {
	HOOK_SYS_ACCEPT4 = 1, HOOK_DO_ACCEPT, HOOK_IO_ACCEPT, HOOK_IO_COMPLETE, HOOK_KERNEL_ACCEPT, HOOK_SYS_EXIT, HOOK_FD_INSTALL,
	HOOK_HASHDANCE, HOOK_QUEUE_ADD, HOOK_SET_STATE, HOOK_CONN_REQUEST, HOOK_SYN_RECV, HOOK_CHILD_FORGET, HOOK_LISTEN_START,
	HOOK_TCP_DONE, HOOK_TCP_FIN, HOOK_INET_LISTEN, HOOK_MIGRATE_SOCK, HOOK_LISTEN_STOP,
};
enum via { VIA_UNKNOWN, VIA_ACCEPT, VIA_ACCEPT4, VIA_SOCKETCALL, VIA_IO_URING, VIA_KERNEL };
enum mark {
	MARK_ENTER_LOST = 1, MARK_PREV_MISSED = 2, MARK_NO_FACTS = 4, MARK_ARMED = 8, MARK_CLIENT_LOST = 16, MARK_BEFORE = 32,
	MARK_NO_FD = 64, MARK_DENIED = 128, MARK_SYN_COOKIE = 256, MARK_FAST_OPEN = 512, MARK_DEFERRED = 1024,
	MARK_SYN_QUEUE = 2048, MARK_ADDR_SHORT = 4096, MARK_ADDR_DIFFERS = 8192,
	MARK_ENTER_LEFT_OUT = 16384,
};
enum uring { URING_MULTISHOT = 1, URING_DIRECT = 2, URING_REGISTERED = 4 };
/* Why a multishot request does not go on. */
enum uring_end { GOES_ON, END_QUEUE_FULL, END_FAILED, END_CANCELLED, END_RING_CLOSED, END_THREAD_ENDED };
enum cause {
	CAUSE_UNKNOWN, CAUSE_HANDSHAKE, CAUSE_DEFER_DATA, CAUSE_DEFER_CLOSED, CAUSE_DEFER_RAN_OUT, CAUSE_COOKIE_ALWAYS,
	CAUSE_COOKIE_FULL, CAUSE_FAST_OPEN, CAUSE_MOVED, CAUSE_MOVED_HANDSHAKE, CAUSE_ACCEPT_QUEUE_FULL, CAUSE_SYN_QUEUE_FULL,
	CAUSE_ABORTED, CAUSE_COOKIE_DROPPED, CAUSE_LISTENER_CLOSED, CAUSE_LISTENER_STOPPED,
	CAUSE_LISTENER_SHUT, CAUSE_LISTENER_DISCONNECTED, CAUSE_LISTENER_DESTROYED, CAUSE_LISTENER_EXITED,
};

/* Keeps an enum in BTF, and its members for Go. */
#define EXPORT(name) const enum name *unused_##name __attribute__((unused))
EXPORT(kind);
EXPORT(hook);
EXPORT(via);
EXPORT(mark);
EXPORT(uring);
EXPORT(uring_end);
EXPORT(cause);

/* The kernel's own numbers. */
enum { EPERM = 1, EBADF = 9, EAGAIN = 11, EACCES = 13, ENOSYS = 38, ECANCELED = 125, ERESTARTSYS = 512 };
#define TS_COMPAT 2       /* x86: the system call came by the 32-bit way */
#define TIF_32BIT (1 << 22) /* arm64 */
enum { SYS_ACCEPT = 5, SYS_ACCEPT4 = 18 }; /* calls of socketcall */
enum { IORING_OP_ACCEPT = 13, IORING_ACCEPT_MULTISHOT = 1, IOSQE_FIXED_FILE = 1 };
#define PERCPU_REF_DEAD 2 /* nobody can use the ring any more */

/* What an event is counted under. */
enum probe {
	PROBE_ENTER, PROBE_RETURN, PROBE_DO_ACCEPT, PROBE_IO_ACCEPT, PROBE_IO_COMPLETE, PROBE_KERNEL_ACCEPT, PROBE_SYS_EXIT,
	PROBE_FD_INSTALL, PROBE_HASHDANCE, PROBE_QUEUE_ADD, PROBE_CLOSED, PROBE_STATE, PROBE_CONN_REQUEST, PROBE_SYN_RECV,
	PROBE_CHILD_FORGET, PROBE_LISTEN, PROBE_DONE, PROBE_FIN, PROBE_RELISTEN, PROBE_MIGRATE, PROBE_LISTEN_STOP,
	NUM_PROBES,
};
EXPORT(probe);

/* What is known of a listener, and of a socket: the listener or the new one. */
struct facts {
	u64 inode;    /* of the new socket */
	u64 cookie;   /* of the new socket */
	u8 raddr[16];
	u32 backlog;
	u16 rport;    /* host order */
	u16 unused;
	u64 listener; /* inode number of the listening socket; from here on what mostly stays the same */
	u16 family; /* these eight bytes are compared at once: see kind_of_socket */
	u16 type;
	u16 proto;
	u16 inner; /* family of the addresses, where it is another one than family */
	u32 backlog_max;
	u16 state;
	u16 lport; /* host order */
	u32 peer_pid;
	u32 peer_uid;
	u8 laddr[16]; /* vsock: cid and port, 32 bits each */
	u32 netns;    /* of the socket, whatever the task's is; 0: there is no socket */
	u32 spare;
};

/* Family, type, protocol and family of the addresses. */
#define kind_of_socket(f) (*(u64 *)&(f)->family)

/* The name of a socket in the UNIX domain, as bind(2) got it. */
struct unix_name {
	u32 len;
	u8 path[108]; /* starts with a zero byte if it is abstract */
};

struct told {
	s32 addrlen_in;
	s32 addrlen_out;
	u16 family;
	u16 port; /* host order */
	u8 addr[16];
	u32 unused;
};

/* What differs from event to event of a task comes first, to facts.rport: the
 * recorder compares the rest. */
struct event {
	u64 boot_ns;
	u64 cpu_seq;
	u32 cpu;
	s32 ret;
	struct facts facts;
	struct told told;
	u64 cgroup;
	u64 start_ns; /* of the process, boot clock */
	u64 user_data;
	u32 pid;
	u32 tid;
	u32 uid;
	u32 netns; /* the task's */
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
	u32 uring_end; /* why a multishot request does not go on after this, END_ */
	u8 cause;      /* why a listener stopped, CAUSE_LISTENER_ */
	u8 spare[3];
};

/* An event with the listener's name in the UNIX domain: a ring record of its own size. */
struct named_event {
	struct event event;
	struct unix_name name;
};

/*
 * What the entry of a call was, where its return does not say the same. What mostly stays the same comes first, so
 * that it lies behind what does so in an event.
 */
struct entry {
	u32 backlog_max;
	u16 state;
	u16 lport;
	u8 laddr[16];
	u16 mark;
	u8 has_addr;
	u8 has_addrlen;
	u32 backlog;
	u64 boot_ns;
	u64 cpu_seq;
	u32 cpu;
	u32 base; /* the number by which repeats name this call, 0: none will */
};

/* Both events of a call that did not wait, a ring record of its own size: that of the return, and the entry. */
struct call {
	struct event event;
	struct entry entry;
};

/*
 * Both events of a call that is like an earlier one of its thread, but for what is here. It came into the ring
 * after that one: a call whose record found no room is no base of others.
 */
struct same_call {
	u64 enter_ns;
	u64 enter_seq;
	u64 boot_ns; /* of the return, as is what follows */
	u64 cpu_seq;
	u64 inode;
	u64 cookie;
	u8 raddr[16];
	u32 enter_backlog;
	u32 backlog;
	u32 enter_cpu;
	u32 cpu;
	u32 tid;
	u32 base; /* entry.base of the earlier one */
	s32 ret;
	u16 rport;
	u16 unused;
};

_Static_assert(offsetof(struct call, entry) == sizeof(struct event), "what stays the same of both lies together");
_Static_assert(offsetof(struct named_event, event) == 0, "a named event begins with its event");
_Static_assert(offsetof(struct facts, family) % 8 == 0 && offsetof(struct facts, backlog_max) == offsetof(struct facts, family) + 8,
	       "a socket's kind is eight bytes");
_Static_assert(offsetof(struct facts, listener) == offsetof(struct facts, rport) + 4, "what varies of the facts comes first");
_Static_assert(sizeof(struct event) % 8 == 0 && offsetof(struct event, comm) % 8 == 0, "names are copied as two words");

const struct event *unused_event __attribute__((unused)); /* keep the types in BTF for Go */
const struct call *unused_call __attribute__((unused));
const struct same_call *unused_same_call __attribute__((unused));
const struct named_event *unused_named_event __attribute__((unused));

/* Whose an event is. */
struct identity {
	u64 cgroup;
	u64 start_ns;
	u64 comm[2];
	u32 pid;
	u32 tid; /* 0: it is not known, or was read under another exec or in another cgroup */
	u32 uid;
	u32 netns;
};

/*
 * What is known of an entry of which no event tells yet, and what of it. In a place by the thread's number alone:
 * the recorder looks there for what waits.
 */
enum deferral { NOT_DEFERRED, DEFERRED_ENTRY, DEFERRED_RETURN /* do_accept was seen to return: made is of then */ };
EXPORT(deferral);

/* A task's attempt in flight. */
struct attempt {
	u64 turn;    /* of a place by the thread's number: that, and how often it was entered and left; 0 elsewhere */
	u64 started; /* when its thread did, boot clock */
	struct identity who;
	struct facts in; /* the listener at the entry */
	struct facts facts;
	struct facts made; /* in a place: those of the connection that a deferred entry's call got; the queue's in any case */
	u64 base;    /* in a place: the numbers of the calls that the next one may repeat: of one that accepted, and above it one that failed */
	u32 bases;   /* the last such number that was given */
	s32 failed;  /* what the one that failed returned */
	u64 enter_ns;
	u64 enter_seq;
	u32 enter_cpu;
	u32 spare;
	u16 enter_mark; /* these eight bytes, and the next, are set when a call begins */
	u8 deferred;    /* DEFERRED_ */
	u8 untold;      /* no event tells of the entry yet, nor has it a number */
	u8 skipped;     /* it is not selected */
	u8 held;        /* what comes of it decides; no event tells of the entry, which is in */
	u8 guarded;     /* that is for the rate guard */
	u8 in_flight;   /* a system call, or kernel_accept */
	u16 mark;       /* of a request's attempt */
	u8 request;     /* inside of io_accept */
	u8 pending;     /* the request has an attempt that no event tells of yet */
	u8 enter_lost;
	u8 done;        /* do_accept gave a socket, and facts or made describe it */
	u8 returned;    /* the return was seen; the end of the system call is to come */
	u8 passed;      /* it began while all passed */
	u8 via;
	u8 uring;       /* URING_*, of a request */
	u8 attempts;    /* the request has had an attempt in this call of io_accept */
	u8 end;         /* of a multishot request: why it does not go on after the attempt, or GOES_ON */
	u32 unused;
	u64 kept;      /* the address of the listener's sock that in is of; 0: the next call reads all of its listener */
	u64 socket;    /* that of its struct socket, where a probe has read it */
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
};

const struct attempt *unused_attempt __attribute__((unused));

/* What a CPU is in the middle of. */
enum pending {
	COMPLETING, /* the child that completed its handshake and has yet to be queued */
	ENDING,     /* the socket that tcp_done told of and whose state has yet to change */
	AWOKEN,     /* the ports of the connection in TIME-WAIT that was ended last */
	AWOKEN_NS,  /* and when */
	DEFERRED,   /* the request that a packet is about to complete, at a listener with TCP_DEFER_ACCEPT */
	DEFERRED_CAUSE, /* and what the packet is */
	NUM_PENDING,
};

/* What each CPU has of its own. */
struct per_cpu {
	u64 hits[NUM_PROBES];
	u64 lost[NUM_PROBES];
	u64 filtered[NUM_PROBES]; /* hits that are not selected */
	u64 no_attempt; /* entries for which the kernel gave no memory to note the attempt */
	u64 shed;       /* of lost, those that the recorder's bounds left out */
	u64 pending[NUM_PENDING];
} __attribute__((aligned(128))); /* no two CPUs write to one line of the cache, or to two that are fetched together */

const struct per_cpu *unused_per_cpu __attribute__((unused));

/* Set by the recorder. */
volatile const u64 multishot_flag = 0; /* of io_kiocb.flags, where io_accept does not have it */
volatile const u64 polled_flag = 0;    /* of the same: the request waited before, and is tried again; 0 not known */
#ifdef ACC_MODERN
volatile const u32 with_cookies = 1; /* all probes of a connection's life can give its cookie */
#else
volatile const u32 with_cookies = 0;
#endif
#ifdef ACC_MODERN
volatile const u32 with_casts = 0;      /* the kernel has bpf_rdonly_cast, from 6.2 on */
#endif
volatile const u32 with_fins = 0;       /* fentry_tcp_fin is there */
volatile const u32 full_at_limit = 0;   /* the SYN queue is full when it holds its limit, not one more */
volatile u32 adds_inside = 0;          /* inet_csk_complete_hashdance was seen to call inet_csk_reqsk_queue_add */
volatile u32 adds_settled = 0;         /* else it does not */
volatile u32 moves_told = 0;           /* fexit_migrate_sock is there */
volatile u32 watch = 0;                /* what sys_exit is to look for */
/* A new descriptor may be one that is asked for: a request of io_uring accepted, or calls began before the recording. */
volatile u32 fds_wanted = 0;
enum watch_for { WATCH_RETURNS = 1, WATCH_BEFORE = 2, WATCH_DENIED = 4, WATCH_ENDING = 8 };
EXPORT(watch_for);
volatile u32 shedding = 0;             /* what is left out, since acc takes more than it may */
enum shed { SHED_LIFE = 1, SHED_FAILURES = 2 };
EXPORT(shed);

/*
 * A variable that is a map of its own, an array of one element. Programs have its address without a look-up: the recorder
 * puts that where they name the map (capture/variables_linux.go). They find what lies in .bss that way, too, but
 * the recorder's library copies that several times before it is loaded.
 */
#define VARIABLE(name, of)                                                                                       \
	struct {                                                                                                 \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                \
		__uint(map_flags, BPF_F_MMAPABLE);                                                               \
		__uint(max_entries, 1);                                                                          \
		__type(key, u32);                                                                                \
		__type(value, of);                                                                               \
	} name SEC(".maps")

/* Its address. An offset can't be part of that: the compiler is kept from adding one. */
#define ADDRESS(name)                                                                                            \
	({                                                                                                       \
		void *at_ = &(name);                                                                             \
                                                                                                                 \
		asm("" : "+r"(at_));                                                                             \
		at_;                                                                                             \
	})

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

/* By number of the CPU; the recorder makes it as long as there can be CPUs, rounded up to a power of two. */
VARIABLE(cpus, struct per_cpu[1]);
volatile const u32 cpu_mask = 0; /* that number less one */

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

/* An attempt for which there is no memory, until its entry is written. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct attempt);
} spare SEC(".maps");

#ifdef ACC_MODERN
/*
 * Where the calls of most threads are noted: by the thread's number, found without a call of the kernel and mapped by
 * the recorder. Of two threads with the same place the one that came first has it until its call returns; the
 * calls of the other are noted in attempts. turn is odd while a call is in flight.
 */
#define NUM_PLACES 2048
VARIABLE(calls, struct attempt[NUM_PLACES]);
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

/* Requests of io_uring that wait, with what is not in them any more when they are tried again. */
struct waiting {
	u64 user_data;
	u64 file;
	s32 sockfd;
	u32 spare;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct waiting);
} armed SEC(".maps");

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

#endif
