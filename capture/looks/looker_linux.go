package looks

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

const (
	every       = 50 * time.Millisecond  // between two looks
	slowest     = 800 * time.Millisecond // when looking takes long
	calmest     = 500 * time.Millisecond // when what is looked at sleeps on
	maxWatches  = 16                     // listeners at once
	findWithin  = 2 * time.Second        // when looking ends, for the last stacks
	closeWithin = 4 * time.Second
)

// Looker looks at the threads of listeners, in a goroutine of its own. Its methods are for one other goroutine,
// which they never keep waiting.
type Looker struct {
	cannot string // what keeps it from looking, "" nothing

	wake chan struct{} // something is to do
	done chan struct{} // it has ended

	mu      sync.Mutex
	begin   []order // watches to begin
	end     []Listener
	again   bool // what is looked at is to be recorded again
	closing bool
	found   []any // format.Watch, Image, Stack and Doing, in order
}

// Writer takes what was found: a format.Writer.
type Writer interface {
	Watch(format.Watch) error
	Image(format.Image) error
	Stack(format.Stack) error
	Doing(format.Doing) error
}

// order says what to look at.
type order struct {
	at      Listener
	threads []Thread
}

// New makes one that looks at nothing yet. cannot says what keeps it from looking at all, "" if nothing does: it
// records that, then, where it would have looked.
func New(cannot string) *Looker {
	l := &Looker{cannot: cannot, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l
}

// Begin begins to look at the threads that accept at a listener; without any, at those of the processes that have it
// open. It must not be looked at already.
func (l *Looker) Begin(at Listener, threads []Thread) {
	l.tell(func() { l.begin = append(l.begin, order{at, threads}) })
}

// End ends looking at a listener.
func (l *Looker) End(at Listener) { l.tell(func() { l.end = append(l.end, at) }) }

// Again has it record once more what it looks at: what was recorded stands in another file.
func (l *Looker) Again() { l.tell(func() { l.again = true }) }

// Close ends all looking, and waits for that: what was found last can be taken then.
func (l *Looker) Close() {
	l.tell(func() { l.closing = true })
	select {
	case <-l.done: // also of a second call
	case <-time.After(closeWithin): // a process can make its memory answer when it likes
	}
}

func (l *Looker) tell(what func()) {
	l.mu.Lock()
	what()
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Record writes what was found since it was called last.
func (l *Looker) Record(w Writer) error {
	l.mu.Lock()
	found := l.found
	l.found = nil
	l.mu.Unlock()
	for _, x := range found {
		var err error
		switch x := x.(type) {
		case format.Watch:
			err = w.Watch(x)
		case format.Image:
			err = w.Image(x)
		case format.Stack:
			err = w.Stack(x)
		case format.Doing:
			err = w.Doing(x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run looks while there is something to look at.
func (l *Looker) run() {
	defer close(l.done)
	watches, num := map[Listener]*watch{}, uint32(0)
	var late []*watch // that are over, and of which some stacks are not found yet
	var book *stackBook
	pause := every
	for {
		if len(watches)+len(late) == 0 {
			<-l.wake
		} else {
			select {
			case <-l.wake:
			case <-time.After(pause):
			}
		}
		l.mu.Lock()
		begin, end, again, closing := l.begin, l.end, l.again, l.closing
		l.begin, l.end, l.again = nil, nil, false
		l.mu.Unlock()
		started, now := time.Now(), bootNS()
		if book == nil && canUnwind && len(begin) > 0 {
			book = newStackBook(func() { l.tell(func() {}) })
		}
		if book != nil && again {
			book.again()
		}
		for _, o := range begin {
			if len(watches) < maxWatches && watches[o.at] == nil {
				num++
				watches[o.at] = newWatch(num, o.at, o.threads, now, book, l.cannot)
			}
		}
		var found []any
		write := func(x any) { found = append(found, x) }
		for at, w := range watches {
			w.look(bootNS(), pause)
			w.again = w.again || again
			over := closing
			for _, e := range end {
				over = over || e == at
			}
			if over {
				w.end(bootNS())
				delete(watches, at)
			}
			if w.records(over, write) && over {
				late = append(late, w)
			}
		}
		if closing && book != nil {
			book.close(findWithin)
		}
		late = slices.DeleteFunc(late, func(w *watch) bool { return !w.records(false, write) })
		l.mu.Lock()
		l.found = append(l.found, found...)
		l.mu.Unlock()
		if closing {
			return
		}
		// Looking takes a fifth of a CPU at most.
		pause = min(max(pace(watches, bootNS()), 4*time.Since(started)), slowest)
	}
}

// pace is the time until the next look. Where nothing has changed for long that is a tenth of that time: when it ends is
// known well enough then, and most of what a look costs is to wake up for it.
func pace(watches map[Listener]*watch, nowNS int64) time.Duration {
	pause := calmest
	for _, w := range watches {
		pause = min(pause, time.Duration(nowNS-w.changedNS)/10)
	}
	return max(pause, every)
}

func bootNS() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return t.Nano()
}
