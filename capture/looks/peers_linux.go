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
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

const (
	maxPeers    = 16       // told of, the longest silent ones
	maxSockets  = 1 << 14  // of a process
	maxDump     = 16 << 20 // bytes of answers
	dumpTimeout = time.Second
)

// What linux/sock_diag.h and linux/inet_diag.h define and is needed here.
const (
	sockDiagByFamily = 20
	diagRequest      = 16 + 56 // struct nlmsghdr, struct inet_diag_req_v2
	diagMessage      = 72      // struct inet_diag_msg
	diagInfo         = 2       // INET_DIAG_INFO: struct tcp_info
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
	fd, err := diagSocket(pid)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(dumpTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, err
	}
	var list []format.SilentPeer
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		err := dump(fd, family, func(m []byte) {
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
	for m = m[diagMessage:]; len(m) >= 4; {
		size := int(binary.NativeEndian.Uint16(m))
		if size < 4 || size > len(m) {
			return p, false
		}
		if binary.NativeEndian.Uint16(m[2:]) == diagInfo {
			var info unix.TCPInfo
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)), m[4:size])
			sent := time.Duration(info.Last_data_sent) * time.Millisecond
			p.WaitingNS = int64(sent)
			return p, info.Last_data_recv > info.Last_data_sent && sent >= silentFor && info.Bytes_acked > 1
		}
		m = m[min((size+3)&^3, len(m)):]
	}
	return p, false
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

// diagSocket opens a socket that asks about those in the network namespace of a process.
func diagSocket(pid uint32) (int, error) {
	open := func() (int, error) {
		return unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return -1, err
	}
	defer ns.Close()
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return -1, err
	}
	if its, err := ns.Stat(); err == nil && os.SameFile(its, own) {
		return open()
	}
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() { // on a thread that ends with it, since it remains in that namespace
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{-1, fmt.Errorf("enter its network namespace: %w", err)}
			return
		}
		fd, err := open()
		done <- result{fd, err}
	}()
	r := <-done
	return r.fd, r.err
}

// dump asks for the established connections of a family, and calls f with each struct inet_diag_msg.
func dump(fd int, family byte, f func(m []byte)) error {
	req := make([]byte, diagRequest)
	order := binary.NativeEndian
	order.PutUint32(req, diagRequest)
	order.PutUint16(req[4:], sockDiagByFamily)
	order.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	req[16], req[17], req[18] = family, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	order.PutUint32(req[20:], 1<<1) // TCP_ESTABLISHED
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask for connections: %w", err)
	}
	buf := make([]byte, 64<<10)
	for read := 0; read < maxDump; {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("list connections: %w", err)
		}
		read += n
		for b := buf[:n]; len(b) >= 16; {
			size := int(order.Uint32(b))
			if size < 16 || size > len(b) {
				return nil
			}
			switch order.Uint16(b[4:]) {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return nil
			}
			if size >= 16+diagMessage {
				f(b[16:size])
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
	return nil
}
