package format

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// Numbers are written as strconv writes them.
func TestDigits(t *testing.T) {
	check := func(n uint64) {
		t.Helper()
		if got, want := string(appendDecimal([]byte("x"), n)), "x"+strconv.FormatUint(n, 10); got != want {
			t.Fatalf("%d: %q, want %q", n, got, want)
		}
		if got, want := string(appendSigned(nil, int64(n))), strconv.FormatInt(int64(n), 10); got != want {
			t.Fatalf("%d: %q, want %q", int64(n), got, want)
		}
	}
	for n := range uint64(100_001) {
		check(n)
	}
	for p := uint64(10); ; p *= 10 {
		check(p - 1)
		check(p)
		check(p + 1)
		if p > math.MaxUint64/10 {
			break
		}
	}
	for bit := range 64 {
		check(1<<bit - 1)
		check(1 << bit)
	}
	check(math.MaxUint64)
	check(1 << 63) // the least int64
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		check(rng.Uint64() >> rng.IntN(64))
	}
}
