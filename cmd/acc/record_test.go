package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/capture"
)

// On a terminal acc shows what it does until it records, and says once that nothing happens.
func TestStatusLine(t *testing.T) {
	var b bytes.Buffer
	l := &statusLine{w: &b, terminal: true}
	l.phase("loading probes")
	l.phase("testing the probes")
	l.clear()
	for s := range 15 {
		l.show(capture.Status{Elapsed: time.Duration(s) * time.Second})
	}
	text := b.String()
	if !strings.HasPrefix(text, "\r\x1b[Kloading probes ...\r\x1b[Ktesting the probes ...\r\x1b[K") ||
		strings.Count(text, "acc: no event in 10s: ") != 1 {
		t.Errorf("%q", text)
	}
	b.Reset()
	busy := &statusLine{w: &b, terminal: true}
	for s := range 15 {
		busy.show(capture.Status{Elapsed: time.Duration(s) * time.Second, Events: 1})
	}
	if strings.Contains(b.String(), "no event") {
		t.Errorf("%q", b.String())
	}
}
