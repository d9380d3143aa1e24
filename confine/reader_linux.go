//go:build amd64 || arm64

package confine

// This file confines readers of files.

import (
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Exporter is [Reader] for a command that has made its output under another name, and renames or removes it at the end,
// in the same folder. A folder that is not "" is one in which it makes files, too.
func Exporter(folder string) {
	f := newFilter(unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_MKDIRAT, unix.SYS_FCHOWN)
	if folder == "" {
		restrictFiles(ll.AccessFSRemoveFile | ll.AccessFSMakeReg)
		f.forbid(unix.SYS_MKDIRAT, unix.SYS_FCHOWN)
		f.forbid(readerForbidden...)
	} else {
		restrictFiles(0, landlock.RWDirs(folder))
		for _, call := range readerForbidden {
			if call != unix.SYS_OPENAT {
				f.forbid(call)
			}
		}
	}
	_ = f.install()
}

// Reader takes what reading an open capture does not need: new files, the network,
// other programs, other processes. It is for a command that has opened all its files. It
// uses a filter of system calls (seccomp) and Landlock, where the kernel has them. A
// kernel or a container that allows neither is no error: the reader is safe without, this
// is the second wall.
//
// A command that goes on to read files of some folders, or single files, names them; without Landlock it keeps the
// right to read any. One that has an output uses [Exporter].
func Reader(readable ...string) {
	var rules []landlock.Rule
	for _, path := range readable {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			rules = append(rules, landlock.RODirs(path))
		} else {
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	restrictFiles(0, rules...)
	_ = forbidForReader(len(readable) > 0)
}

// restrictFiles denies every access to files that this kernel's Landlock knows but for what is kept, and
// TCP and UDP. What is open stays open, and the rules say where more is allowed.
func restrictFiles(kept landlock.AccessFSSet, but ...landlock.Rule) {
	all := landlock.V11
	c := landlock.Config{HandledAccessFS: all.HandledAccessFS &^ kept, HandledAccessNet: all.HandledAccessNet}
	_ = c.BestEffort().Restrict(but...)
}

// readerForbidden are calls that a reader has no use for, beside forbidden.
var readerForbidden = []uint32{
	unix.SYS_OPENAT, unix.SYS_PIDFD_OPEN, unix.SYS_SETNS, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_MEMFD_CREATE,
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT,
	unix.SYS_ACCEPT4,
}

func forbidForReader(opens bool) error {
	f := newFilter()
	f.forbid(unix.SYS_UNLINKAT)
	for _, call := range readerForbidden {
		if call != unix.SYS_OPENAT || !opens {
			f.forbid(call)
		}
	}
	if opens {
		f.when(unix.SYS_OPENAT, func(f *filter) {
			f.arg(2)
			f.op(andWith, unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC, 0, 0)
			f.among(unix.O_RDONLY)
		})
	}
	return f.install()
}
