package capture

// This file finds the processes that have connections and listeners open at the end.

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

// maxHolders is how many processes that have a socket open are named.
const maxHolders = 4

// heldSocket is where to note who has a socket open.
type heldSocket struct {
	holders *[]format.Holder
	more    *uint32
	known   *bool
}

// findHolders notes which processes have each accepted connection open, and each listener with
// connections in its queue, until it is to give up: who accepted a connection may have handed it over, or share
// it with a child, and a listener may be left to one that never accepts.
func findHolders(shot *format.Snapshot, giveUp func() bool) {
	open := map[string]heldSocket{}
	link := func(inode uint64) string { return "socket:[" + strconv.FormatUint(inode, 10) + "]" }
	for i := range shot.Connections {
		if c := &shot.Connections[i]; c.Inode != 0 {
			open[link(c.Inode)] = heldSocket{&c.Holders, &c.MoreHolders, &c.HoldersKnown}
		}
	}
	for i := range shot.Listeners {
		if l := &shot.Listeners[i]; l.Listener != 0 && l.Backlog > 0 {
			open[link(l.Listener)] = heldSocket{&l.Holders, &l.MoreHolders, &l.HoldersKnown}
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
			*c.known = true
		}
	}
}

// heldBy notes a process as holder of what it has open. False says that not all of its
// descriptors could be looked at.
func heldBy(pid uint32, proc string, open map[string]heldSocket, giveUp func() bool) bool {
	fds, err := os.Open(proc + "/fd")
	if err != nil {
		return ended(err)
	}
	defer fds.Close()
	held := map[string]bool{} // once each
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
			c, ok := open[link]
			if !ok || held[link] {
				continue
			}
			held[link] = true
			if comm == "" {
				b, _ := os.ReadFile(proc + "/comm")
				comm = strings.TrimSuffix(string(b), "\n")
			}
			if len(*c.holders) < maxHolders {
				*c.holders = append(*c.holders, format.Holder{PID: pid, Comm: comm})
			} else {
				*c.more++
			}
		}
	}
}

// ended reports whether an error says that a process is not there any more.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
