package export

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/testdata/fleet"
)

// Nanoseconds a connection of each stage, of which the next has all of the ones before, and bytes of each table. It is
// the least CPU time of all runs, for -cpu 1.
func BenchmarkExport(b *testing.B) {
	for _, host := range []struct {
		name        string
		connections int
	}{{"busy", 300_000}, {"quiet", 20_000}} {
		data := hostCapture(b, host.connections)
		for _, stage := range []string{"read", "verdict", "analyze", "rows", "connections", "all"} {
			b.Run(host.name+"/"+stage, func(b *testing.B) {
				b.ReportAllocs()
				var to sizes
				least := time.Duration(math.MaxInt64)
				for b.Loop() {
					to = sizes{}
					begun := cpu(b)
					if err := stages(data, stage, &to); err != nil {
						b.Fatal(err)
					}
					least = min(least, cpu(b)-begun)
				}
				each := float64(host.connections)
				b.ReportMetric(float64(least)/each, "ns/connection")
				b.ReportMetric(float64(to.bytes)/each, "bytes/connection")
			})
		}
	}
}

// cpu is the CPU time of this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// hostCapture is the capture of one host, of an hour.
func hostCapture(b *testing.B, connections int) []byte {
	dir := b.TempDir()
	if _, err := fleet.Make(dir, 1, connections, 1, time.Unix(1_795_874_400, 0)); err != nil {
		b.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.acc"))
	data, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func stages(data []byte, stage string, to *sizes) error {
	o := format.ReaderOptions{Parts: true, Omit: []string{"cgroup"}}
	r, err := format.NewReader(bytes.NewReader(data), o)
	if err != nil {
		return err
	}
	if stage == "read" {
		for {
			batch, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			for range batch.Parts() {
			}
		}
	}
	opts := analysis.Options{Top: -1, VerdictOnly: stage == "verdict"}
	source := &Source{File: "x.acc", Header: r.Header()}
	var sink Sink
	switch stage {
	case "rows", "connections", "all":
		names := []string{Connections}
		if stage == "all" {
			names = TableNames
		}
		t, err := newTables(names, nil, true)
		if err != nil {
			return err
		}
		if t.rows = (noRows{}); stage != "rows" {
			sink, err = Find("parquet").NewLake(to, Options{Tables: names})
			if err != nil {
				return err
			}
		} else {
			sink = t
		}
		opts.Connection = func(c *conntrack.Connection) error {
			source.Count(c)
			return sink.Connection(c)
		}
		if stage == "all" {
			opts.Pair = func(p *pairing.Pair) error { return sink.Attempt(p) }
		}
	}
	x := evidence.Examine(r.Header(), opts)
	if sink != nil {
		source.Env = &filter.Env{Clocks: x.Clocks(), Process: func(uint32) *format.Process { return nil }}
		if err := sink.Begin(source); err != nil {
			return err
		}
	}
	for {
		batch, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := x.Add(batch, 0); err != nil {
			return err
		}
	}
	result, err := x.Finish(io.EOF, nil)
	if sink != nil && err == nil {
		source.End = x.End()
		err = sink.End(source, result)
	}
	return err
}

type noRows struct{}

func (noRows) Begin(*Source) error    { return nil }
func (noRows) Row(int, []Value) error { return nil }
func (noRows) End(*Source) error      { return nil }
func (noRows) Close() error           { return nil }

type sizes struct{ bytes int64 }

func (s *sizes) Create(string) (File, error) { return s, nil }
func (s *sizes) Write(b []byte) (int, error) {
	s.bytes += int64(len(b))
	return len(b), nil
}
func (s *sizes) Commit() error { return nil }
func (s *sizes) Discard()      {}
