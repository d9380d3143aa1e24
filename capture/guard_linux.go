//go:build amd64 || arm64

package capture

// This file sets up the rate guard of bpf/guard.h, and records what that counted.

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/cilium/ebpf"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// What the rate guard lets pass.
const (
	guardSaves  = 5                // seconds: so many seconds' calls a process can fail at once
	guardUsers  = 5                // a user's rate in rates of a process: GUARD_USERS in the programs
	guardCall   = 512              // bytes of the ring that a failed call takes at most
	guardPart   = 4                // a process that begins to fail takes at most such a part of the ring, its user twice that
	guardStands = 10 * time.Second // after guard_until, what was held has failed
)

// failedRate is the rate of o, 0 if all failed calls are recorded.
func (o *Options) failedRate() uint32 {
	switch {
	case o.FailedRate == 0:
		return FailedRate
	case o.FailedRate < 0:
		return 0
	}
	return uint32(o.FailedRate)
}

// setGuard sets up the programs before they are loaded.
func setGuard(o *Options, spec *ebpf.CollectionSpec) error {
	rate := o.failedRate()
	if rate == 0 && !o.limited() {
		spec.Maps["repeats"].MaxEntries = 1
	}
	if rate == 0 {
		return nil
	}
	step := uint64(time.Second) / uint64(rate)
	burst := min(uint64(guardSaves)*uint64(rate), uint64(spec.Maps["events"].MaxEntries)/guardPart/guardCall)
	for name, value := range map[string]any{
		"guard_step": step, "guard_burst": burst * step, "guard_burst_of_user": 2 * burst * step / guardUsers,
		"guard_seed": rand.Uint32(),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set up the programs: %w", err)
		}
	}
	return nil
}

// guard knows what was recorded of the calls that the programs count.
type guard struct {
	until uint64 // guard_until when it was looked at last
	known map[bpf.AccRepeatedKey]bpf.AccRepeated
	rest  map[uint32]bpf.AccRepeated // by hook
	sums  [numProbes]uint64          // in all records
}

// counts reports whether the programs counted something lately, as far as is known.
func (g *guard) counts() bool { return g.until != 0 && int64(g.until) >= bootNS()-int64(guardStands) }

// counted records what the programs have counted since it was called last. all: also what can have come after a pause.
func (s *session) counted(all bool) error {
	g, maps := &s.guard, s.a.collection.Maps
	var until uint64
	if err := s.a.collection.Variables["guard_until"].Get(&until); err != nil {
		return fmt.Errorf("read what was counted: %w", err)
	}
	if until == 0 || until == g.until && !all && !g.counts() {
		return nil
	}
	g.until = until
	if g.known == nil {
		g.known, g.rest = map[bpf.AccRepeatedKey]bpf.AccRepeated{}, map[uint32]bpf.AccRepeated{}
	}
	var keys []bpf.AccRepeatedKey
	var key bpf.AccRepeatedKey
	var r bpf.AccRepeated
	for all := maps["repeats"].Iterate(); all.Next(&key, &r); {
		keys = append(keys, key)
	}
	for _, key := range keys { // a second time: what an iteration that began anew showed twice is not counted twice
		if err := maps["repeats"].Lookup(key, &r); err != nil {
			continue
		}
		was := g.known[key]
		if err := s.writeCounted(&key, &was, &r); err != nil {
			return err
		}
		if r.Entries == was.Entries && r.Returns == was.Returns && key.Pid != 0 && hasEnded(key.Pid, r.StartNs) {
			if err := maps["repeats"].Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("forget what was counted: %w", err)
			}
			delete(g.known, key)
			continue
		}
		g.known[key] = r
	}
	for hook := range uint32(format.NumHooks) {
		if maps["repeats_rest"].Lookup(hook, &r) != nil || r.LastNs == 0 {
			continue
		}
		was := g.rest[hook]
		if err := s.writeCounted(&bpf.AccRepeatedKey{Uid: format.SeveralUsers, Ret: 1, Hook: hook}, &was, &r); err != nil {
			return err
		}
		g.rest[hook] = r
	}
	return nil
}

// writeCounted records what came to r since it was was.
func (s *session) writeCounted(key *bpf.AccRepeatedKey, was, r *bpf.AccRepeated) error {
	calls, entries := r.Returns-was.Returns, r.Entries-was.Entries
	if calls == 0 && entries == 0 {
		return nil
	}
	c := format.Counted{FromNS: int64(max(r.FirstNs, was.LastNs)), ToNS: int64(r.LastNs), Hook: format.Hook(key.Hook),
		Calls: calls, Entries: entries, Ret: key.Ret, PID: key.Pid, StartNS: int64(r.StartNs), Comm: s.names.of(r.Comm),
		UID: key.Uid, Listener: key.Listener}
	if key.Listener != 0 {
		c.NetNS, c.Family, c.LName = r.Netns, format.Family(r.Family), s.unixNames[key.Listener]
		if a := address(c.Family, &r.Laddr); a.IsValid() {
			c.LAddr, c.LPort = a.String(), r.Lport
		}
	}
	s.guard.sums[probeOf(c.Hook, format.Return)] += calls
	s.guard.sums[probeEnter] += entries
	return s.writer.Counted(c)
}

// hasEnded reports whether a process is gone.
func hasEnded(pid uint32, startNS uint64) bool {
	ticks, err := ticksOf(pid)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	const tick = uint64(10 * time.Millisecond)
	return ticks != startNS/tick
}
