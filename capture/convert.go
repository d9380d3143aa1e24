//go:build linux && (amd64 || arm64)

package capture

import (
	"net/netip"
	"unsafe"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// names gives the thread names of events, one string for equal names. It forgets
// all when there are many.
type names map[[16]int8]string

func (n *names) of(comm [16]int8) string {
	if s, ok := (*n)[comm]; ok {
		return s
	}
	if *n == nil || len(*n) > 10_000 {
		*n = names{}
	}
	b := (*[16]byte)(unsafe.Pointer(&comm))[:]
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	s := string(b)
	(*n)[comm] = s
	return s
}

// convert fills e from what a probe wrote. Seq and Proc are set later, by the
// writer and the processes.
func convert(e *format.Event, raw *bpf.AccEvent, n *names) {
	f := &raw.Facts
	family := format.Family(f.Family)
	*e = format.Event{
		BootNS: int64(raw.BootNs), Kind: format.Kind(raw.Kind), Hook: format.Hook(raw.Hook), Via: format.Via(raw.Via), Mark: raw.Mark,
		CPU: raw.Cpu, CPUSeq: raw.CpuSeq, PID: raw.Pid, TID: raw.Tid, UID: raw.Uid, Comm: n.of(raw.Comm),
		Cgroup: raw.Cgroup, NetNS: raw.Netns, SockFD: raw.Sockfd, Flags: raw.Flags,
		HasAddr: raw.HasAddr != 0, HasAddrLen: raw.HasAddrlen != 0,
		Ret: raw.Ret, Listener: f.Listener, Backlog: f.Backlog, BacklogMax: f.BacklogMax,
		Family: family, Type: uint8(f.Type), Proto: f.Proto, State: uint8(f.State), LAddr: address(family, &f.Laddr),
	}
	if family == format.FamilyIPv4 || family == format.FamilyIPv6 {
		e.LPort = f.Lport
	}
	if e.Accepted() {
		e.RAddr, e.Inode, e.Cookie = address(family, &f.Raddr), f.Inode, f.Cookie
		if e.RAddr.IsValid() {
			e.RPort = f.Rport
		}
	}
}

func address(family format.Family, b *[16]byte) netip.Addr {
	switch family {
	case format.FamilyIPv4:
		return netip.AddrFrom4([4]byte(b[:4]))
	case format.FamilyIPv6:
		return netip.AddrFrom16(*b)
	}
	return netip.Addr{}
}
