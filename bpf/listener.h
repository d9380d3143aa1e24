/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sockets that begin to listen, or stop it: who did it, and how. */
#ifndef ACC_LISTENER_H
#define ACC_LISTENER_H

#include "process.h"
#include "select_life.h"

/* Why listeners stopped, by socket, for the connections that are lost with them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u8);
} stopped SEC(".maps");

static __always_inline void forget_stop(struct sock *sk)
{
	u64 key = (u64)sk;

	bpf_map_delete_elem(&stopped, &key);
}

#define PF_KTHREAD 0x00200000

/* How the system call that the current task is in ends a listener, if it does. */
static __always_inline u8 stop_of_call(struct task_struct *task)
{
	long nr = syscall_nr(task);

	if (BPF_CORE_READ(task, flags) & (PF_KTHREAD | PF_IO_WORKER))
		return CAUSE_UNKNOWN;
#if defined(__TARGET_ARCH_x86)
	if (BPF_CORE_READ(task, thread_info.status) & TS_COMPAT) {
		switch (nr) {
		case 373:
			return CAUSE_LISTENER_SHUT;
		case 362:
			return CAUSE_LISTENER_DISCONNECTED;
		case 369:
		case 370:
			return CAUSE_LISTENER_DESTROYED;
		}
		return CAUSE_UNKNOWN;
	}
	switch (nr & ~0x40000000) { /* of x32 */
	case 48:
		return CAUSE_LISTENER_SHUT;
	case 42:
		return CAUSE_LISTENER_DISCONNECTED;
	case 44:
	case 46: /* a message to sock_diag */
		return CAUSE_LISTENER_DESTROYED;
	}
#else
	switch (nr) {
	case 210:
		return CAUSE_LISTENER_SHUT;
	case 203:
		return CAUSE_LISTENER_DISCONNECTED;
	case 206:
	case 211:
		return CAUSE_LISTENER_DESTROYED;
	}
#endif
	return CAUSE_UNKNOWN;
}

/* Whether a listener is being closed. Of one under MPTCP, whose close() stops it before it closes it, that socket says so. */
static __always_inline bool is_closing(struct sock *sk)
{
	struct mptcp_subflow_context *subflow;

	if (BPF_CORE_READ(sk, sk_shutdown) == SHUTDOWN_MASK)
		return 1;
	if (!bpf_core_field_exists(struct tcp_sock, is_mptcp) || !bpf_core_type_exists(struct mptcp_subflow_context) ||
	    !BPF_CORE_READ((struct tcp_sock *)sk, is_mptcp))
		return 0;
	subflow = BPF_CORE_READ((struct inet_connection_sock *)sk, icsk_ulp_data);
	return BPF_CORE_READ(subflow, conn, sk_shutdown) == SHUTDOWN_MASK;
}

/* Why a listener stops, in the task that stops it. */
static __always_inline u8 stop_cause(struct task_struct *task, struct sock *sk)
{
	u8 call = stop_of_call(task);

	if (call == CAUSE_LISTENER_SHUT) /* which may come after one that failed and left its bits */
		return call;
	if (is_closing(sk))
		return BPF_CORE_READ(task, flags) & PF_EXITING ? CAUSE_LISTENER_EXITED : CAUSE_LISTENER_CLOSED;
	return call == CAUSE_UNKNOWN ? CAUSE_LISTENER_STOPPED : call;
}

/* Why a connection is lost with its listener. A handshake's end can lose it, too, in any task. */
static __always_inline u8 cause_of_loss(struct sock *sk)
{
	u64 key = (u64)sk;
	u8 *why = bpf_map_lookup_elem(&stopped, &key);

	if (why)
		return *why;
	return is_closing(sk) ? CAUSE_LISTENER_CLOSED : CAUSE_LISTENER_STOPPED;
}

/* Fills in an event of a listener. NULL: there was no room. */
static __always_inline struct event *tell_listener(struct task_struct *task, struct sock *sk, u32 probe, u8 kind, u8 hook)
{
	struct event *e;
	u64 seq = 0;

	if (selecting && !listening_selected(task, sk)) {
		count_filtered(probe);
		return 0;
	}
	introduce(task, 0);
	e = reserve(probe, &seq, 0);
	if (!e)
		return 0;
	describe(e, task, kind, hook, seq);
	e->sockfd = -1;
	e->flags = 0;
	e->ret = 0;
	e->via = VIA_UNKNOWN;
	__builtin_memset(&e->facts, 0, sizeof(e->facts));
	e->facts.listener = inode_of(sk);
	read_sock(&e->facts, sk, 0);
	read_queue(&e->facts, sk, e->facts.proto);
	return e;
}

static __always_inline int stops(struct sock *sk)
{
	struct task_struct *task = current_task();
	u64 key = (u64)sk;
	struct event *e;
	u8 cause;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	cause = stop_cause(task, sk);
	bpf_map_update_elem(&stopped, &key, &cause, BPF_ANY);
	e = tell_listener(task, sk, PROBE_LISTEN_STOP, STOP, HOOK_LISTEN_STOP);
	if (!e)
		return 0;
	if (!e->facts.lport) { /* it may have given its port back; inet_sport keeps it */
		u16 port = 0;

		bpf_probe_read_kernel(&port, sizeof(port), (void *)sk + bpf_core_field_offset(struct inet_sock, inet_sport));
		e->facts.lport = __builtin_bswap16(port);
	}
	e->cause = cause;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int listens(struct sock *sk, u32 probe, u8 hook, u64 limit)
{
	struct event *e;

	if (sk->__sk_common.skc_state != TCP_LISTEN || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (hook == HOOK_LISTEN_START)
		forget_stop(sk);
	e = tell_listener(current_task(), sk, probe, LISTEN, hook);
	if (!e)
		return 0;
	if (hook == HOOK_INET_LISTEN)
		e->facts.backlog_max = limit;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("fexit/inet_csk_listen_start")
int fexit_listen_start(u64 *ctx)
{
	return listens((struct sock *)ctx[0], PROBE_LISTEN, HOOK_LISTEN_START, 0);
}

/* listen() of a socket that listens only sets its limit, which then can't fail. */
SEC("fentry/inet_listen")
int fentry_inet_listen(u64 *ctx)
{
	struct sock *sk = ((struct socket *)ctx[0])->sk;

	if (!sk)
		return 0;
	return listens(sk, PROBE_RELISTEN, HOOK_INET_LISTEN, (u32)ctx[1]);
}

/* MPTCP calls this from Linux 6.6 on; of others, inet_listen does. */
SEC("fentry/__inet_listen_sk")
int fentry_inet_listen_sk(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];

	if (!bpf_core_field_exists(struct tcp_sock, is_mptcp) || !BPF_CORE_READ((struct tcp_sock *)sk, is_mptcp))
		return 0;
	return listens(sk, PROBE_RELISTEN, HOOK_INET_LISTEN, (u32)ctx[1]);
}

SEC("fentry/inet_csk_listen_stop")
int fentry_listen_stop(u64 *ctx)
{
	return stops((struct sock *)ctx[0]);
}

#endif
