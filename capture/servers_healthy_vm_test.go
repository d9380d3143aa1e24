//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
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
	r := s.record(func() { s.gets(clients, 80, "/") }) // ab may connect more often than it asks
	s.until("the log", func() bool { return s.lines(log, "^.") >= clients })
	s.healthy(&r, version("apache2"), "40 GETs, 4 at once", "lines in access.log", s.lines(log, "^."), r.accepted(":80"))
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
