package evidence_test

import (
	"context"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// A head that was given with the number of another frame is told to be that one's, and accuses nobody; one that is
// of no frame does.
func TestHeadNumbers(t *testing.T) {
	const name = "../cmd/acc/testdata/sklookup.acc"
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var heads []string
	for {
		b, err := r.Next()
		if err != nil {
			break
		}
		heads = append(heads, hex.EncodeToString(b.Chain[:]))
	}
	last := int64(len(heads)) - 1
	if last < 1 {
		t.Fatalf("%d frames", len(heads))
	}
	other := strings.Repeat("0", 64)
	for _, x := range []struct {
		head            evidence.Head
		verdict, status string
		says            string
	}{
		{head: evidence.Head{Frame: last, Hex: heads[last]}, verdict: "intact", status: evidence.HeadFound},
		{head: evidence.Head{Frame: -1, Hex: heads[last]}, verdict: "intact", status: evidence.HeadFound},
		{head: evidence.Head{Frame: last + 1, Hex: heads[last]}, verdict: evidence.Unconfirmed, status: evidence.HeadUnconfirmed,
			says: "is that of frame"},
		{head: evidence.Head{Frame: last, Hex: heads[last-1]}, verdict: evidence.Unconfirmed, status: evidence.HeadUnconfirmed,
			says: "frames count from 0"},
		{head: evidence.Head{Frame: last, Hex: other}, verdict: "altered", status: evidence.HeadDiffers},
		{head: evidence.Head{Frame: last + 1, Hex: other}, verdict: "altered", status: evidence.HeadMissing},
	} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := evidence.Verify(context.Background(), f, nil, evidence.VerifyOptions{Name: "x.acc",
			Kept: &evidence.Kept{Heads: []evidence.Head{x.head}}})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if v.Verdict != x.verdict || v.Heads[0].Status != x.status || !strings.Contains(strings.Join(v.Why, "; "), x.says) {
			t.Errorf("%+v: %s, %s, %q", x.head, v.Verdict, v.Heads[0].Status, v.Why)
		}
	}
}
