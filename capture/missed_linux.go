//go:build amd64 || arm64

package capture

// This file counts the hits for which the kernel ran no probe.

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/acc-project/acc/format"
)

// notMissed takes from what kretprobes missed what sys_exit saw instead.
func notMissed(missed *[numProbes]uint64, n int64) {
	for _, i := range []int{probeReturn, probeDoAccept} {
		missed[i] -= min(missed[i], uint64(max(n, 0)))
	}
}

// missedNow is how many calls the kernel did not run each probe for by now, and the one that only counts.
func (a *attached) missedNow() (missed [numProbes]uint64, unseen uint64) {
	missed, unseen = a.missed, a.unseen
	profile := missedReturns(a.others)
	for i, l := range a.links {
		if l != nil {
			a.addMissed(i, missedBy(l, a.collection.Programs[a.probes[i].program], a.probes[i], profile), &missed, &unseen)
		}
	}
	return missed, unseen
}

// addMissed adds what the kernel did not run the i-th of a.probes for.
func (a *attached) addMissed(i int, n uint64, missed *[numProbes]uint64, unseen *uint64) {
	switch p := a.probes[i]; {
	case p.index < 0:
		*unseen += n
	case p.program != lifeStates.program || a.preempted || !a.has(noNested):
		// else another program tells what interrupts it
		missed[p.index] += n
	}
}

// missedBy adds up what the kernel tells of calls that it did not run a program
// for: because another one ran on the CPU, or there was no kretprobe instance.
func missedBy(l link.Link, prog *ebpf.Program, p probe, profile map[string]uint64) uint64 {
	var missed uint64
	if p.later || p.spare {
		return 0 // they watch what others see, too
	}
	if stats, err := prog.Stats(); err == nil {
		missed = stats.RecursionMisses
	}
	if p.how == "fentry" || p.how == "fexit" || p.how == "tp_btf" {
		return missed
	}
	if info, err := l.Info(); err == nil {
		if k := info.PerfEvent().Kprobe(); k != nil && k.Missed > 0 {
			return missed + k.Missed
		}
	}
	if p.how == "kretprobe" {
		missed += profile[p.symbol]
	}
	return missed
}

// moreCounts are counts of the kernel that are of no probe.
type moreCounts struct {
	noAttempt uint64 // entries that found no memory
	shed      uint64 // of the lost events, those that the recorder's bounds left out
}

// counters reads the kernel's counts: hits and failed reservations of each probe
// on each CPU, and others.
func (a *attached) counters() (hits map[uint32][numProbes]uint64, lost [numProbes]uint64, more moreCounts, err error) {
	perCPU, err := a.perCPU()
	if err != nil {
		return nil, lost, more, err
	}
	hits = map[uint32][numProbes]uint64{}
	for cpu, c := range perCPU {
		hits[uint32(cpu)] = c.Hits
		for i, n := range c.Lost {
			lost[i] += n
		}
		more.noAttempt += c.NoAttempt
		more.shed += c.Shed
	}
	return hits, lost, more, nil
}

// simultaneousOpens reads how many sockets of connect() got a SYN, by network namespace.
func (a *attached) simultaneousOpens() (list []format.SimultaneousOpens, err error) {
	m := a.collection.Maps["simultaneous"]
	if m == nil {
		return nil, nil
	}
	var of format.SimultaneousOpens
	all := m.Iterate()
	for all.Next(&of.NetNS, &of.Count) {
		list = append(list, of)
	}
	if err := all.Err(); err != nil {
		return list, fmt.Errorf("read the count of simultaneous opens: %w", err)
	}
	slices.SortFunc(list, func(a, b format.SimultaneousOpens) int { return cmp.Compare(a.NetNS, b.NetNS) })
	return list, nil
}

// forgetSimultaneousOpens leaves out those before the recording.
func (a *attached) forgetSimultaneousOpens() error {
	list, err := a.simultaneousOpens()
	if err != nil && !errors.Is(err, ebpf.ErrIterationAborted) { // more come meanwhile
		return err
	}
	for _, x := range list {
		if err := a.collection.Maps["simultaneous"].Delete(x.NetNS); err != nil {
			return fmt.Errorf("forget the count of simultaneous opens: %w", err)
		}
	}
	return nil
}
