package format

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// However the rows of a column come, one by one, many with one number, or many at once, it has the bytes of the column of
// all its numbers, with the same seams.
func TestDraft(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed ", seed)
	rnd := rand.New(rand.NewPCG(seed, 5))
	var d draft
	dense := 0
	for range 600 { // blocks, of which each one's form is guessed from the one before
		d.begin(0)
		var want []int64
		small, wide := rnd.IntN(5), rnd.IntN(64)
		number := func() int64 {
			switch {
			case small > 2 && rnd.IntN(200) > 0:
				return int64(wide)
			case rnd.IntN(4) < small:
				return int64(rnd.IntN(3)) - 1
			case rnd.IntN(50) == 0:
				return int64(rnd.Uint64()) >> wide
			}
			return int64(rnd.Uint64()>>wide) & 0x7f
		}
		for range rnd.IntN(12) {
			switch n := 1 + rnd.IntN(maxPending); rnd.IntN(4) {
			case 0: // one by one
				for range n % 40 {
					num := number()
					if d.rows = int32(len(want) + 1); num != d.last {
						d.note(int32(len(want)), num)
					}
					want = append(want, num)
				}
			case 1:
				num := number()
				d.nextSame(num, int32(n))
				want = append(want, slices.Repeat([]int64{num}, n)...)
			case 2:
				var w waitingNums
				for at := range n {
					w.put(at, number())
				}
				want = append(want, w.of[:n]...)
				if d.nextRare(&w, n); w != (waitingNums{}) {
					t.Fatal("numbers are left")
				}
			default:
				var kinds []byte
				for range n {
					kinds = append(kinds, byte(number()&0x7f))
					want = append(want, int64(kinds[len(kinds)-1]))
				}
				d.nextBytes(kinds)
			}
		}
		if d.dense {
			dense++
		}
		var gotSeams, wantSeams seams
		got := d.append(nil, int32(len(want)), &gotSeams)
		if b := appendColumn(nil, want, statsOf(want), &wantSeams); !bytes.Equal(got, b) || !slices.Equal(gotSeams, wantSeams) {
			t.Fatalf("a column of %d rows, guessed dense %v, is not that of its numbers", len(want), d.dense)
		}
		if !slices.Equal(d.all(int32(len(want))), want) {
			t.Fatalf("a column of %d rows, guessed dense %v, has other numbers", len(want), d.dense)
		}
	}
	if dense < 100 || dense > 500 {
		t.Errorf("%d of 600 columns were guessed dense", dense)
	}
}
