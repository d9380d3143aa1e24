package format

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func page(t *testing.T, before string, capture []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("<!DOCTYPE html>\n" + before)
	if err := Embed(&b, bytes.NewReader(capture), int64(len(capture))); err != nil {
		t.Fatal(err)
	}
	b.WriteString("</body></html>")
	return b.Bytes()
}

func bytesOf(n int) []byte {
	r, b := rand.New(rand.NewPCG(1, uint64(n))), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// A capture comes out of a page as it went in: of any length, wherever the mark lies in what is read at once, at
// any place, as a file and as a stream.
func TestEmbedded(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 4, 5, 1000, 200_001} {
		for _, before := range []int{0, 64<<10 - 40, 64<<10 - 20, 64<<10 - 1, 200_000} {
			want := bytesOf(n)
			p := page(t, strings.Repeat("x", before), want)
			e, err := FindEmbedded(bytes.NewReader(p), int64(len(p)))
			if err != nil || e == nil {
				t.Fatalf("%d bytes behind %d: %v, %v", n, before, e, err)
			}
			if e.Size() != int64(n) {
				t.Errorf("size %d, want %d", e.Size(), n)
			}
			got, err := io.ReadAll(e)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes behind %d: not the same: %v", n, before, err)
			}
			for at := 0; at < n; at += 1 + n/37 {
				b := make([]byte, min(11, n-at))
				if _, err := e.ReadAt(b, int64(at)); err != nil || !bytes.Equal(b, want[at:at+len(b)]) {
					t.Fatalf("at %d of %d: not the same: %v", at, n, err)
				}
			}
			r, err := ReadEmbedded(iotest.HalfReader(bytes.NewReader(p)))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes behind %d as a stream: not the same: %v", n, before, err)
			}
			if i := bytes.Index(p, []byte(`">`)); n > 0 { // by another reader of base64
				text, _, _ := bytes.Cut(p[i+2:], []byte("<"))
				if got, err := base64.StdEncoding.DecodeString(string(text)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("not base64: %v", err)
				}
			}
		}
	}
}

// What a page can be beside whole: cut, changed, hostile.
func TestEmbeddedDamaged(t *testing.T) {
	want := bytesOf(90_000)
	whole := page(t, "", want)
	stream := func(p []byte) ([]byte, error) {
		r, err := ReadEmbedded(bytes.NewReader(p))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	cut := whole[:60_000]
	if e, err := FindEmbedded(bytes.NewReader(cut), int64(len(cut))); e != nil || err != nil {
		t.Errorf("cut off: %v, %v", e, err)
	}
	if got, err := stream(cut); err != nil || len(got) < 40_000 || !bytes.HasPrefix(want, got) {
		t.Errorf("cut off: %d bytes, %v", len(got), err)
	}
	folded := bytes.ReplaceAll(whole, []byte("A"), []byte("A\r\n "))
	if got, err := stream(folded); err != nil || !bytes.Equal(got, want) {
		t.Errorf("with line breaks: %d bytes, %v", len(got), err)
	}
	bad := bytes.Clone(whole)
	bad[50_000] = '*'
	if got, err := stream(bad); !errors.Is(err, ErrWrapper) || !bytes.HasPrefix(want, got) {
		t.Errorf("damaged: %v", err)
	}
	e, err := FindEmbedded(bytes.NewReader(bad), int64(len(bad)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(e); !errors.Is(err, ErrWrapper) {
		t.Errorf("damaged: %v", err)
	}
	for name, p := range map[string]string{
		"none": "<!DOCTYPE html><p>hello", "no size": "<html>" + embedMark + ">AAAA</template>", "endless tag": "<html>" + embedMark + strings.Repeat(" x", 1<<20),
		"size of a liar": "<html>" + embedMark + ` data-bytes="9999999999999999999999">AAAA</template>`,
	} {
		if e, err := FindEmbedded(strings.NewReader(p), int64(len(p))); !errors.Is(err, ErrNotCapture) {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	huge := "<html>" + embedMark + ` data-bytes="999999999999999999">AAAA</template>`
	if e, err := FindEmbedded(strings.NewReader(huge), int64(len(huge))); e != nil || err != nil {
		t.Errorf("more than there is: %v, %v", e, err)
	}
	for head, yes := range map[string]bool{"<!DOCTYPE HTML>": true, "\ufeff\n <html": true, "<x": false, "": false, string(linkHead): false} {
		if IsPage([]byte(head)) != yes {
			t.Errorf("IsPage(%q) is %v", head, !yes)
		}
	}
	if err := Embed(io.Discard, bytes.NewReader(want), 5); err == nil {
		t.Error("a capture that grows is no error")
	}
}
