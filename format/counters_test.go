package format

import (
	"bytes"
	"io"
	"reflect"
	"testing"
)

// Counters come back as they were written, before the events of their frame.
func TestCounters(t *testing.T) {
	want := Counters{BootNS: 5, UntilNS: 7, Final: true, NetNS: 1<<32 - 1, Queued: 3, QueuedKnown: true, Values: map[string]uint64{}}
	for i, name := range CounterNames {
		want.Values[name] = 1<<64 - 1 - uint64(i)
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.Counters(want), w.Close(End{Reason: "signal", Clean: true})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := NewReader(&out, ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []Counters
	for {
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b.Counters...)
	}
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Two writes of the same counters are equal byte for byte.
func TestCountersAlike(t *testing.T) {
	c := Counters{Values: map[string]uint64{}, Settings: map[string]int64{"net.core.somaxconn": 4096, "net.ipv4.tcp_syncookies": 1}}
	for i, name := range CounterNames {
		c.Values[name] = uint64(i)
	}
	var first []byte
	for range 20 {
		var out bytes.Buffer
		w, err := NewWriter(&out, testHeader(), WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{w.Counters(c), w.Close(End{Reason: "signal", Clean: true})} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if first == nil {
			first = out.Bytes()
		} else if !bytes.Equal(first, out.Bytes()) {
			t.Fatal("two writes of the same counters differ")
		}
	}
}
