//go:build amd64 || arm64

package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// This file finds out whether this host can be recorded, and what a recording would not show.

// Diagnose looks at all that recording depends on, and at last makes a recording of a connection to
// itself over the loopback and reads it back. Of o, Mode, Events and RingBytes count. folder is where captures are
// to be written, "" for none.
func Diagnose(ctx context.Context, o Options, folder string) Diagnosis {
	root := os.DirFS("/")
	d := Diagnosis{Limits: []string{}}
	d.Checks = append(d.Checks, look(root)...)
	d.Checks = append(d.Checks, checkClock(), checkOthers(root))
	if folder != "" {
		d.Checks = append(d.Checks, checkFolder(folder))
	}
	d.Checks = append(d.Checks, d.try(ctx, o))
	return d
}

// checkClock looks how well the wall clock is kept.
func checkClock() HostCheck {
	k, _, wrong, _ := keeping()
	switch k {
	case format.KeepingUnknown:
		return ok("clock", "not known")
	case format.KeepingFree:
		return ok("clock", "not synchronised").less("times of this host can't be compared with those of others",
			"start chrony, systemd-timesyncd or ntpd; durations within a capture are right all the same")
	}
	return ok("clock", "synchronised, wrong by at most %s", time.Duration(wrong))
}

// checkOthers looks for other recorders.
func checkOthers(root fs.FS) HostCheck {
	procs, _ := fs.ReadDir(root, "proc")
	var list []string
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		args := strings.Split(line(root, "proc/"+p.Name()+"/cmdline"), "\x00")
		if line(root, "proc/"+p.Name()+"/comm") == "acc" && slices.Contains(args, "record") {
			list = append(list, p.Name())
		}
	}
	if len(list) > 0 {
		return ok("other recorders", "acc record runs as process %s", strings.Join(list, ", ")).less(
			"each costs the host what one costs; both record everything", "")
	}
	return ok("other recorders", "none")
}

// checkFolder looks whether a capture can be written.
func checkFolder(folder string) HostCheck {
	const little = 1 << 30
	f, err := os.CreateTemp(folder, ".acc-doctor-*")
	if err != nil {
		return ok("output", "%s: %v", folder, errors.Unwrap(err)).broken("a capture can't be written there",
			"choose another folder with -o")
	}
	f.Close()
	os.Remove(f.Name())
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return ok("output", "%s can be written", folder)
	}
	free := st.Bavail * uint64(st.Bsize)
	c := ok("output", "%s: %d MiB free", folder, free>>20)
	if free < little {
		return c.less("a busy host fills that: some 10 bytes an accept, 30 with the life of its connection",
			"choose a larger disk with -o")
	}
	return c
}

// try makes a recording of a connection to itself, and reads it back.
func (d *Diagnosis) try(ctx context.Context, o Options) HostCheck {
	broken := func(c HostCheck) bool { return c.Standing == StandingBroken && c.Name != "output" }
	if slices.ContainsFunc(d.Checks, broken) {
		return ok("recording", "not tried").broken("what stands above is in the way", "first do what stands above")
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var port uint16
	var doing error
	var b bytes.Buffer
	r, err := Record(ctx, &b, Options{Mode: o.Mode, Events: o.Events, RingBytes: o.RingBytes, Tool: "acc doctor",
		Ready: func(s Started) {
			go func() {
				defer cancel()
				port, doing = acceptOnce()
				time.Sleep(50 * time.Millisecond)
			}()
		}})
	var env *EnvError
	if errors.As(err, &env) {
		return ok("recording", "impossible").broken(env.Cause, env.Hint)
	}
	if err := errors.Join(err, doing); err != nil {
		return ok("recording", "failed").broken(oneLine(err), "acc record -o FILE says more; please report it")
	}
	d.Mode = r.Mode
	seen, limits, err := readBack(&b, port)
	d.Limits = append(d.Limits, limits...)
	took := time.Since(began).Round(10 * time.Millisecond)
	c := ok("recording", "a connection to itself was recorded and read back (%s probes, %s)", r.Mode, took)
	switch {
	case err != nil:
		return ok("recording", "could not be read back").broken(oneLine(err), "please report it")
	case !seen && o.Events != EventsLifecycle:
		return ok("recording", "%s probes are attached, and did not see acc's own accept", r.Mode).broken(
			"captures of this host would lack accepts, and not say so",
			"please report it, with what acc doctor --json says")
	}
	d.Records = true
	if slices.ContainsFunc(limits, func(l string) bool { return !strings.Contains(l, "--denied") }) {
		return c.less("a recording here can't show all; the list is below", "")
	}
	return c
}

// acceptOnce accepts a connection to itself, and gives its listener's port.
func acceptOnce() (port uint16, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
		if err == nil {
			c.Close()
		}
		done <- err
	}()
	c, err := l.Accept()
	if err == nil {
		c.Close()
	}
	return uint16(l.Addr().(*net.TCPAddr).Port), errors.Join(err, <-done)
}

// readBack looks for this process's accept at a port in a capture.
func readBack(in io.Reader, port uint16) (seen bool, limits []string, err error) {
	r, err := format.NewReader(in, format.ReaderOptions{})
	if err != nil {
		return false, nil, err
	}
	limits = r.Header().Limits
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return seen, limits, nil
		}
		if err != nil {
			return seen, limits, err
		}
		for i := range b.Events {
			e := &b.Events[i]
			seen = seen || e.Accepted() && e.LPort == port
		}
	}
}
