package capture

// This file finds a process that has each listener open.

import (
	"os"
	"strconv"
	"strings"

	"github.com/acc-project/acc/format"
)

// findOwners looks for a process that has each listener open, of several the one
// with the smallest id, until it is to give up.
func findOwners(listeners []format.ListenSocket, giveUp func() bool) {
	missing := map[string][]*format.ListenSocket{}
	for i := range listeners {
		if l := &listeners[i]; l.Listener != 0 {
			link := "socket:[" + strconv.FormatUint(l.Listener, 10) + "]"
			missing[link] = append(missing[link], l)
		}
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // in the order of ids
	for _, name := range names {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		if len(missing) == 0 || giveUp() {
			return
		}
		ownedBy(uint32(pid), "/proc/"+name, missing, func(*format.ListenSocket) {})
	}
}

// ownedBy takes from missing what a process has open, and gives each to also.
func ownedBy(pid uint32, proc string, missing map[string][]*format.ListenSocket, also func(*format.ListenSocket)) {
	fds, err := os.Open(proc + "/fd")
	if err != nil {
		return
	}
	defer fds.Close()
	comm := ""
	for {
		names, err := fds.Readdirnames(1024)
		for _, fd := range names {
			link, _ := os.Readlink(proc + "/fd/" + fd)
			list := missing[link]
			if list == nil {
				continue
			}
			if comm == "" {
				b, _ := os.ReadFile(proc + "/comm")
				comm = strings.TrimSuffix(string(b), "\n")
			}
			for _, l := range list {
				l.PID, l.Comm = pid, comm
				also(l)
			}
			delete(missing, link)
		}
		if err != nil || len(names) == 0 {
			return
		}
	}
}
