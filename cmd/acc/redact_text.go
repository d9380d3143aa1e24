package main

// This file has what acc redact prints: what a capture reveals, and the outcome of a check.

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/redact"
)

// sayRedacted says how a capture was redacted.
func sayRedacted(r *format.Redacted) string {
	how := map[string]string{redact.Prefix: "addresses are encrypted, subnets are recognisable",
		redact.Kinds:  "addresses are encrypted within their class, subnets are recognisable",
		redact.Opaque: "addresses are numbered"}[r.Addresses]
	if how == "" {
		how = "addresses are replaced"
	}
	if len(r.Keep) > 0 {
		how += "; kept: " + format.Quote(strings.Join(r.Keep, ", "))
	}
	return "names are pseudonyms, " + how
}

func sayChecked(c *redact.Checked) string {
	return fmt.Sprintf("%s and %s are the same but for what was replaced; none of %s and addresses is in its %s",
		humanize.Plural(c.Events, "event"), humanize.Plural(c.Records, "other record"),
		humanize.Plural(c.Values, "original name"), report.Bytes(c.Bytes))
}

// revealsText lists what a capture gives away; with options, what redact would do to it.
func revealsText(out io.Writer, r *redact.Revealed, o *redactOptions) error {
	var s sheet
	s.row("capture", "%s", fileName(r.File))
	if r.Redacted {
		s.row("redacted", "it is redacted: what is listed are pseudonyms")
	}
	if r.Truncated {
		s.row("truncated", "it stops before its end: this is of what is there")
	}
	s.row("events", "%s, %s", report.Count(r.Events), report.Bytes(r.Bytes))
	for i, c := range r.Classes {
		if c.Places == 0 {
			continue
		}
		text := fmt.Sprintf("%s: %s at %s", c.What, many(int(c.Values), "value"), many(int(c.Places), "place"))
		if o != nil {
			does := redact.Classes[i].Does
			if c.Class == "address" {
				does = map[string]string{redact.Prefix: "encrypted, subnets stay recognisable",
					redact.Kinds: "encrypted within private, link-local and public ones", redact.Opaque: "numbered"}[o.addresses]
			}
			if slices.Contains(o.keep, c.Class) {
				does = "KEPT (--keep)"
			}
			text += " – " + does
		}
		s.row(c.Class, "%s", text)
		more := ""
		if int(c.Values) > len(c.Samples) {
			more = ", …"
		}
		s.row("", "%s%s", strings.Join(c.Samples, ", "), more)
	}
	var none []string
	for _, c := range r.Classes {
		if c.Places == 0 {
			none = append(none, c.Class)
		}
	}
	if len(none) > 0 {
		s.row("nothing of", "%s", strings.Join(none, ", "))
	}
	if o != nil && len(o.keep) > 0 {
		s.row("kept", "%s", strings.Join(o.keep, ", "))
	}
	head := "and"
	if o != nil {
		head = "remains"
	}
	for _, line := range r.Remains {
		s.row(head, "%s", line)
		head = ""
	}
	return s.write(textOut(out), widthOf(out))
}

// checkedText prints the outcome of a check.
func checkedText(out io.Writer, original, safe string, c *redact.Checked) error {
	var s sheet
	s.row("original", "%s", fileName(original))
	s.row("redacted", "%s", fileName(safe))
	if c.Ok {
		s.row("verdict", "nothing of the original's names and addresses is in it, and the events are the same")
	} else {
		s.row("verdict", "NOT SAFE, or not of this original")
		head := "because"
		for _, p := range c.Problems {
			s.row(head, "%s", format.Quote(p))
			head = ""
		}
	}
	s.row("compared", "%s, %s, frame by frame", many(int(c.Events), "event"), many(int(c.Records), "other record"))
	s.row("searched", "%s for %s", report.Bytes(c.Bytes), many(int(c.Values), "original value"))
	head := "forms"
	for _, f := range c.Forms {
		s.row(head, "%s", f)
		head = ""
	}
	if len(c.Unsearch) > 0 {
		s.row("not searched", "names of one or two letters, words of acc itself, addresses that others became; "+
			"compared field by field: %s",
			format.Quote(strings.Join(c.Unsearch, ", ")))
	}
	if len(c.Kept) > 0 {
		s.row("kept", "%s: not searched for", format.Quote(strings.Join(c.Kept, ", ")))
	}
	return s.write(textOut(out), widthOf(out))
}

// redactedRows say that a capture is redacted, and of what it was made.
func redactedRows(row func(name, format string, args ...any), r *format.Redacted) {
	row("REDACTED", "%s", sayRedacted(r))
	row("", "made of a capture of %s, SHA-256 %s, by %s", report.Bytes(r.Bytes), format.Quote(r.SHA256),
		format.Quote(r.Tool))
}
