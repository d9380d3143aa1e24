//go:build linux && (amd64 || arm64)

package capture

// This file has servers with a limit whose clients all leave at once, and one that looks like these and has none.

import (
	"io"
	"sync"
	"time"
)

// pythonEcho is how each of these servers begins.
const pythonEcho = `import os, selectors, socket, time
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(('127.0.0.1', 8006))
l.listen(64)
`

// pythonForks has a child for each client, five at most.
const pythonForks = pythonEcho + `n = 0
while True:
 while n >= 5:
  os.wait()
  n -= 1
 c, _ = l.accept()
 n += 1
 print('open', n, flush=True)
 if os.fork() == 0:
  l.close()
  while True:
   b = c.recv(100)
   if not b: os._exit(0)
   c.sendall(b)
 c.close()
`

// pythonLoop is one thread, which looks at its listener while it has fewer than six clients.
const pythonLoop = pythonEcho + `s, n = selectors.DefaultSelector(), 0
s.register(l, selectors.EVENT_READ)
while True:
 for k, _ in s.select():
  if k.fileobj is l:
   c, _ = l.accept()
   n += 1
   print('open', n, flush=True)
   s.register(c, selectors.EVENT_READ)
   if n == 6: s.unregister(l)
  else:
   b = k.fileobj.recv(100)
   if b:
    k.fileobj.sendall(b)
    continue
   s.unregister(k.fileobj)
   k.fileobj.close()
   if n == 6: s.register(l, selectors.EVENT_READ)
   n -= 1
`

// pythonStands stands still every now and then; else it takes whoever comes.
const pythonStands = pythonEcho + `l.setblocking(False)
s, n = selectors.DefaultSelector(), 0
s.register(l, selectors.EVENT_READ)
still = time.monotonic()
while True:
 if time.monotonic() - still > 0.7:
  time.sleep(0.6)
  still = time.monotonic()
 for k, _ in s.select(0.05):
  if k.fileobj is l:
   c, _ = l.accept()
   n += 1
   print('accepted', n, flush=True)
   s.register(c, selectors.EVENT_READ)
  else:
   try:
    b = k.fileobj.recv(100)
    if b:
     k.fileobj.sendall(b)
     continue
   except OSError: pass
   s.unregister(k.fileobj)
   k.fileobj.close()
`

func pythonChildren(s *stage)  { s.lockstep(pythonForks, 5, "its own count of children") }
func pythonEventLoop(s *stage) { s.lockstep(pythonLoop, 6, "its own count of clients") }

// lockstep lets four times as many clients come as a server takes at once; those that are served leave together.
func (s *stage) lockstep(program string, most int, counter string) {
	s.file("server.py", program)
	log := s.daemon("python3", "-u", "server.py")
	s.listening(8006)
	r := s.atLimit(func() {
		var mu sync.Mutex
		var served []*holder
		var wg sync.WaitGroup
		for range 4 * most {
			wg.Go(func() {
				h := s.hold(8006, "hello\n", "hello")
				mu.Lock()
				defer mu.Unlock()
				if served = append(served, h); len(served) < most {
					return
				}
				list := served
				served = nil
				time.Sleep(2 * time.Second) // long against what a fork takes on a busy machine
				for _, h := range list {
					h.Close()
				}
			})
		}
		wg.Wait()
	})
	peak := 0
	for n := most + 2; n > 0 && peak == 0; n-- {
		if s.lines(log, "^open "+string(rune('0'+n))+"$") > 0 {
			peak = n
		}
	}
	s.limited(&r, version("python3"), "clients that all leave at once, four times", counter, peak)
}

// pythonStandsStill has clients that give up while the server stands still, and come again.
func pythonStandsStill(s *stage) {
	s.file("server.py", pythonStands)
	log := s.daemon("python3", "-u", "server.py")
	s.listening(8006)
	r := s.record(func() {
		end := time.Now().Add(6 * time.Second)
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for time.Now().Before(end) {
					h := s.hold(8006, "", "")
					for buf := make([]byte, 10); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
						_, _ = io.WriteString(h, "hello\n")
						_ = h.SetDeadline(time.Now().Add(250 * time.Millisecond))
						if _, err := h.Read(buf); err != nil {
							break
						}
					}
					h.Close()
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second) // until it has taken all
	})
	if _, text := r.found("concurrency-limit"); text != "" {
		s.t.Errorf("it has no limit: %s", text)
	}
	s.trouble(&r, version("python3"), "a loop that stands still for 0.6 s at a time, clients that come again",
		"its own count of accepts", s.lines(log, "^accepted"), r.accepted(":8006"), "accepted", "slow-accept", "8006")
}
