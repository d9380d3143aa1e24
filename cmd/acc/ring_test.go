package main

import (
	"errors"
	"testing"
)

func TestRingSize(t *testing.T) {
	for s, want := range map[string]int{"16KiB": 16 << 10, "64K": 64 << 10, "8MiB": 8 << 20, "1GiB": 1 << 30, "1G": 1 << 30} {
		if got, err := sizeOf(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "16384", "4KiB", "8KiB", "2GiB", "48KiB", "x", "-1", "16 KiB", "99999999999"} {
		if got, err := sizeOf(s); !errors.As(err, new(*usageError)) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}
