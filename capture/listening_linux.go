package capture

// This file lists listeners and connections for snapshots.

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/capture/sockdiag"
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
		if !askNamespace(shot, proc, ns, own, connections, giveUp) {
			readTCP(shot, proc, ns, connections, giveUp)
		}
		shot.NetNS = append(shot.NetNS, ns)
		list, ok := readUNIX(proc+"/net/unix", giveUp)
		shot.ListenersKnown = shot.ListenersKnown && ok
		for i := range list {
			list[i].NetNS = ns
		}
		shot.Listeners = append(shot.Listeners, list...)
	})
	shot.ListenersKnown, shot.ConnectionsKnown = shot.ListenersKnown && all, shot.ConnectionsKnown && all
	if shot.Final { // it is worth a time of its own
		late := time.Now().Add(time.Second)
		findHalted(shot.Listeners, func() bool { return time.Now().After(late) })
	} else {
		findOwners(shot.Listeners, giveUp)
	}
}

// askNamespace adds the TCP sockets of a process's network namespace, false if the
// kernel did not give them.
func askNamespace(shot *format.Snapshot, proc string, ns uint32, own *os.File, connections bool,
	giveUp func() bool) bool {
	f, err := os.Open(proc + "/ns/net")
	if err != nil {
		return false
	}
	defer f.Close()
	fd, err := sockdiag.Open(f, own)
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

// readTCP adds what /proc/net has of TCP where the kernel can't be asked: without the
// limits of queues, and cookies.
func readTCP(shot *format.Snapshot, proc string, ns uint32, connections bool, giveUp func() bool) {
	ports := map[uint16]bool{}
	for _, name := range []string{"tcp", "tcp6"} { // in each, listeners stand before all others, which may be millions
		complete := readTable(proc+"/net/"+name, giveUp, func(f []string) bool {
			if s, ok := tcpListener(f); ok {
				s.NetNS, ports[s.LPort] = ns, true
				shot.Listeners = append(shot.Listeners, s)
				return true
			}
			if c, ok := tcpConnection(f); connections && ok && ports[c.LPort] {
				if len(shot.Connections) >= maxConnections {
					shot.ConnectionsKnown = false
					return false
				}
				c.NetNS = ns
				shot.Connections = append(shot.Connections, c)
			}
			return connections
		})
		shot.ListenersKnown, shot.ConnectionsKnown = shot.ListenersKnown && complete, shot.ConnectionsKnown && complete
	}
}

// readUNIX gives the listeners of a /proc/net/unix.
func readUNIX(path string, giveUp func() bool) (list []format.ListenSocket, complete bool) {
	complete = readTable(path, giveUp, func(f []string) bool {
		if s, ok := unixListener(f); ok {
			list = append(list, s)
		}
		return true
	})
	return list, complete
}

// readTable gives the lines of a table of /proc/net, but its head, to take until
// that wants no more. False says that it gave up.
func readTable(path string, giveUp func() bool, take func(fields []string) bool) (complete bool) {
	f, err := os.Open(path)
	if err != nil {
		return os.IsNotExist(err) // no IPv6, or the process has ended
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
			fields := strings.Fields(string(rest[:i]))
			rest = rest[i+1:]
			if line++; line > 1 && !take(fields) {
				return true
			}
		}
		if err != nil || n == 0 {
			return true
		}
		if giveUp() {
			return false
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
	local, err1 := tcpEnd(f[1])
	_, queue, ok := strings.Cut(f[4], ":")
	q, err2 := strconv.ParseUint(queue, 16, 32)
	inode, err3 := strconv.ParseUint(f[9], 10, 64)
	if !ok || errors.Join(err1, err2, err3) != nil {
		return s, false
	}
	s = format.ListenSocket{Listener: inode, Family: format.FamilyIPv6, Proto: 6, LAddr: local.Addr().String(),
		LPort: local.Port(), Backlog: uint32(q)}
	if local.Addr().Is4() {
		s.Family = format.FamilyIPv4
	}
	return s, true
}

// tcpConnection reads a line of another socket.
func tcpConnection(f []string) (c format.Connection, ok bool) {
	if len(f) < 10 {
		return c, false
	}
	state, err := strconv.ParseUint(f[3], 16, 8)
	local, err1 := tcpEnd(f[1])
	remote, err2 := tcpEnd(f[2])
	inode, err3 := strconv.ParseUint(f[9], 10, 64)
	if errors.Join(err, err1, err2, err3) != nil || state > 31 || liveStates&(1<<state) == 0 {
		return c, false
	}
	return format.Connection{LAddr: local.Addr().String(), LPort: local.Port(), RAddr: remote.Addr().String(),
		RPort: remote.Port(), State: uint8(state), Inode: inode}, true
}

// tcpEnd reads an address and a port.
func tcpEnd(s string) (netip.AddrPort, error) {
	addr, port, _ := strings.Cut(s, ":")
	b, err1 := hex.DecodeString(addr)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err := errors.Join(err1, err2); err != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, fmt.Errorf("read address %q: %w", s, cmp.Or(err, os.ErrInvalid))
	}
	for i := 0; i < len(b); i += 4 { // words as this machine stores them
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	ip, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip, uint16(p)), nil
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
