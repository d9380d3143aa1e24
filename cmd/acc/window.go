package main

// This file chooses what lists have by its time: --from and --until of analyze.

import (
	"errors"
	"fmt"
	"time"

	"github.com/acc-project/acc/format"
)

// window is a time of a capture; a zero time leaves that side open.
type window struct{ from, until time.Time }

// window reads --from and --until.
func (in *input) window(from, until string) (w window, err error) {
	if from == "" && until == "" {
		return w, nil
	}
	if !in.Clock().Known() {
		return w, &hinted{fmt.Errorf("%s: --from and --until need a clock, and that of the capture is lost with its "+
			"header", in.name), "without them, all is listed"}
	}
	end := format.Clock{}
	if in.bytes > 0 {
		if frames, err := format.ReadIndex(in.source, in.bytes); err == nil {
			end = in.endClock(frames)
		}
	}
	if from != "" {
		if w.from, err = timeOf("--from", from, in.Start(), end, in.zone); err != nil {
			return w, err
		}
	}
	if until != "" {
		if w.until, err = timeOf("--until", until, in.Start(), end, in.zone); err != nil {
			return w, err
		}
	}
	if until != "" && w.until.Before(w.from) {
		return w, &usageError{errors.New("--until is before --from"),
			"times of the day are in the zone in which they are shown: the recorded host's, or that of --utc or " +
				"--local"}
	}
	return w, nil
}

// has reports whether any of what lies between two boot times is in the window.
func (w *window) has(clocks *format.Clocks, beganNS, endedNS int64) bool {
	return (w.from.IsZero() || !clocks.Time(endedNS).Before(w.from)) &&
		(w.until.IsZero() || !clocks.Time(beganNS).After(w.until))
}
