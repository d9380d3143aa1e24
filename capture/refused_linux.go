//go:build amd64 || arm64

package capture

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// This file counts connects that a full queue of a listener in the UNIX domain refused.

const noUnixRefused = "connects that a full queue of a UNIX listener refuses (EAGAIN) are not counted"

// unixRefusals is the probe that counts them. It has no events.
var unixRefusals = probe{program: "fexit_unix_connect", symbol: "unix_stream_connect", how: "fexit", index: -1,
	without: noUnixRefused}

// unixRefused reads how many were refused, by what was connected to.
func (a *attached) unixRefused() (list []format.UnixRefused, err error) {
	var to bpf.AccUnixTarget
	var n uint64
	all := a.collection.Maps["refused"].Iterate()
	for all.Next(&to, &n) {
		list = append(list, format.UnixRefused{NetNS: to.Netns, Name: targetName(&to), Count: n})
	}
	if err := all.Err(); err != nil {
		return list, fmt.Errorf("read the count of refused connects: %w", err)
	}
	slices.SortFunc(list, func(a, b format.UnixRefused) int {
		return cmp.Or(cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

// targetName is what a client connected to, as the name of a listener is written.
func targetName(to *bpf.AccUnixTarget) string {
	if to.Path[0] != 0 {
		return text(to.Path[:])
	}
	return boundName(to.Path[:min(int(to.Len), len(to.Path))])
}

// forgetUnixRefused leaves out those before the recording.
func (a *attached) forgetUnixRefused() error {
	m := a.collection.Maps["refused"]
	var to bpf.AccUnixTarget
	for range m.MaxEntries() {
		if err := m.NextKey(nil, &to); errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("forget the count of refused connects: %w", err)
		}
		if err := m.Delete(to); err != nil {
			return fmt.Errorf("forget the count of refused connects: %w", err)
		}
	}
	return nil // more come meanwhile
}

// testUnixRefused has a connect refused by a listener of its own, and looks whether it was counted.
func (a *attached) testUnixRefused() error {
	if !a.has(noUnixRefused) {
		return nil
	}
	fds := [3]int{}
	var errs []error
	for i := range fds {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open a UNIX socket: %w", err)
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	// An empty name has the kernel choose one.
	errs = append(errs, unix.Bind(fds[0], &unix.SockaddrUnix{}), unix.Listen(fds[0], 0))
	at, err := unix.Getsockname(fds[0])
	if err := errors.Join(append(errs, err)...); err != nil {
		a.proved(noUnixRefused, false)
		return nil
	}
	_ = unix.Connect(fds[1], at)
	_ = unix.Connect(fds[2], at)
	list, err := a.unixRefused()
	a.proved(noUnixRefused, slices.ContainsFunc(list,
		func(x format.UnixRefused) bool { return x.Name == at.(*unix.SockaddrUnix).Name }))
	if errors.Is(err, ebpf.ErrIterationAborted) {
		return nil
	}
	return err
}
