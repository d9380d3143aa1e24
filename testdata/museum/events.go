package museum

// This file has exhibits whose blocks and events are hostile.

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/acc-project/acc/format"
)

// dense is a column of n rows whose values are of so many bytes, f(row).
func dense(n, width int, f func(row int) uint64) []byte {
	nums := make([]uint64, n)
	for row := range nums {
		nums[row] = f(row)
	}
	b := []byte{0x90 | byte(width)}
	for k := range width {
		b = be.AppendUint32(append(b, 0xc6), uint32(n))
		for _, v := range nums {
			b = append(b, byte(v>>(8*k)))
		}
	}
	return b
}

// blocks are blocks whose columns lie.
func blocks() []Exhibit {
	var list []Exhibit
	add := func(name string, code, events int, content []byte) {
		list = append(list, built(name, code, func(w io.Writer) *file {
			f := good(w)
			f.add(content, events)
			return f
		}))
	}
	for _, rows := range []int64{-1, 2, 65_537, 1 << 31, 1 << 32, math.MaxInt64, math.MinInt64} {
		add(fmt.Sprintf("block: %d rows", rows), 4, 1, block(1, rows, nil))
	}
	for _, seq := range []int64{0, -1, 2, math.MaxInt64} {
		add(fmt.Sprintf("block: seq %d", seq), 4, 1, block(seq, 1, nil))
	}
	column := func(name, field string, code int, col []byte) {
		add("block: "+name, code, 3, block(1, 3, map[string][]byte{field: col}))
	}
	words := func(n int, word []byte, col ...byte) []byte {
		b := append([]byte{0x92}, arrayOf(uint32(n))...)
		return append(append(b, bytes.Repeat(word, n)...), col...)
	}
	column("kind 0", "kind", 4, all(0))
	column("kind 255", "kind", 4, all(255))
	column("kind -1", "kind", 4, all(-1))
	column("hook 256", "hook", 4, all(256))
	column("pid 2^32", "pid", 4, all(1<<32))
	column("row 3 of 3", "cpu", 4, []byte{0x81, 0x03, 0x01})
	column("row 2^63-1", "cpu", 4, append(append([]byte{0x81}, number(math.MaxInt64)...), 0x01))
	column("row -2", "cpu", 4, []byte{0x81, 0xfe, 0x01})
	column("a row twice", "cpu", 4, []byte{0x82, 0x01, 0x01, 0x01, 0x02})
	column("rows backwards", "cpu", 4, []byte{0x82, 0x02, 0x01, 0x01, 0x02})
	column("map of 2^32-1 rows", "cpu", 4, mapOf(math.MaxUint32))
	column("dense of 2 rows", "cpu", 4, []byte{0x91, 0xc4, 0x02, 0x00, 0x00})
	column("dense of no bytes", "cpu", 4, []byte{0x90})
	column("dense of 15 bytes", "cpu", 4, append([]byte{0x9f}, bytes.Repeat([]byte{0xc4, 0x03, 0, 0, 0}, 15)...))
	column("word that is not there", "comm", 4, append([]byte{0x92, 0x90}, all(1)...))
	column("word -1", "comm", 4, append([]byte{0x92, 0x91, 0xa1, 'x'}, all(-1)...))
	column("100,000 words", "comm", 4, words(100_000, []byte{0xa1, 'x'}, zeros...))
	column("60,000 words that nobody uses", "comm", 3, words(60_000, []byte{0xa1, 'x'}, zeros...))
	column("400 words of 64 KiB", "comm", 4, words(400, append([]byte{0xc5, 0xff, 0xff}, make([]byte, 0xffff)...), zeros...))
	column("address of 5 bytes", "laddr", 4, words(1, []byte{0xc4, 5, 1, 2, 3, 4, 5}, zeros...))
	column("text where a column belongs", "cpu", 4, str("hello"))
	column("times that overflow", "boot_ns", 4, dense(3, 8, func(int) uint64 { return math.MaxInt64 }))
	add("block: no columns", 4, 3, record("block", append(append(append([]byte{0x83}, str("seq")...), 1, 0xa4, 'r', 'o', 'w', 's', 3), append(str("cols"), 0x90)...)))
	add("block: twice", 4, 3, append(block(1, 3, nil), block(1, 3, nil)...))
	list = append(list, built("block: all times", 4, func(w io.Writer) *file {
		f := good(w)
		n := 65_536
		step := uint64(math.MaxUint64 / uint64(n))
		f.timed(block(1, int64(n), map[string][]byte{"boot_ns": dense(n, 8, func(row int) uint64 {
			if row == 0 {
				return 1 << 63
			}
			return step
		})}), n, math.MinInt64, math.MinInt64+int64(step*uint64(n/2))+int64(step*uint64(n/2-1)))
		return f
	}))
	list = append(list, built("block: a time before and one after all", 4, func(w io.Writer) *file {
		f := good(w)
		f.timed(block(1, 2, map[string][]byte{"boot_ns": {0x82, 0x00, 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff}}), 2, math.MinInt64, math.MaxInt64)
		return f
	}))
	return append(list, built("block: its link lies about times", 4, func(w io.Writer) *file {
		f := good(w)
		f.timed(block(1, 3, nil), 3, -5, 5)
		return f.end(same).close(nil, keep)
	}))
}

// crowds are captures with more of something than anybody can remember.
func crowds() []Exhibit {
	const rows, blocks = 65_536, 40
	crowd := func(name string, cols func(block int) map[string][]byte) Exhibit {
		return built("crowd: "+name, 3, func(w io.Writer) *file {
			f := good(w)
			for i := range blocks {
				f.add(block(int64(f.seq), rows, cols(i)), rows)
			}
			return f
		})
	}
	wide := func(block, width int) []byte {
		last := uint64(0) // columns hold differences; the first row's is to nothing
		return dense(rows, width, func(row int) uint64 {
			v := uint64(block*rows + row)
			d := v - last
			last = v
			return d
		})
	}
	returns := all(int64(format.Return))
	addrs := func(block int) []byte {
		b := append([]byte{0x92}, arrayOf(rows)...)
		for row := range rows {
			b = be.AppendUint32(append(b, 0xc4, 4), uint32(block*rows+row))
		}
		// Differences to the row before: 0, 1, 1, …
		return append(b, dense(rows, 1, func(row int) uint64 { return uint64(min(row, 1)) })...)
	}
	list := []Exhibit{
		crowd("2,600,000 threads in accept", func(i int) map[string][]byte {
			return map[string][]byte{"tid": wide(i, 4)}
		}),
		crowd("2,600,000 peers", func(i int) map[string][]byte {
			return map[string][]byte{"kind": returns, "raddr": addrs(i)}
		}),
		crowd("2,600,000 listeners", func(i int) map[string][]byte {
			return map[string][]byte{"kind": returns, "listener": wide(i, 4), "tid": wide(i, 4)}
		}),
		crowd("2,600,000 processes", func(i int) map[string][]byte {
			return map[string][]byte{"kind": returns, "proc": wide(i, 4), "pid": wide(i, 4), "tid": wide(i, 4)}
		}),
		crowd("2,600,000 connections", func(i int) map[string][]byte {
			return map[string][]byte{"kind": all(int64(format.Queued)), "cookie": wide(i, 4)}
		}),
		crowd("2,600,000 connections that close", func(i int) map[string][]byte {
			return map[string][]byte{"kind": all(int64(format.Closed)), "cookie": wide(i, 4)}
		}),
		crowd("2,600,000 new listeners", func(i int) map[string][]byte {
			return map[string][]byte{"kind": all(int64(format.Listen)), "listener": wide(i, 4), "tid": wide(i, 4)}
		}),
	}
	// full is a block in which every field that returns have differs from row to row.
	full := func(block0 int64, rows int) []byte {
		cols := map[string][]byte{"kind": returns}
		column := dense(rows, 1, func(row int) uint64 { return uint64(row & 1) })
		for _, f := range format.Fields {
			switch {
			case f.Name == "kind" || f.Name == "errno":
			case f.Type == format.String || f.Type == format.Addr:
				b := append([]byte{0x92}, arrayOf(uint32(rows))...)
				for row := range rows {
					b = be.AppendUint32(append(b, 0xc4, 4), uint32(row))
				}
				cols[f.Name] = append(b, column...)
			case len(f.On["kind"]) == 0 || slices.Contains(f.On["kind"], int64(format.Return)):
				cols[f.Name] = column
			}
		}
		return block(block0, int64(rows), cols)
	}
	nothing := append(append([]byte{0x81}, str("listeners")...), arrayOf(65_000)...)
	empty := record("snapshot", append(nothing, bytes.Repeat([]byte{0x80}, 65_000)...))
	list = append(list, built("crowd: frames that are decoded ahead, as large as may be, and larger ones between", 4, func(w io.Writer) *file {
		f := good(w)
		for i := range 26 {
			rows := 16_384
			if i%12 == 11 {
				rows = 65_536
			}
			f.timed(append(bytes.Clone(empty), full(int64(f.seq), rows)...), rows, 0, int64(rows/2))
		}
		return f
	}))
	records := func(name, tag string, frames int, body func(n int) map[string]any) Exhibit {
		return built("crowd: "+name, 3, func(w io.Writer) *file {
			f := good(w)
			for i := range frames {
				var content []byte
				for n := range 1 << 13 {
					content = append(content, record(tag, pack(body(i<<13+n)))...)
				}
				f.add(content, 0)
			}
			return f
		})
	}
	list = append(list,
		records("500,000 processes by record", "process", 64, func(n int) map[string]any {
			return map[string]any{"num": n, "pid": n, "comm": fmt.Sprint("name ", n), "exe": fmt.Sprintf("/a/long/path/to/somewhere/%060d", n), "cgroup": fmt.Sprintf("/%060d", n)}
		}),
		records("500,000 losses", "loss", 64, func(n int) map[string]any {
			return map[string]any{"cpu": n, "hook": 1, "kind": 2, "count": uint64(1 << 62), "from_ns": n * 10, "to_ns": n*10 + 5}
		}),
		records("500,000 losses backwards", "loss", 64, func(n int) map[string]any {
			return map[string]any{"hook": 255, "kind": 255, "count": uint64(math.MaxUint64), "from_ns": int64(math.MaxInt64) - int64(n), "to_ns": int64(math.MinInt64) + int64(n)}
		}),
		records("500,000 clocks that jump", "clock", 64, func(n int) map[string]any {
			return map[string]any{"boot_ns": n, "mono_ns": -n, "real_ns": int64(math.MaxInt64) * int64(1-2*(n&1))}
		}),
		records("500,000 snapshots", "snapshot", 64, func(n int) map[string]any {
			return map[string]any{"boot_ns": n, "listeners": []map[string]any{{"listener": n, "lname": fmt.Sprint(n)}}, "blocked": []map[string]any{{"pid": n, "tid": n}}}
		}),
		built("crowd: 300,000 frames", 3, func(w io.Writer) *file {
			f := good(w)
			content := record("clock", []byte{0x80})
			packed := encoder.EncodeAll(content, nil)
			for range 300_000 {
				f.linked(f.next(packed, len(content), 0), packed)
			}
			return f
		}),
		built("crowd: 100,000 damaged places", 4, func(w io.Writer) *file {
			f := good(w)
			content := record("clock", []byte{0x80})
			packed := encoder.EncodeAll(content, nil)
			for range 100_000 {
				f.linked(f.next(packed, len(content), 0), packed)
				f.write([]byte{0xde, 0xad})
			}
			return f
		}),
	)
	return list
}

// ends are captures whose END, index or tail lies.
func ends() []Exhibit {
	var list []Exhibit
	add := func(name string, code int, build func(f *file) *file) {
		list = append(list, built(name, code, func(w io.Writer) *file { return build(good(w)) }))
	}
	ended := func(name string, code int, edit func(e map[string]any)) {
		add("end: "+name, code, func(f *file) *file { return f.end(edit).close(nil, keep) })
	}
	ended("nothing wrong", 0, same)
	ended("2^64-1 events", 4, func(e map[string]any) { e["events"] = uint64(math.MaxUint64) })
	ended("lost what it does not account for", 4, func(e map[string]any) { e["lost"] = 5 })
	ended("account that overflows", 4, func(e map[string]any) {
		t := map[string]any{"hook": 1, "kind": 1, "seen": 0, "recorded": 1, "lost": uint64(math.MaxUint64)}
		e["totals"] = []any{t, t}
	})
	ended("20,000 accounts", 0, func(e map[string]any) {
		var totals []any
		for i := range 20_000 {
			totals = append(totals, map[string]any{"hook": i & 255, "kind": i >> 8, "missed": uint64(math.MaxUint64)})
		}
		e["totals"] = totals
	})
	ended("30,000 blocked", 0, func(e map[string]any) {
		var blocked []any
		for i := range 30_000 {
			blocked = append(blocked, map[string]any{"pid": i, "tid": i, "sockfd": -1})
		}
		e["blocked"] = blocked
	})
	ended("reason of 900 KiB with escapes", 0, func(e map[string]any) { e["reason"] = string(bytes.Repeat([]byte("\x1b[31m\r\n"), 900<<10/7)) })
	ended("before the beginning", 4, func(e map[string]any) {
		e["clock"] = map[string]any{"boot_ns": int64(math.MinInt64), "real_ns": int64(math.MinInt64)}
	})
	add("end: twice", 4, func(f *file) *file { return f.end(same).end(same).close(nil, keep) })
	add("end: events behind it", 4, func(f *file) *file {
		f.end(same).add(block(1, 3, nil), 3)
		return f.close(nil, keep)
	})
	add("end: none", 4, func(f *file) *file { return f.close(nil, keep) })
	add("end: and no index", 3, func(f *file) *file { return f.end(same) })
	add("end: beside other records", 4, func(f *file) *file {
		f.add(append(record("clock", []byte{0x80}), record("end", pack(map[string]any{"clean": true}))...), 0)
		return f.close(nil, keep)
	})
	add("end: then 32 MiB of zeros", 4, func(f *file) *file {
		f.end(same).close(nil, keep).write(make([]byte, 32<<20))
		return f
	})
	add("end: then another capture", 4, func(f *file) *file {
		f.end(same).close(nil, keep)
		g := good(f.w).end(same).close(nil, keep)
		f.err = g.err
		return f
	})
	for name, n := range map[string]uint64{"2^63-1": math.MaxInt64, "2^20+1": 1<<20 + 1, "2^20": 1 << 20, "-1": math.MaxUint64, "1": 1, "0": 0} {
		add("index: "+name+" frames", 4, func(f *file) *file {
			f.end(same)
			return f.close(f.indexOf(n), keep)
		})
	}
	add("index: bomb", 4, func(f *file) *file { return f.end(same).close(make([]byte, 64<<20), keep) })
	add("index: nests", 4, func(f *file) *file { return f.end(same).close(bytes.Repeat([]byte{0x91}, 10<<20), keep) })
	add("index: frames that overlap", 4, func(f *file) *file {
		f.end(same)
		f.index[5] = 4
		return f.close(nil, keep)
	})
	add("index: places that overflow", 4, func(f *file) *file {
		f.end(same)
		f.index[5] = math.MinInt64
		return f.close(nil, keep)
	})
	add("index: times that were not", 4, func(f *file) *file {
		f.end(same)
		f.index[3], f.index[4] = math.MinInt64, math.MaxInt64
		return f.close(nil, keep)
	})
	add("index: twice", 4, func(f *file) *file {
		f.end(same)
		f.skippable(append([]byte("acc\x01\x02\x00\x00\x00"), encoder.EncodeAll(f.indexOf(2), nil)...))
		return f.close(nil, keep)
	})
	add("index: 16 MiB and a byte", 4, func(f *file) *file {
		f.end(same).skippable(append([]byte("acc\x01\x02\x00\x00\x00"), make([]byte, 16<<20)...))
		return f
	})
	for i, name := range []string{"place of the index", "its place", "frames", "events"} {
		for _, v := range []uint64{0, 1 << 31, 1 << 63, math.MaxUint64} {
			add(fmt.Sprintf("tail: %s %d", name, v), 4, func(f *file) *file {
				return f.end(same).close(nil, func(t *[4]uint64) {
					t[i] = v
					if i == 3 && v == 0 {
						t[i] = 1
					}
				})
			})
		}
	}
	return list
}
