package main

// This file measures reading.

import (
	"bytes"
	"encoding/json"
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
	end, err := lastTime(acc, made)
	if err != nil {
		return err
	}
	t := newTable("command", "events or lines", "elapsed", "a second", "times perf script's", "CPU", "a second of CPU", "times perf script's", "peak memory")
	one := []string{"GOMAXPROCS=1"}
	pcap := filepath.Join(dir, "tcpdump.pcap")
	type row struct {
		what  string
		n     int
		speed bool // all of n is read
		r     result
	}
	var rows []row
	peer, peerElapsed, packets := 0.0, 0.0, 0
	for _, c := range []struct {
		what  string
		env   []string
		n     int
		speed bool
		args  []string
	}{
		{"acc analyze, one core", one, n, true, []string{acc, "analyze", made}},
		{"acc analyze", nil, n, true, []string{acc, "analyze", made}},
		{"acc replay --speed max --json, one core", one, n, true, []string{acc, "replay", "--speed", "max", "--json", made}},
		{"acc replay --speed max --json", nil, n, true, []string{acc, "replay", "--speed", "max", "--json", made}},
		{"acc verify", nil, n, true, []string{acc, "verify", made}},
		{"acc info", nil, n, false, []string{acc, "info", made}},
		{"acc replay --from, 1 ms before the end", nil, n, false, []string{acc, "replay", "--speed", "max", "--from", end.Add(-time.Millisecond).Format(time.RFC3339Nano), made}},
		{"perf script", nil, 0, true, []string{"perf", "script", "--force", "-i", filepath.Join(dir, "perf.data")}},
		{"trace-cmd report", nil, 0, true, []string{"trace-cmd", "report", filepath.Join(dir, "trace.dat")}},
		{"tshark -r, a line a packet", nil, 0, true, []string{"tshark", "-r", pcap}},
		{"tshark -q -z conv,tcp", nil, -1, true, []string{"tshark", "-q", "-z", "conv,tcp", "-r", pcap}},
	} {
		r, err := run(c.env, c.args)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			r = result{elapsed: -1}
		}
		switch {
		case c.n < 0:
			c.n = packets
		case c.n == 0:
			c.n, packets = r.lines, r.lines
		}
		if c.what == "perf script" && r.elapsed >= 0 {
			peer, peerElapsed = float64(c.n)/r.cpu.Seconds(), float64(c.n)/r.elapsed.Seconds()
		}
		rows = append(rows, row{c.what, c.n, c.speed, r})
	}
	for _, x := range rows {
		if x.r.elapsed < 0 {
			t.row(x.what, "did not run", "", "", "", "", "", "", "")
			continue
		}
		per := func(d time.Duration, peer float64) (rate, times string) {
			if !x.speed {
				return "", ""
			}
			speed := float64(x.n) / max(d.Seconds(), 1e-3)
			return count(int64(speed)), ratio(speed, peer)
		}
		rate, times := per(x.r.elapsed, peerElapsed)
		cpuRate, cpuTimes := per(x.r.cpu, peer)
		t.row(x.what, count(int64(x.n)), seconds(x.r.elapsed), rate, times, seconds(x.r.cpu), cpuRate, cpuTimes, fmt.Sprintf("%d MiB", x.r.peak>>20))
	}
	st, err := os.Stat(made)
	if err != nil {
		return err
	}
	return section("read", fmt.Sprintf("A made capture of %s events, %s bytes, in the page cache; of the peers, the files of the run above.\n\n%s", count(int64(n)), count(st.Size()), t.String()))
}

// lastTime is when the last event of a capture was.
func lastTime(acc, path string) (last time.Time, err error) {
	out, err := exec.Command(acc, "info", "--full", "--json", path).Output()
	if err != nil {
		return last, fmt.Errorf("read %s: %w", path, err)
	}
	var info struct {
		Last time.Time `json:"last"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return last, fmt.Errorf("read %s: %w", path, err)
	}
	return info.Last, nil
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
