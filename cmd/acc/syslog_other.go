//go:build !unix

package main

import "errors"

func openSyslog() (func(line string), error) {
	return nil, errors.New("this system has none")
}
