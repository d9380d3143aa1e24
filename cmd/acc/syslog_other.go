//go:build !unix

package main

// This file says that there is no syslog on this system.

import "errors"

func openSyslog() (func(line string), error) {
	return nil, errors.New("this system has none")
}
