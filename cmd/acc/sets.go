package main

// This file puts the files of one recording together.

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// peek is the header of a capture file, nil of what can be read once, or is none. What was read of it is read again.
func (in *input) peek() *format.Header {
	if in.bytes == 0 {
		return nil
	}
	r, err := format.NewReader(io.NewSectionReader(in.source, 0, in.bytes), format.ReaderOptions{})
	if err != nil {
		return nil
	}
	h := *r.Header()
	return &h
}

// orderSets puts the files of each recording into their order, in the places that they have. It gives the header of
// each file that is of a recording in several.
func orderSets(ins []*input) []*format.Header {
	headers := make([]*format.Header, len(ins))
	places := map[string][]int{}
	for i, in := range ins {
		if in == nil {
			continue
		}
		if h := in.peek(); h != nil && h.Set != nil {
			headers[i] = h
			places[h.Set.ID] = append(places[h.Set.ID], i)
		}
	}
	for _, at := range places {
		order := slices.Clone(at)
		slices.SortStableFunc(
			order,
			func(a, b int) int { return cmp.Compare(headers[a].Set.File, headers[b].Set.File) },
		)
		files, of := slices.Clone(ins), slices.Clone(headers)
		for n, i := range at {
			ins[i], headers[i] = files[order[n]], of[order[n]]
		}
	}
	return headers
}

// joinSets puts files of one recording that follow each other into one input, in the place of the first of them; the
// others are nil then. This process is confined by now.
func joinSets(ins []*input) {
	headers := orderSets(ins)
	last := map[string]*format.Header{} // by recording, the file before
	units := map[string]*input{}
	for i, h := range headers {
		if h == nil {
			continue
		}
		id := h.Set.ID
		if before := last[id]; before != nil && evidence.Follows(before.Set, h.Set) && h.Set.Previous == before.ID {
			units[id].more = append(units[id].more, ins[i])
			ins[i] = nil
		} else {
			units[id] = ins[i]
		}
		last[id] = h
	}
	for _, in := range ins {
		if in != nil && len(in.more) > 0 {
			in.name = fmt.Sprintf("%s and %s", in.name, many(len(in.more), "further file"))
		}
	}
}

// printSets says of each recording in several files which of them are here, and whether they follow each other.
func printSets(out io.Writer, list []*evidence.Info, width int, zoneOf func(int) *time.Location) error {
	var ids []string
	sets := map[string][]*evidence.Info{}
	for _, i := range list {
		if s := i.Header.Set; s != nil {
			if sets[s.ID] == nil {
				ids = append(ids, s.ID)
			}
			sets[s.ID] = append(sets[s.ID], i)
		}
	}
	for _, id := range ids {
		files := sets[id]
		first, last := files[0], files[len(files)-1]
		var s sheet
		row := s.row
		row("recording", "%s: %s here, of which the last is number %d", format.Quote(id),
			many(len(files), "file"), last.Header.Set.File)
		events, lost, bytes := uint64(0), uint64(0), int64(0)
		broken := []string{}
		for _, i := range files {
			events, lost, bytes = events+i.Events, lost+i.Lost, bytes+i.Bytes
			switch n := i.Header.Set.File; i.Follows {
			case evidence.FollowsNo:
				broken = append(broken, fmt.Sprintf("the file before number %d is not here", n))
			case evidence.FollowsDiffers:
				broken = append(broken, fmt.Sprintf("number %d names another file before it: id %s, chain head %s", n,
					format.Quote(i.Header.Set.Previous), format.Quote(i.Header.Set.PreviousHead)))
			}
		}
		const layout = "2006-01-02 15:04:05 -07:00"
		zone := zoneOf(first.Header.ZoneSec)
		until := "its end is not known"
		if last.End != nil {
			until = last.End.Clock.Time(last.End.Clock.BootNS).In(zone).Format(layout)
		}
		row("time", "%s to %s", time.Unix(0, first.Header.StartNS).In(zone).Format(layout), until)
		row("events", "%s, %s lost; %s", report.Count(events), report.Count(lost), report.Bytes(bytes))
		if len(broken) == 0 {
			row("chain", "each file has the id and the chain head of the one before it")
		}
		for n, why := range broken {
			row([]string{"chain", ""}[min(n, 1)], "%s", why)
		}
		fmt.Fprintln(out)
		if err := s.write(textOut(out), width); err != nil {
			return err
		}
	}
	return nil
}

// join has an input that was begun go on in its further files.
func (in *input) join(salvage bool) {
	next := make([]func() (*evidence.Capture, error), len(in.more))
	for i, x := range in.more {
		next[i] = func() (*evidence.Capture, error) {
			x.opts = in.opts
			if _, err := x.source.Seek(0, io.SeekStart); err != nil { // it may be read a second time
				return nil, err
			}
			if err := x.begin(x.source, salvage); err != nil {
				return nil, err
			}
			return x.Capture, nil
		}
	}
	in.Capture.Join(next...)
}

// openUnits opens captures, each with the further files of its recording, and confines the process to what is open
// then. It reads nothing but the headers of several. It gives an error for each that can't be opened.
func openUnits(names []string) (ins []*input, errs []error) {
	if list := expandFolders(names); len(list) > 1 {
		names = list
	}
	ins, errs = openFiles(names)
	confineReader()
	if len(ins) > 1 {
		joinSets(ins)
	}
	return slices.DeleteFunc(ins, func(in *input) bool { return in == nil }),
		slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// openInput is openUnits of one capture.
func openInput(names []string) (*input, error) {
	ins, errs := openUnits(names)
	if err := errors.Join(errs...); err != nil {
		closeAll(ins)
		return nil, err
	}
	if len(ins) > 1 {
		defer closeAll(ins)
		return nil, oneOf(ins)
	}
	return ins[0], nil
}

// closeAll closes inputs; nil is none.
func closeAll(ins []*input) {
	for _, in := range ins {
		if in != nil {
			in.Close()
		}
	}
}

// oneOf is the error of giving several captures to a command that reads one.
func oneOf(ins []*input) error {
	return &usageError{
		fmt.Errorf("this command reads one capture, or files of one recording that follow each other, "+
			"not %d: each has a clock and events of its own", len(ins)),
		"name one of them, like " + fileName(ins[0].name) + "; " + readSeveral,
	}
}

// openCaptures opens what openInput does, and reads the header.
func openCaptures(names []string, o format.ReaderOptions) (*input, error) {
	in, err := openInput(names)
	if err != nil {
		return nil, err
	}
	in.opts, in.inside = o, true
	if err := in.begin(in.source, o.Salvage); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}
