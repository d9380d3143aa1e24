package capture

// This file has what others ask of a running recording.

import (
	"errors"
	"sync"
)

// ErrNotRecording is what a Control gives while nothing is recorded.
var ErrNotRecording = errors.New("not recording")

// A Control asks a running recording, from any goroutine, for what its own goroutine alone can do. The zero
// value is ready; it is for one recording (Options.Control). It costs nothing while nobody asks.
type Control struct {
	mu   sync.Mutex
	wake func() // nil: not recording
	asks []func(*session)
	gone chan struct{} // closed when the recording has ended
}

// Status is how the recording stands now. An answer proves that the recorder takes events.
func (c *Control) Status() (st Status, err error) {
	err = c.ask(func(s *session) { st = s.status() })
	return st, err
}

// ask has the recording's goroutine call do, and waits until it has.
func (c *Control) ask(do func(*session)) error {
	done := make(chan struct{})
	c.mu.Lock()
	wake, gone := c.wake, c.gone
	if wake == nil {
		c.mu.Unlock()
		return ErrNotRecording
	}
	c.asks = append(c.asks, func(s *session) {
		do(s)
		close(done)
	})
	c.mu.Unlock()
	wake()
	select {
	case <-done:
		return nil
	case <-gone:
		return ErrNotRecording
	}
}

// begin says that the recording runs; wake makes it look for what is asked. The function that it gives says that
// it has ended.
func (c *Control) begin(wake func()) (end func()) {
	if c == nil {
		return func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake, c.gone = wake, make(chan struct{})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wake, c.asks = nil, nil
		close(c.gone)
	}
}

// answer does what was asked by now.
func (c *Control) answer(s *session) {
	if c == nil {
		return
	}
	c.mu.Lock()
	asks := c.asks
	c.asks = nil
	c.mu.Unlock()
	for _, do := range asks {
		do(s)
	}
}

// MaxMark is how long a mark may be, in bytes.
const MaxMark = 4096

// Mark notes a text, and the user who wants it noted, in the capture.
func (c *Control) Mark(text string, uid uint32) (err error) {
	asked := c.ask(func(s *session) { err = s.mark(text, uid) })
	if asked != nil {
		return asked
	}
	return err
}

// ErrStopped as the cause of the context of Record says that somebody asked for its end; END says "stop".
var ErrStopped = errors.New("stop")
