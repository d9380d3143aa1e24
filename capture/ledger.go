package capture

// This file keeps the account of each probe: seen, recorded, lost.

import (
	"slices"

	"github.com/acc-project/acc/format"
)

// numProbes and probes are what events are counted under in the kernel, in the
// order of PROBE_* in the programs.
const numProbes = 21

var probes = [numProbes]struct {
	hook format.Hook
	kind format.Kind
}{
	{format.HookSysAccept4, format.Enter},
	{format.HookSysAccept4, format.Return},
	{format.HookDoAccept, format.Return},
	{format.HookIOAccept, format.Return},
	{format.HookIOComplete, format.Return},
	{format.HookKernelAccept, format.Return},
	{format.HookSysExit, format.Return},
	{format.HookFDInstall, format.Return},
	{format.HookHashdance, format.Queued},
	{format.HookQueueAdd, format.Queued},
	{format.HookSetState, format.Closed},
	{format.HookSetState, format.State},
	{format.HookConnRequest, format.Drop},
	{format.HookSynRecv, format.Drop},
	{format.HookChildForget, format.Drop},
	{format.HookListenStart, format.Listen},
	{format.HookTCPDone, format.Closed},
	{format.HookTCPFin, format.State},
	{format.HookInetListen, format.Listen},
	{format.HookMigrateSock, format.Queued},
	{format.HookListenStop, format.Stop},
}

// The places in probes that the code names.
const (
	probeEnter = iota
	probeReturn
	probeDoAccept
	probeIOAccept
	probeIOComplete
	probeKernelAccept
	probeSysExit
	probeFDInstall
	probeHashdance
	probeQueueAdd
	probeClosed
	probeState
	probeConnRequest
	probeSynRecv
	probeChildForget
	probeListen
	probeDone
	probeFin
	probeRelisten
	probeMigrate
	probeListenStop
)

func probeOf(hook format.Hook, kind format.Kind) int {
	switch {
	case kind == format.Enter:
		return probeEnter
	case hook == format.HookSetState && kind == format.State || hook > format.HookSetState:
		return int(hook) + 1 // Closed and State have a hook in common
	}
	return int(hook)
}

// A ledger finds what the ring had no room for: every hit of a probe on a CPU
// takes a number, written or not, so that a gap in the numbers is a loss with a
// place in time.
type ledger struct {
	cpus    []*[numProbes]account // nil of a CPU without events
	refused [numProbes]uint64     // came, but the disk had no room for them
	written [numProbes]uint64     // in the losses that were written
	lost    uint64                // in the losses so far
}

type account struct {
	last     uint64 // largest number seen
	lastNS   int64  // its event's time
	recorded uint64
	gaps     []gap // not yet written
	late     gap   // refused
}

// A gap is a run of numbers that did not come. A task that was preempted between
// taking its number and getting room may still fill a young one.
type gap struct {
	first, last  uint64
	count        uint64
	fromNS, toNS int64
}

func (l *ledger) account(cpu uint32, probe int) *account {
	if int(cpu) >= len(l.cpus) {
		l.cpus = append(l.cpus, make([]*[numProbes]account, int(cpu)+1-len(l.cpus))...)
	}
	a := l.cpus[cpu]
	if a == nil {
		a = new([numProbes]account)
		l.cpus[cpu] = a
	}
	return &a[probe]
}

// take books number seq of a probe on a CPU.
func (l *ledger) take(probe int, cpu uint32, seq uint64, ns int64) {
	if !l.next(probe, cpu, seq, ns) {
		l.jump(probe, cpu, seq, ns)
	}
}

// next books a number that follows the one before, as nearly all do; false: it does not. It is there to be inlined.
func (l *ledger) next(probe int, cpu uint32, seq uint64, ns int64) bool {
	if int(cpu) >= len(l.cpus) || l.cpus[cpu] == nil {
		return false
	}
	return l.cpus[cpu][probe].next(seq, ns)
}

func (a *account) next(seq uint64, ns int64) bool {
	if a.last+1 != seq {
		return false
	}
	a.last, a.lastNS = seq, ns
	a.recorded++
	return true
}

// jump books a number that need not be the next one.
func (l *ledger) jump(probe int, cpu uint32, seq uint64, ns int64) {
	a := l.account(cpu, probe)
	a.recorded++
	if seq > a.last {
		if seq > a.last+1 {
			a.gaps = append(a.gaps, gap{a.last + 1, seq - 1, seq - 1 - a.last, a.lastNS, ns})
			l.lost += seq - 1 - a.last
		}
		a.last, a.lastNS = seq, ns
		return
	}
	for i := len(a.gaps) - 1; i >= 0; i-- { // mostly a young one
		if g := &a.gaps[i]; g.first <= seq && seq <= g.last && g.count > 0 {
			l.lost--
			g.count--
			switch {
			case g.count == 0:
				a.gaps = slices.Delete(a.gaps, i, i+1)
			case seq == g.first:
				g.first++
			case seq == g.last:
				g.last--
			default:
				above := gap{seq + 1, g.last, g.last - seq, g.fromNS, g.toNS}
				g.last, g.count = seq-1, seq-g.first
				a.gaps = slices.Insert(a.gaps, i+1, above)
			}
			return
		}
	}
}

// lostBefore is how much is lost for good: numbers of calls in flight may still come.
func (l *ledger) lostBefore(beforeNS int64) uint64 {
	n := l.lost
	for _, accounts := range l.cpus {
		if accounts == nil {
			continue
		}
		for probe := range accounts {
			for _, g := range accounts[probe].gaps {
				if g.toNS >= beforeNS {
					n -= g.count
				}
			}
		}
	}
	return n
}

// missing reports whether numbers of a probe did not come that are older than before.
func (l *ledger) missing(probe int, beforeNS int64) bool {
	return slices.ContainsFunc(l.cpus, func(accounts *[numProbes]account) bool {
		return accounts != nil && slices.ContainsFunc(accounts[probe].gaps,
			func(g gap) bool { return g.toNS < beforeNS })
	})
}

// recorded is how many numbers of a probe came, and were not refused.
func (l *ledger) recorded(probe int) (n uint64) {
	for _, accounts := range l.cpus {
		if accounts != nil {
			n += accounts[probe].recorded
		}
	}
	return n
}

// refuse takes back an event that was booked but could not be written.
func (l *ledger) refuse(h format.Hit) {
	probe := probeOf(h.Hook, h.Kind)
	a := l.account(h.CPU, probe)
	a.recorded--
	l.refused[probe]++
	l.lost++
	g := &a.late
	if g.count++; g.count == 1 {
		g.fromNS, g.toNS = h.BootNS-1, h.BootNS+1
	}
	g.fromNS, g.toNS = min(g.fromNS, h.BootNS-1), max(g.toNS, h.BootNS+1)
}

// losses gives the gaps that are older than before, and forgets them.
func (l *ledger) losses(beforeNS int64, write func(format.Loss) error) error {
	for cpu, accounts := range l.cpus {
		if accounts == nil {
			continue
		}
		for probe := range accounts {
			a := &accounts[probe]
			kept := a.gaps[:0]
			for _, g := range a.gaps {
				if g.toNS >= beforeNS {
					kept = append(kept, g)
					continue
				}
				if g.count == 0 {
					continue
				}
				p := probes[probe]
				l.written[probe] += g.count
				if err := write(format.Loss{CPU: uint32(cpu), Hook: p.hook, Kind: p.kind, Count: g.count,
					FromNS: g.fromNS, ToNS: g.toNS}); err != nil {
					return err
				}
			}
			a.gaps = kept
		}
	}
	return nil
}

// finish books the hits after each CPU's last event, by the kernel's counters.
func (l *ledger) finish(hits map[uint32][numProbes]uint64, nowNS int64) {
	for cpu, h := range hits {
		for probe, n := range h {
			if n == 0 {
				continue
			}
			a := l.account(cpu, probe)
			if a.late.count > 0 {
				a.gaps = append(a.gaps, a.late)
				a.late = gap{}
			}
			if n > a.last {
				a.gaps = append(a.gaps, gap{a.last + 1, n, n - a.last, a.lastNS, nowNS})
				l.lost += n - a.last
				a.last = n
			}
		}
	}
}

// numbers are those of all probes on all CPUs: what came, and what may still come.
func (l *ledger) numbers() (list []format.Numbers) {
	for cpu, accounts := range l.cpus {
		if accounts == nil {
			continue
		}
		for probe := range accounts {
			a := &accounts[probe]
			if a.last == 0 {
				continue
			}
			p := probes[probe]
			n := format.Numbers{CPU: uint32(cpu), Hook: p.hook, Kind: p.kind, Last: a.last}
			for _, g := range a.gaps {
				n.Open = append(n.Open, format.NumberRange{First: g.first, Last: g.last})
			}
			list = append(list, n)
		}
	}
	return list
}

// settled is how many numbers of each probe came, or are known to be lost.
func (l *ledger) settled() (sum [numProbes]uint64) {
	for _, accounts := range l.cpus {
		if accounts == nil {
			continue
		}
		for probe := range accounts {
			sum[probe] += accounts[probe].last
			for _, g := range accounts[probe].gaps {
				sum[probe] -= g.count
			}
		}
	}
	return sum
}
