package looks

// This file finds out what a system call is about: the file, pipe or socket of a descriptor, the descriptors that a
// thread waits for, who holds a lock.

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// maxPath is how long a target's name may be.
const maxPath = 256

// target is what a descriptor is, by kind and name.
type target struct{ kind, name string }

// targetOf says what a descriptor of a process is. port: of the listener, by which its clients are known.
func targetOf(pid uint32, fd uint64, port uint16) target {
	path := fmt.Sprintf("/proc/%d/fd/%d", pid, fd)
	link, err := os.Readlink(path)
	if err != nil {
		return target{}
	}
	if inode, ok := strings.CutPrefix(link, "socket:["); ok {
		return socketOf(pid, strings.TrimSuffix(inode, "]"), port)
	}
	t := target{format.TargetOther, link}
	var st unix.Stat_t
	if strings.HasPrefix(link, "pipe:[") {
		t.kind = format.TargetPipe
	} else if strings.HasPrefix(link, "/") && unix.Stat(path, &st) == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFIFO:
			t.kind = format.TargetPipe
		case unix.S_IFREG, unix.S_IFBLK, unix.S_IFDIR:
			t.kind = format.TargetFile
		}
	}
	if len(t.name) > maxPath {
		t.name = t.name[:maxPath]
	}
	return t
}

// maxSocketTargets is how many sockets are known again without looking for them in a table.
const maxSocketTargets = 256

// targetOf says what a descriptor of a process is, that leads to link. Where a socket leads to is looked up once: a table
// of sockets can be long.
func (w *watch) targetOf(pid uint32, fd uint64, link string) target {
	if to, ok := w.sockets[link]; ok {
		return to
	}
	to := targetOf(pid, fd, w.port)
	if strings.HasPrefix(link, "socket:[") && to.name != "" && len(w.sockets) < maxSocketTargets {
		if w.sockets == nil {
			w.sockets = map[string]target{}
		}
		w.sockets[link] = to
	}
	return to
}

// maxTable is how much of a table of sockets is read.
const maxTable = 8 << 20

// socketOf says where a TCP socket of a process's network namespace leads to, by its inode number.
func socketOf(pid uint32, inode string, port uint16) target {
	for _, table := range []string{"tcp", "tcp6"} {
		local, peer, ok := addrsIn(fmt.Sprintf("/proc/%d/net/%s", pid, table), inode)
		switch {
		case !ok:
		case peer.Port() == 0: // it listens
			return target{format.TargetSocket, ""}
		case local.Port() == port:
			return target{format.TargetClient, peer.String()}
		default:
			return target{format.TargetSocket, peer.String()}
		}
	}
	if name, ok := unixName(pid, inode); ok {
		return target{format.TargetUnix, name}
	}
	return target{format.TargetSocket, ""}
}

// addrsIn finds a socket in a table like /proc/net/tcp.
func addrsIn(path, inode string) (local, peer netip.AddrPort, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return local, peer, false
	}
	defer f.Close()
	read := 0
	for lines := bufio.NewScanner(f); lines.Scan() && read < maxTable; {
		read += len(lines.Bytes())
		words := strings.Fields(lines.Text())
		if len(words) > 9 && words[9] == inode {
			local, _ = parseAddr(words[1])
			peer, ok = parseAddr(words[2])
			return local, peer, ok
		}
	}
	return local, peer, false
}

// parseAddr reads an address as those tables have it: words of four bytes in the order of the machine, and the port.
func parseAddr(s string) (netip.AddrPort, bool) {
	addr, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(addr)
	n, portErr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || portErr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.LittleEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// unixName gives a UNIX socket's own name, if it is in the table; that of a client is empty.
func unixName(pid uint32, inode string) (string, bool) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/unix", pid))
	if err != nil {
		return "", false
	}
	defer f.Close()
	read := 0
	for lines := bufio.NewScanner(f); lines.Scan() && read < maxTable; {
		read += len(lines.Bytes())
		words := strings.Fields(lines.Text())
		if len(words) >= 7 && words[6] == inode {
			if len(words) > 7 {
				return words[7], true
			}
			return "", true
		}
	}
	return "", false
}

// amongEpoll says whether a listener is in an epoll set, by the set's fdinfo.
func amongEpoll(pid uint32, fd, inode uint64) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil || !strings.Contains(string(b), "flags:") {
		return ""
	}
	return armedIn(string(b), inode)
}

// armedIn says whether a listener is in the epoll set of which this is the fdinfo, and asked for.
func armedIn(fdinfo string, inode uint64) string {
	want := "ino:" + strconv.FormatUint(inode, 16)
	found := format.AmongAbsent
	for line := range strings.Lines(fdinfo) {
		words := strings.Fields(line) // tfd: 5 events: 19 data: 5 pos:0 ino:1c5 sdev:8
		if len(words) < 4 || words[0] != "tfd:" || words[2] != "events:" {
			continue
		}
		has := false
		for _, w := range words[4:] {
			has = has || w == want
		}
		if !has {
			continue
		}
		if events, err := strconv.ParseUint(words[3], 16, 64); err == nil && events&unix.EPOLLIN != 0 {
			return format.AmongArmed
		}
		found = format.AmongDisarmed
	}
	return found
}

// maxPolled is how many descriptors of a poll are looked at.
const maxPolled = 1024

// amongPolled says whether a listener is among the descriptors of a poll, in the memory of a process.
func amongPolled(pid uint32, at, n, inode uint64) string {
	if n > maxPolled {
		return ""
	}
	list := make([]byte, 8*n)
	if !memory(pid, at, list) {
		return ""
	}
	want := "socket:[" + strconv.FormatUint(inode, 10) + "]"
	for ; len(list) > 0; list = list[8:] {
		fd := int32(binary.LittleEndian.Uint32(list))
		events := binary.LittleEndian.Uint16(list[4:])
		if fd < 0 || events&unix.POLLIN == 0 {
			continue
		}
		if link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); link == want {
			return format.AmongArmed
		}
	}
	return format.AmongAbsent
}

// memory reads from the memory of a process.
func memory(pid uint32, at uint64, into []byte) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false
	}
	defer f.Close()
	n, _ := f.ReadAt(into, int64(at))
	return n == len(into)
}

// lockOwner is the thread that holds the mutex of the GNU C library at an address, 0 if it is none: struct
// __pthread_mutex_s begins with the lock, 2 if somebody waits for it, a count, and the owner.
func lockOwner(pid, self uint32, at uint64) uint32 {
	var b [12]byte
	if at%4 != 0 || !memory(pid, at, b[:]) || binary.LittleEndian.Uint32(b[:]) != 2 {
		return 0
	}
	owner := binary.LittleEndian.Uint32(b[8:])
	if owner == 0 {
		return 0
	}
	if owner = taskOf(pid, owner); owner == self {
		return 0
	}
	return owner
}

// maxTasks is how many threads of a process are looked through.
const maxTasks = 1 << 12

// taskOf is the number in /proc of a thread of a process that has another one in the pid namespace that it is in, 0 if
// there is none. Programs in containers know only the latter.
func taskOf(pid, own uint32) uint32 {
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	if len(numbersOf(fmt.Sprintf("/proc/%d", pid))) < 2 {
		if _, err := os.Stat(fmt.Sprintf("%s/%d", tasks, own)); err != nil {
			return 0
		}
		return own
	}
	n := 0
	for tid := range numbersIn(tasks) {
		list := numbersOf(fmt.Sprintf("%s/%d", tasks, tid))
		if len(list) > 1 && list[len(list)-1] == strconv.FormatUint(uint64(own), 10) {
			return tid
		}
		if n++; n >= maxTasks {
			break
		}
	}
	return 0
}

// numbersOf are those that a thread has, by its directory in /proc: in the pid namespace of /proc first, in its own
// last.
func numbersOf(dir string) []string {
	b, _ := os.ReadFile(dir + "/status")
	_, rest, _ := strings.Cut(string(b), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}
