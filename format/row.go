package format

// This file says what of an event is told where it repeats an earlier one.

import "net/netip"

// A RepeatRow is what an event has that the last one of its task, kind and errno need not have.
type RepeatRow struct {
	BootNS  int64
	CPUSeq  uint64
	CPU     uint32
	Backlog uint32
	Inode   uint64 // of an accepted connection, as are those below
	Cookie  uint64
	RAddr   [16]byte // 4 of them for IPv4
	Addr    AddrForm // what of RAddr is there
	RPort   uint16
	Ret     int32
}

// A CallRow is what both events of a call have that the last ones of their task, kind and errno need not have, in the
// order in which the recorder's programs write it.
type CallRow struct {
	EnterNS      int64
	EnterSeq     uint64
	BootNS       int64 // of the return, as is what follows
	CPUSeq       uint64
	Inode        uint64
	Cookie       uint64
	RAddr        [16]byte
	EnterBacklog uint32
	Backlog      uint32
	EnterCPU     uint32
	CPU          uint32
	TID          uint32
	Base         uint32
	Ret          int32
	RPort        uint16
	Unused       uint16
}

// A LifeRow is what a Queued or Closed event has that the last one of its kind need not have, in the order in which the
// recorder's programs write it.
type LifeRow struct {
	BootNS      int64
	CPUSeq      uint64
	Inode       uint64
	Cookie      uint64
	BytesIn     uint64 // of Closed
	BytesOut    uint64 // of Closed
	ClosingUS   uint64 // of Closed
	FinUS       uint64 // of Closed
	RAddr       [16]byte
	CPU         uint32
	SynQueue    uint32 // of Queued
	HandshakeUS uint32 // of Queued
	SegsIn      uint32 // of Closed, as are those below
	SegsOut     uint32
	Retransmits uint32
	SRTTUS      uint32
	MinRTTUS    uint32
	RPort       uint16
	SockErr     uint16 // of Closed
	Backlog     uint32
}

// AddrForm is the kind of an address.
type AddrForm uint8

// The kinds of addresses.
const (
	NoAddr AddrForm = iota
	AddrIPv4
	AddrIPv6
)

// addrOf is a peer's address.
func addrOf(ip *[16]byte, form AddrForm) netip.Addr {
	switch form {
	case AddrIPv4:
		return netip.AddrFrom4([4]byte(ip[:4]))
	case AddrIPv6:
		return netip.AddrFrom16(*ip)
	}
	return netip.Addr{}
}
