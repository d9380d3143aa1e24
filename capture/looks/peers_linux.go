package looks

// This file finds servers that a process has asked, and that have not answered.

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/capture/sockdiag"
	"github.com/acc-project/acc/format"
)

const (
	maxPeers    = 16      // told of, the longest silent ones
	maxSockets  = 1 << 14 // of a process
	dumpTimeout = time.Second
)

// findPeers looks at the connections of the processes, and notes those that wait for an answer.
func (w *watch) findPeers(nowNS int64) {
	pids := map[uint32]bool{}
	var peers []format.SilentPeer
	for _, t := range w.threads {
		if t.ended || pids[t.PID] {
			continue
		}
		pids[t.PID] = true
		list, err := silentPeers(t.PID, w.port)
		if err != nil {
			w.can("connections of " + t.Comm + ": " + err.Error())
		}
		peers = append(peers, list...)
	}
	for _, p := range peers {
		p.AtNS = nowNS
		same := func(q format.SilentPeer) bool {
			return q.PID == p.PID && q.RAddr == p.RAddr && q.RPort == p.RPort
		}
		if i := slices.IndexFunc(w.Peers, same); i < 0 {
			w.Peers = append(w.Peers, p)
		} else if p.WaitingNS > w.Peers[i].WaitingNS {
			w.Peers[i] = p
		}
	}
	slices.SortStableFunc(w.Peers, func(p, q format.SilentPeer) int { return cmp.Compare(q.WaitingNS, p.WaitingNS) })
	w.Peers = w.Peers[:min(len(w.Peers), maxPeers)]
}

// silentPeers are the TCP connections of a process, but those of its listener's clients, that were sent something
// and have sent nothing since.
func silentPeers(pid uint32, port uint16) ([]format.SilentPeer, error) {
	own := socketsOf(pid)
	if len(own) == 0 {
		return nil, nil
	}
	fd, err := socketIn(pid)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(dumpTimeout)
	late := func() bool { return time.Now().After(deadline) }
	var list []format.SilentPeer
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		err := sockdiag.Dump(fd, family, 1<<1, true, late, func(m []byte) { // TCP_ESTABLISHED
			if own[binary.NativeEndian.Uint32(m[68:])] && binary.BigEndian.Uint16(m[4:]) != port {
				if p, ok := silent(m); ok {
					p.PID = pid
					list = append(list, p)
				}
			}
		})
		if err != nil {
			return list, err
		}
	}
	return list, nil
}

// silent reads a struct inet_diag_msg and its attributes.
func silent(m []byte) (p format.SilentPeer, ok bool) {
	addr, ok := netip.AddrFromSlice(m[24:40])
	if m[0] == unix.AF_INET {
		addr, ok = netip.AddrFromSlice(m[24:28])
	}
	if !ok {
		return p, false
	}
	p.RAddr, p.RPort = addr.Unmap().String(), binary.BigEndian.Uint16(m[6:])
	info, ok := sockdiag.Info(m)
	sent := time.Duration(info.Last_data_sent) * time.Millisecond
	p.WaitingNS = int64(sent)
	// Of one that was asked right after it was made, both times can be the same.
	unanswered := info.Last_data_recv > info.Last_data_sent ||
		info.Last_data_recv == info.Last_data_sent && info.Bytes_received == 0
	return p, ok && unanswered && sent >= silentFor && info.Bytes_acked > 1
}

// socketsOf are the inode numbers of a process's sockets.
func socketsOf(pid uint32) map[uint32]bool {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxSockets)
	own := map[uint32]bool{}
	for _, name := range names {
		link, _ := os.Readlink(dir.Name() + "/" + name)
		if s, ok := strings.CutPrefix(link, "socket:["); ok {
			if n, err := strconv.ParseUint(strings.TrimSuffix(s, "]"), 10, 32); err == nil {
				own[uint32(n)] = true
			}
		}
	}
	return own
}

// socketIn opens a socket that asks about those in the network namespace of a process.
func socketIn(pid uint32) (fd int, err error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return -1, err
	}
	defer ns.Close()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return -1, err
	}
	defer own.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and it ends with the goroutine: it may remain in that namespace
		fd, err = sockdiag.Open(ns, own)
	}()
	<-done
	if err != nil && fd >= 0 {
		unix.Close(fd)
	}
	return fd, err
}
