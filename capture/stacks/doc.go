// Package stacks finds out where in a program a thread is: it unwinds a copy of the thread's stack by the unwinding
// tables of the files that are mapped there (.eh_frame, and the pclntab of Go programs), and names functions by the
// symbols of those files.
//
// Everything that it reads may be forged by whoever wrote the program: each step is bounded in time and memory, and a
// table that makes no sense ends the unwinding. Of a file, only what is asked for is read.
package stacks
