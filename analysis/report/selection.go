package report

// This file writes what a filter selected.

import (
	"fmt"
	"io"
	"strings"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/selection"
	"github.com/acc-project/acc/format"
)

// Selection writes what a filter selected for a person; r is the analysis of the whole capture.
func Selection(w io.Writer, s *selection.Figures, r *analysis.Result, o TextOptions) error {
	t := newText(r, o)
	code := ""
	if !t.certain() {
		code = red
	}
	t.line(code, t.verdict(), "")
	t.notices()
	t.line(bold, "only what -f selects:", " "+format.Quote(strings.Join(strings.Fields(s.Filter), " ")))
	if !t.certain() {
		t.line("", "", "the counts are of what the capture has")
	}
	t.WriteByte('\n')
	t.head()
	t.selectedAttempts(s.Attempts)
	t.selectedConnections(s.Connections)
	t.selectedTimes(s)
	t.selectedRows("listener", s.Listeners, s.More.Listeners)
	t.selectedRows("process", s.Processes, s.More.Processes)
	t.selectedRows("peer", s.Peers, s.More.Peers)
	t.selectedFindings(s)
	_, err := w.Write(t.Bytes())
	return err
}

func share(n, of uint64, what string) string {
	return Count(n) + " of " + Count(of) + " " + humanize.Nouns(of, what)
}

func (t *text) selectedAttempts(a *selection.SelectedAttempts) {
	t.WriteByte('\n')
	if a == nil {
		t.fold("", "attempts", "are not selected: they have not all of the fields that the condition names")
		return
	}
	t.line(bold, share(a.Selected, a.Of, "attempt")+":",
		fmt.Sprintf(" %s accepted, %s failed", Count(a.Accepted), Count(a.Failed)))
	var rows [][]string
	for _, e := range a.Errors[:min(len(a.Errors), 10)] {
		rows = append(rows, []string{"  " + Count(e.Count), e.Name})
	}
	t.list(rows)
}

func (t *text) selectedConnections(c *selection.SelectedConnections) {
	if c == nil {
		t.fold("", "connections", "are not selected: they have not all of the fields that the condition names")
		return
	}
	t.line(bold, share(c.Selected, c.Of, "connection"), "")
	var rows [][]string
	for _, e := range c.Ends {
		rows = append(rows, []string{"  " + Count(e.Count), string(e.Reason)})
	}
	if c.Dead > 0 {
		rows = append(rows, []string{"  " + Count(c.Dead), "of them dead on arrival"})
	}
	if c.Refused > 0 {
		rows = append(rows, []string{"  " + Count(c.Refused), humanize.Nouns(c.Refused, "packet") +
			" of theirs refused by a full queue"})
	}
	t.list(rows)
}

func (t *text) selectedTimes(s *selection.Figures) {
	var rows [][]string
	if a := s.Attempts; a != nil {
		if a.Wait.Count > 0 {
			rows = append(rows, quantileRow("in accept, accepted", &a.Wait, "", ""))
		}
		if a.FailedWait.Count > 0 {
			rows = append(rows, quantileRow("in accept, failed", &a.FailedWait, "", ""))
		}
	}
	if c := s.Connections; c != nil {
		if c.Handshake.Count > 0 {
			rows = append(rows, quantileRow("handshake", &c.Handshake, "", ""))
		}
		if c.QueueWait.Count > 0 {
			rows = append(rows, quantileRow("accept queue", &c.QueueWait, "", ""))
		}
		if c.Alive.Count > 0 {
			rows = append(rows, quantileRow("alive", &c.Alive, "", ""))
		}
	}
	if len(rows) > 0 {
		t.WriteByte('\n')
		t.print(layout(t.o.Width, quantileColumns("time"), rows))
	}
}

// selectedRows is a table of listeners, processes or peers.
func (t *text) selectedRows(what string, list []selection.SelectedRow, more int) {
	if len(list) == 0 {
		return
	}
	var rows [][]string
	part := func(n, of uint64) string {
		if of == 0 {
			return ""
		}
		return Count(n) + " of " + Count(of)
	}
	for _, r := range list {
		wait := ""
		if r.QueueWait.Count > 0 {
			wait = Duration(r.QueueWait.P99)
		}
		rows = append(
			rows,
			[]string{"  " + r.Name, part(r.Attempts, r.OfAttempts), part(r.Connections, r.OfConnections),
				wait},
		)
	}
	t.WriteByte('\n')
	t.print(layout(t.o.Width, []column{{head: what}, {head: "attempts"}, {head: "connections"}, {head: "p99 queued"}},
		rows))
	t.more(more, what)
}

// selectedFindings are those of listeners of which all is selected.
func (t *text) selectedFindings(s *selection.Figures) {
	if n := s.FindingsLeftOut; n > 0 {
		defer func() {
			t.fold(
				"",
				"not shown:",
				fmt.Sprintf("%s of the whole capture: a finding is about a whole listener, and of these "+
					"not all is selected; acc analyze without -f shows them", humanize.Plural(uint64(n), "finding")),
			)
		}()
	}
	if len(s.Findings) == 0 {
		t.WriteByte('\n')
		if s.WholeListeners == 0 {
			t.fold(bold, "findings:", "not looked for: no listener is selected as a whole")
		} else {
			t.fold(bold, "findings:", "none of "+humanize.Plural(uint64(s.WholeListeners), "listener")+
				" selected as a whole")
		}
		return
	}
	r := *t.r
	r.Findings, r.Others.Findings, r.FindingCounts = s.Findings, 0, findings.Counts{}
	for i := range s.Findings {
		r.FindingCounts.Add(s.Findings[i].Severity)
	}
	whole := t.r
	t.r = &r
	t.findings()
	t.r = whole
}
