package main

// This file says how well the clocks of captures of several hosts agree.

import (
	"fmt"
	"io"
	"time"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// hostClock is the clock of a capture.
type hostClock struct {
	name       string // of the capture
	host, boot string
	start, end time.Time // end: zero if it is not known
	within     time.Duration
	synced     bool
	free       bool // it was seen not to be synchronised
	zone       int
}

// key names the host, and the boot of it.
func (c *hostClock) key() string { return c.boot + " " + c.host }

// hostClocks are those of several captures.
type hostClocks struct{ list []hostClock }

func (h *hostClocks) add(name string, header *format.Header, end *format.End) {
	c := hostClock{name: name, host: format.Quote(header.Host), boot: bootOf(header), start: startOf(header),
		zone: header.ZoneSec}
	c.within, c.synced = header.Clock.Within(header.Clock.BootNS)
	c.free = header.Clock.Keeping == format.KeepingFree || end != nil && end.Clock.Keeping == format.KeepingFree
	if end != nil && end.Clock.Known() {
		c.end = end.Clock.Time(end.Clock.BootNS)
		if within, ok := end.Clock.Within(end.Clock.BootNS); end.Clock.Keeping != format.KeepingUnknown {
			c.within, c.synced = max(c.within, within), c.synced && ok
		}
	}
	h.list = append(h.list, c)
}

// bootOf names the clock since boot of a capture: captures with the same have one clock. "": it is not known.
func bootOf(h *format.Header) string {
	if h.BootID == "" {
		return ""
	}
	return h.MachineID + " " + h.BootID
}

// grown is by how much two clocks can go wrong between two readings of theirs (format.Clock.Within).
const grown = 2 * 5 * time.Millisecond

// order says which events of two hosts can be put in order. The clocks are of more than one host.
func (h *hostClocks) order() string {
	free, worst, second := 0, time.Duration(0), time.Duration(0)
	byHost := map[string]time.Duration{}
	for i := range h.list {
		c := &h.list[i]
		if !c.synced {
			free++
			continue
		}
		byHost[c.key()] = max(byHost[c.key()], c.within)
	}
	for _, within := range byHost {
		if within > worst {
			worst, second = within, worst
		} else {
			second = max(second, within)
		}
	}
	switch {
	case free == len(h.list):
		return "not known between hosts: no clock is known to be synchronised"
	case len(byHost) < 2:
		return "not known between hosts: one clock alone is known to be synchronised"
	}
	text := fmt.Sprintf("known between events of two hosts that are more than %s apart, at worst %s "+
		"(a clock is read every 10 s)", report.Duration(int64(worst+second)), report.Duration(int64(worst+second+grown)))
	if free > 0 {
		text += fmt.Sprintf("; not known for %s whose clock is not known to be synchronised",
			humanize.Plural(uint64(free), "capture"))
	}
	return text
}

// hosts counts the hosts, or the boots of one.
func (h *hostClocks) hosts() int {
	seen := map[string]bool{}
	for _, c := range h.list {
		seen[c.key()] = true
	}
	return len(seen)
}

// apart says that the recordings have no time in common; "": they have, or that is not known.
func (h *hostClocks) apart(zoneOf func(int) *time.Location) string {
	first, last := &h.list[0], &h.list[0] // that ended first, that began last
	for i := range h.list {
		c := &h.list[i]
		if c.end.IsZero() || c.start.Unix() == 0 {
			return ""
		}
		if c.end.Before(first.end) {
			first = c
		}
		if c.start.After(last.start) {
			last = c
		}
	}
	if !first.end.Before(last.start) {
		return ""
	}
	return fmt.Sprintf("no moment is in all of them: %s ended at %s, %s began at %s", fileName(first.name),
		first.end.In(zoneOf(first.zone)).Format(fromLayout), fileName(last.name),
		last.start.In(zoneOf(last.zone)).Format(fromLayout))
}

// lines has a line for each capture, and what is known of the order between hosts.
func (h *hostClocks) lines(zoneOf func(int) *time.Location) (lines []string) {
	const most = 20
	n := h.hosts()
	lines = append(lines, fmt.Sprintf("%s of %s", humanize.Plural(uint64(len(h.list)), "capture"),
		humanize.Plural(uint64(n), "host")))
	for i, c := range h.list {
		if i == most && len(h.list) > most+1 {
			lines = append(lines, fmt.Sprintf("  and %s more", report.Count(uint64(len(h.list)-most))))
			break
		}
		lines = append(lines, "  "+c.text(zoneOf(c.zone)))
	}
	if n > 1 {
		lines = append(lines, "order: "+h.order())
	}
	if why := h.apart(zoneOf); why != "" && len(h.list) > 1 {
		lines = append(lines, why)
	}
	return lines
}

func (c *hostClock) text(zone *time.Location) string {
	until := ", its end is not known"
	if !c.end.IsZero() {
		until = " for " + report.Duration(int64(c.end.Sub(c.start)))
	}
	clock := "clock not synchronised"
	if !c.free {
		clock = "not known whether its clock was synchronised"
	}
	if c.synced {
		clock = "clock wrong by at most " + report.Duration(int64(c.within))
	}
	return fmt.Sprintf("%s  %s, %s%s, %s", fileName(c.name), c.host,
		c.start.In(zone).Format("2006-01-02 15:04:05 -07:00"), until, clock)
}

// printHosts says of captures of several hosts how well their clocks agree.
func printHosts(out io.Writer, list []*evidence.Info, width int, zoneOf func(int) *time.Location) error {
	hosts := &hostClocks{}
	for _, i := range list {
		hosts.add(i.File, i.Header, i.End)
	}
	if hosts.hosts() < 2 {
		return nil
	}
	fmt.Fprintln(out)
	var s sheet
	head := "hosts"
	for _, line := range hosts.lines(zoneOf) {
		s.row(head, "%s", line)
		head = ""
	}
	return s.write(textOut(out), width)
}
