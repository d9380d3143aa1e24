package format

import (
	"bytes"
	"errors"
	"io"
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
