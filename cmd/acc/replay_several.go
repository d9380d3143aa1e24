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
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay"
)

// maxReplayed is how many captures are replayed together: each takes some 15 MB of memory.
const maxReplayed = 32

// replaySeveral replays several captures together.
func (o *replayOptions) replaySeveral(ctx context.Context, out, errOut io.Writer, ins []*input,
	play replay.PlayOptions) error {
	if len(ins) > maxReplayed {
		return &usageError{fmt.Errorf("%d captures are too many to be replayed together: %d are the most", len(ins),
			maxReplayed), "name fewer; acc export reads any number"}
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
	var list []*replayer
	day, worst := "", exitOK
	for _, in := range ins {
		r := &replayer{o: *o, in: in, errOut: errOut, day: &day, w: w, width: width, number: in.number}
		in.beside = true
		if err := r.open(ctx); err != nil { // the others can be read
			worst = max(worst, exitCode(err, errOut))
			continue
		}
		list = append(list, r)
	}
	if len(list) == 0 || ctx.Err() != nil {
		return exited(worst)
	}
	if err := o.together(list); err != nil {
		return err
	}
	sayGaps(errOut, list)
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
	stopped := make([]bool, len(list))
	ended, err := replay.PlaySeveral(ctx, sources, play, func(i int, b *format.Batch) error { return list[i].batch(b) },
		func(m *replay.Moment) error {
			err := list[m.Source].event(m.Event, m)
			if errors.Is(err, errUntil) {
				if stopped[m.Source] = true; slices.Contains(stopped, false) { // the others may have events before their time
					return nil
				}
			}
			return err
		})
	for i, r := range list {
		if stopped[i] {
			continue
		}
		if err := r.note(math.MaxInt64); err != nil {
			return err
		}
	}
	if flushErr := w.Flush(); flushErr != nil {
		return flushErr
	}
	switch {
	case ctx.Err() != nil:
		return exited(130)
	case err != nil && !errors.Is(err, errUntil):
		return err
	}
	for i, r := range list {
		if stopped[i] {
			ended[i] = errUntil
		}
		if err := r.conclude(ended[i]); err != nil {
			worst = max(worst, exitCode(err, errOut))
		}
	}
	if i := slices.Index(stopped, true); i >= 0 {
		fmt.Fprintf(errOut, "acc: stopped at %s as %s says; what follows was not read\n",
			list[i].until.In(list[i].zone).Format(fromLayout), list[i].o.stops())
	}
	if worst != exitOK {
		return exited(worst)
	}
	return nil
}

// together gives captures that are replayed together one zone, labels of one width, and one meaning of --from and
// --until: that for the one that began first.
func (o *replayOptions) together(list []*replayer) error {
	first, zone, widest := list[0], list[0].in.Header().ZoneSec, 0
	hosts := map[string]int{}
	for _, r := range list {
		h := r.in.Header()
		if startOf(r.in.Start()).Before(startOf(first.in.Start())) {
			first = r
		}
		if h.ZoneSec != zone {
			zone = 0
		}
		hosts[h.Host]++
	}
	from, err := o.absolute("--from", o.from, first.in, zone)
	if err != nil {
		return err
	}
	until, err := o.absolute("--until", o.until, first.in, zone)
	if err != nil {
		return err
	}
	for _, r := range list {
		host := r.in.Header().Host
		if r.label = format.Quote(host); hosts[host] > 1 || host == "" {
			r.label += "#" + strconv.Itoa(r.number)
		}
		widest = max(widest, utf8.RuneCountInString(r.label))
		r.errOut = &labelledErrors{r.errOut, r.label}
		r.zone, r.host, r.o.from, r.o.until = o.zone(zone), "", from, until
	}
	for _, r := range list {
		r.widest = widest + 2
	}
	return nil
}

// absolute makes a time of the command line one with date and zone; "" stays.
func (o *replayOptions) absolute(flag, s string, in *input, zone int) (string, error) {
	if s == "" {
		return "", nil
	}
	end := format.Clock{}
	if frames, err := format.ReadIndex(in.source, in.bytes); err == nil {
		end = in.endClock(frames)
	}
	t, err := timeOf(flag, s, in.Start(), end, o.zone(zone))
	return t.Format(time.RFC3339Nano), err
}

// sayGaps says between which of the captures files of a recording are missing.
func sayGaps(errOut io.Writer, list []*replayer) {
	last := map[string]*replayer{}
	for _, r := range list {
		set := r.in.Header().Set
		if set == nil {
			continue
		}
		if before := last[set.ID]; before != nil {
			fmt.Fprintf(errOut, "acc: the file before number %d of the recording is not here: events between %s and %s "+
				"are missing\n", set.File, fileName(before.in.name), fileName(r.in.name))
		}
		last[set.ID] = r
	}
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
