//go:build amd64 || arm64

package capture

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// maxActive is the most kretprobe instances that the kernel's tracefs allows
// (KRETPROBE_MAXACTIVE_MAX). Every blocked call holds one.
const maxActive = 4096

// A probe is one program and where it goes.
type probe struct {
	program string // its name in acc.bpf.c
	symbol  string
	how     string // "kprobe", "kretprobe", "fentry" or "fexit"
	index   int    // in probes
}

var (
	enterFentry = probe{"fentry___sys_accept4", "__sys_accept4", "fentry", 0}
	enterKprobe = probe{"kprobe___sys_accept4", "__sys_accept4", "kprobe", 0}
	fexits      = []probe{
		{"fexit_do_accept", "do_accept", "fexit", 2},
		{"fexit___sys_accept4", "__sys_accept4", "fexit", 1},
	}
	kretprobes = []probe{
		{"kretprobe_do_accept", "do_accept", "kretprobe", 2},
		{"kretprobe___sys_accept4", "__sys_accept4", "kretprobe", 1},
	}
)

// attached are live probes with their maps.
type attached struct {
	mode       Mode
	note       string
	probes     []probe
	instances  int // kretprobe instances, 0: the kernel's default
	collection *ebpf.Collection
	links      []link.Link // as probes
	ring       *ringbuf.Reader
	early      []bpf.AccEvent    // what the ring held after the self-test, the self-test's own events left out
	own        [numProbes]uint64 // hits of the self-test
	others     map[string]bool   // kretprobes of tracefs that are not ours
	missed     [numProbes]uint64
}

// startProbes makes the probes of the mode live, and tries them: what loads and
// attaches need not work. It goes from the best that the mode allows to what the
// oldest kernels take.
func startProbes(o *Options) (*attached, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("lift the limit on locked memory: %w", err)
	}
	modes, note := []Mode{o.Mode}, ""
	if o.Mode == "" || o.Mode == ModeAuto {
		modes = []Mode{ModeFentry, ModeKprobe}
		if release, build := kernelName(); preempts(os.DirFS("/"), release, build) {
			modes = []Mode{ModeKprobe, ModeFentry}
			note = "this kernel preempts programs: kprobes are used, which it does not preempt"
		}
	}
	var why error
	for _, mode := range modes {
		a, err := startMode(o, mode)
		if err == nil {
			if why != nil {
				note = "this kernel has no " + string(modes[0]) + ": " + oneLine(why)
			}
			a.note = strings.Trim(note+"; "+a.note, "; ")
			return a, nil
		}
		if why == nil {
			why = err
		}
	}
	if env := explain(why); o.Mode != ModeFentry || errors.Is(why, unix.EPERM) {
		return nil, env
	}
	return nil, &EnvError{
		Cause: "this kernel can't run fentry and fexit programs: " + oneLine(why),
		Hint:  "use --probe kprobe, or --probe auto, which falls back to it",
	}
}

// startMode makes the probes of one mode live.
func startMode(o *Options, mode Mode) (*attached, error) {
	if mode == ModeKprobe {
		return tryObjects(o, mode, append([]probe{enterKprobe}, kretprobes...))
	}
	// Before 5.17 the verifier refuses the fentry program: then the entry, which
	// can't be missed for want of an instance, is a kprobe.
	a, err := tryObjects(o, mode, append([]probe{enterFentry}, fexits...))
	if err != nil {
		var second error
		if a, second = tryObjects(o, mode, append([]probe{enterKprobe}, fexits...)); second != nil {
			return nil, err
		}
	}
	return a, nil
}

// oneLine keeps an error's first line; a verifier's log has many.
func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// tryObjects makes probes live with the first object that this kernel takes.
func tryObjects(o *Options, mode Mode, want []probe) (*attached, error) {
	var first error
	for _, object := range objects {
		a, err := tryObject(o, object, want)
		if err == nil {
			a.mode = mode
			return a, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func tryObject(o *Options, object func() (*ebpf.CollectionSpec, error), want []probe) (*attached, error) {
	spec, err := object()
	if err != nil {
		return nil, err
	}
	if o.RingBytes != 0 {
		spec.Maps["events"].MaxEntries = uint32(o.RingBytes)
	}
	for _, p := range want {
		if spec.Programs[p.program] == nil {
			return nil, fmt.Errorf("load %s: %w", p.program, ebpf.ErrNotSupported)
		}
	}
	for name := range spec.Programs {
		if !slices.ContainsFunc(want, func(p probe) bool { return p.program == name }) {
			delete(spec.Programs, name)
		}
	}
	a := &attached{probes: want}
	if a.collection, err = ebpf.NewCollection(spec); err != nil {
		return nil, err
	}
	if a.ring, err = ringbuf.NewReader(a.collection.Maps["events"]); err != nil {
		a.collection.Close()
		return nil, fmt.Errorf("open ring buffer: %w", err)
	}
	if err := a.attach(o.MaxActive); err != nil {
		a.close()
		return nil, err
	}
	if err := a.selfTest(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// attach makes the probes live: returns first, so that no attempt begins whose
// end would not be seen.
func (a *attached) attach(instances int) error {
	if instances == 0 {
		instances = maxActive
	}
	a.links = make([]link.Link, len(a.probes))
	a.others = removeLeftovers()
	for i := len(a.probes) - 1; i >= 0; i-- {
		p := a.probes[i]
		var l link.Link
		var err error
		prog := a.collection.Programs[p.program]
		switch p.how {
		case "kprobe":
			l, err = link.Kprobe(p.symbol, prog, nil)
		case "kretprobe":
			l, err = link.Kretprobe(p.symbol, prog, &link.KprobeOptions{RetprobeMaxActive: instances})
			a.instances = instances
			if err != nil {
				l, err = link.Kretprobe(p.symbol, prog, nil)
				a.instances = 0
				a.note = "tracefs does not let kretprobes have more than the kernel's default of instances: returns are missed while more tasks than that are blocked in accept"
			}
		default:
			l, err = link.AttachTracing(link.TracingOptions{Program: prog})
		}
		if err != nil {
			return fmt.Errorf("attach %s to %s: %w", p.how, p.symbol, err)
		}
		a.links[i] = l
	}
	return nil
}

// detach removes the probes, entries first, after reading how often the kernel
// did not run them.
func (a *attached) detach() error {
	var errs []error
	profile := missedReturns(a.others)
	for i, l := range a.links {
		if l == nil {
			continue
		}
		p := a.probes[i]
		a.missed[p.index] += missedBy(l, a.collection.Programs[p.program], p, profile)
		if err := l.Close(); err != nil {
			errs = append(errs, fmt.Errorf("detach %s from %s: %w", p.how, p.symbol, err))
		}
	}
	a.links = nil
	return errors.Join(errs...)
}

func (a *attached) close() {
	_ = a.detach() // nothing is pinned: closing the file descriptors detaches
	_ = a.ring.Close()
	a.collection.Close()
}

// missedBy adds up what the kernel tells of calls that it did not run a program
// for: because another one ran on the CPU, or there was no kretprobe instance.
func missedBy(l link.Link, prog *ebpf.Program, p probe, profile map[string]uint64) uint64 {
	var missed uint64
	if stats, err := prog.Stats(); err == nil {
		missed = stats.RecursionMisses
	}
	if p.how == "fentry" || p.how == "fexit" {
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

// counters reads the kernel's counts: hits and failed reservations of each probe
// on each CPU, and entries that found no memory.
func (a *attached) counters() (hits map[uint32][numProbes]uint64, lost [numProbes]uint64, noAttempt uint64, err error) {
	var perCPU []bpf.AccCounters
	if err := a.collection.Maps["counts"].Lookup(uint32(0), &perCPU); err != nil {
		return nil, lost, 0, fmt.Errorf("read counters: %w", err)
	}
	hits = map[uint32][numProbes]uint64{}
	for cpu, c := range perCPU {
		hits[uint32(cpu)] = c.Hits
		for i, n := range c.Lost {
			lost[i] += n
		}
		noAttempt += c.NoAttempt
	}
	return hits, lost, noAttempt, nil
}

// describe lists the probes for the header, and what they can't show.
func (a *attached) describe() (list []format.Probe, limits []string) {
	for _, p := range a.probes {
		rec := format.Probe{Hook: probes[p.index].hook, Kind: probes[p.index].kind, How: p.how}
		if p.how == "kretprobe" {
			rec.MaxActive = a.instances
		}
		list = append(list, rec)
	}
	limits = append(limits, "accept calls that were already blocked when recording began are not seen to return")
	if a.mode == ModeFentry {
		limits = append(limits, "where the kernel preempts programs, a probe is not run on a task that interrupted another one in the same probe; such misses are counted")
	}
	if a.mode == ModeKprobe {
		n := strconv.Itoa(a.instances)
		if a.instances == 0 {
			n = "the kernel's default of"
		}
		limits = append(limits, "returns are missed while more than "+n+" tasks are blocked in accept",
			"a probe is not run while another kprobe program runs on the same CPU",
			"the listener of accepts through io_uring is not seen by kretprobes")
	}
	return list, limits
}
