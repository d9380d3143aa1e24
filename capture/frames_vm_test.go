//go:build linux && amd64

package capture

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// placed is what acc analyze --json says of where in their programs threads were.
type placed struct {
	Meanwhile []struct {
		Listener   uint64
		Cannot     []string
		Places     []seenPlace
		Goroutines []struct {
			Total  uint32
			Groups []struct {
				Wait, At string
				N        uint32
			}
		}
	}
	Findings []lookedFinding
}

// seenPlace is one of them.
type seenPlace struct {
	Did   struct{ Kind, At string }
	Stack []struct {
		Image, Func string
		BuildID     string `json:"build_id"`
		Offset      uint64
	}
}

// TestFramesServer is the Go server that TestVMFrames starts: after its first client, the goroutine that accepts waits
// for a lock, which another one holds that waits for a backend.
func TestFramesServer(t *testing.T) {
	if os.Getenv("ACC_FRAMES") == "" {
		t.Skip("is started by TestVMFrames")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var s framesStore
	if s.backend, err = net.Dial("tcp", silent.Addr().String()); err != nil {
		t.Fatal(err)
	}
	answers, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listens", l.Addr().(*net.TCPAddr).Port, listensAt(t, l))
	serve(&s, l, func() {
		time.Sleep(long)
		_, _ = answers.Write([]byte("x"))
	})
}

type framesStore struct {
	mu      sync.Mutex
	backend net.Conn
}

//go:noinline
func (s *framesStore) query(locked chan bool) {
	s.mu.Lock()
	close(locked)
	_, _ = s.backend.Write([]byte("query"))
	_, _ = s.backend.Read(make([]byte, 1))
	s.mu.Unlock()
}

//go:noinline
func (s *framesStore) admit() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

//go:noinline
func serve(s *framesStore, l net.Listener, later func()) {
	for n := 0; ; n++ {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if n == 0 {
			locked := make(chan bool)
			go s.query(locked)
			<-locked
			go later()
		}
		s.admit()
		c.Close()
	}
}

// Where in a program a thread was while clients waited: of Debian's nginx, which has no symbols but those that its
// modules need, at a log that nobody reads; of a Go server, what its goroutines waited for.
func TestVMFrames(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_TORTURE") == "" {
		t.Skip("make test-vm TORTURE=1 does it")
	}
	fifo, port := filepath.Join(t.TempDir(), "log"), 8099
	if err := unix.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fd := int(log.Fd())
	_ = unix.SetNonblock(fd, true)
	for b := make([]byte, 4096); err == nil; {
		_, err = unix.Write(fd, b)
	}
	conf := filepath.Join(t.TempDir(), "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `daemon off; master_process off; error_log stderr; pid /tmp/places.pid;
		events { worker_connections 64; }
		http { access_log %s; client_body_temp_path /tmp/p1; proxy_temp_path /tmp/p2; fastcgi_temp_path /tmp/p3;
		uwsgi_temp_path /tmp/p4; scgi_temp_path /tmp/p5; server { listen 127.0.0.1:%d; location / { return 200 "ok"; } } }`,
		fifo, port), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	nginx := exec.Command("nginx", "-c", conf)
	nginx.Stderr = os.Stderr
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	defer nginx.Wait()
	defer nginx.Process.Kill()
	get := func() { // nginx answers, and then writes to its log
		for range 100 {
			if res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
				res.Body.Close()
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Error("nginx does not answer")
	}
	get()
	address := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	waits := []int{dial(t, unix.AF_INET, address), dial(t, unix.AF_INET, address)}
	server := exec.Command(os.Args[0], "-test.run=^TestFramesServer$")
	server.Env = append(os.Environ(), "ACC_FRAMES=1")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	var goPort int
	var goInode uint64
	if _, err := fmt.Fscanf(out, "listens %d %d\n", &goPort, &goInode); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		waits = append(waits, dial(t, unix.AF_INET, &unix.SockaddrInet4{Port: goPort, Addr: [4]byte{127, 0, 0, 1}}))
	}
	time.Sleep(long + 500*time.Millisecond)
	_, _ = unix.Read(fd, make([]byte, 1<<20)) // somebody reads the log
	time.Sleep(300 * time.Millisecond)
	for _, fd := range waits {
		unix.Close(fd)
	}
	r.stop(t)
	if to := os.Getenv("ACC_KEEP"); to != "" {
		b, _ := os.ReadFile(path)
		_ = os.WriteFile(to, b, 0o600)
	}
	for _, args := range [][]string{{"analyze", path}, {"analyze", "--timeline", path}, {"info", "--reveals", path}} {
		out, _ := exec.Command("/in/acc", args...).CombinedOutput()
		t.Logf("acc %s\n%s", args[0], out)
	}
	b, err := exec.Command("/in/acc", "analyze", "--json", "--top", "0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var a placed
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	t.Run("nginx", func(t *testing.T) { checkNginx(t, &a) })
	t.Run("goroutines", func(t *testing.T) {
		for _, m := range a.Meanwhile {
			if m.Listener != goInode {
				continue
			}
			if len(m.Goroutines) != 1 {
				t.Fatalf("%+v", m)
			}
			var got []string
			for _, g := range m.Goroutines[0].Groups {
				got = append(got, fmt.Sprintf("%d %s %s", g.N, g.Wait, g.At))
			}
			for _, want := range []string{"1 sync.Mutex.Lock capture.(*framesStore).admit < capture.serve < ",
				"1 IO wait net.(*conn).Read < capture.(*framesStore).query"} {
				if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
					t.Errorf("no %s among %q", want, got)
				}
			}
			return
		}
		t.Error("the Go server was not looked at")
	})
}

// checkNginx holds the names of nginx's functions against its symbols, as another reader reads them.
func checkNginx(t *testing.T, a *placed) {
	f, err := elf.Open("/usr/sbin/nginx")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range a.Meanwhile {
		i := slices.IndexFunc(m.Places, func(p seenPlace) bool { return p.Did.Kind == "full-pipe" })
		if i < 0 {
			continue
		}
		p := m.Places[i]
		named := 0
		for _, fr := range p.Stack {
			if fr.Image != "/usr/sbin/nginx" {
				continue
			}
			var covers []string
			for _, s := range symbols {
				if fr.Offset >= s.Value && fr.Offset < s.Value+s.Size && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
					covers = append(covers, s.Name)
				}
			}
			if fr.Func == "" && len(covers) > 0 || fr.Func != "" && !slices.Contains(covers, fr.Func) {
				t.Errorf("%#x is %q, by its symbols %q", fr.Offset, fr.Func, covers)
			}
			if fr.Func != "" {
				named++
			}
			if len(fr.BuildID) != 40 {
				t.Errorf("build id %q", fr.BuildID)
			}
		}
		if named < 3 || !strings.Contains(p.Did.At, "nginx+0x") {
			t.Errorf("%s: %d functions named", p.Did.At, named)
		}
		return
	}
	t.Errorf("nginx was not looked at: %+v", a.Meanwhile)
}
