package export

import (
	"math"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/delta"
)

// Integers that differ in their highest bits alone, which a made capture can have, are spread over the hash table.
func TestNumbersSpread(t *testing.T) {
	var x numbers
	for k := range int64(2048) {
		if at := x.place(k << 53); at != int32(k) {
			t.Fatalf("integer %d has place %d", k, at)
		}
	}
	run, longest := 0, 0
	for _, at := range x.at {
		if run++; at == 0 {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest > 64 {
		t.Errorf("%d slots that follow each other are taken, of %d", longest, len(x.at))
	}
}

// A column with one value in all rows is decoded by parquet-go; flags are bits, the first one the lowest.
func TestSame(t *testing.T) {
	for _, n := range []int{0, 1, 2, 127, 128, 129, 130, 257, 1000} {
		for _, one := range []int64{0, 1, -1, 1 << 62, math.MinInt64} {
			want := fill([]int64(nil), n, one)
			got, err := new(delta.BinaryPackedEncoding).DecodeInt64(nil, appendSame(nil, n, one))
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%d times %d: %d, %v", n, one, got, err)
			}
		}
		for _, yes := range []bool{false, true} {
			got := appendSameBits(nil, n, yes)
			if len(got) != (n+7)/8 {
				t.Errorf("%d flags in %d bytes", n, len(got))
			}
			for i := range 8 * len(got) { // what is behind the last one is zero
				if bit := got[i/8]>>(i%8)&1 == 1; bit != (yes && i < n) {
					t.Errorf("flag %d of %d is %t", i, n, bit)
				}
			}
		}
	}
}
