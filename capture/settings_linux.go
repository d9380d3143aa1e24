//go:build amd64 || arm64

package capture

import (
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// This file reads the settings of network namespaces, and is in them meanwhile. /proc/sys/net shows those of the
// namespace that the reading task is in, whoever's /proc it is.

// visit calls look for each of the network namespaces in procs, which has the /proc
// directory of a process in each, in the order of their numbers. Inside: the calling thread is in it
// meanwhile, which takes privileges for others than its own.
func visit(procs map[uint32]string, look func(ns uint32, proc string, inside bool)) {
	list := slices.Sorted(maps.Keys(procs))
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		for _, ns := range list {
			look(ns, procs[ns], false)
		}
		return
	}
	defer own.Close()
	if len(list) == 1 && uint64(list[0]) == inodeOf(own) {
		look(list[0], procs[list[0]], true)
		return
	}
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // which ends with the goroutine, wherever it is then
		defer close(done)
		stuck := false // it could not come back
		for _, ns := range list {
			switch {
			case !stuck && uint64(ns) == inodeOf(own):
				look(ns, procs[ns], true)
			case stuck || !enterNamespace(procs[ns], ns):
				look(ns, procs[ns], false)
			default:
				look(ns, procs[ns], true)
				stuck = unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) != nil
			}
		}
	}()
	<-done
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

// hostSettings are the settings of process 1's network namespace, also where the recorder has one of its own, in a
// unit's sandbox; those of its own where it may not enter that.
func hostSettings() (list []format.Sysctl) {
	visit(map[uint32]string{uint32(namespace("/proc/1/ns/net")): "/proc/1"}, func(uint32, string, bool) {
		for _, name := range format.SettingNames {
			if v := readLine(settingPath(name)); v != "" {
				list = append(list, format.Sysctl{Name: name, Value: v})
			}
		}
	})
	return list
}

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
