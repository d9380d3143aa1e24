// Package confine takes from this process, on all threads and for good, the rights that it no
// longer needs: from a reader of captures that has opened its files ([Reader]), and from a
// recorder that records (Recorder, on Linux). A hostile capture, or a recorded program, that
// took over the process could then do little with it.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package confine
