package main

// This file has --exec: a command for each dump, run by a shell that was started before acc gave up starting programs.

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// hookLoop is what the shell does: of two lines each, the folder of a dump and its reason, it runs the command.
const hookLoop = `while IFS= read -r ACC_DUMP && IFS= read -r ACC_WHY; do
	export ACC_DUMP ACC_WHY
	/bin/sh -c "$1 \"\$@\"" acc "$ACC_DUMP" </dev/null || echo "acc: --exec: exit code $? for $ACC_DUMP" >&2
done`

// hook is that shell.
type hook struct {
	cmd *exec.Cmd
	in  *os.File
}

// hookTime is how long acc waits for the last command at its end.
const hookTime = 30 * time.Second

// newHook starts the shell with the rights of acc's caller; nil if there is no command.
func newHook(command string) (*hook, error) {
	if command == "" {
		return nil, nil
	}
	word, _, _ := strings.Cut(strings.TrimSpace(command), " ")
	check := asCaller(exec.Command("/bin/sh", "-c", `command -v "$1" >/dev/null`, "acc", word))
	if err := check.Run(); err != nil {
		return nil, &usageError{fmt.Errorf("--exec %q: the shell finds no command %q", command, word),
			"like --exec '/usr/local/bin/upload-dump --quiet'"}
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start --exec: %w", err)
	}
	h := &hook{cmd: asCaller(exec.Command("/bin/sh", "-c", hookLoop, "acc", command)), in: out}
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = in, os.Stderr, os.Stderr
	err = h.cmd.Start()
	in.Close()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("start --exec: %w", err)
	}
	return h, nil
}

// run has the command run for a dump, after those before it.
func (h *hook) run(folder, why string) error {
	if h == nil {
		return nil
	}
	if strings.ContainsAny(folder, "\n") {
		return fmt.Errorf("the command is not run: the folder's name has a line break")
	}
	_ = h.in.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(h.in, "%s\n%s\n", folder, strings.ReplaceAll(why, "\n", " ")); err != nil {
		return fmt.Errorf("the command is not run for %s: %w", folder, err)
	}
	return nil
}

// close waits until the commands have ended.
func (h *hook) close(errOut io.Writer) {
	if h == nil {
		return
	}
	h.in.Close()
	ended := make(chan error, 1)
	go func() { ended <- h.cmd.Wait() }()
	select {
	case <-ended:
		return
	case <-time.After(time.Second):
		fmt.Fprintf(errOut, "acc: waiting for --exec, %s at most\n", hookTime)
	}
	select {
	case <-ended:
	case <-time.After(hookTime):
		fmt.Fprintf(errOut, "acc: --exec goes on without acc\n")
	}
}
