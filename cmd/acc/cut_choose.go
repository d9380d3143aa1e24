package main

// This file chooses what a cut has: attempts and connections that meet a condition, or that are named.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// maxChosen bounds the connections that are chosen.
const maxChosen = 16 << 20

// chosen is the events of attempts and connections: a cut.Chooser.
type chosen struct {
	seqs    map[uint64]*[pageWords]uint64 // bits by number, by page
	cookies []uint64                      // of connections, in order once all are there
	drops   map[endpoints]bool            // connections of which not all refused packets are known
	listed  map[endpoints]bool            // that were there when the recording began
	events  uint64                        // that were marked
}

// pageWords is how many words of 64 bits a page has.
const pageWords = 1 << 10

// endpoints name a connection.
type endpoints struct {
	netns         uint32
	local, remote netip.AddrPort
}

func newChosen() *chosen {
	return &chosen{seqs: map[uint64]*[pageWords]uint64{}, drops: map[endpoints]bool{}, listed: map[endpoints]bool{}}
}

// mark chooses events by their numbers; 0 is none.
func (c *chosen) mark(seqs ...uint64) {
	for _, seq := range seqs {
		if seq == 0 || c.has(seq) {
			continue
		}
		p := c.seqs[seq/(pageWords*64)]
		if p == nil {
			p = new([pageWords]uint64)
			c.seqs[seq/(pageWords*64)] = p
		}
		p[seq/64%pageWords] |= 1 << (seq % 64)
		c.events++
	}
}

func (c *chosen) has(seq uint64) bool {
	p := c.seqs[seq/(pageWords*64)]
	return p != nil && p[seq/64%pageWords]>>(seq%64)&1 != 0
}

// attempt chooses the events of an attempt.
func (c *chosen) attempt(p *pairing.Pair) { c.mark(p.EnterSeq, p.ReturnSeq, p.FactsSeq) }

// connection chooses the events of a connection.
func (c *chosen) connection(x *conntrack.Connection) error {
	c.mark(x.ID, x.QueuedSeq, x.EnterSeq, x.GoneSeq, x.MovedSeq, x.AcceptedSeq, x.DropSeq, x.ClosedSeq)
	for i := range x.Refusals {
		c.mark(x.Refusals[i].Seq)
	}
	at := endpoints{x.NetNS, x.Local, x.Remote}
	if x.Cookie != 0 {
		c.cookies = append(c.cookies, x.Cookie)
	}
	if x.RefusedPackets > uint64(len(x.Refusals)) {
		c.drops[at] = true
	}
	if x.Before {
		c.listed[at] = true
	}
	if len(c.cookies)+len(c.drops)+len(c.listed) > maxChosen {
		return &hinted{errors.New("too many connections are selected"),
			"cut a shorter time out first, with --from and --until"}
	}
	return nil
}

// Event reports whether an event is chosen.
func (c *chosen) Event(e *format.Event) bool {
	switch {
	case c.has(e.Seq):
		return true
	case e.Kind == format.Enter:
		return false
	case e.Cookie != 0:
		_, found := slices.BinarySearch(c.cookies, e.Cookie)
		return found
	}
	return e.Kind == format.Drop && c.drops[endpoints{e.NetNS, e.Local(), e.Remote()}]
}

// Connection reports whether a connection of a list is chosen.
func (c *chosen) Connection(x *format.Connection, seq uint64) bool {
	if seq != 0 {
		return c.has(seq)
	}
	local, err1 := netip.ParseAddr(x.LAddr)
	remote, err2 := netip.ParseAddr(x.RAddr)
	return err1 == nil && err2 == nil && c.listed[endpoints{x.NetNS, netip.AddrPortFrom(local, x.LPort),
		netip.AddrPortFrom(remote, x.RPort)}]
}

// choose reads the whole capture for what is chosen: twice, since an attempt can come before, or behind, the
// connection that it accepted.
func (o *cutOptions) choose(ctx context.Context, in *input) (*chosen, error) {
	filters := []bound{}
	if o.pairFilter != nil {
		filters = append(filters, o.pairFilter)
	}
	if o.connectionFilter != nil {
		filters = append(filters, o.connectionFilter)
	}
	if len(filters)+len(o.named) == 0 {
		return nil, nil
	}
	var byListener map[listenerKey][]string
	var err error
	if slices.ContainsFunc(filters, func(f bound) bool { return f.Uses(filter.FindingsName) }) {
		if byListener, err = in.findingsFirst(ctx, false); err != nil {
			return nil, err
		}
	}
	c := newChosen()
	for _, again := range []bool{false, true} {
		if _, err := in.source.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		if err := in.begin(in.source, false); err != nil {
			return nil, err
		}
		for _, f := range filters {
			if err := in.bind(f); err != nil {
				return nil, err
			}
		}
		procs, env := newProcesses(), (*filter.Env)(nil)
		opts := analysis.Options{Pair: func(p *pairing.Pair) error {
			if again && c.has(cmp.Or(p.ReturnSeq, p.EnterSeq)) || !again && o.pairFilter != nil && o.pairFilter.Match(p, env) {
				c.attempt(p)
			}
			return nil
		}, Connection: func(x *conntrack.Connection) error {
			if again && x.AcceptedSeq != 0 && c.has(x.AcceptedSeq) || !again && o.wants(x, env) {
				return c.connection(x)
			}
			return nil
		}}
		x := evidence.Examine(in.Start(), opts)
		env, in.each = procs.environment(x.Clocks(), byListener), procs.add
		readErr := feed(ctx, in, x)
		in.each = nil
		if !evidence.Ended(readErr) {
			return nil, readErr
		}
		if _, err := x.Finish(readErr, nil); err != nil {
			return nil, err
		}
		if procs.more && slices.ContainsFunc(filters, asksForProcesses) {
			return nil, &hinted{fmt.Errorf("%s: %s", in.name, tooManyProcesses),
				"choose by time, address or port instead: --from, --until, -f 'lport == 80'"}
		}
		slices.Sort(c.cookies)
		c.cookies = slices.Compact(c.cookies)
	}
	return c, nil
}

// wants reports whether a connection is one that is asked for.
func (o *cutOptions) wants(x *conntrack.Connection, env *filter.Env) bool {
	if o.connectionFilter != nil {
		return o.connectionFilter.Match(x, env)
	}
	return slices.ContainsFunc(o.named, func(is func(*conntrack.Connection) bool) bool { return is(x) })
}
