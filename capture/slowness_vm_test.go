//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// slowness measures what a machine takes from a process that has to do something every
// tenth of a second: the time that its threads ran or waited for a CPU, by the
// kernel's account of them, and how late a timer of that length comes.
type slowness struct {
	pid     int
	stop    chan struct{}
	stopped sync.WaitGroup
	samples []slowSample
}

// slowSample is the account up to a time of the boot clock.
type slowSample struct{ at, ns int64 }

func measureSlowness(pid int) *slowness {
	s := &slowness{pid: pid, stop: make(chan struct{})}
	late, tasks := int64(0), map[string]int64{}
	sample := func() {
		files, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
		for _, f := range files {
			b, err := os.ReadFile(f)
			fields := strings.Fields(string(b)) // time on a CPU, time waiting for one
			if err != nil || len(fields) < 2 {
				continue
			}
			ran, _ := strconv.ParseInt(fields[0], 10, 64)
			waited, _ := strconv.ParseInt(fields[1], 10, 64)
			tasks[f] = ran + waited
		}
		sum := late
		for _, ns := range tasks { // also of threads that ended
			sum += ns
		}
		s.samples = append(s.samples, slowSample{bootNS(), sum})
	}
	sample()
	s.stopped.Go(func() {
		for running := true; running; {
			from := bootNS()
			select {
			case <-time.After(batchWait):
				late += max(bootNS()-from-int64(batchWait), 0)
			case <-s.stop:
				running = false
			}
			sample()
		}
	})
	return s
}

// end takes the last sample; it is to be called before the process ends.
func (s *slowness) end() {
	close(s.stop)
	s.stopped.Wait()
}

// since gives how much was taken from a time to the last sample.
func (s *slowness) since(at int64) int64 {
	first := s.samples[0]
	for _, x := range s.samples {
		if x.at <= at {
			first = x
		}
	}
	return s.samples[len(s.samples)-1].ns - first.ns
}
