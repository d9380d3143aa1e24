/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The end of system calls: returns of accept that no other probe has seen. */
#ifndef ACC_EXIT_H
#define ACC_EXIT_H

#include "accept.h"

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
#ifdef ACC_MODERN
	a = call_place((u32)task->pid);
	if (a && a->returned && TURN(a) >> 32 == (u32)task->pid) {
		a->returned = 0;
		return 0;
	}
#endif
	a = attempt_of(task, 0);
	if (a && a->in_flight) {
		if (watch & WATCH_ENDING)
			return 0;
		tell_return(task, a, PROBE_SYS_EXIT, HOOK_SYS_EXIT, ret);
		a->in_flight = 0;
#ifdef ACC_MODERN
		if (a->turn)
			LEAVE(a);
#endif
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

#endif
