package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
)

// Lines come out as a stable sort has them, as long as none is more than the window behind.
func TestTimedLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var out bytes.Buffer
	lines := timedLines{w: &out}
	type line struct {
		ns   int64
		text string
	}
	var want []line
	now := int64(1e9)
	for i := range 20_000 {
		now += rng.Int64N(1e6)
		x := line{(now - rng.Int64N(linesWindow/2)) / 1e6 * 1e6, fmt.Sprintf("line %d\n", i)}
		want = append(want, x)
		must(t, lines.add(x.ns, []byte(x.text)))
		if len(lines.held) > 1000 {
			t.Fatalf("%d lines wait", len(lines.held))
		}
	}
	must(t, lines.flush())
	sort.SliceStable(want, func(i, j int) bool { return want[i].ns < want[j].ns })
	var all strings.Builder
	for _, x := range want {
		all.WriteString(x.text)
	}
	if out.String() != all.String() {
		t.Error("another order")
	}
}

// All lines come, whatever their times, and few wait.
func TestTimedLinesOfHostileTimes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var out bytes.Buffer
	lines := timedLines{w: &out}
	for i := range 200_000 {
		ns := []int64{0, math.MaxInt64, math.MinInt64, -1, rng.Int64(), int64(1e18 - i)}[rng.IntN(6)]
		must(t, lines.add(ns, []byte("x\n")))
	}
	must(t, lines.add(5, bytes.Repeat([]byte("y"), maxLineBytes)))
	if len(lines.held) > maxLinesHeld || lines.bytes > maxLineBytes {
		t.Errorf("%d lines wait, of %d bytes", len(lines.held), lines.bytes)
	}
	must(t, lines.flush())
	if n := bytes.Count(out.Bytes(), []byte("x\n")); n != 200_000 || lines.bytes != 0 {
		t.Errorf("%d lines, %d bytes", n, lines.bytes)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
