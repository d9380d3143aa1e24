//go:build amd64 || arm64

package capture

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// This file reads the settings of network namespaces. /proc/sys/net shows those of the
// namespace that the reading task is in, whoever's /proc it is.

// readSettings gives the settings of the namespaces in procs, each with the /proc
// directory of a process in it, and has watch tell of changes there. A namespace that
// can't be entered is missing in it.
func readSettings(procs map[uint32]string, watch *settingsWatch) map[uint32]map[string]int64 {
	found := map[uint32]map[string]int64{}
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return found
	}
	defer own.Close()
	ownNS := inodeOf(own)
	if _, there := procs[uint32(ownNS)]; there {
		watch.add(uint32(ownNS))
		found[uint32(ownNS)] = settings()
	}
	if len(procs) == len(found) {
		return found
	}
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // which ends with the goroutine, wherever it is then
		defer close(done)
		deadline := time.Now().Add(time.Second)
		for ns, proc := range procs {
			if uint64(ns) == ownNS || !enterNamespace(proc, ns) {
				continue
			}
			watch.add(ns)
			found[ns] = settings()
			if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) != nil || time.Now().After(deadline) {
				return
			}
		}
	}()
	<-done
	return found
}

// enterNamespace moves the calling thread into the network namespace of a process, if
// that is ns.
func enterNamespace(proc string, ns uint32) bool {
	f, err := os.Open(proc + "/ns/net")
	if err != nil {
		return false
	}
	defer f.Close()
	return inodeOf(f) == uint64(ns) && unix.Setns(int(f.Fd()), unix.CLONE_NEWNET) == nil
}

// inodeOf is the inode number of an open file, 0 if that is not known.
func inodeOf(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// settings are those of the namespace that the calling thread is in.
func settings() map[string]int64 {
	list := map[string]int64{}
	for _, name := range format.SettingNames {
		if n, err := strconv.ParseInt(readLine(settingPath(name)), 10, 64); err == nil {
			list[name] = n
		}
	}
	return list
}

func settingPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

const (
	maxWatched  = 100                    // network namespaces whose settings are watched
	settleTime  = 10 * time.Millisecond  // settings are often written one after another
	betweenLook = 100 * time.Millisecond // what writes settings in a loop costs no more
)

// A settingsWatch tells when a setting was written, by inotify(7): the kernel tells of
// writes to files of /proc/sys as of any others. A nil one does nothing.
type settingsWatch struct {
	file    *os.File
	watched map[uint32]bool
	written atomic.Bool
}

// watchSettings begins to call wake after settings were written; nil: it can't.
func watchSettings(wake func()) *settingsWatch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	w := &settingsWatch{file: os.NewFile(uintptr(fd), "inotify"), watched: map[uint32]bool{}}
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := w.file.Read(buf); err != nil {
				return // it is closed
			}
			time.Sleep(settleTime)
			w.written.Store(true)
			wake()
			time.Sleep(betweenLook)
		}
	}()
	return w
}

// add watches the settings of the namespace that the calling thread is in.
func (w *settingsWatch) add(ns uint32) {
	if w == nil || w.watched[ns] || len(w.watched) >= maxWatched {
		return
	}
	w.watched[ns] = true
	raw, err := w.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for _, name := range format.SettingNames { // one that can't be watched is read every ten seconds
			_, _ = unix.InotifyAddWatch(int(fd), settingPath(name), unix.IN_MODIFY)
		}
	})
}

// changed reports whether a setting was written since it was last asked.
func (w *settingsWatch) changed() bool { return w != nil && w.written.Swap(false) }

// close ends it.
func (w *settingsWatch) close() {
	if w != nil {
		w.file.Close()
	}
}
