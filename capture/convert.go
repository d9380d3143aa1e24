//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
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
	s := text((*[16]byte)(unsafe.Pointer(&comm))[:])
	(*n)[comm] = s
	return s
}

// text is what stands before the first zero byte.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// convert fills e from what a probe wrote. Seq, Proc and the name of a UNIX
// socket, which not every event brings along, are set later.
func convert(e *format.Event, raw *bpf.AccEvent, n *names) {
	f := &raw.Facts
	family := format.Family(f.Family)
	inet := family
	if f.Inner != 0 {
		inet = format.Family(f.Inner)
	}
	*e = format.Event{
		BootNS: int64(raw.BootNs), Kind: format.Kind(raw.Kind), Hook: format.Hook(raw.Hook), Via: format.Via(raw.Via),
		Mark: raw.Mark, Uring: raw.Uring,
		CPU: raw.Cpu, CPUSeq: raw.CpuSeq, PID: raw.Pid, TID: raw.Tid, UID: raw.Uid, Comm: n.of(raw.Comm),
		Cgroup: raw.Cgroup, NetNS: f.Netns, SockFD: raw.Sockfd, Flags: raw.Flags,
		HasAddr: raw.HasAddr != 0, HasAddrLen: raw.HasAddrlen != 0, AddrLenIn: raw.Told.AddrlenIn,
		UserData: raw.UserData, UringEnd: format.UringEnd(raw.UringEnd), Cause: format.Cause(raw.Cause),
		Ret: raw.Ret, Listener: f.Listener, Backlog: f.Backlog, BacklogMax: f.BacklogMax,
		Family: family, Type: uint8(f.Type), Proto: f.Proto, State: uint8(f.State), LAddr: address(inet, &f.Laddr),
	}
	switch {
	case f.Netns == 0: // there is no socket
		e.NetNS = raw.Netns
	case raw.Netns != f.Netns:
		e.TaskNetNS = raw.Netns
	}
	if e.LAddr.IsValid() {
		e.LPort = f.Lport
	}
	if family == format.FamilyVSock {
		e.LName = vsockName(&f.Laddr)
	}
	if !e.Accepted() && e.Mark&format.MarkClientLost == 0 {
		return
	}
	e.Inode = f.Inode
	if e.RAddr = address(inet, &f.Raddr); e.RAddr.IsValid() {
		e.RPort = f.Rport
	}
	if !e.Accepted() {
		return
	}
	e.Cookie = f.Cookie
	e.AddrLenOut = raw.Told.AddrlenOut
	if e.Mark&format.MarkAddrDiffers != 0 {
		e.ToldFamily, e.ToldPort = format.Family(raw.Told.Family), raw.Told.Port
		e.ToldAddr = address(e.ToldFamily, &raw.Told.Addr)
	}
	switch family {
	case format.FamilyVSock:
		e.RName = vsockName(&f.Raddr)
	case format.FamilyUnix:
		e.PeerPID, e.PeerUID = f.PeerPid, f.PeerUid
	}
}

// convertLife fills e from what a probe on the life of connections wrote.
func convertLife(e *format.Event, raw *bpf.AccLifeEvent) {
	family := format.Family(raw.Family)
	*e = format.Event{
		BootNS: int64(raw.BootNs), Kind: format.Kind(raw.Kind), Hook: format.Hook(raw.Hook), Mark: raw.Mark,
		CPU: raw.Cpu, CPUSeq: raw.CpuSeq,
		NetNS: raw.Netns, Listener: raw.Listener, Backlog: raw.Backlog, BacklogMax: raw.BacklogMax,
		Family: family, Type: uint8(raw.Type), Proto: raw.Proto, State: raw.State,
		LAddr: address(family, &raw.Laddr), LPort: raw.Lport, RAddr: address(family, &raw.Raddr), RPort: raw.Rport,
		Inode: raw.Inode, Cookie: raw.Cookie, OldState: raw.OldState, SockErr: raw.SockErr, Shutdown: raw.Shutdown,
		SynQueue: raw.SynQueue, Cause: format.Cause(raw.Cause), HandshakeUS: raw.HandshakeUs, BytesIn: raw.BytesIn,
		BytesOut: raw.BytesOut,
		SegsIn:   raw.SegsIn, SegsOut: raw.SegsOut, Retransmits: raw.Retransmits, SRTTUS: raw.SrttUs,
		MinRTTUS: raw.MinRttUs,
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

// vsockName is a context id and a port, as socat and ss write them.
func vsockName(b *[16]byte) string {
	cid := binary.NativeEndian.Uint32(b[:])
	port := strconv.FormatUint(uint64(binary.NativeEndian.Uint32(b[4:])), 10)
	if cid == 1<<32-1 {
		return "*:" + port // VMADDR_CID_ANY
	}
	return strconv.FormatUint(uint64(cid), 10) + ":" + port
}

// unixName is the name that a socket in the UNIX domain is bound to: a path, or @
// and an abstract name, as ss and /proc/net/unix write it; "" if it has none.
func unixName(raw *bpf.AccNamedEvent) string {
	return boundName(raw.Name.Path[:min(int(raw.Name.Len), len(raw.Name.Path))])
}

func boundName(name []byte) string {
	switch {
	case len(name) == 0:
		return ""
	case name[0] == 0:
		return "@" + string(name[1:])
	}
	return text(name)
}
