//go:build amd64 || arm64

package capture

import (
	"testing"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// A process has one number, whichever of its threads accepts first, and a new one
// after exec.
func TestProcessNumbers(t *testing.T) {
	var written []format.Process
	p := processes{write: func(rec format.Process) error {
		written = append(written, rec)
		return nil
	}}
	const pid = 1 << 30
	introduced := bpf.AccProcess{Pid: pid, StartNs: 7}
	for i, part := range []string{"nginx", "/"} {
		copy(introduced.Exe[i][:], part)
	}
	event := func(tid uint32, comm byte) *bpf.AccEvent {
		e := &bpf.AccEvent{Pid: pid, Tid: tid, StartNs: 7}
		e.Comm[0] = int8(comm)
		return e
	}
	number := func(e *bpf.AccEvent, want uint32) {
		t.Helper()
		if got, err := p.number(e); err != nil || got != want {
			t.Errorf("thread %d: process %d, %v; want %d", e.Tid, got, err, want)
		}
	}
	p.introduce(&introduced)
	number(event(pid+1, 'w'), 1)
	number(event(pid, 'm'), 1)
	number(event(pid+2, 'w'), 1)
	number(event(pid, 'n'), 1) // another name
	p.introduce(&introduced)
	number(event(pid+1, 'w'), 2)
	number(event(pid, 'n'), 2)
	if len(written) != 2 || written[0].Exe != "/nginx" {
		t.Errorf("%d records: %+v", len(written), written)
	}
}
