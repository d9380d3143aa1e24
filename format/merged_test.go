package format

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
)

// merged gives captures one behind another, and where the frame of each begins.
func merged(parts ...[]byte) (file []byte, frames []int) {
	for i, p := range parts {
		s := Source{Number: i + 1, Count: len(parts), Length: int64(len(p)), SHA256: sha256.Sum256(p)}
		frames = append(frames, len(file))
		file = append(s.Append(file), p...)
	}
	return file, frames
}

// A merged file that is cut off at any byte has what is before it, and says of each other capture that it is missing.
func TestMergedCut(t *testing.T) {
	parts := [][]byte{[]byte("first"), bytes.Repeat([]byte("second "), 30), []byte("the third")}
	file, frames := merged(parts...)
	for n := range len(file) + 1 {
		list, err := FindSources(bytes.NewReader(file[:n]), int64(n))
		if n < 8+sourceSize {
			if !errors.As(err, new(*CorruptError)) && n > 0 {
				t.Fatalf("%d bytes: %v", n, err)
			}
			continue
		}
		if err != nil || len(list) != 3 {
			t.Fatalf("%d bytes: %v, %v", n, list, err)
		}
		for i, s := range list {
			from := frames[i] + 8 + sourceSize
			want := parts[i][:max(0, min(len(parts[i]), n-from))]
			if n < from { // not even its frame is there
				if s.Bytes != 0 || !errors.Is(s.Damage, ErrTruncated) {
					t.Fatalf("%d bytes: capture %d: %+v", n, i+1, s)
				}
				continue
			}
			got, err := io.ReadAll(io.NewSectionReader(bytes.NewReader(file[:n]), s.Offset, s.Bytes))
			if err != nil || !bytes.Equal(got, want) || s.Damage != nil || s.SHA256 != sha256.Sum256(parts[i]) {
				t.Fatalf("%d bytes: capture %d is %q (%+v), %v; want %q", n, i+1, got, s, err, want)
			}
		}
	}
}

// Any changed bit of a frame leaves all captures readable, and is said at one of them; so are bytes behind the last one.
func TestMergedDamage(t *testing.T) {
	parts := [][]byte{[]byte("first"), []byte("second"), []byte("the third")}
	file, frames := merged(parts...)
	check := func(name string, file []byte, damaged int) {
		t.Helper()
		list, err := FindSources(bytes.NewReader(file), int64(len(file)))
		if err != nil || len(list) < len(parts) {
			t.Fatalf("%s: %v, %v", name, list, err)
		}
		said := 0
		for i, s := range list {
			if s.Damage != nil {
				said++
			}
			if i >= len(parts) {
				continue
			}
			if got := file[s.Offset : s.Offset+s.Bytes]; !bytes.HasPrefix(got, parts[i]) {
				t.Fatalf("%s: capture %d is %q", name, i+1, got)
			}
		}
		if list[damaged].Damage == nil || said == 0 {
			t.Fatalf("%s: damage is not said: %+v", name, list)
		}
	}
	for i, at := range frames {
		for bit := range 8 * (8 + sourceSize) {
			changed := bytes.Clone(file)
			changed[at+bit/8] ^= 1 << (bit % 8)
			check("flipped", changed, i)
		}
	}
	check("more", append(bytes.Clone(file), "more"...), 2)
	last, _ := merged([]byte("alone"))
	if list, err := FindSources(bytes.NewReader(last), int64(len(last))); err != nil || len(list) != 1 || list[0].Damage != nil {
		t.Error(list, err)
	}
}

// Whatever a file has, the captures that are found lie in it, one behind another.
func FuzzFindSources(f *testing.F) {
	file, frames := merged([]byte("first"), []byte("second"), []byte("the third"))
	f.Add(file)
	f.Add(file[:frames[2]+3])
	f.Add(append(file[:frames[1]+9], file[frames[1]+10:]...))
	f.Add(bytes.Repeat(sourceHead, 100))
	f.Fuzz(func(t *testing.T, file []byte) {
		list, err := FindSources(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		end := int64(0)
		for i, s := range list {
			if s.Number != i+1 || s.Bytes < 0 || s.Bytes > 0 && (s.Offset < end || s.Offset+s.Bytes > int64(len(file))) {
				t.Fatalf("%d: %+v in %d bytes", i, s, len(file))
			}
			if s.Bytes > 0 {
				end = s.Offset + s.Bytes
			}
		}
		if len(list) == 0 || len(list) > MaxSources+1 {
			t.Fatal(len(list))
		}
	})
}
