//go:build amd64 || arm64

package capture

// This file attaches and detaches the probes that slow down other programs.

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cilium/ebpf"

	"github.com/acc-project/acc/format"
)

// What sys_exit looks for: WATCH_* in the programs.
const (
	watchReturns = 1 << iota // returns of attempts in flight, which no other probe saw
	watchBefore              // returns of calls without an entry: they began before the recording
	watchDenied              // the same later: they never came to accept
	watchEnding              // recording has ended: no probe tells anything
)

// Some probes are paid for by others than those who accept: the end of every
// system call, of every new descriptor, of every io_uring request. They are
// attached only while there is something to see that no other probe shows.
//
//   - For startWatch after the start, or until they have returned: calls that
//     began before the recording. Then only their descriptors are watched.
//   - While more tasks are in accept than there are kretprobe instances.
//   - From the first accept through io_uring on: descriptors and ends of requests.
//   - Always, with Options.Denied.
const startWatch = time.Minute

type watcher struct {
	a        *attached
	o        *Options
	exits    uint32         // what sys_exit looks for, 0: it is not attached
	fds      bool           // descriptors and ends of requests are watched
	uring    bool           // there are accepts through io_uring
	crowded  bool           // more tasks are in accept than kretprobes can follow
	foreign  int64          // events of sys_exit that were not of attempts in flight
	sleepers map[uint32]int // tasks that sat in accept when the recording began, and their process
	until    time.Time      // when the first phase ends
	checked  time.Time      // when it was last seen whether the sleepers live

	tracers   *tracerWatch // nil: there are no trampolines, or it can't be had
	shaken    time.Time    // until then, calls that waited when another tracer came or went are looked for
	uncounted int64        // returns that sys_exit saw meanwhile, which the kernel did not count as missed
	before    int64        // that it had seen by then
}

// set attaches or detaches a probe that comes later, if this kernel has it.
func (a *attached) set(program string, on bool) error {
	i := slices.IndexFunc(a.probes, func(p probe) bool { return p.program == program })
	if i < 0 || on == (a.links[i] != nil) {
		return nil
	}
	if !on {
		return a.detachProbe(i, nil)
	}
	if err := a.attachProbe(i, 0); err != nil {
		if p := a.probes[i]; !slices.Contains(a.limits, p.without) {
			a.limits = append(a.limits, p.without)
		}
	}
	return nil
}

// watchExits makes sys_exit look for what the bits say.
func (a *attached) watchExits(bits uint32) error {
	v := a.collection.Variables["watch"]
	if bits != 0 { // first: what returns from now on is noted
		if err := v.Set(bits); err != nil {
			return fmt.Errorf("set up the programs: %w", err)
		}
	}
	for _, p := range []probe{exitsRaw, exitsClassic} {
		if err := a.set(p.program, bits != 0); err != nil {
			return err
		}
	}
	return v.Set(bits)
}

func (a *attached) watchFDs(on bool) error {
	for _, program := range []string{"fentry_fd_install", "kprobe_fd_install", "tp_io_uring_complete"} {
		if err := a.set(program, on); err != nil {
			return err
		}
	}
	return nil
}

// newWatcher begins the first phase. sleepers are the tasks that sat in accept
// when the recording began.
func newWatcher(a *attached, o *Options, sleepers []format.Blocked) (*watcher, error) {
	phase := o.startWatch
	if phase == 0 {
		phase = startWatch
	}
	// The self-test has left everything attached.
	w := &watcher{a: a, o: o, exits: watchReturns | watchBefore, fds: true, sleepers: map[uint32]int{},
		until: time.Now().Add(phase)}
	for _, s := range sleepers {
		w.sleepers[s.TID] = int(s.PID)
		if err := a.collection.Maps["sleepers"].Update(s.TID, s.SockFD, ebpf.UpdateAny); err != nil {
			return nil, fmt.Errorf("note the tasks in accept: %w", err)
		}
	}
	wanted := uint32(0) // the self-test had requests of io_uring
	if len(sleepers) > 0 {
		wanted = 1
	}
	// No program reads it when only the life of connections is recorded.
	if v := a.collection.Variables["fds_wanted"]; v != nil {
		if err := v.Set(wanted); err != nil {
			return nil, fmt.Errorf("set up the programs: %w", err)
		}
	}
	return w, w.update(time.Now())
}

// ending stops all probes at once: they are removed one after another, and what some
// of them still told would lack its other half.
func (w *watcher) ending() error {
	if err := w.a.collection.Variables["watch"].Set(
		w.exits&^uint32(watchBefore|watchDenied) | watchEnding); err != nil {
		return fmt.Errorf("set up the programs: %w", err)
	}
	return nil
}

// see takes note of an event.
func (w *watcher) see(e *format.Event) {
	if e.Via == format.ViaIOUring {
		w.uring = true
	}
	if e.Hook == format.HookSysExit && e.Mark&(format.MarkBefore|format.MarkDenied) != 0 {
		w.foreign++
	}
	if len(w.sleepers) > 0 {
		w.returned(e.TID, e.Hook)
	}
}

// returned takes note of a task that had an event.
func (w *watcher) returned(tid uint32, hook format.Hook) {
	if _, ok := w.sleepers[tid]; ok {
		delete(w.sleepers, tid)           // it returned, or goes on without that
		if hook != format.HookFDInstall { // the end of its call is still to come, and looks there
			_ = w.a.collection.Maps["sleepers"].Delete(tid)
		}
	}
}

// update attaches and detaches what the state of things asks for.
func (w *watcher) update(now time.Time) error {
	first := now.Before(w.until)
	w.check(now)
	exits := uint32(0)
	if first && len(w.sleepers) > 0 {
		exits |= watchReturns | watchBefore
	}
	if w.crowded = w.crowd(); w.crowded {
		exits |= watchReturns
	}
	shaken, err := w.shake(now)
	if err != nil {
		return err
	}
	if shaken {
		exits |= watchReturns
	}
	if w.o.Denied {
		exits |= watchReturns | watchDenied
	}
	if exits != w.exits {
		w.exits = exits
		if err := w.a.watchExits(exits); err != nil {
			return err
		}
	}
	if fds := first || w.uring || len(w.sleepers) > 0; fds != w.fds {
		w.fds = fds
		return w.a.watchFDs(fds)
	}
	return nil
}

// shake reports whether calls are to be looked for that lost the program on their return.
func (w *watcher) shake(now time.Time) (bool, error) {
	came, was := w.tracers.changed(), !w.shaken.IsZero()
	if !came && !was {
		return false, nil
	}
	hits, _, _, err := w.a.counters()
	if err != nil {
		return false, err
	}
	switch atExit := w.atExit(hits); {
	case came && !was:
		w.before = atExit
	case !came && now.After(w.shaken):
		w.uncounted, w.shaken = w.uncounted+atExit-w.before, time.Time{}
		return false, nil
	}
	if came {
		w.shaken = now.Add(startWatch)
	}
	return true, nil
}

// counted is how many of the returns that sys_exit saw the kernel counted as missed.
func (w *watcher) counted(hits map[uint32][numProbes]uint64) int64 {
	n := w.atExit(hits)
	if !w.shaken.IsZero() {
		return w.before - w.uncounted
	}
	return n - w.uncounted
}

// crowd reports whether kretprobes may soon have no instance left, or whether a
// task may be in accept that found none: only sys_exit sees it return, be it after
// hours.
func (w *watcher) crowd() bool {
	if w.a.mode != ModeKprobe {
		return false
	}
	hits, _, _, err := w.a.counters()
	if err != nil {
		return w.crowded
	}
	exits := w.atExit(hits)
	in := -exits
	for _, h := range hits {
		in += int64(h[probeEnter]) - int64(h[probeReturn])
	}
	most := int64(w.a.instances)
	if most == 0 {
		most = 4
	}
	if in <= most/2 && w.crowded {
		missed, known := missedReturns(w.a.others)["__sys_accept4"]
		return in > 0 && (!known || int64(missed) > exits)
	}
	return in > most/2
}

// atExit is how many returns of attempts in flight sys_exit saw. Those that are in no figure, as of the self-test, had
// begun before the probes were there: no kretprobe missed them.
func (w *watcher) atExit(hits map[uint32][numProbes]uint64) int64 {
	n := -w.foreign - int64(w.a.own[probeSysExit])
	for _, h := range hits {
		n += int64(h[probeSysExit])
	}
	return max(n, 0)
}

// check forgets, every ten seconds, sleepers that have ended.
func (w *watcher) check(now time.Time) {
	if len(w.sleepers) == 0 || now.Sub(w.checked) < 10*time.Second {
		return
	}
	w.checked = now
	for tid, pid := range w.sleepers {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/task/" +
			strconv.FormatUint(uint64(tid), 10)); err != nil {
			delete(w.sleepers, tid)
			_ = w.a.collection.Maps["sleepers"].Delete(tid)
		}
	}
}
