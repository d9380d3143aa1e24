// Package compare compares two captures: it lists what is new, gone or changed in the second one. A difference counts
// only if it is larger than the noise, which is how much each capture differs from itself.
package compare

// This file collects the figures of one capture over time.

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

const (
	firstWidth   = int64(10 * time.Millisecond)
	maxBuckets   = 256     // of a recording; they are joined two by two
	maxSubjects  = 64      // listeners, processes and errors that are compared by themselves
	maxPeers     = 100_000 // addresses
	againErrno   = 11      // EAGAIN, which is no failure of a server that does not block
	latencyKinds = 4
)

// The durations that are compared.
const (
	queueWait = iota
	inAccept
	served
	handshake
)

// Profile collects the figures of one capture, bucket by bucket. Its memory does not grow with the capture.
type Profile struct {
	startNS, widthNS int64
	all              subject
	listeners        map[string]*subject
	processes        map[string]*subject
	errors           map[int32]*series
	peers            map[netip.Addr]*peer
	missed           bool // there were more than it keeps

	Result *analysis.Result // of the same capture, which the caller fills in
	Header *format.Header
}

// subject is what has figures: all, a listener, a process.
type subject struct {
	accepted, arrived, failed, refused, lost series
	latency                                  [latencyKinds]latencies
}

// peer is one address.
type peer struct {
	accepted uint64
	last     int64 // bucket
	buckets  int   // in how many it came
}

// NewProfile begins the profile of the capture with header h.
func NewProfile(h *format.Header) *Profile {
	return &Profile{startNS: h.Clock.BootNS, widthNS: firstWidth, listeners: map[string]*subject{},
		processes: map[string]*subject{}, errors: map[int32]*series{}, peers: map[netip.Addr]*peer{}, Header: h}
}

// Listen has the analysis give the profile each attempt and each connection.
func (p *Profile) Listen(o *analysis.Options) { o.Pair, o.Connection = p.pair, p.connection }

// series counts in buckets.
type series []float64

func (s *series) add(bucket int, n float64) {
	for len(*s) <= bucket {
		*s = append(*s, 0)
	}
	(*s)[bucket] += n
}

func (s *series) halve() {
	for i, n := range *s {
		if i%2 == 0 {
			(*s)[i/2] = n
		} else {
			(*s)[i/2] += n
		}
	}
	*s = (*s)[:(len(*s)+1)/2]
}

// bucket gives the bucket of a time.
func (p *Profile) bucket(ns int64) int {
	since := max(ns-p.startNS, 0)
	p.fit(since)
	return int(since / p.widthNS)
}

// fit widens the buckets until a time since the start is in one of them.
func (p *Profile) fit(since int64) {
	for since/p.widthNS >= maxBuckets {
		p.widthNS *= 2
		p.all.halve()
		for _, s := range p.listeners {
			s.halve()
		}
		for _, s := range p.processes {
			s.halve()
		}
		for _, s := range p.errors {
			s.halve()
		}
		for _, x := range p.peers {
			x.last /= 2
			x.buckets = (x.buckets + 1) / 2
		}
	}
}

func (s *subject) halve() {
	for _, x := range []*series{&s.accepted, &s.arrived, &s.failed, &s.refused, &s.lost} {
		x.halve()
	}
	for i := range s.latency {
		s.latency[i].halve()
	}
}

// of gives a subject by its name, nil if there are too many.
func (p *Profile) of(list map[string]*subject, name string) *subject {
	s := list[name]
	if s == nil {
		if len(list) >= maxSubjects {
			p.missed = true
			return nil
		}
		s = &subject{}
		list[name] = s
	}
	return s
}

func (p *Profile) pair(x *pairing.Pair) error {
	if !x.Returned() || x.Armed || x.Why == pairing.WhyRestarted {
		return nil
	}
	at := p.bucket(x.ReturnNS)
	list := [3]*subject{&p.all, p.of(p.listeners, listenerOf(x)), p.of(p.processes, format.Quote(x.Comm))}
	for _, s := range list {
		if s == nil {
			continue
		}
		switch {
		case x.Accepted():
			s.accepted.add(at, 1)
			if x.WaitNS >= 0 {
				s.latency[inAccept].add(at, x.WaitNS)
			}
		case x.Errno != againErrno:
			s.failed.add(at, 1)
		}
	}
	if x.Failed() {
		s := p.errors[x.Errno]
		switch {
		case s != nil:
			s.add(at, 1)
		case len(p.errors) >= maxSubjects:
			p.missed = true
		default:
			s = &series{}
			s.add(at, 1)
			p.errors[x.Errno] = s
		}
	}
	if x.Accepted() && x.Remote.IsValid() {
		p.peer(x.Remote.Addr().Unmap(), int64(at))
	}
	return nil
}

// listenerOf is what the listener of an attempt is called.
func listenerOf(x *pairing.Pair) string {
	switch {
	case x.ListenAddr.IsValid():
		return x.ListenAddr.String()
	case x.Local.IsValid():
		return x.Local.String()
	}
	return cmp.Or(format.Quote(x.Name), x.Family.String())
}

func (p *Profile) peer(a netip.Addr, bucket int64) {
	x := p.peers[a]
	if x == nil {
		if len(p.peers) >= maxPeers {
			p.missed = true
			return
		}
		x = &peer{last: -1}
		p.peers[a] = x
	}
	if x.accepted++; x.last != bucket {
		x.last = bucket
		x.buckets++
	}
}

func (p *Profile) connection(c *conntrack.Connection) error {
	list := [2]*subject{&p.all, nil}
	if name := cmp.Or(c.ListenAddr, addrOf(c.Local)); name != "" {
		list[1] = p.of(p.listeners, name)
	}
	add := func(at int64, to func(*subject, int)) {
		if at == 0 {
			return
		}
		bucket := p.bucket(at)
		for _, s := range list {
			if s != nil {
				to(s, bucket)
			}
		}
	}
	duration := func(kind int, ns int64) func(*subject, int) {
		return func(s *subject, bucket int) { s.latency[kind].add(bucket, ns) }
	}
	if c.QueuedSeq != 0 {
		add(c.QueuedNS, func(s *subject, bucket int) { s.arrived.add(bucket, 1) })
		if c.HandshakeNS >= 0 {
			add(c.QueuedNS, duration(handshake, c.HandshakeNS))
		}
	}
	if c.RefusedPackets > 0 {
		add(report.BeganNS(c), func(s *subject, bucket int) { s.refused.add(bucket, float64(c.RefusedPackets)) })
	}
	if wait, atLeast := c.InQueue(); wait >= 0 && !atLeast && c.AcceptedSeq != 0 {
		add(c.AcceptedNS, duration(queueWait, wait))
	}
	if c.ServedNS >= 0 && c.End.Told() {
		add(c.ServerDone(), duration(served, c.ServedNS))
	}
	switch c.End {
	case conntrack.EndResetByClient, conntrack.EndResetByServer, conntrack.EndTimeout, conntrack.EndKilled,
		conntrack.EndError, conntrack.EndListener, conntrack.EndAccept, conntrack.EndRefused:
		add(c.EndNS, func(s *subject, bucket int) { s.lost.add(bucket, 1) })
	}
	return nil
}

func addrOf(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
