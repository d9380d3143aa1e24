//go:build linux

package main

var uringCases []testCase
