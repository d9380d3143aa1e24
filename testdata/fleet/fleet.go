// Package fleet makes the captures of many hosts in an outage, as acc record would leave them: skewed clocks, lost events,
// truncated files, captures that were delivered twice.
//
// Host n is of service n%4. From minute 20 on, for a minute, hosts of service 1 accept nothing: queues overflow. From
// minute 30 on, for 30 s, hosts of service 2 have no descriptors. Hosts of service 3 got a listener at port 9090 since the
// day before, of which there are small captures.
package fleet

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Truth is what was made.
type Truth struct {
	Hosts       int
	Captures    int // files of different captures
	Connections uint64
	Refused     uint64 // packets
	EMFILE      uint64 // attempts
	Lost        uint64 // events
	Truncated   int
	Copies      int
	Bytes       int64
}

// Make makes the captures of so many hosts in a folder, each of so many connections in the hour from at on and a
// hundredth of them the day before. So many are made at a time.
func Make(dir string, hosts, connections, jobs int, at time.Time) (all Truth, err error) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	next := make(chan int)
	for range jobs {
		wait.Go(func() {
			for n := range next {
				made, failed := makeHost(dir, n, connections, at)
				mu.Lock()
				all.add(made)
				err = errors.Join(err, failed)
				mu.Unlock()
			}
		})
	}
	for n := range hosts {
		next <- n
	}
	close(next)
	wait.Wait()
	all.Hosts = hosts
	return all, err
}

func (t *Truth) add(x Truth) {
	t.Captures += x.Captures
	t.Connections += x.Connections
	t.Refused += x.Refused
	t.EMFILE += x.EMFILE
	t.Lost += x.Lost
	t.Truncated += x.Truncated
	t.Copies += x.Copies
	t.Bytes += x.Bytes
}

// makeHost makes the captures of a host: of the day before, and of the hour.
func makeHost(dir string, n, connections int, at time.Time) (made Truth, err error) {
	for i, day := range []time.Time{at.AddDate(0, 0, -1), at} {
		h := newHost(n, day, i == 0)
		count := connections
		if i == 0 {
			count = max(connections/100, 20)
		}
		name := filepath.Join(dir, h.file())
		one, err := h.write(name, count)
		if err != nil {
			return made, err
		}
		made.add(one)
		if i == 0 {
			continue
		}
		if n%50 == 17 { // the host died
			if err := os.Truncate(name, one.Bytes*4/5); err != nil {
				return made, err
			}
			made.Truncated++
		}
		if n%40 == 9 { // delivered twice
			b, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name[:len(name)-4]+"-copy.acc", b, 0o600)
			}
			if err != nil {
				return made, err
			}
			made.Copies++
		}
	}
	return made, nil
}
