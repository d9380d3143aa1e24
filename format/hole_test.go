package format

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"
)

// sparse is a file whose holes have these bounds.
type sparse struct {
	bytes.Reader
	holes [][2]int64
	read  int64 // bytes that were read
}

func (s *sparse) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.read += int64(n)
	return n, err
}

func (s *sparse) SkipHole() (int64, error) {
	at, _ := s.Seek(0, io.SeekCurrent)
	for _, h := range s.holes {
		if at >= h[0] && at < h[1] {
			_, err := s.Seek(h[1], io.SeekStart)
			return h[1] - at, err
		}
	}
	return 0, nil
}

// What a reader leaves out of a sparse file is the same as of one that stores its zeros, and it does
// not read the holes.
func TestHoles(t *testing.T) {
	whole := write(t, sample(3000, 7), 100)
	const hole = 8 << 20
	zeros := make([]byte, hole)
	third := len(whole) / 3
	cases := map[string]struct {
		data  []byte
		holes [][2]int64
	}{
		"behind":   {slices.Concat(whole, zeros), [][2]int64{{int64(len(whole)), int64(len(whole)) + hole}}},
		"between":  {slices.Concat(whole[:third], zeros, whole[third:]), [][2]int64{{int64(third), int64(third) + hole}}},
		"cut":      {slices.Concat(whole[:third], zeros), [][2]int64{{int64(third), int64(third) + hole}}},
		"before":   {slices.Concat(zeros, whole), [][2]int64{{0, hole}}},
		"all":      {zeros, [][2]int64{{0, hole}}},
		"two":      {slices.Concat(whole[:third], zeros, whole[third:2*third], zeros), [][2]int64{{int64(third), int64(third) + hole}, {int64(2*third) + hole, int64(2*third) + 2*hole}}},
		"linkhead": {slices.Concat(whole, zeros, linkHead[:9], zeros, linkHead), [][2]int64{{int64(len(whole)), int64(len(whole)) + hole}, {int64(len(whole)) + hole + 9, int64(len(whole)) + 2*hole + 9}}},
	}
	for name, c := range cases {
		type seen struct {
			events  int
			skipped []Skip
			err     string
		}
		read := func(in io.Reader) (s seen) {
			r, err := NewReader(in, ReaderOptions{Salvage: true})
			for err == nil {
				var b *Batch
				if b, err = r.Next(); err == nil {
					s.events += len(b.Events)
				}
			}
			if r != nil {
				s.skipped = r.Skipped()
			}
			if s.err = err.Error(); errors.Is(err, io.EOF) {
				s.err = "EOF"
			}
			return s
		}
		file := &sparse{holes: c.holes}
		file.Reset(c.data)
		got, want := read(file), read(bytes.NewReader(c.data))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, of a file without holes %+v", name, got, want)
		}
		if most := int64(len(whole)) + 2<<20; file.read > most {
			t.Errorf("%s: %d bytes were read, more than %d", name, file.read, most)
		}
	}
}
