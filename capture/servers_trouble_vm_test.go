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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// turnedAway is the usual end of such a test.
func (s *stage) turnedAway(r *serverResult, port int, version, load, counter string, counted int) {
	s.t.Helper()
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

func sshFull(s *stage) {
	log := s.sshd("-o", "MaxStartups=3")
	r := s.record(func() {
		var list []*holder
		for range 3 {
			list = append(list, s.hold(22, "SSH-2.0-x\r\n", "SSH-2.0"))
		}
		s.turned(12, 22, "MaxStartups")
		for _, h := range list {
			h.Close()
		}
	})
	s.turnedAway(
		&r,
		22,
		version("openssh-server"),
		"3 clients that do not log in, 12 more",
		"drop connection in its log",
		s.lines(log, "drop connection #"),
	)
}

func eximFull(s *stage) {
	s.run("/usr/sbin/update-exim4.conf")
	b, err := os.ReadFile("/var/lib/exim4/config.autogenerated")
	if err != nil {
		s.t.Fatal(err)
	}
	conf := "/etc/exim4/limit.conf"
	s.file(conf, "smtp_accept_max = 4\n"+string(b))
	const log = "/var/log/exim4/mainlog"
	s.logs = append(s.logs, log)
	before := s.lines(log, "refused: too many connections")
	s.daemon("/usr/sbin/exim4", "-C", conf, "-bdf", "-q30m", "-oX", "25")
	s.listening(25)
	r := s.record(func() {
		var list []*holder
		for range 4 {
			list = append(list, s.hold(25, "", "^220"))
		}
		for _, h := range list {
			_, _ = io.WriteString(h, "HELO localhost\r\n")
			h.expect(s, "250")
		}
		s.turned(12, 25, "^421")
		for _, h := range list {
			_, _ = io.WriteString(h, "QUIT\r\n")
			h.expect(s, "221")
			h.Close()
		}
	})
	s.turnedAway(
		&r,
		25,
		version("exim4-daemon-light"),
		"4 clients that stay, 12 more",
		"refused: too many connections in mainlog",
		s.lines(log, "refused: too many connections")-before,
	)
}

func vsftpdFull(s *stage) {
	s.daemon("vsftpd", "/etc/vsftpd.conf", "-oanonymous_enable=YES", "-obackground=NO", "-omax_clients=2")
	s.listening(21)
	said := 0
	r := s.record(func() {
		var list []*holder
		for range 2 {
			list = append(list, s.hold(21, "", "^220"))
		}
		said = s.turned(12, 21, "^421")
		for _, h := range list {
			_, _ = io.WriteString(h, "QUIT\r\n")
			h.expect(s, "221")
			h.Close()
		}
	})
	s.turnedAway(&r, 21, version("vsftpd"), "2 clients that stay, 12 more", "clients that read 421", said)
}

func mariadbFull(s *stage) {
	s.mariadb()
	s.run("mariadb", "-e", "set global max_connections = 10")
	before, after := s.mariadbStat("Connection_errors_max_connections"), 0
	r := s.record(func() {
		var list []*holder
		for range 10 { // not logged in yet: each has a connection of its own
			list = append(list, s.hold(3306, "", "MariaDB"))
		}
		list = append(list, s.hold(3306, "", "MariaDB")) // one is for the administrator
		s.turned(12, 3306, "Too many connections")
		for _, h := range list {
			_, _ = h.Write([]byte("\x01\x00\x00\x01\x00")) // no login, but it is read
			_, _ = io.Copy(io.Discard, h)
			h.Close()
		}
		after = s.mariadbStat("Connection_errors_max_connections")
	})
	s.turnedAway(
		&r,
		3306,
		version("mariadb-server"),
		"11 clients that stay, 12 more",
		"Connection_errors_max_connections",
		after-before,
	)
}

func xinetdFull(s *stage) {
	log := s.xinetd(" instances = 3\n")
	r := s.record(func() {
		var list []*holder
		for range 3 {
			list = append(list, s.hold(8009, "hello\n", "hello"))
		}
		s.turned(12, 8009, "^$")
		for _, h := range list {
			h.Close()
		}
	})
	s.turnedAway(
		&r,
		8009,
		version("xinetd"),
		"3 clients that stay, 12 more",
		"FAIL: service_limit in its log",
		s.lines(log, "FAIL: x service_limit"),
	)
}

// atLimit records until the limit is found, three times at most: the server has 10 ms for the next client, which is
// short
// for this machine when its host is busy.
func (s *stage) atLimit(work func()) (r serverResult) {
	s.t.Helper()
	for range 3 {
		r = s.record(work)
		if _, text := r.found("concurrency-limit"); text != "" {
			break
		}
	}
	return r
}

// limited compares the limit that a finding says with that of the server.
func (s *stage) limited(r *serverResult, version, load, counter string, counted int) {
	s.t.Helper()
	_, text := r.found("concurrency-limit")
	n := 0
	if m := regexp.MustCompile(`a limit of (\d+) at once`).FindStringSubmatch(text); m != nil {
		n = s.number(m[1], `(\d+)`)
	}
	if strings.Contains(text, "serves one at a time") {
		n = 1
	}
	s.trouble(r, version, load, counter, counted, n, "at once", "concurrency-limit", "took the next client only when")
}

func gunicornFull(s *stage) {
	log := s.gunicorn("-w", "2")
	s.until("both workers", func() bool { return s.lines(log, "Booting worker") == 2 })
	r := s.atLimit(func() {
		s.load(10, 10, func() error { _, err := ask(8000, "GET /0.8 HTTP/1.0\r\n\r\n", nil); return err })
	})
	s.limited(
		&r,
		version("gunicorn"),
		"10 clients at once, 0.8 s each",
		"Booting worker in its log",
		s.lines(log, "Booting worker"),
	)
}

func socatFull(s *stage) {
	const most = 3
	log := s.daemon(
		"socat",
		"-d",
		"-d",
		fmt.Sprintf("TCP-LISTEN:8003,reuseaddr,fork,max-children=%d", most),
		"PIPE", // an echo, without a program for each
	)
	s.listening(8003)
	peak := 0
	var mu sync.Mutex
	now := 0
	var stay atomic.Int64
	r := s.atLimit(func() {
		s.load(12, 12, func() error {
			h := s.hold(8003, "hello\n", "hello")
			mu.Lock()
			now++
			peak = max(peak, now)
			mu.Unlock()
			// not all as long, so that they don't leave together
			time.Sleep(time.Duration(600+stay.Add(37)%200) * time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			return h.Close()
		})
	})
	if n := s.lines(log, "accepting connection"); n != 12*s.records || r.accepted(":8003") != 12 {
		s.t.Errorf("socat accepted %d, acc %d", n, r.accepted(":8003"))
	}
	s.limited(&r, version("socat"), "12 clients at once, 0.6 to 0.8 s each", "clients that were served at once", peak)
}

func unboundFull(s *stage) {
	s.unbound("  num-threads: 1\n  incoming-num-tcp: 4\n  tcp-idle-timeout: 60000\n")
	var n atomic.Int64
	r := s.atLimit(func() {
		s.load(16, 16, func() error {
			h := s.hold(53, dnsQuery, "(?s)^..\x12\x34")
			// Not all as long, so that they don't leave together; it closes those that stay longer, when it is full.
			time.Sleep(time.Duration(100+n.Add(37)%100) * time.Millisecond)
			return h.Close()
		})
	})
	s.limited(&r, version("unbound"), "16 clients at once, 0.1 to 0.2 s each", "incoming-num-tcp", 4)
}

func phpFull(s *stage) {
	s.fpm("pm = static", "pm.max_children = 1", "listen.backlog = 1")
	s.file("/srv/slow.php", "<?php sleep(2); echo 'ok';")
	log := s.dir + "/error.log"
	s.nginx("", strings.Replace(viaPHP, "location /", "error_log "+log+"; location /", 1))
	r := s.record(func() {
		s.load(10, 10, func() error { _, err := ask(8088, "GET /slow.php HTTP/1.0\r\n\r\n", nil); return err })
	})
	n := 0
	for _, l := range r.Listeners {
		n += l.UnixRefused
	}
	s.trouble(
		&r,
		version("php8.2-fpm"),
		"10 GETs at once by way of nginx, listen.backlog 1",
		"connect() failed (11) in nginx's log",
		s.lines(log, `connect\(\) to unix:.* failed \(11`),
		n,
		"refused",
		"queue-overflow",
		"php8.2-fpm.sock",
	)
}

func pythonOneAtATime(s *stage) {
	s.file(
		"one.py",
		`import http.server, time
class H(http.server.BaseHTTPRequestHandler):
 def do_GET(self):
  time.sleep(0.6)
  self.send_response(200)
  self.end_headers()
http.server.HTTPServer(('127.0.0.1', 8005), H).serve_forever()
`,
	)
	log := s.daemon("python3", "-u", "one.py")
	s.listening(8005)
	r := s.atLimit(func() { s.load(5, 5, func() error { _, err := ask(8005, get, nil); return err }) })
	if n := s.lines(log, "GET / "); n != 5*s.records || r.accepted(":8005") != 5 {
		s.t.Errorf("python served %d, acc %d", n, r.accepted(":8005"))
	}
	s.limited(&r, version("python3"), "5 GETs at once, 0.6 s each", "HTTPServer, one thread", 1)
}

func redisStopped(s *stage) {
	_, pid := s.daemonPID(
		"redis-server",
		"/etc/redis/redis.conf",
		"--daemonize",
		"no",
		"--supervised",
		"no",
		"--dir",
		s.dir,
		"--logfile",
		"",
		"--pidfile",
		"",
	)
	s.listening(6379)
	const n = 6
	counted := 0
	var list []*holder
	r := s.record(func() {
		s.asks(5, 6379, "PING\r\n", `^\+PONG`)
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			s.t.Fatal(err)
		}
		for range n {
			list = append(list, s.hold(6379, "PING\r\n", ""))
		}
		time.Sleep(1200 * time.Millisecond) // they wait
		counted = s.number(s.run("ss", "-Hltn", "sport = :6379"), `LISTEN\s+(\d+)`)
	})
	for _, h := range list {
		h.Close()
	}
	waiting := 0
	for _, l := range r.Listeners {
		if l.LPort == 6379 && l.Life != nil {
			waiting += l.Life.Waiting
		}
	}
	s.trouble(
		&r,
		version("redis-server"),
		"SIGSTOP, then 6 clients",
		"Recv-Q of ss -ltn",
		counted,
		waiting,
		"waiting at the end",
		"slow-accept",
		"stopped",
	)
}

// crashLoop is a server that ends before it accepts, and is started again and again.
func crashLoop(s *stage) {
	s.file(
		"crash.py",
		`import socket, time
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(('127.0.0.1', 8010))
l.listen(16)
print('up', flush=True)
time.sleep(3)
raise SystemExit(1)
`,
	)
	const runs, each = 3, 4
	reset := 0
	r := s.record(func() {
		for range runs {
			log := s.daemon("python3", "crash.py")
			s.until("the server", func() bool { return s.lines(log, "^up") == 1 })
			s.listening(8010)
			var list []*holder
			for range each {
				list = append(list, s.hold(8010, "hello\n", ""))
			}
			for _, h := range list {
				if _, err := h.Read(make([]byte, 1)); err != nil && strings.Contains(err.Error(), "reset") {
					reset++
				}
				h.Close()
			}
		}
	})
	n := 0
	for _, l := range r.Listeners {
		if l.LPort == 8010 && l.Life != nil {
			n += l.Life.Lost
		}
	}
	s.trouble(
		&r,
		version("python3"),
		fmt.Sprintf("%d runs, %d clients each", runs, each),
		"clients that were reset",
		reset,
		n,
		"lost",
		"client-lost",
		fmt.Sprintf("%d clients were in the queue of %d sockets", n, runs),
	)
}
