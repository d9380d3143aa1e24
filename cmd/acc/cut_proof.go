package main

// This file says of what a capture is a cut, and proves it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/cut"
)

// cutRows say how a capture was cut out of another one, the last cut first.
func cutRows(row func(name, format string, args ...any), cuts []format.Cut) {
	q := format.Quote
	name := "CUT"
	for i := len(cuts) - 1; i >= 0; i-- {
		c := &cuts[i]
		at := func(ns int64) string { return report.Duration(ns - cuts[0].FromNS) }
		what := fmt.Sprintf("%s of it", report.Duration(c.UntilNS-c.FromNS))
		if i > 0 {
			what += ", from " + at(c.FromNS) + " to " + at(c.UntilNS) + " after the beginning of the first cut"
		}
		if c.Filter != "" {
			what += "; selected: " + q(oneLine(c.Filter))
		} else if len(c.Connections) > 0 {
			what += "; connections " + q(strings.Join(c.Connections, ", "))
		}
		row(name, "%s", what)
		for _, f := range c.Files {
			row("", "cut out of %s, %s, SHA-256 %s", q(f.ID), report.Bytes(f.Bytes), q(f.SHA256))
			row("", "whose chain head is %s", q(f.Head))
		}
		whole := "its end is not known"
		if c.EndNS != 0 {
			whole = fmt.Sprintf("%s to %s", time.Unix(0, c.StartNS).UTC().Format(fromLayout),
				time.Unix(0, c.EndNS).UTC().Format(fromLayout))
		}
		row("", "the whole has %s, %s lost, %s missed; %s; ended by %s; cut by %s", humanize.Plural(c.Events, "event"),
			humanize.Count(c.Lost), humanize.Count(c.Missed), whole, q(c.Reason), q(c.Tool))
		name = ""
	}
}

// prove cuts the parent again as a part says that it was cut, and compares the part with that.
func (v *verified) prove(ctx context.Context, parent, part *input) error {
	result := func(status, why string, args ...any) error {
		v.SetParent(evidence.ParentResult{File: parent.name, Status: status, Why: fmt.Sprintf(why, args...)})
		return nil
	}
	if len(v.Cuts) == 0 {
		return result(evidence.ParentOther, "it is no cut: there is nothing to prove")
	}
	note := &v.Cuts[len(v.Cuts)-1]
	s, files, err := parent.survey(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(files, note.Files) {
		named := []string{}
		for _, f := range note.Files {
			named = append(named, f.SHA256)
		}
		return result(evidence.ParentOther, "it says that it was cut out of another file than %s: SHA-256 %s", parent.name,
			strings.Join(named, ", "))
	}
	o := cutOptions{filter: note.Filter, connections: note.Connections}
	if o.filter != "" && len(o.connections) > 0 || o.compile() != nil {
		return result(evidence.ParentDiffers, "what it says was selected is no condition")
	}
	chosen, err := o.choose(ctx, parent)
	if err != nil {
		return err
	}
	opts := cut.Options{Tool: note.Tool, FromNS: note.FromNS, UntilNS: note.UntilNS, Filter: note.Filter,
		Connections: note.Connections}
	if chosen != nil {
		opts.Chooser = chosen
	}
	again, w := io.Pipe()
	go func() {
		_, _, err := cut.Write(w, parent.cutInput(ctx, s, files), opts)
		w.CloseWithError(err)
	}()
	defer again.Close()
	why, err := sameCapture(again, io.NewSectionReader(part.source, 0, part.bytes))
	switch {
	case errors.Is(err, errStopped):
		return exited(130)
	case errors.Is(err, cut.ErrOutside):
		return result(evidence.ParentDiffers, "its time is outside of that recording")
	case err != nil:
		return err
	case why != "":
		return result(evidence.ParentDiffers, "%s", why)
	}
	return result(evidence.ParentProven, "")
}

// sameCapture compares what two captures hold, and says where they differ.
func sameCapture(a, b io.Reader) (string, error) {
	x, err := format.NewReader(a, format.ReaderOptions{})
	if err != nil {
		return "", err
	}
	y, err := format.NewReader(b, format.ReaderOptions{})
	if err != nil {
		return err.Error(), nil
	}
	for {
		m, err1 := x.Next()
		n, err2 := y.Next()
		switch {
		case errors.Is(err1, io.EOF) && errors.Is(err2, io.EOF):
			return "", nil
		case errors.Is(err1, io.EOF):
			return "it has more frames", nil
		case err1 != nil:
			return "", err1
		case errors.Is(err2, io.EOF):
			return "it has fewer frames", nil
		case err2 != nil:
			return err2.Error(), nil
		}
		if what := differs(m, n); what != "" {
			return fmt.Sprintf("frame %d has %s", n.Frame, what), nil
		}
	}
}

// differs says in what two frames differ.
func differs(m, n *format.Batch) string {
	if len(m.Events) != len(n.Events) {
		return fmt.Sprintf("%s, not %d", humanize.Plural(uint64(len(n.Events)), "event"), len(m.Events))
	}
	for i := range m.Events {
		if m.Events[i] != n.Events[i] {
			return fmt.Sprintf("another event %d", n.Events[i].Seq)
		}
	}
	a, b := reflect.ValueOf(*m), reflect.ValueOf(*n)
	for i := range a.NumField() {
		switch f := a.Type().Field(i); f.Name {
		case "Header", "End":
			if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				return "another " + strings.ToLower(f.Name)
			}
		case "Processes", "Clocks", "Losses", "Snapshots", "Counters", "Watches", "Images", "Stacks", "Doings",
			"Marks", "Gaps", "Counted":
			x, y := a.Field(i), b.Field(i)
			if x.Len() != y.Len() || x.Len() > 0 && !reflect.DeepEqual(x.Interface(), y.Interface()) {
				return "other " + strings.ToLower(f.Name)
			}
		}
	}
	return ""
}
