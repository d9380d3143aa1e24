package report

// This file has the tables of processes and peers.

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/acc-project/acc/format"
)

// processes shows who accepted, and peers at their right where there is room.
func (t *text) processes() {
	tables := [][]string{t.processTable(t.o.Width), t.peerTable(t.o.Width)}
	if both := t.processesBesidePeers(); both != nil {
		tables = [][]string{both}
	}
	for _, lines := range tables {
		if len(lines) > 1 {
			t.WriteByte('\n')
			t.print(lines)
		}
	}
	for _, p := range t.r.Processes {
		if p.OtherMounts { // where any file can have any path
			t.indent(
				amber,
				fmt.Sprintf("  pid %d:", p.PID),
				"    ",
				format.Quote(p.Exe)+" in another mount namespace is "+fileWords(p.ExeDev, p.ExeInode),
			)
		}
	}
	t.more(t.r.Others.Processes, "process")
	t.more(t.r.Others.Peers, "peer")
}

// processesBesidePeers lays out both tables in one, nil if there is no room for that.
func (t *text) processesBesidePeers() []string {
	const peerWidth = 30
	elsewhere := slices.ContainsFunc(t.r.Processes, func(p listeners.ProcessInfo) bool { return p.OtherMounts })
	if t.o.Width < 90 || len(t.r.Peers) == 0 || len(t.r.Processes) == 0 || elsewhere {
		return nil
	}
	return beside(t.processTable(t.o.Width-peerWidth-gap), t.peerTable(t.o.Width), t.o.Width-peerWidth, t.o.Width)
}

func (t *text) processTable(width int) []string {
	columns := []column{
		{head: "process", yield: 3, least: 12}, {head: "pid"}, {head: "accepted"}, {head: "failed"},
		{head: "belongs to", yield: 4, least: 16}, {head: "executable", yield: 5, least: 16, front: true},
	}
	var rows [][]string
	for _, p := range t.r.Processes {
		exe := format.Quote(p.Exe)
		if p.OtherMounts {
			exe = cutFront(exe, 24) + " (in another mount namespace)"
			columns[5].yield = 0
		}
		rows = append(
			rows,
			[]string{
				"  " + cut(format.Quote(p.Comm), 20),
				strconv.FormatUint(uint64(p.PID), 10),
				t.outcomes(p.Accepted),
				t.outcomes(p.Failed - p.Restarted),
				home(&p),
				exe,
			},
		)
	}
	return layout(width, columns, rows)
}

func (t *text) peerTable(width int) []string {
	var rows [][]string
	for _, p := range t.r.Peers {
		rows = append(rows, []string{"  " + p.Addr, t.outcomes(p.Accepted)})
	}
	return layout(width, []column{{head: "peer"}, {head: "accepted"}}, rows)
}

// home is the pod, container or unit that a process belongs to, "" if to none.
func home(p *listeners.ProcessInfo) string {
	id := format.Quote(p.Container[:min(12, len(p.Container))])
	switch {
	case p.Pod != "":
		return "pod " + format.Quote(p.Pod)
	case id != "" && p.Runtime != "":
		return format.Quote(p.Runtime) + " " + id
	case id != "":
		return id
	case p.Unit != "":
		return format.Quote(p.Unit)
	}
	return ""
}

// fileWords is which file an executable is, whatever its path says.
func fileWords(dev string, inode uint64) string {
	if inode == 0 {
		return "file not known"
	}
	return fmt.Sprintf("dev %s inode %d", format.Quote(dev), inode)
}
