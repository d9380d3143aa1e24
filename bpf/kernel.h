/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The parts of the kernel's types that acc reads. Offsets come from the running
 * kernel's BTF when the program is loaded (CO-RE), so only names and types
 * matter here. ___suffixes tell apart what changed between kernels.
 */
#ifndef ACC_KERNEL_H
#define ACC_KERNEL_H
#include <linux/types.h>
#define __VMLINUX_H__ /* bpf_tracing.h: registers by their kernel names */

typedef __u8 u8;
typedef __u16 u16;
typedef __s32 s32;
typedef __u32 u32;
typedef __s64 s64;
typedef __u64 u64;
typedef _Bool bool;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		u8 u6_addr8[16];
		u32 u6_addr32[4];
	} in6_u;
};

struct ns_common {
	unsigned int inum;
};

struct netns_ipv4 {
	u8 sysctl_tcp_syncookies; /* an int to 5.12, of which this is the low byte; so is the next */
	u8 sysctl_tcp_abort_on_overflow;
};

struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};

struct pid_namespace {
	struct ns_common ns;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

typedef struct {
	unsigned int val;
} kuid_t;

struct cred {
	kuid_t uid;
};

typedef struct {
	struct net *net;
} possible_net_t;

typedef struct {
	s64 counter;
} atomic64_t;

struct sock_common {
	union {
		u64 skc_addrpair;
		struct {
			u32 skc_daddr;
			u32 skc_rcv_saddr;
		};
	};
	union {
		u32 skc_portpair;
		struct {
			u16 skc_dport;
			u16 skc_num;
		};
	};
	u32 skc_hash;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	struct sock *skc_listener; /* of a request */
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};

struct sk_buff_head {
	u32 qlen;
};

struct sock {
	struct sock_common __sk_common;
	struct sk_buff_head sk_receive_queue;
	u32 sk_ack_backlog;
	u32 sk_max_ack_backlog;
	u16 sk_type;
	u16 sk_protocol;
	struct pid *sk_peer_pid;
	const struct cred *sk_peer_cred;
	struct socket *sk_socket;
	int sk_err;
	u8 sk_shutdown;
	u8 sk_userlocks : 4;
};

struct inet_bind_bucket {
	signed char fastreuse;
};

enum sock_flags {
	SOCK_DONE = 1,
};

struct inet_timewait_sock {
	struct sock_common __tw_common;
};

struct sockaddr_un {
	u16 sun_family;
};

struct unix_address {
	int len;
	struct sockaddr_un name[];
};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

struct inet_sock {
	u16 inet_sport;
};

typedef struct {
	int counter;
} atomic_t;

struct request_sock_queue {
	u8 rskq_defer_accept;
	atomic_t qlen;
};

struct inet_connection_sock {
	struct inet_bind_bucket *icsk_bind_hash;
	struct request_sock_queue icsk_accept_queue;
	void *icsk_ulp_data; /* of one under MPTCP: struct mptcp_subflow_context */
};

struct request_sock {
	struct sock_common __req_common;
	struct sock *sk; /* the connection, once it is queued */
	u8 num_retrans;  /* how often the SYN-ACK was sent again */
};

struct inet_request_sock {
	u16 acked : 1;
};

struct tcp_request_sock {
	u64 snt_synack; /* microseconds of the monotonic clock, 0 of a SYN cookie */
};

struct minmax_sample {
	u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_sock {
	bool is_mptcp; /* where there is MPTCP */
	struct tcp_request_sock *fastopen_rsk;
	u32 rcv_nxt;
	u32 copied_seq;
	u64 bytes_received;
	u64 bytes_acked;
	u32 segs_in;
	u32 segs_out;
	u32 total_retrans;
	u32 srtt_us; /* eighths */
	u32 snd_una;
	u32 write_seq;
	struct minmax rtt_min;
};

struct sk_buff {
	unsigned char *head;
	u16 transport_header;
	u16 network_header;
	char cb[48];
};

struct tcp_skb_cb { /* in cb */
	u32 seq;
	u32 end_seq;
};

struct mptcp_sock {
	struct sock *first;
};

struct mptcp_subflow_context {
	struct sock *conn; /* the socket of MPTCP */
};

struct socket {
	struct sock *sk;
	struct file *file;
};

struct super_block {
	u32 s_dev;
};

struct inode {
	u16 i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct callback_head {
	struct callback_head *next;
};

struct file {
	struct inode *f_inode;
	void *private_data;
	const void *f_op;
	unsigned int f_flags;
	struct path f_path;
	struct callback_head f_task_work; /* from 6.7 */
};

struct file___rcuhead { /* to 6.6 */
	struct callback_head f_rcuhead;
};

struct file___u { /* to 5.18 */
	union {
		struct callback_head fu_rcuhead;
	} f_u;
};

/* A request of io_uring, and what it holds for accept. */
struct io_cqe {
	u64 user_data;
	s32 res;
	union {
		u32 flags;
		int fd;
	};
};

struct percpu_ref {
	unsigned long percpu_count_ptr;
};

struct io_ring_ctx {
	struct percpu_ref refs;
};

struct io_kiocb {
	struct file *file;
	u8 opcode;
	unsigned int flags;
	struct io_ring_ctx *ctx;
	struct task_struct *task; /* to 6.12 */
	struct io_cqe cqe;
};

struct io_uring_task {
	struct task_struct *task;
};

struct io_kiocb___tctx { /* from 6.13 */
	struct io_uring_task *tctx;
};

struct io_kiocb___old { /* 5.10 */
	u64 user_data;
	u32 result;
};

struct io_accept {
	void *addr;
	int *addr_len;
	int flags;
	int iou_flags; /* from 6.10 */
	u32 file_slot;
};

struct trace_event_raw_io_uring_complete {
	void *req; /* from 5.19 */
	u64 user_data;
	int res;
};

struct trace_event_raw_sys_exit {
	long ret;
};

struct kernfs_node {
	struct kernfs_node *parent;
	const char *name;
	u64 id;
};

struct kernfs_node___rcu { /* from 6.15 */
	struct kernfs_node *__parent;
};

struct cgroup_subsys_state {
	u64 serial_nr;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct mm_struct {
	struct file *exe_file;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
};

struct thread_info {
	unsigned long flags;
	u32 status;
};

struct signal_struct {
	atomic_t live;
};

struct task_struct {
	struct thread_info thread_info;
	struct task_struct *group_leader;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct mm_struct *mm;
	struct css_set *cgroups;
	const struct cred *cred;
	struct pid *thread_pid;
	struct callback_head *task_works;
	void *stack;
	u64 start_boottime;
	u64 self_exec_id;
	struct signal_struct *signal;
	char comm[16];
	unsigned int flags;
	int tgid;
	int pid;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx;
	unsigned long r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	u64 regs[31];
	u64 sp, pc, pstate;
};
struct pt_regs {
	union {
		struct user_pt_regs user_regs;
		struct {
			u64 regs[31];
			u64 sp, pc, pstate;
		};
	};
	u64 orig_x0;
	s32 syscallno;
};
#endif

#pragma clang attribute pop

#endif
