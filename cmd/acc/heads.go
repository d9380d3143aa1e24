package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/acc-project/acc/format"
)

// wantedHead is a head of a chain that was kept elsewhere.
type wantedHead struct {
	capture string // id of the capture it is of, "" of any
	frame   int64  // number of the frame, -1 unknown
	events  uint64 // in the capture up to it, 0 unknown
	head    string
	found   *headResult
	other   bool // the frame is there and has another head
}

// headResult is what became of it.
type headResult struct {
	Head   string `json:"head"`   // chain head that was asked for, hexadecimal
	Frame  int64  `json:"frame"`  // its number, -1 unknown
	Status string `json:"status"` // found, differs (the frame is there and is another), missing, or unconfirmed: damage or a repair leaves it open
	Found  bool   `json:"found"`  // everything up to it is as it was then
	Bytes  int64  `json:"bytes"`  // of the capture up to it, 0 if it was not found
	Events uint64 `json:"events"` // in the capture up to it, 0 if it was not found
}

const (
	headFound       = "found"
	headDiffers     = "differs"
	headMissing     = "missing"
	headUnconfirmed = "unconfirmed"
)

// checkpointLine is a line of record --checkpoint, wherever a log put it.
var checkpointLine = regexp.MustCompile(`checkpoint capture=(\S+) frame=(\d+) bytes=(\d+) events=(\d+) head=([0-9a-f]{64})`)

// appendCheckpoint appends the line that checkpointLine reads.
func appendCheckpoint(dst []byte, id string, c format.Checkpoint) []byte {
	return fmt.Appendf(dst, "checkpoint capture=%s frame=%d bytes=%d events=%d head=%x", id, c.Frame, c.Bytes, c.Events, c.Head)
}

// headsOf reads the heads of --head and --checkpoints, and says what it passes over.
func headsOf(errOut io.Writer, args []string, checkpoints string) ([]wantedHead, error) {
	var want []wantedHead
	for _, a := range args {
		w := wantedHead{frame: -1, head: strings.ToLower(a)}
		if frame, head, ok := strings.Cut(a, ":"); ok {
			n, err := strconv.ParseUint(frame, 10, 32)
			if err != nil {
				return nil, &usageError{fmt.Errorf("--head %q: the frame is not a number", a), "like --head 12:HEX"}
			}
			w.frame, w.head = int64(n), strings.ToLower(head)
		}
		if b, err := hex.DecodeString(w.head); err != nil || len(b) != 32 {
			return nil, &usageError{fmt.Errorf("--head %q is not 64 hexadecimal digits", a), "acc verify prints the head of a capture"}
		}
		want = append(want, w)
	}
	if checkpoints == "" {
		return want, nil
	}
	in := io.Reader(os.Stdin)
	if checkpoints != "-" {
		f, err := os.Open(checkpoints)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	kept, bad, err := readCheckpoints(in)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", inputName(checkpoints), err)
	}
	if bad > 0 {
		fmt.Fprintf(errOut, "acc: %s: lines passed over that look like a checkpoint and can't be read, or are too long to tell: %d\n",
			format.Quote(inputName(checkpoints)), bad)
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("read %s: no line of a checkpoint is in it", inputName(checkpoints))
	}
	return append(want, kept...), nil
}

// maxLogLine is how much of a line of a log is looked at.
const maxLogLine = 64 << 10

// readCheckpoints takes the heads out of a log, in which anyone may have written.
// Bad is how many lines look like a checkpoint and are none, or are too long to tell.
func readCheckpoints(in io.Reader) (kept []wantedHead, bad int, err error) {
	lines := bufio.NewReaderSize(in, maxLogLine)
	for {
		line, more, err := lines.ReadLine()
		if errors.Is(err, io.EOF) {
			return kept, bad, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if w, ok := checkpointOf(line); ok {
			kept = append(kept, w)
		} else if more || bytes.Contains(line, []byte("checkpoint capture=")) {
			bad++
		}
		for more && err == nil { // the rest of a long line; its error comes again
			_, more, err = lines.ReadLine()
		}
	}
}

// checkpointOf reads one line of a log.
func checkpointOf(line []byte) (w wantedHead, ok bool) {
	m := checkpointLine.FindSubmatch(line)
	if m == nil {
		return w, false
	}
	frame, err1 := strconv.ParseUint(string(m[2]), 10, 32)
	events, err2 := strconv.ParseUint(string(m[4]), 10, 64)
	w = wantedHead{capture: string(m[1]), frame: int64(frame), events: events, head: string(m[5])}
	return w, err1 == nil && err2 == nil
}

// seen notes which wanted heads a frame of the capture answers.
func seen(want []wantedHead, id string, b *format.Batch, events uint64) {
	head := ""
	for i := range want {
		w := &want[i]
		if w.frame >= 0 && w.frame != int64(b.Frame) || w.capture != "" && w.capture != id || w.found != nil {
			continue
		}
		if head == "" {
			head = hex.EncodeToString(b.Chain[:])
		}
		if w.head == head {
			w.found = &headResult{Head: head, Frame: int64(b.Frame), Status: headFound, Found: true, Bytes: b.Offset + b.Bytes, Events: events}
		} else {
			w.other = w.other || w.frame >= 0
		}
	}
}

// judgeHeads holds the capture against the wanted heads. What damage, a cut or a
// repair leaves open is not confirmed; it accuses nobody.
func (v *verified) judgeHeads(want []wantedHead) {
	mine, open, last := 0, 0, -1 // last: of those that are open, the one of the latest frame
	for i := range want {
		w := &want[i]
		if w.capture != "" && w.capture != v.ID {
			continue
		}
		mine++
		result := headResult{Head: w.head, Frame: w.frame, Status: headMissing}
		switch {
		case w.found != nil:
			result = *w.found
		case v.Repaired != nil, !w.other && !v.unbroken:
			result.Status = headUnconfirmed
			open++
			if last < 0 || w.frame > want[last].frame {
				last = i
			}
		case w.other:
			result.Status = headDiffers
			v.forge("frame %d has another head than the one that was kept: it, or something before it, was changed", w.frame)
		case w.frame >= 0:
			v.forge("frame %d was written and is missing, yet the capture has an end: it was cut and closed anew", w.frame)
		default:
			v.forge("the kept head %.16s… is not in the capture", w.head)
		}
		v.Heads = append(v.Heads, result)
		w.found, w.other = nil, false // the next file is another one
	}
	switch {
	case open > 0 && v.Repaired != nil:
		v.unconfirm(fmt.Sprintf("it is repaired: the kept heads are of the original (sha256 %s): verify that", v.Repaired.SHA256))
	case open > 0 && len(v.Skipped) > 0:
		v.Why = append(v.Why, fmt.Sprintf("%d of %d kept heads can't be confirmed: the chain is broken at byte %d", open, mine, v.Skipped[0].Offset))
	case open > 0 && want[last].events > 0:
		v.Why = append(v.Why, fmt.Sprintf("frame %d was written and is missing: the capture had at least %d events", want[last].frame, want[last].events))
	case open > 0 && want[last].frame >= 0:
		v.Why = append(v.Why, fmt.Sprintf("frame %d was written and is missing", want[last].frame))
	case open > 0:
		v.Why = append(v.Why, fmt.Sprintf("the kept head %.16s… can't be confirmed: it is not in what is left of the capture", want[last].head))
	case mine == 0 && len(want) > 0 && v.ID == "" && v.Capture != "whole" && v.Capture != "unclean":
		v.Why = append(v.Why, "no kept head can be confirmed: the header, which says what capture it is, is damaged")
	case mine == 0 && len(want) > 0:
		v.unconfirm("no head of this capture was kept: none of those that are given is of it")
	}
}
