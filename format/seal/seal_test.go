package seal

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"filippo.io/age"
)

// sealed gives writes of random lengths, encrypted for someone, the bytes that were written by then in both forms, and
// who can decrypt them.
func sealed(t *testing.T, writes int, most int) (file, plain []byte, ends, plainEnds []int, id age.Identity) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := NewWriter(&out, []age.Recipient{key.Recipient()})
	r := rand.New(rand.NewPCG(1, uint64(most)))
	for range writes {
		p := make([]byte, 1+r.IntN(most))
		for i := range p {
			p[i] = byte(r.Uint32()) | 1 // never 0
		}
		if n, err := w.Write(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
		plain = append(plain, p...)
		ends, plainEnds = append(ends, out.Len()), append(plainEnds, len(plain))
	}
	return out.Bytes(), plain, ends, plainEnds, key
}

func TestReader(t *testing.T) {
	file, plain, _, _, id := sealed(t, 12, 200_000)
	r, err := NewReader(bytes.NewReader(file), int64(len(file)), []age.Identity{id})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) || r.Size() != int64(len(plain)) {
		t.Fatalf("%d bytes, %v; want %d", len(got), err, len(plain))
	}
	random := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		at, n := random.IntN(len(plain)), random.IntN(300_000)
		b := make([]byte, n)
		m, err := r.ReadAt(b, int64(at))
		want := plain[at:min(at+n, len(plain))]
		if !bytes.Equal(b[:m], want) || (err != nil) != (m < n) {
			t.Fatalf("at %d: %d bytes of %d, %v", at, m, n, err)
		}
	}
	if at, err := r.Seek(-5, io.SeekEnd); err != nil || at != int64(len(plain))-5 {
		t.Fatal(at, err)
	}
	if got, _ := io.ReadAll(r); !bytes.Equal(got, plain[len(plain)-5:]) {
		t.Errorf("%x", got)
	}
	if got, err := io.ReadAll(NewStream(bytes.NewReader(file), []age.Identity{id})); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("a stream gives %d bytes, %v", len(got), err)
	}
}

// Wherever a writer is killed, what it had written in whole is there.
func TestKilled(t *testing.T) {
	file, plain, ends, plainEnds, id := sealed(t, 5, 300)
	for n := range len(file) + 1 {
		want := 0
		for i, end := range ends {
			if end <= n {
				want = plainEnds[i]
			}
		}
		got, err := io.ReadAll(NewStream(bytes.NewReader(file[:n]), []age.Identity{id}))
		if err != nil || !bytes.Equal(got, plain[:want]) {
			t.Fatalf("cut at %d, a stream gives %d bytes, %v; want %d", n, len(got), err, want)
		}
		r, err := NewReader(bytes.NewReader(file[:n]), int64(n), []age.Identity{id})
		if (err == nil) != (want > 0) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if err == nil && r.Size() != int64(want) {
			t.Fatalf("cut at %d: %d bytes, want %d", n, r.Size(), want)
		}
	}
}

// Whatever is changed, nothing but whole parts in their order is read: what can't be decrypted is zeros, or missing.
func TestChanged(t *testing.T) {
	file, plain, ends, plainEnds, id := sealed(t, 3, 60)
	check := func(what string, changed []byte) {
		t.Helper()
		for _, got := range [][]byte{read(changed, id), stream(changed, id)} {
			rest := bytes.ReplaceAll(got, []byte{0}, nil) // which no part has
			for from, i := 0, 0; i < len(plainEnds); from, i = plainEnds[i], i+1 {
				rest, _ = bytes.CutPrefix(rest, plain[from:plainEnds[i]])
			}
			if len(rest) > 0 {
				t.Fatalf("%s: it reads %x", what, got)
			}
		}
	}
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1 << (i % 8)
		check("changed", changed)
	}
	check("without the first part", file[ends[0]:])
	check("without the second part", append(bytes.Clone(file[:ends[0]]), file[ends[1]:]...))
	check("the second part twice", append(bytes.Clone(file[:ends[1]]), file[ends[0]:]...))
}

func read(file []byte, id age.Identity) []byte {
	r, err := NewReader(bytes.NewReader(file), int64(len(file)), []age.Identity{id})
	if err != nil {
		return nil
	}
	b, _ := io.ReadAll(r)
	return b
}

func stream(file []byte, id age.Identity) []byte {
	b, _ := io.ReadAll(NewStream(bytes.NewReader(file), []age.Identity{id}))
	return b
}

func TestOtherIdentity(t *testing.T) {
	file, _, _, _, _ := sealed(t, 2, 60)
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewReader(bytes.NewReader(file), int64(len(file)), []age.Identity{other}); !errors.Is(err, ErrIdentity) {
		t.Errorf("%v", err)
	}
	if _, err := io.ReadAll(NewStream(bytes.NewReader(file), []age.Identity{other})); !errors.Is(err, ErrIdentity) {
		t.Errorf("%v", err)
	}
}

// A hostile length takes no memory that the file does not have.
func TestHostileLength(t *testing.T) {
	file, _, _, _, id := sealed(t, 1, 60)
	for _, n := range []uint32{0, 1 << 31, 1<<32 - 1} {
		changed := bytes.Clone(file)
		putHead(changed, 0, int(n))
		if b := read(changed, id); len(b) != 0 {
			t.Errorf("%d bytes", len(b))
		}
	}
}
