//go:build linux && !amd64

package main

var int80Cases []testCase
