// A program whose accepting goroutine waits for a lock, which another one holds that waits for a backend: by this
// source.
package main

import (
	"net"
	"os"
	"sync"
)

type store struct {
	mu sync.Mutex
	c  net.Conn
}

//go:noinline
func (s *store) query() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.c.Read(make([]byte, 1))
}

//go:noinline
func (s *store) admit() {
	s.mu.Lock()
	s.mu.Unlock() //nolint:staticcheck // that it can be locked is all
}

//go:noinline
func serve(s *store) {
	for {
		s.admit()
	}
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := &store{}
	if s.c, err = net.Dial("tcp", l.Addr().String()); err != nil {
		panic(err)
	}
	go s.query()
	never := make(chan int)
	for i := 0; i < 3; i++ {
		go func() { <-never }()
	}
	// The lock is held before it is asked for.
	for s.mu.TryLock() {
		s.mu.Unlock()
	}
	go serve(s)
	_, _ = os.Stdin.Read(make([]byte, 1))
}
