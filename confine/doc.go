// Package confine takes from this process, on all threads and for good, what it needs no
// more: a reader of captures that has opened its files ([Reader]), and a recorder that
// records (Recorder, on Linux). What a process that was taken over by a hostile capture, or
// by whom it records, could do with it then is little.
package confine
