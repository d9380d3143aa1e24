package format

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/vmihailenco/msgpack/v5"
)

// What docs/FORMAT.md says of texts and lists of records holds: what is as long as it may be is read, and what is
// longer is corruption.
func TestBounds(t *testing.T) {
	type m = map[string]any
	text := func(n int) string { return strings.Repeat("x", n) }
	list := func(n int, v any) (list []any) {
		for range n {
			list = append(list, v)
		}
		return list
	}
	for _, c := range []struct {
		tag  string
		most int
		body func(n int) any
	}{
		{"process", 64, func(n int) any { return m{"comm": text(n)} }},
		{"process", 16_384, func(n int) any { return m{"exe": text(n)} }},
		{"mark", 16_384, func(n int) any { return m{"text": text(n)} }},
		{"gap", 16_384, func(n int) any { return m{"reason": text(n)} }},
		{"image", 16_384, func(n int) any { return m{"path": text(n)} }},
		{"doing", 16_384, func(n int) any { return m{"target": text(n)} }},
		{"counted", 512, func(n int) any { return m{"lname": text(n)} }},
		{"counted", 64, func(n int) any { return m{"laddr": text(n)} }},
		{"watch", 64, func(n int) any { return m{"peers": list(1, m{"raddr": text(n)})} }},
		{"watch", 16_384, func(n int) any { return m{"cannot": list(2, text(n))} }},
		{"watch", 256, func(n int) any { return m{"threads": list(n, m{})} }},
		{"watch", 256, func(n int) any { return m{"goroutines": list(1, m{"groups": list(n, m{})})} }},
		{"stack", 1024, func(n int) any { return m{"frames": list(1, m{"func": text(n)})} }},
		{"stack", 256, func(n int) any { return m{"frames": list(n, m{})} }},
		{"snapshot", 64, func(n int) any { return m{"listeners": list(1, m{"holders": list(1, m{"comm": text(n)})})} }},
		{"snapshot", 512, func(n int) any { return m{"listeners": list(1, m{"lname": text(n)})} }},
		{"snapshot", 131_072, func(n int) any { return m{"connections": list(n, m{})} }},
		{"counters", 128, func(n int) any { return m{"values": m{text(n): 1}} }},
		{"counters", 128, func(n int) any { return m{"settings": m{text(n): 1}} }},
	} {
		for n, fits := range map[int]bool{c.most: true, c.most + 1: false} {
			body, err := msgpack.Marshal(c.body(n))
			if err != nil {
				t.Fatal(err)
			}
			d, err := newFrameDecoder(&Header{Format: Version}, ReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			d.left = maxElements
			one := append(append([]byte{0x92, 0xa0 | byte(len(c.tag))}, c.tag...), body...)
			if _, err := d.record(&link{}, one, 0); (err == nil) != fits {
				t.Errorf("%s of %d: %v", c.tag, n, err)
			}
		}
	}
}

// Lists of numbers are as long as the record may be, and so are texts of header and END.
func TestUnbounded(t *testing.T) {
	left := 10
	for tag, body := range map[string]map[string]any{
		"snapshot": {"netns": make([]uint32, 100_000)},
		"header":   {"host": strings.Repeat("x", 900_000)},
		"end":      {"reason": strings.Repeat("x", 900_000)},
	} {
		b, err := msgpack.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if err := inRange(tag, b, &left); err != nil || left != 10 {
			t.Errorf("%s: %v, %d left", tag, err, left)
		}
	}
}

// A frame has no more than 8 MiB beside its block, and elements of lists are counted over its records.
func TestFrameBounds(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := func(n int, tag string, body any) error {
		b, err := msgpack.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		one := append(append([]byte{0x92, 0xa0 | byte(len(tag))}, tag...), b...)
		d, err := newFrameDecoder(&Header{Format: Version}, ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		content := []byte(strings.Repeat(string(one), n))
		return d.decode(&link{content: uint32(len(content))}, enc.EncodeAll(content, nil))
	}
	some := make([]map[string]any, 1<<12)
	if err := frame(32, "snapshot", map[string]any{"blocked": some}); err != nil {
		t.Error(err)
	}
	if err := frame(33, "snapshot", map[string]any{"blocked": some}); !errors.Is(err, errElements) {
		t.Errorf("33 lists of 4096: %v", err)
	}
	text := map[string]any{"text": strings.Repeat("x", 16_000)}
	if err := frame(500, "mark", text); err != nil {
		t.Error(err)
	}
	if err := frame(530, "mark", text); err == nil || !strings.Contains(err.Error(), "8388608 bytes") {
		t.Errorf("530 marks of 16,000 bytes: %v", err)
	}
}

// A Room has room for so many bytes, whatever they are of, and gives it back.
func TestRoom(t *testing.T) {
	r := Room{Max: 10_000}
	long := Counters{Values: CounterValues{strings.Repeat("x", 4000): 1}}
	if !r.Takes(&Mark{Text: strings.Repeat("x", 9000)}) || r.Takes(&Mark{Text: strings.Repeat("x", 1000)}) || !r.Full {
		t.Errorf("%+v", r)
	}
	r.Gives(&Mark{Text: strings.Repeat("x", 9000)})
	if r.used != 0 || !r.Takes(&long) || r.Takes(&long) {
		t.Errorf("%+v", r)
	}
	frames := Stack{Frames: make([]StackFrame, 100)}
	if n := MemoryOf(&frames); n < 3200 || n > 4000 {
		t.Errorf("100 empty frames take %d bytes", n)
	}
	if n := MemoryOf(&Watch{OnCPU: []OnCPU{{Stacks: make([]StackCount, 50)}}, Cannot: []string{fmt.Sprint(1e9)}}); n < 400 || n > 1200 {
		t.Errorf("a watch takes %d bytes", n)
	}
}

// What is longer than readers take is cut when it is written, and the caller's own stays as it is.
func TestWriterCuts(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	stack := Stack{Num: 1, Frames: make([]StackFrame, 300)}
	stack.Frames[0].Func = long
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{Host: long}, WriterOptions{})
	err = errors.Join(err, w.Process(Process{Comm: long, Exe: long}), w.Stack(stack),
		w.Snapshot(Snapshot{Listeners: []ListenSocket{{LName: long, Holders: []Holder{{PID: 5, Comm: long}}}}}), w.Mark(Mark{Text: long}),
		w.Close(End{Reason: long}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&out, ReaderOptions{})
	if err != nil || r.Header().Host != long {
		t.Fatalf("%v", err)
	}
	_, _ = r.Next()
	b, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	l := b.Snapshots[0].Listeners[0]
	for what, n := range map[string][2]int{"comm": {len(b.Processes[0].Comm), 64}, "exe": {len(b.Processes[0].Exe), 16_384},
		"frames": {len(b.Stacks[0].Frames), 256}, "func": {len(b.Stacks[0].Frames[0].Func), 1024}, "lname": {len(l.LName), 512},
		"holder": {len(l.Holders[0].Comm), 64}, "pid": {int(l.Holders[0].PID), 5}, "text": {len(b.Marks[0].Text), 16_384},
		"own": {len(stack.Frames[0].Func), 20_000}} {
		if n[0] != n[1] {
			t.Errorf("%s: %d, want %d", what, n[0], n[1])
		}
	}
	if b, err = r.Next(); err != nil || b.End.Reason != long {
		t.Error(err)
	}
}
