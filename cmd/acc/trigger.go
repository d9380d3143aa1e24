package main

// This file has what dumps a flight recorder: findings of acc analyze, and rates of accept calls.

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// A trigger is a value of --on.
type trigger struct {
	text    string // as it was given
	finding string // the id of one, "" of a rate
	failed  bool   // the rate of failed calls, else of accepted connections
	errno   int32  // of those with this error, 0: any
	above   float64
	times   float64 // above is so many times the mean of what was before
}

const triggerHint = `an id of docs/FINDINGS.md, 'errno=EMFILE rate>10/s', 'failed rate>100/s', 'rate>5000/s' (accepted) or 'rate x3'`

// readTrigger reads a value of --on.
func readTrigger(s string) (t trigger, err error) {
	t.text = s
	if slices.Contains(findings.IDs(), s) {
		t.finding = s
		return t, nil
	}
	wrong := func(text string, args ...any) (trigger, error) {
		return t, &usageError{fmt.Errorf("--on %q: "+text, append([]any{s}, args...)...), triggerHint}
	}
	if !strings.ContainsAny(s, "= >") {
		return t, &usageError{fmt.Errorf("--on %q is no finding of acc analyze", s),
			withNearest(s, findings.IDs(), "docs/FINDINGS.md lists them; or a rate, like 'errno=EMFILE rate>10/s'")}
	}
	for _, word := range strings.Fields(strings.NewReplacer(" > ", ">", " >", ">", "> ", ">", " x ", " x").Replace(s)) {
		switch {
		case word == "failed":
			t.failed = true
		case strings.HasPrefix(word, "errno="):
			name := strings.TrimPrefix(word, "errno=")
			if t.errno = errnoOf(name); t.errno == 0 {
				return wrong("%q is no error that accept gives", name)
			}
			t.failed = true
		case strings.HasPrefix(word, "rate>"):
			number, ok := strings.CutSuffix(strings.TrimPrefix(word, "rate>"), "/s")
			if t.above, err = strconv.ParseFloat(number, 64); !ok || err != nil || !(t.above > 0) || math.IsInf(t.above, 0) {
				return wrong("%q is no rate a second", word)
			}
		case word == "rate":
		case strings.HasPrefix(word, "x"), strings.HasPrefix(word, "ratex"):
			number := strings.TrimPrefix(strings.TrimPrefix(word, "rate"), "x")
			if t.times, err = strconv.ParseFloat(number, 64); err != nil || !(t.times > 1) || math.IsInf(t.times, 0) {
				return wrong("%q is no number of times above 1", word)
			}
		default:
			return wrong("%q is not understood", word)
		}
	}
	if (t.above > 0) == (t.times > 0) {
		return wrong("one rate is needed")
	}
	return t, nil
}

// withNearest is a hint that names what may be meant.
func withNearest(s string, names []string, hint string) string {
	return "the nearest are " + strings.Join(nearest(s, names)[:3], ", ") + "; " + hint
}

// errnoOf is the number of an error by its name, 0 if there is none of that name.
func errnoOf(name string) int32 {
	for n := int32(1); n < 530; n++ {
		if strings.EqualFold(format.ErrnoName(n), name) {
			return n
		}
	}
	return 0
}

// A reason is what a file shows that dumps.
type reason struct{ id, text string }

// What the rates are compared with.
const (
	meanOver  = 600 // seconds at most
	meanLeast = 10  // seconds: before, nothing is so many times as high
	leastMany = 10  // events in a second: fewer are not many times the mean
)

// rateWatch counts for one trigger, second by second of the boot clock, from file to file.
type rateWatch struct {
	trigger
	counts map[int64]float64 // of the file that is read, and of the second in which it began
	next   int64             // the second after those that are in before
	before []float64         // counts of the seconds before, the newest last
}

// seconds is a span of boot time in them.
const second = int64(time.Second)

func (w *rateWatch) add(ns int64, n float64) {
	if w.counts == nil {
		w.counts = map[int64]float64{}
	}
	w.counts[ns/second] += n
}

// event takes an event.
func (w *rateWatch) event(e *format.Event) {
	switch {
	case e.Kind != format.Return || w.failed && !e.Failed() || !w.failed && !e.Accepted():
	case w.errno == 0 || e.Ret == -w.errno:
		w.add(e.BootNS, 1)
	}
}

// counted takes failed calls that have no events, as evenly spread over their time.
func (w *rateWatch) counted(c *format.Counted) {
	if !w.failed || w.errno != 0 && c.Ret != -w.errno || c.FromNS > c.ToNS || c.FromNS < 0 {
		return
	}
	first, last := c.FromNS/second, min(c.ToNS/second, c.FromNS/second+meanOver)
	for s := first; s <= last; s++ {
		w.add(s*second, float64(c.Calls)/float64(last-first+1))
	}
}

// ended ends a file, and says where the rate was above the bound, "" if nowhere. The last second goes on in the next file.
func (w *rateWatch) ended() (why string) {
	if len(w.counts) == 0 {
		return ""
	}
	seconds := make([]int64, 0, len(w.counts))
	for s := range w.counts {
		seconds = append(seconds, s)
	}
	slices.Sort(seconds)
	last := seconds[len(seconds)-1]
	if w.next == 0 {
		w.next = seconds[0]
	}
	for s := max(w.next, last-meanOver); s <= last; s++ { // also those without any
		n := w.counts[s]
		if says := w.exceeds(n); says != "" && why == "" {
			why = says
		}
		if s < last {
			w.before = append(w.before, n)
			w.before = w.before[max(len(w.before)-meanOver, 0):]
		}
	}
	w.counts, w.next = map[int64]float64{last: w.counts[last]}, last
	return why
}

// exceeds says that a count of a second is above the bound, "" if it is not.
func (w *rateWatch) exceeds(n float64) string {
	what := "connections were accepted"
	switch {
	case w.errno != 0:
		what = "calls failed with " + format.ErrnoName(w.errno)
	case w.failed:
		what = "calls failed"
	}
	count := humanize.Count(uint64(n))
	if w.times == 0 {
		if n <= w.above {
			return ""
		}
		return fmt.Sprintf("%s %s in a second", count, what)
	}
	if len(w.before) < meanLeast || n < leastMany {
		return ""
	}
	sum := 0.0
	for _, c := range w.before {
		sum += c
	}
	if mean := sum / float64(len(w.before)); n > w.times*mean {
		return fmt.Sprintf("%s %s in a second; the mean of the %d s before is %.1f", count, what, len(w.before), mean)
	}
	return ""
}
