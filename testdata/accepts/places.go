//go:build linux

package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

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
	{"pidns", func(t *test) {
		c := t.start("one", func(cmd *exec.Cmd) { cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID })
		ns := t.namespace(fmt.Sprint(c.Process.Pid), "pid")
		for _, e := range c.one() {
			e.PIDNS, e.NSPID = ns, 1
		}
	}},
	{"cgroup", func(t *test) {
		const root = "/sys/fs/cgroup"
		var fs unix.Statfs_t
		if err := unix.Statfs(root, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			t.skip("no cgroup2 at %s", root)
		}
		var id [32]byte
		_, _ = rand.Read(id[:])
		container := hex.EncodeToString(id[:])
		dir := filepath.Join(root, "system.slice", "docker-"+container+".scope")
		if os.Mkdir(filepath.Dir(dir), 0o755) == nil {
			defer os.Remove(filepath.Dir(dir))
		}
		err := os.Mkdir(dir, 0o755)
		t.skipIf("mkdir", err, unix.EPERM, unix.EACCES, unix.EROFS)
		t.check("mkdir", err)
		defer os.Remove(dir)
		c := t.start("one")
		t.check("cgroup", os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, c.Process.Pid), 0))
		for _, e := range c.one() {
			e.Container = container
		}
	}},
	{"short", func(t *test) {
		dir, err := os.MkdirTemp("", "accepts-")
		t.check("mkdir", err)
		defer os.RemoveAll(dir)
		exe := filepath.Join(dir, "short-lived")
		t.check("copy", copyFile(exe, "/proc/self/exe"))
		c := t.start("one", func(cmd *exec.Cmd) { cmd.Path = exe })
		for _, e := range c.one() {
			e.Exe = exe
		}
	}},
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
