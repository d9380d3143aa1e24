package listeners

import (
	"cmp"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// This file recognises the self-tests of other recorders. Each that begins tries its probes with
// connections of its own, which are no news to anybody.

// SelfTest is what another recorder did to try its probes. Its events and rows are those of any
// program; only findings do not speak of them.
type SelfTest struct {
	Process   string `json:"process"`   // name[pid]
	PID       uint32 `json:"pid"`       // of the recorder
	Listeners uint64 `json:"listeners"` // that it opened for the test
	Accepted  uint64 `json:"accepted"`  // by itself, from itself
	Lost      uint64 `json:"lost"`      // TCP connections that it left in its own queue
}

// Bounds on what one process can do in the name of self-tests. A recorder makes a few for each
// kind of probe that it tries.
const (
	maxTestTCP    = 8
	maxTestUNIX   = 32
	maxTestAccept = 2 // at one listener
)

// isRecorder reports whether a process runs the file that the recorder itself runs, as root and in the same
// mount namespace. Whoever can make another program look so has all rights on the host.
func (reg *Registry) isRecorder(num uint32) bool {
	h, p := reg.header, reg.recordOf(num)
	file := h.ExeInode != 0 && p.ExeInode == h.ExeInode && p.ExeDev == h.ExeDev
	return file && p.MntNS != 0 && p.MntNS == h.MntNS && p.UID == 0
}

// testOf is the process record of the recorder that used a listener for its self-test, 0: it is none. It does
// not suffice that a recorder has the listener: it also is as the self-test makes it, with no client but the recorder.
func (l *listener) testOf(reg *Registry) uint32 {
	if l.snap.before || l.snap.ended || l.failed > 0 && !l.slotRefused() || l.strangers || len(l.shares) > 1 {
		return 0
	}
	f := l.life
	switch {
	case l.proto == format.ProtoTCP:
		alone := l.attempts == 0 && l.addr.Addr().IsLoopback() && l.high.n <= testClients
		if alone && (f == nil || f.Lost <= testClients && f.SYNs+f.ACKs+f.SYNQueue == 0 &&
			(f.Lost == 0 || f.LostCause == format.CauseListenerClosed)) {
			return l.opener
		}
	case l.family != 0 && l.family != format.FamilyUnix: // 0: not known, and who connected says it
	case len(l.shares) == 1 && l.accepted <= maxTestAccept && autobound(l.bound):
		if num := l.shares[0].p.key.num; reg.isRecorder(num) {
			return num
		}
	}
	return 0
}

// slotRefused reports whether the only failure at a listener is that of the request for a slot, which
// kernels before 5.19 refuse with EINVAL when they have taken the connection.
func (l *listener) slotRefused() bool {
	return l.failed == 1 && l.accepted == 1 && l.uring != nil && l.errors[0].errno == errnoInvalid
}

// autobound reports whether a name is one that the kernel chose (unix(7)), or not known.
func autobound(name string) bool {
	return name == "" || len(name) == 6 && name[0] == '@' && strings.Trim(name[1:], "0123456789abcdef") == ""
}

// selfTests finds those of other recorders, and gives the listeners that are not of one.
func (reg *Registry) selfTests(all []*listener) (others []*listener, list []SelfTest) {
	type use struct{ tcp, unix int }
	uses := map[uint32]use{}
	for _, l := range all {
		if num := l.testOf(reg); num != 0 {
			u := uses[num]
			if l.proto == format.ProtoTCP {
				u.tcp++
			} else {
				u.unix++
			}
			uses[num] = u
		}
	}
	tests := map[uint32]*SelfTest{}
	for _, l := range all {
		num := l.testOf(reg)
		if u := uses[num]; num == 0 || u.tcp > maxTestTCP || u.unix > maxTestUNIX {
			others = append(others, l)
			continue
		}
		t := tests[num]
		if t == nil {
			rec := reg.recordOf(num)
			t = &SelfTest{Process: nameOf(rec.Comm, rec.PID), PID: rec.PID}
			tests[num] = t
		}
		t.Listeners++
		t.Accepted += l.accepted
		if l.life != nil {
			t.Lost += l.life.Lost
		}
	}
	list = []SelfTest{}
	for _, t := range tests {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(x, y SelfTest) int { return cmp.Compare(x.PID, y.PID) })
	for _, l := range others { // what waited for this is told
		if m := l.marks[findings.IOUringAccept]; m != nil {
			reg.uring.Join(m)
		}
	}
	return others, list
}
