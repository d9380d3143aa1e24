package listeners

// This file has what is kept of processes, and of each one at a listener.

import (
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// process is what is known of a process.
type process struct {
	ref                        conntrack.Ref
	key                        processKey
	comm                       string
	attempts, accepted, failed uint64
	restarted                  uint64 // of the failed
	nowhere, beyond            *spot  // of events without a listener, and at listeners beyond the bound
}

type processKey struct{ num, pid uint32 }

type link struct {
	l *listener
	p *process
}

// spot is a process at a listener, by which the task of a thread says where it is.
type spot struct {
	listener *listener
	process  *process
	share    *share // of the process at the listener, nil beyond the bounds
}

// nowhere is the spot of a task before its first event.
var nowhere = &spot{}

// spotOf is where a task is.
func spotOf(t *pairing.Task) *spot {
	if s, ok := t.Place.(*spot); ok {
		return s
	}
	return nowhere
}

func (reg *Registry) process(e *format.Event) *process {
	k := processKey{e.Proc, e.PID}
	p := reg.processes[k]
	if p == nil {
		if len(reg.processes) >= reg.o.MaxProcesses {
			reg.limited = true
			return reg.moreProcs
		}
		p = reg.newProcess(process{key: k, comm: short(e.Comm, 64)})
		reg.processes[k] = p
	}
	return p
}

// spot gives that of a process at a listener; beyond the bound, that of all further processes.
func (reg *Registry) spot(l *listener, p *process) *spot {
	switch {
	case l == reg.none:
		return p.at(&p.nowhere, l)
	case l == reg.more:
		return p.at(&p.beyond, l)
	}
	s := reg.links[link{l, p}]
	if s != nil {
		return s
	}
	if len(reg.links) >= maxLinks && p != reg.moreProcs {
		reg.limited = true
		return reg.spot(l, reg.moreProcs)
	}
	s = &spot{listener: l, process: p}
	reg.links[link{l, p}] = s
	if p != reg.moreProcs {
		s.share = &share{p: p}
		l.shares = append(l.shares, s.share)
	}
	return s
}

// at gives a spot without a share, made once.
func (p *process) at(s **spot, l *listener) *spot {
	if *s == nil {
		*s = &spot{listener: l, process: p}
	}
	return *s
}

// Record keeps a process record.
func (reg *Registry) Record(p *format.Process) {
	r := *p
	size := 0
	for _, text := range []struct {
		s   *string
		max int
	}{
		{&r.Comm, 64}, {&r.Exe, 4096}, {&r.ExeDev, 32}, {&r.Cgroup, 4096}, {&r.Container, 128}, {&r.Runtime, 32},
		{&r.Unit, 256}, {&r.Pod, 512}, {&r.PodUID, 64},
	} {
		*text.s = short(*text.s, text.max)
		size += len(*text.s)
	}
	if _, ok := reg.records[p.Num]; ok || len(reg.records) >= reg.o.MaxProcesses || reg.text+size > maxText {
		reg.limited = reg.limited || !ok
		return
	}
	reg.text += size
	reg.records[p.Num] = &r
}

// recordOf gives a process record; an empty one if there is none.
func (reg *Registry) recordOf(num uint32) *format.Process {
	if r := reg.records[num]; r != nil {
		return r
	}
	return &noRecord
}

var noRecord format.Process
