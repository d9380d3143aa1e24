/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who a process is, read when it first accepts: it may be gone by the time that
 * the recorder could ask for it.
 */
#ifndef ACC_PROCESS_H
#define ACC_PROCESS_H

#include "sock.h"

#define EXE_PARTS 12
#define EXE_PART 128
#define CGROUP_PARTS 12
#define CGROUP_PART 128

/* A ring record of its own size. */
struct process {
	u64 start_ns; /* boot clock */
	u64 cgroup_id;
	u32 pid;
	u32 uid;
	u32 ns_pid; /* its id in its own pid namespace */
	u32 pidns;
	u32 netns;
	u32 mntns;
	u64 exe_ino; /* inode number of the executable, and its file system's device */
	u32 exe_dev;
	u32 spare;
	char comm[16];
	u8 exe[EXE_PARTS][EXE_PART];          /* names, the last one of the path first */
	u8 cgroup[CGROUP_PARTS][CGROUP_PART]; /* the same */
};

const struct process *unused_process __attribute__((unused)); /* keeps the type in BTF for Go */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, u64[2]); /* start time, and exec and cgroup, of the process that had this id when it was introduced */
} introduced SEC(".maps");

/* Reads the path of the executable, across mounts: a name is empty where one is
 * crossed, and "/" at the end. */
static __always_inline void read_exe(struct process *p, struct task_struct *leader)
{
	struct file *file = BPF_CORE_READ(leader, mm, exe_file);
	struct dentry *d, *parent;
	struct mount *m, *up;

	if (!file)
		return;
	p->exe_ino = BPF_CORE_READ(file, f_inode, i_ino);
	p->exe_dev = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
	d = BPF_CORE_READ(file, f_path.dentry);
	m = (void *)BPF_CORE_READ(file, f_path.mnt) - bpf_core_field_offset(struct mount, mnt);
	for (int i = 0; i < EXE_PARTS; i++) {
		parent = BPF_CORE_READ(d, d_parent);
		if (d == BPF_CORE_READ(m, mnt.mnt_root) || d == parent) {
			up = BPF_CORE_READ(m, mnt_parent);
			if (up == m) {
				*(u16 *)p->exe[i] = '/';
				return;
			}
			d = BPF_CORE_READ(m, mnt_mountpoint);
			m = up;
			continue;
		}
		bpf_probe_read_kernel_str(p->exe[i], EXE_PART, BPF_CORE_READ(d, d_name.name));
		d = parent;
	}
}

/* Reads the path of the cgroup in the hierarchy of version 2, in the same way. */
static __always_inline void read_cgroup(struct process *p, struct task_struct *leader)
{
	struct kernfs_node *kn = BPF_CORE_READ(leader, cgroups, dfl_cgrp, kn);

	for (int i = 0; i < CGROUP_PARTS; i++) {
		struct kernfs_node *parent = 0;
		u32 at;

		if (bpf_core_field_exists(struct kernfs_node___rcu, __parent)) {
			at = bpf_core_field_offset(struct kernfs_node___rcu, __parent);
			BRANCH(at);
		} else {
			at = bpf_core_field_offset(struct kernfs_node, parent);
			BRANCH(at);
		}
		bpf_probe_read_kernel(&parent, sizeof(parent), (void *)kn + at);
		if (!parent) {
			*(u16 *)p->cgroup[i] = '/';
			return;
		}
		bpf_probe_read_kernel_str(p->cgroup[i], CGROUP_PART, BPF_CORE_READ(kn, name));
		kn = parent;
	}
}

#ifdef ACC_MODERN
#define GLOBAL __noinline /* verified once, whoever calls it */
#else
#define GLOBAL static __noinline
#endif

/* Introduces the current process unless it was before. exec: which executable and cgroup it has.
 * Gives 0 if there was no room, or another number. */
GLOBAL int introduce_process(u64 exec)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct process *p;
	struct pid *self;
	u64 key[2], *was;
	u32 level;

	if (watch & WATCH_ENDING)
		return 0;
	key[0] = BPF_CORE_READ(leader, start_boottime);
	key[1] = exec;
	was = bpf_map_lookup_elem(&introduced, &pid);
	if (was && was[0] == key[0] && was[1] == key[1])
		return 1;
	p = bpf_ringbuf_reserve(&events, sizeof(*p), 0);
	if (!p)
		return 0; /* at its next attempt */
	for (int i = 0; i < EXE_PARTS; i++)
		p->exe[i][0] = 0;
	for (int i = 0; i < CGROUP_PARTS; i++)
		p->cgroup[i][0] = 0;
	p->ns_pid = 0;
	p->pidns = 0;
	p->exe_ino = 0;
	p->exe_dev = 0;
	p->spare = 0;
	*(u64 *)p->comm = 0;
	*(u64 *)(p->comm + 8) = 0;
	p->start_ns = key[0];
	p->cgroup_id = bpf_get_current_cgroup_id();
	p->pid = pid;
	p->uid = (u32)bpf_get_current_uid_gid();
	self = BPF_CORE_READ(leader, thread_pid);
	level = BPF_CORE_READ(self, level);
	if (level < 32) {
		struct upid upid = {};

		bpf_core_read(&upid.nr, sizeof(upid.nr), (void *)self + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid) + bpf_core_field_offset(struct upid, nr));
		bpf_core_read(&upid.ns, sizeof(upid.ns), (void *)self + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid) + bpf_core_field_offset(struct upid, ns));
		p->ns_pid = upid.nr;
		p->pidns = BPF_CORE_READ(upid.ns, ns.inum);
	}
	p->netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	p->mntns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	bpf_probe_read_kernel_str(p->comm, sizeof(p->comm), leader->comm);
	read_exe(p, leader);
	read_cgroup(p, leader);
	bpf_ringbuf_submit(p, 0);
	bpf_map_update_elem(&introduced, &pid, key, BPF_ANY);
	return 1;
}

/* The same, under this exec and in this cgroup. a: the task's attempt, which notes that, or NULL. */
static __always_inline void introduce(struct task_struct *task, struct attempt *a)
{
#ifdef ACC_MODERN
	/* Its leader has the same exec. A serial number is no other cgroup's later, and is found quicker than the id. */
	u64 exec = task->self_exec_id + (task->cgroups->dfl_cgrp->self.serial_nr << 24);
#else
	u64 exec = BPF_CORE_READ(task, group_leader, self_exec_id) + (bpf_get_current_cgroup_id() << 24);
#endif

	if (a && a->known == exec + 1)
		return;
	if (a)
		a->who.tid = 0;
	if (introduce_process(exec) && a)
		a->known = exec + 1;
}

#endif
