//go:build amd64 || arm64

package capture

// This file attaches probes, detaches them, and describes them.

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/acc-project/acc/format"
)

// attach makes the probes live: returns first, so that no attempt begins whose
// end would not be seen.
func (a *attached) attach(instances int) error {
	if instances == 0 {
		instances = maxActive
	}
	a.links = make([]link.Link, len(a.probes))
	a.others = removeLeftovers()
	if err := a.watchExits(watchReturns | watchBefore); err != nil {
		return err
	}
	for i := len(a.probes) - 1; i >= 0; i-- {
		if a.probes[i].later {
			continue
		}
		if a.probes[i].index == probeEnter && a.begunNS == 0 {
			a.begunNS = bootNS()
		}
		if err := a.attachProbe(i, instances); err != nil {
			if a.probes[i].without == "" {
				return err
			}
			a.limits = append(a.limits, a.probes[i].without)
		}
	}
	if a.begunNS == 0 {
		a.begunNS = bootNS()
	}
	return nil
}

func (a *attached) attachProbe(i, instances int) (err error) {
	p := a.probes[i]
	prog := a.collection.Programs[p.program]
	var l link.Link
	switch p.how {
	case "kprobe":
		l, err = link.Kprobe(p.symbol, prog, nil)
	case "kretprobe":
		l, err = link.Kretprobe(p.symbol, prog, &link.KprobeOptions{RetprobeMaxActive: instances})
		if err == nil {
			a.instances = instances
			break
		}
		if l, err = link.Kretprobe(p.symbol, prog, nil); err == nil {
			a.instances = 0
			a.note = "tracefs does not let kretprobes have more than the kernel's default of instances: returns are " +
				"seen elsewhere, at a price, while more tasks than that are blocked in accept"
		}
	case "tracepoint":
		group, name, _ := strings.Cut(p.symbol, ":")
		l, err = link.Tracepoint(group, name, prog, nil)
	case "raw_tp":
		l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: p.symbol, Program: prog})
	default:
		l, err = link.AttachTracing(link.TracingOptions{Program: prog})
	}
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", p.how, p.symbol, err)
	}
	a.links[i] = l
	return nil
}

// detach removes the probes, entries first, after reading how often the kernel
// did not run them.
func (a *attached) detach() error {
	var errs []error
	profile := missedReturns(a.others)
	for i := range a.links {
		errs = append(errs, a.detachProbe(i, profile))
	}
	a.links = nil
	for _, l := range a.following {
		errs = append(errs, l.Close())
	}
	a.following = nil
	return errors.Join(errs...)
}

func (a *attached) detachProbe(i int, profile map[string]uint64) error {
	l, p := a.links[i], a.probes[i]
	if l == nil {
		return nil
	}
	a.links[i] = nil
	a.addMissed(i, missedBy(l, a.collection.Programs[p.program], p, profile), &a.missed, &a.unseen)
	if err := l.Close(); err != nil {
		return fmt.Errorf("detach %s from %s: %w", p.how, p.symbol, err)
	}
	return nil
}

// open opens the ring, and maps what is read where the kernel writes it.
func (a *attached) open() (err error) {
	events := a.collection.Maps["events"]
	if a.ring, err = ringbuf.NewReader(events); err != nil {
		a.collection.Close()
		return fmt.Errorf("open ring buffer: %w", err)
	}
	if a.mapped, err = mapRing(events); err == nil {
		a.cpus, err = mapVariable(a.collection.Maps["cpus"])
	}
	if err != nil {
		a.close()
	}
	return err
}

func (a *attached) close() {
	_ = a.detach() // nothing is pinned: closing the file descriptors detaches
	_ = a.ring.Close()
	a.mapped.close()
	unmapVariable(&a.cpus)
	a.collection.Close()
}

// describe lists the probes for the header, and what they can't show.
func (a *attached) describe(o *Options) (list []format.Probe, limits []string) {
	for _, p := range a.probes {
		if p.index < 0 {
			continue
		}
		rec := format.Probe{Hook: probes[p.index].hook, Kind: probes[p.index].kind, How: p.how, Symbol: p.symbol}
		if p.how == "kretprobe" {
			rec.MaxActive = a.instances
		}
		list = append(list, rec)
	}
	for _, l := range a.limits {
		if !slices.Contains(limits, l) {
			limits = append(limits, l)
		}
	}
	if a.elsewhere {
		limits = append(limits, noProc)
	}
	if a.untested != "" {
		limits = append(limits, "the probes for io_uring could not be tried at the start: "+a.untested)
	}
	limits = append(limits, a.describeLife()...)
	limits = append(limits, o.Select.limits()...)
	if a.mode == ModeFentry && o.preempted {
		limits = append(limits,
			"this kernel preempts programs: a probe is not run on a task that interrupted another one in the same "+
				"probe; such misses are counted")
	}
	if o.Events == EventsLifecycle {
		return list, limits
	}
	if !o.Denied {
		limits = append(limits,
			"accepts that seccomp refuses are not seen (--denied shows them, at a price for every system call)")
	}
	if a.mode == ModeKprobe {
		n := strconv.Itoa(a.instances)
		if a.instances == 0 {
			n = "the kernel's default of"
		}
		limits = append(limits,
			"with more than "+n+" tasks blocked in accept, returns are seen at the end of the system call; those "+
				"before that watch began are counted",
			"a probe is not run while another kprobe program runs on the same CPU")
	}
	return list, limits
}
