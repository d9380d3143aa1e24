package capture

// This file finds out whether the process of a listener is stopped or frozen.

import (
	"bytes"
	"os"
	"strconv"

	"github.com/acc-project/acc/capture/looks"
	"github.com/acc-project/acc/format"
)

// findHalted looks, for listeners in whose queues connections wait, for a process that has
// one open and does not run, until it is to give up.
func findHalted(listeners []format.ListenSocket, giveUp func() bool) {
	full := map[string][]*format.ListenSocket{}
	for i := range listeners {
		if l := &listeners[i]; l.Listener != 0 && l.Backlog > 0 {
			link := "socket:[" + strconv.FormatUint(l.Listener, 10) + "]"
			full[link] = append(full[link], l)
		}
	}
	if len(full) == 0 {
		return
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		if len(full) == 0 || giveUp() {
			return
		}
		why := halted("/proc/" + name)
		if why == "" {
			continue
		}
		ownedBy(uint32(pid), "/proc/"+name, full, func(l *format.ListenSocket) { l.Halted = why })
	}
}

// halted says why a process does not run, "" if it does. A stopped one says so in its
// state (proc_pid_stat(5)); a frozen one seems to sleep, in the kernel's freezer.
func halted(proc string) string {
	b, _ := os.ReadFile(proc + "/stat")
	i := bytes.LastIndexByte(b, ')') // a name can hold one
	if i < 0 || len(b) < i+3 {
		return ""
	}
	switch b[i+2] {
	case 'T', 't':
		return format.HaltedStopped
	case 'S', 'D':
		b, _ := os.ReadFile(proc + "/wchan")
		if looks.InFreezer(string(b)) || string(b) == "0" && looks.GroupFrozen(proc) { // 5.10 does not say it
			return format.HaltedFrozen
		}
	}
	return ""
}
