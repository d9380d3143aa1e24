// Fleet makes the captures of many hosts in an outage, as acc record would leave them: skewed clocks, lost events,
// truncated files, captures that were delivered twice. It says what it made in truth.json.
//
//	go run ./testdata/fleet -hosts 1000 -connections 100000 -out DIR
//
// Host n is of service n%4. From minute 20 on, for a minute, hosts of service 1 accept nothing: queues overflow. From
// minute 30 on, for 30 s, hosts of service 2 have no descriptors. Hosts of service 3 got a listener at port 9090 since the
// day before, of which there are small captures.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// truth is what was made.
type truth struct {
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

func main() {
	hosts := flag.Int("hosts", 20, "hosts")
	connections := flag.Int("connections", 5000, "connections of each")
	out := flag.String("out", "", "folder of the captures")
	jobs := flag.Int("jobs", 2, "hosts at a time")
	start := flag.String("start", "2026-11-28T14:00:00Z", "begin of the hour")
	flag.Parse()
	log.SetFlags(0)
	at, err := time.Parse(time.RFC3339, *start)
	if err != nil || *out == "" {
		log.Fatal("fleet: -out DIR is missing, or -start is no time")
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		log.Fatal(err)
	}
	var all truth
	var mu sync.Mutex
	var wait sync.WaitGroup
	next := make(chan int)
	for range *jobs {
		wait.Go(func() {
			for n := range next {
				made, err := makeHost(*out, n, *connections, at)
				if err != nil {
					log.Fatal(err)
				}
				mu.Lock()
				all.add(made)
				mu.Unlock()
			}
		})
	}
	for n := range *hosts {
		next <- n
	}
	close(next)
	wait.Wait()
	all.Hosts = *hosts
	b, _ := json.MarshalIndent(all, "", "  ")
	if err := os.WriteFile(filepath.Join(*out, "truth.json"), append(b, '\n'), 0o600); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", b)
}

func (t *truth) add(x truth) {
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
func makeHost(dir string, n, connections int, at time.Time) (made truth, err error) {
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
