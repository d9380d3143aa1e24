package main

// This file prints chain heads while a capture is recorded.

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/acc-project/acc/evidence/checkpoints"
	"github.com/acc-project/acc/format"
)

// checkpointEvery is the default of --checkpoint-every.
const checkpointEvery = "10s"

// checkpointer emits heads of a capture's chain while it is recorded, from a
// goroutine of its own: a log that does not take them must not hold up the
// recorder. What it does not take in time is left out; a later head vouches for
// the same bytes.
type checkpointer struct {
	every time.Duration
	next  time.Time
	lines chan string
	done  chan struct{}
}

// newCheckpoints begins as --checkpoint says; nil if it says nothing.
func newCheckpoints(o *recordOptions, errOut io.Writer) (*checkpointer, error) {
	every, err := durationOf("--checkpoint-every", o.checkpointEvery)
	if err != nil {
		return nil, err
	}
	var emit func(line string)
	switch o.checkpoint {
	case "":
		if o.checkpointEvery != checkpointEvery {
			return nil, &usageError{errors.New("--checkpoint-every needs --checkpoint"), "like --checkpoint syslog"}
		}
		return nil, nil
	case "stderr":
		emit = func(line string) { fmt.Fprintf(errOut, "acc: %s\n", line) }
	case "syslog":
		if emit, err = openSyslog(); err != nil {
			return nil, &hinted{fmt.Errorf("open syslog: %w", err), "--checkpoint stderr prints them here"}
		}
	default:
		return nil, &usageError{fmt.Errorf("--checkpoint %q is neither stderr nor syslog", o.checkpoint),
			"like --checkpoint syslog"}
	}
	c := &checkpointer{every: every, lines: make(chan string, 64), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for line := range c.lines {
			emit(line)
		}
	}()
	return c, nil
}

// take is called by the recorder after each frame.
func (c *checkpointer) take(id string, p format.Checkpoint) {
	now := time.Now()
	if !p.Closed && now.Before(c.next) {
		return
	}
	c.next = now.Add(c.every)
	select {
	case c.lines <- string(checkpoints.Append(nil, id, p)):
	default:
	}
}

// close waits until what was taken is emitted, a few seconds at most.
func (c *checkpointer) close() {
	if c == nil {
		return
	}
	close(c.lines)
	select {
	case <-c.done:
	case <-time.After(5 * time.Second):
	}
}
