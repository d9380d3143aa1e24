/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the program that accepts was told of its peer: the address and the length
 * in its own memory, held against what the kernel knows. Another thread may have
 * written there since.
 */
#ifndef ACC_TOLD_H
#define ACC_TOLD_H

#include "common.h"
#include "sock.h"

#define SOCKADDR_MAX 32 /* holds a sockaddr_in6, 28 bytes */
#define NAME_PART 16

/* Keeps n below 32 before the eyes of the verifier. */
#define BOUND(n) asm volatile("%0 &= 31" : "+r"(n))

/* Builds the address that the kernel has for the peer of a socket; gives its
 * length, 0 if this is a family of which it is not known. */
static __always_inline u32 peer_address(u8 *want, struct facts *f)
{
	u16 family = f->inner ? f->inner : f->family;

	*(u16 *)want = family;
	switch (family) {
	case AF_INET:
		*(u16 *)(want + 2) = __builtin_bswap16(f->rport);
		*(u32 *)(want + 4) = *(u32 *)f->raddr;
		return 16;
	case AF_INET6:
		*(u16 *)(want + 2) = __builtin_bswap16(f->rport);
		*(u64 *)(want + 8) = *(u64 *)f->raddr;
		*(u64 *)(want + 16) = *(u64 *)(f->raddr + 8);
		return 28;
	case AF_VSOCK:
		*(u32 *)(want + 4) = *(u32 *)(f->raddr + 4);
		*(u32 *)(want + 8) = *(u32 *)f->raddr;
		return 16;
	}
	return 0;
}

/* Whether a name in the UNIX domain that the program was told, len bytes of it, is
 * not the peer's. */
static __noinline bool name_differs(u64 told, struct unix_address *addr, u32 len)
{
	u64 a[4], b[4]; /* of which two are used, but the verifier sees room for 31 bytes */

	for (u32 i = 0; i < 7; i++) {
		u64 n = len - i * NAME_PART;

		if (i * NAME_PART >= len)
			break;
		if (n > NAME_PART)
			n = NAME_PART;
		BOUND(n);
		a[0] = a[1] = b[0] = b[1] = 0;
		bpf_probe_read_user(a, n, (void *)told + i * NAME_PART);
		bpf_probe_read_kernel(b, n, (void *)addr + bpf_core_field_offset(struct unix_address, name) + i * NAME_PART);
		if (a[0] != b[0] || a[1] != b[1])
			return 1;
	}
	return 0;
}

/* The same for sk, an accepted socket of the UNIX domain. */
static __noinline u16 read_told_unix(struct told *t, u64 addr, void *sk)
{
	struct unix_address *name = 0;
	struct sock *peer = 0;
	u16 family = 0, mark = 0;
	u32 len = sizeof(u16);

	bpf_probe_read_kernel(&peer, sizeof(peer), sk + bpf_core_field_offset(struct unix_sock, peer));
	if (!peer)
		return 0;
	bpf_probe_read_kernel(&name, sizeof(name), (void *)peer + bpf_core_field_offset(struct unix_sock, addr));
	if (name)
		len = BPF_CORE_READ(name, len);
	if ((u32)t->addrlen_out != len)
		mark = MARK_ADDR_DIFFERS;
	if ((u32)t->addrlen_in < len) {
		mark |= MARK_ADDR_SHORT;
		len = t->addrlen_in;
	}
	if (len < sizeof(u16))
		return mark;
	bpf_probe_read_user(&family, sizeof(family), (void *)addr);
	if (family != AF_UNIX || (name && name_differs(addr, name, len)))
		mark |= MARK_ADDR_DIFFERS;
	if (mark & MARK_ADDR_DIFFERS)
		t->family = family;
	return mark;
}

/*
 * Reads what the program was told into t, where the length that it passed already
 * is, and gives the marks of it. f: the new socket's facts; sk: the socket itself,
 * if it is of the UNIX domain and still open.
 */
static __noinline u16 read_told(struct told *t, struct facts *f, u64 addr, u64 addrlen, void *sk)
{
	u64 want[SOCKADDR_MAX / 8] = {}, got[SOCKADDR_MAX / 8];
	s32 out = 0;
	u64 n;
	u32 len;
	u16 mark = 0;

	if (bpf_probe_read_user(&out, sizeof(out), (void *)addrlen))
		return 0;
	t->addrlen_out = out;
	if (f->family == AF_UNIX)
		return sk ? read_told_unix(t, addr, sk) : 0;
	len = peer_address((u8 *)want, f);
	if (!len)
		return 0;
	n = len;
	if ((u32)t->addrlen_in < len) {
		mark = MARK_ADDR_SHORT;
		n = (u32)t->addrlen_in;
	}
	/* What was not copied counts as right. */
	__builtin_memcpy(got, want, sizeof(got));
	BOUND(n);
	if (bpf_probe_read_user(got, n, (void *)addr))
		return mark;
	if (len == 28) { /* not the flow label and the scope, which the facts don't have */
		if ((u32)got[0] != (u32)want[0] || got[1] != want[1] || got[2] != want[2])
			mark |= MARK_ADDR_DIFFERS;
	} else if (got[0] != want[0] || (f->family == AF_VSOCK && (u32)got[1] != (u32)want[1])) {
		mark |= MARK_ADDR_DIFFERS;
	}
	if ((u32)out != len)
		mark |= MARK_ADDR_DIFFERS;
	if (mark & MARK_ADDR_DIFFERS) {
		t->family = (u16)got[0];
		t->port = __builtin_bswap16((u16)(got[0] >> 16));
		if (t->family == AF_INET) {
			*(u32 *)t->addr = got[0] >> 32;
		} else if (t->family == AF_INET6) {
			__builtin_memcpy(t->addr, &got[1], 16);
		}
	}
	return mark;
}

#endif
