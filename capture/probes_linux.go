//go:build amd64 || arm64

package capture

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

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
	missed     [numProbes]uint64
}

// load loads the programs of the mode; auto tries fentry first.
func load(o *Options) (*attached, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("lift the limit on locked memory: %w", err)
	}
	var why error
	if o.Mode != ModeKprobe {
		// Before 5.17 the verifier refuses the fentry program: then the entry, which
		// can't be missed for want of an instance, is a kprobe.
		for _, enter := range []probe{enterFentry, enterKprobe} {
			a, err := loadPrograms(o, append([]probe{enter}, fexits...))
			if err == nil {
				a.mode = ModeFentry
				return a, nil
			}
			if why == nil || enter == enterKprobe {
				why = err
			}
		}
		if o.Mode == ModeFentry {
			return nil, &EnvError{
				Cause: fmt.Sprintf("this kernel can't run fentry and fexit programs: %v", oneLine(why)),
				Hint:  "use --probe kprobe, or --probe auto, which falls back to it",
			}
		}
	}
	a, err := loadPrograms(o, append([]probe{enterKprobe}, kretprobes...))
	if err != nil {
		return nil, fmt.Errorf("load programs: %w", err)
	}
	a.mode = ModeKprobe
	if why != nil {
		a.note = "this kernel has no fentry: " + oneLine(why)
	}
	return a, nil
}

// oneLine keeps an error's first line; a verifier's log has many.
func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// loadPrograms loads the programs of probes and their maps, from the object
// that this kernel takes.
func loadPrograms(o *Options, want []probe) (*attached, error) {
	var first error
	for _, object := range objects {
		spec, err := object()
		if err != nil {
			return nil, err
		}
		if o.RingBytes != 0 {
			spec.Maps["events"].MaxEntries = uint32(o.RingBytes)
		}
		lacks := false
		for _, p := range want {
			lacks = lacks || spec.Programs[p.program] == nil
		}
		if lacks {
			continue
		}
		for name := range spec.Programs {
			if !slices.ContainsFunc(want, func(p probe) bool { return p.program == name }) {
				delete(spec.Programs, name)
			}
		}
		c, err := ebpf.NewCollection(spec)
		if err == nil {
			return &attached{probes: want, collection: c}, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// attach makes the probes live: returns first, so that no attempt begins whose
// end would not be seen.
func (a *attached) attach(instances int) error {
	if instances == 0 {
		instances = maxActive
	}
	a.links = make([]link.Link, len(a.probes))
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
	profile := kprobeProfile()
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
		if k := info.PerfEvent().Kprobe(); k != nil {
			if n := k.Missed; n > 0 {
				return missed + n
			}
		}
	}
	for name, n := range profile {
		if strings.Contains(name, p.symbol) && strings.HasPrefix(name, p.how[:1]) {
			missed += n
		}
	}
	return missed
}

// kprobeProfile reads the misses of the probes made through tracefs.
func kprobeProfile() map[string]uint64 {
	profile := map[string]uint64{}
	f, err := os.Open("/sys/kernel/tracing/kprobe_profile")
	if err != nil {
		if f, err = os.Open("/sys/kernel/debug/tracing/kprobe_profile"); err != nil {
			return profile
		}
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 {
			profile[fields[0]], _ = strconv.ParseUint(fields[2], 10, 64)
		}
	}
	return profile
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
