package capture

// This file finds the kretprobes that were made in tracefs, and removes those that a killed recorder left.

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// tracefsPath finds a file of tracefs where it is mounted: in a container that may be anywhere, and the ebpf library
// makes its kretprobes there.
func tracefsPath(name string) string {
	for _, dir := range []string{mountPoint("tracefs"), "/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if _, err := os.Stat(dir + "/" + name); dir != "" && err == nil {
			return dir + "/" + name
		}
	}
	return ""
}

// mountPoint is where all of a file system of a kind is mounted, "" nowhere.
func mountPoint(kind string) string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.Contains(line, " - "+kind+" ") && f[3] == "/" {
			return f[4]
		}
	}
	return ""
}

// A tracefsProbe is a line of kprobe_events: kretprobes with many instances are
// made there, named by the ebpf library "ebpf_" and a random number.
type tracefsProbe struct {
	kind, group, name, symbol string
}

func tracefsProbes() (list []tracefsProbe) {
	b, err := os.ReadFile(tracefsPath("kprobe_events"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		kind, rest, ok := strings.Cut(line, ":")
		group, _, ok2 := strings.Cut(rest, "/")
		if !ok || !ok2 || len(fields) < 2 {
			list = append(list, tracefsProbe{}) // keeps its place, see missedReturns
			continue
		}
		_, name, _ := strings.Cut(fields[0], "/")
		list = append(list, tracefsProbe{kind, group, name, fields[1]})
	}
	return list
}

// returns are the functions that kretprobes are made for.
var returns = []string{"__sys_accept4", "do_accept", "io_accept", "io_issue_sqe", "io_fixed_fd_install",
	"kernel_accept"}

// removeLeftovers removes the kretprobes that a killed recorder left in tracefs:
// without a program, they cost nothing, but they are there. The kernel keeps
// those in use. It gives the groups that remain, which are others'.
func removeLeftovers() map[string]bool {
	others := map[string]bool{}
	for _, p := range tracefsProbes() {
		ours := strings.HasPrefix(p.kind, "r") && strings.HasPrefix(p.group, "ebpf_") &&
			slices.Contains(returns, p.symbol)
		if ours {
			f, err := os.OpenFile(tracefsPath("kprobe_events"), os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString("-:" + p.group + "/" + p.name + "\n")
				f.Close()
			}
			if err == nil {
				continue
			}
		}
		others[p.group] = true
	}
	return others
}

// missedReturns reads from kprobe_profile how many returns had no instance, by
// symbol, for the kretprobes that are not others'. The profile names no groups,
// but has the order of kprobe_events.
func missedReturns(others map[string]bool) map[string]uint64 {
	missed := map[string]uint64{}
	b, err := os.ReadFile(tracefsPath("kprobe_profile"))
	if err != nil {
		return missed
	}
	list := tracefsProbes()
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(list) == 0 || len(fields) != 3 {
			break
		}
		p := list[0]
		list = list[1:]
		if p.name == fields[0] && !others[p.group] && strings.HasPrefix(p.kind, "r") {
			n, _ := strconv.ParseUint(fields[2], 10, 64)
			missed[p.symbol] += n
		}
	}
	return missed
}
