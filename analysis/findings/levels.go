package findings

// This file says from when on each finding is how bad, in words that docs/FINDINGS.md prints.

import (
	"fmt"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
)

// Levels say when a finding has each severity; "" says that it never has.
type Levels struct{ Notice, Warning, Critical string }

// levels are those of each kind, made of the thresholds that the rules compare with.
var levels = [NumKinds]Levels{
	CrossCheck: {
		Warning:  "the capture has more connections than the kernel counted",
		Critical: "the kernel counted more, and nothing in the capture accounts for it",
	},
	QueueOverflow: {
		Warning:  "from the first packet or connect that was refused",
		Critical: fmt.Sprintf("from %d of them", manyRefused),
	},
	ListenDrops: {
		Warning:  "from the first",
		Critical: fmt.Sprintf("from %d", manyRefused),
	},
	FDExhausted: {Critical: "from the first"},
	Abandon: {
		Warning: "a connection waits at the end where none of the processes that have the listener open ever called " +
			"accept",
		Critical: fmt.Sprintf("it has waited for %s, or since before the recording", duration(SlowerNS)),
	},
	LimitZero: {Warning: "from the first"},
	UringEnded: {
		Notice:   "a completion queue was full, and the program asked again",
		Critical: "the last multishot accept ended, and connections wait at the end",
	},
	ConcurrencyLimit: {Notice: "that of slow-accept", Warning: "that of slow-accept", Critical: "that of slow-accept"},
	TurnedAway: {
		Notice:   shareWords(fewTurned, 1) + "; where none was served: " + fmt.Sprint(manyTurned),
		Warning:  shareWords(manyTurned, 1),
		Critical: shareWords(manyTurned, 20),
	},
	Unanswered: {Notice: shareWords(fewTurned, 1), Warning: shareWords(manyTurned, 1),
		Critical: shareWords(manyTurned, 20)},
	SlowAccept: {
		Notice: fmt.Sprintf("p99 of the waits ≥ %s, and 3 of those (or half of all) while accepts were slow; or 3 of "+
			"%s; or one of %s; or nobody accepted a client for %[1]s",
			duration(SlowNS), duration(SlowerNS), duration(verySlowNS)),
		Warning: fmt.Sprintf("p99 ≥ %s; or nobody accepted a client for %s; or nobody accepts at a listener that "+
			"began meanwhile (accept alone is recorded)",
			duration(SlowerNS/2), duration(SlowerNS)),
		Critical: fmt.Sprintf("median ≥ %s; or p99 ≥ %s and 10 waits of %[1]s; or nobody accepted a client for %[2]s "+
			"(%[1]s if nobody accepted any); or clients in the queue all the time, and nobody called accept (a "+
			"warning if all of them had sent FIN by the end)",
			duration(SlowerNS), duration(verySlowNS)),
	},
	QueueFull: {
		Notice: "from the first moment",
		Warning: fmt.Sprintf("for %s in all, or a tenth of the recording; of UNIX sockets, and without the life of "+
			"connections: seen full %d times, "+
			"or at 1 %% of the calls", duration(fullNS), manyRefused),
	},
	ClientLost: {
		Notice:   "all of them had sent FIN before their listener stopped",
		Warning:  "from the first that had not",
		Critical: fmt.Sprintf("from %d that had not", manyLost),
	},
	DeadOnArrival: {
		Notice: "from the first",
		Warning: fmt.Sprintf("%d that the server had let wait for %s, if they are 1 %% of the accepted", manyDead,
			duration(SlowNS)),
		Critical: fmt.Sprintf("%d of those, if they are 20 %%", manyDead),
	},
	AcceptAborted: {
		Notice:  "from the first",
		Warning: fmt.Sprintf("%d, if they are 1 %% of the accepted", manyDead),
	},
	AddressMismatch: {Warning: "from the first"},
	Incomplete:      {Warning: "if anything is missing"},
	Herd: {
		Notice:  fmt.Sprintf("%d wake-ups for nothing, if they are as many as the accepted", herdEmpty),
		Warning: "four times as many as the accepted",
	},
	UnevenWorkers: {
		Notice: fmt.Sprintf("of %d accepts, %d for each worker: one has twice its share, or less than a quarter of "+
			"it, and that is no chance (chi-square)",
			unevenAll, unevenEach),
		Warning: fmt.Sprintf("the same, and clients were refused there, or 3 waited %s", duration(SlowNS)),
	},
	NewAcceptor:   {Notice: "a process that was started meanwhile", Warning: "another executable than before"},
	NewListener:   {Notice: "from the first"},
	IOUringAccept: {Notice: "from the first"},
	ClockFree:     {Notice: "at the start, at the end, or at any reading between them"},
}

// duration writes a threshold: 1 s, not 1.00 s.
func duration(ns float64) string { return strings.Replace(humanize.Duration(int64(ns)), ".00", "", 1) }

// shareWords is a number that is a share of those that ended at the listener.
func shareWords(n, percent int) string {
	return fmt.Sprintf("%d, if they are %d %% of those that ended", n, percent)
}

// LevelsOf says when findings with an id have each severity.
func LevelsOf(id string) Levels {
	for kind, x := range ids {
		if x == id {
			return levels[kind]
		}
	}
	return Levels{}
}
