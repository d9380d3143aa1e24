/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is recorded, where not all of it is. The values of one criterion are or-ed, criteria are and-ed. selecting is a
 * constant when the programs are loaded: of what is not used the verifier leaves nothing. What is not selected takes no
 * number and no place in the ring; it is counted in filtered.
 *
 * An accept call is decided at its entry, by its task and its listener, once for both of its events; where its outcome
 * counts (SELECT_LATE), its entry is held until its return. With cgroups, what was not selected is decided again when
 * do_accept returns: the task can have been moved, or its cgroup been selected since (selected_since). The life of a connection follows its listener: by the port
 * and the network namespace of that, or, where a task is selected, by what such a task listens at or accepts from (chosen).
 */
#ifndef ACC_SELECT_H
#define ACC_SELECT_H

#include "guard.h"

enum criterion {
	SELECT_PORT = 1, SELECT_FAMILY = 2, SELECT_NETNS = 4, SELECT_ADDR = 8, SELECT_LADDR = 16, SELECT_RADDR = 32, SELECT_PID = 64,
	SELECT_COMM = 128, SELECT_UID = 256, SELECT_CGROUP = 512, SELECT_FAILED = 1024,
};
EXPORT(criterion);
#define SELECT_SOCKET (SELECT_PORT | SELECT_FAMILY | SELECT_NETNS)
#define SELECT_ADDRS (SELECT_ADDR | SELECT_LADDR | SELECT_RADDR)
#define SELECT_TASK (SELECT_PID | SELECT_COMM | SELECT_UID | SELECT_CGROUP)
#define SELECT_LATE (SELECT_ADDRS | SELECT_FAILED)

/* Set by the recorder. */
volatile const u32 selecting = 0;
volatile const u64 families = 0;                 /* a bit each */
volatile const u32 cgroup_levels[4] = {}; /* depths at which there are selected cgroups, 0: no more */
volatile u32 passing = 0;                  /* all passes: the self-test runs */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64); /* a bit for each of 64 ports */
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u8);
} netns_selected SEC(".maps");

/* A network of IPv6, or one of IPv4 mapped into that. */
struct network {
	u32 bits;
	u8 addr[16];
};

const struct network *unused_network __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct network);
	__type(value, u32); /* the SELECT_ADDRS that it is for */
} networks SEC(".maps");

/* Processes, and when they began in clock ticks. */
#define TICK_NS 10000000
#define PARENT_ONLY ~0ULL /* only its children are selected */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, u64);
} pids SEC(".maps");

volatile u32 unfollowed = 0; /* children for which there was no room */

struct name {
	u64 part[2];
};

const struct name *unused_name __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct name);
	__type(value, u8);
} comms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u8);
} uids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u8);
} cgroups SEC(".maps");

/* Listeners of selected tasks, by inode number. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u8);
} chosen SEC(".maps");

/* Whether connections are selected, by socket: where a task is, those that are; else those of another port than their listener's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, u8);
} followed SEC(".maps");

volatile u32 followed_noted = 0;
volatile u32 followed_full = 0; /* connections for which there was no room */

/* Connections of selected tasks when the recording begins, by what they have at their end. */
struct ends {
	u32 netns;
	u16 lport;
	u16 rport;
	u8 laddr[16];
	u8 raddr[16];
};

const struct ends *unused_ends __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct ends);
	__type(value, u8);
} connected_before SEC(".maps");

static __noinline int count_filtered(u32 probe)
{
	if (watch & WATCH_ENDING)
		return 0;
	BRANCH(probe);
	if (probe < NUM_PROBES)
		add_one(&this_cpu()->filtered[probe]);
	return 0;
}

static __noinline bool pid_selected(struct task_struct *task)
{
	u32 pid = BPF_CORE_READ(task, tgid);
	u64 *since = bpf_map_lookup_elem(&pids, &pid);

	return since && *since == BPF_CORE_READ(task, group_leader, start_boottime) / TICK_NS;
}

static __noinline bool comm_selected(struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct name name = {}; /* what stands behind a name's end is not always zero */

	bpf_probe_read_kernel_str(&name, sizeof(name), task->comm);
	if (bpf_map_lookup_elem(&comms, &name))
		return 1;
	name.part[0] = 0;
	name.part[1] = 0;
	bpf_probe_read_kernel_str(&name, sizeof(name), leader->comm);
	return bpf_map_lookup_elem(&comms, &name);
}

#ifndef ACC_MODERN
struct cgroup___before_6_1 {
	int level;
	u64 ancestor_ids[];
} __attribute__((preserve_access_index));
#endif

/* The id of the current task's cgroup at a depth, 0 if it lies above that. */
static __always_inline u64 ancestor_at(struct task_struct *task, u32 level)
{
#ifndef ACC_MODERN
	/* Before 5.15 programs of probes may not call the helper. */
	struct cgroup___before_6_1 *c = (void *)BPF_CORE_READ(task, cgroups, dfl_cgrp);
	u64 id = 0;

	if (bpf_core_field_exists(c->ancestor_ids)) {
		if (level <= (u32)BPF_CORE_READ(c, level))
			bpf_probe_read_kernel(&id, sizeof(id), (void *)c + bpf_core_field_offset(c->ancestor_ids) + 8 * level);
		return id;
	}
#endif
	return bpf_get_current_ancestor_cgroup_id(level);
}

static __noinline bool cgroup_selected(struct task_struct *task, bool current)
{
	u64 id;

	if (!current) { /* of a request that another one runs: without the cgroups above */
		id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
		return bpf_map_lookup_elem(&cgroups, &id);
	}
	for (u32 i = 0; i < 4; i++) {
		if (!cgroup_levels[i])
			break;
		id = ancestor_at(task, cgroup_levels[i]);
		if (id && bpf_map_lookup_elem(&cgroups, &id))
			return 1;
	}
	return 0;
}

/* Whether what a task does is selected. */
static __always_inline bool task_selected(struct task_struct *task, bool current)
{
	u32 uid;

	if (selecting & SELECT_PID && !pid_selected(task))
		return 0;
	if (selecting & SELECT_UID) {
		uid = BPF_CORE_READ(task, cred, uid.val);
		if (!bpf_map_lookup_elem(&uids, &uid))
			return 0;
	}
	if (selecting & SELECT_COMM && !comm_selected(task))
		return 0;
	return !(selecting & SELECT_CGROUP) || cgroup_selected(task, current);
}

/* Whether a listener in a network namespace, of a family, at a port is. */
static __noinline bool place_selected(u32 netns, u32 family, u32 port)
{
	u32 at = port >> 6;
	u64 *some;

	if (selecting & SELECT_FAMILY && !(families >> (family & 63) & 1))
		return 0;
	if (selecting & SELECT_PORT) {
		some = bpf_map_lookup_elem(&ports, &at);
		if (!port || !some || !(*some >> (port & 63) & 1))
			return 0;
	}
	return !(selecting & SELECT_NETNS) || bpf_map_lookup_elem(&netns_selected, &netns);
}

static __always_inline u32 networks_of(u32 family, u8 *addr)
{
	struct network key = {.bits = 128};
	u32 *of;

	if (family == AF_INET) {
		*(u16 *)(key.addr + 10) = 0xffff;
		*(u32 *)(key.addr + 12) = *(u32 *)addr;
	} else {
		__builtin_memcpy(key.addr, addr, 16);
	}
	of = bpf_map_lookup_elem(&networks, &key);
	return of ? *of : 0;
}

struct addrs {
	u8 laddr[16];
	u8 raddr[16];
	u32 family;
	u32 peer; /* there is one */
};

/* Whether addresses are. */
static __noinline bool addrs_selected(struct addrs *a)
{
	u32 local, peer = 0;

	if (a->family != AF_INET && a->family != AF_INET6)
		return 0;
	local = networks_of(a->family, a->laddr);
	if (a->peer)
		peer = networks_of(a->family, a->raddr);
	return (!(selecting & SELECT_ADDR) || (local | peer) & SELECT_ADDR) && (!(selecting & SELECT_LADDR) || local & SELECT_LADDR) &&
	       (!(selecting & SELECT_RADDR) || peer & SELECT_RADDR);
}

static __noinline bool facts_selected(struct facts *f, bool peer)
{
	struct addrs a = {.family = f->inner ? f->inner : f->family, .peer = peer};

	__builtin_memcpy(a.laddr, f->laddr, 16);
	__builtin_memcpy(a.raddr, f->raddr, 16);
	return addrs_selected(&a);
}

/* Notes a listener of a selected task. */
static __noinline int choose(u64 listener)
{
	u8 one = 1;

	if (listener && !bpf_map_lookup_elem(&chosen, &listener))
		bpf_map_update_elem(&chosen, &listener, &one, BPF_ANY);
	return 0;
}

static __always_inline bool is_chosen(u64 listener) { return bpf_map_lookup_elem(&chosen, &listener); }

/* Notes whether a connection is selected. */
static __noinline int follow(void *sk, u8 yes)
{
	u64 key = (u64)sk;

	followed_noted = 1;
	if (bpf_map_update_elem(&followed, &key, &yes, BPF_ANY))
		__sync_fetch_and_add(&followed_full, 1);
	return 0;
}

/* The listener's side of an accept call, of a task: before its outcome is known. */
static __noinline bool begins_selected(struct task_struct *task, struct facts *f, bool current)
{
	if (!task_selected(task, current))
		return 0;
	if (selecting & SELECT_SOCKET && !place_selected(f->netns ? f->netns : BPF_CORE_READ(task, nsproxy, net_ns, ns.inum), f->family, f->lport))
		return 0;
	if (selecting & SELECT_TASK)
		choose(f->listener);
	return 1;
}

/* The outcome's, if there is any that counts. peer: the facts are a connection's. */
static __always_inline bool ends_selected(struct facts *f, bool peer, s32 ret)
{
	if (selecting & SELECT_FAILED && ret >= 0)
		return 0;
	return !(selecting & SELECT_ADDRS) || facts_selected(f, peer);
}

/* Both, of what is told by one event. */
static __always_inline bool once_selected(struct task_struct *task, struct facts *f, bool peer, s32 ret, bool current)
{
	return passing || (begins_selected(task, f, current) && ends_selected(f, peer, ret));
}

/* A connection that a selected task has accepted: it may have been queued before its listener was chosen. */
static __noinline int follow_accepted(struct file *file, struct facts *f)
{
	u64 ino, key;

	if (f->proto != IPPROTO_TCP || (selecting & SELECT_ADDRS && !facts_selected(f, 1)))
		return 0;
	key = (u64)file_sock(file, &ino);
	if (key && !bpf_map_lookup_elem(&followed, &key))
		follow((void *)key, 1);
	return 0;
}

/* The entry of an attempt with the facts of its listener. True: there is no event of it, now at least. */
static __always_inline bool begin_selected(struct task_struct *task, struct attempt *a, struct facts *f, void *sk)
{
	if (!selecting)
		return 0;
	if (passing) {
		a->passed = 1;
		return 0;
	}
	a->untold = 0;
	a->sk = (u64)sk;
	if (!begins_selected(task, f, 1)) {
		a->skipped = 1;
		count_filtered(PROBE_ENTER);
		return 1;
	}
	a->held = (selecting & SELECT_LATE) != 0;
	if (!a->held)
		a->untold = 1;
	return a->held;
}

/* Whether an attempt is selected at its return that was not at its entry, which was left out. */
static __noinline bool selected_since(struct task_struct *task, struct attempt *a)
{
	if (!(selecting & SELECT_CGROUP) || !begins_selected(task, &a->in, 1))
		return 0;
	a->skipped = 0;
	a->mark |= MARK_ENTER_LEFT_OUT;
	a->facts = a->in;
	return 1;
}

#define HELD_NS 150000000 /* an entry that is older does not come in order any more, which readers wait 200 ms for */

/* Whether the held entry of an attempt whose return is told can be told, too. */
static __always_inline bool still_young(struct attempt *a, u32 hook)
{
	if (bpf_ktime_get_boot_ns() - a->enter_ns < HELD_NS)
		return 1;
	if (a->guarded)
		count_repeat(&a->in, OVER_PROCESS, hook, 0, REPEAT_ENTRY);
	else
		count_filtered(PROBE_ENTER);
	a->mark |= MARK_ENTER_LEFT_OUT;
	return 0;
}

/* Whether the return of an attempt is selected; its held entry is with it. */
static __noinline bool end_selected(struct task_struct *task, struct attempt *a, u32 probe, s32 ret)
{
	bool peer = a->done || a->mark & MARK_CLIENT_LOST;

	if (a->skipped) {
		count_filtered(probe);
		return 0;
	}
	if (a->passed) { /* it began before the recording */
		if (passing)
			return 1;
		if (!begins_selected(task, &a->in, 1) || !ends_selected(&a->facts, peer, ret)) {
			count_filtered(probe);
			return 0;
		}
		a->mark |= MARK_BEFORE;
		return 1;
	}
	if ((a->held || a->mark & MARK_ENTER_LEFT_OUT) && !ends_selected(&a->facts, peer, ret)) {
		if (a->held)
			count_filtered(PROBE_ENTER);
		count_filtered(probe);
		return 0;
	}
	return 1;
}

/* Which processes are selected, as they come and go. */

SEC("raw_tp/sched_process_fork")
int raw_process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *parent = (struct task_struct *)ctx->args[0], *child = (struct task_struct *)ctx->args[1];
	u32 of = BPF_CORE_READ(parent, tgid), pid = BPF_CORE_READ(child, tgid);
	u64 *since, start;

	if (of == pid)
		return 0; /* a thread */
	since = bpf_map_lookup_elem(&pids, &of);
	if (!since || (*since != PARENT_ONLY && *since != BPF_CORE_READ(parent, group_leader, start_boottime) / TICK_NS))
		return 0;
	start = BPF_CORE_READ(child, start_boottime) / TICK_NS;
	if (bpf_map_update_elem(&pids, &pid, &start, BPF_ANY))
		__sync_fetch_and_add(&unfollowed, 1);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int raw_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	u32 pid = BPF_CORE_READ(task, tgid);

	if (!BPF_CORE_READ(task, signal, live.counter)) /* its last thread */
		bpf_map_delete_elem(&pids, &pid);
	return 0;
}

#endif
