//go:build unix

package main

// This file writes to syslog.

import "log/syslog"

// openSyslog gives a function that logs a line as "acc", priority authpriv.notice.
func openSyslog() (func(line string), error) {
	w, err := syslog.New(syslog.LOG_AUTHPRIV|syslog.LOG_NOTICE, "acc")
	if err != nil {
		return nil, err
	}
	return func(line string) { _ = w.Notice(line) }, nil
}
