//go:build linux && (amd64 || arm64)

package capture

// This file converts the kernel side's records to events.

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
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

// A copied member is a number that a record and its event have by the same name.
type copied struct{ from, to, size uintptr }

// What conversion copies, and need not be told of: all but what depends on something else, or is no number.
var (
	copiedOfEvent = copiedMembers(reflect.TypeFor[bpf.AccEvent](), "Netns", "HasAddr", "HasAddrlen", "Told", "Inode",
		"Cookie", "Lport", "Rport", "PeerPid", "PeerUid")
	copiedOfLife = copiedMembers(reflect.TypeFor[bpf.AccLifeEvent]())
)

// copiedMembers lists the members of a record, and of the structs in it, that are copied, but for some.
func copiedMembers(raw reflect.Type, but ...string) (list []copied) {
	for i := range raw.NumField() {
		m := raw.Field(i)
		if slices.Contains(but, m.Name) {
			continue
		}
		if m.Type.Kind() == reflect.Struct {
			for _, c := range copiedMembers(m.Type, but...) {
				list = append(list, copied{m.Offset + c.from, c.to, c.size})
			}
			continue
		}
		to, ok := reflect.TypeFor[format.Event]().FieldByNameFunc(func(name string) bool {
			return strings.EqualFold(name, m.Name)
		})
		if ok && isInt(m.Type) && isInt(to.Type) { // of a number in more bytes than the event has, the low ones matter
			list = append(list, copied{m.Offset, to.Offset, min(m.Type.Size(), to.Type.Size())})
		}
	}
	return list
}

func isInt(t reflect.Type) bool { return t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 }

// copyMembers copies a record's members.
func copyMembers(e *format.Event, raw unsafe.Pointer, list []copied) {
	for _, c := range list {
		from, to := unsafe.Add(raw, c.from), unsafe.Add(unsafe.Pointer(e), c.to)
		switch c.size {
		case 1:
			*(*uint8)(to) = *(*uint8)(from)
		case 2:
			*(*uint16)(to) = *(*uint16)(from)
		case 4:
			*(*uint32)(to) = *(*uint32)(from)
		case 8:
			*(*uint64)(to) = *(*uint64)(from)
		}
	}
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
		Comm: n.of(raw.Comm), HasAddr: raw.HasAddr != 0, HasAddrLen: raw.HasAddrlen != 0, AddrLenIn: raw.Told.AddrlenIn,
		NetNS: f.Netns, LAddr: address(inet, &f.Laddr),
	}
	copyMembers(e, unsafe.Pointer(raw), copiedOfEvent)
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
	*e = format.Event{LAddr: address(family, &raw.Laddr), RAddr: address(family, &raw.Raddr)}
	copyMembers(e, unsafe.Pointer(raw), copiedOfLife)
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
