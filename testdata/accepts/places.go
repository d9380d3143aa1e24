//go:build linux

package main

var placeCases []testCase
