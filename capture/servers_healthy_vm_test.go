//go:build linux && (amd64 || arm64)

package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Debian's servers, with the configuration that Debian gives them and under ordinary load: no finding above
// notice, and acc accepted what the server itself counted, or the kernel where it does not count. haproxy is not among
// them: it needs cmpxchg16b, which the machine of capture/vm lacks.
func TestVMServersHealthy(t *testing.T) {
	needVM(t)
	needServers(t)
	for _, c := range []struct {
		name string
		run  func(s *stage)
	}{
		{"nginx", healthyNginx},
		{"apache2", healthyApache},
		{"lighttpd", healthyLighttpd},
		{"redis", healthyRedis},
		{"memcached", healthyMemcached},
		{"postgresql", healthyPostgreSQL},
		{"mariadb", healthyMariaDB},
		{"sshd", healthySSH},
		{"exim4", healthyExim},
		{"vsftpd", healthyVsftpd},
		{"dovecot", healthyDovecot},
		{"php-fpm", healthyPHP},
		{"gunicorn", healthyGunicorn},
		{"uvicorn", healthyUvicorn},
		{"node", healthyNode},
		{"unbound", healthyUnbound},
		{"dnsmasq", healthyDnsmasq},
		{"bind9", healthyBind},
		{"socat", healthySocat},
		{"busybox-httpd", healthyBusybox},
		{"python-http.server", healthyPython},
		{"go", healthyGo},
		{"puma", healthyPuma},
		{"varnish", healthyVarnish},
		{"squid", healthySquid},
		{"mosquitto", healthyMosquitto},
		{"rsyslog", healthyRsyslog},
		{"xinetd", healthyXinetd},
	} {
		onStage(t, c.name, c.run)
	}
}

const clients = 40 // of each server

const stubStatus = "server { listen 127.0.0.1:8099; location / { stub_status; } }\n"

func (s *stage) nginx(mainConf, conf string) {
	s.t.Helper()
	s.cleanup = append(s.cleanup, func() { os.Remove("/etc/nginx/conf.d/acc.conf") })
	s.file("/etc/nginx/conf.d/acc.conf", stubStatus+conf)
	args := []string{"nginx", "-g", "daemon off;"}
	if mainConf != "" {
		args = append(args, "-c", mainConf)
	}
	s.daemon(args...)
	s.listening(80)
	s.listening(8099)
}

func (s *stage) nginxAccepts() int {
	s.t.Helper()
	got, err := ask(8099, get, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.number(got, `requests\s+(\d+)`)
}

func healthyNginx(s *stage) {
	s.nginx("", "")
	before, after := s.nginxAccepts(), 0
	r := s.record(func() { s.gets(clients, 80, "/"); after = s.nginxAccepts() })
	s.healthy(
		&r,
		version("nginx"),
		"40 GETs, 4 at once",
		"stub_status accepts",
		after-before,
		r.accepted(":80", ":8099"),
	)
}

func healthyApache(s *stage) {
	s.run("/usr/sbin/apache2ctl", "start")
	s.daemonized("apache2")
	s.listening(80)
	const log = "/var/log/apache2/access.log"
	r := s.record(func() { s.run("ab", "-q", "-n", "40", "-c", "4", "http://127.0.0.1/") })
	s.until("the log", func() bool { return s.lines(log, "^.") >= clients })
	s.healthy(&r, version("apache2"), "ab -n 40 -c 4", "lines in access.log", s.lines(log, "^."), r.accepted(":80"))
}

func healthyLighttpd(s *stage) {
	s.file(
		"/etc/lighttpd/conf-enabled/99-acc.conf",
		"server.modules += (\"mod_status\")\nstatus.status-url = \"/status\"\n",
	)
	s.daemon("lighttpd", "-D", "-f", "/etc/lighttpd/lighttpd.conf")
	s.listening(80)
	total := func() int {
		got, err := ask(80, "GET /status?auto HTTP/1.0\r\n\r\n", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		return s.number(got, `Total Accesses: (\d+)`)
	}
	before, after := total(), 0
	r := s.record(func() {
		s.gets(clients, 80, "/")
		time.Sleep(2500 * time.Millisecond) // it adds up once a second
		after = total()
	})
	s.healthy(
		&r,
		version("lighttpd"),
		"40 GETs, 4 at once",
		"mod_status Total Accesses",
		after-before,
		r.accepted(":80"),
	)
}

func healthyRedis(s *stage) {
	s.daemon(
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
	total := func() int { return s.number(s.run("redis-cli", "info", "stats"), `total_connections_received:(\d+)`) }
	before, after := total(), 0
	r := s.record(func() {
		s.run("redis-benchmark", "-q", "-n", "40", "-c", "4", "-t", "set,get")
		s.asks(clients, 6379, "PING\r\n", `^\+PONG`)
		after = total()
	})
	s.healthy(
		&r,
		version("redis-server"),
		"redis-benchmark -n 40 -c 4; 40 PINGs",
		"total_connections_received",
		after-before,
		r.accepted(":6379"),
	)
}

func (s *stage) memcachedStat(name string) int {
	s.t.Helper()
	got, err := ask(11211, "stats\r\n", regexp.MustCompile("END"))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.number(got, `STAT `+name+` (\d+)`)
}

func (s *stage) memcached(args ...string) {
	s.t.Helper()
	s.daemon(append([]string{"memcached", "-u", "memcache", "-m", "64", "-p", "11211", "-l", "127.0.0.1"}, args...)...)
	s.listening(11211)
}

func healthyMemcached(s *stage) {
	s.memcached()
	before, after := s.memcachedStat("total_connections"), 0
	r := s.record(func() {
		s.asks(clients, 11211, "version\r\n", "^VERSION")
		after = s.memcachedStat("total_connections")
	})
	s.healthy(&r, version("memcached"), "40 times version", "total_connections", after-before, r.accepted(":11211"))
}

func (s *stage) psql(query string) string {
	s.t.Helper()
	return s.run("su", "postgres", "-c", "psql -Atc \""+query+"\"")
}

func (s *stage) postgresql() {
	s.t.Helper()
	s.run("/bin/sh", "-c", "mkdir -p /run/postgresql && chown postgres /run/postgresql && pg_ctlcluster 15 main start")
	s.cleanup = append(s.cleanup, func() { s.run("pg_ctlcluster", "15", "main", "stop", "-m", "immediate") })
	s.listening(5432)
	s.psql("alter user postgres password 'x'")
}

func healthyPostgreSQL(s *stage) {
	s.postgresql()
	const query = "select sum(sessions) from pg_stat_database"
	total := func() int { return s.number(s.psql(query), `(\d+)`) }
	var before, after int
	s.until("sessions that are counted", func() bool { before = total(); return before > 0 })
	r := s.record(func() {
		for range 6 {
			s.run("/usr/bin/env", "PGPASSWORD=x", "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc", "select 1")
		}
		after = total()
	})
	// A session counts itself when it asks.
	s.healthy(
		&r,
		version("postgresql-15"),
		"6 times psql",
		"pg_stat_database sessions",
		after-before,
		r.accepted(":5432", ".s.PGSQL.5432"),
	)
}

func (s *stage) mariadb() {
	s.t.Helper()
	s.run("/bin/sh", "-c", "chown mysql /run/mysqld")
	s.daemon("mariadbd", "--user=mysql")
	s.listening(3306)
	s.run("mariadb", "-e", "create user if not exists u@localhost identified by 'x'")
}

func (s *stage) mariadbStat(name string) int {
	s.t.Helper()
	return s.number(s.run("mariadb", "-Ne", "show global status like '"+name+"'"), `\s(\d+)`)
}

func healthyMariaDB(s *stage) {
	s.mariadb()
	before, after := s.mariadbStat("Connections"), 0
	r := s.record(func() {
		for range 6 {
			s.run("mariadb", "-h", "127.0.0.1", "-u", "u", "-px", "-Ne", "select 1")
		}
		after = s.mariadbStat("Connections")
	})
	s.healthy(
		&r,
		version("mariadb-server"),
		"6 times mariadb",
		"Connections",
		after-before,
		r.accepted(":3306", "mysqld.sock"),
	)
}

func (s *stage) sshd(args ...string) (log string) {
	s.t.Helper()
	log = s.daemon(append([]string{"/usr/sbin/sshd", "-D", "-e", "-o", "LogLevel=VERBOSE"}, args...)...)
	s.listening(22)
	return log
}

func healthySSH(s *stage) {
	log := s.sshd()
	s.run(
		"/bin/sh",
		"-c",
		"mkdir -p /root/.ssh && rm -f /root/.ssh/id && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id && cp "+
			"/root/.ssh/id.pub /root/.ssh/authorized_keys",
	)
	r := s.record(func() {
		for range 4 {
			s.run(
				"ssh",
				"-i",
				"/root/.ssh/id",
				"-o",
				"StrictHostKeyChecking=no",
				"-o",
				"LogLevel=ERROR",
				"127.0.0.1",
				"true",
			)
		}
	})
	s.healthy(
		&r,
		version("openssh-server"),
		"4 logins with a key",
		"lines of connections in its log",
		s.lines(log, "^Connection from"),
		r.accepted(":22"),
	)
}

func (s *stage) exim(args ...string) (log string) {
	s.t.Helper()
	s.run("/usr/sbin/update-exim4.conf")
	log = "/var/log/exim4/mainlog"
	os.Remove(log)
	s.daemon(append([]string{"/usr/sbin/exim4", "-bdf", "-q30m", "-oX", "25"}, args...)...)
	s.listening(25)
	s.logs = append(s.logs, log)
	return log
}

func healthyExim(s *stage) {
	s.exim()
	r := s.record(func() {
		s.load(8, 2, func() error {
			c, err := smtp(25)
			if err != nil {
				return err
			}
			return c.Quit()
		})
	})
	s.healthy(&r, version("exim4-daemon-light"), "8 times HELO, QUIT, 2 at once", "clients", 8, r.accepted(":25"))
}

func healthyVsftpd(s *stage) {
	log := filepath.Join(s.dir, "vsftpd.log")
	s.daemon(
		"vsftpd",
		"/etc/vsftpd.conf",
		"-oanonymous_enable=YES",
		"-obackground=NO",
		"-ovsftpd_log_file="+log,
		"-odual_log_enable=YES",
	)
	s.listening(21)
	s.run("/bin/sh", "-c", "mkdir -p /srv/ftp && echo hello >/srv/ftp/hello")
	const n = 6
	r := s.record(func() {
		for range n {
			s.run("curl", "-sS", "-o", "/dev/null", "ftp://127.0.0.1/hello")
		}
	})
	s.healthy(
		&r,
		version("vsftpd"),
		"6 files by curl, passive",
		"CONNECT in its log",
		s.lines(log, "CONNECT: Client"),
		r.accepted(":21"),
	)
	if len(r.OneAccept) != 1 || r.OneAccept[0].Sockets != n || r.OneAccept[0].Accepted != n {
		s.t.Errorf("%d files, each by a socket of its own: %+v", n, r.OneAccept)
	}
	for _, l := range r.Listeners { // its children end meanwhile, and it waits in accept
		if l.LPort == 21 && (l.Failed != l.Restarted || l.Restarted == 0) {
			s.t.Errorf("%d attempts failed, %d of them began anew", l.Failed, l.Restarted)
		}
	}
}

func healthyDovecot(s *stage) {
	// Debian starts a program for each login, which takes this machine seconds, and its clients wait as long.
	s.daemon(
		"dovecot",
		"-F",
		"-c",
		s.file(
			"dovecot.conf",
			`!include /etc/dovecot/dovecot.conf
service imap-login {
  service_count = 0
  process_min_avail = 1
}
`,
		),
	)
	s.listening(143)
	logout := func() { s.asks(8, 143, "a CAPABILITY\r\nb LOGOUT\r\n", `(?m)^b OK`) }
	logout()
	r := s.record(logout)
	s.healthy(
		&r,
		version("dovecot-imapd"),
		"8 times LOGOUT, 4 at once; imap-login with service_count 0",
		"clients",
		8,
		r.accepted(":143"),
	)
}

// fpm runs php-fpm with its default pool and a few settings of it.
func (s *stage) fpm(settings ...string) {
	s.t.Helper()
	pool, err := os.ReadFile("/etc/php/8.2/fpm/pool.d/www.conf")
	if err != nil {
		s.t.Fatal(err)
	}
	text := string(pool)
	for _, set := range settings {
		key, _, _ := strings.Cut(set, " =")
		text = regexp.MustCompile("(?m)^"+regexp.QuoteMeta(key)+" =.*$").ReplaceAllString(text, "")
		text += "\n" + set
	}
	conf := s.file("fpm.conf", "[global]\nerror_log = "+s.dir+"/fpm.log\n"+text+"\n")
	s.daemon("php-fpm8.2", "-F", "-y", conf)
	s.until("php-fpm's socket", func() bool { _, err := os.Stat("/run/php/php8.2-fpm.sock"); return err == nil })
	s.cleanup = append(s.cleanup, func() { os.Remove("/run/php/php8.2-fpm.sock") })
	s.logs = append(s.logs, s.dir+"/fpm.log")
}

// viaPHP is a server of nginx whose requests php-fpm answers.
const viaPHP = "server { listen 127.0.0.1:8088; location / { root /srv; include fastcgi_params; " +
	"fastcgi_param SCRIPT_FILENAME /srv$fastcgi_script_name; fastcgi_pass unix:/run/php/php8.2-fpm.sock; } }\n"

func (s *stage) get(port int, path string) string {
	s.t.Helper()
	got, err := ask(port, "GET "+path+" HTTP/1.0\r\nHost: localhost\r\n\r\n", nil)
	if err != nil {
		s.t.Error(err)
	}
	return got
}

func healthyPHP(s *stage) {
	s.fpm("pm.status_path = /status")
	s.file("/srv/x.php", "<?php echo 'ok';")
	s.nginx("", viaPHP)
	total := func() int { return s.number(s.get(8088, "/status"), `accepted conn:\s+(\d+)`) }
	before, after := total(), 0
	r := s.record(func() { s.gets(20, 8088, "/x.php"); after = total() })
	s.healthy(
		&r,
		version("php8.2-fpm"),
		"20 GETs by way of nginx, 4 at once",
		"accepted conn of its status page",
		after-before,
		r.accepted("php8.2-fpm.sock"),
	)
}

const wsgi = `import time
def app(env, start):
    time.sleep(float(env['PATH_INFO'].strip('/') or 0))
    start('200 OK', [('Content-Length', '3')])
    return [b'ok\n']
`

func (s *stage) gunicorn(args ...string) (log string) {
	s.t.Helper()
	s.file("app.py", wsgi)
	log = s.daemon(
		append([]string{"gunicorn", "-b", "127.0.0.1:8000", "--access-logfile", "-"}, append(args, "app:app")...)...)
	s.listening(8000)
	s.until("a worker", func() bool { return s.lines(log, "Booting worker") > 0 })
	return log
}

func healthyGunicorn(s *stage) {
	log := s.gunicorn()
	r := s.record(func() { s.gets(clients, 8000, "/") })
	s.healthy(
		&r,
		version("gunicorn"),
		"40 GETs, 4 at once",
		"lines in its access log",
		s.lines(log, "GET / "),
		r.accepted(":8000"),
	)
}

func healthyUvicorn(s *stage) {
	s.file(
		"asgi.py",
		`async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'ok'})
`,
	)
	log := s.daemon("uvicorn", "--port", "8001", "asgi:app")
	s.listening(8001)
	r := s.record(func() { s.gets(clients, 8001, "/") })
	s.healthy(
		&r,
		version("python3-uvicorn"),
		"40 GETs, 4 at once",
		"lines in its access log",
		s.lines(log, "GET / "),
		r.accepted(":8001"),
	)
}

func healthyNode(s *stage) {
	s.file(
		"app.js",
		`const s = require('http').createServer((q, r) => r.end('ok'));
let n = 0;
s.on('connection', () => n++);
process.on('SIGTERM', () => { console.log('connections', n); process.exit(0) });
s.listen(8002, '127.0.0.1');
`,
	)
	log, pid := s.daemonPID("node", "app.js")
	s.listening(8002)
	r := s.record(func() { s.gets(clients, 8002, "/") })
	s.terminate(pid)
	s.until("its count", func() bool { return s.lines(log, "connections") > 0 })
	b, _ := os.ReadFile(log)
	s.healthy(
		&r,
		version("nodejs"),
		"40 GETs, 4 at once",
		"its own connection events",
		s.number(string(b), `connections (\d+)`),
		r.accepted(":8002"),
	)
}

// dnsQuery is a query for localhost by TCP.
const dnsQuery = "\x00\x1b\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01"

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
