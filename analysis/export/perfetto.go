package export

// This file writes a trace for Perfetto (ui.perfetto.dev, trace_processor): TrackEvents as protobuf. Numbers of
// fields are those of protos/perfetto/trace in Perfetto's source.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// Types of TrackEvent.
const (
	sliceBegin, sliceEnd, instant, counter = 1, 2, 3, 4
)

// Where the numbers of tracks begin, by what they are of.
const (
	trackProcess  = 1 << 40
	trackThread   = 2 << 40
	trackListener = 3 << 40
	trackQueue    = 4 << 40
	trackLost     = 5 << 40
)

// maxTracks bounds the tracks that get a name. Events of further tracks are written without one.
const maxTracks = 200_000

// perfetto writes a track for each process, and below it its threads with their accept calls as slices. Each listener
// has a track of what was queued and refused, and a counter of its queue. One track has the lost events. A flow goes
// from queued to accepted. Times are of CLOCK_BOOTTIME, like those of other traces of the host.
type perfetto struct {
	w      *bufio.Writer
	s      *Source
	tracks map[uint64]bool
	names  map[uint64]string // of listeners
	packet []byte
	err    error
}

func newPerfetto(w io.Writer, _ Options) (Sink, error) {
	return &perfetto{w: bufio.NewWriterSize(w, lineBuffer), tracks: map[uint64]bool{}, names: map[uint64]string{}}, nil
}

func (p *perfetto) Wants() (connections, attempts bool) { return true, true }

// Begin takes one capture: the boot clocks of two have nothing in common.
func (p *perfetto) Begin(s *Source) error {
	if p.s != nil {
		return errors.New("a trace is of one capture: each host has a clock of its own")
	}
	p.s = s
	if c := s.Header.Clock; c.Known() {
		p.send(message(6, // clock_snapshot
			message(1, varint(1, 6), varint(2, uint64(c.BootNS))),  // BOOTTIME
			message(1, varint(1, 1), varint(2, uint64(c.RealNS))))) // REALTIME
	}
	p.track(trackLost, text(2, "acc: lost events"))
	return p.err
}

func varint(number protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), n)
}

func text(number protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), format.Quote(s))
}

func message(number protowire.Number, members ...[]byte) []byte {
	var all []byte
	for _, m := range members {
		all = append(all, m...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), all)
}

// send writes a TracePacket.
func (p *perfetto) send(members ...[]byte) {
	if p.err != nil {
		return
	}
	p.packet = p.packet[:0]
	for _, m := range members {
		p.packet = append(p.packet, m...)
	}
	p.packet = append(p.packet, varint(10, 1)...) // trusted_packet_sequence_id
	head := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.BytesType), uint64(len(p.packet)))
	if _, p.err = p.w.Write(head); p.err == nil {
		_, p.err = p.w.Write(p.packet)
	}
}

// track describes a track, the first time that it is used.
func (p *perfetto) track(id uint64, members ...[]byte) {
	if p.tracks[id] || len(p.tracks) >= maxTracks {
		return
	}
	p.tracks[id] = true
	all := varint(1, id)
	for _, m := range members {
		all = append(all, m...)
	}
	p.send(message(60, all))
}

// event writes a TrackEvent at a boot time.
func (p *perfetto) event(ns int64, kind, track uint64, members ...[]byte) {
	all := append(varint(9, kind), varint(11, track)...)
	for _, m := range members {
		all = append(all, m...)
	}
	p.send(varint(8, uint64(max(ns, 0))), message(11, all))
}

// note is a debug annotation.
func note(name, value string) []byte { return message(4, text(10, name), text(6, value)) }

func noteInt(name string, value int64) []byte {
	return message(4, text(10, name), varint(4, uint64(value)))
}

// thread gives the track of a thread.
func (p *perfetto) thread(pid, tid uint32, comm string, proc *format.Process) uint64 {
	name := comm
	if proc != nil && proc.Comm != "" {
		name = proc.Comm
	}
	p.track(trackProcess+uint64(pid), message(3, varint(1, uint64(pid)), text(6, name)))
	p.track(trackThread+uint64(tid), varint(5, trackProcess+uint64(pid)),
		message(4, varint(1, uint64(pid)), varint(2, uint64(tid)), text(5, comm)))
	return trackThread + uint64(tid)
}

// listener gives the track of a listener, and that of its queue.
func (p *perfetto) listener(inode uint64, addr string) (track, queue uint64) {
	track, queue = trackListener+inode, trackQueue+inode
	p.track(track, text(2, "listener "+addr))
	p.track(queue, text(2, "accept queue of "+addr), message(8), varint(5, track))
	return track, queue
}

func (p *perfetto) Attempt(a *pairing.Pair) error {
	p.s.attempts++
	track := p.thread(a.PID, a.TID, a.Comm, p.s.Env.Process(a.Proc))
	name, outcome := "accept", "waits"
	switch {
	case a.Accepted():
		outcome = "accepted"
	case a.Failed():
		outcome = format.ErrnoName(a.Errno)
		name += " " + outcome
	case a.Returned():
		outcome = "armed"
	case a.Why != "":
		outcome = string(a.Why)
	}
	notes := append(append(text(23, name), note("outcome", outcome)...), noteInt("sockfd", int64(a.SockFD))...)
	if a.Remote.IsValid() && a.Accepted() {
		notes = append(notes, note("client", unmapped(a.Remote).String())...)
	}
	if a.EnterSeq != 0 {
		p.event(a.EnterNS, sliceBegin, track, notes, noteInt("event", int64(a.EnterSeq)))
	}
	if a.ReturnSeq != 0 {
		if a.Accepted() || a.EnterSeq == 0 {
			p.event(a.ReturnNS, instant, track, text(23, name+" returns"), noteInt("event", int64(a.ReturnSeq)),
				note("outcome", outcome), varint(42, a.ReturnSeq)) // terminating_flow_ids_old: all versions read it
		}
		if a.EnterSeq != 0 {
			p.event(max(a.ReturnNS, a.EnterNS), sliceEnd, track)
		}
	}
	if a.Listener != 0 {
		_, queue := p.listener(a.Listener, p.name(a))
		if a.EnterSeq != 0 {
			p.event(a.EnterNS, counter, queue, varint(30, uint64(a.QueueEnter)))
		}
		if a.ReturnSeq != 0 {
			p.event(a.ReturnNS, counter, queue, varint(30, uint64(a.QueueReturn)))
		}
	}
	return p.err
}

// name is what a listener is called.
func (p *perfetto) name(a *pairing.Pair) string {
	if name := p.names[a.Listener]; name != "" {
		return name
	}
	name := a.Name
	for _, addr := range []netip.AddrPort{a.ListenAddr, a.Local} {
		if name == "" && addr.IsValid() {
			name = unmapped(addr).String()
		}
	}
	if len(p.names) < maxTracks {
		p.names[a.Listener] = name
	}
	return name
}

func (p *perfetto) Connection(c *conntrack.Connection) error {
	p.s.connections++
	if c.Listener == 0 {
		return nil
	}
	track, _ := p.listener(c.Listener, c.ListenAddr)
	peer := unmapped(c.Remote).String()
	for _, r := range c.Refusals {
		p.event(r.NS, instant, track, text(23, "refused"), note("client", peer), noteInt("event", int64(r.Seq)))
	}
	if c.QueuedSeq != 0 {
		flow := []byte(nil)
		if c.AcceptedSeq != 0 {
			flow = varint(36, c.AcceptedSeq) // flow_ids_old
		}
		p.event(c.QueuedNS, instant, track, text(23, "queued"), note("client", peer), noteInt("event", int64(c.QueuedSeq)),
			note("end", c.End.ID()), flow)
	}
	return p.err
}

// Loss marks a time in which events were lost.
func (p *perfetto) Loss(l format.Loss) error {
	p.event(l.ToNS, instant, trackLost, text(23, fmt.Sprintf("%d lost", l.Count)), note("probe", l.Hook.String()),
		noteInt("cpu", int64(l.CPU)), noteInt("since_ns", l.FromNS), noteInt("count", int64(l.Count)))
	return p.err
}

func (p *perfetto) End(_ *Source, r *analysis.Result) error {
	if r != nil && r.Recording.Lost > 0 {
		p.event(r.Capture.StartNS, instant, trackLost, text(23, "lost in all"), noteInt("count", int64(r.Recording.Lost)))
	}
	return p.err
}

func (p *perfetto) Close() error { return errors.Join(p.err, p.w.Flush()) }
