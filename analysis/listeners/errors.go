package listeners

// This file knows the errors of accept and what they mean.

import (
	"cmp"
	"slices"

	"github.com/acc-project/acc/format"
)

// Errors of accept, as Linux numbers them.
const (
	errnoPermission  = 1   // EPERM
	errnoInterrupted = 4   // EINTR
	errnoBadFile     = 9   // EBADF
	errnoAgain       = 11  // EAGAIN
	errnoNoMemory    = 12  // ENOMEM
	errnoFault       = 14  // EFAULT
	errnoInvalid     = 22  // EINVAL
	errnoFilesSystem = 23  // ENFILE
	errnoFilesOwn    = 24  // EMFILE
	errnoProtocol    = 71  // EPROTO
	errnoNoSocket    = 88  // ENOTSOCK
	errnoUnsupported = 95  // EOPNOTSUPP
	errnoAborted     = 103 // ECONNABORTED
	errnoNoBuffers   = 105 // ENOBUFS
	errnoCancelled   = 125 // ECANCELED
	errnoRestart     = 512 // ERESTARTSYS
)

// meanings says what an error of accept means for whoever reads it at night;
// accept(2) and the kernel's source.
var meanings = map[int32]string{
	errnoPermission:  "a security policy or firewall rule forbids it",
	errnoInterrupted: "a signal interrupted the call",
	errnoBadFile:     "the descriptor is not open",
	errnoAgain:       "nothing was queued; normal for a non-blocking server",
	errnoNoMemory:    "no memory for the socket; connections stay queued",
	errnoFault:       "bad address buffer: a client was taken and cut off",
	errnoInvalid:     "the socket does not listen (any more), or bad flags or buffer length",
	errnoFilesSystem: "the whole system is out of descriptors; connections stay queued",
	errnoFilesOwn:    "the process is out of descriptors (ulimit -n); connections stay queued",
	errnoProtocol:    "protocol error",
	errnoNoSocket:    "the descriptor is not a socket",
	errnoUnsupported: "this type of socket can't accept",
	errnoAborted:     "the connection was aborted before it was accepted",
	errnoNoBuffers:   "no memory for network buffers",
	errnoCancelled:   "the request was cancelled by the program, or its ring or the thread that armed it ended",
	errnoRestart:     "interrupted by a signal: begun anew, EINTR, or killed",
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
