package evidence

// This file holds a capture against chain heads that were kept elsewhere.

import (
	"cmp"
	"encoding/hex"
	"fmt"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/evidence/checkpoints"
	"github.com/acc-project/acc/format"
)

// wantedHead is a head of a chain that was kept elsewhere.
type wantedHead struct {
	frame  int64  // number of the frame, -1 unknown
	events uint64 // in the capture up to it, 0 unknown
	bytes  int64  // of the capture up to it, 0 unknown
	head   string
	logged bool // by a log, not by --head
	found  *HeadResult
	other  bool  // the frame is there and has another head
	at     int64 // the frame that has the head, of one that was given by hand with a number; -1: none
}

// HeadResult is what became of it.
type HeadResult struct {
	Head  string `json:"head"`  // chain head that was asked for, hexadecimal
	Frame int64  `json:"frame"` // its number, -1 unknown
	// found, differs (the frame is there and is another), missing, or unconfirmed: damage, a repair or a log that
	// contradicts itself leaves it open
	Status string `json:"status"`
	Found  bool   `json:"found"`  // everything up to it is as it was then
	Bytes  int64  `json:"bytes"`  // of the capture up to it, 0 if it was not found
	Events uint64 `json:"events"` // in the capture up to it, 0 if it was not found
}

// What became of heads.
const (
	HeadFound       = "found"
	HeadDiffers     = "differs"
	HeadMissing     = "missing"
	HeadUnconfirmed = "unconfirmed"
)

// LogResult is what the log of --checkpoints is worth.
type LogResult struct {
	// journal (journalctl -o json: the kernel says who wrote), syslog (any user of the host can write such a line) or
	// output (whoever may write there can)
	Form        string `json:"form"`
	Checkpoints int    `json:"checkpoints"` // lines of this capture that count
	// lines of any capture that contain a checkpoint, and that acc did not write as far as the log says
	Others         int      `json:"others"`
	Writer         string   `json:"writer"`         // who wrote the first of them, "" if the log does not say
	Contradictions []string `json:"contradictions"` // what in it can't all be acc's; empty: nothing
}

// Kept are chain heads of captures that were kept elsewhere: single ones, and those of a log.
type Kept struct {
	Heads []Head
	Log   *checkpoints.Log // nil: none
}

// Head is a chain head: the hash of all that a capture had up to the end of a frame.
type Head struct {
	Frame int64  // number of the frame, -1: not known
	Hex   string // 64 digits, lower case
}

// wanted are the heads that are looked for in one capture.
type wanted struct {
	heads    []wantedHead
	numbered []int           // places in heads of those that were given by hand with a number: easily one too large
	frames   map[int64][]int // places in heads, by frame, -1: any
}

// of gives what is wanted of a capture, and what the log is worth for it.
func (k *Kept) of(id string) (*wanted, *LogResult) {
	w := &wanted{frames: map[int64][]int{}}
	var r *LogResult
	if k == nil {
		return w, r
	}
	for _, h := range k.Heads {
		if h.Frame >= 0 {
			w.numbered = append(w.numbered, len(w.heads))
		}
		w.heads = append(w.heads, wantedHead{frame: h.Frame, head: h.Hex, at: -1})
	}
	if k.Log != nil {
		lines, against, passed := k.Log.Of(id)
		r = &LogResult{Form: string(k.Log.Form), Checkpoints: len(lines), Others: k.Log.Others + passed,
			Contradictions: append([]string{}, against...)}
		for i, c := range lines {
			if i == 0 && c.Writer.PID != "" {
				r.Writer = c.Writer.String()
			}
			w.heads = append(w.heads, wantedHead{frame: c.Frame, events: c.Events, bytes: c.Bytes, at: -1,
				head: hex.EncodeToString(c.Head[:]), logged: true})
		}
	}
	for i, h := range w.heads {
		w.frames[h.frame] = append(w.frames[h.frame], i)
	}
	return w, r
}

// seen notes which wanted heads a frame of the capture answers.
func (w *wanted) seen(b *format.Batch, events uint64) {
	head := ""
	for _, i := range w.numbered {
		if head = cmp.Or(head, hex.EncodeToString(b.Chain[:])); w.heads[i].head == head {
			w.heads[i].at = int64(b.Frame)
		}
	}
	for _, places := range [][]int{w.frames[int64(b.Frame)], w.frames[-1]} {
		for _, i := range places {
			h := &w.heads[i]
			if h.found != nil {
				continue
			}
			if head == "" {
				head = hex.EncodeToString(b.Chain[:])
			}
			if h.head == head {
				h.found = &HeadResult{Head: head, Frame: int64(b.Frame), Status: HeadFound, Found: true,
					Bytes: b.Offset + b.Bytes, Events: events}
			} else {
				h.other = h.other || h.frame >= 0
			}
		}
	}
}

// contradicted adds to the log what contradicts it in the capture: a head that is found
// vouches for everything before it, also for the heads of it. last is its last frame.
func (w *wanted) contradicted(r *LogResult, last int64) {
	newest := int64(-1)
	for _, h := range w.heads {
		if h.found != nil {
			newest = max(newest, h.found.Frame)
		}
	}
	for _, h := range w.heads {
		switch {
		case !h.logged:
		case h.found != nil && (h.found.Bytes != h.bytes && h.found.Frame != last || h.found.Events != h.events):
			// the index is behind the last
			r.Contradictions = append(r.Contradictions,
				fmt.Sprintf("frame %d has its chain head, but ends at byte %d after %d events, not at byte %d after %d",
					h.frame, h.found.Bytes, h.found.Events, h.bytes, h.events))
		case h.found == nil && h.frame < newest:
			r.Contradictions = append(r.Contradictions,
				fmt.Sprintf("frame %d has another chain head than its line says, and the kept chain head of frame %d "+
					"vouches for it", h.frame, newest))
		}
	}
}

// judgeHeads holds the capture against the wanted heads. What damage, a cut, a repair or
// a log that contradicts itself leaves open is not confirmed; it accuses nobody.
func (v *Verification) judgeHeads(w *wanted, log *LogResult) {
	if log != nil {
		w.contradicted(log, int64(v.Frames)-1)
		v.Log = log
	}
	doubtful := log != nil && len(log.Contradictions) > 0
	open := 0
	var last, differs, cut, lost, misplaced *wantedHead // open: that of the latest frame; else the first
	counts := map[**wantedHead]int{}
	note := func(p **wantedHead, h *wantedHead) {
		*p = cmp.Or(*p, h)
		counts[p]++
	}
	for i := range w.heads {
		h := &w.heads[i]
		result := HeadResult{Head: h.head, Frame: h.frame, Status: HeadMissing}
		switch {
		case h.found != nil:
			result = *h.found
		case h.at >= 0 && v.Repaired == nil:
			result.Status = HeadUnconfirmed
			note(&misplaced, h)
		case h.logged && doubtful:
			result.Status = HeadUnconfirmed
		case v.Repaired != nil, !h.other && !v.unbroken:
			result.Status = HeadUnconfirmed
			open++
			if last == nil || h.frame > last.frame {
				last = h
			}
		case h.other:
			result.Status = HeadDiffers
			note(&differs, h)
		case h.frame >= 0:
			note(&cut, h)
		default:
			note(&lost, h)
		}
		v.Heads = append(v.Heads, result)
	}
	more := func(p **wantedHead) string {
		if n := counts[p]; n > 1 {
			return fmt.Sprintf("; the same of %s", humanize.Plural(uint64(n-1), "more kept chain head"))
		}
		return ""
	}
	if differs != nil {
		v.forge("frame %d has another chain head than the kept one: it, or something before it, was changed%s",
			differs.frame, more(&differs))
	}
	if misplaced != nil {
		v.unconfirm(fmt.Sprintf("the chain head that was given for frame %d is that of frame %d: frames count from 0%s",
			misplaced.frame, misplaced.at, more(&misplaced)))
	}
	if cut != nil {
		v.forge("frame %d was written and is missing, yet the capture has an end: it was cut and closed anew%s",
			cut.frame, more(&cut))
	}
	if lost != nil {
		v.forge("the kept chain head %.16s… is not in the capture%s", lost.head, more(&lost))
	}
	if log != nil && (differs != nil && differs.logged || cut != nil && cut.logged) &&
		log.Form != string(checkpoints.Journal) {
		v.Why = append(v.Why, "or someone else wrote such a line into the log, which does not prove who wrote it: "+
			"journalctl -t acc -o json does")
	}
	if doubtful {
		why := fmt.Sprintf("the log contradicts itself, so not all of it is acc's: %s", log.Contradictions[0])
		if n := len(log.Contradictions); n > 1 {
			why += fmt.Sprintf("; and %s", humanize.Plural(uint64(n-1), "more contradiction"))
		}
		v.unconfirm(why)
	}
	v.openHeads(w, open, last)
}

// openHeads says why heads are not confirmed, open of them, of which last is of the
// latest frame, or why there are none.
func (v *Verification) openHeads(w *wanted, open int, last *wantedHead) {
	asked := len(w.heads) > 0 || v.Log != nil
	switch {
	case open > 0 && v.Repaired != nil:
		v.unconfirm(fmt.Sprintf("it is repaired: the kept chain heads are of the original (sha256 %s): verify that",
			v.Repaired.SHA256))
	case open > 0 && len(v.Skipped) > 0:
		v.Why = append(v.Why, fmt.Sprintf("%d of %d kept chain heads can't be confirmed: "+
			"the chain is broken at byte %d", open, len(w.heads), v.Skipped[0].Offset))
	case open > 0 && last.events > 0:
		v.Why = append(v.Why, fmt.Sprintf("frame %d was written and is missing: the capture had at least %d events",
			last.frame, last.events))
	case open > 0 && last.frame >= 0:
		v.Why = append(v.Why, fmt.Sprintf("frame %d was written and is missing", last.frame))
	case open > 0:
		v.Why = append(v.Why, fmt.Sprintf("the kept chain head %.16s… can't be confirmed: it is not in what is left "+
			"of the capture", last.head))
	case asked && len(w.heads) == 0 && v.ID == "" && v.Capture != audit.Intact && v.Capture != Unclean:
		v.Why = append(v.Why, "no kept chain head can be confirmed: the header, which says what capture it is, is "+
			"damaged")
	case asked && len(w.heads) == 0:
		v.unconfirm("none of the chain heads that are given is of this capture")
	}
}
