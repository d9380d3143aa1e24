package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// stream is a TCP connection as tshark counts them.
type stream struct {
	client, server int // ports
	reset          bool
	frames         int
}

// tshark reads the frames of a file that a display filter selects, by their streams.
func tshark(t *testing.T, file, filter string) map[int]*stream {
	t.Helper()
	args := []string{"-r", file, "-T", "fields", "-e", "tcp.stream", "-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "tcp.flags.syn",
		"-e", "tcp.flags.ack", "-e", "tcp.flags.reset"}
	if filter != "" {
		args = append(args, "-Y", filter)
	}
	cmd := exec.Command("tshark", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s\n%s", err, said.String(), filter)
	}
	streams := map[int]*stream{}
	for line := range strings.Lines(string(out)) {
		var n, from, to, syn, ack, reset int
		line = strings.NewReplacer("True", "1", "False", "0").Replace(line)
		if _, err := fmt.Sscan(line, &n, &from, &to, &syn, &ack, &reset); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		s := streams[n]
		if s == nil {
			s = &stream{client: from, server: to}
			streams[n] = s
			if filter == "" && (syn != 1 || ack != 0) {
				t.Fatalf("stream %d does not begin with a SYN: %q", n, line)
			}
		}
		s.frames++
		s.reset = s.reset || reset == 1 && from == s.client
	}
	return streams
}

// A display filter selects, of what tcpdump recorded beside acc, all packets of the connections that are meant, and no others:
// which these are, tshark says. make test-beside records both anew.
func TestFleetBeside(t *testing.T) {
	needExport(t)
	unconfined(t)
	folder, err := filepath.Abs(cmp.Or(os.Getenv("ACC_BESIDE"), "../../testdata/export/beside"))
	must(t, err)
	dump := filepath.Join(folder, "beside.pcap")
	all := tshark(t, dump, "")
	// chosen are the streams of which all frames are selected; a part of one is an error.
	chosen := func(expression string) []int {
		t.Helper()
		filter := strings.TrimSpace(string(exportOf(t, "--format", "display-filter", "-f", expression, folder)))
		got := tshark(t, dump, filter)
		for n, s := range got {
			if s.frames != all[n].frames {
				t.Errorf("-f %s: %d of %d frames of stream %d (port %d to %d)\n%s", expression, s.frames, all[n].frames, n, all[n].client, all[n].server, filter)
			}
		}
		return slices.Sorted(maps.Keys(got))
	}
	of := func(is func(*stream) bool) (list []int) {
		for n, s := range all {
			if is(s) {
				list = append(list, n)
			}
		}
		slices.Sort(list)
		return list
	}
	for _, c := range []struct {
		expression string
		is         func(*stream) bool
		least      int
	}{
		{"lport == 8081", func(s *stream) bool { return s.server == 8081 }, 24},
		{"lport == 8082", func(s *stream) bool { return s.server == 8082 }, 16}, // IPv6
		{"queue_wait > 20ms and lport == 8083", func(s *stream) bool { return s.server == 8083 }, 8},
		{"lport == 8084", func(s *stream) bool { return s.server == 8084 }, 10},
		{"lport == 8085", func(s *stream) bool { return s.server == 8085 }, 4},
		{"lport in 8081..8085", func(s *stream) bool { return s.server >= 8081 && s.server <= 8085 }, 62},
		{`lport in 8081..8082 and end == "reset-by-client"`, func(s *stream) bool { return s.server <= 8082 && s.reset }, 20},
		{"lport == 1", func(*stream) bool { return false }, 0},
	} {
		want, got := of(c.is), chosen(c.expression)
		t.Logf("-f '%s': %d streams of %d in the pcap, whole", c.expression, len(got), len(all))
		if !slices.Equal(got, want) || len(got) != c.least {
			t.Errorf("-f %s selects the streams %v, want %v", c.expression, got, want)
		}
	}
	// One connection at a time: those that were refused at first, and those that have the same addresses and ports.
	taken := map[int]bool{}
	for line := range bytes.Lines(printed(t, "analyze", "--connections", "--json", "-f", "lport in 8084..8085", folder)) {
		var c struct {
			ID, RPort int
		}
		must(t, json.Unmarshal(line, &c))
		got := chosen("id == " + strconv.Itoa(c.ID))
		if len(got) != 1 || taken[got[0]] || all[got[0]].client != c.RPort {
			t.Errorf("connection %d of port %d: streams %v", c.ID, c.RPort, got)
			continue
		}
		taken[got[0]] = true
	}
	if len(taken) != 14 {
		t.Errorf("%d connections", len(taken))
	}
	t.Logf("one at a time: %d connections, each of them one whole stream", len(taken))
}
