//go:build linux && !amd64

package main

// This file has no such calls on other architectures.

var int80Cases []testCase
