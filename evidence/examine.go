// Package evidence decides what can be said of a capture as evidence: whether its file is
// intact, whether its recording is complete, what it shows, and whether it is what was kept
// or signed. Every command of acc that reads a capture asks it, so that all say the same.
//
// Exported names may change until version 1; CHANGELOG.md says which changed. The JSON of its
// results is stable by docs/JSON.md.
package evidence

import (
	"errors"
	"fmt"
	"io"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// Examination reads a capture along with whoever reads it: END and content are held
// against each other, what happened is analysed, and the kernel's counters are compared.
// It is for one goroutine, and bounded in memory.
type Examination struct {
	account  audit.Account
	analyzer *analysis.Analyzer
	end      *format.End
	places   int // that were skipped so far
}

// Examine begins the examination of the capture with header h. Options.Account is its own.
func Examine(h *format.Header, o analysis.Options) *Examination {
	x := &Examination{}
	o.Account = &x.account
	x.analyzer = analysis.New(h, o)
	return x
}

// Add takes the next batch; skipped is how many places the reader skipped until now. The
// error is that of a callback of the analysis.
func (x *Examination) Add(b *format.Batch, skipped int) error {
	gap := skipped > x.places || len(b.Gaps) > 0
	x.places = skipped
	if b.End != nil {
		end := *b.End
		x.end = &end
	}
	return x.analyzer.Add(b, gap)
}

// End is END, nil if it did not come.
func (x *Examination) End() *format.End { return x.end }

// Clocks are the clock pairs so far, by which times are placed.
func (x *Examination) Clocks() *format.Clocks { return x.analyzer.Clocks() }

// Events is how many events of a kind there were so far.
func (x *Examination) Events(kind format.Kind) uint64 { return x.account.Of(kind) }

// Unchecked gives what could not be found out of END and content, a sentence each.
func (x *Examination) Unchecked() []string { return x.account.Unchecked() }

// Finish ends the examination: readErr is what ended reading, io.EOF at the end of what is
// there; skipped are all places that a salvaging reader left out.
func (x *Examination) Finish(readErr error, skipped []format.Skip) (*analysis.Result, error) {
	against := x.account.Contradictions()
	stopped := errors.As(readErr, new(*format.CorruptError))
	cut := x.end == nil || errors.Is(readErr, format.ErrTruncated) || stopped
	c := analysis.Completeness{Truncated: cut, Stopped: stopped, Skipped: skipped,
		File: audit.Judge(readErr, x.end != nil, skipped, against)}
	if len(skipped) == 0 { // else that is why
		c.Against = against
	}
	return x.analyzer.Finish(c)
}

// MismatchError says that what a capture says of itself does not fit what it holds.
type MismatchError struct {
	Name string   // of the capture
	Why  []string // a sentence each
}

func (e *MismatchError) Error() string {
	text := e.Name + ": what the capture says of itself does not fit what it holds: " + e.Why[0]
	if n := len(e.Why) - 1; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return text
}

// Ended reports whether reading came to the end of what is there.
func Ended(readErr error) bool {
	return errors.Is(readErr, io.EOF) || errors.Is(readErr, format.ErrTruncated)
}

// ByEnd says what END alone tells of a recording whose events were not read.
func ByEnd(h *format.Header, end *format.End) audit.Recording {
	r := audit.Recording{State: audit.Unchecked, Why: []string{}, Lost: end.Lost, ClosedCleanly: end.Clean,
		CrossCheck: crosscheck.VerdictSilent, Selected: h.Selection.String(), Part: len(h.Cuts) > 0}
	if p := h.Repaired; p != nil {
		r.Why = append(r.Why, "the file was damaged and repaired: parts are missing")
		if p.Ended { // what the repair left out counts as lost
			r.Lost -= min(p.Events, r.Lost)
		}
	}
	if !end.Clean {
		r.Why = append(r.Why, "it was not closed cleanly")
	}
	if r.Lost > 0 {
		r.Why = append(r.Why, humanize.Lost(r.Lost))
		if end.Shed > 0 {
			r.Why = append(r.Why, humanize.Shed(end.Shed))
		}
	}
	for _, t := range end.Totals {
		r.Missed += t.Missed
		if t.Kind == format.Return {
			r.Counted += t.Counted
		}
	}
	if r.Missed > 0 {
		r.Why = append(r.Why, humanize.Missed(r.Missed))
	}
	if r.Lost > 0 || h.Repaired != nil || !end.Clean {
		r.State = audit.Incomplete
	}
	return r
}
