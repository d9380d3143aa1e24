package report

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// figure is a number of the screen with what stands before it.
type figure struct {
	mark  string
	value float64
}

var (
	number   = regexp.MustCompile(`^([≥~]?)([\d.]+)$`)
	units    = map[string]float64{"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}
	unpaired = regexp.MustCompile(`without a return|unknown|return-lost|entry-lost|began-before`)
	listener = regexp.MustCompile(`^[0-9.*]+:8080 `)

	told     = regexp.MustCompile(`([≥~]?)([\d,.]*\d)( (?:ns|µs|ms|s)\b)?`)
	singular = strings.NewReplacer("clients", "client", "times", "time", "SYNs", "SYN", "ACKs", "ACK", "connections", "connection", "were ", "was ")

	clause = regexp.MustCompile(`[,;:] `)
)

// figures takes the numbers out of a screen, by the words around them: those of each line, or
// of each part of one.
func figures(screen string) map[string]figure {
	all := map[string]figure{}
	screen = regexp.MustCompile(`(\d),(\d\d\d)`).ReplaceAllString(screen, "$1$2")
	screen, _, _ = strings.Cut(screen, "\nINCOMPLETE (")
	_, screen, _ = strings.Cut(screen, "\n\n") // the answer, whose figures are those of the findings
	screen, _, _ = strings.Cut(screen, "\nfindings:")
	for _, line := range strings.Split(screen, "\n")[1:] {
		if strings.HasPrefix(line, "INCOMPLETE:") || strings.HasPrefix(line, "file ") || strings.HasPrefix(line, "recording ") {
			continue
		}
		head := ""
		parts := []string{line}
		if !strings.HasPrefix(line, "  ") {
			parts = clause.Split(line, -1)
		}
		for _, part := range parts {
			var words []string
			var found []figure
			for _, w := range strings.Fields(strings.Trim(part, "() ")) {
				m := number.FindStringSubmatch(strings.Trim(w, "()"))
				switch n := len(found); {
				case m != nil:
					v, _ := strconv.ParseFloat(m[2], 64)
					found = append(found, figure{m[1], v})
					words = append(words, "#")
				case units[strings.Trim(w, "()")] != 0 && n > 0 && words[len(words)-1] == "#":
					found[n-1].value *= units[strings.Trim(w, "()")]
				case w == "?" || w == "-":
					found = append(found, figure{"~", 0})
					words = append(words, "#")
				case strings.ContainsAny(w, "▁▂▃▄▅▆▇█·") || strings.Count(w, ":") == 2: // a spark, a time
				default:
					words = append(words, strings.TrimSuffix(w, "s"))
				}
			}
			label := strings.Join(words, " ")
			if listener.MatchString(label) { // who it is by, and FULL, can come later
				label = "listener"
			}
			if head == "" {
				head = label
			}
			for i, f := range found {
				all[head+" | "+label+" | "+strconv.Itoa(i)] = f
			}
		}
	}
	return all
}

// findingFigures takes the numbers out of findings: by finding and the words around its numbers, in
// their order.
func findingFigures(list []findings.Finding) map[string][]figure {
	all := map[string][]figure{}
	for _, f := range list { // each may be a part of another
		for _, p := range f.Parts {
			list = append(list, findings.Finding{ID: p.ID, Text: p.Text})
		}
	}
	for _, f := range list {
		var found []figure
		for _, m := range told.FindAllStringSubmatch(f.Text, -1) {
			v, _ := strconv.ParseFloat(strings.ReplaceAll(m[2], ",", ""), 64)
			found = append(found, figure{m[1], v * max(units[strings.TrimSpace(m[3])], 1)})
		}
		all[f.ID+": "+singular.Replace(told.ReplaceAllString(f.Text, "#"))] = found
	}
	return all
}

// findingBounds holds the figures of findings of a damaged capture against those of the whole one: one
// that is marked ≥ is not more, one without a mark is in the whole one's finding of that kind, too.
func findingBounds(t *testing.T, name string, list, whole []findings.Finding, marks map[string]int) {
	t.Helper()
	exact := map[float64]bool{100e6: true, 20e6: true, 1e9: true} // the thresholds of analysis
	for _, of := range findingFigures(whole) {
		for _, f := range of {
			exact[f.value] = true
		}
	}
	in := findingFigures(whole)
	for label, of := range findingFigures(list) {
		same := in[label]
		for i, f := range of {
			marks[f.mark]++
			switch {
			case f.mark == "≥" && len(same) == len(of) && f.value > same[i].value:
				t.Errorf("%s: %s: figure %d is ≥%v, in the whole capture %v", name, label, i, f.value, same[i].value)
			case f.mark == "" && len(same) == len(of) && f.value != same[i].value, f.mark == "" && !exact[f.value]:
				t.Errorf("%s: %s: figure %d is %v without a mark", name, label, i, f.value)
			}
		}
	}
}

// A figure that is marked ≥ is not more than what it is in the whole capture, one without a
// mark is the same, wherever the capture stops, whatever part within is left out, and whichever
// event is lost.
func TestBounds(t *testing.T) {
	_, h, events := slowServer(t, analysis.Options{})
	end := &format.End{Reason: "signal", Clean: true, Events: uint64(len(events)), BlockedKnown: true, Clock: format.Clock{BootNS: 4e9}}
	var losses []format.Loss
	var findings, wholeFindings []findings.Finding
	screen := func(c analysis.Completeness, end *format.End, parts ...[]format.Event) string {
		a := analysis.New(h, analysis.Options{})
		if err := a.Add(&format.Batch{Processes: []format.Process{{Num: 1, PID: 100, Comm: "app", Exe: "/srv/app"}}}, false); err != nil {
			t.Fatal(err)
		}
		for i, p := range parts {
			if err := a.Add(&format.Batch{Events: p}, i > 0); err != nil {
				t.Fatal(err)
			}
		}
		if end != nil {
			if err := a.Add(&format.Batch{End: end, Losses: losses}, false); err != nil {
				t.Fatal(err)
			}
		}
		r, err := a.Finish(c)
		if err != nil {
			t.Fatal(err)
		}
		findings = r.Findings
		var b bytes.Buffer
		if err := Text(&b, r, TextOptions{Width: 200}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	whole := figures(screen(analysis.Completeness{}, end, events))
	wholeFindings = findings
	if len(whole) < 40 {
		t.Fatalf("%d figures: %v", len(whole), slices.Sorted(maps.Keys(whole)))
	}
	marks, findingMarks := map[string]int{}, map[string]int{}
	check := func(name, text string) {
		findingBounds(t, name, findings, wholeFindings, findingMarks)
		for label, f := range figures(text) {
			marks[f.mark]++
			of := label[strings.LastIndex(label, "| ")+2:]
			if strings.Contains(label, "where the capture stop") || strings.HasPrefix(label, "listener") && of == "3" || losses != nil && unpaired.MatchString(label) || strings.Contains(label, "app") && strings.HasPrefix(label, "app #") && of == "0" {
				continue // of the capture as it is, the limit of a queue, a pid
			}
			w := whole[label]
			if f.mark == "≥" && f.value > w.value || f.mark == "" && f.value != w.value {
				t.Errorf("%s: %s: %s%v, in the whole capture %v\n%s", name, label, f.mark, f.value, w.value, text)
				return
			}
		}
	}
	for n := 1; n < len(events); n++ {
		check("cut after "+strconv.Itoa(n), screen(analysis.Completeness{Truncated: true}, nil, events[:n]))
		lost, e := *end, &events[n-1]
		lost.Events, lost.Lost = end.Events-1, 1
		lost.Totals = []format.ProbeTotal{{Hook: e.Hook, Kind: e.Kind, Lost: 1}}
		losses = []format.Loss{{Hook: e.Hook, Kind: e.Kind, Count: 1, FromNS: e.BootNS - 1, ToNS: e.BootNS + 1}}
		check("lost "+strconv.Itoa(n), screen(analysis.Completeness{}, &lost, slices.Concat(events[:n-1], events[n:])))
		losses = nil
		for _, to := range []int{n + 1, n + 5, n + 20, n + 60} {
			if to <= len(events) {
				skip := analysis.Completeness{Skipped: []format.Skip{{Bytes: 1, Events: uint64(to - n)}}}
				check("without "+strconv.Itoa(n+1)+" to "+strconv.Itoa(to), screen(skip, end, events[:n], events[to:]))
			}
		}
	}
	if findingMarks["≥"] < 300 || findingMarks["~"] < 100 {
		t.Errorf("marks in findings: %v", findingMarks)
	}
	if marks["≥"] < 1000 || marks["~"] < 1000 {
		t.Errorf("marks: %v", marks)
	}
}
