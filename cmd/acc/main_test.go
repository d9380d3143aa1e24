package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes programs of these functions for tests that call them.
func TestMain(m *testing.M) {
	testscript.Main(m, programs)
}
