//go:build linux && (amd64 || arm64)

package capture

// This file has servers that people and mail log in to: sshd, exim, vsftpd, dovecot.

import (
	"os"
	"path/filepath"
)

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
