package redact

// This file finds what a capture gives away.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/acc-project/acc/format"
)

// Revealed is what a capture gives away.
type Revealed struct {
	File    string          `json:"file"`    // name of the capture
	SHA256  string          `json:"sha256"`  // of the file, hexadecimal
	Bytes   int64           `json:"bytes"`   // its length
	Events  uint64          `json:"events"`  // in it
	Classes []RevealedClass `json:"classes"` // what it gives away, by class; those of which there is nothing, too
	// what remains in a redacted capture, whatever the options
	Remains []string `json:"remains"`
	Head    string   `json:"head"` // chain of its last frame, hexadecimal

	Truncated bool   `json:"truncated"` // it stops before its end: this is of what is there
	Redacted  bool   `json:"redacted"`  // it is redacted itself: these are pseudonyms
	values    []text // all that must not be in a redacted capture
}

// RevealedClass is what a capture gives away of one kind.
type RevealedClass struct {
	Class   string   `json:"class"`   // address, port, process ...
	What    string   `json:"what"`    // what that is
	Values  uint64   `json:"values"`  // different ones
	Places  uint64   `json:"places"`  // where they stand: events and members of records
	Samples []string `json:"samples"` // the first ones, at most three; not printable characters are escaped
}

// Remains are what a redacted capture still tells.
var Remains = []string{
	"when each event happened, to the nanosecond: whoever has other logs can match them by time",
	"numbers of processes, threads, sockets, cgroups and namespaces of the host, and which CPU",
	"how many clients, listeners and processes there are, and which of them belong together",
	"sizes and durations of connections, errors, queue limits, the kernel's version and settings of the network",
	"loopback and unspecified addresses, and that root is root",
}

// tally counts the values of a class.
type tally struct {
	places  uint64
	seen    map[string]struct{}
	samples []string
}

// revealer collects what a capture gives away.
type revealer struct {
	tallies map[string]*tally
	values  int
	long    int // bytes of values beyond the first of each
	full    bool
}

func (x *revealer) add(class, value string) {
	if value == "" || value == "0" {
		return
	}
	t := x.tallies[class]
	if t == nil {
		t = &tally{seen: map[string]struct{}{}}
		x.tallies[class] = t
	}
	t.places++
	if _, ok := t.seen[value]; ok {
		return
	}
	x.long += max(len(value)-shortValue, 0)
	if x.values++; x.values > maxValues || x.long > maxLong {
		x.full = true
		return
	}
	t.seen[strings.Clone(value)] = struct{}{}
	if len(t.samples) < 3 {
		t.samples = append(t.samples, format.Quote(value))
	}
}

// event collects of an event.
func (x *revealer) event(e *format.Event, rules []eventRule) {
	for i := range rules {
		f, r := rules[i].field, rules[i].rule
		if r.class == "" {
			continue
		}
		switch f.Type {
		case format.String:
			x.add(r.class, f.Str(e))
		case format.Addr:
			if a := f.Addr(e); a.IsValid() && !stays(a.Unmap()) {
				x.add(r.class, a.Unmap().String())
			}
		default:
			if v := f.Int(e); v != 0 {
				x.add(r.class, strconv.FormatUint(uint64(v), 10))
			}
		}
	}
}

// member collects of a member of a record.
func (x *revealer) member(key string, r rule, v reflect.Value) error {
	if r.class == "" {
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		switch {
		case r.class == "address":
			a, err := netip.ParseAddr(s)
			if err == nil && stays(a.Unmap()) {
				return nil
			}
			if err == nil {
				s = a.Unmap().String()
			}
		case r.how == release && version.FindString(s) == s:
			return nil
		case r.how == ours && slices.Contains(ourTexts[key], s):
			return nil
		}
		x.add(r.class, s)
	case reflect.Slice:
		for i := range v.Len() {
			if s := v.Index(i); s.Kind() == reflect.String && !slices.Contains(ourTexts[key], s.String()) {
				x.add(r.class, s.String())
			}
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		x.add(r.class, strconv.FormatUint(v.Uint(), 10))
	case reflect.Int, reflect.Int64:
		x.add(r.class, strconv.FormatInt(v.Int(), 10))
	}
	return nil
}

// rulesWithout are the rules of events without anything that is kept.
func rulesWithout() []eventRule { return rulesOfEvents(nil) }

// Reveal reads a capture for what it gives away. The error is that of reading, but that it stops early,
// which Revealed says.
func Reveal(src io.Reader) (*Revealed, error) {
	sum := sha256.New()
	counted := &counter{r: io.TeeReader(src, sum)}
	r, err := format.NewReader(counted, format.ReaderOptions{Parts: true})
	if err != nil {
		return nil, err
	}
	out := &Revealed{Classes: []RevealedClass{}, Remains: Remains, Redacted: r.Header().Redacted != nil}
	x := &revealer{tallies: map[string]*tally{}}
	rules := rulesWithout()
	h := *r.Header()
	if err := walkRecord(reflect.ValueOf(&h).Elem(), nil, x.member); err != nil {
		return nil, err
	}
	var head [32]byte
	for {
		b, err := r.Next()
		if errors.Is(err, format.ErrTruncated) {
			out.Truncated = true
			break
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		head = b.Chain
		if err := eachRecord(b, func(v any) error {
			return walkRecord(reflect.ValueOf(v).Elem(), nil, x.member)
		}); err != nil {
			return nil, err
		}
		for events := range b.Parts() {
			out.Events += uint64(len(events))
			for i := range events {
				x.event(&events[i], rules)
			}
		}
	}
	if x.full {
		return nil, fmt.Errorf("it has more than %d different names and addresses, or longer ones than acc has memory for",
			maxValues)
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	out.SHA256, out.Bytes, out.Head = hex.EncodeToString(sum.Sum(nil)), counted.n, hex.EncodeToString(head[:])
	for _, c := range Classes {
		row := RevealedClass{Class: c.Name, What: c.What, Samples: []string{}}
		if t := x.tallies[c.Name]; t != nil {
			row.Values, row.Places, row.Samples = uint64(len(t.seen)), t.places, t.samples
			for v := range t.seen {
				out.values = append(out.values, text{c.Name, v})
			}
		}
		out.Classes = append(out.Classes, row)
	}
	return out, nil
}

// eachRecord calls do with a pointer to each record of a batch but the header.
func eachRecord(b *format.Batch, do func(v any) error) error {
	for _, records := range []func() error{
		func() error { return each(b.Processes, do) },
		func() error { return each(b.Clocks, do) },
		func() error { return each(b.Losses, do) },
		func() error { return each(b.Snapshots, do) },
		func() error { return each(b.Counters, do) },
		func() error { return each(b.Marks, do) },
		func() error { return each(b.Counted, do) },
		func() error { return each(b.Watches, do) },
		func() error { return each(b.Images, do) },
		func() error { return each(b.Stacks, do) },
		func() error { return each(b.Doings, do) },
		func() error { return each(b.Gaps, do) },
	} {
		if err := records(); err != nil {
			return err
		}
	}
	if b.End != nil {
		return do(b.End)
	}
	return nil
}

// each calls do with a pointer to each of a list.
func each[T any](list []T, do func(v any) error) error {
	for i := range list {
		if err := do(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
