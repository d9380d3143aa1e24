//go:build linux

package main

// This file has the cases of namespaces and containers.

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// placeCases accept elsewhere than this process is.
var placeCases = []testCase{
	{"netns", func(t *test) {
		err := unix.Unshare(unix.CLONE_NEWNET)
		t.skipIf("unshare", err, unix.EPERM, unix.EINVAL)
		t.check("unshare", err)
		s := t.socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		lo, err := unix.NewIfreq("lo")
		t.check("lo", err)
		lo.SetUint16(unix.IFF_UP)
		t.check("bring lo up", unix.IoctlIfreq(s.fd, unix.SIOCSIFFLAGS, lo))
		l, _ := t.ready()
		t.accept(l, 0).NetNS = t.namespace("thread-self", "net")
	}},
	{"netns-listener", func(t *test) { // the listener is in another one than its process
		l, later, done := t.elsewhere()
		t.accept(l, 0)
		t.check("O_NONBLOCK", unix.SetNonblock(l.fd, true))
		t.accept(l, unix.EAGAIN)
		t.check("O_NONBLOCK", unix.SetNonblock(l.fd, false))
		q := t.ring(0).accept(l, single, nil)
		q.armed()
		later()
		q.ends(0)
		done()
	}},
	{"netns-cancel", func(t *test) {
		l, _, done := t.elsewhere()
		t.accept(l, 0)
		r := t.ring(0)
		q := r.accept(l, single, nil)
		q.armed()
		r.submit(sqe{op: opAsyncCancel, addr: q.userData})
		q.ends(unix.ECANCELED)
		done()
	}},
	{"pidns", func(t *test) {
		c := t.start("one", func(cmd *exec.Cmd) { cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID })
		ns := t.namespace(fmt.Sprint(c.Process.Pid), "pid")
		for _, e := range c.one() {
			e.PIDNS, e.NSPID = ns, 1
		}
	}},
	{"cgroup", func(t *test) {
		container, dir := t.container()
		c := t.start("one")
		t.check("cgroup", os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, c.Process.Pid), 0))
		for _, e := range c.one() {
			e.Container = container
		}
	}},
	{"cgroup-move", func(t *test) {
		c := t.start("two")
		var containers [2]string
		for i := range containers {
			container, dir := t.container()
			containers[i] = container
			t.check("cgroup", os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, c.Process.Pid), 0))
			if i == 0 {
				_, err := c.in.Write([]byte("\n"))
				t.check("go", err)
				_, err = io.ReadFull(c.out, make([]byte, 1)) // it has accepted
				t.check("read from a child", err)
			}
		}
		for i, e := range c.one() {
			e.Container = containers[i]
		}
	}},
	{"short", func(t *test) {
		dir, err := os.MkdirTemp("", "accepts-")
		t.check("mkdir", err)
		defer os.RemoveAll(dir)
		exe := filepath.Join(dir, "short-lived-"+strings.Repeat("x", 90))
		t.check("copy", copyFile(exe, "/proc/self/exe"))
		c := t.start("one", func(cmd *exec.Cmd) { cmd.Path = exe })
		for _, e := range c.one() {
			e.Exe = exe
		}
	}},
}

// elsewhere makes a listener on which a connection waits, in a network namespace that this thread then
// leaves. later makes another connection to it; done says of all attempts where they were made.
func (t *test) elsewhere() (l *socket, later, done func()) {
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	t.check("namespace", err)
	defer unix.Close(own)
	home := t.namespace("thread-self", "net")
	err = unix.Unshare(unix.CLONE_NEWNET)
	t.skipIf("unshare", err, unix.EPERM, unix.EINVAL)
	t.check("unshare", err)
	c := t.socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	lo, err := unix.NewIfreq("lo")
	t.check("lo", err)
	lo.SetUint16(unix.IFF_UP)
	t.check("bring lo up", unix.IoctlIfreq(c.fd, unix.SIOCSIFFLAGS, lo))
	pod := t.namespace("thread-self", "net")
	l, _ = t.ready()
	t.check("go back", unix.Setns(own, unix.CLONE_NEWNET))
	return l, func() { t.check("connect", unix.Connect(c.fd, l.at)) }, func() {
		for _, e := range t.Want {
			e.NetNS, e.TaskNetNS = pod, home
		}
	}
}

// container makes a cgroup that is called as a container's is.
func (t *test) container() (id, dir string) {
	const root = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		t.skip("no cgroup2 at %s", root)
	}
	var b [32]byte
	_, _ = rand.Read(b[:])
	id = hex.EncodeToString(b[:])
	dir = filepath.Join(root, "system.slice", "docker-"+id+".scope")
	if os.Mkdir(filepath.Dir(dir), 0o755) == nil {
		t.atEnd(func() { _ = os.Remove(filepath.Dir(dir)) })
	}
	err := os.Mkdir(dir, 0o755)
	t.skipIf("mkdir", err, unix.EPERM, unix.EACCES, unix.EROFS)
	t.check("mkdir", err)
	t.atEnd(func() { _ = os.Remove(dir) })
	return id, dir
}

func (t *test) namespace(process, kind string) uint64 {
	var st unix.Stat_t
	t.check("namespace", unix.Stat("/proc/"+process+"/ns/"+kind, &st))
	return st.Ino
}

// one lets a child accept one connection, and takes over what it tells.
func (c *child) one() []*entry {
	c.t.check("go", c.in.Close())
	want := c.result()
	c.t.check("child", c.Wait())
	for _, e := range want {
		e.PID, e.TID = c.Process.Pid, c.Process.Pid
	}
	c.t.Want = want
	return want
}

// childOne accepts one connection, when it is told to.
func childOne(t *test) {
	_, err := io.ReadAll(os.Stdin)
	t.check("wait", err)
	l, _ := t.ready()
	t.accept(l, 0)
}

// childTwo accepts a connection when it is told to, says so, and then as childOne.
func childTwo(t *test) {
	_, err := io.ReadFull(os.Stdin, make([]byte, 1))
	t.check("wait", err)
	l, _ := t.ready()
	t.accept(l, 0)
	fmt.Print(" ")
	childOne(t)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
