//go:build linux && (amd64 || arm64)

package capture

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

// truth is what testdata/accepts prints of a case.
type truth struct {
	Case         string  `json:"case"`
	Skip         string  `json:"skip"`
	Error        string  `json:"error"`
	PID          uint32  `json:"pid"`
	ArmedMayVary bool    `json:"armed_may_vary"`
	AnyOrder     bool    `json:"any_order"`
	Want         []entry `json:"want"`
}

// entry is one attempt as the program that made it saw it.
type entry struct {
	PID        uint32 `json:"pid"`
	TID        uint32 `json:"tid"`
	Via        string `json:"via"`
	Errno      int32  `json:"errno"`
	FD         int32  `json:"fd"`
	Inode      uint64 `json:"inode"`
	Listener   uint64 `json:"listener"`
	Family     string `json:"family"`
	Local      string `json:"local"`
	Remote     string `json:"remote"`
	UserData   uint64 `json:"user_data"`
	Mode       string `json:"mode"`
	Armed      bool   `json:"armed"`
	Lost       bool   `json:"lost"`
	Denied     bool   `json:"denied"`
	PeerPID    uint32 `json:"peer_pid"`
	PeerUID    uint32 `json:"peer_uid"`
	LName      string `json:"lname"`
	BacklogMax uint32 `json:"backlog_max"`
	NetNS      uint64 `json:"netns"`
	TaskNetNS  uint64 `json:"task_netns"`
	SockFD     int32  `json:"sockfd"`
	UringEnd   string `json:"uring_end"`
	PIDNS      uint64 `json:"pidns"`
	NSPID      uint32 `json:"nspid"`
	Container  string `json:"container"`
	Exe        string `json:"exe"`
}

// unseen are the cases that a kernel can't show whole, and why: the header of
// the capture must say the same.
var unseen = map[string]map[string]string{
	"uring-ebadf":  {"5.10": noEnds},
	"uring-cancel": {"5.10": noEnds},
	"uring-einval": {"5.10": noEnds},
	"netns-cancel": {"5.10": noEnds},
}

// run is a case, its truth, and when it ran.
type caseRun struct {
	truth
	fromNS, toNS int64
}

// Whatever way a program asks to accept, whatever comes of it, in each family:
// what the program counted is in the capture, and nothing else is.
func TestVMPaths(t *testing.T) {
	needVM(t)
	for _, program := range []string{"/in/accepts", "/in/accepts386"} {
		if _, err := os.Stat(program); errors.Is(err, os.ErrNotExist) && runtime.GOARCH != "amd64" {
			continue // 32-bit x86 only there
		}
		list, err := exec.Command(program, "-list").Output()
		if err != nil {
			t.Fatal(err)
		}
		names := strings.Fields(string(list))
		if program == "/in/accepts386" { // what differs there is the way of the calls
			names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "uring-") })
		}
		for _, mode := range modes(t) {
			var runs []caseRun
			r := recordWhile(t, Options{Mode: mode, Denied: true}, func() {
				for _, name := range names {
					runs = append(runs, runCase(t, program, name))
				}
			})
			for _, run := range runs {
				t.Run(strings.TrimPrefix(program, "/in/accepts")+"/"+string(mode)+"/"+run.Case, func(t *testing.T) { checkCase(t, &r, &run, mode) })
			}
			if r.result.End.Lost != 0 || !r.result.End.Clean {
				t.Errorf("%s: end %+v", mode, r.result.End)
			}
			checkTotals(t, &r, 0)
		}
	}
}

func runCase(t *testing.T, program, name string) caseRun {
	t.Helper()
	run := caseRun{fromNS: bootNS()}
	cmd := exec.Command(program, name)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	run.toNS = bootNS()
	if jsonErr := json.Unmarshal(out, &run.truth); err != nil || jsonErr != nil || run.Error != "" {
		t.Errorf("%s: %v %v %s %s", name, err, jsonErr, out, stderr.String())
	}
	run.Case = name
	return run
}

func checkCase(t *testing.T, r *recording, run *caseRun, mode Mode) {
	verdict, note := "seen", ""
	defer func() {
		if t.Failed() {
			verdict = "WRONG"
		}
		name := run.Case
		if strings.Contains(t.Name(), "/386/") {
			name += " (32-bit)"
		}
		tell(t, mode, name, verdict, note)
	}()
	if run.Skip != "" {
		verdict, note = "-", run.Skip
		return
	}
	pids := map[uint32]bool{run.PID: true}
	kernel := false
	for _, w := range run.Want {
		if w.PID != 0 {
			pids[w.PID] = true
		}
		kernel = kernel || w.Via == "kernel"
	}
	var got []format.Event
	inside := map[uint32]bool{} // tasks with an entry and no return yet
	for _, e := range r.events {
		if e.BootNS < run.fromNS || e.BootNS > run.toNS || !pids[e.PID] && !(kernel && e.Via == format.ViaKernel) {
			continue
		}
		if e.Kind == format.Enter {
			inside[e.TID] = true
			continue
		}
		if e.Kind == format.Listen || e.Kind == format.Stop {
			continue
		}
		call := e.Via == format.ViaAccept || e.Via == format.ViaAccept4 || e.Via == format.ViaSocketcall
		if call && e.Mark&format.MarkDenied == 0 && !inside[e.TID] {
			t.Errorf("a return without an entry: %s", format.AppendText(nil, &e, r.header.Clock, time.UTC))
		}
		inside[e.TID] = false
		got = append(got, e)
	}
	want := run.Want
	if run.ArmedMayVary {
		// The ring's end cancels what still waits, after the program has told what it knows.
		told := map[uint64]bool{}
		for _, w := range want {
			told[w.UserData] = told[w.UserData] || w.Errno == 125
		}
		got = slices.DeleteFunc(got, func(e format.Event) bool {
			return e.Armed() || e.Hook == format.HookIOComplete && e.Errno() == 125 && !told[e.UserData] ||
				e.Hook == format.HookKernelAccept && e.Errno() == 11
		})
		want = slices.DeleteFunc(slices.Clone(want), func(w entry) bool { return w.Armed })
	}
	if run.AnyOrder {
		want = slices.Clone(want)
		slices.SortStableFunc(want, func(a, b entry) int { return cmp.Compare(a.UserData, b.UserData) })
		slices.SortStableFunc(got, func(a, b format.Event) int { return cmp.Compare(a.UserData, b.UserData) })
	}
	kernelName := os.Getenv("ACC_VM")
	if why := unseen[run.Case][kernelName]; why != "" {
		verdict, note = "not shown", why
		if !slices.Contains(r.header.Limits, why) {
			t.Errorf("the header does not say that this kernel can't show it: %q", r.header.Limits)
		}
		want = slices.DeleteFunc(slices.Clone(want), func(w entry) bool { return w.Errno == 125 || w.Errno == 9 || w.Errno == 22 })
	}
	if len(got) != len(want) {
		t.Errorf("%d returns, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		e := &got[i]
		for _, s := range differences(e, &want[i], r.procs[e.Proc]) {
			t.Errorf("attempt %d: %s", i+1, s)
		}
	}
	if t.Failed() {
		for i := range got {
			t.Logf("got  %s", format.AppendJSON(nil, &got[i], r.header.Clock))
		}
		for _, w := range want {
			t.Logf("want %+v", w)
		}
	}
}

// differences between an event and what the program saw.
func differences(e *format.Event, w *entry, p format.Process) (list []string) {
	check := func(name string, got, want any) {
		if got != want {
			list = append(list, fmt.Sprintf("%s %v, want %v", name, got, want))
		}
	}
	known := func(name string, got, want, none any) {
		if want != none {
			check(name, got, want)
		}
	}
	check("via", e.Via.String(), w.Via)
	check("errno", e.Errno(), w.Errno)
	known("tid", e.TID, w.TID, uint32(0))
	if w.Via != "kernel" {
		check("armed", e.Armed(), w.Armed)
	}
	check("client lost", e.Mark&format.MarkClientLost != 0, w.Lost)
	check("denied", e.Mark&format.MarkDenied != 0, w.Denied)
	if w.Via == "io_uring" {
		check("mode", format.UringName(e.Uring), w.Mode)
		check("end of a multishot", e.UringEnd.String(), w.UringEnd)
		check("user data", e.UserData, w.UserData)
	}
	if w.Errno == 0 && w.Via != "kernel" {
		check("descriptor", e.Ret, w.FD)
	}
	known("listener", e.Listener, w.Listener, uint64(0))
	if w.Errno == 0 || w.Lost {
		known("inode", e.Inode, w.Inode, uint64(0))
		local, remote := e.Bound(), ""
		if e.RAddr.IsValid() {
			remote = e.Remote().String()
		} else {
			remote = e.RName
		}
		if w.Family != "unix" {
			known("local", local, w.Local, "")
			known("remote", remote, w.Remote, "")
		}
		known("peer's pid", e.PeerPID, w.PeerPID, uint32(0))
		if w.PeerPID != 0 {
			check("peer's uid", e.PeerUID, w.PeerUID)
		}
	}
	known("name", e.LName, w.LName, "")
	if w.Listener != 0 && !w.Denied && w.Errno != 9 {
		if w.Family != "smc" || e.Failed() { // an accepted socket may have fallen back to TCP
			known("family", e.Family.String(), w.Family, "")
		}
		known("limit of the queue", e.BacklogMax, w.BacklogMax, uint32(0))
	}
	known("netns", uint64(e.NetNS), w.NetNS, uint64(0))
	check("task's netns", uint64(e.TaskNetNS), w.TaskNetNS)
	known("number of a registered file", e.SockFD, w.SockFD, int32(0))
	known("pidns", p.PIDNS, w.PIDNS, uint64(0))
	known("pid in it", p.NSPID, w.NSPID, uint32(0))
	known("container", p.Container, w.Container, "")
	known("executable", p.Exe, w.Exe, "")
	return list
}

// tell leaves a row for the table in docs/KERNELS.md, see capture/vm/matrix.
func tell(t *testing.T, mode Mode, name, verdict, note string) {
	t.Helper()
	f, err := os.OpenFile("/out/paths.tsv", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	release, _ := kernelName()
	fmt.Fprintln(f, strings.Join([]string{os.Getenv("ACC_VM"), runtime.GOARCH, release, string(mode), name, verdict, note}, "\t"))
}

// Ten thousand threads sit in accept at once: fentry misses none; what kretprobes
// have no instance for is seen at the end of the system call, or counted.
func TestVMTenThousand(t *testing.T) {
	needVM(t)
	const threads = 10_000
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			cmd := exec.Command("/in/accepts", "blocked", fmt.Sprint(threads))
			in, _ := cmd.StdinPipe()
			out, _ := cmd.StdoutPipe()
			cmd.Stderr = os.Stderr
			var said string
			started := time.Now()
			r := recordWhile(t, Options{Mode: mode}, func() {
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 100)
				n, _ := out.Read(buf)
				if string(buf[:n]) != "ready\n" {
					t.Errorf("the program says %q", buf[:n])
				}
				fmt.Fprintln(in)
				n, _ = out.Read(buf)
				said = string(buf[:n])
				cmd.Wait()
			})
			if !strings.Contains(said, fmt.Sprintf(`"accepted":%d`, threads)) {
				t.Fatalf("the program says %q", said)
			}
			var enters, returns, facts, atExit int
			for _, e := range r.of(cmd.Process.Pid) {
				switch {
				case e.Kind == format.Enter:
					enters++
				case e.Accepted() && e.Hook != format.HookDoAccept: // which tells the socket of a call without entry
					returns++
					if e.Inode != 0 {
						facts++
					}
					if e.Hook == format.HookSysExit {
						atExit++
					}
				}
			}
			missed := 0
			for _, i := range []int{probeEnter, probeReturn, probeDoAccept} { // not of the connections' lives
				missed += r.missed(i)
			}
			t.Logf("%d threads, %v: %d entries, %d returns (%d at the end of the system call), %d with their socket; kernel says %d missed, %d lost",
				threads, time.Since(started).Round(time.Second), enters, returns, atExit, facts, missed, r.result.End.Lost)
			verdict, note := fmt.Sprint(returns), ""
			if atExit > 0 {
				note = fmt.Sprintf("%d of them seen at the end of the system call, where no kretprobe follows them", atExit)
			}
			noMisses, uncounted := missed == 0 || mode == ModeKprobe, 0
			if !slices.Contains(exactModes(t), mode) { // nothing is silent
				verdict, note = fmt.Sprintf("%d + %d", returns, r.missed(probeReturn)), "recorded + counted as missed: this kernel preempts programs"
				enters, returns, facts, noMisses = enters+r.missed(probeEnter), returns+r.missed(probeReturn), facts+r.missed(probeReturn), true
				uncounted = threads / 1000 // a kernel's count of misses that is preempted can be short
			}
			if mode == ModeKprobe && returns < threads { // what is not recorded is counted
				verdict = fmt.Sprintf("%d + %d", returns, r.missed(probeReturn))
				note = strings.TrimPrefix(note+"; recorded + counted as missed", "; ")
				returns, facts, noMisses = min(returns+r.missed(probeReturn), threads), min(facts+r.missed(probeReturn), threads), true
			}
			near := func(n int) bool { return n <= threads && n >= threads-uncounted }
			tell(t, mode, "10,000 blocked threads", verdict, note)
			if !near(enters) || !near(returns) || !near(facts) || r.result.End.Lost != 0 || !noMisses {
				t.Errorf("%d entries, %d returns, %d sockets are there or counted", enters, returns, facts)
			}
		})
	}
}
