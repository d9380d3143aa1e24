package checkpoints

// This file reads the forms of logs: journal, syslog, Docker, Kubernetes.

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"strings"
	"sync"
)

// The beginnings of a line of text that say who wrote it: time, host (some logs have
// none), tag with process. Each is anchored: a message by another one holds the same at
// another place.
var (
	tagged = lazy(`^(?:<\d{1,3}>)?(?:` + strings.Join([]string{
		`[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?`, // RFC 3164, journalctl
		// rsyslog, journalctl -o short-iso
		`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?`,
		`[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [A-Za-z0-9+:-]{1,9}`, // -o short-full
		`\[ *\d+\.\d+\]`, `\d{6,}\.\d+`, // -o short-monotonic, -o short-unix
	}, "|") + `) (?:[^\s\[\]]*[^\s\[\]:] )?acc\[(\d{1,10})\]: (?:acc: )?(checkpoint .*)$`)
	// RFC 5424: time, host, program, process, message id, structured data.
	rfc5424 = lazy(`^<\d{1,3}>1 \S+ \S+ acc (\d{1,10}) \S+ (?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+) (?:\x{FEFF})?(?:acc: )?(checkpoint .*)$`)
	// What acc prints, and what a container runtime makes of it (Kubernetes, CRI).
	printed = lazy(`^(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S* stderr F )?acc: (checkpoint .*)$`)
	// name is how acc's program is called.
	name = lazy(`^acc([-_.].*)?$`)
)

// lazy compiles a pattern when it is first needed: most runs of acc read no log.
func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// parse reads a line of a log.
func parse(line []byte) (c Line, form Form, ok bool) {
	if !bytes.Contains(line, []byte("checkpoint capture=")) {
		return c, "", false
	}
	if line[0] == '{' {
		return parseJSON(line)
	}
	for _, re := range []func() *regexp.Regexp{tagged, rfc5424} {
		if m := re().FindSubmatch(line); m != nil {
			c, ok = parseText(string(m[2]), Writer{PID: string(m[1])})
			return c, Syslog, ok
		}
	}
	if m := printed().FindSubmatch(line); m != nil {
		c, ok = parseText(string(m[1]), Writer{})
		return c, Output, ok
	}
	return c, "", false
}

// entry has the fields of an entry of journald that matter, and those of a line of Docker.
// A field that comes twice or is not text is no string, and so no entry.
type entry struct {
	Message    *string `json:"MESSAGE"`
	Identifier string  `json:"SYSLOG_IDENTIFIER"`
	Comm       string  `json:"_COMM"`
	Exe        string  `json:"_EXE"`
	PID        string  `json:"_PID"`
	UID        string  `json:"_UID"`
	Boot       string  `json:"_BOOT_ID"`

	Log    *string `json:"log"`
	Stream string  `json:"stream"`
}

// parseJSON reads a line of journalctl -o json or of Docker's json-file. Names that begin
// with _ are journald's own: it takes none from a client.
func parseJSON(line []byte) (c Line, form Form, ok bool) {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return c, "", false
	}
	if e.Message == nil {
		if e.Log == nil || e.Stream != "stderr" {
			return c, "", false
		}
		message, own := strings.CutPrefix(strings.TrimSuffix(*e.Log, "\n"), "acc: ")
		if !own {
			return c, "", false
		}
		c, ok = parseText(message, Writer{})
		return c, Output, ok
	}
	exe := strings.TrimSuffix(e.Exe, " (deleted)")
	if e.Log != nil || !name().MatchString(e.Identifier) || !name().MatchString(e.Comm) ||
		!name().MatchString(path.Base(exe)) || e.PID == "" || e.UID == "" {
		return c, "", false
	}
	c, ok = parseText(strings.TrimPrefix(*e.Message, "acc: "), Writer{PID: e.PID, UID: e.UID, Exe: exe, Boot: e.Boot})
	return c, Journal, ok
}
