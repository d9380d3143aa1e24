package evidence

// This file counts and hashes what is read of a file.

import (
	"hash"
	"io"

	"github.com/acc-project/acc/format"
)

// CountedReader counts the bytes that it gave.
type CountedReader struct {
	R io.Reader // that it reads from
	N int64     // bytes so far, those of holes that were passed over included
}

// Read makes it an [io.Reader].
func (c *CountedReader) Read(p []byte) (int, error) {
	n, err := c.R.Read(p)
	c.N += int64(n)
	return n, err
}

// SkipHole makes it a [format.HoleSkipper].
func (c *CountedReader) SkipHole() (int64, error) {
	sparse, ok := c.R.(format.HoleSkipper)
	if !ok {
		return 0, nil
	}
	n, err := sparse.SkipHole()
	c.N += n
	return n, err
}

// largeHole is from how many bytes on a hole is not read for the sake of a hash.
const largeHole = 64 << 20

// hashedReader hashes what it gives, holes included but for large ones.
type hashedReader struct {
	*CountedReader
	hashes []hash.Hash
	exact  bool  // all is hashed
	hole   int64 // bytes of large holes
}

func (r *hashedReader) Read(p []byte) (int, error) {
	n, err := r.CountedReader.Read(p)
	for _, h := range r.hashes {
		h.Write(p[:n])
	}
	return n, err
}

// SkipHole makes it a [format.HoleSkipper].
func (r *hashedReader) SkipHole() (int64, error) {
	if r.exact {
		return 0, nil
	}
	n, err := r.CountedReader.SkipHole()
	if n >= largeHole {
		r.hole += n
		return n, err
	}
	var zeros [4096]byte
	for left := n; left > 0; left -= int64(len(zeros)) {
		for _, h := range r.hashes {
			h.Write(zeros[:min(left, int64(len(zeros)))])
		}
	}
	return n, err
}
