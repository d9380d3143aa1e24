package capture

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/format"
)

// writtenFiles writes hits to several files as a recorder does: some come late, some never, and a file can end at
// any time. It gives the files.
func writtenFiles(t *testing.T, seed uint64) (files []*bytes.Buffer, hits uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	const cpus, each = 3, 300
	type arrival struct {
		cpu uint32
		seq uint64
	}
	var order []arrival
	next := [cpus]uint64{}
	for range cpus * each {
		cpu := rng.IntN(cpus)
		next[cpu]++
		if rng.IntN(20) > 0 { // else lost
			order = append(order, arrival{uint32(cpu), next[cpu]})
		}
	}
	for range len(order) / 5 { // preempted between number and ring
		i := rng.IntN(len(order) - 8)
		j := i + rng.IntN(8)
		order[i], order[j] = order[j], order[i]
	}
	var l ledger
	set := format.Set{ID: "0", File: 1, Numbers: []format.Numbers{}}
	seen, recorded, lost := [numProbes]uint64{}, uint64(0), [numProbes]uint64{}
	var w *format.Writer
	begin := func() {
		files = append(files, &bytes.Buffer{})
		this := set
		var err error
		if w, err = format.NewWriter(files[len(files)-1], format.Header{ID: "x", Set: &this,
			Clock: format.Clock{BootNS: 1, RealNS: 1}}, format.WriterOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	total := func(numbers []format.Numbers) {
		settled := l.settled()
		end := format.End{
			Reason:  format.EndRotation,
			Clean:   true,
			Numbers: numbers,
			Clock:   format.Clock{BootNS: 1e9, RealNS: 1e9},
		}
		x := format.ProbeTotal{
			Hook:     probes[probeEnter].hook,
			Kind:     probes[probeEnter].kind,
			Seen:     settled[probeEnter] - seen[probeEnter],
			Recorded: l.recorded(probeEnter) - recorded,
			Lost:     l.written[probeEnter] - lost[probeEnter],
		}
		end.Totals, end.Lost = []format.ProbeTotal{x}, x.Lost
		hits += x.Seen
		seen, recorded, lost = settled, l.recorded(probeEnter), l.written
		if err := w.Close(end); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	for i, a := range order {
		ns := int64(1000 + 10*i)
		l.take(probeEnter, a.cpu, a.seq, ns)
		e := format.Event{
			BootNS: ns,
			Kind:   probes[probeEnter].kind,
			Hook:   probes[probeEnter].hook,
			CPU:    a.cpu,
			CPUSeq: a.seq,
		}
		if err := w.Event(&e); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(50) == 0 {
			if err := l.losses(ns-1000, w.Loss); err != nil { // the young ones may still come
				t.Fatal(err)
			}
			set.File++
			set.Numbers = l.numbers()
			total(set.Numbers)
			begin()
		}
	}
	all := map[uint32][numProbes]uint64{}
	for cpu := range uint32(cpus) {
		all[cpu] = [numProbes]uint64{probeEnter: next[cpu]}
	}
	l.finish(all, 1e9)
	if err := l.losses(2e9, w.Loss); err != nil {
		t.Fatal(err)
	}
	total(nil)
	if want := uint64(cpus * each); hits != want {
		t.Errorf("seed %d: the files account for %d of %d hits", seed, hits, want)
	}
	return files, hits
}

// contradictions reads a file and gives what in it does not fit. Without leaves out events.
func contradictions(t *testing.T, file *bytes.Buffer, change func([]format.Event) []format.Event) string {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(file.Bytes()), format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var a audit.Account
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(a.Contradictions(), "; ")
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Events = change(b.Events)
		a.Add(b)
	}
}

// Each file's account fits what is in it, and together they account for each hit once. An event that is taken out
// of a file, or that another file has, too, does not fit.
func TestFilesAccount(t *testing.T) {
	same := func(e []format.Event) []format.Event { return e }
	sum := 0
	for seed := range uint64(20) {
		files, _ := writtenFiles(t, seed)
		sum += len(files)
		for i, f := range files {
			if got := contradictions(t, f, same); got != "" {
				t.Errorf("seed %d, file %d: %s", seed, i+1, got)
			}
		}
		if got := contradictions(t, files[1], func(e []format.Event) []format.Event { return e[:max(len(e)-1, 0)] }); got == "" {
			t.Errorf("seed %d: nobody notices that an event is missing", seed)
		}
	}
	if sum < 100 {
		t.Errorf("only %d files", sum)
	}
}

// An event of one file that was put into the next one is noticed there.
func TestFilesDoubled(t *testing.T) {
	files, _ := writtenFiles(t, 5)
	var first format.Event
	contradictions(t, files[0], func(e []format.Event) []format.Event {
		if len(e) > 0 {
			first = e[0]
		}
		return e
	})
	got := contradictions(t, files[1], func(e []format.Event) []format.Event {
		if len(e) > 0 {
			e[len(e)-1].CPU, e[len(e)-1].CPUSeq = first.CPU, first.CPUSeq
		}
		return e
	})
	if !strings.Contains(got, "which an event before it has") {
		t.Errorf("%q", got)
	}
}
