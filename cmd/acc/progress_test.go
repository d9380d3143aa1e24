package main

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The line comes after a second, gives way to messages, and is gone when reading ends.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		percent := atomic.Int64{}
		p := &progress{w: &screen, text: func() string { return fmt.Sprintf("%d %%", percent.Load()) }}
		p.start()
		shows := func(want string) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if screen.String() != want {
				t.Errorf("%q, want %q", screen.String(), want)
			}
			screen.Reset()
		}
		time.Sleep(progressAfter - 1)
		shows("")
		percent.Store(5)
		time.Sleep(time.Nanosecond)
		shows("\r\x1b[K5 %")
		percent.Store(6)
		time.Sleep(progressEvery)
		shows("\r\x1b[K6 %")
		fmt.Fprintln(p, "acc: a message")
		shows("\r\x1b[Kacc: a message\n")
		fmt.Fprintln(p, "acc: another")
		shows("acc: another\n")
		time.Sleep(progressEvery)
		shows("\r\x1b[K6 %")
		p.hide()
		shows("\r\x1b[K")
		time.Sleep(progressEvery)
		shows("\r\x1b[K6 %")
		p.stop()
		shows("\r\x1b[K")
		p.stop()
		time.Sleep(time.Minute)
		shows("")
	})
}

// A reading that is over within a second shows nothing.
func TestShortReadingShowsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		p := &progress{w: &screen, text: func() string { return "" }}
		p.start()
		time.Sleep(progressAfter / 2)
		p.stop()
		fmt.Fprint(p, "x")
		if screen.String() != "x" {
			t.Errorf("%q", screen.String())
		}
	})
}
