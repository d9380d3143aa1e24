// Package selection counts what a filter chose of a capture: attempts, connections, and at which
// listeners, by which processes and from which peers.
package selection

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// Figures is what acc analyze -f --json prints: figures of what the condition selects alone.
type Figures struct {
	Schema    int                  `json:"schema"`    // version of the JSON Schema, as in analyze
	Filter    string               `json:"filter"`    // the condition
	Capture   analysis.CaptureInfo `json:"capture"`   // where and when it was taken; all of it
	Integrity audit.File           `json:"integrity"` // whether the file is as its recorder wrote it
	Recording audit.Recording      `json:"recording"` // whether what happened is in it
	// attempts to accept; null: they have not all of the fields that the condition names
	Attempts *SelectedAttempts `json:"attempts"`
	// TCP connections; null: they have not all of the fields that the condition names
	Connections *SelectedConnections `json:"connections"`
	Listeners   []SelectedRow        `json:"listeners"` // of what is selected, most first
	Processes   []SelectedRow        `json:"processes"` // of what is selected, most first
	Peers       []SelectedRow        `json:"peers"`     // of what is selected, most first
	More        RowsLeftOut          `json:"more"`      // rows that the lists leave out (--top, limits on memory)
	// listeners whose attempts and connections are all selected
	WholeListeners int `json:"whole_listeners"`
	// of listeners whose attempts and connections are all selected: a finding is about a whole listener
	Findings []findings.Finding `json:"findings"`
	// findings of the capture that are about other listeners, or about several: they are not shown
	FindingsLeftOut int `json:"findings_left_out"`
}

// SelectedAttempts count attempts to accept.
type SelectedAttempts struct {
	Selected   uint64          `json:"selected"`       // attempts for which the condition holds
	Of         uint64          `json:"of"`             // attempts in the capture
	Accepted   uint64          `json:"accepted"`       // of the selected, that gave a connection
	Failed     uint64          `json:"failed"`         // of the selected, that gave an error
	Errors     []SelectedError `json:"errors"`         // of those, most frequent first
	Wait       stats.Quantiles `json:"wait_ns"`        // from entry to return of the accepted
	FailedWait stats.Quantiles `json:"failed_wait_ns"` // from entry to return of the failed
}

// SelectedError is how often selected attempts failed with an error.
type SelectedError struct {
	Name  string `json:"name"`  // like EAGAIN
	Count uint64 `json:"count"` // attempts
}

// SelectedConnections count TCP connections of listeners.
type SelectedConnections struct {
	Selected  uint64          `json:"selected"`        // connections that meet the condition
	Of        uint64          `json:"of"`              // connections in the capture
	Dead      uint64          `json:"dead_on_arrival"` // of the selected, closed when accept returned them
	Refused   uint64          `json:"refused_packets"` // packets of theirs that a full queue refused
	BytesIn   uint64          `json:"bytes_in"`        // received, where that is known
	BytesOut  uint64          `json:"bytes_out"`       // sent and acknowledged, where that is known
	Ends      []SelectedEnd   `json:"ends"`            // how they ended, most frequent first
	Handshake stats.Quantiles `json:"handshake_ns"`    // from the answer to the SYN to the queue
	QueueWait stats.Quantiles `json:"queue_wait_ns"`   // in the accept queue
	Alive     stats.Quantiles `json:"alive_ns"`        // from the queue, or accept, to the end
}

// SelectedEnd is how many selected connections ended in one way.
type SelectedEnd struct {
	End    string        `json:"end"`        // how, as one word
	Reason conntrack.End `json:"end_reason"` // the same in words for people
	Count  uint64        `json:"count"`      // connections
}

// SelectedRow is a listener, process or peer of a list.
type SelectedRow struct {
	Name        string `json:"name"`        // address:port, name[pid], or address
	Listener    uint64 `json:"listener"`    // inode number of a listener, else 0
	NetNS       uint32 `json:"netns"`       // of a listener, else 0
	Attempts    uint64 `json:"attempts"`    // that are selected
	OfAttempts  uint64 `json:"of_attempts"` // that it has in the capture; 0 if attempts are not selected
	Connections uint64 `json:"connections"` // that are selected
	// that it has in the capture; 0 if connections are not selected
	OfConnections uint64          `json:"of_connections"`
	QueueWait     stats.Quantiles `json:"queue_wait_ns"` // of the selected connections of a listener
}

// RowsLeftOut is how many rows lists leave out.
type RowsLeftOut struct {
	Listeners int `json:"listeners"` // with something that is selected
	Processes int `json:"processes"` // with something that is selected
	Peers     int `json:"peers"`     // with something that is selected
}

// How many rows are counted; what comes after them counts in the totals alone.
const (
	maxListeners = 2_000
	maxRows      = 50_000
)

// Selection counts. It is for one goroutine.
type Selection struct {
	attempts    SelectedAttempts
	connections SelectedConnections
	errors      map[int32]uint64
	ends        map[conntrack.End]uint64

	wait, failedWait, handshake, queueWait, alive stats.Histogram

	listeners table[listenerKey]
	processes table[processKey]
	peers     table[netip.Addr]
}

type listenerKey struct {
	netns uint32
	inode uint64
}

type processKey struct {
	num, pid uint32
}

// table has rows by key, at most so many.
type table[K comparable] struct {
	rows map[K]*row
	max  int
	more int // events that found no room
}

type row struct {
	SelectedRow
	queueWait stats.Histogram
}

func newTable[K comparable](most int) table[K] { return table[K]{rows: map[K]*row{}, max: most} }

// row gives a key's row, nil if there is no room for it.
func (t *table[K]) row(key K) *row {
	r := t.rows[key]
	if r == nil {
		if len(t.rows) >= t.max {
			t.more++
			return nil
		}
		r = &row{}
		t.rows[key] = r
	}
	return r
}

// New begins to count.
func New() *Selection {
	s := &Selection{errors: map[int32]uint64{}, ends: map[conntrack.End]uint64{},
		listeners: newTable[listenerKey](maxListeners), processes: newTable[processKey](maxRows),
		peers: newTable[netip.Addr](maxRows)}
	for _, h := range []*stats.Histogram{&s.wait, &s.failedWait, &s.handshake, &s.queueWait, &s.alive} {
		*h = stats.NewHistogram(3)
	}
	return s
}

// Pair takes an attempt, and whether it is selected.
func (s *Selection) Pair(p *pairing.Pair, selected bool) {
	a := &s.attempts
	a.Of++
	l := s.listeners.row(listenerKey{p.NetNS, p.Listener})
	if l != nil {
		l.OfAttempts++
		l.Listener, l.NetNS = p.Listener, p.NetNS
		if l.Name == "" && p.ListenAddr.IsValid() {
			l.Name = p.ListenAddr.String()
		} else if l.Name == "" {
			l.Name = format.Quote(p.Name)
		}
	}
	proc := s.processes.row(processKey{p.Proc, p.PID})
	if proc != nil {
		proc.OfAttempts++
		proc.Name = cmp.Or(proc.Name, processName(p.Comm, p.PID))
	}
	if !selected {
		return
	}
	a.Selected++
	for _, r := range []*row{l, proc} {
		if r != nil {
			r.Attempts++
		}
	}
	switch {
	case p.Accepted():
		a.Accepted++
		recordKnown(&s.wait, p.WaitNS)
	case p.Failed():
		a.Failed++
		s.errors[p.Errno]++
		recordKnown(&s.failedWait, p.WaitNS)
	}
}

// Connection takes a connection, and whether it is selected.
func (s *Selection) Connection(c *conntrack.Connection, selected bool) {
	t := &s.connections
	t.Of++
	l := s.listeners.row(listenerKey{c.NetNS, c.Listener})
	if l != nil {
		l.OfConnections++
		l.Listener, l.NetNS = c.Listener, c.NetNS
		l.Name = cmp.Or(l.Name, c.ListenAddr)
	}
	var proc *row
	if c.TID != 0 {
		if proc = s.processes.row(processKey{c.Proc, c.PID}); proc != nil {
			proc.OfConnections++
			proc.Name = cmp.Or(proc.Name, processName(c.Comm, c.PID))
		}
	}
	peer := s.peers.row(c.Remote.Addr().Unmap())
	if peer != nil {
		peer.OfConnections++
		peer.Name = cmp.Or(peer.Name, c.Remote.Addr().Unmap().String())
	}
	if !selected {
		return
	}
	t.Selected++
	for _, r := range []*row{l, proc, peer} {
		if r != nil {
			r.Connections++
		}
	}
	if l != nil && c.QueueWaitNS >= 0 {
		if !l.queueWait.On() {
			l.queueWait = stats.NewHistogram(2)
		}
		l.queueWait.Record(c.QueueWaitNS)
	}
	s.ends[c.End]++
	if c.Dead {
		t.Dead++
	}
	t.Refused += c.RefusedPackets
	if c.Counted {
		t.BytesIn, t.BytesOut = t.BytesIn+c.BytesIn, t.BytesOut+c.BytesOut
	}
	recordKnown(&s.handshake, c.HandshakeNS)
	recordKnown(&s.queueWait, c.QueueWaitNS)
	recordKnown(&s.alive, c.AliveNS)
}

func recordKnown(h *stats.Histogram, ns int64) {
	if ns >= 0 {
		h.Record(ns)
	}
}

// Figures gives what was counted. r is the analysis of the whole capture, with all findings; pairs and connections
// say what the filter was asked of; lists have so many rows, all if top is negative.
func (s *Selection) Figures(filter string, r *analysis.Result, pairs, connections bool, top int) *Figures {
	out := &Figures{Schema: analysis.SchemaVersion, Filter: filter, Capture: r.Capture, Integrity: r.Integrity,
		Recording: r.Recording, Findings: []findings.Finding{}}
	if pairs {
		a := s.attempts
		a.Errors = []SelectedError{}
		for errno, n := range s.errors {
			a.Errors = append(a.Errors, SelectedError{format.ErrnoName(errno), n})
		}
		slices.SortFunc(a.Errors, func(x, y SelectedError) int {
			return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Name, y.Name))
		})
		a.Wait, a.FailedWait = s.wait.Quantiles(), s.failedWait.Quantiles()
		out.Attempts = &a
	}
	if connections {
		c := s.connections
		c.Ends = []SelectedEnd{}
		for end, n := range s.ends {
			c.Ends = append(c.Ends, SelectedEnd{end.ID(), end, n})
		}
		slices.SortFunc(c.Ends, func(x, y SelectedEnd) int {
			return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.End, y.End))
		})
		c.Handshake, c.QueueWait, c.Alive = s.handshake.Quantiles(), s.queueWait.Quantiles(), s.alive.Quantiles()
		out.Connections = &c
	}
	out.Listeners, out.More.Listeners = s.listeners.list(top)
	out.Processes, out.More.Processes = s.processes.list(top)
	out.Peers, out.More.Peers = s.peers.list(top)
	for key := range s.listeners.rows {
		if s.whole(key) {
			out.WholeListeners++
		}
	}
	for i := range r.Findings {
		before := len(out.Findings)
		for _, f := range r.Findings[i].Members() {
			if s.whole(listenerKey{f.NetNS, f.Listener}) {
				out.Findings = append(out.Findings, f)
			}
		}
		if len(out.Findings) == before {
			out.FindingsLeftOut++
		}
	}
	out.Findings = findings.Alike(out.Findings, top)
	return out
}

// whole reports whether all of a listener is selected.
func (s *Selection) whole(key listenerKey) bool {
	r := s.listeners.rows[key]
	return r != nil && key.inode != 0 && r.Attempts == r.OfAttempts && r.Connections == r.OfConnections
}

// list gives the rows of which something is selected, most first, and how many it left out.
func (t *table[K]) list(top int) ([]SelectedRow, int) {
	rows := []SelectedRow{}
	for _, r := range t.rows {
		if r.Attempts+r.Connections > 0 {
			r.Name = cmp.Or(r.Name, "unknown")
			r.SelectedRow.QueueWait = r.queueWait.Quantiles()
			rows = append(rows, r.SelectedRow)
		}
	}
	slices.SortFunc(rows, func(x, y SelectedRow) int {
		return cmp.Or(cmp.Compare(y.Connections, x.Connections), cmp.Compare(y.Attempts, x.Attempts),
			cmp.Compare(x.Name, y.Name), cmp.Compare(x.Listener, y.Listener), cmp.Compare(x.NetNS, y.NetNS))
	})
	if top >= 0 && len(rows) > top {
		return rows[:top], len(rows) - top
	}
	return rows, 0
}

func processName(comm string, pid uint32) string {
	return format.Quote(comm) + "[" + strconv.FormatUint(uint64(pid), 10) + "]"
}
