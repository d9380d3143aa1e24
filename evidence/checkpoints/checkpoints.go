// Package checkpoints writes and reads the chain heads that acc record --checkpoint
// leaves in a log, a line for each: whoever can change the capture need not be able to change
// the log. Other programs write to a log, too. A line counts only if the log's own fields say
// that acc wrote it; how much that proves depends on the log, see [Form].
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package checkpoints

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/acc-project/acc/format"
)

// Line is one checkpoint: everything up to a frame of a capture was written when it was.
type Line struct {
	Capture string // id of the capture
	Frame   int64  // number of the frame
	Bytes   int64  // of the capture up to its end
	Events  uint64 // in the capture up to its end
	Head    [32]byte
	Writer  Writer
}

// Writer is who wrote a line, as far as the log says.
type Writer struct {
	PID  string // "" if the log does not say
	UID  string // the same; of a journal in JSON only
	Exe  string // the same
	Boot string // the same
}

func (w Writer) String() string {
	switch {
	case w.UID != "":
		return fmt.Sprintf("%s, pid %s, user %s", w.Exe, w.PID, w.UID)
	case w.PID != "":
		return "pid " + w.PID
	}
	return "somebody"
}

// Form is how a log is written, and so what its lines prove, the most first.
type Form string

const (
	// Journal is journalctl -o json: journald asks the kernel who sent a message, so no
	// other user can write in the name of root's acc.
	Journal Form = "journal"
	// Syslog is text with time, host and tag: any user of the host can choose the tag.
	Syslog Form = "syslog"
	// Output is acc's standard error, in a file or in the logs of a container: whoever
	// may write there can write such a line.
	Output Form = "output"
)

// Log is what a log has of checkpoints.
type Log struct {
	Form   Form
	Lines  []Line
	Others int // lines that contain a checkpoint, and that acc did not write, or not like the rest
	First  int // number of the first of them, from 1
	Cut    int // lines that are too long to tell
}

// Limits of what is read.
const (
	maxLine  = 64 << 10
	maxLines = 500_000
)

// ErrExport says that a log can't be read without a doubt who wrote what.
var ErrExport = errors.New("journalctl's export format is not read: a message in it can pass for another line")

var errMany = fmt.Errorf("more than %d checkpoints", maxLines)

// text is what acc writes. A log may hold no more and no less in the message.
var text = lazy(`^checkpoint capture=(\S{1,64}) frame=(\d{1,10}) bytes=(\d{1,19}) events=(\d{1,20}) head=([0-9a-f]{64})$`)

// Append appends the line of a checkpoint, without a line feed.
func Append(dst []byte, id string, c format.Checkpoint) []byte {
	return fmt.Appendf(dst, "checkpoint capture=%s frame=%d bytes=%d events=%d head=%x", id, c.Frame, c.Bytes, c.Events,
		c.Head)
}

// Read takes the checkpoints out of a log. If it has lines of several forms, those
// that prove the most count, and the rest are others.
func Read(in io.Reader) (*Log, error) {
	forms := map[Form][]Line{}
	first := map[Form]int{}
	l := &Log{}
	lines := bufio.NewReaderSize(in, maxLine)
	total := 0
	for n := 1; ; n++ {
		line, more, err := lines.ReadLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(line, []byte("__CURSOR=")) {
			return nil, ErrExport
		}
		switch c, form, ok := parse(line); {
		case more:
			l.Cut++
		case ok:
			if forms[form] = append(forms[form], c); len(forms[form]) == 1 {
				first[form] = n
			}
			if total++; total > maxLines {
				return nil, errMany
			}
		case bytes.Contains(line, []byte("checkpoint capture=")):
			l.other(1, n)
		}
		for more && err == nil { // the rest of a long line; its error comes again
			_, more, err = lines.ReadLine()
		}
	}
	for _, form := range []Form{Journal, Syslog, Output} {
		switch {
		case len(forms[form]) == 0:
		case l.Form == "":
			l.Form, l.Lines = form, forms[form]
		default:
			l.other(len(forms[form]), first[form])
		}
	}
	return l, nil
}

// other counts lines that do not count, the first of which has a number.
func (l *Log) other(lines, first int) {
	l.Others += lines
	if l.First == 0 || first < l.First {
		l.First = first
	}
}

// parseText reads the text of a message.
func parseText(message string, w Writer) (c Line, ok bool) {
	m := text().FindStringSubmatch(message)
	if m == nil {
		return c, false
	}
	frame, err1 := strconv.ParseUint(m[2], 10, 32)
	size, err2 := strconv.ParseInt(m[3], 10, 64)
	events, err3 := strconv.ParseUint(m[4], 10, 64)
	c = Line{Capture: m[1], Frame: int64(frame), Bytes: size, Events: events, Writer: w}
	_, err4 := hex.Decode(c.Head[:], []byte(m[5]))
	return c, errors.Join(err1, err2, err3, err4) == nil
}
