package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay"
	"github.com/acc-project/acc/testdata/museum"
)

// exhibit is a file of the corpus.
type exhibit struct {
	name string
	data []byte
}

// corpora are those that were made: the museum takes seconds to build, and three tests read it.
var corpora = map[bool][]exhibit{}

// corpus are captures of all kinds: whole, lossy, unclean, without END, cut, damaged, repaired,
// hostile, empty, and those that are kept. ACC_CORPUS names a folder of more. Small: a part of them.
func corpus(t *testing.T, small bool) []exhibit {
	if corpora[small] == nil {
		corpora[small] = buildCorpus(t, small)
	}
	return corpora[small]
}

func buildCorpus(t *testing.T, small bool) (list []exhibit) {
	add := func(name string, data []byte) { list = append(list, exhibit{name, data}) }
	folders := []string{"../../testdata/captures"}
	if more := os.Getenv("ACC_CORPUS"); more != "" {
		folders = append(folders, more)
	}
	for _, folder := range folders {
		files, _ := filepath.Glob(filepath.Join(folder, "*.acc"))
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) < 8<<20 {
				add("kept "+filepath.Base(name), data)
			}
		}
	}
	samples := map[string][]byte{"adjusted": adjusted(), "crossed": crossed(), "crowd": crowd(30), "no events": sampleOf("", 0, nil), "one call": sampleOf("", 2, nil), "missed": missedSample(),
		"late pair": latePair()}
	for _, kind := range []string{"whole", "lossy", "unclean", "liar", "copied", "backwards", "stepped", "differs", "life"} {
		samples[kind] = sample(kind)
	}
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		if !small || slices.Contains([]string{"lossy", "life", "differs", "missed", "late pair", "unclean", "no events"}, name) {
			add(name, samples[name])
		}
	}
	cut := []string{"lossy", "life", "whole", "stepped", "adjusted"}
	if small {
		cut = cut[:2]
	}
	for _, name := range cut {
		data := samples[name]
		frames, err := format.ReadIndex(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		last := frames[len(frames)-1].At
		add(name+", without END", data[:last])
		for i, at := range []int64{last / 3, last - 7, int64(len(data)) - 30, frames[1].At, frames[len(frames)/2].At, frames[len(frames)/2].At + 50} {
			if !small || i < 1 {
				add(fmt.Sprintf("%s, cut at %d", name, at), data[:at])
			}
		}
		for i, at := range []int64{frames[len(frames)/2].At + 130, frames[0].At + 130, last + 130, frames[1].At + 40} {
			if small && i > 0 {
				continue
			}
			bad := bytes.Clone(data)
			bad[at] ^= 4
			add(fmt.Sprintf("%s, damaged at %d", name, at), bad)
			var good bytes.Buffer
			if _, _, err := replay.Repair(&good, bytes.NewReader(bad), int64(len(bad)), replay.RepairOptions{Tool: "acc test"}); err != nil {
				t.Fatalf("%s, damaged at %d: repair: %v", name, at, err)
			}
			add(fmt.Sprintf("%s, damaged at %d, repaired", name, at), good.Bytes())
			if i == 0 {
				add(fmt.Sprintf("%s, damaged at %d, repaired, cut", name, at), good.Bytes()[:good.Len()*3/4])
			}
		}
	}
	add("empty file", nil)
	if small {
		return list
	}
	for _, e := range museum.Exhibits() {
		var b limited
		if err := e.Write(&b); err == nil && !slow[e.Name] && !strings.HasPrefix(e.Name, "records: ") &&
			!strings.HasPrefix(e.Name, "zstd around") && !strings.Contains(e.Name, "gzip") && isQuick(b.Bytes()) {
			add("museum: "+e.Name, b.Bytes())
		}
	}
	return list
}

// slow are exhibits that take long to read, as large records do, which TestMuseum has. Those in a compressed file are left out, too: analyze and
// replay read what is inside, info and verify ask for the capture itself.
var slow = map[string]bool{"run lengths without end": true, "bomb of 256 MiB that says nothing": true}

// limited takes small files only.
type limited struct{ bytes.Buffer }

var errLarge = errors.New("too large")

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > 64<<10 {
		return 0, errLarge
	}
	return l.Buffer.Write(p)
}

// isQuick reports whether reading a file takes milliseconds.
func isQuick(data []byte) bool {
	r, err := format.NewReader(bytes.NewReader(data), format.ReaderOptions{Salvage: true})
	for events := 0; err == nil && events < 2000; {
		var b *format.Batch
		if b, err = r.Next(); err == nil {
			events += len(b.Events)
			if len(b.Events) > 1000 || len(b.Processes) > 1000 {
				return false
			}
		}
	}
	return err != nil
}

// missedSample is a capture of a call whose entry the kernel ran no probe for.
func missedSample() []byte {
	return buildSample(func(w *format.Writer, e *format.Event) error {
		return errors.Join(w.Event(e), w.Close(format.End{Reason: "signal", Clean: true, Clock: format.Clock{BootNS: 9e9, RealNS: 1.7e18 + 9e9}, Totals: []format.ProbeTotal{
			{Hook: format.HookSysAccept4, Kind: format.Enter, Missed: 3}, {Hook: format.HookSysAccept4, Kind: format.Return, Seen: 1, Recorded: 1}}}))
	})
}

// latePair is a capture whose second clock pair differs from the header's, and comes before an event
// that is earlier than it.
func latePair() []byte {
	return buildSample(func(w *format.Writer, e *format.Event) error {
		err := errors.Join(w.Event(e), w.Clock(format.Clock{BootNS: 5e9, RealNS: 1.7e18 + 3600e9}), w.Flush())
		for i, ns := range []int64{4e9, 5e9, 6e9} {
			x := *e
			x.BootNS, x.CPUSeq = ns, uint64(i+2)
			err = errors.Join(err, w.Event(&x))
		}
		return errors.Join(err, w.Close(format.End{Reason: "signal", Clean: true, Clock: format.Clock{BootNS: 9e9, RealNS: 1.7e18 + 3604e9}, Totals: []format.ProbeTotal{
			{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 4, Recorded: 4}}}))
	})
}

// buildSample makes a capture around the return of an accept.
func buildSample(do func(w *format.Writer, e *format.Event) error) []byte {
	var out bytes.Buffer
	w, err := format.NewWriter(&out, format.Header{ID: "9b1f0a52-6f0e-4f7a-9d55-0123456789ab", StartNS: 1.7e18, Clock: format.Clock{BootNS: 1e9, RealNS: 1.7e18}}, format.WriterOptions{})
	if err == nil {
		err = do(w, &format.Event{BootNS: 2e9, Kind: format.Return, Hook: format.HookSysAccept4, Via: format.ViaAccept4, CPUSeq: 1, PID: 1, TID: 1, Ret: 7, Listener: 1,
			Family: format.FamilyIPv4, Type: 1, Proto: 6, State: 1, RAddr: netip.MustParseAddr("10.0.0.1"), RPort: 1})
	}
	if err != nil && !errors.Is(err, io.EOF) {
		panic(err)
	}
	return out.Bytes()
}

// All commands say the same of each fact, whatever the file.
func TestFacts(t *testing.T) {
	unconfined(t)
	read := map[string]map[string]map[string]bool{} // by fact and command, the values
	only := os.Getenv("ACC_EXHIBIT")
	for _, x := range corpus(t, testing.Short()) {
		if !strings.Contains(x.name, only) || x.name == "kept selected.acc" { // has other words: TestKeptSelection
			continue
		}
		got := readFacts(t, writeFile(t, "x", x.data))
		for _, difference := range got.differences() {
			t.Errorf("%s: %s", x.name, difference)
		}
		for fact, commands := range got {
			if read[fact] == nil {
				read[fact] = map[string]map[string]bool{}
			}
			for command, value := range commands {
				if read[fact][command] == nil {
					read[fact][command] = map[string]bool{}
				}
				read[fact][command][value] = true
			}
		}
		if x.name == "lossy" {
			mutated(t, got)
		}
	}
	if only != "" {
		return
	}
	for fact, least := range map[string]int{"events": 14, "attempts": 8, "accepted": 10, "failed": 6, "lost": 7, "missed": 5, "connections": 10, "file": 20, "file, because": 6,
		"recording": 20, "recording, because": 20, "first event": 6, "last event": 6, "verdict": 4, "exit code": 20, "cross-check": 5, "cross-check in words": 6, "closed cleanly": 5,
		"bytes of the file": 4, "bytes from the client of 1": 8, "bytes to the client of 1": 4, "time of event 3": 4} {
		differing := 0
		for command, values := range read[fact] {
			if len(values) > 1 || strings.HasPrefix(fact, "bytes ") {
				differing++
			} else {
				t.Logf("%s: %s has always the same value", fact, command)
			}
		}
		if differing < least {
			t.Errorf("%s is read from %d commands, with differing values, of at least %d: %q", fact, differing, least, slices.Sorted(maps.Keys(read[fact])))
		}
	}
}

// mutated changes each fact of each command, which must make a difference: none is read alone.
func mutated(t *testing.T, got facts) {
	if list := got.differences(); len(list) > 0 {
		return // which was said
	}
	for fact, commands := range got {
		for command, value := range commands {
			commands[command] = value + "1"
			if len(got.differences()) != 1 && len(commands) > 1 {
				t.Errorf("%s: nothing is compared with what %s says", fact, command)
			}
			commands[command] = value
		}
	}
}
