package capture

// This file runs the COMMAND of record.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// grace is how long a command that was told to end may take.
const grace = 5 * time.Second

// command runs the program whose life is recorded.
type command struct {
	done chan struct{} // closed when it has ended
	exit int           // then: its exit status
	stop context.CancelFunc
}

// start runs argv with the recorder's standard streams.
func start(argv []string, out *os.File) (*command, error) {
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if out != nil {
		cmd.Stdout = out
	}
	if err := cmd.Start(); err != nil {
		stop()
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	c := &command{done: make(chan struct{}), stop: stop}
	go func() {
		err := cmd.Wait()
		c.exit = exitStatus(cmd.ProcessState, err)
		close(c.done)
	}()
	return c, nil
}

// exitStatus is what a shell would say: the exit code, or 128 and the signal.
func exitStatus(state *os.ProcessState, err error) int {
	var exit *exec.ExitError
	if state == nil || err != nil && !errors.As(err, &exit) && state.ExitCode() < 0 {
		return 1
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}

// end tells the command to end, if it has not, and waits for it.
func (c *command) end() int {
	c.stop()
	<-c.done
	return c.exit
}
