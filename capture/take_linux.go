//go:build amd64 || arm64

package capture

// This file takes what the programs write into the ring, record by record: to the ledger, and to the writer as an
// event, or as one that repeats another.

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// takeRecord records what is in s.record.
func (s *session) takeRecord() error { return s.take(s.record.RawSample, false) }

// takeNext is a ringTake: take for what is read from the ring. Mostly that is a call like the last one, or the life of a
// connection.
func (s *session) takeNext(record []byte, behind uintptr) (more uintptr, err error) {
	if s.rotation == nil || s.rotation.lists == nil {
		if r, ok := sameCallIn(record); ok {
			return s.takeSameCall(r, false, behind)
		}
		if l, ok := lifeIn(record); ok {
			return 0, s.takeLife(l, false)
		}
	}
	return 0, s.take(record, false)
}

// take records an event, or keeps what the kernel tells of a process. Own: it only counts.
func (s *session) take(record []byte, own bool) error {
	if s.rotation != nil && s.hold(record) {
		return nil
	}
	if r, ok := sameCallIn(record); ok {
		_, err := s.takeSameCall(r, own, 0)
		return err
	}
	if c, ok := callIn(record); ok {
		return s.takeCall(c, own)
	}
	if raw, ok := eventIn(record); ok {
		return s.takeEvent(raw, record, own)
	}
	if l, ok := lifeIn(record); ok {
		return s.takeLife(l, own)
	}
	if len(record) != int(unsafe.Sizeof(bpf.AccProcess{})) {
		return fmt.Errorf("read ring buffer: a record has %d bytes", len(record))
	}
	s.processes.introduce((*bpf.AccProcess)(unsafe.Pointer(unsafe.SliceData(record))))
	return nil
}

// takeEvent records an event. record: all of its record, if it may be a named one.
func (s *session) takeEvent(raw *bpf.AccEvent, record []byte, own bool) error {
	if len(s.calls.told) > 0 && raw.Kind == uint8(format.Enter) && s.calls.isTold(raw) {
		return nil
	}
	last := s.repeats.of(raw)
	if !own && s.full == nil && s.processes.version == last.version && last.again(raw) && s.again(last, raw) {
		return nil
	}
	e := &s.event
	convert(e, raw, &s.names)
	s.book(e)
	if e.Family == format.FamilyUnix {
		e.LName = s.unixName(raw, record)
	}
	if own {
		s.a.own[probeOf(e.Hook, e.Kind)]++
		return nil
	}
	s.watcher.see(e)
	s.queues.event(e)
	if s.full != nil {
		s.ledger.refuse(hit(e))
		return nil
	}
	num, err := s.processes.number(raw)
	if err != nil {
		if errors.As(err, new(*format.NoRoomError)) {
			s.ledger.refuse(hit(e))
		}
		return err
	}
	e.Proc = num
	if err := s.witness.sees(e.NetNS, func() string { return taskDir(e) }); err != nil {
		return err
	}
	if err := s.writer.Event(e); err != nil {
		return err
	}
	*last = repeat{*raw, s.writer.Last(), s.processes.version}
	return nil
}

// taskDir is the /proc directory of the task of an event, if that is in the network namespace of the socket.
func taskDir(e *format.Event) string {
	if e.TaskNetNS != 0 {
		return ""
	}
	return fmt.Sprintf("/proc/%d/task/%d", e.PID, e.TID)
}

// book books an event in the ledger.
func (s *session) book(e *format.Event) {
	s.ledger.take(probeOf(e.Hook, e.Kind), e.CPU, e.CPUSeq, e.BootNS)
}

func hit(e *format.Event) format.Hit {
	return format.Hit{BootNS: e.BootNS, CPU: e.CPU, Kind: e.Kind, Hook: e.Hook}
}

// again records an event of a task that does what it did last; false if it can't be said that way.
func (s *session) again(last *repeat, raw *bpf.AccEvent) bool {
	if !s.writer.Repeat(last.row, repeatOf(raw)) {
		return false
	}
	if raw.Kind == uint8(format.Return) && raw.Ret >= 0 {
		s.queues.accepted(raw.Facts.Listener, int64(raw.BootNs), uint(raw.Facts.Backlog))
	}
	s.ledger.take(probeOf(format.Hook(raw.Hook), format.Kind(raw.Kind)), raw.Cpu, raw.CpuSeq, int64(raw.BootNs))
	if raw.Via == uint8(format.ViaIOUring) {
		s.watcher.uring = true
	}
	if len(s.watcher.sleepers) > 0 {
		s.watcher.returned(raw.Tid, format.Hook(raw.Hook))
	}
	return true
}

// repeatOf is what an event has that the task's last one need not have.
func repeatOf(raw *bpf.AccEvent) *format.RepeatRow {
	f := &raw.Facts
	row := format.RepeatRow{BootNS: int64(raw.BootNs), CPUSeq: raw.CpuSeq, CPU: raw.Cpu, Backlog: f.Backlog}
	if raw.Kind == uint8(format.Return) && raw.Ret >= 0 {
		row.Ret, row.Inode, row.Cookie, row.RPort, row.RAddr, row.Addr = raw.Ret, f.Inode, f.Cookie, f.Rport, f.Raddr,
			form(f.Family)
	}
	return &row
}

// form is the kind of the addresses of a family.
func form(family uint16) format.AddrForm {
	switch format.Family(family) {
	case format.FamilyIPv4:
		return format.AddrIPv4
	case format.FamilyIPv6:
		return format.AddrIPv6
	}
	return format.NoAddr
}

// lifeAgain records an event of a connection's life that is like the last one of its kind; false if it can't be said
// that way.
func (s *session) lifeAgain(last format.Row, raw *bpf.AccLifeEvent) bool {
	if !s.writer.RepeatLife(last, (*format.LifeRow)(unsafe.Pointer(raw)), form(raw.Family)) { // TestRows
		return false
	}
	s.ledger.take(probeOf(format.Hook(raw.Hook), format.Kind(raw.Kind)), raw.Cpu, raw.CpuSeq, int64(raw.BootNs))
	return true
}

// takeLife records an event of a connection's life.
func (s *session) takeLife(raw *bpf.AccLifeEvent, own bool) error {
	last, row := s.lives.of(raw)
	if !own {
		s.queues.life(raw)
	}
	if !own && s.full == nil && last.again(raw) && s.lifeAgain(*row, raw) {
		return nil
	}
	e := &s.event
	convertLife(e, raw)
	s.book(e)
	if own {
		s.a.own[probeOf(e.Hook, e.Kind)]++
		return nil
	}
	if s.full != nil {
		s.ledger.refuse(hit(e))
		return nil
	}
	if err := s.witness.sees(e.NetNS, func() string { return "" }); err != nil {
		return err
	}
	if err := s.writer.Event(e); err != nil {
		return err
	}
	*last, *row = *lifeOf(raw), s.writer.Last()
	return nil
}

// unixName is the name of an event's listener, which comes with the entry.
func (s *session) unixName(raw *bpf.AccEvent, record []byte) string {
	if len(record) != int(unsafe.Sizeof(bpf.AccNamedEvent{})) {
		return s.unixNames[raw.Facts.Listener]
	}
	name := unixName((*bpf.AccNamedEvent)(unsafe.Pointer(raw)))
	if known, ok := s.unixNames[raw.Facts.Listener]; ok && known == name {
		return known
	}
	if s.unixNames == nil || len(s.unixNames) >= 10_000 {
		s.unixNames = map[uint64]string{}
	}
	s.unixNames[raw.Facts.Listener] = name
	return name
}
