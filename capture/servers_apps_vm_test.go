//go:build linux && (amd64 || arm64)

package capture

// This file has servers that run applications: php-fpm, gunicorn, uvicorn, node.

import (
	"os"
	"regexp"
	"strings"
)

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
