package export

// This file has the table of captures: what each holds, and what it lacks.

import (
	"cmp"
	"strings"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/format"
)

// number is a count that is known if the capture could be read.
func number(name, doc string, of func(capture, *Source) uint64) column[capture] {
	return intColumn(name, doc, func(c *capture, s *Source) (int64, bool) {
		if c.Result == nil {
			return 0, false
		}
		return int64(of(*c, s)), true
	})
}

// known is text of what the result says.
func known(name, doc string, of func(capture) string) column[capture] {
	return textColumn(name, doc, func(c *capture, _ *Source) string {
		if c.Result == nil {
			return ""
		}
		return of(*c)
	})
}

// yes is a flag of what the result says.
func yes(name, doc string, of func(capture, *Source) bool) column[capture] {
	return flagColumn(name, doc, func(c *capture, s *Source) (bool, bool) {
		return c.Result != nil && of(*c, s), c.Result != nil
	})
}

// header is text of the header.
func header(name, doc string, of func(*format.Header) string) column[capture] {
	return textColumn(name, doc, func(_ *capture, s *Source) string {
		if s.Header == nil {
			return ""
		}
		return of(s.Header)
	})
}

// Unreadable is the verdict on a file that acc could not read at all.
const Unreadable = "unreadable"

var captureColumns = append(
	identity(func(*capture, *Source) int64 { return 0 }, "0"),
	textColumn("file", "as it was named", func(_ *capture, s *Source) string { return s.File }),
	textColumn("verdict", "on the file: intact, truncated, corrupt, or unreadable",
		func(c *capture, _ *Source) string {
			if c.Result == nil {
				return Unreadable
			}
			return c.Integrity.State
		}),
	textColumn("recording", "complete or incomplete: whether what happened is in it", func(c *capture, _ *Source) string {
		if c.Result == nil {
			return audit.Incomplete
		}
		return c.Recording.State
	}),
	textColumn("why", "what is wrong with the file, and what the recording lacks", func(c *capture, s *Source) string {
		if c.Result == nil {
			return s.Failed
		}
		return strings.Join(append(append([]string{}, c.Integrity.Why...), c.Recording.Why...), "; ")
	}),
	timeColumn("started_at", "start of the recording", func(_ *capture, s *Source) (int64, bool) {
		if s.Header == nil {
			return 0, false
		}
		return s.Header.StartNS, s.Header.StartNS != 0
	}),
	timeColumn("ended_at", "end of the recording, or of what is there of it", func(c *capture, _ *Source) (int64, bool) {
		if c.Result == nil || c.Capture.End == nil {
			return 0, false
		}
		return c.Capture.End.UnixNano(), true
	}),
	number("duration_ns", "from start to end", func(c capture, _ *Source) uint64 { return uint64(c.Capture.DurationNS) }),
	header("tool", "acc and its version", func(h *format.Header) string { return h.Tool }),
	header("kernel", "release", func(h *format.Header) string { return h.Kernel }),
	header("arch", "machine", func(h *format.Header) string { return h.Arch }),
	header("mode", "kprobe or fentry", func(h *format.Header) string { return h.Mode }),
	header("machine", "keyed hash of /etc/machine-id", func(h *format.Header) string { return h.MachineID }),
	header("boot_id", "changes when the host starts", func(h *format.Header) string { return h.BootID }),
	header("set_id", "of a recording in several files: the capture id of its first file", func(h *format.Header) string {
		if h.Set == nil {
			return ""
		}
		return h.Set.ID
	}),
	intColumn("set_file", "number of this file in it", func(_ *capture, s *Source) (int64, bool) {
		if s.Header == nil || s.Header.Set == nil {
			return 0, false
		}
		return int64(s.Header.Set.File), true
	}),
	number("events", "in the capture", func(c capture, _ *Source) uint64 { return c.Capture.Events }),
	number("attempts", "to accept", func(c capture, _ *Source) uint64 { return c.Totals.Attempts }),
	number("accepted", "attempts that gave a connection", func(c capture, _ *Source) uint64 { return c.Totals.Accepted }),
	number("failed", "attempts that gave an error", func(c capture, _ *Source) uint64 { return c.Totals.Failed }),
	number("connections", "TCP connections", func(c capture, _ *Source) uint64 { return c.Connections.Seen }),
	number("rows_connections", "rows of connections that were exported: fewer if a filter chose them",
		func(_ capture, s *Source) uint64 { return s.connections }),
	number("rows_attempts", "rows of attempts that were exported",
		func(_ capture, s *Source) uint64 { return s.attempts }),
	number("lost", "events that the ring buffer or the disk had no room for",
		func(c capture, _ *Source) uint64 { return c.Recording.Lost }),
	number("missed", "hits that the kernel did not run a probe for",
		func(c capture, _ *Source) uint64 { return c.Recording.Missed }),
	intColumn("filtered", "hits that the recorder's flags did not select; null: not known, END is missing",
		func(_ *capture, s *Source) (n int64, known bool) {
			if s.End == nil {
				return 0, false
			}
			for _, t := range s.End.Totals {
				n += int64(t.Filtered)
			}
			return n, true
		}),
	yes("truncated", "its end is missing", func(_ capture, s *Source) bool { return s.End == nil }),
	yes("closed_cleanly", "all that was seen was written, or counted as lost",
		func(c capture, _ *Source) bool { return c.Recording.ClosedCleanly }),
	known("end_reason", "why the recording ended", func(c capture) string { return c.Capture.EndReason }),
	known("selected", "what was to be recorded; null: everything", func(c capture) string { return c.Recording.Selected }),
	known("cross_check", "what the kernel's own counters say", func(c capture) string { return c.Recording.CrossCheck }),
	yes("limit_hit", "a bound on acc's memory made some figures inexact",
		func(c capture, _ *Source) bool { return c.LimitHit }),
	textColumn("clock_keeping", "the host's wall clock: synchronised or free; null: not known",
		func(_ *capture, s *Source) string {
			return map[format.Keeping]string{format.KeepingSynced: "synchronised", format.KeepingFree: "free"}[s.Clock.Keeping]
		}),
	intColumn("clock_error_ns", "by how much its clock was wrong at most, as the kernel estimates it; null: not known",
		func(_ *capture, s *Source) (int64, bool) { return s.Clock.MaxErrNS, s.Clock.MaxErrNS != 0 }),
	intColumn("clock_step_ns", "largest change of its clock while recording, against the clock since boot",
		func(_ *capture, s *Source) (int64, bool) { return s.Clock.StepNS, s.Clock.something }),
	intColumn("clock_steps", "changes of more than a second",
		func(_ *capture, s *Source) (int64, bool) { return int64(s.Clock.Steps), s.Clock.something }),
	number("findings_critical", "findings", func(c capture, _ *Source) uint64 { return uint64(c.FindingCounts.Critical) }),
	number("findings_warning", "findings", func(c capture, _ *Source) uint64 { return uint64(c.FindingCounts.Warning) }),
	number("findings_notice", "findings", func(c capture, _ *Source) uint64 { return uint64(c.FindingCounts.Notice) }),
	header("redacted", "SHA-256 of the capture that this was made of by acc redact; null: it was not",
		func(h *format.Header) string {
			if h.Redacted == nil {
				return ""
			}
			return cmp.Or(h.Redacted.SHA256, "unknown")
		}),
)
