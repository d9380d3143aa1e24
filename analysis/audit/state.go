package audit

// This file says in which state a file and a recording are.

import (
	"errors"
	"fmt"
	"io"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// States of a file.
const (
	Intact    = "intact"    // every frame, END, index and tail are there and fit
	Truncated = "truncated" // it stops before its end
	Corrupt   = "corrupt"   // it holds what its recorder did not write
	Altered   = "altered"   // it fits, but is not what was signed, or not what a kept chain head says

	Unreadable = "unreadable" // reading it failed

	Unchecked = "unchecked" // its beginning, end and index fit; the rest was not read
)

// States of a recording; it can be Unchecked, too.
const (
	Complete   = "complete"   // nothing was lost or missed
	Incomplete = "incomplete" // something is not in it
)

// File says whether a capture's file is as its recorder wrote it.
type File struct {
	// intact, or damaged: truncated, corrupt, or altered (by verify); unreadable; unchecked: info read the index alone
	State string   `json:"state"`
	Why   []string `json:"why"` // what is wrong, a sentence each
}

// Recording says whether what happened while recording is in the capture.
type Recording struct {
	State string   `json:"state"` // complete or incomplete; unchecked: info read the index alone
	Why   []string `json:"why"`   // what is missing, a few words each
	// events that the ring buffer, or the disk, had no room for: without what a repair left out
	Lost uint64 `json:"lost"`
	// hits that the kernel did not run a probe for: without ends of connections that were nobody's here
	Missed uint64 `json:"missed"`
	// failed calls that were counted instead of recorded one by one: with these, all are accounted for
	Counted       uint64 `json:"counted"`
	ClosedCleanly bool   `json:"closed_cleanly"` // END is there, and says that everything seen was written or counted
	Selected      string `json:"selected"`       // what was to be recorded, in words; "": everything
	Part          bool   `json:"part"`           // the capture is a cut: all of this is of that part of the recording
	CrossCheck    string `json:"cross_check"`    // verdict of the cross-check with the kernel's counters
}

// maxPlaces is how many places of damage are named.
const maxPlaces = 20

// Judge says in which state a file is: from what ended reading it, whether its END is
// there, what a salvaging reader skipped, and the contradictions of its Account.
func Judge(readErr error, ended bool, skipped []format.Skip, against []string) File {
	f := File{State: Intact, Why: []string{}}
	corrupt := new(format.CorruptError)
	for i, s := range skipped {
		if i == maxPlaces {
			f.Why = append(f.Why, "and in "+humanize.Plural(uint64(len(skipped)-i), "more place"))
			break
		}
		f.Why = append(f.Why, fmt.Sprintf("at byte %d, %s: %s", s.Offset, humanize.LeftOut(s.Bytes, 0, s.Events),
			s.Reason))
	}
	f.Why = append(f.Why, against...)
	switch {
	case len(f.Why) > 0:
		f.State = Corrupt
	case errors.As(readErr, &corrupt):
		f.State, f.Why = Corrupt, append(f.Why, corrupt.Error())
	case errors.Is(readErr, format.ErrTruncated):
		f.State, f.Why = Truncated, append(f.Why, readErr.Error())
	case !ended && (readErr == nil || errors.Is(readErr, io.EOF)):
		f.State, f.Why = Truncated, append(f.Why, "it has no end")
	case readErr != nil && !errors.Is(readErr, io.EOF):
		f.State, f.Why = Unreadable, append(f.Why, readErr.Error())
	}
	return f
}
