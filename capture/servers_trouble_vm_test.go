//go:build linux && (amd64 || arm64)

package capture

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Debian's servers in the trouble that they have: acc finds it, and its number is the one that the server itself,
// or its log, has.
func TestVMServersTrouble(t *testing.T) {
	needVM(t)
	needServers(t)
	for _, c := range []struct {
		name string
		run  func(s *stage)
	}{
		{"memcached -c 40", memcachedFull},
		{"memcached no_maxconns_fast, 48 descriptors", memcachedStops},
		{"nginx worker_connections 16", nginxFull},
		{"nginx, clients that give up", nginxGivenUp},
		{"nginx without descriptors", nginxNoDescriptors},
		{"go without descriptors", goNoDescriptors},
		{"sshd MaxStartups 3", sshFull},
		{"exim4 smtp_accept_max 4", eximFull},
		{"vsftpd max_clients 2", vsftpdFull},
		{"mariadb max_connections 10", mariadbFull},
		{"xinetd instances 3", xinetdFull},
		{"gunicorn, 2 sync workers", gunicornFull},
		{"socat max-children 3", socatFull},
		{"unbound incoming-num-tcp 4", unboundFull},
		{"php-fpm pm.max_children 1", phpFull},
		{"python, one at a time", pythonOneAtATime},
		{"python, 5 children", pythonChildren},
		{"python, a loop of 6", pythonEventLoop},
		{"python, a loop that stands still", pythonStandsStill},
		{"redis stopped by a signal", redisStopped},
		{"a server that crashes", crashLoop},
	} {
		onStage(t, c.name, c.run)
	}
}

// holder is a client that keeps its connection until the end.
type holder struct{ net.Conn }

// hold connects, sends something, and waits for an answer that matches, if one is wanted.
func (s *stage) hold(port int, text, answer string) *holder {
	s.t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		s.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, text) // what it reads shows whether it was too late
	if answer != "" {
		h := &holder{c}
		h.expect(s, answer)
	}
	return &holder{c}
}

// expect reads until what came matches.
func (h *holder) expect(s *stage, answer string) {
	s.t.Helper()
	re, got := regexp.MustCompile(answer), ""
	for buf := make([]byte, 1000); !re.MatchString(got); {
		n, err := h.Read(buf)
		got += string(buf[:n])
		if err != nil {
			s.t.Fatalf("no %s: %v, %q", answer, err, got)
		}
	}
}

// turned is clients that connect, send nothing, and read until the server closes, one after another. It gives
// how many read something that matches.
func (s *stage) turned(n, port int, answer string) (said int) {
	s.t.Helper()
	re := regexp.MustCompile(answer)
	for range n {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			s.t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		b, err := io.ReadAll(c)
		if os.IsTimeout(err) {
			s.t.Errorf("not turned away: %v", err)
		}
		if re.Match(b) {
			said++
		}
		c.Close()
	}
	return said
}

// turnedAway is the usual end of such a test. The server keeps so many others meanwhile: that is its limit.
func (s *stage) turnedAway(r *serverResult, port int, version, load, counter string, counted, kept int) {
	s.t.Helper()
	_, text := r.found("turned-away")
	if want := fmt.Sprintf("; each time, %d or more others were open", kept); !strings.Contains(text, want) {
		s.t.Errorf("%q does not say %q", text, want)
	}
	n := 0
	for _, l := range r.Listeners {
		if l.LPort == port && l.Life != nil {
			n += l.Life.TurnedAway + l.Life.Unread
		}
	}
	s.trouble(r, version, load, counter, counted, n, "turned away", "turned-away", fmt.Sprintf("turned away %d of ", n))
}

func memcachedFull(s *stage) {
	s.memcached("-c", "40")
	counted, held := 0, 0
	r := s.record(func() {
		var list []*holder
		for len(list) < 40 {
			h := s.hold(11211, "version\r\n", "")
			b := make([]byte, 100)
			if n, _ := h.Read(b); !strings.HasPrefix(string(b[:n]), "VERSION") {
				h.Close()
				break
			}
			list = append(list, h)
		}
		held = len(list)
		s.turned(20, 11211, "ERROR Too many")
		for _, h := range list {
			h.Close()
		}
		s.until("room", func() bool {
			got, _ := ask(11211, "version\r\n", regexp.MustCompile("\n"))
			return strings.HasPrefix(got, "VERSION")
		})
		counted = s.memcachedStat("rejected_connections")
	})
	s.turnedAway(
		&r,
		11211,
		version("memcached"),
		fmt.Sprintf("%d clients that stay, 21 more", held),
		"rejected_connections",
		counted,
		held,
	)
}

func memcachedStops(s *stage) {
	s.daemon(
		"prlimit",
		"--nofile=48:48",
		"memcached",
		"-u",
		"memcache",
		"-m",
		"64",
		"-p",
		"11211",
		"-l",
		"127.0.0.1",
		"-c",
		"40",
		"-o",
		"no_maxconns_fast",
	)
	s.listening(11211)
	counted := 0
	r := s.record(func() {
		var list []*holder
		for range 60 {
			c, err := net.DialTimeout("tcp", "127.0.0.1:11211", 500*time.Millisecond)
			if err != nil {
				break
			}
			list = append(list, &holder{c})
		}
		for _, h := range list {
			h.Close()
		}
		counted = s.memcachedStat("listen_disabled_num")
	})
	_, text := r.found("limit-zero")
	n := 1
	if m := regexp.MustCompile(`(\d+) times`).FindStringSubmatch(text); m != nil {
		n = s.number(m[0], `(\d+)`)
	}
	s.trouble(
		&r,
		version("memcached"),
		"as many clients as it takes, which stay for a while",
		"listen_disabled_num",
		counted,
		n,
		"× listen(fd, 0)",
		"limit-zero",
		"set the limit of its accept queue to 0",
	)
}

// nginxConf is Debian's with another limit.
func (s *stage) nginxConf(from, to string) string {
	s.t.Helper()
	b, err := os.ReadFile("/etc/nginx/nginx.conf")
	if err != nil {
		s.t.Fatal(err)
	}
	text := regexp.MustCompile(from).ReplaceAllString(string(b), to)
	if text == string(b) {
		s.t.Fatalf("nginx.conf has no %s", from)
	}
	text = strings.ReplaceAll(text, "worker_processes auto", "worker_processes 1")
	return s.file("nginx.conf", text)
}

func nginxFull(s *stage) {
	s.nginx(s.nginxConf(`worker_connections \d+`, "worker_connections 16"), "")
	dropped := func() int {
		got := s.get(8099, "/")
		m := regexp.MustCompile(`requests\s+(\d+) (\d+) `).FindStringSubmatch(got)
		if m == nil {
			s.t.Fatalf("no counters in %q", got)
		}
		return s.number(m[1], `(\d+)`) - s.number(m[2], `(\d+)`)
	}
	counted, kept := 0, 0
	r := s.record(func() {
		var list []*holder
		for range 40 {
			h := s.hold(80, "GET / HTTP/1.0\r\n", "") // a request that has begun
			_ = h.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			if _, err := h.Read(make([]byte, 1)); os.IsTimeout(err) {
				list = append(list, h)
			} else {
				h.Close()
			}
		}
		kept = len(list)
		for _, h := range list {
			_ = h.SetDeadline(time.Now().Add(time.Minute))
			_, _ = io.WriteString(h, "\r\n")
			h.expect(s, "HTTP/1.1")
			h.Close()
		}
		s.closed()
		counted = dropped()
	})
	s.turnedAway(
		&r,
		80,
		version("nginx"),
		fmt.Sprintf("40 clients that stay; it kept %d", kept),
		"stub_status accepts − handled",
		counted,
		kept,
	)
}

// backend is a server of this program that answers after so long, unless the client leaves.
func (s *stage) backend(port int, wait time.Duration) {
	s.t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		s.t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/fast" {
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
		}
		fmt.Fprintln(w, "ok")
	})}
	go srv.Serve(l)
	s.cleanup = append(s.cleanup, func() { srv.Close() })
}

func nginxGivenUp(s *stage) {
	s.backend(8081, 20*time.Second)
	log := s.dir + "/access.log"
	s.nginx(
		"",
		"server { listen 127.0.0.1:8088; access_log "+log+"; location / { proxy_pass http://127.0.0.1:8081; } }\n",
	)
	const gone = 7
	r := s.record(func() {
		s.gets(20, 8088, "/fast")
		var list []*holder
		for range gone {
			list = append(list, s.hold(8088, get, ""))
		}
		time.Sleep(500 * time.Millisecond) // how long they have patience
		for _, h := range list {
			h.Close()
		}
		s.until("its log", func() bool { return s.lines(log, "^.") >= 20+gone })
	})
	n := 0
	for _, l := range r.Listeners {
		if l.LPort == 8088 && l.Life != nil {
			n += l.Life.Unanswered
		}
	}
	s.trouble(
		&r,
		version("nginx"),
		"20 answered, 7 that leave after 0.5 s",
		"499 in access.log",
		s.lines(log, `" 499 `),
		n,
		"unanswered",
		"unanswered",
		fmt.Sprintf("%d of 27 clients", n),
	)
}

// exhausted compares a log with how often accept failed.
func (s *stage) exhausted(r *serverResult, port int, version, load, counter string, counted int) {
	s.t.Helper()
	n := 0
	for _, l := range r.Listeners {
		for _, e := range l.Errors {
			if l.LPort == port && e.Name == "EMFILE" {
				n += e.Count
			}
		}
	}
	s.trouble(
		r,
		version,
		load,
		counter,
		counted,
		n,
		"times EMFILE",
		"fd-exhausted",
		fmt.Sprintf("accept failed %d time", n),
	)
}

func nginxNoDescriptors(s *stage) {
	conf := s.nginxConf(`worker_processes \w+;`, "worker_processes 1; worker_rlimit_nofile 24;")
	const log = "/var/log/nginx/error.log"
	before := s.lines(log, `accept4\(\) failed \(24`)
	s.nginx(conf, "")
	r := s.record(func() {
		var list []*holder
		for range 24 {
			list = append(list, s.hold(80, "GET / HTTP/1.0\r\n", ""))
		}
		s.until("its log", func() bool { return s.lines(log, `accept4\(\) failed \(24`) > before+1 })
		for _, h := range list {
			_, _ = io.WriteString(h, "\r\n")
		}
		for _, h := range list {
			h.expect(s, "HTTP/1.1")
			h.Close()
		}
	})
	s.exhausted(
		&r,
		80,
		version("nginx"),
		"24 clients that stay, 24 descriptors",
		"accept4() failed (24) in error.log",
		s.lines(log, `accept4\(\) failed \(24`)-before,
	)
}

func goNoDescriptors(s *stage) {
	log := s.daemon("prlimit", "--nofile=16:16", "/in/goserver", "127.0.0.1:8006")
	s.listening(8006)
	r := s.record(func() {
		var list []*holder
		for range 24 {
			list = append(list, s.hold(8006, "GET / HTTP/1.0\r\n", ""))
		}
		s.until("its log", func() bool { return s.lines(log, "too many open files; retrying") > 2 })
		for _, h := range list {
			_, _ = io.WriteString(h, "\r\n")
		}
		for _, h := range list {
			h.expect(s, "HTTP/1.0")
			h.Close()
		}
	})
	s.exhausted(
		&r,
		8006,
		"goserver",
		"24 clients that stay, 16 descriptors",
		"too many open files in its log",
		s.lines(log, "too many open files; retrying"),
	)
}
