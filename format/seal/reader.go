package seal

// This file reads parts.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"

	"filippo.io/age"
)

// Is reports whether a file that begins so is encrypted. It takes 16 bytes.
func Is(head []byte) bool {
	return len(head) >= 16 && bytes.Equal(head[:4], magic) && bytes.Equal(head[8:16], mark)
}

// parse reads the head of a part: how many bytes follow it, and how many it has decrypted.
func parse(head []byte, number uint32) (size, content int, ok bool) {
	le := binary.LittleEndian
	size = int(le.Uint32(head[4:])) - (headSize - 8)
	content = int(le.Uint32(head[20:]))
	ok = Is(head) && size > 0 && size <= maxPart && content > 0 && content <= maxPart && le.Uint32(head[16:]) == number
	return size, content, ok
}

// ErrIdentity says that no identity is one that a capture is encrypted for.
var ErrIdentity = errors.New("none of the identities can decrypt it")

// open decrypts the age file of a part into dst, which has the length of its content.
func open(dst, sealed []byte, identities []age.Identity) error {
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if none := new(age.NoIdentityMatchError); errors.As(err, &none) {
		return ErrIdentity
	}
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(r, dst); err != nil {
		return err
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return errors.New("a part has another length than it says")
	}
	return nil
}

// Reader reads an encrypted capture anywhere. What can't be decrypted, since somebody changed it, reads as zeros, so
// that it is found as what it is: corrupt. It is for one goroutine.
type Reader struct {
	src        io.ReaderAt
	identities []age.Identity
	parts      []part
	size       int64 // decrypted
	plain      []byte
	at         int // the part that plain has, -1: none
	place      int64
}

// part is where one lies.
type part struct {
	at     int64 // of its age file
	size   int
	offset int64 // decrypted
}

// NewReader finds the parts in the first size bytes of src, and decrypts the first one. An incomplete part at the
// end, and what follows one that is none, is left out.
func NewReader(src io.ReaderAt, size int64, identities []age.Identity) (*Reader, error) {
	r := &Reader{src: src, identities: identities, at: -1}
	head := make([]byte, headSize)
	for at := int64(0); at+headSize <= size; {
		if _, err := src.ReadAt(head, at); err != nil {
			return nil, err
		}
		n, content, ok := parse(head, uint32(len(r.parts)))
		if !ok || at+headSize+int64(n) > size {
			break
		}
		r.parts = append(r.parts, part{at + headSize, n, r.size})
		r.size += int64(content)
		at += headSize + int64(n)
	}
	if len(r.parts) == 0 {
		return nil, errors.New("it is encrypted, and stops within its first part")
	}
	return r, r.load(0)
}

// Size is how many bytes it has decrypted.
func (r *Reader) Size() int64 { return r.size }

// load decrypts a part. Only that no identity is right is an error of the first one.
func (r *Reader) load(i int) error {
	if r.at == i {
		return nil
	}
	p := r.parts[i]
	end := r.size
	if i+1 < len(r.parts) {
		end = r.parts[i+1].offset
	}
	sealed := make([]byte, p.size)
	if _, err := r.src.ReadAt(sealed, p.at); err != nil {
		return err
	}
	n := int(end - p.offset)
	if cap(r.plain) < n {
		r.plain = make([]byte, n)
	}
	r.plain, r.at = r.plain[:n], i
	if err := open(r.plain, sealed, r.identities); err != nil {
		clear(r.plain)
		if i == 0 {
			return fmt.Errorf("decrypt: %w", err)
		}
	}
	return nil
}

// ReadAt reads decrypted bytes.
func (r *Reader) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		if off >= r.size {
			return n, io.EOF
		}
		i := sort.Search(len(r.parts), func(i int) bool { return r.parts[i].offset > off }) - 1
		if err := r.load(i); err != nil {
			return n, err
		}
		m := copy(b[n:], r.plain[off-r.parts[i].offset:])
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

// Read reads on.
func (r *Reader) Read(b []byte) (int, error) {
	if r.place >= r.size {
		return 0, io.EOF
	}
	n, err := r.ReadAt(b[:min(int64(len(b)), r.size-r.place)], r.place)
	r.place += int64(n)
	return n, err
}

// Seek moves to where Read goes on.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.place
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	r.place = offset
	return offset, nil
}

// Stream decrypts a capture that is read once.
type Stream struct {
	src        io.Reader
	identities []age.Identity
	n          uint32
	plain      []byte
	left       []byte
	err        error
}

// NewStream decrypts what src gives.
func NewStream(src io.Reader, identities []age.Identity) *Stream {
	return &Stream{src: src, identities: identities}
}

// Read gives what is decrypted.
func (s *Stream) Read(b []byte) (int, error) {
	for len(s.left) == 0 {
		if s.err == nil {
			s.err = s.next()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(b, s.left)
	s.left = s.left[n:]
	return n, nil
}

// next decrypts the next part; an incomplete one is the end.
func (s *Stream) next() error {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(s.src, head); err != nil {
		return ended(err)
	}
	n, content, ok := parse(head, s.n)
	if !ok {
		return errors.New("decrypt: what follows is no part of an encrypted capture")
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(s.src, sealed); err != nil {
		return ended(err)
	}
	if cap(s.plain) < content {
		s.plain = make([]byte, content)
	}
	s.plain = s.plain[:content]
	if err := open(s.plain, sealed, s.identities); err != nil {
		if clear(s.plain); s.n == 0 {
			return fmt.Errorf("decrypt: %w", err)
		}
	}
	s.left = s.plain
	s.n++
	return nil
}

func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}
