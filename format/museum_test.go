package format_test

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/testdata/museum"
)

// big are those that take long to make.
var big = regexp.MustCompile("bomb|MiB|million|zeros|without end|deep")

// Every hostile file is what the museum says it is, to the strict reader and to
// salvage: whole, truncated, corrupt, or of another kind; and the same with frames
// that are decoded ahead.
func TestExhibits(t *testing.T) {
	verdict := func(data []byte, salvage bool) string {
		r, err := format.NewReader(bytes.NewReader(data), format.ReaderOptions{Salvage: salvage})
		for err == nil {
			_, err = r.Next()
		}
		var corrupt *format.CorruptError
		var version *format.VersionError
		switch {
		case errors.As(err, &corrupt), r != nil && len(r.Skipped()) > 0:
			return "corrupt"
		case errors.Is(err, format.ErrTruncated):
			return "truncated"
		case errors.Is(err, io.EOF):
			return "whole"
		case errors.Is(err, format.ErrNotCapture), errors.As(err, &version):
			return "strange"
		}
		return err.Error()
	}
	for _, e := range museum.Exhibits() {
		if strings.HasPrefix(e.Name, "crowd") || e.Long || testing.Short() && big.MatchString(e.Name) {
			continue
		}
		var b bytes.Buffer
		if err := e.Write(&b); err != nil {
			t.Fatal(err)
		}
		want := map[int]string{0: "whole", 1: "strange", 3: "truncated", 4: "corrupt"}[e.Verify]
		for _, salvage := range []bool{false, true} {
			got := verdict(b.Bytes(), salvage)
			// What only the account shows is not the reader's to find.
			account := e.Verify == 4 && (got == "whole" || got == "truncated") && (strings.HasPrefix(e.Name, "end: ") || strings.Contains(e.Name, "its link lies") || strings.Contains(e.Name, "times that overflow") || e.Name == "block: all times" || e.Name == "block: a time before and one after all")
			if got != want && !account {
				t.Errorf("%s: (salvage %v) is %s, want %s", e.Name, salvage, got, want)
			}
			if diff := format.AheadDiffers(b.Bytes(), salvage); diff != "" {
				t.Errorf("%s: (salvage %v) %s", e.Name, salvage, diff)
			}
		}
	}
}
