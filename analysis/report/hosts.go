package report

// This file writes the captures of many hosts on one screen: a line for each host, worst first.

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// Host is what the captures of one host show.
type Host struct {
	Host     string   `json:"host"`     // node name; "" of files that could not be read
	Captures int      `json:"captures"` // that were read
	Files    []string `json:"files"`    // their names, and those that could not be read; the first ten
	// the worst of its findings: critical, warning or notice; "" if there is none
	Worst         findings.Severity `json:"worst"`
	Findings      []string          `json:"findings"`       // ids of its findings, worst first, each once
	FindingCounts findings.Counts   `json:"finding_counts"` // of all of its captures
	Text          string            `json:"text"`           // of its worst finding
	Connections   uint64            `json:"connections"`    // TCP connections
	Accepted      uint64            `json:"accepted"`       // attempts that gave a connection
	Failed        uint64            `json:"failed"`         // attempts that gave an error
	Refused       uint64            `json:"refused"`        // packets that were dropped because a queue was full
	// how long an accepted connection was in the accept queue at most; null: not known
	QueuedMax *int64 `json:"queue_wait_max_ns"`
	Lost      uint64 `json:"lost"`   // events
	Missed    uint64 `json:"missed"` // hits that the kernel did not run a probe for
	// whether all of its captures are intact and complete
	Complete bool       `json:"complete"`
	Why      []string   `json:"why"`   // what is missing, a few words each; the first ten
	Start    *time.Time `json:"start"` // of its first recording
	End      *time.Time `json:"end"`   // of its last recording

	ranks []int  // of Findings: 0 is critical
	worst int    // rank of Text
	from  string // the file of Text
}

// maxOfHost is how many names, and how many reasons, are kept of a host.
const maxOfHost = 10

// Add adds what one of its captures shows.
func (h *Host) Add(file string, r *analysis.Result) {
	if h.Captures == 0 {
		h.Complete, h.worst = len(h.Why) == 0, len(findings.Severities)
	}
	h.Captures++
	h.name(file)
	h.FindingCounts.Critical += r.FindingCounts.Critical
	h.FindingCounts.Warning += r.FindingCounts.Warning
	h.FindingCounts.Notice += r.FindingCounts.Notice
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.ID == "incomplete" { // Complete and Why say so
			continue
		}
		rank := slices.Index(findings.Severities, f.Severity)
		for _, id := range append([]string{f.ID}, partIDs(f)...) {
			h.found(id, rank)
		}
		if rank < h.worst {
			h.worst, h.Worst, h.Text, h.from = rank, f.Severity, f.Text, file
		}
	}
	c := &r.Connections
	h.Connections += c.Seen
	h.Accepted, h.Failed = h.Accepted+r.Totals.Accepted, h.Failed+r.Totals.Failed
	h.Refused += c.RefusedSYN + c.RefusedACK + c.RefusedSYNQueue
	if longest := c.QueueWait.Max; c.QueueWait.Count > 0 && (h.QueuedMax == nil || longest > *h.QueuedMax) {
		h.QueuedMax = &longest
	}
	h.Lost, h.Missed = h.Lost+r.Recording.Lost, h.Missed+r.Recording.Missed
	if r.Integrity.State != audit.Intact {
		h.lacks("file " + r.Integrity.State)
	}
	if r.Recording.State != audit.Complete {
		for _, why := range r.Recording.Why {
			h.lacks(why)
		}
	}
	if s := r.Capture.Start; s != nil && (h.Start == nil || s.Before(*h.Start)) {
		h.Start = s
	}
	if e := r.Capture.End; e != nil && (h.End == nil || e.After(*h.End)) {
		h.End = e
	}
}

// found adds the id of a finding, behind those that are as bad.
func (h *Host) found(id string, rank int) {
	if i := slices.Index(h.Findings, id); i >= 0 {
		if h.ranks[i] <= rank {
			return
		}
		h.Findings, h.ranks = slices.Delete(h.Findings, i, i+1), slices.Delete(h.ranks, i, i+1)
	}
	i, _ := slices.BinarySearch(h.ranks, rank+1)
	h.Findings, h.ranks = slices.Insert(h.Findings, i, id), slices.Insert(h.ranks, i, rank)
}

// Unreadable adds a file of which nothing could be read.
func (h *Host) Unreadable(file string) {
	h.name(file)
	h.lacks("file unreadable")
}

func (h *Host) name(file string) {
	if len(h.Files) < maxOfHost {
		h.Files = append(h.Files, file)
	}
}

func (h *Host) lacks(why string) {
	h.Complete = false
	if len(h.Why) < maxOfHost && !slices.Contains(h.Why, why) {
		h.Why = append(h.Why, why)
	}
}

func partIDs(f *findings.Finding) (ids []string) {
	for _, p := range f.Parts {
		ids = append(ids, p.ID)
	}
	return ids
}

// SortHosts puts the worst hosts first: by their findings, then those whose captures lack something.
func SortHosts(list []*Host) {
	slices.SortFunc(list, func(a, b *Host) int {
		more := func(x, y int) int { return cmp.Compare(y, x) }
		lacking := func(h *Host) int { return min(len(h.Why), 1) }
		return cmp.Or(more(min(a.FindingCounts.Critical, 1), min(b.FindingCounts.Critical, 1)),
			cmp.Compare(b.Refused, a.Refused), more(a.FindingCounts.Critical, b.FindingCounts.Critical),
			cmp.Compare(longest(b), longest(a)), more(a.FindingCounts.Warning, b.FindingCounts.Warning),
			more(lacking(a), lacking(b)), cmp.Compare(a.Host, b.Host))
	})
}

func longest(h *Host) int64 {
	if h.QueuedMax == nil || h.Worst == "" || h.Worst == findings.Notice { // else waits of microseconds have an order
		return 0
	}
	return *h.QueuedMax
}

// Hosts writes one line for each host, in the order of the list, of which most are written at most; 0: all.
func Hosts(w io.Writer, list []*Host, most int, o TextOptions) error {
	t := &text{o: o}
	if t.o.Width == 0 {
		t.o.Width = 100
	}
	t.o.Width = max(t.o.Width, 60)
	t.hostsHead(list)
	shown := list
	if most > 0 && len(list) > most {
		shown = list[:most]
	}
	rows := [][]string{}
	for _, h := range shown {
		worst := strings.ToUpper(string(h.Worst))
		if h.Worst != findings.Critical {
			worst = string(h.Worst)
		}
		state := "complete"
		if !h.Complete {
			state = "INCOMPLETE: " + strings.Join(h.Why, "; ")
		}
		ids := cmp.Or(strings.Join(h.Findings[:min(len(h.Findings), 3)], ", "), "none")
		counts := []string{Count(h.Connections), Count(h.Failed), Count(h.Refused)}
		if h.Captures == 0 { // nothing was read
			ids, counts = "-", []string{"-", "-", "-"}
		}
		name := format.Quote(h.Host)
		if h.Host == "" { // acc can't read the header: the file's name stands here, and its folder in the error message
			name = cut(format.Quote(path.Base(strings.ReplaceAll(strings.Join(h.Files, " "), `\`, "/"))), 24)
		}
		rows = append(rows, []string{name, cmp.Or(worst, "-"), ids, counts[0], counts[1], counts[2], longestText(h),
			format.Quote(state)})
	}
	t.print(layout(t.o.Width, []column{{head: "host", yield: 1, least: 16}, {head: "worst"},
		{head: "findings", yield: 3, least: 14}, {head: "connections"}, {head: "failed", yield: 5},
		{head: "refused", yield: 4}, {head: "longest wait"}, {head: "recording", yield: 2, least: 10}}, rows))
	if n := len(list) - len(shown); n > 0 {
		fine, lacking := 0, []string{}
		for _, h := range list[len(shown):] {
			if !h.Complete {
				lacking = append(lacking, cmp.Or(h.Host, strings.Join(h.Files, " ")))
			} else if h.Worst == "" {
				fine++
			}
		}
		line := fmt.Sprintf("… and %s; %s of them without a finding, and complete (--top 0 lists all)",
			many(uint64(n), "more host"), Count(uint64(fine)))
		if len(lacking) > 0 {
			line += fmt.Sprintf("; INCOMPLETE among them: %s", someOf(lacking, 8))
		}
		t.Write(AppendFolded(nil, []byte(format.Quote(line)), t.o.Width, 2))
		t.WriteString("\n")
	}
	if len(list) > 0 && list[0].Text != "" {
		t.WriteString("\n")
		t.Write(AppendFolded(nil, []byte("worst: "+format.Quote(list[0].Host)+": "+list[0].Text), t.o.Width, 2))
		t.WriteString("\nnext: acc analyze " + format.Quote(list[0].from) + "\n")
	}
	_, err := w.Write(t.Bytes())
	return err
}

func longestText(h *Host) string {
	if h.QueuedMax == nil {
		return "-"
	}
	return Duration(*h.QueuedMax)
}

// hostsHead writes what all hosts have together.
func (t *text) hostsHead(list []*Host) {
	var captures, critical, warning, lacking, connections, lost uint64
	for _, h := range list {
		captures, connections, lost = captures+uint64(h.Captures), connections+h.Connections, lost+h.Lost
		switch h.Worst {
		case findings.Critical:
			critical++
		case findings.Warning:
			warning++
		}
		if !h.Complete {
			lacking++
		}
	}
	line := fmt.Sprintf("%s, %s, %s", many(uint64(len(list)), "host"), many(captures, "capture"),
		many(connections, "connection"))
	t.WriteString(t.style(bold, line) + "\n")
	t.WriteString(fmt.Sprintf("%s critical, %s with a warning, %s without all of what happened (%s)\n\n",
		many(critical, "host"), Count(warning), Count(lacking), many(lost, "event")+" lost"))
}

// someOf joins the first names of a list.
func someOf(list []string, most int) string {
	text := strings.Join(list[:min(len(list), most)], ", ")
	if n := len(list) - most; n > 0 {
		text += fmt.Sprintf(" and %s more", Count(uint64(n)))
	}
	return text
}
