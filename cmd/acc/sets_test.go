package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// splitCapture writes a capture as files of one recording, each with so many of its events, in the way of a recorder:
// lists of what is there in each file, records of processes before their first event in it, an account of its own.
func splitCapture(t *testing.T, data []byte, sizes ...int) (files [][]byte) {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(data), format.ReaderOptions{})
	must(t, err)
	h := *r.Header()
	var events []format.Event
	procs := map[uint32]format.Process{}
	var shots []format.Snapshot
	var end format.End
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		events = append(events, b.Events...)
		for _, p := range b.Processes {
			procs[p.Num] = p
		}
		for _, s := range b.Snapshots {
			s.Listeners, s.Connections = slices.Clone(s.Listeners), slices.Clone(s.Connections)
			shots = append(shots, s)
		}
		if b.End != nil {
			end = *b.End
		}
	}
	set := format.Set{ID: h.ID, Numbers: []format.Numbers{}}
	all := tally{}
	for n := range len(sizes) + 1 {
		last := n == len(sizes)
		part := events
		if !last {
			part = events[:sizes[n]]
		}
		events = events[len(part):]
		set.File = uint32(n + 1)
		this, header := set, h
		header.Set = &this
		if n > 0 {
			header.ID = fmt.Sprintf("file-%d", n+1)
		}
		var out bytes.Buffer
		w, err := format.NewWriter(&out, header, format.WriterOptions{FrameEvents: 8})
		must(t, err)
		for _, s := range shots {
			must(t, w.Snapshot(s)) // which lists what is gone by now, too: readers of all files do not look
		}
		there, known := tally{}, map[uint32]bool{}
		for i := range part {
			e := part[i]
			if e.Proc != 0 && !known[e.Proc] {
				known[e.Proc] = true
				must(t, w.Process(procs[e.Proc]))
			}
			p := [2]uint8{uint8(e.Hook), uint8(e.Kind)}
			there[p]++
			all[p]++
			must(t, w.Event(&e))
		}
		x := format.End{Reason: format.EndRotation, Clean: true, Clock: end.Clock}
		if len(part) > 0 {
			x.Clock = format.Clock{
				BootNS: part[len(part)-1].BootNS,
				RealNS: h.Clock.RealNS + part[len(part)-1].BootNS - h.Clock.BootNS,
			}
		}
		if last {
			x = end
		} else {
			for _, p := range slices.SortedFunc(maps.Keys(all), func(a, b [2]uint8) int { return bytes.Compare(a[:], b[:]) }) {
				x.Numbers = append(x.Numbers, format.Numbers{Hook: format.Hook(p[0]), Kind: format.Kind(p[1]), Last: all[p]})
			}
			must(t, w.Snapshot(format.Snapshot{Final: true, BootNS: x.Clock.BootNS}))
		}
		x.Totals = there.totals()
		must(t, w.Close(x))
		head := w.Head()
		set.Previous, set.PreviousHead, set.Numbers = header.ID, hex.EncodeToString(head[:]), x.Numbers
		files = append(files, out.Bytes())
	}
	return files
}

// The files of a recording, read together, say what one file says: events, numbers, attempts and connections across
// files, whatever the order in which they are named. Each by itself is intact.
func TestSets(t *testing.T) {
	unconfined(t)
	whole := lifeSample()
	one := writeFile(t, "one.acc", whole)
	dir := t.TempDir()
	var names []string
	for i, data := range splitCapture(t, whole, 3, 5, 17, 0, 3) {
		name := filepath.Join(dir, fmt.Sprintf("x-%06d.acc", i+1))
		must(t, os.WriteFile(name, data, 0o600))
		names = append(names, name)
		if got := runHere(t, "verify", name); got.code != 0 {
			t.Errorf("%s: %d\n%s%s", name, got.code, got.out, got.err)
		}
	}
	object := func(args ...string) map[string]any {
		t.Helper()
		got := runHere(t, args...)
		if got.code != 0 {
			t.Fatalf("%q: %d\n%s%s", args, got.code, got.out, got.err)
		}
		var o map[string]any
		must(t, json.Unmarshal([]byte(got.out), &o))
		return o
	}
	want := object("analyze", "--json", one)
	backwards := slices.Clone(names)
	slices.Reverse(backwards)
	for _, args := range [][]string{{dir}, names, backwards} {
		got := object(append([]string{"analyze", "--json"}, args...)...)
		for k := range want {
			if !reflect.DeepEqual(got[k], want[k]) {
				t.Errorf("%q: %s: %v, want %v", args, k, got[k], want[k])
			}
		}
	}
	for _, args := range [][]string{{"analyze", "--connections"}, {"analyze", "--pairs"}, {"replay", "--speed", "max"},
		{"replay", "--speed", "max", "--json"}, {"explain", "30"}} {
		a, b := runHere(t, append(slices.Clone(args), one)...), runHere(t, append(slices.Clone(args), dir)...)
		if a.out != b.out || a.code != b.code || a.out == "" {
			t.Errorf("%q: one file: %d\n%s%s\nseveral: %d\n%s%s", args, a.code, a.out, a.err, b.code, b.out, b.err)
		}
	}
	info := runHere(t, append([]string{"info"}, backwards...)...)
	if info.code != 0 || !strings.Contains(info.out, "6 files here, of which the last is number 6") ||
		!strings.Contains(info.out,
			"each file has the id and the chain head of the one before it") {
		t.Errorf("info: %d\n%s%s", info.code, info.out, info.err)
	}
	// One file by itself has calls that began before it.
	if got := runHere(t, "analyze", "--pairs", names[3], names[4]); got.code != 0 {
		t.Errorf("%d %s", got.code, got.err)
	}
	must(t, os.Remove(names[2]))
	if got := runHere(t, "analyze", "--json", dir); got.code == 0 || !strings.Contains(got.err, "2") {
		t.Errorf("analyze with a file missing: %d %s", got.code, got.err)
	}
	if got := runHere(t, "replay", "--speed", "max", dir); got.code != 0 ||
		!strings.Contains(got.err, "the file before number 4 of the recording is not here") {
		t.Errorf("replay with a file missing: %d %s", got.code, got.err)
	}
	if got := runHere(t, "info", dir); got.code != 0 ||
		!strings.Contains(got.out, "the file before number 4 is not here") {
		t.Errorf("info: %d\n%s%s", got.code, got.out, got.err)
	}
	odd := t.TempDir() // the third file is of another recording, whose header says the same
	for i, data := range [][]byte{splitCapture(t, crowd(20), 3, 5, 7)[0], splitCapture(t, crowd(20), 3, 5, 7)[1],
		splitCapture(t, crowd(20), 3, 4, 8)[2]} {
		must(t, os.WriteFile(filepath.Join(odd, fmt.Sprintf("%d.acc", i)), data, 0o600))
	}
	if got := runHere(t, "info", odd); !strings.Contains(got.out, "number 3 names another file before it") {
		t.Errorf("a file of another split: %s", got.out)
	}
	if got := runHere(t, "analyze", "--brief", dir); got.code != 0 || strings.Count(got.out, "further file") != 2 {
		t.Errorf("%d\n%s%s", got.code, got.out, got.err)
	}
}
