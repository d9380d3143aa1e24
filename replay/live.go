package replay

// This file reads a live stream that may pause.

import (
	"time"

	"github.com/acc-project/acc/format"
)

// live reads batches from input that can make wait, on a goroutine of its own while there
// is a call of wait.
type live struct {
	r       Reader
	answers chan answer
	asked   bool // the reader was called, and has not answered yet
	waits   []wait
}

type answer struct {
	b   *format.Batch
	err error
}

// wait is a time at which the consumer began to wait for the next batch.
type wait struct {
	since    time.Time
	newestNS int64 // of the events that were read before
}

// waiting are the events that wait for earlier ones.
type waiting struct {
	earliestNS int64
	newestNS   int64 // of all events read
}

// wait gives the next batch, or none once events have waited for it long enough; nil: no
// events wait.
func (l *live) wait(w *waiting) (*format.Batch, error) {
	if !l.asked {
		l.asked = true
		go func() {
			b, err := l.r.Next()
			l.answers <- answer{b, err}
		}()
	}
	if w == nil {
		l.waits = l.waits[:0]
		return l.take(<-l.answers)
	}
	now := time.Now()
	for len(l.waits) > 0 && l.waits[0].newestNS < w.earliestNS {
		l.waits = l.waits[1:]
	}
	// Those of the same moment share a deadline, so that there are few.
	if n := len(l.waits); n == 0 || now.Sub(l.waits[n-1].since) > orderWindow/16 {
		l.waits = append(l.waits, wait{now, w.newestNS})
	} else {
		l.waits[n-1].newestNS = w.newestNS
	}
	select {
	case a := <-l.answers:
		return l.take(a)
	default:
	}
	timer := time.NewTimer(l.waits[0].since.Add(orderWindow).Sub(now))
	defer timer.Stop()
	select {
	case a := <-l.answers:
		return l.take(a)
	case <-timer.C:
		return nil, nil
	}
}

func (l *live) take(a answer) (*format.Batch, error) {
	l.asked = false
	return a.b, a.err
}

// due is up to which time events have waited long enough, after wait gave no batch.
func (l *live) due() int64 {
	upTo := l.waits[0].newestNS
	l.waits = l.waits[1:]
	return upTo
}
