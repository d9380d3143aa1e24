package main

// This file tells the service manager how a recording goes (sd_notify(3)), and prints a status line at SIGUSR1.
// The protocol is a line or two on a socket, which is opened before acc gives up the right to open any.

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

// notifyEvery is how often the service manager gets a new status line.
const notifyEvery = 10 * time.Second

// notifier sends states to the service manager. A nil one does nothing.
type notifier struct {
	conn   net.Conn
	every  time.Duration // between two status lines
	alive  string        // what a status line begins with: WATCHDOG=1, where that is wanted
	states chan string
	done   chan struct{}
}

// newNotifier opens the socket of NOTIFY_SOCKET; nil if there is none. What acc runs does not see it.
func newNotifier() (*notifier, error) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil, nil
	}
	conn, err := net.Dial("unixgram", name)
	if err != nil {
		return nil, fmt.Errorf("open the socket of the service manager: %w", err)
	}
	n := &notifier{conn: conn, every: notifyEvery, states: make(chan string, 8), done: make(chan struct{})}
	pid := os.Getenv("WATCHDOG_PID")
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 &&
		(pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.every, n.alive = min(n.every, time.Duration(us)*time.Microsecond/3), "WATCHDOG=1\n"
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		_ = os.Unsetenv(name) // it fails for a bad name alone
	}
	go func() {
		defer close(n.done)
		for state := range n.states {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write([]byte(state)) // a manager that does not read is no reason to stop
		}
		conn.Close()
	}()
	return n, nil
}

// send sends a state. It never waits: when the manager is slow, states are left out.
func (n *notifier) send(state string) {
	if n == nil {
		return
	}
	select {
	case n.states <- state:
	default:
	}
}

// close waits until what was sent has gone out. Nothing may be sent any more.
func (n *notifier) close() {
	if n != nil {
		close(n.states)
		<-n.done
	}
}

// follow sends status lines until ctx ends: each is an answer of the recorder, so one that hangs
// sends none, and the service manager restarts it. The function that it gives waits for the last one.
func (n *notifier) follow(ctx context.Context, recording *capture.Control) (wait func()) {
	if n == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := capture.Status{}
		for {
			if st, err := recording.Status(); err == nil {
				n.send(n.alive + "STATUS=" + statusText(st, last))
				last = st
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(n.every):
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// statusText is how a recording stands, and its rate since the status before.
func statusText(s, last capture.Status) string {
	rate := float64(s.Events-last.Events) / max(s.Elapsed-last.Elapsed, time.Millisecond).Seconds()
	return fmt.Sprintf("%s  %s events  %s/s  %s lost  %s", s.Elapsed.Round(time.Second), report.Count(s.Events),
		report.Count(uint64(rate)), report.Count(s.Lost), report.Bytes(s.Bytes))
}

// printStatus prints a status line at each SIGUSR1, until ctx ends.
func printStatus(ctx context.Context, errOut io.Writer, recording *capture.Control) {
	if statusSignal == nil {
		return
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, statusSignal)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				if s, err := recording.Status(); err == nil {
					fmt.Fprintf(errOut, "acc: recording for %s: %s, %s lost; %s\n", s.Elapsed.Round(time.Second),
						humanize.Plural(s.Events, "event"), report.Count(s.Lost), report.Bytes(s.Bytes))
				}
			}
		}
	}()
}

// rotateAtHangUp has the recording go on in another file at each SIGHUP, until ctx ends.
func rotateAtHangUp(ctx context.Context, errOut io.Writer, recording *capture.Control) {
	signal.Ignore(syscall.SIGHUP) // as a reason to end
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				if err := recording.Rotate(); err != nil {
					fmt.Fprintf(errOut, "acc: SIGHUP begins no other file: %s\n", format.Quote(err.Error()))
				}
			}
		}
	}()
}
