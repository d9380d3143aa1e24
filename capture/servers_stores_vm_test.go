//go:build linux && (amd64 || arm64)

package capture

// This file has servers that store: redis, memcached, PostgreSQL, MariaDB.

import (
	"regexp"
)

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
