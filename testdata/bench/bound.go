package main

// This file estimates how small a capture could be.

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"

	"github.com/acc-project/acc/format"
)

// bound estimates how many bytes the columns of a capture need if each is written, by
// itself, by an ideal coder: the entropy of each value's difference to the one before of
// the same thread, connection or CPU, as the format's keys say, over the whole capture.
//
// Of numbers that repeat that is the entropy of the numbers, and 4 bytes for each one
// that occurs. Of those that hardly do, as times, it is that of the sign, the length
// and the four highest bits; the bits below are taken for random. The cheaper one counts.
// By is the same of each column.
func bound(path string) (all float64, by map[string]float64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{})
	if err != nil {
		return 0, nil, fmt.Errorf("read %s: %w", path, err)
	}
	cols := make([]residuals, len(format.Fields))
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, nil, fmt.Errorf("read %s: %w", path, err)
		}
		for i := range b.Events {
			for c := range cols {
				if f := &format.Fields[c]; f.Has(&b.Events[i]) {
					cols[c].add(f, &b.Events[i])
				}
			}
		}
	}
	by = map[string]float64{}
	for i := range cols {
		n := cols[i].bits() / 8
		by[format.Fields[i].Name] = n
		all += n
	}
	return all, by, nil
}

// residuals are what a column's values differ by from the ones that they are held against.
type residuals struct {
	words  map[string]int64 // numbers of texts and addresses
	last   map[[3]int64]int64
	before int64
	counts map[int64]float64
	coarse map[int]float64
	low    float64 // bits below the highest four
	text   float64 // bits of the words, each once
	n      float64
}

func (r *residuals) add(f *format.Field, e *format.Event) {
	if r.counts == nil {
		r.words, r.last, r.counts, r.coarse = map[string]int64{}, map[[3]int64]int64{}, map[int64]float64{}, map[int]float64{}
	}
	v := int64(0)
	if f.Type == format.String || f.Type == format.Addr {
		text := f.Text(e)
		n, ok := r.words[text]
		if !ok {
			n = int64(len(r.words))
			r.words[text] = n
			r.text += float64(8 * len(text))
		}
		v = n
	} else {
		v = f.Int(e)
	}
	d := v
	if f.Key != nil {
		var key [3]int64
		for i, name := range f.Key {
			k, _ := format.FieldByName(name)
			key[i] = k.Int(e)
		}
		last, ok := r.last[key]
		if !ok {
			last = r.before
		}
		r.last[key], r.before = v, v
		d = v - last
	}
	r.n++
	r.counts[d]++
	size := bits.Len64(uint64(max(d, -d)))
	class := size << 5
	if d < 0 {
		class |= 16
	}
	if size > 4 {
		class |= int(uint64(max(d, -d)) >> (size - 5) & 15)
		r.low += float64(size - 5)
	} else {
		class |= int(max(d, -d)) & 15
	}
	r.coarse[class]++
}

func (r *residuals) bits() float64 {
	exact, coarse := 32*float64(len(r.counts)), 32*float64(len(r.coarse))+r.low
	for _, c := range r.counts {
		exact -= c * math.Log2(c/r.n)
	}
	for _, c := range r.coarse {
		coarse -= c * math.Log2(c/r.n)
	}
	return r.text + min(exact, coarse)
}
