// Package htmlreport writes what a capture shows as one web page that has the capture in it. The page loads nothing,
// and names in a capture can be nothing but text in it.
package htmlreport

import (
	"crypto/sha256"
	_ "embed" // of the page's parts
	"encoding/base64"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

// The parts of the page. page/uplot is uPlot as its makers publish it: make uplot compares.
var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/page.css
	pageCSS string
	//go:embed page/uplot/uPlot.min.css
	uplotCSS string
	//go:embed page/uplot/VERSION
	uplotVersion string
	//go:embed page/uplot/LICENSE
	uplotLicence string
	//go:embed page/uplot/uPlot.iife.min.js
	uplotJS string
	//go:embed page/data.js
	dataJS string
	//go:embed page/charts.js
	chartsJS string
	//go:embed page/lanes.js
	lanesJS string
	//go:embed page/table.js
	tableJS string
	//go:embed page/story.js
	storyJS string
	//go:embed page/main.js
	mainJS string
)

// script is the one script of the page.
func script() string {
	return "/* uPlot " + uplotVersion + uplotLicence + "*/\n" + uplotJS + "\n\"use strict\";\n(() => {\n" +
		strings.Join([]string{dataJS, chartsJS, lanesJS, tableJS, storyJS, mainJS}, "\n") + "})();\n"
}

// Options say what the page says beside the result.
type Options struct {
	Tool      string         // that writes it
	Name      string         // of the capture
	Page      string         // name of the page's file, as its commands have it
	Zone      *time.Location // of times
	SHA256    string         // of the capture
	Head      string         // its chain head
	Signature string         // what is known of one
	Bytes     int64          // of the capture; 0: it is not in the page
	Left      string         // why it is not in the page
}

// Write writes the page of a result. The collector took what happened in the same capture, whose bytes capture has;
// it is read if Options.Bytes is more than 0.
func (c *Collector) Write(w io.Writer, r *analysis.Result, h *format.Header, clocks *format.Clocks, capture io.Reader,
	o Options) error {
	t, err := template.New("").Parse(pageHTML)
	if err != nil {
		return err
	}
	v := &view{r: r, zone: o.Zone}
	var which string
	v.rows, which = c.kept.list()
	v.head(&o)
	v.verdict()
	v.findings()
	v.tiles()
	v.latency()
	v.listeners()
	v.outcomes()
	v.worst(clocks)
	v.facts(h, &o)
	v.Kept = "All " + report.Count(c.kept.total) + " are here."
	if which != "" {
		v.Kept = report.Count(uint64(len(v.rows))) + " of " + report.Count(c.kept.total) + " are here: " + which + "."
	}
	data, columns := c.data(r, h, clocks, o.Zone, v.rows)
	page, err := packedJSON(data)
	if err != nil {
		return err
	}
	rows, err := packed(columns)
	if err != nil {
		return err
	}
	v.Page, v.Rows = template.HTML(page), template.HTML(rows)
	if err := t.ExecuteTemplate(w, "head", v); err != nil {
		return err
	}
	if o.Bytes > 0 {
		if err := format.Embed(w, capture, o.Bytes); err != nil {
			return err
		}
	}
	return t.ExecuteTemplate(w, "tail", v)
}

// head fills in what stands in the head of the page.
func (v *view) head(o *Options) {
	c := &v.r.Capture
	css, js := uplotCSS+pageCSS, script()
	v.Style, v.Script = template.CSS(css), template.JS(js)
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	v.CSP = "default-src 'none'; script-src " + hash(js) + "; style-src " + hash(css) +
		"; img-src data:; base-uri 'none'; form-action 'none'"
	v.Host = format.Quote(c.Host)
	if v.Host == "" {
		v.Host = "a host without a name"
	}
	v.When = "the date is not known: the header is lost"
	if c.Start != nil && c.End != nil {
		start, end := c.Start.In(v.zone), c.End.In(v.zone)
		layout := "15:04:05"
		if start.Format(time.DateOnly) != end.Format(time.DateOnly) {
			layout = "2006-01-02 15:04:05"
		}
		v.When = start.Format("2006-01-02 15:04:05") + " – " + end.Format(layout) + start.Format(" -07:00")
	}
	v.When += " (" + mark("≥", v.r.Doubts.Span) + report.Duration(c.DurationNS) + ")"
	v.Title = "acc report: " + v.Host + ", " + v.When
	v.Made = "Made by " + o.Tool + ". The charts are drawn by uPlot (MIT licence)."
	v.Capture = captureView{o.Bytes, format.Quote(o.Name), format.Quote(o.Page), report.Bytes(o.Bytes), o.Left}
	v.Nav = []navigation{{"findings", "Findings"}, {"time", "Over time"}, {"queues", "Queues"}, {"latency", "Durations"},
		{"lanes", "Lanes"}, {"connections", "Connections"}, {"who", "Who"}, {"outcomes", "Outcomes"},
		{"evidence", "Evidence"}}
}
