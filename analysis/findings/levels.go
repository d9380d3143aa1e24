package findings

// This file says from when on each finding is how bad, in words that docs/FINDINGS.md prints.

import (
	"fmt"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
)

// Levels say when a finding has each severity; "" says that it never has. Each line is enough; lines of the same number
// are about the same thing, and may be empty.
type Levels struct{ Notice, Warning, Critical string }

// levels are those of each kind, made of the thresholds that the rules compare with.
var levels = [NumKinds]Levels{
	CrossCheck: {
		Warning:  "the capture has more connections than the kernel counted",
		Critical: "the kernel counted more, and nothing in the capture accounts for it",
	},
	QueueOverflow: {
		Warning:  "from the first packet or connect that was refused",
		Critical: fmt.Sprintf("%d of them, if they are 1 %% of all that came", manyRefused),
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
		Notice: rows(
			fmt.Sprintf("3 clients, or half of all, waited %s while accepts were slow, and p99 ≥ %[1]s",
				duration(SlowNS)),
			fmt.Sprintf("3 clients waited %s", duration(SlowerNS)),
			fmt.Sprintf("one client waited %s", duration(verySlowNS)),
			fmt.Sprintf("a client that nobody accepted waited %s", duration(SlowNS)), "", ""),
		Warning: rows(fmt.Sprintf("the same, and p99 ≥ %s", duration(SlowerNS/2)), "", "",
			fmt.Sprintf("it waited %s", duration(SlowerNS)),
			"nobody called accept all the time, and all who waited had sent FIN by the end",
			"`--events accept`: a new listener has clients in its queue at the end, and nobody called accept"),
		Critical: rows(fmt.Sprintf("the same, and median ≥ %s", duration(SlowerNS)),
			fmt.Sprintf("10 clients waited %s, and p99 ≥ %s", duration(SlowerNS), duration(verySlowNS)), "",
			fmt.Sprintf("it waited %s, or %s where nobody was accepted", duration(verySlowNS), duration(SlowerNS)),
			"clients were in the queue from the start to the end, and nobody called accept", ""),
	},
	QueueFull: {
		Notice: "from the first moment",
		Warning: rows(fmt.Sprintf("full for %s in all", duration(fullNS)), "full for a tenth of the recording",
			fmt.Sprintf("a UNIX socket, or `--events accept`: %d calls saw it full, or 1 %% of the calls", manyRefused)),
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
		Notice: fmt.Sprintf("%d accepts in all and %d for each worker; one worker has twice its share, or less than a "+
			"quarter of it; chance does not explain that (chi-square)", unevenAll, unevenEach),
		Warning: rows("the same, and clients were refused", fmt.Sprintf("the same, and 3 clients waited %s",
			duration(SlowNS))),
	},
	NewAcceptor:   {Notice: "a process that was started meanwhile", Warning: "another executable than before"},
	NewListener:   {Notice: "from the first"},
	IOUringAccept: {Notice: "from the first"},
	ClockFree:     {Notice: "at the start, at the end, or at any reading between them"},
}

// rows are several ways to a severity.
func rows(list ...string) string { return strings.Join(list, "\n") }

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
