//go:build unix

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

// BenchmarkExport measures each stage of an export, from the start of the capture to the end of that stage. It reports
// the least CPU time of all runs and the bytes of the tables, both for one connection. Run it with -cpu 1.
func BenchmarkExport(b *testing.B) {
	for _, host := range []struct {
		name        string
		connections int
	}{{"busy", 300_000}, {"quiet", 20_000}} {
		data := hostCapture(b, host.connections)
		for _, stage := range []string{"read", "verdict", "analyze", "connections", "all"} {
			b.Run(host.name+"/"+stage, func(b *testing.B) {
				b.ReportAllocs()
				var to sizes
				least := time.Duration(math.MaxInt64)
				for b.Loop() {
					to = sizes{}
					begun := cpu(b)
					if _, err := stages(data, stage, &to); err != nil {
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

// Bytes a row of each column, of a busy and of a quiet host.
func BenchmarkBytes(b *testing.B) {
	for _, connections := range []int{1_000_000, 100_000, 20_000} {
		data := hostCapture(b, connections)
		for range b.N {
			files, err := stages(data, "all", &sizes{})
			if err != nil {
				b.Fatal(err)
			}
			for _, f := range files.tables[:2] {
				b.Logf("%s of a host with %d connections:", f.table.Name, connections)
				rows, total := int64(0), int64(0)
				sums := make([]int64, len(f.table.Columns))
				for _, g := range f.groups {
					rows += g.rows
					for i, c := range g.columns {
						sums[i] += c.size
						total += c.size
					}
				}
				for i, c := range f.table.Columns {
					if each := float64(sums[i]) / float64(rows); each >= 0.05 {
						b.Logf("%6.2f %s", each, c.Name)
					}
				}
				b.Logf("%6.2f in all", float64(total)/float64(rows))
			}
		}
	}
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

func stages(data []byte, stage string, to *sizes) (*lake, error) {
	o := format.ReaderOptions{Parts: true, Omit: []string{"cgroup"}}
	r, err := format.NewReader(bytes.NewReader(data), o)
	if err != nil {
		return nil, err
	}
	if stage == "read" {
		for {
			batch, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			for range batch.Parts() {
			}
		}
	}
	opts := analysis.Options{Top: -1, VerdictOnly: stage == "verdict" || stage == "connections"}
	source := &Source{File: "x.acc", Header: r.Header()}
	var sink Sink
	var files *lake
	if stage == "connections" || stage == "all" {
		names := []string{Connections}
		if stage == "all" {
			names = TableNames
			opts.Pair = func(p *pairing.Pair) error { return sink.Attempt(p) }
		}
		opts.Connection = func(c *conntrack.Connection) error {
			source.Count(c)
			return sink.Connection(c)
		}
		if sink, err = Find("parquet").NewLake(to, Options{Tables: names}); err != nil {
			return nil, err
		}
		files = sink.(*tables).rows.(*lake)
	}
	x := evidence.Examine(r.Header(), opts)
	if sink != nil {
		source.Env = &filter.Env{Clocks: x.Clocks(), Process: func(uint32) *format.Process { return nil }}
		if err := sink.Begin(source); err != nil {
			return nil, err
		}
	}
	for {
		batch, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := x.Add(batch, 0); err != nil {
			return nil, err
		}
	}
	result, err := x.Finish(io.EOF, nil)
	if sink != nil && err == nil {
		source.End = x.End()
		err = sink.End(source, result)
	}
	return files, err
}

type sizes struct{ bytes int64 }

func (s *sizes) Create(string) (File, error) { return s, nil }
func (s *sizes) Write(b []byte) (int, error) {
	s.bytes += int64(len(b))
	return len(b), nil
}
func (s *sizes) Commit() error { return nil }
func (s *sizes) Discard()      {}
