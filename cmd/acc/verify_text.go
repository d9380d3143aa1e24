package main

// This file prints verify for people.

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/evidence/checkpoints"
	"github.com/acc-project/acc/format"
)

// verdictWords are the verdicts in words.
var verdictWords = map[string]string{
	audit.Intact: "intact: every frame, END, index and tail are there and fit",
	evidence.Unclean: "UNCLEAN: all that is in it fits, but the recording was not closed cleanly, or it was " +
		"repaired",
	audit.Truncated:      "TRUNCATED: it stops before its end",
	audit.Corrupt:        "CORRUPT: it holds what its recorder did not write",
	audit.Altered:        "ALTERED: it is not what was signed or kept",
	evidence.Unsigned:    "UNSIGNED: no valid signature from an allowed signer",
	evidence.Unconfirmed: "NOT CONFIRMED: no kept chain head, and no original, confirms it",
}

// text prints the result for a person: the verdict first.
func (v *verified) text(out io.Writer) error {
	q := format.Quote
	var s sheet
	row := s.row
	row("capture", "%s", fileName(v.File))
	row("verdict", "%s", verdictWords[v.Verdict])
	row("file", "%s", report.FileState(&v.Integrity))
	row("recording", "%s", q(report.RecordingState(&v.Recording)))
	name := "because"
	for _, why := range v.Why {
		row(name, "%s", q(why))
		name = ""
	}
	if m := v.Missing; m != nil {
		at := "at a time that is not known"
		if m.AfterTime != nil {
			at = m.AfterTime.Format("2006-01-02 15:04:05.000000000 MST")
		}
		if v.Ended {
			row("missing", "the index and the tail behind the end; nothing of the recording")
		} else if m.AfterEvent == 0 {
			row("missing", "all that was recorded, if there was anything, and the account of losses")
		} else {
			row("missing", "what happened after event %s, %s, and the account of losses", report.Count(m.AfterEvent),
				at)
		}
		if m.RestBytes > 0 && !v.Ended && len(v.Skipped) == 0 {
			of := ""
			if v.Decrypted > 0 {
				of = " of what is decrypted"
			}
			row("", "%d bytes of it from byte %d%s on are there, but no complete frame", m.RestBytes, m.AtByte, of)
		}
	}
	row("sha256", "%s", cmp.Or(v.SHA256, "not known: it was not read to its end"))
	row("chain head", "%s", v.Head)
	row("", "of %s with %s", many(int(v.Frames), "frame"), many(int(v.Events), "event")+v.covered())
	v.headsText(row)
	if r := v.Redacted; r != nil {
		redactedRows(row, r)
	}
	cutRows(row, v.Cuts)
	if p := v.Parent; p != nil {
		text := map[string]string{
			evidence.ParentProven:  "proven: cutting " + fileName(p.File) + " again gives the same",
			evidence.ParentDiffers: "NOT what is cut out of " + fileName(p.File) + ": " + q(p.Why),
			evidence.ParentOther:   q(p.Why)}[p.Status]
		row("parent", "%s", text)
	}
	if r := v.Repaired; r != nil {
		row("repaired", "from %s, %d bytes (%s)", q(r.SHA256), r.Bytes, q(r.Verdict))
		row("", "not in here: %s", humanize.LeftOut(r.Lost, max(r.Places, 1), r.Events))
	}
	if v.CrossCheck.Text != "" {
		row("cross-check", "%s", q(v.CrossCheck.Text))
	}
	v.signatureText(row)
	row("id", "%s", q(v.ID))
	return s.write(textOut(out), widthOf(out))
}

// covered says how much of the file the head covers.
func (v *verified) covered() string {
	file := fmt.Sprintf("; the file has %s bytes", report.Count(uint64(v.Bytes)))
	bytes := v.Bytes
	if v.Decrypted > 0 {
		bytes = v.Decrypted
		file += fmt.Sprintf(", and %s decrypted", report.Count(uint64(bytes)))
	}
	// behind them are index and tail alone
	if v.HeadBytes == bytes || v.Capture == audit.Intact || v.Capture == evidence.Unclean {
		return file
	}
	return fmt.Sprintf(": up to byte %s%s", report.Count(uint64(v.HeadBytes)), file)
}

func (v *verified) signatureText(row func(name, format string, args ...any)) {
	s, q := &v.Signature, format.Quote
	switch s.Status {
	case "good":
		row("signature", "good, by the allowed signer %s; key %s %s", q(s.Principals),
			q(strings.TrimPrefix(s.Type, "ssh-")), q(s.Key))
	case "valid":
		row("signature", "valid, by the key %s %s; --allowed-signers says whose that is",
			q(strings.TrimPrefix(s.Type, "ssh-")), q(s.Key))
	case "bad":
		row("signature", "BAD: %s", q(s.Why))
	default:
		row("signature", "none. Without a signature, anyone who edits the file can also recompute its hash chain.")
	}
}

// maxHeads is how many kept heads that are not found are named.
const maxHeads = 5

// headsText prints the newest kept head that was found, which vouches for everything
// before it, and those that were not.
func (v *verified) headsText(row func(name, format string, args ...any)) {
	if l := v.Log; l != nil && l.Checkpoints > 0 {
		row("log", "%s", map[string]string{
			string(checkpoints.Journal): "a journal: journald asked the kernel who wrote the lines: " +
				format.Quote(l.Writer),
			string(checkpoints.Syslog): "text of syslog, with acc's tag, which any user of that host can write: " +
				"journalctl -t acc -o json proves more",
			string(checkpoints.Output): "acc's standard error: it proves as much as it is hard to write there",
		}[l.Form])
	}
	if len(v.Heads) == 0 {
		return
	}
	found, newest := 0, -1
	for i, h := range v.Heads {
		if h.Found {
			if found++; newest < 0 || h.Frame > v.Heads[newest].Frame {
				newest = i
			}
		}
	}
	name := "chain heads"
	say := func(format string, args ...any) {
		row(name, format, args...)
		name = ""
	}
	say("%s of %s found", report.Count(uint64(found)), report.Count(uint64(len(v.Heads))))
	if newest >= 0 {
		switch h, ended := v.Heads[newest], v.Capture == audit.Intact || v.Capture == evidence.Unclean; {
		case v.Head != h.Head:
			say("%.16s…: frame %d; the first %d bytes are as they were written then; "+
				"nothing proves the %d behind them",
				h.Head, h.Frame, h.Bytes, v.Bytes-h.Bytes)
		case ended:
			say("%.16s…: frame %d, the last; the whole file is as it was written then", h.Head, h.Frame)
		default:
			say("%.16s…: frame %d, the last that is here; the first %d bytes are as they were written then", h.Head,
				h.Frame, h.Bytes)
		}
	}
	shown := 0
	for _, h := range v.Heads {
		if h.Found {
			continue
		}
		if shown++; shown > maxHeads {
			say("and %s more that are not found", report.Count(uint64(len(v.Heads)-found-maxHeads)))
			break
		}
		switch {
		case h.Status == evidence.HeadDiffers:
			say("%.16s…: NOT THAT OF FRAME %d", h.Head, h.Frame)
		case h.Status == evidence.HeadMissing:
			say("%.16s…: NOT IN THE CAPTURE", h.Head)
		case v.Log != nil && len(v.Log.Contradictions) > 0:
			say("%.16s…: not confirmed: the log contradicts itself", h.Head)
		case v.Repaired != nil:
			say("%.16s…: not confirmed: this one is repaired", h.Head)
		case len(v.Skipped) > 0:
			say("%.16s…: not confirmed: the chain is broken there", h.Head)
		default:
			say("%.16s…: not confirmed: the capture stops before it", h.Head)
		}
	}
}
