package analysis

import "github.com/acc-project/acc/format"

// reading is a set of counters as the recorder takes it.
func reading(fromNS, toNS int64, opened uint64, queued uint32) format.Counters {
	return format.Counters{BootNS: fromNS, UntilNS: toNS, NetNS: 1, Queued: queued, QueuedKnown: true,
		Values: map[string]uint64{format.CounterPassiveOpens: opened}}
}

func takenAt(ns int64) format.Event {
	return format.Event{BootNS: ns, Kind: format.Return, Hook: format.HookSysAccept4, Via: format.ViaAccept4, Ret: 5,
		NetNS: 1, Proto: 6, Family: format.FamilyIPv4}
}
