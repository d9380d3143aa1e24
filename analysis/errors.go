package analysis

// This file knows the errors of accept and what they mean.

import (
	"cmp"
	"slices"

	"github.com/acc-project/acc/format"
)

// Errors of accept, as Linux numbers them.
const (
	errnoInvalid = 22  // EINVAL
	errnoAborted = 103 // ECONNABORTED
)

// meanings says what an error of accept means for whoever reads it at night;
// accept(2) and the kernel's source.
var meanings = map[int32]string{
	1:            "a security policy or firewall rule forbids it",
	4:            "a signal interrupted the call",
	9:            "the descriptor is not open",
	11:           "nothing was queued; normal for a non-blocking server",
	12:           "no memory for the socket; connections stay queued",
	14:           "bad address buffer: a client was taken and cut off",
	errnoInvalid: "the socket does not listen (any more), or bad flags or buffer length",
	23:           "the whole system is out of descriptors; connections stay queued",
	24:           "the process is out of descriptors (ulimit -n); connections stay queued",
	71:           "protocol error",
	88:           "the descriptor is not a socket",
	95:           "this type of socket can't accept",
	errnoAborted: "the connection was aborted before it was accepted",
	105:          "no memory for network buffers",
	125:          "the request was cancelled: by the program, or because its ring or the thread that armed it ended",
	512:          "interrupted by a signal: begun anew, EINTR, or killed",
}

// Meaning says what an error of accept means, in words; "" if there is no more to
// say than its name.
func Meaning(errno int32) string { return meanings[errno] }

// errorCounts turns counts by errno into a list, most frequent first.
func errorCounts(counts []errnoCount) []ErrorCount {
	list := []ErrorCount{}
	for _, c := range counts {
		list = append(list, ErrorCount{Errno: c.errno, Name: format.ErrnoName(c.errno), Count: c.count,
			Meaning: meanings[c.errno], Listeners: []ErrorListener{}})
	}
	slices.SortFunc(list, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Errno, b.Errno))
	})
	return list
}
