//go:build amd64 || arm64

package capture

// This file ends a recording.

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/format"
)

// lookOff looks whether somebody has switched the kernel's tracing off: then
// probes stay attached and do not fire.
func (s *session) lookOff() {
	if s.off != "" {
		return
	}
	for path, name := range map[string]string{
		"/proc/sys/kernel/ftrace_enabled":   "kernel.ftrace_enabled",
		"/sys/kernel/debug/kprobes/enabled": "/sys/kernel/debug/kprobes/enabled",
	} {
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == "0" {
			s.off = fmt.Sprintf("probes were switched off: %s was 0 %s after the start", name,
				time.Since(s.started).Round(time.Second))
		}
	}
}

// lastCalls is how long the probes go on telling after the last reading of the kernel's
// counters: calls that have taken a connection by then return.
const lastCalls = 20 * time.Millisecond

// close ends the recording: all probes stop telling at once; detach, drain, read the
// totals, in this order, so that they add up.
func (s *session) close(why, detail string) error {
	s.o.phase(PhaseStopping)
	s.lookOff()
	soon := time.Now().Add(500 * time.Millisecond)
	shot := s.a.snapshot(true, func() bool { return time.Now().After(soon) })
	soon = time.Now().Add(500 * time.Millisecond)
	shot.BootNS = bootNS() // while returns are still recorded
	shot.Blocked, shot.BlockedKnown = s.a.blocked(func() bool { return time.Now().After(soon) })
	if err := s.witness.read(true, true); err != nil {
		return errors.Join(err, s.a.detach())
	}
	s.witness.watch.close()
	s.watcher.tracers.close()
	time.Sleep(lastCalls)
	s.queues.close()
	if err := s.watcher.ending(); err != nil {
		return errors.Join(err, s.a.detach())
	}
	ended, err := readClock() // what comes later is not recorded, however long it takes to detach
	if err != nil {
		return errors.Join(err, s.a.detach())
	}
	detachErr := s.a.detach()
	if err := s.drain(); err != nil {
		return errors.Join(detachErr, err)
	}
	if _, err := s.writeWaiting(math.MaxInt64); err != nil {
		return errors.Join(detachErr, err)
	}
	late := time.Now().Add(time.Second) // now that nothing can be lost meanwhile
	findHolders(&shot, func() bool { return time.Now().After(late) })
	if err := s.a.choose(&s.o.Select, &shot); err != nil {
		return errors.Join(detachErr, err)
	}
	if err := s.writer.Snapshot(shot); err != nil {
		return errors.Join(detachErr, err)
	}
	if err := s.queues.record(s.writer); err != nil {
		return errors.Join(detachErr, err)
	}
	hits, lost, more, err := s.a.counters()
	if err != nil {
		return errors.Join(detachErr, err)
	}
	filtered, err := s.a.filteredHits()
	if err != nil {
		return errors.Join(detachErr, err)
	}
	if err := s.counted(true); err != nil {
		return errors.Join(detachErr, err)
	}
	lost[probeEnter] -= s.calls.lostTold()
	s.ledger.finish(hits, ended.BootNS)
	if err := s.ledger.losses(ended.BootNS+1, s.writer.Loss); err != nil {
		return err
	}
	end := format.End{Reason: why, Detail: detail, Clean: why != "error", Clock: ended}
	if s.off != "" && detail == "" {
		end.Detail, end.Clean = s.off, false
	}
	notMissed(&s.a.missed, s.watcher.counted(hits))
	for i := range probes {
		seen := uint64(0)
		for _, h := range hits {
			seen += h[i]
		}
		s.total(&end, i, counts{seen, lost[i] + s.ledger.refused[i], filtered[i], s.guard.sums[i], s.a.missed[i]})
	}
	s.rest(&end, more, s.a.unseen)
	if not := s.a.notFollowed(); not != "" && end.Detail == "" {
		end.Detail = not
	}
	deadline := time.Now().Add(500 * time.Millisecond)
	if end.SimultaneousOpens, err = s.a.simultaneousOpens(); err != nil {
		return err
	}
	if end.UnixCounted {
		if end.UnixRefused, err = s.a.unixRefused(); err != nil {
			return err
		}
	}
	end.SimultaneousOpens, end.UnixRefused = s.sinceBefore(end.SimultaneousOpens, end.UnixRefused)
	end.Unread, end.Cost = s.witness.unreadSpaces(), s.a.cost()
	last := format.Snapshot{Final: true, Listeners: slices.Clone(shot.Listeners)}
	last.Blocked, end.BlockedKnown = s.a.blocked(func() bool { return time.Now().After(deadline) })
	if err := s.a.choose(&s.o.Select, &last); err != nil {
		return err
	}
	end.Blocked = last.Blocked
	s.end = s.sum(end)
	return errors.Join(detachErr, s.writer.Close(end))
}
