package main

// This file analyzes several captures.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/acc-project/acc/format"
)

// analyzeAll analyzes several captures, each for itself, but files of one recording together.
func analyzeAll(ctx context.Context, out, errOut io.Writer, names []string, o analyzeOptions) error {
	if i := slices.Index(names, "-"); i >= 0 && slices.Contains(names[i+1:], "-") {
		return &usageError{errors.New("standard input can be read once"), "name - one time"}
	}
	ins, errs := openFiles(names)
	view, _ := o.view()
	var again []*input // to look for the other side of a connection
	if view == viewConnection && !o.json {
		again, _ = openFiles(names)
		defer closeAll(again)
	}
	confineReader(o.readable()...)
	joinSets(ins)
	joinSets(again)
	units := 0
	for i := range ins {
		if ins[i] != nil || errs[i] != nil {
			units++
		}
	}
	plain := view == viewScreen && !o.json && o.filter == ""
	if o.hosts || plain && severalHosts(ins) {
		return analyzeHosts(ctx, out, errOut, names, ins, errs, o)
	}
	if units == 1 && ins[0] != nil {
		return analyzeInput(ctx, out, errOut, ins[0], o)
	}
	if err := o.checkSeveral(view, names, units); err != nil {
		return err
	}
	found := view != viewConnection
	if again != nil {
		o.told = new([]*told)
	}
	worst, first := exitOK, true
	for i, in := range ins {
		if in == nil && errs[i] == nil { // a part of another one
			continue
		}
		if !first && !o.json && view != viewConnection {
			fmt.Fprintln(out)
		}
		first = false
		err := errs[i]
		if err == nil {
			o.source, o.name = in.number, in.name
			if o.host = ""; in.peek() != nil {
				o.host = in.peek().Host
			}
			if o.head = ""; !o.json {
				o.head = strings.TrimRight(fileName(in.name)+"  "+format.Quote(o.host), " ") + "\n"
			}
			if view != viewConnection { // which most captures do not have
				fmt.Fprint(out, o.head)
			}
			err = analyzeInput(ctx, out, errOut, in, o)
		}
		if errors.Is(err, errNoConnection) {
			err = nil
		} else if err == nil {
			found = true
		}
		if err != nil {
			worst = max(worst, exitCode(err, errOut))
		}
		ins[i] = nil // what it took is not kept
	}
	if o.told != nil {
		if err := otherSides(ctx, out, again, *o.told, widthOf(out)); err != nil {
			return err
		}
	}
	switch {
	case worst != exitOK:
		return exited(worst)
	case !found:
		return &hinted{fmt.Errorf("no connection of these captures has %s", o.connection),
			"acc analyze --connections lists them"}
	}
	return nil
}

// errNoConnection says that a capture of several does not have the connection that is asked for.
var errNoConnection = errors.New("the capture does not have the connection")

// checkSeveral refuses what can't be asked of so many captures.
func (o *analyzeOptions) checkSeveral(view view, names []string, units int) error {
	if o.json && view == viewScreen {
		return &usageError{fmt.Errorf("the JSON of all figures is of one capture, not of %d", units),
			fmt.Sprintf("run it for each, like acc analyze --json %s; --hosts --json has a verdict for each host, "+
				"--connections --json the rows of all", fileName(names[0]))}
	}
	if _, err := strconv.ParseUint(o.connection, 10, 64); view == viewConnection && err == nil {
		return &usageError{fmt.Errorf("--connection %s is a number of an event, and each of the %d captures has its own",
			o.connection, units), fmt.Sprintf("name one capture, like %s, or the client: --connection 192.0.2.1:40000",
			fileName(names[0]))}
	}
	return nil
}
