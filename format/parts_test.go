package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
)

// What fills a snapshot is as large as names and addresses can be: no record is larger
// than a reader takes.
func TestFullSnapshot(t *testing.T) {
	long := "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	var s Snapshot
	for i := range 2*maxConnections + 1 {
		s.Connections = append(s.Connections, Connection{NetNS: 1<<32 - 1, LAddr: long, LPort: 1<<16 - 1, RAddr: long, RPort: 1<<16 - 1, State: 255, Inode: 1<<64 - 1, Cookie: 1<<64 - 1 - uint64(i)})
	}
	for range 2*maxListeners + 1 {
		s.Listeners = append(s.Listeners, ListenSocket{NetNS: 1<<32 - 1, Listener: 1<<64 - 1, Family: 65535, Proto: 65535, LAddr: long, LPort: 65535,
			LName: strings.Repeat("x", 108), Backlog: 1<<32 - 1, BacklogMax: 1<<32 - 1})
	}
	for range 2 * maxBlocked {
		s.Blocked = append(s.Blocked, Blocked{PID: 1<<32 - 1, TID: 1<<32 - 1, SockFD: -1 << 31})
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Snapshot(s), w.Close(End{Clean: true, Blocked: s.Blocked, BlockedKnown: true})); err != nil {
		t.Fatal(err)
	}
	list, err := batches(out.Bytes(), ReaderOptions{})
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	conns, listeners, blocked := 0, 0, 0
	for _, b := range list {
		for _, x := range b.Snapshots {
			conns, listeners, blocked = conns+len(x.Connections), listeners+len(x.Listeners), blocked+len(x.Blocked)
			if n := len(x.Connections) + len(x.Listeners) + len(x.Blocked); n == 0 || len(x.Connections) > maxConnections || len(x.Listeners) > maxListeners || len(x.Blocked) > maxBlocked {
				t.Errorf("a part has %d connections, %d listeners, %d tasks", len(x.Connections), len(x.Listeners), len(x.Blocked))
			}
		}
	}
	if conns != len(s.Connections) || listeners != len(s.Listeners) || blocked != len(s.Blocked) {
		t.Errorf("%d connections, %d listeners, %d tasks come back", conns, listeners, blocked)
	}
}

// For people a number has its unit, if it has one.
func TestUnits(t *testing.T) {
	e := Event{Kind: Closed, BytesIn: 5, SRTTUS: 7, MinRTTUS: 1}
	for name, want := range map[string]string{"bytes_in": "5 B", "srtt_us": "7 µs", "min_rtt_us": "1 µs"} {
		f, ok := FieldByName(name)
		if !ok {
			t.Fatalf("no field %s", name)
		}
		if got := f.Text(&e); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	f, _ := FieldByName("lport")
	e.LPort = 80
	if got := f.Text(&e); got != "80" {
		t.Errorf("a port without unit is %q", got)
	}
}

// A tail that does not say where the index is, though its own sum fits, gives none.
func TestForgedTail(t *testing.T) {
	data := write(t, sample(200, 4), 16)
	size := int64(len(data))
	if frames, err := ReadIndex(bytes.NewReader(data), size); err != nil || len(frames) != len(parts(data))-1 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	at := size - 88 // docs/FORMAT.md: the tail is always the last 88 bytes
	payload := at + 8
	indexAt := binary.LittleEndian.Uint64(data[payload+8:])
	for name, edit := range map[string]func(b []byte){
		"another magic":           func(b []byte) { b[0] ^= 1 },
		"another length":          func(b []byte) { b[4] ^= 1 },
		"another type":            func(b []byte) { b[8+4] = 2 },
		"the tail elsewhere":      func(b []byte) { binary.LittleEndian.PutUint64(b[8+16:], uint64(at)+1) },
		"the index behind it":     func(b []byte) { binary.LittleEndian.PutUint64(b[8+8:], uint64(at)+1) },
		"no room for the index":   func(b []byte) { binary.LittleEndian.PutUint64(b[8+8:], uint64(at)-15) },
		"another place":           func(b []byte) { binary.LittleEndian.PutUint64(b[8+8:], indexAt-1) },
		"another sum":             func(b []byte) { b[8+72] ^= 1 },
		"the first byte as index": func(b []byte) { binary.LittleEndian.PutUint64(b[8+8:], 0) },
	} {
		bad := bytes.Clone(data)
		edit(bad[at:])
		binary.LittleEndian.PutUint32(bad[payload+76:], crc32.Checksum(bad[payload:payload+76], crc32.MakeTable(crc32.Castagnoli)))
		if _, err := ReadIndex(bytes.NewReader(bad), size); !errors.Is(err, ErrNoIndex) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, _, err := read(bad, ReaderOptions{}); !errors.As(err, new(*CorruptError)) {
			t.Errorf("%s: the reader says %v", name, err)
		}
	}
	for cut := range 90 {
		if _, err := ReadIndex(bytes.NewReader(data[:cut]), int64(cut)); !errors.Is(err, ErrNoIndex) {
			t.Errorf("%d bytes: %v", cut, err)
		}
	}
}

// A column takes the sparse form where one row in 24 or fewer is other than usual.
func TestColumnForms(t *testing.T) {
	for _, c := range []struct {
		rows, others int
		sparse       bool
	}{{1, 0, true}, {24, 1, true}, {23, 1, false}, {48, 2, true}, {47, 2, false}} {
		for _, usual := range []int64{0, -5, 300} {
			nums := make([]int64, c.rows)
			for i := range nums {
				if nums[i] = usual; i < c.others {
					nums[i]++
				}
			}
			b := appendColumn(nil, nums, statsOf(nums), nil)
			if isMap := b[0]&0xf0 == 0x80; isMap != c.sparse {
				t.Errorf("%d other than %d of %d rows: % x", c.others, usual, c.rows, b)
			}
			got := make([]int64, c.rows)
			if rest, err := parseColumn(b, got); err != nil || len(rest) != 0 || !slices.Equal(got, nums) {
				t.Errorf("%v is read as %v, %v", nums, got, err)
			}
		}
	}
}
