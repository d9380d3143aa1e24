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
	closed  bool // the programs' maps may be gone
}

// watchCgroups begins to look for selected cgroups that are made anew: when a directory is made beside one. nil: none
// are selected.
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
	var renewed []Cgroup
	for i := range r.cgroups {
		c := &r.cgroups[i]
		id, err := cgroupID(r.root, c.Path)
		if err != nil || id == c.ID || r.closed {
			continue
		}
		selected := r.a.collection.Maps["cgroups"]
		_ = selected.Delete(c.ID) // else a unit that crashes all the time would fill the map; nobody is in that cgroup
		if selected.Update(id, uint8(1), ebpf.UpdateAny) == nil {
			c.ID = id
			renewed = append(renewed, *c)
		}
	}
	if len(renewed) > 0 {
		anew := r.selection // the sockets of others are known, and would take the place of listeners
		anew.Cgroups = renewed
		sockets, _ := r.a.selectedSockets(&anew)
		for inode := range sockets {
			_ = r.a.collection.Maps["chosen"].Update(inode, uint8(1), ebpf.UpdateAny)
		}
	}
	return slices.Clone(r.cgroups)
}

// close ends it: the programs' maps are not used any more. A nil one, too.
func (r *renewer) close() {
	if r == nil {
		return
	}
	if r.changes != nil {
		r.changes.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
