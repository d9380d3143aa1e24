package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/acc-project/acc/evidence/checkpoints"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/testdata/fleet"
	"github.com/acc-project/acc/testdata/museum"
)

// programs are what tests call by name.
var programs = map[string]func(){"acc": main}

// The commands, as users call them: testdata/script, one behaviour a file. Beside
// testscript's own there are
//
//	capture FILE [lossy|unclean|liar|copied|backwards|life|HEADS.txt [EVENTS]]
//	                               writes a small capture, of the first events, and its checkpoints
//	wrap gzip|zstd FILE FILE       compresses the second file into the first, as a whole
//	archive tar|zip FILE FILE      puts the second file into an archive, as it is
//	bytes FILE TEXT                writes text with Go's escapes
//	crowd FILE N                   writes a capture of accepts from N peers
//	fleet DIR HOSTS CONNECTIONS    writes captures of hosts in an outage
//	adjusted FILE                  writes a capture in whose midst the clock was set
//	crossed FILE                   writes a capture whose events go back in time
//	samesum SUM JSON               fails if sha256sum and a JSON of verify differ
//	signers FILE WHO KEY           writes a list of allowed signers
//	cut FILE N                     keeps its first N bytes, or all but the last -N
//	grow FILE N                    makes it N bytes long, the new ones a hole
//	flip FILE N                    flips a bit of byte N, or of the N-th from its end
//	append FILE FILE...            puts files behind the first one
//	exits CODE COMMAND ARG...      runs a command that must exit with CODE
//	printable FILE...              fails if a file holds a control byte but newline
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Dir: "../../testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"capture": func(ts *testscript.TestScript, _ bool, args []string) {
				kind, events := "", 1000
				if len(args) > 1 {
					kind = args[1]
				}
				if len(args) > 2 {
					n, err := strconv.Atoi(args[2])
					ts.Check(err)
					events = n
				}
				var heads []byte
				data := sampleOf(kind, events, &heads)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
				if strings.HasSuffix(kind, ".txt") {
					ts.Check(os.WriteFile(ts.MkAbs(kind), heads, 0o600))
				}
			},
			"wrap": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), museum.Wrap(args[0], []byte(ts.ReadFile(args[2]))), 0o600))
			},
			"archive": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), archived(ts, args[0], args[2]), 0o600))
			},
			"bytes": func(ts *testscript.TestScript, _ bool, args []string) {
				text, err := strconv.Unquote(`"` + args[1] + `"`)
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
			},
			"crowd": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), crowd(n), 0o600))
			},
			"fleet": func(ts *testscript.TestScript, _ bool, args []string) {
				hosts, err := strconv.Atoi(args[1])
				ts.Check(err)
				connections, err := strconv.Atoi(args[2])
				ts.Check(err)
				_, err = fleet.Make(ts.MkAbs(args[0]), hosts, connections, 1, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC))
				ts.Check(err)
			},
			"adjusted": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), adjusted(), 0o600))
			},
			"grow": func(ts *testscript.TestScript, _ bool, args []string) {
				size, err := strconv.ParseInt(args[1], 10, 64)
				ts.Check(err)
				ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
			},
			"crossed": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), crossed(), 0o600))
			},
			"samesum": func(ts *testscript.TestScript, _ bool, args []string) {
				sum, _, _ := strings.Cut(ts.ReadFile(args[0]), " ")
				if len(sum) != 64 || !strings.Contains(ts.ReadFile(args[1]), `"sha256": "`+sum+`"`) {
					ts.Fatalf("sha256sum says %s, and acc another", sum)
				}
			},
			"signers": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(args[1]+" "+ts.ReadFile(args[2])), 0o600))
			},
			"append": func(ts *testscript.TestScript, _ bool, args []string) {
				all := ""
				for _, name := range args {
					all += ts.ReadFile(name)
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(all), 0o600))
			},
			"cut":  edit(func(b []byte, n int) []byte { return b[:n] }),
			"tail": edit(func(b []byte, n int) []byte { return b[n:] }),
			"flip": edit(func(b []byte, n int) []byte { b[n] ^= 0x10; return b }),
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					code = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if strconv.Itoa(code) != args[0] {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
			"printable": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, a := range args {
					for i, r := range ts.ReadFile(a) {
						if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0) {
							ts.Fatalf("%s has the control byte %#x at %d", a, r, i)
						}
					}
				}
			},
		},
	})
}

// edit makes a script command that changes a file at a place.
func edit(f func(b []byte, n int) []byte) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		b := []byte(ts.ReadFile(args[0]))
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		if n < 0 {
			n += len(b)
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), f(b, n), 0o600))
	}
}

const evil = "\x1b[31mevil\a\xff"

// sample is a capture of 14 calls by two processes, one with a hostile name: 9
// accepted, 2 EAGAIN, 1 EMFILE, 1 interrupted and restarted, 1 still blocked. A
// lossy one lacks 7 returns.
func sample(kind string) []byte { return sampleOf(kind, 1000, nil) }

// sampleOf is sample of the first events, and gives the checkpoints as record prints them.
func sampleOf(kind string, events int, heads *[]byte) []byte {
	if kind == "life" {
		return lifeSample()
	}
	const second = 1_000_000_000
	var out bytes.Buffer
	boot, real := int64(100*second), int64(1_700_000_000*second)
	h := format.Header{
		ID: "3b1f0a52-6f0e-4f7a-9d55-0123456789ab", Tool: "acc test", Host: "web1", Kernel: "6.1.0", Arch: "x86_64", CPUs: 2, Mode: "fentry",
		Command: []string{"acc", "record"}, StartNS: real, Zone: "CET", ZoneSec: 3600, Clock: format.Clock{BootNS: boot, MonoNS: boot, RealNS: real},
		Probes: []format.Probe{{Hook: format.HookSysAccept4, Kind: format.Enter, How: "fentry"}},
	}
	w, err := format.NewWriter(&out, h, format.WriterOptions{FrameEvents: 8, Checkpoint: func(c format.Checkpoint) {
		if heads != nil {
			*heads = append(append(*heads, "Nov 24 09:00:00 web1 acc[1]: "...), checkpoints.Append(nil, h.ID, c)...)
			*heads = append(*heads, '\n')
		}
	}})
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(err)
	must(w.Process(format.Process{Num: 1, PID: 10, Comm: "nginx", Exe: "/usr/sbin/nginx"}))
	must(w.Process(format.Process{Num: 2, PID: 20, Comm: evil, Exe: "/tmp/" + evil}))
	now, hits := boot, [3]uint64{}
	how := kind
	add := func(pid uint32, kind format.Kind, ret int32, port uint16) {
		if events--; events < 0 {
			return
		}
		now += second / 4
		hits[kind]++
		number := hits[kind]
		if how == "copied" && number == 5 {
			number = 4
		}
		e := format.Event{
			BootNS: now, Kind: kind, Hook: format.HookSysAccept4, Via: format.ViaAccept4, CPUSeq: number, PID: pid, TID: pid, Comm: "nginx", Proc: pid / 10,
			NetNS: 4026531840, SockFD: 6, Ret: ret, Listener: 777, BacklogMax: 128, Family: format.FamilyIPv4, Type: 1, Proto: 6, State: 10,
			LAddr: netip.MustParseAddr("0.0.0.0"), LPort: 80,
		}
		if pid == 20 {
			e.Comm = evil
		}
		if e.Accepted() {
			e.State, e.LAddr, e.RAddr, e.RPort = 1, netip.MustParseAddr("192.0.2.1"), netip.AddrFrom4([4]byte{10, 0, 0, byte(port%3 + 1)}), port
		}
		must(w.Event(&e))
	}
	for i, ret := range []int32{7, 8, -11, 9, 10, -24, 7, 8, -11, 7, -512, 7, 9} {
		pid := uint32(10)
		if i == 12 {
			pid = 20
		}
		add(pid, format.Enter, 0, 0)
		add(pid, format.Return, ret, uint16(40000+i))
	}
	add(10, format.Enter, 0, 0)
	end := format.End{Reason: "signal", Clean: true, BlockedKnown: true, Blocked: []format.Blocked{{PID: 10, TID: 10, SockFD: 6}},
		Clock: format.Clock{BootNS: boot + 10*second, MonoNS: boot + 10*second, RealNS: real + 10*second}}
	total := func(kind format.Kind, lost uint64) format.ProbeTotal {
		return format.ProbeTotal{Hook: format.HookSysAccept4, Kind: kind, Seen: hits[kind] + lost, Recorded: hits[kind], Lost: lost}
	}
	lost := uint64(0)
	switch kind {
	case "lossy":
		lost, end.Lost = 7, 7
		must(w.Loss(format.Loss{Hook: format.HookSysAccept4, Kind: format.Return, Count: 7, FromNS: boot, ToNS: now}))
	case "stepped": // the clock was set forwards by an hour
		must(w.Clock(format.Clock{BootNS: now, MonoNS: now, RealNS: real + now - boot + 3600*second}))
		end.Clock.RealNS += 3600 * second
	case "differs": // the kernel counted 20 connections
		for i, opened := range []uint64{100, 120} {
			must(w.Counters(format.Counters{NetNS: 4026531840, BootNS: boot + int64(i)*10*second, UntilNS: boot + int64(i)*10*second + 1, Final: i == 1,
				Values: map[string]uint64{format.CounterPassiveOpens: opened}, QueuedKnown: true}))
		}
	case "backwards": // END is of before the start
		end.Clock.BootNS, end.Clock.RealNS = 1, 1
	case "unclean":
		end.Reason, end.Detail, end.Clean = "error", "the disk is on fire", false
	}
	end.Totals = []format.ProbeTotal{total(format.Enter, 0), total(format.Return, lost)}
	if kind == "liar" {
		end.Totals[1].Recorded, end.Totals[1].Seen = 12, 12
	}
	must(w.Close(end))
	return out.Bytes()
}

// crowd is a whole capture of an accept from each of so many peers.
func crowd(peers int) []byte {
	var out bytes.Buffer
	clock := format.Clock{BootNS: 1e9, MonoNS: 1e9, RealNS: 1.7e18}
	w, err := format.NewWriter(&out, format.Header{StartNS: clock.RealNS, Clock: clock}, format.WriterOptions{})
	if err != nil {
		panic(err)
	}
	for i := range peers {
		e := format.Event{BootNS: int64(1e9 + i), Kind: format.Return, Hook: format.HookSysAccept4, Via: format.ViaAccept4, CPUSeq: uint64(i + 1), PID: 1, TID: 1, Ret: 7,
			Listener: 1, Family: format.FamilyIPv4, Type: 1, Proto: 6, State: 1, RAddr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), RPort: 1}
		if err := w.Event(&e); err != nil {
			panic(err)
		}
	}
	n := uint64(peers)
	end := format.End{Reason: "signal", Clean: true, Clock: clock, Totals: []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: n, Recorded: n}}}
	if err := w.Close(end); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// adjusted is a whole capture of 200 s with an accept each second from 2023-11-14 22:13:21 UTC. After half of
// it the clock is set forward by an hour.
func adjusted() []byte {
	var out bytes.Buffer
	clock := format.Clock{RealNS: 1.7e18}
	w, err := format.NewWriter(&out, format.Header{StartNS: clock.RealNS, Clock: clock}, format.WriterOptions{})
	if err != nil {
		panic(err)
	}
	for i := range int64(200) {
		clock.BootNS += 1e9
		clock.RealNS += 1e9
		if i == 100 {
			clock.RealNS += 3600e9
		}
		if i%10 == 0 {
			err = errors.Join(err, w.Clock(clock))
		}
		err = errors.Join(err, w.Event(&format.Event{BootNS: clock.BootNS, Kind: format.Return, Hook: format.HookSysAccept4, CPUSeq: uint64(i + 1), Ret: 7}), w.Flush())
	}
	end := format.End{Reason: "signal", Clean: true, Clock: clock, Totals: []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 200, Recorded: 200}}}
	if err := errors.Join(err, w.Close(end)); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// Offline packages need neither the kernel nor the libraries for it, and the
// command reaches files and the kernel through packages only.
func TestImports(t *testing.T) {
	list := func(args ...string) string {
		out, err := exec.Command("go", append([]string{"list"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("go list %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	const module = "github.com/acc-project/acc/"
	for _, p := range []string{"format", "replay", "analysis", "analysis/audit", "analysis/report", "analysis/export",
		"analysis/htmlreport", "analysis/compare", "evidence",
		"evidence/sshsig", "evidence/checkpoints"} {
		deps := list("-deps", module+p)
		for _, bad := range []string{"github.com/cilium/ebpf", module + "capture", module + "bpf", "github.com/spf13/cobra"} {
			if strings.Contains(deps, bad) {
				t.Errorf("%s depends on %s", p, bad)
			}
		}
	}
	// The parts of analysis: each may import those before it.
	parts := []string{"humanize", "stats", "audit", "crosscheck", "meanwhile", "findings", "pairing", "conntrack",
		"listeners"}
	for i, p := range parts {
		deps := list("-deps", module+"analysis/"+p)
		if strings.Contains(deps, module+"analysis\n") {
			t.Errorf("analysis/%s depends on analysis", p)
		}
		for _, later := range parts[i+1:] {
			if strings.Contains(deps, module+"analysis/"+later+"\n") {
				t.Errorf("analysis/%s depends on analysis/%s", p, later)
			}
		}
	}
	direct := list("-f", `{{join .Imports "\n"}}`, module+"cmd/acc")
	for _, bad := range []string{"cilium/ebpf", "vmihailenco/msgpack", "klauspost/compress"} {
		if strings.Contains(direct, bad) {
			t.Errorf("cmd/acc imports %s", bad)
		}
	}
	if strings.Contains(list("-f", `{{join .Imports "\n"}}`, module+"analysis"), "os\n") {
		t.Error("analysis imports os")
	}
}

// crossed is a whole capture of five events. The second one is earlier than the first, in the same frame.
// The last one is earlier than the third, which is two frames before.
func crossed() []byte {
	var out bytes.Buffer
	clock := format.Clock{RealNS: 1.7e18}
	w, err := format.NewWriter(&out, format.Header{StartNS: clock.RealNS, Clock: clock}, format.WriterOptions{})
	if err != nil {
		panic(err)
	}
	for i, ns := range []int64{5e6, 4e6, 1e9, 2e9, 100e6} {
		err = errors.Join(err, w.Event(&format.Event{BootNS: ns, Kind: format.Return, Hook: format.HookSysAccept4, CPU: uint32(i % 2), CPUSeq: uint64(i/2 + 1), Ret: 7}))
		if i >= 2 {
			err = errors.Join(err, w.Flush())
		}
	}
	if err = errors.Join(err, w.Close(format.End{Clean: true, Totals: []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 5, Recorded: 5}}})); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// archived is an archive with one file, which is not compressed.
func archived(ts *testscript.TestScript, kind, name string) []byte {
	var b bytes.Buffer
	data := []byte(ts.ReadFile(name))
	if kind == "zip" {
		z := zip.NewWriter(&b)
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		ts.Check(err)
		_, err = f.Write(data)
		ts.Check(errors.Join(err, z.Close()))
		return b.Bytes()
	}
	w := tar.NewWriter(&b)
	ts.Check(w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data))}))
	_, err := w.Write(data)
	ts.Check(errors.Join(err, w.Close()))
	return b.Bytes()
}
