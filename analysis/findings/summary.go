package findings

// This file has the summaries that rules look at.

import (
	"net/netip"
	"time"

	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// Capture is what the rules look at of a whole capture.
type Capture struct {
	Listeners []*Listener // all; also what stands for events without a listener, and for listeners beyond the bound
	Doubts    stats.Doubts
	Time      func(bootNS int64) *time.Time // wall clock, nil if it is lost
	SpanNS    int64                         // from the first moment of the recording to its last, at least 1
	EndNS     int64                         // its last moment
	AtEnd     string                        // what "at the end" is called: the capture may stop before it
	Before    string                        // what "before the recording" is called: it may be a cut
	Blind     bool                          // accepts are not recorded, or not all of a listener's
	Listed    bool                          // the connections that were open at the start are known, all of them

	New      stats.Mark // sockets that began to listen
	NewNames []string   // the first of them, with who did that
	NewNamed uint64     // how many these are

	Uring stats.Mark // accepts through io_uring

	ClockFree bool // nothing synchronised the host's wall clock
	Complete  bool
	Caveats   []string // ids of those that keep it from being complete
	Lost      uint64   // events
	Shed      uint64   // of them, left out to keep the recorder within bounds
	EndReason string
	Gap       stats.Mark // what was read last when a loss came

	Spaces []Space // network namespaces whose counters were read
}

// Space is what the kernel's counters say of one network namespace.
type Space struct {
	NetNS       uint32
	Differs     bool   // the counters and the capture do not agree
	Unexplained int64  // connections that the kernel counted and the capture lacks; negative: the other way round
	Difference  string // the same in words
	Drops       uint64 // packets that listeners dropped for a reason that no event shows
	DropsWhy    string // what the settings say of them, "" or beginning with "; "
	Reserved    bool   // they may have been dropped to keep room for known clients
}

// Listener is what the rules look at of one listening socket.
type Listener struct {
	Inode     uint64
	NetNS     uint32
	Addr      netip.AddrPort // invalid if it has none
	Unix      bool           // it is a UNIX socket
	Label     string         // what sentences call it: its address, with what tells it apart from others
	Owner     string         // name[pid] of whose it is, "" if that is not known
	Labelled  bool           // the label names the owner
	By        string         // who accepts there
	Short     string         // name[pid] of the process that had no descriptor left, "" if none had, or several
	Began     string         // name[pid] of who listened, "" if that is not known
	Attempts  uint64
	Accepted  uint64
	Errors    []ErrorCount
	Marks     Marks
	Queue     *Queue   // nil: nothing but accepts is known of it
	FullHigh  uint32   // longest queue of when it was full
	FullLimit uint32   // its limit then
	Refused   uint64   // connects of UNIX clients that the full queue refused
	Counted   bool     // those were counted
	Snapshot  Snapshot // what the lists of sockets at the start and the end say
	Stands    string   // what keeps the process from accepting at the end, "" if that is not known
	StandsDo  string   // what to do about it
	Workers   []Worker // processes that accept there
	Programs  []string // executables that accepted there
	Came      string   // name[pid] of the newest process that accepted there
	Uring     string   // name[pid] of who accepts there through io_uring, "" if nobody does
	DeadAhead uint64   // accepted and dead already, while others waited behind
	Crowd     *Crowd   // what slow accepts follow from; nil: there was none
	Zero      Zero     // that the limit of the queue was set to 0
	// who alone has it open at the end, and never accepted; nil: somebody else has, or it is not known
	Left     *Abandoned
	Seen     *meanwhile.Seen // what its threads did while clients waited; nil: nobody looked
	Ended    ShotEnd         // how multishot accepts of io_uring ended
	FirstSeq uint64          // its first event
	FirstNS  int64
	Tests    bool // it looks like one by which another recorder tests its probes
}

// ErrorCount is how often accept failed with an error.
type ErrorCount struct {
	Errno int32
	Count uint64
}

// Crowd is what slow accepts, of clients that had waited for SlowNS, follow from.
type Crowd struct {
	Slow  uint64          // all of them
	After uint64          // of them, those right after the end of a connection
	Gaps  stats.Histogram // between the end and the accept, of those
	Same  uint64          // of all, those with which so many connections were open:
	Open  int64           // as at most of them
	Peak  int64           // the most connections that were open at once
	// for how long clients waited and no accept or end came, and of that, with as many open as at the peak
	IdleNS, PeakNS int64
	Filling        uint64 // of the slow accepts, those that no end came before: the server was not full yet
	// of the slow accepts, those after an end that followed on the client's: within SlowNS, or later
	LeftSoon, LeftLate uint64
	ClosedFirst        uint64 // slow accepts after an end where the server closed before the client
	Held               Held
}

// Held is the connection that was open for longest.
type Held struct {
	NS     int64
	Peer   netip.AddrPort
	Seq    uint64 // of its accept
	Silent bool   // the client sent nothing
	Open   bool   // it did not end
}

// Zero tells that a server set the limit of its queue to 0, and so refused clients.
type Zero struct {
	Mark      stats.Mark
	NS        int64  // for how long in all
	ToNS      int64  // until when, the last time
	By        string // name[pid]
	Exhausted bool   // accept had failed for want of a descriptor right before
}

// Abandoned is who has a listener open that those left who accepted at it, or began to listen.
type Abandoned struct {
	By   string // name[pid], the first few
	One  bool   // it is one
	Gone string // who is gone, name[pid]
	Kill string // ids, as kill(1) takes them
}

// ShotEnd is how multishot accepts of io_uring at a listener ended.
type ShotEnd struct {
	Full  stats.Mark // because the completion queue was full
	Other stats.Mark // for another reason
	Words string     // why the last one ended
	By    string     // name[pid] of whose it was
	Again bool       // the program asked for another one after the last
}

// Outcomes is how the accepted connections of a listener fared, of those that were seen to end.
type Outcomes struct {
	Ended    uint64     // all of them
	Served   uint64     // the server had read something
	Answered uint64     // and something went to the client
	Turned   uint64     // the server ended them within TurnedNS, and no byte was read or sent
	TurnedAt stats.Mark // their ends
	Unread   uint64     // the same, but something went to the client
	UnreadAt stats.Mark
	// of both, how many ended while no other connection of the listener was open; and the fewest others that were open
	// when one ended
	TurnedAlone, TurnedBeside uint64
	Unanswered                uint64          // the client had sent something, and left before a byte came back
	Waited                    stats.Histogram // from accept to that
	// of the unanswered, those that had left before they were accepted; Waited has the others
	UnansweredGone uint64
	UnansweredAt   stats.Mark
	Probes         uint64 // the client left, and neither side had sent a byte
}

// Snapshot is what the lists of sockets at the start and at the end say of a listener.
type Snapshot struct {
	Before     bool   // it listened when recording began
	Ended      bool   // the list of the end has it
	Start, End uint32 // connections in its queue
	Limit      uint32 // of the queue at the start, 0 if it is not known
	Sits       uint64 // tasks that sat in accept at the end
	Halted     bool   // its process did not run at the end
}

// Worker is what one process did at a listener.
type Worker struct {
	Process         uint64 // the same for the same process at all listeners
	Who             string // name[pid]
	Accepted        uint64
	Empty           uint64 // attempts that found the queue empty
	FirstNS, LastNS int64  // of its attempts
	Threads         bool   // more than one thread of it accepted
}

// Times is from when until when something was, the first time and the last; zero if it was not.
type Times struct{ FromNS, ToNS int64 }

// Add takes another time.
func (t *Times) Add(fromNS, toNS int64) {
	if *t == (Times{}) {
		*t = Times{fromNS, toNS}
	}
	t.FromNS, t.ToNS = min(t.FromNS, fromNS), max(t.ToNS, toNS)
}

// Queue is what the events of connections say of a listener's accept queue.
type Queue struct {
	Blind    bool // accepts are not recorded, or not all
	Queued   uint64
	Outcomes Outcomes
	Waits    stats.Histogram // in the accept queue, of the accepted
	Over     uint64          // of them, slowNS or longer
	Slow     uint64          // of those, not because the server had others to take
	Slower   uint64          // of them, slowerNS or longer
	Worst    stats.Worst     // of them, the longest
	SlowAt   Times           // when these, and those that nobody accepted, waited
	Stuck    uint64          // not accepted by the end
	OldestNS int64           // the longest of those
	StuckAt  stats.Mark      // when they were queued
	Quit     uint64          // of them, the client has sent FIN
	LateGone uint64          // of the accepted, waited goneNS or longer, and the peer had sent FIN
	LateDead uint64          // of the accepted, dead already, waited slowNS or longer
	ClosedIn uint64          // ended in the queue, never accepted
	Left     uint64          // of them, and of those lost, slowNS or later
	LeftLost uint64          // of them, lost with the listener
	LeftNS   int64           // the longest in the queue of all of these
	LeftAt   stats.Mark      // their ends

	OldestAtLeast, LeftAtLeast bool       // the longest began before the recording
	Gone                       stats.Mark // the accepted that had given up
	Lost                       uint64     // when it was closed
	LostAt                     stats.Mark
	LostQuit                   uint64          // of them, the client had sent FIN
	SYNs                       uint64          // refused: at the SYN
	ACKs                       uint64          // at the last ACK
	SYNQueue                   uint64          // at the SYN, the SYN queue was full
	Clients                    uint64          // connections that were refused at least once
	NeverIn                    uint64          // of them, not queued by the end
	Tried                      stats.Histogram // of the others, until they were queued
	Aborted                    uint64          // of acks, answered with a reset
	// how the listener stopped that lost them, 0 not known, or in several ways
	LostCause           format.Cause
	LostBy              string // name[pid] of who stopped it, "" not known, or several did
	LimitLow, LimitHigh uint32 // the least and the largest when they were
	FullNS              int64  // how long the queue was full
	LongestNS           int64  // without a break
	FullAtNS            int64  // when the longest began
	FullAt              Times
}

// say writes figures with their marks.
func (c *Capture) say() stats.Figures { return stats.Figures{Doubts: &c.Doubts} }

// suffix names the owner in brackets, "" if it is not known, or if the label has it.
func (l *Listener) suffix() string {
	if l.Owner == "" || l.Labelled {
		return ""
	}
	return " (" + l.Owner + ")"
}
