package capture

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/acc-project/acc/format"
)

// maxHolders is how many processes that have a connection open are named.
const maxHolders = 4

// findHolders notes which processes have each accepted connection open, until it is to
// give up: who accepted it may have handed it over, or share it with a child.
func findHolders(connections []format.Connection, giveUp func() bool) {
	open := map[string]*format.Connection{}
	for i := range connections {
		if c := &connections[i]; c.Inode != 0 {
			open["socket:["+strconv.FormatUint(c.Inode, 10)+"]"] = c
		}
	}
	if len(open) == 0 {
		return
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	all := err == nil
	for _, name := range names {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		if giveUp() {
			return
		}
		all = heldBy(uint32(pid), "/proc/"+name, open, giveUp) && all
	}
	if all {
		for _, c := range open {
			c.HoldersKnown = true
		}
	}
}

// heldBy notes a process as holder of what it has open. False says that not all of its
// descriptors could be looked at.
func heldBy(pid uint32, proc string, open map[string]*format.Connection, giveUp func() bool) bool {
	fds, err := os.Open(proc + "/fd")
	if err != nil {
		return ended(err)
	}
	defer fds.Close()
	held := map[*format.Connection]bool{} // once each
	comm := ""
	for {
		names, err := fds.Readdirnames(1024)
		if len(names) == 0 {
			return errors.Is(err, io.EOF) || ended(err)
		}
		if giveUp() {
			return false
		}
		for _, fd := range names {
			link, _ := os.Readlink(proc + "/fd/" + fd)
			c := open[link]
			if c == nil || held[c] {
				continue
			}
			held[c] = true
			if comm == "" {
				b, _ := os.ReadFile(proc + "/comm")
				comm = strings.TrimSuffix(string(b), "\n")
			}
			if len(c.Holders) < maxHolders {
				c.Holders = append(c.Holders, format.Holder{PID: pid, Comm: comm})
			} else {
				c.MoreHolders++
			}
		}
	}
}

// ended reports whether an error says that a process is not there any more.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
