package redact

// This file proves that nothing of an original is in its redacted capture.

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/acc-project/acc/format"
)

// Checked is the outcome of Check.
type Checked struct {
	Events  uint64   `json:"events"`  // that were compared
	Records uint64   `json:"records"` // other records that were compared
	Values  uint64   `json:"values"`  // original names and addresses that were searched for
	Bytes   int64    `json:"bytes"`   // decompressed bytes that were searched
	Forms   []string `json:"forms"`   // in which they were searched for
	Kept    []string `json:"kept"`    // classes and fields that were kept on demand: not searched for
	// names of one or two letters, or that acc writes itself, and addresses that others became: compared field by field
	Unsearch []string `json:"compared"`
	Problems []string `json:"problems"` // what is wrong, at most 20; empty: nothing
	Ok       bool     `json:"ok"`       // nothing is wrong
}

// forms are how a value is looked for.
var forms = []string{
	"a name as it is: from 6 bytes on anywhere, a shorter one as a whole text of msgpack",
	"a name of 6 bytes or more in hexadecimal",
	"an address as text, and as the 4 or 16 bytes of a word of a block, mapped into IPv6, too",
	"ports, user ids and markers: field by field",
}

// maxProblems is how many problems are reported.
const maxProblems = 20

// checker compares two captures.
type checker struct {
	out   Checked
	kept  []string
	rules []eventRule
	ways  [2]map[text]string // what values became, and came from
	vocab map[string]bool    // texts that are kept
	mode  string             // how addresses were replaced
	same  map[string]bool    // addresses that an encryption within a small class left as they are
}

func (c *checker) problem(format string, args ...any) {
	if len(c.out.Problems) < maxProblems {
		c.out.Problems = append(c.out.Problems, fmt.Sprintf(format, args...))
	}
}

// Check compares an original, of which revealed is what Reveal said, with what was made of it: the same
// events and records but for what the rules replace, which is replaced one to one; and no original value in the
// decompressed bytes. safe is read twice.
func Check(original io.Reader, revealed *Revealed, safe io.ReadSeeker) (*Checked, error) {
	c := &checker{vocab: map[string]bool{}, same: map[string]bool{}, ways: [2]map[text]string{{}, {}}}
	c.out.Problems, c.out.Forms, c.out.Unsearch, c.out.Kept = []string{}, forms, []string{}, []string{}
	a, err := format.NewReader(original, format.ReaderOptions{})
	if err != nil {
		return nil, fmt.Errorf("original: %w", err)
	}
	b, err := format.NewReader(safe, format.ReaderOptions{})
	if err != nil {
		return nil, fmt.Errorf("redacted: %w", err)
	}
	note := b.Header().Redacted
	if note == nil {
		c.problem("it does not say that it is redacted")
		note = &format.Redacted{}
	}
	if note.SHA256 != revealed.SHA256 {
		c.problem("it was made of another file: SHA-256 %s, not %s", note.SHA256, revealed.SHA256)
	}
	c.kept, c.mode = note.Keep, note.Addresses
	c.out.Kept = append(c.out.Kept, note.Keep...)
	c.rules = rulesOfEvents(c.kept)
	c.record("header", a.Header(), b.Header())
	if err := c.frames(a, b); err != nil {
		return nil, err
	}
	if c.tooManySame() {
		c.problem("%d addresses are the original ones", len(c.same))
	}
	if _, err := safe.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if err := c.search(safe, revealed); err != nil {
		return nil, err
	}
	c.out.Ok = len(c.out.Problems) == 0
	return &c.out, nil
}

// frames compares frame by frame.
func (c *checker) frames(a, b *format.Reader) error {
	for {
		x, errA := a.Next()
		y, errB := b.Next()
		stop := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, format.ErrTruncated) }
		switch {
		case stop(errA) && stop(errB):
			return nil
		case errA != nil && !stop(errA):
			return fmt.Errorf("original: %w", errA)
		case errB != nil && !stop(errB):
			return fmt.Errorf("redacted: %w", errB)
		case stop(errA) != stop(errB):
			c.problem("one has more frames than the other")
			return nil
		}
		if len(x.Events) != len(y.Events) || x.FirstSeq != y.FirstSeq {
			c.problem("frame %d has %d events from %d on, and %d from %d on", x.Frame, len(x.Events), x.FirstSeq,
				len(y.Events), y.FirstSeq)
			return nil
		}
		var left, right []any
		collect := func(list *[]any) func(any) error {
			return func(v any) error { *list = append(*list, v); return nil }
		}
		_ = eachRecord(x, collect(&left))
		_ = eachRecord(y, collect(&right))
		if len(left) != len(right) {
			c.problem("frame %d has %d records, and %d", x.Frame, len(left), len(right))
			return nil
		}
		for i := range left {
			c.record(fmt.Sprintf("frame %d", x.Frame), left[i], right[i])
		}
		for i := range x.Events {
			c.event(&x.Events[i], &y.Events[i])
		}
	}
}

// became notes that a value became another one, and reports whether that is always so, both ways.
func (c *checker) became(class, from, to string) bool {
	if (from == "") != (to == "") {
		return false
	}
	for i, pair := range [2][2]string{{from, to}, {to, from}} {
		key := text{class, pair[0]}
		if before, ok := c.ways[i][key]; ok && before != pair[1] {
			return false
		}
		if len(c.ways[i]) < maxValues {
			c.ways[i][key] = pair[1]
		}
	}
	return true
}

// event compares two events.
func (c *checker) event(a, b *format.Event) {
	c.out.Events++
	for i := range c.rules {
		f, r := c.rules[i].field, c.rules[i].rule
		if r.how == keep {
			if f.Int(a) != f.Int(b) || f.Str(a) != f.Str(b) || f.Addr(a) != f.Addr(b) {
				c.problem("event %d: %s is another one", a.Seq, f.Name)
			}
			if r.class != "" && f.Type != format.Int && f.Type != format.Uint {
				c.vocab[plainOf(f, a)] = true // kept on demand
			}
			continue
		}
		from, to := plainOf(f, a), plainOf(f, b)
		if !c.became(r.class, from, to) {
			c.problem("event %d: %s was not replaced one to one", a.Seq, f.Name)
		}
		if from == to && from != "" && r.how != port && !((r.how == user || r.how == hash) && from == "0") &&
			!c.maySame(from) {
			c.problem("event %d: %s is the original one", a.Seq, f.Name)
		}
	}
	for i := range format.Fields { // what no rule names
		f := &format.Fields[i]
		if _, named := eventRules[f.Name]; !named && (f.Int(b) != 0 || f.Str(b) != "" || f.Addr(b).IsValid()) {
			c.problem("event %d: %s has no rule and is there", b.Seq, f.Name)
		}
	}
}

// plainOf is a field's value as text, "" for none.
func plainOf(f *format.Field, e *format.Event) string {
	switch f.Type {
	case format.String:
		return f.Str(e)
	case format.Addr:
		if a := f.Addr(e); a.IsValid() {
			return a.Unmap().String()
		}
		return ""
	}
	return fmt.Sprint(uint64(f.Int(e)))
}

// maySame reports whether an address may be what it was: it says nothing, or it is of a class of few
// addresses within which some are encrypted to themselves. Of these, maxSame are too many.
func (c *checker) maySame(s string) bool {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return false
	case stays(a.Unmap()):
		return true
	}
	if bits := classBits(a.Unmap()); c.mode == Kinds && bits > 0 {
		c.same[s] = true
		return true
	}
	return false
}

// tooManySame reports whether more addresses stayed than chance explains: one of 65,536 in the smallest class.
func (c *checker) tooManySame() bool {
	all := 0
	for key := range c.ways[0] {
		if key.class == "address" {
			all++
		}
	}
	return len(c.same) > all/1000
}

// record compares two records: what is kept must be equal, what is removed must be gone, what is replaced must be
// another value.
func (c *checker) record(where string, a, b any) {
	c.out.Records++
	type leaf struct {
		key string
		r   rule
		v   reflect.Value
	}
	leaves := func(v any) (list []leaf) {
		own := reflect.New(reflect.TypeOf(v).Elem())
		own.Elem().Set(reflect.ValueOf(v).Elem())
		_ = walkRecord(own.Elem(), c.kept, func(key string, r rule, v reflect.Value) error {
			list = append(list, leaf{key, r, v})
			return nil
		})
		return list
	}
	left, right := leaves(a), leaves(b)
	if len(left) != len(right) {
		c.problem("%s: a record has another number of members", where)
		return
	}
	for i, l := range left {
		m := right[i]
		if l.key == "Header.redacted" || l.key == "Header.format" || l.key == "Header.fields" || l.key == "Header.compat" {
			continue
		}
		from, to := fmt.Sprint(l.v.Interface()), fmt.Sprint(m.v.Interface())
		switch l.r.how {
		case keep, numeric:
			if m.v.Kind() == reflect.String {
				c.vocab[to] = true
			} else if m.v.Kind() == reflect.Slice && l.key == "Header.limits" {
				c.vocab[to] = true
			}
			if l.r.how == keep && l.v.Kind() != reflect.Map && !reflect.DeepEqual(l.v.Interface(), m.v.Interface()) {
				c.problem("%s: %s is another one", where, l.key)
			}
		case remove:
			if !m.v.IsZero() && (m.v.Kind() != reflect.Slice || m.v.Len() > 0) {
				c.problem("%s: %s is there", where, l.key)
			}
		case ours:
			c.vocab[to] = true
		case port, user:
			if !c.became(l.r.class, from, to) {
				c.problem("%s: %s was not replaced one to one", where, l.key)
			}
		case name, address:
			if l.r.how == address && l.v.String() != "" {
				if p, err := netip.ParseAddr(from); err == nil {
					from = p.Unmap().WithZone("").String()
				}
				if p, err := netip.ParseAddr(to); err == nil {
					to = p.Unmap().String()
				}
			}
			if !c.became(l.r.class, from, to) {
				c.problem("%s: %s was not replaced one to one", where, l.key)
			}
			if from == to && from != "" && !c.maySame(from) {
				c.problem("%s: %s is the original one", where, l.key)
			}
		}
	}
}

// search looks for original values in the decompressed bytes.
func (c *checker) search(safe io.Reader, revealed *Revealed) error {
	d, err := zstd.NewReader(safe, zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return err
	}
	defer d.Close()
	for _, f := range format.Fields {
		c.vocab[f.Name], c.vocab[string(f.Type)] = true, true
	}
	for key := range recordRules {
		kind, field, _ := strings.Cut(key, ".")
		c.vocab[field], c.vocab[strings.ToLower(kind)] = true, true
	}
	for _, k := range Keepable() {
		c.vocab[k] = true
	}
	n := newNeedles()
	for _, v := range revealed.values {
		if slices.Contains([]string{"port", "user", "marker", "zone"}, v.class) || slices.Contains(c.kept, v.class) {
			continue
		}
		if len(v.value) < 3 || c.isWord(v) || c.image(v) {
			if len(c.out.Unsearch) < maxProblems {
				c.out.Unsearch = append(c.out.Unsearch, v.value)
			}
			continue
		}
		c.out.Values++
		n.add(v)
	}
	slices.Sort(c.out.Unsearch)
	return n.scan(d, func(v text, form string, at int64) {
		c.problem("the %s %q is there, %s, at byte %d of the decompressed capture", v.class, v.value, form, at)
	}, &c.out.Bytes)
}

// image reports whether an original address is what another one became, or itself by chance.
func (c *checker) image(v text) bool {
	from, is := c.ways[1][v]
	return v.class == "address" && is && (from != v.value || c.same[v.value])
}

// isWord reports whether a value is part of a text that is kept: a word of the format, or of acc.
func (c *checker) isWord(v text) bool {
	if v.class == "address" {
		return c.vocab[v.value]
	}
	for w := range c.vocab {
		if strings.Contains(w, v.value) {
			return true
		}
	}
	return false
}

// needles are the byte strings that are looked for, by their first bytes.
type needles struct {
	by   map[[needleHead]byte][]needle
	most int
}

type needle struct {
	bytes []byte
	of    text
	form  string
}

// needleHead is how many bytes pick the needles that can be at a place.
const needleHead = 4

func newNeedles() *needles { return &needles{by: map[[needleHead]byte][]needle{}} }

func (n *needles) put(b []byte, of text, form string) {
	if len(b) < needleHead {
		return
	}
	head := [needleHead]byte(b)
	n.by[head] = append(n.by[head], needle{b, of, form})
	n.most = max(n.most, len(b))
}

// add adds the forms of a value.
func (n *needles) add(v text) {
	s := []byte(v.value)
	if a, err := netip.ParseAddr(v.value); v.class == "address" && err == nil {
		if len(s) >= 6 {
			n.put(s, v, "as text")
		}
		raw := a.AsSlice()
		n.put(append([]byte{0xc4, byte(len(raw))}, raw...), v, "as a word of a block")
		if a.Is4() {
			b := a.As16()
			n.put(append([]byte{0xc4, 16}, b[:]...), v, "mapped into IPv6, as a word of a block")
		}
		return
	}
	if len(s) >= 6 {
		n.put(s, v, "as it is")
		n.put([]byte(hex.EncodeToString(s)), v, "in hexadecimal")
		return
	}
	short := append([]byte{0xc4, byte(len(s))}, s...)
	n.put(short, v, "as a word of a block")
	n.put(append([]byte{0xa0 | byte(len(s))}, s...), v, "as a text")
	n.put(append([]byte{0xd9, byte(len(s))}, s...), v, "as a text")
}

// scan looks through all that r gives. The error is that of reading: what was not read was not searched.
func (n *needles) scan(r io.Reader, found func(v text, form string, at int64), total *int64) error {
	const chunk = 1 << 20
	buf := make([]byte, 0, chunk+n.most)
	at := int64(0) // of buf[0]
	for {
		start := len(buf)
		buf = buf[:start+chunk]
		got, err := fill(r, buf[start:])
		buf = buf[:start+got]
		*total += int64(got)
		end := len(buf)
		if err == nil {
			end -= n.most // what begins later is looked for with the next chunk
		}
		for i := 0; i < end && i+needleHead <= len(buf); i++ {
			for _, x := range n.by[[needleHead]byte(buf[i:])] {
				if bytes.HasPrefix(buf[i:], x.bytes) {
					found(x.of, x.form, at+int64(i))
				}
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("search the decompressed capture: %w", err)
		}
		rest := copy(buf, buf[max(end, 0):])
		at += int64(max(end, 0))
		buf = buf[:rest]
		if cap(buf) < rest+chunk {
			buf = append(make([]byte, 0, rest+chunk+n.most), buf...)
		}
	}
}

// fill reads until b is full. Unlike io.ReadFull it tells the end of the input from one in the midst of a frame.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var got int
		got, err = r.Read(b[n:])
		n += got
	}
	return n, err
}
