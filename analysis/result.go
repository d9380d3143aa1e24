package analysis

// This file has the result of an analysis, as JSON prints it.

import (
	"time"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/listeners"
	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// SchemaVersion is the version of the JSON that acc prints. It grows when a key goes or
// means something else, not when one comes.
const SchemaVersion = 1

// Result is what a capture tells, as `acc analyze --json` prints it. Durations
// and times that end in _ns are nanoseconds. Lists are never null and have a
// stable order.
type Result struct {
	// version of the JSON Schema: 1; it grows when a key goes or means something else
	Schema    int             `json:"schema"`
	Capture   CaptureInfo     `json:"capture"`   // where and when it was taken
	Integrity audit.File      `json:"integrity"` // whether the file is as its recorder wrote it
	Recording audit.Recording `json:"recording"` // whether what happened is in it
	// both, and no limit of the analysis was hit: every figure is exact
	Complete   bool                   `json:"complete"`
	Doubts     stats.Doubts           `json:"doubts"`      // which figures are not exact
	Caveats    []Caveat               `json:"caveats"`     // why the capture does not tell all; empty: it does
	CrossCheck crosscheck.Comparison  `json:"cross_check"` // what the kernel's own counters say of it
	Totals     Totals                 `json:"totals"`      // of attempts to accept
	Errors     []listeners.ErrorCount `json:"errors"`      // of failed attempts, most frequent first
	// how many attempts have only one of their two events, by reason
	Unpaired []UnpairedInfo `json:"unpaired"`
	// from entry to return of accepted attempts, exact to 0.1 %
	Wait stats.Quantiles `json:"wait_ns"`
	// from entry to return of failed attempts, exact to 0.1 %
	FailedWait stats.Quantiles `json:"failed_wait_ns"`
	Rate       Rate            `json:"rate"` // accepted connections a second
	Via        []ViaCount      `json:"via"`  // attempts by the way in which the kernel was asked
	// multishot requests of io_uring that ended, by reason
	MultishotEnds []MultishotEnd           `json:"multishot_ends"`
	Listeners     []listeners.ListenerInfo `json:"listeners"` // most accepted first
	// sockets that listened for one connection each, of one program together; they are among the listeners, too
	OneAccept   []listeners.OneAccept      `json:"one_accept"`
	Processes   []listeners.ProcessInfo    `json:"processes"`   // most accepted first
	Peers       []listeners.PeerInfo       `json:"peers"`       // most accepted first
	Connections conntrack.ConnectionTotals `json:"connections"` // of TCP connections of listeners
	Others      Others                     `json:"others"`      // how many the lists leave out (--top)
	// failed calls that the recorder counted instead of recording each; no other figure but totals.counted has them
	Counted   []CountedCalls       `json:"counted"`
	Marks     []Mark               `json:"marks"`      // that were noted while it was recorded (acc ctl mark)
	SelfTests []listeners.SelfTest `json:"self_tests"` // of other recorders, which findings leave out
	// what servers' threads did while clients waited for them, where the recorder looked
	Meanwhile []meanwhile.Seen   `json:"meanwhile"`
	LimitHit  bool               `json:"limit_hit"` // a bound on memory made some of this inexact
	Findings  []findings.Finding `json:"findings"`  // worst first
	// how many there are, also those that the list leaves out
	FindingCounts findings.Counts `json:"finding_counts"`
}

// CaptureInfo says where and when the capture was taken.
type CaptureInfo struct {
	ID     string `json:"id"`     // capture id, a random UUID
	Host   string `json:"host"`   // node name
	Kernel string `json:"kernel"` // release, as uname -r
	Arch   string `json:"arch"`   // machine, as uname -m
	Mode   string `json:"mode"`   // kprobe or fentry
	Tool   string `json:"tool"`   // acc and its version
	// of the recording; times are null if the clock is lost with the header
	Start      *time.Time `json:"start"`
	End        *time.Time `json:"end"`           // of the recording, or of what is there of it
	StartNS    int64      `json:"start_boot_ns"` // start
	DurationNS int64      `json:"duration_ns"`   // from start to end
	First      *time.Time `json:"first_event"`   // time of the first event; null, too, if there is none
	Last       *time.Time `json:"last_event"`    // time of the last event
	ZoneSec    int        `json:"zone_s"`        // the host's offset, seconds east of UTC
	Events     uint64     `json:"events"`        // in the capture
	// why it ended: signal, count, duration, command, error, disk full ...; "" if the end is missing
	EndReason string `json:"end_reason"`
	// of which capture this one was made without names and addresses; null: it is none of acc redact
	Redacted *format.Redacted `json:"redacted"`
	// how this capture was cut out of another one, the first cut first; empty: it is whole
	Cuts    []format.Cut `json:"cuts"`
	Limits  []string     `json:"limits"`  // what this recording could not show, a sentence each
	Filters []string     `json:"filters"` // what it left out on purpose
}

// Mark is what somebody noted while it was recorded.
type Mark struct {
	At     *time.Time `json:"at"`      // null: its time is not known
	BootNS int64      `json:"boot_ns"` // boot clock
	Text   string     `json:"text"`    // what was noted
	UID    uint32     `json:"uid"`     // who noted it
}

// Caveat is one reason why the capture does not tell all.
type Caveat struct {
	// truncated, corrupt, repaired, skipped, mismatch, unclean, lost, missed, cross-check, limit
	ID   string `json:"id"`
	Text string `json:"text"` // the same in a sentence
}

// Totals count attempts: Attempts = Accepted + Failed + Armed + EntryOnly.
type Totals struct {
	Attempts uint64 `json:"attempts"` // = accepted + failed + armed + entry_only
	Accepted uint64 `json:"accepted"` // attempts that gave a connection
	Failed   uint64 `json:"failed"`   // attempts that gave an error
	// requests of io_uring that found nothing and wait: neither accepted nor failed
	Armed       uint64 `json:"armed"`
	ClientsLost uint64 `json:"clients_lost"` // failed attempts that had taken a connection, which was destroyed
	EntryOnly   uint64 `json:"entry_only"`   // attempts without a known return
	// returns without a known entry, where there should be one; accepted or failed too
	ReturnOnly uint64 `json:"return_only"`
	// further failed calls, which the recorder counted instead of recording each: in no other figure
	Counted uint64 `json:"counted"`
	Lost    uint64 `json:"lost"`   // hits that the ring had no room for
	Missed  uint64 `json:"missed"` // hits that the kernel did not run a probe for
	Calls   uint64 `json:"calls"`  // attempts, those of one restarted call counted once
	// of the failed, those that a signal interrupted and after which the same call began anew
	Restarted   uint64 `json:"restarted"`
	ClosedEarly uint64 `json:"closed_early"` // accepted connections that the peer had closed already
	Inverted    uint64 `json:"inverted"`     // attempts whose return is stamped before their entry; their wait is 0
}

// UnpairedInfo is how many attempts have only one event for a reason.
type UnpairedInfo struct {
	Why   pairing.Why `json:"why"`   // the reason
	Count uint64      `json:"count"` // attempts
}

// ViaCount is how many attempts came by one way.
type ViaCount struct {
	Via   string `json:"via"`
	Count uint64 `json:"count"` // attempts
}

// MultishotEnd is how many multishot requests of io_uring ended for a reason.
type MultishotEnd struct {
	End    string `json:"uring_end"`
	Reason string `json:"reason"` // the same in words for people
	Count  uint64 `json:"count"`  // requests; one that is armed again counts again
}

// Rate is accepted connections a second.
type Rate struct {
	Mean     float64    `json:"mean"`         // over the whole recording
	Peak     float64    `json:"peak"`         // of the busiest bucket
	PeakAt   *time.Time `json:"peak_at"`      // when the busiest bucket began
	PeakNS   int64      `json:"peak_boot_ns"` // the same
	BucketNS int64      `json:"bucket_ns"`    // a second, or more for a long capture
	Buckets  []uint64   `json:"buckets"`      // accepted in each, from the start of the recording
}

// Others count what is beyond the lists.
type Others struct {
	Listeners         int    `json:"listeners"`          // beyond the list
	Processes         int    `json:"processes"`          // beyond the list
	Peers             int    `json:"peers"`              // beyond the list
	ListenersAccepted uint64 `json:"listeners_accepted"` // connections of listeners beyond the bound on memory
	ProcessesAccepted uint64 `json:"processes_accepted"` // connections of processes beyond the bound on memory
	PeersAccepted     uint64 `json:"peers_accepted"`     // connections of peers beyond the bound on memory
	Counted           int    `json:"counted"`            // beyond the list
	Findings          int    `json:"findings"`           // beyond the list, of kinds that are in it
}
