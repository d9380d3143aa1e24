/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connects to a listener in the UNIX domain that its full queue refused: unix_stream_connect gives -EAGAIN to a
 * socket that is non-blocking, or waited as long as SO_SNDTIMEO lets it. There is no event of these: they are
 * counted by what the client connected to, in no hook of accept.
 */
#ifndef ACC_REFUSED_H
#define ACC_REFUSED_H

#include "select.h"

#define UNIX_PATH 108 /* bytes of a name at most */

/* What was connected to. All of it is 0: there was no room for more of these. */
struct unix_target {
	u32 netns;     /* of the client */
	u32 len;       /* of an abstract name with its zero byte, else 0 */
	u8 path[128];  /* as the client gave it; its length is a power of 2 for the verifier of 5.10 */
};

const struct unix_target *unused_unix_target __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 256);
	__type(key, struct unix_target);
	__type(value, u64);
} refused SEC(".maps");

/* Its value, 0 if it is new. NULL: there is no room. */
static __always_inline u64 *refusals_of(struct unix_target *to)
{
	u64 zero = 0;

	bpf_map_update_elem(&refused, to, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&refused, to);
}

static __noinline int count_refused(struct sock *sk, u64 addr, u64 addr_len)
{
	u32 len = (u32)addr_len - sizeof(u16);
	struct unix_target to;
	u64 *n;

	if (watch & WATCH_ENDING)
		return 0;
	__builtin_memset(&to, 0, sizeof(to));
	to.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	addr += sizeof(u16); /* behind the family */
	bpf_probe_read_kernel(to.path, 1, (void *)addr);
	if (to.path[0]) {
		bpf_probe_read_kernel_str(to.path, UNIX_PATH + 1, (void *)addr);
	} else if (len <= UNIX_PATH) {
		to.len = len;
		BRANCH(len);
		bpf_probe_read_kernel(to.path, len & (sizeof(to.path) - 1), (void *)addr);
	}
	n = refusals_of(&to);
	if (!n) {
		__builtin_memset(&to, 0, sizeof(to));
		n = refusals_of(&to);
	}
	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}

SEC("fexit/unix_stream_connect")
int fexit_unix_connect(u64 *ctx)
{
	if ((s32)ctx[4] != -EAGAIN)
		return 0;
	return count_refused(BPF_CORE_READ((struct socket *)ctx[0], sk), ctx[1], ctx[2]);
}

#endif
