package crosscheck

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// This file compares both at the end, and puts the comparison into words.

// Verdicts of a comparison.
const (
	VerdictAgrees    = "agrees"    // the kernel counted the same, or all of the difference is accounted for
	VerdictPartly    = "partly"    // the same where the counters were read; other namespaces, or times, are left
	VerdictExplained = "explained" // there is a difference, and a reason for one of at least this size
	VerdictDiffers   = "differs"   // there is one for which the capture holds no reason
	VerdictSilent    = "silent"    // the capture has no two readings of the kernel's counters
)

// Comparison is what the kernel's counters say of a capture, over the time
// between its first and its last reading of them.
type Comparison struct {
	Verdict string      `json:"verdict"` // what comes of the comparison
	Text    string      `json:"text"`    // the same as a sentence
	Spaces  []Namespace `json:"spaces"`  // each network namespace, most connections first
	// TCP connections accepted in namespaces whose counters were not read twice
	Unchecked uint64     `json:"unchecked"`
	Others    int        `json:"others"`    // those namespaces, at least; those in spaces were read
	NotShown  []NotShown `json:"not_shown"` // what the kernel counted and no event shows
}

// Namespace is one network namespace. Connections that the kernel made are
// Opened = Accepted + (QueuedEnd - QueuedStart) + Forgotten + Joined + Discarded + Unexplained.
type Namespace struct {
	NetNS  uint32 `json:"netns"`   // inode number of the network namespace
	SpanNS int64  `json:"span_ns"` // time between the readings
	// time of the recording before the first reading, if it is not the one of the start
	BeforeNS int64 `json:"before_ns"`
	// time of the recording behind the last reading, if it is not the one of the end
	AfterNS int64 `json:"after_ns"`
	// PassiveOpens: TCP connections that the kernel made for listeners
	Opened uint64 `json:"opened"`
	// TCP connections that the capture shows to be taken from an accept queue
	Accepted    int64  `json:"accepted"`
	Kernel      int64  `json:"kernel"`       // of the accepted, by the kernel for itself
	QueuedStart uint32 `json:"queued_start"` // connections in accept queues at the first reading
	QueuedEnd   uint32 `json:"queued_end"`   // connections in accept queues at the last reading
	QueuedKnown bool   `json:"queued_known"` // these two are exact
	Forgotten   int64  `json:"forgotten"`    // connections in an accept queue when its listener was closed
	Joined      uint64 `json:"joined"`       // connections that joined an MPTCP connection: never accepted
	// connections that nobody accepted, as many as failed to join an MPTCP connection at most
	JoinsFailed uint64 `json:"joins_failed"`
	// sockets made a second time for one handshake, and dropped at once: no connections
	Discarded int64 `json:"discarded"`
	// events of connections that were queued, -1 if the capture has none
	Queued int64 `json:"queued"`
	// events while the counters were first read, or of calls that were under way then: they may belong to the time
	// before
	UnsureStart int64 `json:"unsure_start"`
	// the same of the last reading: they may belong to the time that is compared
	UnsureEnd int64 `json:"unsure_end"`
	// connections that came while the accept queues were first read: they may be missing in queued_start
	MovedStart int64 `json:"moved_start"`
	MovedEnd   int64 `json:"moved_end"` // the same of the last reading
	// opened - accepted - (queued_end - queued_start) - forgotten - joined - discarded: what the capture has no account
	// of
	Unexplained int64             `json:"unexplained"`
	Verdict     string            `json:"verdict"`  // as that of all
	Reasons     []string          `json:"reasons"`  // what the difference can come from, or how it is accounted for
	Counters    map[string]uint64 `json:"counters"` // how much each counter grew

	// requests and connections that listeners dropped for another reason than a full queue
	OtherDrops uint64 `json:"other_drops"`
	// of them, at most, because a part of net.ipv4.tcp_max_syn_backlog is reserved while net.ipv4.tcp_syncookies is 0
	ReservedDrops uint64 `json:"reserved_drops"`
	// the kernel's settings there at the last reading, by name as sysctl(8) spells it
	Settings       map[string]int64 `json:"settings"`
	SettingChanges []SettingChange  `json:"setting_changes"` // those that changed during the recording

	synBacklog int64
}

// Finish compares what was recorded with what the kernel counted, after the last batch.
func (w *Check) Finish() Comparison {
	r := Comparison{Verdict: VerdictSilent, Spaces: []Namespace{}, NotShown: []NotShown{}}
	switch {
	case w.cut:
		return w.ofPart(r, "not possible in a cut: the kernel's counters are of the whole recording, which acc analyze "+
			"compares")
	case !w.selected.Countable():
		return w.ofPart(r, "not possible: the kernel counts all connections of a network namespace, and only a part of "+
			"them was selected")
	}
	for _, s := range w.all() {
		if !w.selected.HasNetNS(s.netns) {
			continue
		}
		x := w.compare(s)
		recorded := s.between()
		r.NotShown = append(r.NotShown, x.notShown(&recorded, w.dropsKnown)...)
		r.Spaces = append(r.Spaces, x)
	}
	r.NotShown = append(r.NotShown, w.simultaneous()...)
	r.NotShown = append(r.NotShown, w.unreadSpaces()...)
	slices.SortStableFunc(r.NotShown, func(a, b NotShown) int { return cmp.Compare(a.NetNS, b.NetNS) })
	slices.SortFunc(r.Spaces, func(a, b Namespace) int {
		return cmp.Or(cmp.Compare(b.Opened, a.Opened), cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.SpanNS, b.SpanNS))
	})
	pool := w.excuses()
	for i := range r.Spaces {
		w.judge(&r.Spaces[i], pool)
	}
	unread := slices.DeleteFunc(w.elsewhere(), func(s *space) bool { return !w.selected.HasNetNS(s.netns) })
	for _, s := range unread {
		r.Unchecked += uint64(s.sums.accepted)
	}
	r.Others = len(unread)
	w.say(&r, unread)
	return r
}

// ofPart is what comes of a recording of a part of what the kernel counts: nothing can be held against that, and why.
func (w *Check) ofPart(r Comparison, why string) Comparison {
	for _, s := range w.all() {
		x := w.compare(s)
		x.Unexplained, x.Verdict, x.Reasons = 0, VerdictSilent, []string{}
		r.Spaces = append(r.Spaces, x)
	}
	r.Text = why
	return r
}

// maxReasons is how many reasons of a difference the sentence has.
const maxReasons = 6

// say puts the comparison into one sentence, and makes its verdict VerdictPartly where the counters
// agree and do not cover all. unread are the namespaces whose counters were not read twice.
func (w *Check) say(r *Comparison, unread []*space) {
	total, reasons := r.sum()
	if len(reasons) > maxReasons {
		reasons = append(reasons[:maxReasons], "and more")
	}
	agrees := r.Verdict == VerdictAgrees
	where, uncovered := w.uncovered(r, unread)
	reasons = append(reasons, uncovered...)
	counts := humanize.Plural(total.Opened, "TCP connection")
	switch {
	case w.blind:
		counts += recordedAs(total.Queued, "queued")
	case !agrees || int64(total.Opened) != total.Accepted:
		counts += recordedAs(total.Accepted, "accepted")
	}
	switch r.Verdict {
	case VerdictSilent:
		r.Text = "the capture does not hold two readings of the kernel's own counters"
	case VerdictAgrees, VerdictPartly:
		r.Text = "the kernel counted the same" + where + ": " + counts
	case VerdictExplained:
		r.Text = fmt.Sprintf("the kernel counted %s"+where+"; the difference of %d is explained", counts,
			total.Unexplained)
	case VerdictDiffers:
		r.Text = r.disagreement(w.blind)
		if len(r.Spaces) > 1 { // it has the reasons of each
			return
		}
		r.Text += where
	}
	if len(reasons) > 0 {
		open, end := " (", ")"
		if r.Verdict == VerdictExplained {
			open, end = ": ", ""
		}
		r.Text += open + strings.Join(reasons, "; ") + end
	}
}

// uncovered says what the counters do not cover: connections before the first and after the last
// reading, namespaces, and times. where belongs behind "counted the same".
func (w *Check) uncovered(r *Comparison, unread []*space) (where string, reasons []string) {
	partly := func() {
		if r.Verdict == VerdictAgrees {
			r.Verdict = VerdictPartly
		}
	}
	if early, behind := w.aside(); r.Verdict != VerdictSilent {
		what := "accepted"
		if w.blind {
			what = "queued"
		}
		if early > 0 {
			reasons = append(reasons, fmt.Sprintf("%s more %s before acc first read the counters",
				humanize.Count(uint64(early)), wereWhat(early, what)))
		}
		if behind > 0 {
			reasons = append(reasons, fmt.Sprintf("%s more %s after acc last read them", humanize.Count(uint64(behind)),
				wereWhat(behind, what)))
		}
	}
	if r.Others > 0 && r.Verdict != VerdictSilent {
		where = fmt.Sprintf(" in %d of %d network namespaces", len(r.Spaces), len(r.Spaces)+r.Others)
		reasons = append(reasons, w.unreadWords(unread)...)
		partly()
	}
	if worst := r.longest(); worst.outside() > 0 {
		where += fmt.Sprintf(" in %s of %s", humanize.Duration(worst.SpanNS),
			humanize.Duration(worst.SpanNS+worst.outside()))
		if worst.BeforeNS > 0 {
			reasons = append(reasons, "the counters say nothing of the time before that")
		}
		if worst.AfterNS > 0 {
			reasons = append(reasons, "the counters say nothing of the time after that")
		}
		partly()
	}
	if slices.ContainsFunc(w.ended, func(s *space) bool { return s.first != nil }) {
		reasons = append(reasons,
			"the counters began anew, or no process stayed: another network namespace may have got "+
				"the number of one that ended; they say nothing of the time between")
		partly()
	}
	return where, reasons
}

// sum adds up the namespaces for the sentence, and gives the worst of their verdicts. A
// difference of one does not make up for that of another one.
func (r *Comparison) sum() (total Namespace, reasons []string) {
	order := []string{VerdictSilent, VerdictAgrees, VerdictExplained, VerdictDiffers}
	for _, s := range r.Spaces {
		if slices.Index(order, s.Verdict) > slices.Index(order, r.Verdict) {
			r.Verdict = s.Verdict
		}
		total.Opened += s.Opened
		total.Accepted += s.Accepted
		total.Queued += s.Queued
		total.Unexplained += max(s.Unexplained, -s.Unexplained)
		for _, reason := range s.Reasons {
			if !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
		}
	}
	return total, reasons
}

// maxDisagreeing bounds how many namespaces the sentence names.
const maxDisagreeing = 3

// disagreement names the namespaces whose counters differ, each with its own numbers.
func (r *Comparison) disagreement(blind bool) string {
	var texts []string
	agree := 0
	for i := range r.Spaces {
		x := &r.Spaces[i]
		if x.Verdict != VerdictDiffers {
			agree++
			continue
		}
		text := x.Difference(blind)
		if len(r.Spaces) > 1 {
			text = fmt.Sprintf("in network namespace %d %s", x.NetNS, text)
			if len(x.Reasons) > 0 {
				text += " (" + strings.Join(x.Reasons, "; ") + ")"
			}
		}
		texts = append(texts, text)
	}
	if n := len(texts) - maxDisagreeing; n > 0 {
		texts = append(texts[:maxDisagreeing], "and "+humanize.Plural(uint64(n), "more network namespace"))
	}
	if agree > 0 {
		texts = append(texts, fmt.Sprintf("%d of %d network namespaces agree", agree, len(r.Spaces)))
	}
	return strings.Join(texts, "; ")
}

// Difference says how the counters of a namespace and the events differ.
func (x *Namespace) Difference(blind bool) string {
	counts := humanize.Plural(x.Opened, "TCP connection")
	if blind {
		counts += recordedAs(x.Queued, "queued")
	} else {
		counts += recordedAs(x.Accepted, "accepted")
	}
	if x.Unexplained < 0 {
		return fmt.Sprintf("the kernel counted %s: %d more than the kernel counted", counts, -x.Unexplained)
	}
	return fmt.Sprintf("the kernel counted %s: %d NOT accounted for", counts, x.Unexplained)
}

// compare holds a namespace's events against its counters.
func (w *Check) compare(s *space) Namespace {
	grew := func(name string) uint64 {
		if s.last.Values[name] < s.first.Values[name] {
			return 0
		}
		return s.last.Values[name] - s.first.Values[name]
	}
	x := Namespace{
		NetNS: s.netns, SpanNS: max(s.last.BootNS-s.first.BootNS, 0), Opened: grew(format.CounterPassiveOpens),
		Joined:   grew(format.CounterMPJoins),
		Accepted: s.last.by.accepted - s.first.by.accepted, Kernel: s.last.by.kernel - s.first.by.kernel,
		Forgotten:   s.last.by.forgotten - s.first.by.forgotten,
		QueuedStart: s.first.Counters.Queued, QueuedEnd: s.last.Counters.Queued, QueuedKnown: s.first.QueuedKnown &&
			s.last.QueuedKnown,
		Discarded: s.last.by.discarded - s.first.by.discarded, Queued: -1, Reasons: []string{},
		Counters: map[string]uint64{},
	}
	x.OtherDrops = uint64(max(otherDrops(s.last.Values)-otherDrops(s.first.Values), 0))
	x.ReservedDrops, x.synBacklog = min(uint64(s.reserved), x.OtherDrops), s.synBacklog
	x.Settings, x.SettingChanges = w.settings.last(s.netns), w.settings.changes(s.netns)
	x.BeforeNS, x.AfterNS = w.outside(s)
	for _, name := range slices.Sorted(maps.Keys(s.last.Values)) {
		x.Counters[name] = grew(name)
	}
	x.UnsureStart, x.UnsureEnd = s.first.unsure(), s.last.unsure()
	x.MovedStart, x.MovedEnd = s.first.moved(), s.last.moved()
	if w.queuedKnown {
		x.Queued = s.last.by.queued - s.first.by.queued
	}
	if w.blind && w.queuedKnown { // what was put into queues is all that there is to hold against
		x.MovedStart, x.MovedEnd = 0, 0
		x.UnsureStart, x.UnsureEnd = s.first.while.queued, s.last.while.queued
		x.Unexplained = int64(x.Opened) - x.Queued - int64(x.Joined) - x.Discarded
		x.failedJoins()
		x.discards()
		return x
	}
	waiting := int64(x.QueuedEnd) - int64(x.QueuedStart)
	x.Unexplained = int64(x.Opened) - x.Accepted - waiting - x.Forgotten - int64(x.Joined) - x.Discarded
	x.failedJoins()
	x.reasons(waiting)
	return x
}

// failedJoins takes off the subflows that the kernel opened and reset when they were to join an MPTCP connection:
// at most as many as it counted.
func (x *Namespace) failedJoins() {
	x.JoinsFailed = min(x.Counters[format.CounterMPJoinMACs], uint64(max(x.Unexplained, 0)))
	x.Unexplained -= int64(x.JoinsFailed)
}

// reasons says how a difference is accounted for.
func (x *Namespace) reasons(waiting int64) {
	add := func(n int64, format string) {
		if n != 0 {
			x.Reasons = append(x.Reasons, fmt.Sprintf(format, n))
		}
	}
	are := "were"
	if x.Forgotten == 1 {
		are = "was"
	}
	if waiting > 0 {
		add(waiting, "%d more waiting in an accept queue at the end")
	} else {
		add(-waiting, "%d fewer waiting in an accept queue at the end")
	}
	add(x.Forgotten, "%d "+are+" waiting when their listener stopped listening")
	add(int64(x.Joined), "%d joined an MPTCP connection")
	add(int64(x.JoinsFailed), "%d tried to join an MPTCP connection and got a reset (MPJoinAckHMacFailure)")
	add(x.Kernel, "the kernel took %d of the accepted for itself")
	x.discards()
}

// discards adds the sockets that the kernel counted and that never became connections.
func (x *Namespace) discards() {
	if x.Discarded > 0 {
		x.Reasons = append(x.Reasons, fmt.Sprintf("the kernel made %d twice: two CPUs ended one handshake at the "+
			"same time, and it dropped the second socket", x.Discarded))
	}
}

// between counts what was recorded from the first reading to the last one, and what may
// have been.
func (s *space) between() sums {
	return sums{
		overflows: s.last.by.overflows + s.last.while.overflows - s.first.by.overflows,
		synQueue:  s.last.by.synQueue + s.last.while.synQueue - s.first.by.synQueue,
		moved:     s.last.by.moved + s.last.while.moved - s.first.by.moved,
	}
}

// wereWhat is what happened to n connections.
func wereWhat(n int64, what string) string {
	if n == 1 {
		return "was " + what
	}
	return "were " + what
}

// recordedAs says how many connections the capture has.
func recordedAs(n int64, what string) string {
	if n == 1 {
		return ", 1 was recorded as " + what
	}
	return fmt.Sprintf(", %d were recorded as %s", n, what)
}
