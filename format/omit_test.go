package format

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Reading without some fields gives the other values, and finds the same wrong, in
// blocks whose content is changed under right checksums.
func TestOmit(t *testing.T) {
	names := []string{"cpu_seq", "cgroup", "user_data", "kind", "ret"} // the last two are decoded all the same
	good := header(t, func(*Header) {})
	whole, broken, differ, rounds := 0, 0, 0, 300
	if testing.Short() {
		rounds = 60
	}
	same := func(data []byte, ahead bool) {
		t.Helper()
		all, _, _, errAll := read(data, ReaderOptions{})
		some, _, _, errSome := read(data, ReaderOptions{Omit: names, Ahead: ahead})
		if fmt.Sprint(errAll) != fmt.Sprint(errSome) {
			t.Fatalf("with all fields: %v; with some: %v", errAll, errSome)
		}
		if bad := new(CorruptError); errors.As(errAll, &bad) {
			broken++
		} else {
			whole++
		}
		for i := range all {
			if all[i] != some[i] {
				differ++
			}
			all[i].CPUSeq, all[i].Cgroup, all[i].UserData = 0, 0, 0
		}
		if !slices.Equal(all, some) {
			t.Fatal("events differ in other fields")
		}
	}
	for _, events := range [][]Event{sample(300, 9), odd(), sample(60, 2)} {
		for _, ahead := range []bool{false, true} {
			same(write(t, events, 20), ahead)
		}
		content := appendBlock(nil, encode(events), 1)
		r := rand.New(rand.NewPCG(7, 8))
		for range rounds {
			bad := bytes.Clone(content)
			for range 1 + r.IntN(2) {
				bad[r.IntN(len(bad))] = byte(r.Uint32())
			}
			same(forge(uint32(len(events)), good, bad), false)
		}
	}
	if least := rounds / 6; whole < least || broken < least || differ < least {
		t.Errorf("%d blocks were whole, %d broken, %d events had a field left out", whole, broken, differ)
	}
}
