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
 * Each part has a file of its own (attempt.h, accept.h, uring.h, life.h ...).
 *
 * Compiled three times: with -mcpu=v3 and ACC_MODERN for kernels from 5.12, which
 * have fetching atomics and typed tasks; with ACC_HASH too where task storage does
 * not work (it needs cmpxchg16b from 6.18 on, which not every CPU has); and
 * plainly for 5.10.
 */
#include "common.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#include "attempt.h"
#include "guard.h"
#include "select.h"
#include "call.h"
#include "accept.h"
#include "uring.h"

/* Trampoline programs. On kernels before 5.17 the entry can't be one: their
 * verifier refuses to read an int pointer among the arguments. */

#ifdef ACC_MODERN
SEC("fentry/__sys_accept4")
int fentry___sys_accept4(u64 *ctx)
{
	return enter_accept_noted(ctx[0], ctx[1], ctx[2], ctx[3]);
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

#include "exit.h"
#include "select_life.h"
#include "life.h"
#include "refused.h"
