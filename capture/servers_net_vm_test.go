//go:build linux && (amd64 || arm64)

package capture

// This file has name servers, proxies, and what is left: unbound, dnsmasq, bind, socat, varnish, squid, mosquitto …

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func (s *stage) unbound(settings string) {
	s.t.Helper()
	s.run("/usr/libexec/unbound-helper", "root_trust_anchor_update") // as its unit does
	s.daemon(
		"unbound",
		"-d",
		"-c",
		s.file(
			"unbound.conf",
			`include: /etc/unbound/unbound.conf
server:
  use-syslog: no
  logfile: ""
`+settings,
		),
	)
	s.listening(53)
}

func healthyUnbound(s *stage) {
	s.unbound("  extended-statistics: yes\n")
	total := func() int {
		return s.number(s.run("unbound-control", "stats_noreset"), `num.query.tcp=(\d+)`)
	}
	before, after := total(), 0
	r := s.record(func() { s.asks(20, 53, dnsQuery, "(?s)^..\x12\x34"); after = total() })
	s.healthy(&r, version("unbound"), "20 queries by TCP, 4 at once", "num.query.tcp", after-before, r.accepted(":53"))
}

func healthyDnsmasq(s *stage) {
	s.daemon(
		"dnsmasq",
		"-k",
		"--conf-file=/etc/dnsmasq.conf",
		"--user=root",
		"--listen-address=127.0.0.1",
		"--bind-interfaces",
	)
	s.listening(53)
	r := s.record(func() { s.asks(20, 53, dnsQuery, "(?s)^..\x12\x34") })
	s.healthy(&r, version("dnsmasq"), "20 queries by TCP, 4 at once", "clients", 20, r.accepted(":53"))
}

func healthyBind(s *stage) {
	s.daemon("named", "-f", "-u", "bind")
	s.listening(53)
	s.listening(953)
	const stats = "/var/cache/bind/named.stats"
	total := func() int {
		os.Remove(stats)
		s.run("rndc", "stats")
		s.until("the statistics", func() bool { return s.lines(stats, "^--- Statistics Dump") == 1 })
		b, _ := os.ReadFile(stats)
		return s.number(string(b), `(\d+) TCP/IPv4 connections accepted`)
	}
	before, after := total(), 0
	r := s.record(func() { s.asks(20, 53, dnsQuery, "(?s)^..\x12\x34"); after = total() })
	s.healthy(
		&r,
		version("bind9"),
		"20 queries by TCP, 4 at once",
		"TCP/IPv4 connections accepted",
		after-before,
		r.accepted(":53", ":953"),
	)
}

func healthySocat(s *stage) {
	log := s.daemon("socat", "-d", "-d", "TCP-LISTEN:8003,reuseaddr,fork", "EXEC:cat")
	s.listening(8003)
	r := s.record(func() { s.asks(clients, 8003, "hello\n", "hello") })
	s.healthy(
		&r,
		version("socat"),
		"40 echoes, 4 at once, a child each",
		"accepting connection in its log",
		s.lines(log, "accepting connection"),
		r.accepted(":8003"),
	)
}

func healthyBusybox(s *stage) {
	s.file("index.html", "hello\n")
	log := s.daemon("busybox", "httpd", "-f", "-v", "-p", "127.0.0.1:8004", "-h", s.dir)
	s.listening(8004)
	r := s.record(func() { s.gets(clients, 8004, "/") })
	s.healthy(
		&r,
		version("busybox"),
		"40 GETs, 4 at once",
		"responses in its log",
		s.lines(log, `response:200`),
		r.accepted(":8004"),
	)
}

func healthyPython(s *stage) {
	log := s.daemon("python3", "-u", "-m", "http.server", "8005", "--bind", "127.0.0.1")
	s.listening(8005)
	r := s.record(func() { s.gets(clients, 8005, "/") })
	s.healthy(
		&r,
		version("python3"),
		"40 GETs, 4 at once",
		"lines in its log",
		s.lines(log, "GET / "),
		r.accepted(":8005"),
	)
}

func healthyGo(s *stage) {
	log, pid := s.daemonPID("/in/goserver", "127.0.0.1:8006")
	s.listening(8006)
	r := s.record(func() { s.gets(clients, 8006, "/") })
	s.terminate(pid)
	s.until("its count", func() bool { return s.lines(log, `^\d+$`) > 0 })
	b, _ := os.ReadFile(log)
	s.healthy(&r, "goserver", "40 GETs, 4 at once", "its own count", s.number(string(b), `(\d+)`), r.accepted(":8006"))
}

func healthyPuma(s *stage) {
	s.file("config.ru", "run lambda { |env| [200, {}, ['ok']] }\n")
	control := "http://127.0.0.1:8098"
	s.daemon(
		"puma",
		"-b",
		"tcp://127.0.0.1:8007",
		"--control-url",
		"tcp://127.0.0.1:8098",
		"--control-token",
		"x",
		"config.ru",
	)
	s.listening(8007)
	s.listening(8098)
	total := func() int { return s.number(s.run("curl", "-s", control+"/stats?token=x"), `"requests_count":(\d+)`) }
	before, after := total(), 0
	r := s.record(func() { s.gets(clients, 8007, "/"); after = total() })
	s.healthy(&r, version("puma"), "40 GETs, 4 at once", "requests_count", after-before, r.accepted(":8007"))
}

func healthyVarnish(s *stage) {
	s.daemon("/in/goserver", "127.0.0.1:8080")
	s.listening(8080) // the backend of default.vcl
	s.daemon(
		"varnishd",
		"-F",
		"-a",
		":6081",
		"-f",
		"/etc/varnish/default.vcl",
		"-s",
		"malloc,64m",
		"-p",
		"vcc_allow_inline_c=off",
		"-n",
		filepath.Join(s.dir, "v"),
	)
	s.listening(6081)
	total := func() int {
		return s.number(
			s.run("varnishstat", "-1", "-n", filepath.Join(s.dir, "v"), "-f", "MAIN.sess_conn"),
			`sess_conn\s+(\d+)`,
		)
	}
	before, after := total(), 0
	r := s.record(func() {
		s.gets(clients, 6081, "/")
		s.until("its count", func() bool { after = total(); return after-before >= clients })
	})
	s.healthy(
		&r,
		version("varnish"),
		"40 GETs, 4 at once, to goserver",
		"MAIN.sess_conn",
		after-before,
		r.accepted(":6081"),
	)
}

func healthySquid(s *stage) {
	s.daemon("/in/goserver", "127.0.0.1:8081")
	s.listening(8081)
	s.daemon("squid", "-N", "-f", "/etc/squid/squid.conf")
	s.listening(3128)
	const log = "/var/log/squid/access.log"
	before := s.lines(log, "^.")
	r := s.record(func() {
		s.load(20, 4, func() error {
			got, err := ask(3128, "GET http://localhost:8081/ HTTP/1.0\r\n\r\n", nil)
			if err == nil && !strings.Contains(got, "HTTP/1.") {
				err = fmt.Errorf("the answer is %.200q", got)
			}
			return err
		})
	})
	s.until("the log", func() bool { return s.lines(log, "^.")-before >= 20 })
	s.healthy(
		&r,
		version("squid"),
		"20 GETs, 4 at once, to goserver",
		"lines in access.log",
		s.lines(log, "^.")-before,
		r.accepted(":3128"),
	)
}

func healthyMosquitto(s *stage) {
	log := s.daemon(
		"mosquitto",
		"-v",
		"-c",
		s.file("mosquitto.conf", `listener 1883 127.0.0.1
allow_anonymous true
log_dest stderr
`),
	)
	s.listening(1883)
	r := s.record(func() {
		s.asks(20, 1883, "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a\xe0\x00", "(?s)^\x20\x02\x00")
	})
	s.healthy(
		&r,
		version("mosquitto"),
		"20 times CONNECT, DISCONNECT, 4 at once",
		"New connection in its log",
		s.lines(log, "New connection from"),
		r.accepted(":1883"),
	)
}

// It takes lines by TCP and never answers.
func healthyRsyslog(s *stage) {
	out := filepath.Join(s.dir, "out")
	conf := s.file(
		"rsyslog.conf",
		"module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"8514\" address=\"127.0.0.1\")\naction(type=\"omfile\" "+
			"file=\""+out+"\")\n",
	)
	s.daemon("rsyslogd", "-n", "-f", conf, "-i", filepath.Join(s.dir, "pid"))
	s.listening(8514)
	lines := func() int { return s.lines(out, "hello$") }
	r := s.record(func() {
		for n := range clients { // its queue is short, and a client is gone before it comes
			if err := send(8514, "<13>Jan  1 00:00:00 host tag: hello\n"); err != nil {
				s.t.Error(err)
			}
			s.until("the line", func() bool { return lines() == n+1 })
		}
	})
	s.healthy(
		&r,
		version("rsyslog"),
		"40 clients with a line each",
		"lines that it wrote",
		lines(),
		r.accepted(":8514"),
	)
	if _, text := r.found("unanswered"); text != "" {
		s.t.Errorf("a protocol without answers: %s", text)
	}
}

func (s *stage) xinetd(settings string) (log string) {
	s.t.Helper()
	log = filepath.Join(s.dir, "xinetd.log")
	s.daemon(
		"xinetd",
		"-dontfork",
		"-f",
		s.file(
			"xinetd.conf",
			"defaults\n{\n log_type = FILE "+log+`
 log_on_success = PID HOST EXIT
 log_on_failure = HOST
}
service x
{
 type = UNLISTED
 port = 8009
 socket_type = stream
 protocol = tcp
 wait = no
 user = root
 server = /bin/cat
`+settings+"}\n",
		),
	)
	s.listening(8009)
	s.logs = append(s.logs, log)
	return log
}

func healthyXinetd(s *stage) {
	log := s.xinetd("")
	r := s.record(func() { s.asks(clients, 8009, "hello\n", "hello") })
	s.healthy(
		&r,
		version("xinetd"),
		"40 echoes, 4 at once, a child each",
		"START in its log",
		s.lines(log, "START: x "),
		r.accepted(":8009"),
	)
}
