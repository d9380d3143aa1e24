//go:build linux

package main

// This file starts the program as a child, for processes of other kinds.

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// child is this program, started to do a part of a case.
type child struct {
	*exec.Cmd
	t   *test
	in  io.WriteCloser
	out io.Reader
}

// start starts this program, changed by options, as a child.
func (t *test) start(name string, options ...func(*exec.Cmd)) *child {
	c := &child{t: t, Cmd: exec.Command("/proc/self/exe", "-child", name)}
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{}
	for _, option := range options {
		option(c.Cmd)
	}
	var err error
	c.out, err = c.StdoutPipe()
	t.check("pipe", err)
	c.in, err = c.StdinPipe()
	t.check("pipe", err)
	if err := c.Start(); err != nil {
		t.skipIf("start a child", err, syscall.EPERM)
		t.fail("start a child: %w", err)
	}
	return c
}

// result reads what the child has to tell.
func (c *child) result() []*entry {
	var r result
	c.t.check("read from a child", json.NewDecoder(c.out).Decode(&r))
	if r.Error != "" {
		c.t.fail("child: %s", r.Error)
	}
	return r.Want
}
