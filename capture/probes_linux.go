//go:build amd64 || arm64

package capture

// This file chooses, loads and attaches probes.

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
)

// maxActive is the most kretprobe instances that the kernel's tracefs allows
// (KRETPROBE_MAXACTIVE_MAX). Every blocked call holds one.
const maxActive = 4096

// A probe is one program and where it goes.
type probe struct {
	program string // its name in acc.bpf.c
	symbol  string
	how     string // "kprobe", "kretprobe", "fentry", "fexit", "tracepoint", "raw_tp" or "tp_btf"
	index   int    // in probes; -1: it only counts
	without string // what is not shown without it; "": it must be there
	later   bool   // attached when it is needed, see watch
	spare   bool   // what it would have told, another one tells if it is not run
	never   bool   // a kernel without the function never does what it shows
}

const (
	noRequests = "accepts through io_uring are seen without their request: its user data, its kind, its listening " +
		"descriptor, requests that only wait"
	noSlots  = "slots that io_uring chooses itself for direct descriptors are not seen"
	noKernel = "accepts by the kernel for its own sockets are not seen"
	noFDs    = "descriptors of accepts through io_uring are not seen, nor are returns of calls that began before " +
		"the recording, after its first minute"
	noEnds = "accepts through io_uring that end without an attempt are not seen: cancelled ones, those of a bad " +
		"descriptor, those that are refused for what they ask"
	noProc = "acc runs in a pid namespace of its own, with a /proc of that: who sits in accept at the start and " +
		"at the end is not known, so that calls which began before are not seen to return, and of processes only " +
		"what the kernel tells"
	otherPIDs = "threads: acc runs in a pid namespace of its own, whose /proc has other numbers"
	noExits   = "the returns of accept calls that began before the recording are not seen"
)

var (
	enterFentry = []probe{
		{program: "fentry___sys_accept4", symbol: "__sys_accept4", how: "fentry", index: probeEnter},
		{program: "fentry_do_accept", symbol: "do_accept", how: "fentry", index: probeEnter, spare: true},
	}
	enterKprobe = probe{program: "kprobe___sys_accept4", symbol: "__sys_accept4", how: "kprobe", index: probeEnter}
	fexits      = []probe{
		{program: "fexit_do_accept", symbol: "do_accept", how: "fexit", index: probeDoAccept},
		{program: "fexit___sys_accept4", symbol: "__sys_accept4", how: "fexit", index: probeReturn},
		{program: "fentry_io_accept", symbol: "io_accept", how: "fentry", index: probeDoAccept, without: noRequests},
		{program: "fexit_io_accept", symbol: "io_accept", how: "fexit", index: probeIOAccept, without: noRequests},
		{program: "fexit_io_fixed_fd_install", symbol: "io_fixed_fd_install", how: "fexit", index: probeDoAccept,
			without: noSlots},
		{program: "fentry_fd_install", symbol: "fd_install", how: "fentry", index: probeFDInstall, without: noFDs,
			later: true},
	}
	kretprobes = []probe{
		{program: "kretprobe_do_accept", symbol: "do_accept", how: "kretprobe", index: probeDoAccept},
		{program: "kretprobe___sys_accept4", symbol: "__sys_accept4", how: "kretprobe", index: probeReturn},
		{program: "kprobe_io_accept", symbol: "io_accept", how: "kprobe", index: probeDoAccept, without: noRequests},
		{program: "kretprobe_io_accept", symbol: "io_accept", how: "kretprobe", index: probeIOAccept,
			without: noRequests},
		{program: "kretprobe_io_fixed_fd_install", symbol: "io_fixed_fd_install", how: "kretprobe",
			index: probeDoAccept, without: noSlots},
		{program: "kprobe_fd_install", symbol: "fd_install", how: "kprobe", index: probeFDInstall, without: noFDs,
			later: true},
	}
	kernelKprobes = []probe{
		{program: "kprobe_kernel_accept", symbol: "kernel_accept", how: "kprobe", index: probeKernelAccept,
			without: noKernel},
		{program: "kretprobe_kernel_accept", symbol: "kernel_accept", how: "kretprobe", index: probeKernelAccept,
			without: noKernel},
	}
	always = []probe{
		{program: "tp_io_uring_complete", symbol: "io_uring:io_uring_complete", how: "tracepoint",
			index: probeIOComplete, without: noEnds, later: true},
	}
	// The end of system calls: where programs can be preempted inside themselves, as a
	// tracepoint's, which are not.
	exitsRaw = probe{program: "raw_sys_exit", symbol: "sys_exit", how: "raw_tp", index: probeSysExit,
		without: noExits, later: true}
	exitsClassic = probe{program: "tp_sys_exit", symbol: "raw_syscalls:sys_exit", how: "tracepoint",
		index: probeSysExit, without: noExits, later: true}
)

// attached are live probes with their maps.
type attached struct {
	mode         Mode
	waitedIn     []btf.TypeID // functions in which calls wait, with trampolines
	note         string
	probes       []probe
	links        []link.Link // as probes, nil where it is not attached
	limits       []string    // what the probes that this kernel can't have would show
	instances    int         // kretprobe instances, 0: the kernel's default
	collection   *ebpf.Collection
	ring         *ringbuf.Reader
	mapped       *mapped
	cpus         []byte            // the variable of that name
	early        []earlyRecord     // what the ring held before the recording began
	begunNS      int64             // when all probes were live but those of entries, which are the last
	own          [numProbes]uint64 // hits of the self-test
	testInodes   []uint64          // listeners of the self-test
	preempted    bool              // the kernel preempts programs
	casts        bool              // programs tell the verifier what pointers point to
	elsewhere    bool              // /proc is of another pid namespace than the initial one
	cookies      bool              // the kernel gives connections cookies for all of their events
	untestedLife string            // as untested, of the life of connections
	testPlace    bpf.AccPlace      // of the self-test's connection
	untested     string            // why probes for io_uring could not be tried, "" if they were
	following    []link.Link       // the programs that follow processes
	others       map[string]bool   // kretprobes of tracefs that are not ours
	missed       [numProbes]uint64
	unseen       uint64 // hits that the probe which only counts missed
}

// startProbes makes the probes of the mode live, and tries them: what loads and
// attaches need not work. It goes from the best that the mode allows to what the
// oldest kernels take.
func startProbes(o *Options) (*attached, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, &EnvError{
			Cause: "Linux before 5.11 counts the memory of probes as locked, and the limit on that can't be lifted: " +
				oneLine(err),
			Hint: "give acc CAP_SYS_RESOURCE, lift the limit before (ulimit -l unlimited), or run it as root",
		}
	}
	types := btf.NewCache() // of the kernel, read once
	modes, note := []Mode{o.Mode}, ""
	release, build := kernelName()
	o.preempted = preempts(os.DirFS("/"), release, build)
	o.fullAtLimit = o.Events != EventsAccept && fullAtLimit()
	if o.Mode == "" || o.Mode == ModeAuto {
		modes = []Mode{ModeFentry, ModeKprobe}
		if o.preempted {
			modes = []Mode{ModeKprobe, ModeFentry}
			note = "this kernel preempts programs: kprobes are used, which it does not preempt"
		}
	}
	var why error
	for _, mode := range modes {
		a, err := startMode(o, mode, types)
		if err == nil {
			if why != nil {
				note = "this kernel has no " + string(modes[0]) + ": " + oneLine(why)
			}
			a.note, a.waitedIn = strings.Trim(note+"; "+a.note, "; "), waitedInIDs(types)
			return a, nil
		}
		if why == nil {
			why = err
		}
	}
	if env := explain(why); o.Mode != ModeFentry || errors.Is(why, unix.EPERM) || errors.Is(why, unix.ENOMEM) {
		return nil, env
	}
	return nil, &EnvError{
		Cause: "this kernel can't run fentry and fexit programs: " + oneLine(why),
		Hint:  "use --probe kprobe, or --probe auto, which falls back to it",
	}
}

// startMode makes the probes of one mode live.
func startMode(o *Options, mode Mode, types *btf.Cache) (*attached, error) {
	exits := exitsRaw
	if o.preempted {
		exits = exitsClassic
	}
	life := lifeProbes(o, types)
	if o.Events == EventsLifecycle {
		return startLife(o, types, life)
	}
	rest := slices.Concat(kernelKprobes, always, []probe{exits}, life)
	if mode == ModeKprobe {
		return tryObjects(o, types, mode, slices.Concat([]probe{enterKprobe}, kretprobes, rest))
	}
	// Before 5.17 the verifier refuses programs whose function takes a pointer to an
	// int, before 6.14 to a pointer: then these probes are kprobes. The kernel accepts
	// for itself without waiting, so that there is always a kretprobe instance.
	a, err := tryObjects(o, types, mode, slices.Concat(enterFentry, fexits, rest))
	if err != nil {
		var second error
		if a, second = tryObjects(o, types, mode, slices.Concat([]probe{enterKprobe}, fexits, rest)); second != nil {
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

const noteSlower = "the programs for kernels from 5.12 on did not load, others are used, which take more time"

// tryObjects makes probes live with the first object that this kernel takes.
func tryObjects(o *Options, types *btf.Cache, mode Mode, want []probe) (*attached, error) {
	var errs []error
	for i, object := range objects {
		a, err := tryObject(o, types, object, mode, want)
		if err == nil {
			if release, _ := kernelName(); i > 0 && !olderThan(release, 5, 12) && !errors.Is(errs[0], errNoStorage) {
				a.note = strings.Trim(a.note+"; "+noteSlower+": "+oneLine(errs[0]), "; ")
			}
			return a, nil
		}
		errs = append(errs, err)
		if errors.As(err, new(attachError)) && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
			return nil, err // as with other objects, which take seconds to load
		}
	}
	// Each object fails for what it is for; the last one is for the oldest kernels.
	// That a thing is not there, or not allowed, all of them say.
	for _, err := range errs {
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, ebpf.ErrNotSupported) {
			return nil, err
		}
	}
	return nil, errs[0]
}

// place adapts probes to the functions that this kernel has, and leaves out those
// that it can't have.
func place(want []probe, types *btf.Cache) (list []probe, limits []string) {
	kernel, err := types.Kernel()
	if err != nil {
		return want, nil // loading will say so
	}
	has := func(symbol string) bool {
		var f *btf.Func
		return kernel.TypeByName(symbol, &f) == nil
	}
	for _, p := range want {
		if p.without == noWaiting && dropsWaiting() {
			continue
		}
		if p.symbol == "io_accept" && !has(p.symbol) {
			p.symbol = "io_issue_sqe" // which it is inlined in
		}
		if p.without == noEnds && !tellsRequests(kernel) {
			limits = append(limits, p.without) // it still shows how attempts end
		}
		if p.without == "" || p.how == "tracepoint" || p.how == "raw_tp" || p.how == "tp_btf" || has(p.symbol) {
			list = append(list, p)
			continue
		}
		if !p.never && (p.without != noSlots || has("io_accept")) { // kernels without that have no such slots
			limits = append(limits, p.without)
		}
	}
	return list, limits
}

// tellsRequests reports whether the event of a completion says of which request.
func tellsRequests(kernel *btf.Spec) bool {
	var s *btf.Struct
	if kernel.TypeByName("trace_event_raw_io_uring_complete", &s) != nil {
		return false
	}
	return slices.ContainsFunc(s.Members, func(m btf.Member) bool { return m.Name == "req" })
}

// errNoStorage says that a kernel gives the best programs no memory of a task; there are others for it (AccHash).
var errNoStorage = errors.New("this kernel gives programs no task storage")

// attachError says that programs could not be attached, which had been loaded.
type attachError struct{ error }

func (e attachError) Unwrap() error { return e.error }

func tryObject(o *Options, types *btf.Cache, object func() (*ebpf.CollectionSpec, error), mode Mode,
	want []probe) (*attached, error) {
	a := &attached{mode: mode, preempted: o.preempted, casts: hasCasts(types)}
	a.probes, a.limits = place(want, types)
	for {
		dropped, err := a.load(o, types, object)
		if err == nil {
			break
		}
		switch refused := new(ebpf.VerifierError); {
		case a.casts && errors.As(err, &refused): // that may be why
			a.casts = false
		case dropped == nil:
			return nil, err
		default:
			a.drop(*dropped)
		}
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	asleep, err := a.newSleeper()
	if err == nil {
		defer func() { _ = asleep.wake() }() // in case that the self-test does not come to it
	}
	if err := a.attach(o.MaxActive); err != nil {
		a.close()
		return nil, attachError{err}
	}
	o.phase("testing the probes")
	if err := errors.Join(a.selfTest(asleep), a.begin(o)); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// drop leaves out a probe that the kernel does not take, and its like.
func (a *attached) drop(p probe) {
	a.limits = append(a.limits, p.without)
	a.probes = slices.DeleteFunc(a.probes, func(q probe) bool { return q.without == p.without })
}

// load loads the programs of a.probes. With an error it gives the probe that the
// recording can do without and whose program is the reason.
func (a *attached) load(o *Options, types *btf.Cache, object func() (*ebpf.CollectionSpec, error)) (*probe, error) {
	spec, err := object()
	if err != nil {
		return nil, err
	}
	if err := makeVariables(spec); err != nil {
		return nil, err
	}
	if o.RingBytes != 0 {
		spec.Maps["events"].MaxEntries = uint32(o.RingBytes)
	}
	spec.Maps["sleepers"].MaxEntries = roomForTasks(readLine("/proc/loadavg"))
	if err := a.setLife(o, spec); err != nil {
		return nil, err
	}
	if err := errors.Join(setSelection(o, spec), setGuard(o, spec), setCasts(spec, a.casts)); err != nil {
		return nil, err
	}
	for name, bit := range map[string]string{"multishot_flag": multishotBit, "polled_flag": polledBit} {
		if err := spec.Variables[name].Set(requestFlag(bit)); err != nil {
			return nil, fmt.Errorf("set up the programs: %w", err)
		}
	}
	for i, p := range a.probes {
		s := spec.Programs[p.program]
		if s == nil {
			err := fmt.Errorf("load %s: %w", p.program, ebpf.ErrNotSupported)
			if p.without != "" {
				return &a.probes[i], err
			}
			return nil, err
		}
		s.AttachTo = p.symbol
	}
	for name := range spec.Programs {
		if followers[name] != "" && o.Select.followsProcesses() {
			continue
		}
		if !slices.ContainsFunc(a.probes, func(p probe) bool { return p.program == name }) {
			delete(spec.Programs, name)
		}
	}
	if a.collection, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: types}); err != nil {
		for i, p := range a.probes {
			if p.without != "" && strings.Contains(oneLine(err), "program "+p.program+":") {
				return &a.probes[i], err
			}
		}
	}
	return nil, err
}

// roomForTasks is the size of the map of tasks that sit in accept when the recording begins: twice the tasks of the
// host by /proc/loadavg. Its empty buckets alone are 16 bytes each; a million of them would be a quarter of acc's
// memory.
func roomForTasks(loadavg string) uint32 {
	const least, most = 1 << 12, 1 << 20
	n := uint64(most / 2)
	if f := strings.Fields(loadavg); len(f) > 3 {
		if _, all, ok := strings.Cut(f[3], "/"); ok {
			if v, err := strconv.ParseUint(all, 10, 32); err == nil {
				n = v
			}
		}
	}
	return uint32(min(max(2*n, least), most))
}
