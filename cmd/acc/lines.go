package main

// This file puts lines in order of time.

import (
	"container/heap"
	"io"
	"time"
)

// Lines that wait for earlier ones: for how long, and how much of them.
const (
	linesWindow  = int64(200 * time.Millisecond)
	maxLinesHeld = 1 << 16
	maxLineBytes = 16 << 20
)

// timedLines writes lines in order of time. Analysis gives them in the order of the file, where
// those of two CPUs can stand the wrong way round by some milliseconds, and a client that gave up is
// known long after its last packet.
type timedLines struct {
	w        io.Writer
	held     heldLines
	number   uint64
	bytes    int   // of the lines that wait
	newestNS int64 // of all lines
	free     [][]byte
	all      bool // wait for as many lines as there is room for: the input is a file

	day  func(ns int64) string // of a line, which is said when it changes; nil: never
	last string
}

type timedLine struct {
	ns     int64
	number uint64 // in the order in which they came
	text   []byte
}

// add takes a line of a time; 0: of the time of the last one.
func (l *timedLines) add(ns int64, text []byte) error {
	if ns == 0 {
		ns = l.newestNS
	}
	var memory []byte
	if n := len(l.free); n > 0 {
		memory, l.free = l.free[n-1], l.free[:n-1]
	}
	heap.Push(&l.held, timedLine{ns, l.number, append(memory[:0], text...)})
	l.number++
	l.bytes += len(text)
	l.newestNS = max(l.newestNS, ns)
	for len(l.held) > maxLinesHeld || l.bytes > maxLineBytes || !l.all && len(l.held) > 0 &&
		l.held[0].ns < l.newestNS-linesWindow {
		if err := l.write(); err != nil {
			return err
		}
	}
	return nil
}

// flush writes the lines that wait.
func (l *timedLines) flush() error {
	for len(l.held) > 0 {
		if err := l.write(); err != nil {
			return err
		}
	}
	return nil
}

// write writes the earliest line.
func (l *timedLines) write() error {
	line := heap.Pop(&l.held).(timedLine)
	l.bytes -= len(line.text)
	if l.day != nil {
		if day := l.day(line.ns); day != l.last {
			l.last = day
			if _, err := io.WriteString(l.w, day+"\n"); err != nil {
				return err
			}
		}
	}
	_, err := l.w.Write(line.text)
	if cap(line.text) <= 4096 && len(l.free) < 1024 {
		l.free = append(l.free, line.text)
	}
	return err
}

// heldLines is a heap.
type heldLines []timedLine

func (h heldLines) Len() int      { return len(h) }
func (h heldLines) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heldLines) Push(x any)   { *h = append(*h, x.(timedLine)) }

func (h heldLines) Less(i, j int) bool {
	return h[i].ns < h[j].ns || h[i].ns == h[j].ns && h[i].number < h[j].number
}

func (h *heldLines) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
