package report

// This file writes the whole of a process record.

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/acc-project/acc/format"
)

// ProcessText is the whole of a process record, a line for each thing that it says. h is
// the capture's header. Nothing in it can steer a terminal.
func ProcessText(p *format.Process, h *format.Header, zone *time.Location) string {
	var b strings.Builder
	fmt.Fprintf(&b, "process record %d\n", p.Num)
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-15s  %s\n", name, text)
		}
	}
	number := func(name string, n uint64) {
		if n != 0 {
			row(name, strconv.FormatUint(n, 10))
		}
	}
	number("pid", uint64(p.PID))
	row("name", format.Quote(p.Comm))
	if p.StartNS != 0 && h.Clock.Known() {
		row("started", string(h.Clock.AppendMoment(nil, p.StartNS, zone, "2006-01-02 15:04:05.000 -07:00")))
	}
	exe := cmp.Or(format.Quote(p.Exe), "not known")
	if p.OtherMounts(h) {
		exe += " (in another mount namespace)"
	}
	row("executable", exe)
	if p.ExeInode != 0 {
		row("", fileWords(p.ExeDev, p.ExeInode))
	}
	row("uid", strconv.FormatUint(uint64(p.UID), 10))
	row("cgroup", cgroupWords(p))
	row("container", strings.TrimSpace(format.Quote(p.Container)+" "+format.Quote(p.Runtime)))
	row("pod", strings.TrimSpace(format.Quote(p.Pod)+" "+format.Quote(p.PodUID)))
	row("unit", format.Quote(p.Unit))
	if p.NetNS != 0 { // a task can change it; that of each accept is in its event
		row("network ns", strconv.FormatUint(p.NetNS, 10)+" when acc first saw the process")
	}
	mounts := ""
	if p.OtherMounts(h) {
		mounts = fmt.Sprintf(" (the host's is %d)", h.MntNS)
	}
	if p.MntNS != 0 {
		row("mount ns", strconv.FormatUint(p.MntNS, 10)+mounts)
	}
	inside := ""
	if p.NSPID != 0 && p.NSPID != p.PID {
		inside = fmt.Sprintf(" (pid %d there)", p.NSPID)
	}
	if p.PIDNS != 0 {
		row("pid ns", strconv.FormatUint(p.PIDNS, 10)+inside)
	}
	if p.Late {
		row("", "it had ended before /proc could be read: this is what the kernel's events say")
	}
	return b.String()
}

func cgroupWords(p *format.Process) string {
	switch {
	case p.CgroupID == 0:
		return format.Quote(p.Cgroup)
	case p.Cgroup == "":
		return fmt.Sprintf("id %d", p.CgroupID)
	}
	return fmt.Sprintf("%s (id %d)", format.Quote(p.Cgroup), p.CgroupID)
}
