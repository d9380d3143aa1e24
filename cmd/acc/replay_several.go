package main

// This file replays captures of several hosts together.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay"
)

// maxReplayed is how many captures are replayed together: each takes some 10 MB of memory.
const maxReplayed = 64

// replaySeveral replays several captures together.
func (o *replayOptions) replaySeveral(ctx context.Context, out, errOut io.Writer, ins []*input,
	play replay.PlayOptions) error {
	if len(ins) > maxReplayed {
		return &usageError{fmt.Errorf("%d captures are too many to be replayed together: %d are the most", len(ins), maxReplayed),
			"name fewer; acc export reads any number"}
	}
	for _, in := range ins {
		if in.file == os.Stdin {
			return &usageError{errors.New("standard input can't be one of several captures"), "save it first: cat >incident.acc"}
		}
	}
	width := widthOf(out)
	if !o.json {
		out = textOut(out)
	}
	w := bufio.NewWriterSize(out, 64<<10)
	list := make([]*replayer, len(ins))
	day := ""
	for i, in := range ins {
		list[i] = &replayer{o: *o, in: in, errOut: errOut, day: &day, w: w, width: width, number: i + 1}
		if err := list[i].open(ctx); err != nil {
			return err
		}
	}
	if err := o.together(list); err != nil {
		return err
	}
	if !o.json {
		if err := headSeveral(w, list); err != nil {
			return err
		}
	}
	if err := list[0].filtered(); err != nil {
		return err
	}
	sources := make([]replay.Source, len(list))
	for i, r := range list {
		if err := r.begin(); err != nil {
			return err
		}
		sources[i] = replay.Source{Reader: r.source, Clocks: r.source.clocks, Boot: bootOf(r.in.Header())}
	}
	play.Idle = w.Flush
	ended, err := replay.PlaySeveral(ctx, sources, play, func(i int, b *format.Batch) error { return list[i].batch(b) },
		func(m *replay.Moment) error { return list[m.Source].event(m.Event, m) })
	stopped := errors.Is(err, errUntil)
	for _, r := range list {
		if noteErr := r.note(math.MaxInt64); !stopped && noteErr != nil {
			return noteErr
		}
	}
	if flushErr := w.Flush(); flushErr != nil {
		return flushErr
	}
	switch {
	case ctx.Err() != nil:
		return exited(130)
	case err != nil && !stopped:
		return err
	}
	worst := exitOK
	for i, r := range list {
		if err := ended[i]; err == nil {
			ended[i] = errUntil
		}
		if err := r.conclude(ended[i]); err != nil {
			worst = max(worst, exitCode(err, errOut))
		}
	}
	if worst != exitOK {
		return exited(worst)
	}
	return nil
}

// together gives captures that are replayed together one zone, labels of one width, and one meaning of --from 90s: after
// the start of the first.
func (o *replayOptions) together(list []*replayer) error {
	first, zone, widest := startOf(list[0].in.Start()), list[0].in.Header().ZoneSec, 0
	hosts := map[string]int{}
	for _, r := range list {
		h := r.in.Header()
		if start := startOf(r.in.Start()); start.Before(first) {
			first = start
		}
		if h.ZoneSec != zone {
			zone = 0
		}
		hosts[h.Host]++
	}
	for _, r := range list {
		host := r.in.Header().Host
		if r.label = format.Quote(host); hosts[host] > 1 || host == "" {
			r.label += "#" + strconv.Itoa(r.number)
		}
		widest = max(widest, utf8.RuneCountInString(r.label))
		r.errOut = &labelledErrors{r.errOut, r.label}
		r.zone, r.host = o.zone(zone), ""
		for _, t := range []*string{&r.o.from, &r.o.until} {
			if d, err := durationOf("", *t); *t != "" && err == nil {
				*t = first.Add(d).Format(time.RFC3339Nano)
			}
		}
		if r.o.from != "" && r.o.until != "" {
			from, err1 := time.Parse(time.RFC3339Nano, r.o.from)
			until, err2 := time.Parse(time.RFC3339Nano, r.o.until)
			if err1 == nil && err2 == nil && until.Before(from) {
				return &usageError{errors.New("--until is before --from"), "both are after the start of the first recording"}
			}
		}
	}
	for _, r := range list {
		r.widest = widest + 2
	}
	return nil
}

// labelledErrors writes messages that say which capture they are of.
type labelledErrors struct {
	io.Writer
	label string
}

func (l *labelledErrors) Write(b []byte) (int, error) {
	_, err := l.Writer.Write(bytes.Replace(b, []byte("acc: "), []byte("acc: "+l.label+": "), 1))
	return len(b), err
}

// headSeveral says what is replayed, and what is known of the order.
func headSeveral(w io.Writer, list []*replayer) error {
	hosts := &hostClocks{}
	for _, r := range list {
		end := (*format.End)(nil)
		if frames, err := format.ReadIndex(r.in.source, r.in.bytes); err == nil {
			end = &format.End{Clock: r.in.endClock(frames)}
		}
		hosts.add(r.in.name, r.in.Start(), end)
		for _, line := range report.Notices(r.in.Header().Redacted, r.in.Header().Cuts) {
			if _, err := fmt.Fprintf(w, "%s: %s\n", r.label, line); err != nil {
				return err
			}
		}
	}
	lines := hosts.lines(func(int) *time.Location { return list[0].zone })
	_, err := fmt.Fprintf(w, "%s\n", strings.Join(lines, "\n"))
	return err
}

// labelled appends a line with the capture that it is of.
func (r *replayer) labelled(dst, line []byte) []byte {
	if !r.o.json {
		dst = append(dst, r.label...)
		for n := utf8.RuneCountInString(r.label); n < r.widest; n++ {
			dst = append(dst, ' ')
		}
		return append(dst, line...)
	}
	return append(appendSourceJSON(dst, r.number, r.in.Header().Host), line[1:]...)
}

// appendSourceJSON begins the object of a line of several captures.
func appendSourceJSON(dst []byte, number int, host string) []byte {
	dst = strconv.AppendInt(append(dst, `{"source":`...), int64(number), 10)
	return append(format.AppendJSONString(append(dst, `,"host":`...), host), ',')
}

// appendOrder appends to a line what is not known of its order.
func appendOrder(line []byte, m *replay.Moment) []byte {
	if m.Unknown > 0 { // of a clock that is not synchronised, the beginning says it once
		line = append(line, "  order unknown ± "+report.Duration(int64(m.Unknown))...)
	}
	return line
}

// appendOrderJSON appends by how much the time of a line can be wrong, and its order unknown.
func appendOrderJSON(line []byte, m *replay.Moment) []byte {
	line = line[:len(line)-1]
	if m.Within >= 0 {
		line = strconv.AppendInt(append(line, `,"clock_err_ns":`...), int64(m.Within), 10)
	}
	if m.Unknown > 0 {
		line = strconv.AppendInt(append(line, `,"order_unknown_ns":`...), int64(m.Unknown), 10)
	}
	return append(line, '}')
}
