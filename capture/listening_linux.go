package capture

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// sockets puts into shot what listens, in every network namespace that a process is
// in, and, if asked to, the connections of those of TCP, with their bytes if the
// recording ends. It stops at the deadline.
func sockets(shot *format.Snapshot, connections bool, giveUp func() bool) {
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // which ends with the goroutine, wherever it is then
		defer close(done)
		listSockets(shot, connections, giveUp)
	}()
	<-done
}

func listSockets(shot *format.Snapshot, connections bool, giveUp func() bool) {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return
	}
	defer own.Close()
	shot.ListenersKnown, shot.ConnectionsKnown = true, connections
	all := eachNamespace(giveUp, func(proc string, ns uint32) {
		tables := []table{{"unix", unixListener}}
		if !askNamespace(shot, proc, ns, own, connections, giveUp) {
			// Without the limit of their queues.
			shot.ConnectionsKnown = false
			tables = append(tables, table{"tcp", tcpListener}, table{"tcp6", tcpListener})
		}
		for _, table := range tables {
			more, ok := readTable(proc+"/net/"+table.name, table.parse, giveUp)
			shot.ListenersKnown = shot.ListenersKnown && ok
			for i := range more {
				more[i].NetNS = ns
			}
			shot.Listeners = append(shot.Listeners, more...)
		}
	})
	shot.ListenersKnown, shot.ConnectionsKnown = shot.ListenersKnown && all, shot.ConnectionsKnown && all
}

type table struct {
	name  string
	parse func(fields []string) (format.ListenSocket, bool)
}

// askNamespace adds the TCP sockets of a process's network namespace, false if the
// kernel did not give them.
func askNamespace(shot *format.Snapshot, proc string, ns uint32, own *os.File, connections bool, giveUp func() bool) bool {
	f, err := os.Open(proc + "/ns/net")
	if err != nil {
		return false
	}
	defer f.Close()
	fd, err := diagSocket(f, own)
	if fd >= 0 {
		defer unix.Close(fd)
	}
	if err != nil {
		return false
	}
	d := diagDump{netns: ns, ports: map[uint16]bool{}, room: maxConnections - len(shot.Connections), count: shot.Final}
	if d.ask(fd, connections, giveUp) != nil {
		return false
	}
	shot.Listeners = append(shot.Listeners, d.listeners...)
	shot.Connections = append(shot.Connections, d.connections...)
	shot.ConnectionsKnown = shot.ConnectionsKnown && !d.full
	return true
}

// readTable reads the listening sockets from a table of /proc/net. Those of TCP
// stand before all others, which may be millions.
func readTable(path string, parse func([]string) (format.ListenSocket, bool), giveUp func() bool) (list []format.ListenSocket, complete bool) {
	f, err := os.Open(path)
	if err != nil {
		return nil, os.IsNotExist(err) // no IPv6, or the process has ended
	}
	defer f.Close()
	var rest []byte
	buf := make([]byte, 64<<10)
	for line := 0; ; {
		n, err := f.Read(buf)
		rest = append(rest, buf[:n]...)
		for {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			s, ok := parse(strings.Fields(string(rest[:i])))
			rest = rest[i+1:]
			if line++; line == 1 {
				continue // the head
			}
			if ok {
				list = append(list, s)
			} else if !strings.HasSuffix(path, "unix") {
				return list, true
			}
		}
		if err != nil || n == 0 {
			return list, true
		}
		if giveUp() {
			return list, false
		}
	}
}

// tcpListener reads a line of /proc/net/tcp or tcp6
// (Documentation/networking/proc_net_tcp.rst): of a listening socket rx_queue is
// the length of the accept queue.
func tcpListener(f []string) (s format.ListenSocket, ok bool) {
	if len(f) < 10 || f[3] != "0A" {
		return s, false
	}
	addr, port, ok1 := strings.Cut(f[1], ":")
	_, queue, ok2 := strings.Cut(f[4], ":")
	p, err1 := strconv.ParseUint(port, 16, 16)
	q, err2 := strconv.ParseUint(queue, 16, 32)
	inode, err3 := strconv.ParseUint(f[9], 10, 64)
	b, err4 := hex.DecodeString(addr)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || err3 != nil || err4 != nil || len(b) != 4 && len(b) != 16 {
		return s, false
	}
	for i := 0; i < len(b); i += 4 { // words as this machine stores them
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	ip, _ := netip.AddrFromSlice(b)
	s = format.ListenSocket{Listener: inode, Family: format.FamilyIPv6, Proto: 6, LAddr: ip.String(), LPort: uint16(p), Backlog: uint32(q)}
	if len(b) == 4 {
		s.Family = format.FamilyIPv4
	}
	return s, true
}

// unixListener reads a line of /proc/net/unix. Flag 10000 is __SO_ACCEPTCON.
func unixListener(f []string) (s format.ListenSocket, ok bool) {
	if len(f) < 7 || f[3] != "00010000" {
		return s, false
	}
	inode, err := strconv.ParseUint(f[6], 10, 64)
	s = format.ListenSocket{Listener: inode, Family: format.FamilyUnix}
	if len(f) > 7 {
		s.LName = strings.Join(f[7:], " ")
	}
	return s, err == nil
}
