//go:build linux

// Accepts accepts connections in every way that a Linux kernel can be asked to,
// and tells what it did, for a test to hold a recorder of accept against it.
//
//	accepts            # all cases
//	accepts -list      # their names
//	accepts CASE...    # some
//	accepts blocked N  # N threads blocked in accept at once
//
// Each case prints a line of JSON, a result. What the kernel is too old or too
// small for has "skip". The exit code is 1 if a case went otherwise than it had to.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// result is what a case prints.
type result struct {
	Case         string   `json:"case"`
	Skip         string   `json:"skip"`
	Error        string   `json:"error,omitempty"`
	PID          int      `json:"pid"`
	ArmedMayVary bool     `json:"armed_may_vary,omitempty"` // kernels differ in how often they look again
	AnyOrder     bool     `json:"any_order,omitempty"`      // of requests: only that of each is known
	Want         []*entry `json:"want"`
}

// entry is an attempt to accept. They are in the order in which they ended.
type entry struct {
	PID        int    `json:"pid,omitempty"` // of a child; otherwise the result's, or the kernel's own
	TID        int    `json:"tid"`           // 0: not known
	Via        string `json:"via"`           // accept accept4 socketcall io_uring kernel
	Errno      int    `json:"errno"`         // as in the kernel: an interrupted call has ERESTARTSYS, 512
	FD         int    `json:"fd"`            // or the slot of a direct descriptor; -1: none
	Inode      uint64 `json:"inode"`         // of the accepted socket; 0: not known
	Listener   uint64 `json:"listener"`      // inode; 0: no socket, or not known
	Family     string `json:"family"`        // of the listener
	Local      string `json:"local"`
	Remote     string `json:"remote"`
	UserData   uint64 `json:"user_data"`
	Mode       string `json:"mode"`  // of io_uring: single, multishot, direct, multishot direct ..., and registered
	Armed      bool   `json:"armed"` // io_uring found nothing and waits
	Lost       bool   `json:"lost"`  // failed, and took a connection with it
	Denied     bool   `json:"denied,omitempty"`
	PeerPID    int    `json:"peer_pid"` // by SO_PEERCRED
	PeerUID    int    `json:"peer_uid"`
	LName      string `json:"lname"` // of a unix listener: /path or @name
	BacklogMax int    `json:"backlog_max"`
	NetNS      uint64 `json:"netns,omitempty"`      // of the listener
	TaskNetNS  uint64 `json:"task_netns,omitempty"` // of the thread, if it is another one
	SockFD     int    `json:"sockfd,omitempty"`     // number of the listener as a registered file, where it can be seen
	UringEnd   string `json:"uring_end,omitempty"`  // why a multishot request ended
	PIDNS      uint64 `json:"pidns,omitempty"`
	NSPID      int    `json:"nspid,omitempty"` // the PID inside of pidns
	Container  string `json:"container,omitempty"`
	Exe        string `json:"exe,omitempty"`
}

type testCase struct {
	name string
	run  func(*test)
}

var cases = slices.Concat(syscallCases, int80Cases, familyCases, uringCases, uringEndCases, placeCases)

// children are what this program does when it is started by a case.
var children = []testCase{{"one", childOne}, {"two", childTwo}, {"armed", childArmed}, {"block", childBlock},
	{"killed", childKilled}}

func init() {
	runtime.LockOSThread() // a child accepts on its first thread: its TID is its PID
}

func main() {
	time.Sleep(time.Nanosecond) // the runtime opens its poller now, not when a case has taken all descriptors
	args := os.Args[1:]
	switch {
	case len(args) == 1 && args[0] == "-list":
		for _, c := range cases {
			fmt.Println(c.name)
		}
	case len(args) == 2 && args[0] == "-child":
		c := find(children, args[1])
		t := &test{result: result{Case: c.name, PID: os.Getpid()}}
		t.run(c.run)
		t.print()
		exitIf(t.Error != "")
	case len(args) == 2 && args[0] == "blocked":
		n, err := strconv.Atoi(args[1])
		if err == nil {
			err = blocked(n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "accepts: blocked:", err)
		}
		exitIf(err != nil)
	default:
		some := cases
		if len(args) > 0 {
			some = nil
			for _, name := range args {
				some = append(some, find(cases, name))
			}
		}
		exitIf(!runAll(some))
	}
}

func exitIf(failed bool) {
	if failed {
		os.Exit(1)
	}
}

func find(among []testCase, name string) testCase {
	i := slices.IndexFunc(among, func(c testCase) bool { return c.name == name })
	if i < 0 {
		fmt.Fprintf(os.Stderr, "accepts: no case %q\n", name)
		os.Exit(2)
	}
	return among[i]
}

// runAll runs each case on a thread of its own, that ends with it: what a case
// does to its thread goes no further.
func runAll(some []testCase) bool {
	ok := true
	for _, c := range some {
		t := &test{result: result{Case: c.name, PID: os.Getpid()}}
		done := make(chan bool)
		go func() {
			runtime.LockOSThread()
			t.run(c.run)
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			fmt.Printf("{\"case\":%q,\"error\":\"does not end\"}\n", c.name)
			return false
		}
		ok = ok && t.Error == ""
		t.print()
	}
	return ok
}

// test is a case as it runs. What fails panics, and run catches it.
type test struct {
	result
	mu   sync.Mutex
	ends []func()
	wg   sync.WaitGroup
}

type skipped string

func (t *test) run(f func(*test)) {
	defer func() {
		for _, end := range slices.Backward(t.ends) {
			end()
		}
	}()
	defer t.wg.Wait()
	defer t.catch()
	t.check("mask signals", quiet())
	f(t)
}

func (t *test) catch() {
	r := recover()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch r := r.(type) {
	case nil:
	case skipped:
		t.Skip, t.Want = string(r), nil
	case error:
		t.Error = r.Error()
	default:
		panic(r)
	}
}

// Go runs f beside the case, which ends after it.
func (t *test) Go(f func()) {
	t.wg.Go(func() {
		defer t.catch()
		f()
	})
}

func (t *test) atEnd(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends = append(t.ends, f)
}

func (t *test) print() {
	if t.Want == nil {
		t.Want = []*entry{}
	}
	var line any = t.result
	if t.Error != "" {
		line = map[string]string{"case": t.Case, "error": t.Error}
	}
	b, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(b))
}

func (t *test) skip(format string, args ...any) { panic(skipped(fmt.Sprintf(format, args...))) }

func (t *test) fail(format string, args ...any) { panic(fmt.Errorf(format, args...)) }

func (t *test) check(what string, err error) {
	if err != nil {
		t.fail("%s: %w", what, err)
	}
}

// skipIf skips the case for an error that says that the kernel has no such thing.
func (t *test) skipIf(what string, err error, kinds ...unix.Errno) {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			t.skip("%s: %v (%s)", what, err, unix.ErrnoName(kind))
		}
	}
}

// quiet keeps the signals away that the Go runtime and children cause: each one
// would interrupt a call.
func quiet() error {
	var set unix.Sigset_t
	for _, sig := range []unix.Signal{unix.SIGURG, unix.SIGCHLD} {
		word := uint(sig-1) / wordBits
		set.Val[word] |= 1 << (uint(sig-1) % wordBits)
	}
	return unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil)
}

const wordBits = 32 << (^uint(0) >> 63)
