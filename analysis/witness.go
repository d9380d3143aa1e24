package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/format"
)

// maxRecent bounds the events that are remembered by their time: more than come
// between two readings of the counters' clock.
const maxRecent = 1 << 16

// maxSpaces is how many network namespaces are told apart.
const maxSpaces = 10_000

// late is by how much events can stand out of their order in time.
const late = int64(time.Second)

// Witness holds what was recorded against what the kernel itself counted. It takes
// a capture's batches one after another. It is for one goroutine.
type Witness struct {
	queuedKnown bool // the capture has events of connections that were queued
	blind       bool // and none of accept
	forgotKnown bool // it can have events of those that waited when their listener was closed
	oneCPU      bool // the host has no second one
	spaces      map[uint32]*space
	recent      []moment // the last events, a ring
	next        int      // in recent, the oldest
	at          *space   // of the event before
	noFacts     int64    // accepted without a socket
	facts       int64    // of do_accept alone, which may belong to those
	before      bool     // it is not known who sat in accept at the start
	rest        *space   // of all namespaces beyond maxSpaces; its counters are not held
	repaired    *format.Repaired
	told        uint64 // events that the capture tells as lost, of the kinds that count
	counted     uint64 // events of them that are there
	end         *format.End
	startNS     int64  // when the recording began, 0 if that is not known
	read        bool   // there was a reading
	first       uint64 // Seq of the first event
	unread      bool   // no reading came before it although it is not the capture's first
}

// space is what is known of one network namespace.
type space struct {
	netns       uint32
	sums        sums
	first, last *boundary
	fromNS      int64 // of the first event that a counter can tell of, and of the last
	toNS        int64
}

// sums count connections.
type sums struct {
	accepted  int64 // taken from the accept queue
	kernel    int64 // of them, by the kernel for itself
	queued    int64 // put into it
	forgotten int64 // that were in it when the listener was closed
	discarded int64 // made and dropped at once, see Discarded
}

func (s *sums) add(what uint8, n int64) {
	switch what {
	case tookKernel:
		s.kernel += n
		fallthrough
	case took:
		s.accepted += n
	case put:
		s.queued += n
	case forgot:
		s.forgotten += n
	case discard:
		s.discarded += n
	}
}

const (
	took = iota + 1
	tookKernel
	put
	forgot
	discard
)

// moment is an event that a counter can tell of.
type moment struct {
	ns   int64
	at   *space
	what uint8
}

// boundary is a reading of the counters with what had happened by then.
type boundary struct {
	format.Counters
	by    sums // before it began
	while sums // while it was read
}

// note counts an event by a boundary's time.
func (b *boundary) note(m moment, n int64) {
	switch {
	case b == nil:
	case m.ns < b.BootNS:
		b.by.add(m.what, n)
	case m.ns <= b.UntilNS:
		b.while.add(m.what, n)
	}
}

// NewWitness begins with the capture whose header is h.
func NewWitness(h *format.Header) *Witness {
	w := &Witness{startNS: h.Clock.BootNS, spaces: map[uint32]*space{}, rest: &space{}, blind: blind(h), oneCPU: h.CPUs == 1, forgotKnown: len(h.Probes) == 0, repaired: h.Repaired}
	for _, p := range h.Probes {
		w.forgotKnown = w.forgotKnown || p.Hook == format.HookChildForget
		w.queuedKnown = w.queuedKnown || p.Hook == format.HookHashdance
	}
	return w
}

// Add takes the next batch; nothing of it is kept.
func (w *Witness) Add(b *format.Batch) {
	w.records(b)
	for i := range b.Events {
		w.event(&b.Events[i])
	}
}

// records takes all of a batch but its events, which follow.
func (w *Witness) records(b *format.Batch) {
	for i := range b.Counters {
		w.counters(&b.Counters[i])
	}
	for _, l := range b.Losses {
		if w.counts(l.Kind) {
			w.told += l.Count
		}
	}
	for i := range b.Snapshots {
		w.before = w.before || !b.Snapshots[i].Final && !b.Snapshots[i].BlockedKnown
	}
	if b.End != nil {
		end := *b.End
		w.end = &end
	}
}

func (w *Witness) space(netns uint32) *space {
	if w.at == nil || w.at.netns != netns {
		s := w.spaces[netns]
		if s == nil && len(w.spaces) == maxSpaces {
			return w.rest
		}
		if s == nil {
			s = &space{netns: netns}
			w.spaces[netns] = s
		}
		w.at = s
	}
	return w.at
}

// counters takes a reading: what was recorded so far happened before it, but for
// the last events.
func (w *Witness) counters(c *format.Counters) {
	w.read = true
	s := w.space(c.NetNS)
	if s == w.rest {
		return
	}
	b := &boundary{Counters: *c, by: s.sums}
	for i := range w.recent { // the newest first
		m := w.recent[(w.next+len(w.recent)-1-i)%len(w.recent)]
		if m.ns < b.BootNS-late {
			break
		}
		if m.at == s && m.ns >= b.BootNS {
			b.by.add(m.what, -1)
			b.note(m, 1)
		}
	}
	if s.first == nil {
		s.first = b
		return
	}
	s.last = b
}

// counts reports whether events of the kind are what connections are counted by.
func (w *Witness) counts(kind format.Kind) bool {
	return kind == format.Return || w.blind && kind == format.Queued
}

func (w *Witness) event(e *format.Event) {
	if w.counts(e.Kind) {
		w.counted++
	}
	if w.first == 0 {
		w.first, w.unread = e.Seq, e.Seq > 1 && !w.read
	}
	what := uint8(0)
	switch {
	case e.Kind == format.Queued:
		what = put
	case e.Kind == format.Drop && e.Hook == format.HookChildForget:
		what = forgot
	case Discarded(e):
		what = discard
	case e.Kind != format.Return || e.Ret < 0 && e.Mark&format.MarkClientLost == 0:
		return
	case e.Mark&format.MarkNoFacts != 0:
		w.noFacts++
		return
	case e.Proto != protoTCP && e.Proto != protoMPTCP:
		return
	case e.Hook == format.HookKernelAccept:
		what = tookKernel
	default:
		what = took
		if e.Hook == format.HookDoAccept && e.Via == format.ViaUnknown {
			w.facts++
		}
	}
	s := w.space(e.NetNS)
	m := moment{e.BootNS, s, what}
	if s.sums == (sums{}) {
		s.fromNS = m.ns
	}
	s.fromNS, s.toNS = min(s.fromNS, m.ns), max(s.toNS, m.ns)
	s.sums.add(what, 1)
	s.first.note(m, 1) // an event can be recorded after a reading that came after it
	s.last.note(m, 1)
	if len(w.recent) < maxRecent {
		w.recent = append(w.recent, m)
		return
	}
	w.recent[w.next] = m
	w.next = (w.next + 1) % maxRecent
}

const (
	protoTCP   = 6
	protoMPTCP = 262 // IPPROTO_MPTCP
)

// Verdicts of a witness.
const (
	WitnessAgrees    = "agrees"    // the kernel counted the same, or all of the difference is accounted for
	WitnessPartly    = "partly"    // the same where the counters were read, but there is more: connections that were accepted in other namespaces, or a time that the readings do not cover
	WitnessExplained = "explained" // there is a difference, and a reason for one of at least this size
	WitnessDiffers   = "differs"   // there is one for which the capture holds no reason
	WitnessSilent    = "silent"    // the capture has no two readings of the kernel's counters
)

// WitnessResult is what the kernel's counters say of a capture, over the time
// between its first and its last reading of them.
type WitnessResult struct {
	Verdict     string         `json:"verdict"`     // Witness...
	Text        string         `json:"text"`        // the same as a sentence
	Spaces      []WitnessSpace `json:"spaces"`      // each network namespace, most connections first
	Unwitnessed uint64         `json:"unwitnessed"` // TCP connections accepted in namespaces whose counters were not read twice
	Others      int            `json:"others"`      // those namespaces, at least; those of Spaces were read
}

// WitnessSpace is one network namespace. Connections that the kernel made are
// Opened = Accepted + (QueuedEnd - QueuedStart) + Forgotten + Joined + Discarded + Unexplained.
type WitnessSpace struct {
	NetNS       uint32            `json:"netns"`
	SpanNS      int64             `json:"span_ns"`      // between the readings
	BeforeNS    int64             `json:"before_ns"`    // of the recording before the first one, if it is not the one of the start
	AfterNS     int64             `json:"after_ns"`     // of the recording behind the last one, if it is not the one of the end
	Opened      uint64            `json:"opened"`       // PassiveOpens: TCP connections that the kernel made for listeners
	Accepted    int64             `json:"accepted"`     // TCP connections that the capture shows to be taken from an accept queue
	Kernel      int64             `json:"kernel"`       // of them, by the kernel for itself
	QueuedStart uint32            `json:"queued_start"` // waiting in accept queues
	QueuedEnd   uint32            `json:"queued_end"`
	QueuedKnown bool              `json:"queued_known"` // both are exact
	Forgotten   int64             `json:"forgotten"`    // waited in one when its listener was closed
	Joined      uint64            `json:"joined"`       // joined an MPTCP connection: never accepted
	Discarded   int64             `json:"discarded"`    // made a second time for one handshake, and dropped at once: no connections
	Queued      int64             `json:"queued"`       // events of connections that were queued, -1 if the capture has none
	Unsure      int64             `json:"unsure"`       // events while the counters were read: before or after
	Unexplained int64             `json:"unexplained"`
	Verdict     string            `json:"verdict"`
	Reasons     []string          `json:"reasons"`  // what the difference can come from, or how it is accounted for
	Counters    map[string]uint64 `json:"counters"` // how much each counter grew
}

// Finish ends it.
func (w *Witness) Finish() WitnessResult {
	r := WitnessResult{Verdict: WitnessSilent, Spaces: []WitnessSpace{}}
	for _, s := range w.spaces {
		if s.first != nil && s.last != nil {
			r.Spaces = append(r.Spaces, w.compare(s))
		}
	}
	slices.SortFunc(r.Spaces, func(a, b WitnessSpace) int {
		return cmp.Or(cmp.Compare(b.Opened, a.Opened), cmp.Compare(a.NetNS, b.NetNS))
	})
	order := []string{WitnessSilent, WitnessAgrees, WitnessExplained, WitnessDiffers}
	total := WitnessSpace{}
	other := func(s *space) {
		if s.sums.accepted > 0 && (s.first == nil || s.last == nil) {
			r.Unwitnessed += uint64(s.sums.accepted)
			r.Others++
		}
	}
	for _, s := range w.spaces {
		other(s)
	}
	other(w.rest)
	var reasons []string
	for _, s := range r.Spaces {
		if slices.Index(order, s.Verdict) > slices.Index(order, r.Verdict) {
			r.Verdict = s.Verdict
		}
		total.Opened += s.Opened
		total.Accepted += s.Accepted
		total.Queued += s.Queued
		total.Unexplained += s.Unexplained
		for _, reason := range s.Reasons {
			if !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
		}
	}
	if r.Verdict != WitnessAgrees && total.Unexplained == 0 && len(r.Spaces) > 1 {
		r.Verdict = WitnessAgrees
		reasons = append(reasons, "some in another network namespace than their listener's")
	}
	if len(reasons) > 6 {
		reasons = append(reasons[:6], "and more")
	}
	agrees, where := r.Verdict == WitnessAgrees, ""
	if r.Others > 0 && r.Verdict != WitnessSilent {
		where = fmt.Sprintf(" in %d of %d network namespaces", len(r.Spaces), len(r.Spaces)+r.Others)
		reasons = append(reasons, fmt.Sprintf("%d more accepted in the %s whose counters are not known", r.Unwitnessed, others(r.Others)))
		if agrees {
			r.Verdict = WitnessPartly
		}
	}
	if worst := r.longest(); worst.outside() > 0 {
		where += fmt.Sprintf(" in %s of %s", Duration(worst.SpanNS), Duration(worst.SpanNS+worst.outside()))
		if worst.BeforeNS > 0 {
			reasons = append(reasons, "of the time before that nothing is known")
		}
		if worst.AfterNS > 0 {
			reasons = append(reasons, "of the time after that nothing is known")
		}
		if agrees {
			r.Verdict = WitnessPartly
		}
	}
	counts := many(total.Opened, "TCP connection")
	switch {
	case w.blind:
		counts += fmt.Sprintf(", %d were recorded as queued", total.Queued)
	case !agrees || int64(total.Opened) != total.Accepted:
		counts += fmt.Sprintf(", %d were recorded as accepted", total.Accepted)
	}
	switch r.Verdict {
	case WitnessSilent:
		r.Text = "the capture does not hold two readings of the kernel's own counters"
	case WitnessAgrees, WitnessPartly:
		r.Text = "the kernel counted the same" + where + ": " + counts
	case WitnessExplained:
		r.Text = fmt.Sprintf("the kernel counted %s"+where+"; the difference of %d can be accounted for", counts, total.Unexplained)
	case WitnessDiffers:
		r.Text = fmt.Sprintf("the kernel counted %s"+where+": %d NOT accounted for", counts, total.Unexplained)
		if total.Unexplained < 0 {
			r.Text = fmt.Sprintf("the kernel counted %s"+where+": %d MORE than there were", counts, -total.Unexplained)
		}
	}
	if len(reasons) > 0 {
		r.Text += " (" + strings.Join(reasons, ", ") + ")"
	}
	return r
}

// others names namespaces by their number.
func others(n int) string {
	if n == 1 {
		return "other one,"
	}
	return fmt.Sprintf("other %d,", n)
}

// compare holds a namespace's events against its counters.
func (w *Witness) compare(s *space) WitnessSpace {
	back := false
	grew := func(name string) uint64 {
		if s.last.Values[name] < s.first.Values[name] {
			back = back || name == format.CounterPassiveOpens || name == format.CounterMPJoins
			return 0
		}
		return s.last.Values[name] - s.first.Values[name]
	}
	x := WitnessSpace{
		NetNS: s.netns, SpanNS: max(s.last.BootNS-s.first.BootNS, 0), Opened: grew(format.CounterPassiveOpens), Joined: grew(format.CounterMPJoins),
		Accepted: s.last.by.accepted - s.first.by.accepted, Kernel: s.last.by.kernel - s.first.by.kernel, Forgotten: s.last.by.forgotten - s.first.by.forgotten,
		QueuedStart: s.first.Counters.Queued, QueuedEnd: s.last.Counters.Queued, QueuedKnown: s.first.QueuedKnown && s.last.QueuedKnown,
		Discarded: s.last.by.discarded - s.first.by.discarded, Queued: -1, Reasons: []string{}, Counters: map[string]uint64{},
	}
	x.BeforeNS, x.AfterNS = w.outside(s)
	for _, name := range slices.Sorted(maps.Keys(s.last.Values)) {
		x.Counters[name] = grew(name)
	}
	x.Unsure = s.first.while.accepted + s.last.while.accepted + s.first.while.forgotten + s.last.while.forgotten
	if w.queuedKnown {
		x.Queued = s.last.by.queued - s.first.by.queued
	}
	if w.blind && w.queuedKnown { // what was put into queues is all that there is to hold against
		x.Unsure = s.first.while.queued + s.last.while.queued
		x.Unexplained = int64(x.Opened) - x.Queued - int64(x.Joined) - x.Discarded
		x.discards()
		w.judge(&x, back)
		return x
	}
	waiting := int64(x.QueuedEnd) - int64(x.QueuedStart)
	x.Unexplained = int64(x.Opened) - x.Accepted - waiting - x.Forgotten - int64(x.Joined) - x.Discarded
	x.reasons(waiting)
	w.judge(&x, back)
	return x
}

// reasons says how a difference is accounted for.
func (x *WitnessSpace) reasons(waiting int64) {
	add := func(n int64, format string) {
		if n != 0 {
			x.Reasons = append(x.Reasons, fmt.Sprintf(format, n))
		}
	}
	if waiting > 0 {
		add(waiting, "%d more waiting in an accept queue at the end")
	} else {
		add(-waiting, "%d fewer waiting in an accept queue at the end")
	}
	add(x.Forgotten, "%d were waiting when their listener was closed")
	add(int64(x.Joined), "%d joined an MPTCP connection")
	add(x.Kernel, "%d of the accepted taken by the kernel for itself")
	x.discards()
}

// discards tells of the sockets that were no connections.
func (x *WitnessSpace) discards() {
	if x.Discarded > 0 {
		x.Reasons = append(x.Reasons, fmt.Sprintf("%d made twice: two CPUs ended one handshake at the same time, and the kernel dropped the second socket", x.Discarded))
	}
}

// twice is how much of the difference the kernel can have counted twice, on more than
// one CPU: a few in many, as measured (docs/RELIABILITY.md), and if what was put into queues is known
// and as much as what left them, no more than was not
// (tcp_create_openreq_child counts before inet_csk_complete_hashdance finds that it
// does not own the request).
func (x *WitnessSpace) twice(blind bool) int64 {
	most := 1 + int64(x.Opened)/10_000
	if x.Queued >= 0 && !blind {
		most = min(1+int64(x.Opened)/500, int64(x.Opened)-x.Queued-int64(x.Joined)-x.Discarded)
	}
	if x.Unexplained > 0 && x.Unexplained <= most {
		return x.Unexplained
	}
	return 0
}

// judge says whether what is left can be. back: the counters ran backwards.
func (w *Witness) judge(x *WitnessSpace, back bool) {
	if back {
		x.Verdict = WitnessDiffers
		x.Reasons = append(x.Reasons, "its counters run backwards, which they never do")
		return
	}
	x.Verdict = WitnessAgrees
	if x.Unexplained == 0 {
		return
	}
	lost, missed, left := w.losses()
	noFacts := max(w.noFacts-w.facts, 0)
	if twice := x.twice(w.blind); twice > 0 && !w.oneCPU && lost+missed+left == 0 && (w.end == nil || w.end.Clean) {
		x.Verdict = WitnessExplained
		x.Reasons = append(x.Reasons, fmt.Sprintf("%d may have been counted twice: of one handshake the kernel makes two sockets if two CPUs end it at the same time, and drops one", twice))
		return
	}
	what := "returns of accept"
	if w.blind {
		what = "queued connections"
	}
	more := []struct {
		n    int64
		text string
	}{
		{int64(lost), "%d " + what + " were lost, " + w.cause()},
		{int64(left), "%d " + what + " were recorded and " + w.gone()},
		{int64(missed), "%d " + what + " were missed by the kernel"},
		{noFacts, "%d accepted without what says of which protocol"},
		{x.Unsure, "%d accepted while the counters were read"},
	}
	room := int64(0)
	for _, m := range more {
		if m.n > 0 {
			room += m.n
			x.Reasons = append(x.Reasons, fmt.Sprintf(m.text, m.n))
		}
	}
	switch {
	case x.Unexplained > 0 && x.Unexplained <= room, x.Unexplained < 0 && -x.Unexplained <= x.Unsure:
		x.Verdict = WitnessExplained
	case !x.QueuedKnown:
		x.Verdict = WitnessExplained
		x.Reasons = append(x.Reasons, "connections came while the accept queues were read")
	default:
		x.Verdict = WitnessDiffers
		if w.before && x.Unexplained > 0 { // how many is not known either
			x.Reasons = append(x.Reasons, "calls that began before the recording could not be looked for")
		}
		if !w.blind && !w.forgotKnown && x.Unexplained > 0 {
			x.Reasons = append(x.Reasons, "connections that waited when their listener was closed are not recorded here")
		}
	}
}
