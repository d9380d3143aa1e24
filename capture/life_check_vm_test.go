//go:build linux && (amd64 || arm64)

package capture

import (
	"testing"

	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/format"
)

// check holds the events of a connection against what its ends saw.
func (x *life) check(t *testing.T, r *recording) {
	t.Helper()
	var queued, end, took, gone, forgotten *format.Event
	for i := range r.events {
		e := &r.events[i]
		if e.Kind == format.Enter || e.Kind == format.Listen || e.Kind == format.Stop || crosscheck.Discarded(e) ||
			e.Remote() != x.remote || e.Local() != x.local {
			continue
		}
		if e.Cookie != x.cookie && x.taken != 0 {
			t.Errorf("%s: %s has the cookie %d, not %d", x.what, e.Kind, e.Cookie, x.cookie)
		}
		switch e.Kind {
		case format.Queued:
			queued = e
		case format.Closed:
			end = e
		case format.Return:
			took = e
		case format.State:
			gone = e
		case format.Drop:
			forgotten = e
		}
	}
	if queued == nil || end == nil || (took == nil) != (x.taken == 0) || (gone == nil) == x.gone || (forgotten == nil) == x.forgotten {
		t.Errorf("%s: queued %v, ended %v, accepted %v, state %v, dropped %v", x.what, queued, end, took, gone, forgotten)
		return
	}
	if queued.BootNS < x.from || queued.BootNS > x.connected && queued.BootNS > x.taken {
		t.Errorf("%s: queued at %d, not from %d to %d", x.what, queued.BootNS, x.from, x.connected)
	}
	if queued.Listener != x.listener || queued.Backlog != x.queue[0] || queued.BacklogMax != x.queue[1] || queued.Mark != x.mark || queued.Proto != x.proto {
		t.Errorf("%s: queued by listener %d (queue %d of %d, proto %d, marks %#x), want %+v", x.what, queued.Listener, queued.Backlog, queued.BacklogMax, queued.Proto, queued.Mark, x)
	}
	// Since the SYN-ACK, which came after connect began.
	if us := int64(queued.HandshakeUS); (us == 0) != x.cookied || us*1000 > queued.BootNS-x.from+50_000 { // two clocks
		t.Errorf("%s: a handshake of %d µs within %d ns", x.what, us, queued.BootNS-x.from)
	}
	if took != nil {
		if took.BootNS < x.accept || took.BootNS > x.taken || took.Inode != x.inode || took.Listener != x.listener {
			t.Errorf("%s: accepted as %+v, not from %d to %d", x.what, took, x.accept, x.taken)
		}
		if x.stateAtAccept != 0 && took.State != x.stateAtAccept {
			t.Errorf("%s: accepted in state %s", x.what, format.StateName(took.State))
		}
		if x.stateAtAccept == closed && end.Seq > took.Seq {
			t.Errorf("%s: ended after accept", x.what)
		}
	}
	if gone != nil && (gone.State != closeWait || gone.OldState != established || gone.Seq > took.Seq) {
		t.Errorf("%s: %+v", x.what, gone)
	}
	if forgotten != nil && (forgotten.Hook != format.HookChildForget || forgotten.Listener != x.listener) {
		t.Errorf("%s: %+v", x.what, forgotten)
	}
	checkClosed(t, x, end)
}

func checkClosed(t *testing.T, x *life, e *format.Event) {
	t.Helper()
	if in, out := e.StreamBytes(); in != x.in || out != x.out {
		t.Errorf("%s: %d bytes in, %d out, want %d and %d", x.what, in, out, x.in, x.out)
	}
	if e.OldState != x.oldState || e.State != closed || e.SockErr != x.sockErr || e.Retransmits != 0 || e.SegsIn == 0 || e.MinRTTUS > 1<<30 {
		t.Errorf("%s: ended as %+v, want state %s and error %d", x.what, e, format.StateName(x.oldState), x.sockErr)
	}
}

// checkSnapshots looks for the test's old listener and connection at the start, and
// for the listener at the end.
func checkSnapshots(t *testing.T, r *recording, s *server) {
	t.Helper()
	var found [2]int
	for _, shot := range r.shots {
		at := 0
		if shot.Final {
			at = 1
		}
		if !shot.ListenersKnown || !shot.ConnectionsKnown {
			t.Errorf("the snapshot is not complete: %v %v", shot.ListenersKnown, shot.ConnectionsKnown)
		}
		for _, x := range shot.Listeners {
			if x.Listener == s.inode && x.BacklogMax == 7 && x.Backlog == 0 && x.LPort == addrPort(s.addr).Port() {
				found[at]++
			}
		}
		for _, x := range shot.Connections {
			if x.LPort == addrPort(s.addr).Port() && x.State == established && x.Inode != 0 {
				found[at] += 10
			}
		}
	}
	if found != [2]int{11, 1} {
		t.Errorf("found %v in the snapshots, want a listener and a connection at the start, the listener at the end", found)
	}
}
