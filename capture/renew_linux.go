//go:build amd64 || arm64

package capture

// This file selects cgroups again that are made anew at a selected path, as that of a unit that is started again.

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A renewer knows the selected cgroups.
type renewer struct {
	a         *attached
	selection Selection
	root      string   // where the hierarchy is mounted
	changes   *os.File // inotify(7) of the directories above them, nil: it can't be had

	mu      sync.Mutex
	cgroups []Cgroup
}

// watchCgroups begins to look for selected cgroups that are made anew: when a directory is made beside one. nil: none are
// selected.
func (a *attached) watchCgroups(s *Selection) *renewer {
	if len(s.Cgroups) == 0 {
		return nil
	}
	r := &renewer{a: a, selection: *s, root: cgroupRoot(), cgroups: slices.Clone(s.Cgroups)}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return r
	}
	for _, c := range s.Cgroups {
		above := filepath.Dir(filepath.Join(r.root, c.Path))
		_, _ = unix.InotifyAddWatch(fd, above, unix.IN_CREATE|unix.IN_ONLYDIR) // else it is found by look once a second
	}
	r.changes = os.NewFile(uintptr(fd), "inotify")
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := r.changes.Read(buf); err != nil {
				return // it is closed
			}
			r.look()
			time.Sleep(settleTime) // who makes directories in a loop has acc look no more often
		}
	}()
	return r
}

// look tells the programs of those that were made anew, and of what is listened at in them by now. It gives the cgroups
// that are selected now.
func (r *renewer) look() []Cgroup {
	r.mu.Lock()
	defer r.mu.Unlock()
	renewed := false
	for i := range r.cgroups {
		c := &r.cgroups[i]
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(r.root, c.Path), &st); err != nil || st.Ino == c.ID {
			continue
		}
		if r.a.collection.Maps["cgroups"].Update(st.Ino, uint8(1), ebpf.UpdateAny) == nil {
			c.ID, renewed = st.Ino, true
		}
	}
	now := slices.Clone(r.cgroups)
	if !renewed {
		return now
	}
	sockets, _ := r.a.selectedSockets(&r.selection)
	for inode := range sockets {
		_ = r.a.collection.Maps["chosen"].Update(inode, uint8(1), ebpf.UpdateAny)
	}
	return now
}

// close ends it; a nil one, too.
func (r *renewer) close() {
	if r != nil && r.changes != nil {
		r.changes.Close()
	}
}
