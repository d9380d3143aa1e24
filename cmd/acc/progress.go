package main

// This file shows on a terminal how far reading is.

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/acc-project/acc/analysis/report"
)

// When progress is shown first, and how often then.
const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// meteredFile is a file that knows where it was read last.
type meteredFile struct {
	captureFile
	at atomic.Int64
}

func (f *meteredFile) Read(p []byte) (int, error) {
	n, err := f.captureFile.Read(p)
	f.at.Add(int64(n))
	return n, err
}

func (f *meteredFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.captureFile.ReadAt(p, off)
	f.at.Store(off + int64(n))
	return n, err
}

func (f *meteredFile) Seek(offset int64, whence int) (int64, error) {
	at, err := f.captureFile.Seek(offset, whence)
	if err == nil {
		f.at.Store(at)
	}
	return at, err
}

// progress is a line on a terminal that says how far reading is, when that takes longer than a
// second. Messages that are written to it stand on lines of their own.
type progress struct {
	w     io.Writer
	text  func() string
	mu    sync.Mutex
	shown bool
	end   chan struct{}
	ended sync.WaitGroup
}

// showProgress begins to show how far an input is read, if errOut is a terminal, and out is none to
// which a command prints while it reads. Call stop before something else is written to the terminal.
func (in *input) showProgress(errOut io.Writer, printing bool, out io.Writer) *progress {
	p := &progress{w: errOut, text: in.readSoFar}
	if !onTerminal(errOut) || printing && onTerminal(out) {
		return p
	}
	p.start()
	return p
}

func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f)
}

// readSoFar says how far an input is read.
func (in *input) readSoFar() string {
	at := in.source.at.Load()
	if in.size > 0 {
		return fmt.Sprintf("reading %s: %d %%", fileName(in.name), min(at, in.size)*100/in.size)
	}
	return fmt.Sprintf("reading %s: %s", fileName(in.name), report.Bytes(at))
}

func (p *progress) start() {
	p.end = make(chan struct{})
	p.ended.Go(func() {
		timer := time.NewTimer(progressAfter)
		defer timer.Stop()
		for {
			select {
			case <-p.end:
				return
			case <-timer.C:
			}
			p.mu.Lock()
			fmt.Fprintf(p.w, "\r\x1b[K%s", p.text())
			p.shown = true
			p.mu.Unlock()
			timer.Reset(progressEvery)
		}
	})
}

// hide takes the line away for a moment.
func (p *progress) hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// Write writes a message in place of the line.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.w.Write(b)
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// stop takes the line away. It can be called again.
func (p *progress) stop() {
	if p.end == nil {
		return
	}
	close(p.end)
	p.ended.Wait()
	p.end = nil
	p.clear()
}
