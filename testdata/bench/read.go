package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// read measures how fast the files of size are read back, and a made capture of n events.
func read(acc, dir string, n int) error {
	made := filepath.Join(dir, "made.acc")
	if err := generate(made, n); err != nil {
		return err
	}
	defer os.Remove(made)
	t := newTable("command", "lines or events", "elapsed", "CPU", "a second of CPU", "peak memory")
	one := []string{"GOMAXPROCS=1"}
	for _, c := range []struct {
		what  string
		env   []string
		n     int
		lines bool // they are counted in what it prints
		args  []string
	}{
		{"acc analyze, one core", one, n, false, []string{acc, "analyze", made}},
		{"acc analyze", nil, n, false, []string{acc, "analyze", made}},
		{"acc replay --speed max --json, one core", one, n, false, []string{acc, "replay", "--speed", "max", "--json", made}},
		{"acc replay --speed max --json", nil, n, false, []string{acc, "replay", "--speed", "max", "--json", made}},
		{"acc info", nil, n, false, []string{acc, "info", made}},
		{"acc replay --from, near the end", nil, n, false, []string{acc, "replay", "--speed", "max", "--json", "--from", "24h", made}},
		{"perf script", nil, 0, true, []string{"perf", "script", "--force", "-i", filepath.Join(dir, "perf.data")}},
		{"trace-cmd report", nil, 0, true, []string{"trace-cmd", "report", filepath.Join(dir, "trace.dat")}},
		{"tshark -r", nil, 0, true, []string{"tshark", "-r", filepath.Join(dir, "tcpdump.pcap")}},
	} {
		r, err := run(c.env, c.args)
		if err != nil {
			t.row(c.what, "did not run", "", "", "", "")
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		if c.lines {
			c.n = r.lines
		}
		t.row(c.what, count(int64(c.n)), seconds(r.elapsed), seconds(r.cpu), count(int64(float64(c.n)/max(r.cpu.Seconds(), 1e-3))), fmt.Sprintf("%d MiB", r.peak>>20))
	}
	st, err := os.Stat(made)
	if err != nil {
		return err
	}
	return section("read", fmt.Sprintf("A made capture of %s events, %s bytes; of the peers, the files of the run above.\n\n%s", count(int64(n)), count(st.Size()), t.String()))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

type result struct {
	elapsed, cpu time.Duration
	peak         int64 // bytes
	lines        int
}

// run runs a command and counts the lines that it prints.
func run(env, args []string) (result, error) {
	var r result
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	from := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	buf := make([]byte, 1<<20)
	for {
		n, err := out.Read(buf)
		r.lines += bytes.Count(buf[:n], []byte("\n"))
		if err != nil {
			if err != io.EOF {
				return r, err
			}
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return r, fmt.Errorf("run %v: %w\n%s", args, err, errors.String())
	}
	r.elapsed, r.cpu = time.Since(from), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	r.peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	return r, nil
}
