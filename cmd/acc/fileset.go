package main

// This file has the files of a recording that goes on from one to the next.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

// fileSet makes the files of a recording, and removes the oldest ones.
type fileSet struct {
	folder, prefix string
	files          int               // most files, 0: any number
	total          int64             // most bytes in all of them, 0: any number
	reserve        int64             // bytes that the next file may get
	age            time.Duration     // that files may have, 0: any
	onEnd          func(base string) // told of each file that has ended; nil: nobody is
	errOut         io.Writer
	lost           func(error) // told when a file is not what was written
	now            func() time.Time

	mu     sync.Mutex
	root   *os.Root
	number int
	stamp  string                // of the newest name: names never go back, whatever the clock does
	old    []setFile             // that are no longer written, the oldest first
	open   map[io.Writer]*output // that are written
	ended  map[io.Writer]context.CancelFunc
	gone   int // files that were removed
}

// setFile is a file that is no longer written.
type setFile struct {
	base         string
	size         int64
	began, ended time.Time
}

// newFileSet finds the folder of a recording in several files, and what is there of earlier ones: a file name
// gives the beginning of theirs, a folder has them be called acc-HOST.
func newFileSet(name string, errOut io.Writer) (*fileSet, error) {
	s := &fileSet{errOut: errOut, now: time.Now, open: map[io.Writer]*output{},
		ended: map[io.Writer]context.CancelFunc{}}
	host, _ := os.Hostname()
	s.prefix = "acc-" + host
	if st, err := os.Stat(cmp.Or(name, ".")); err == nil && st.IsDir() {
		s.folder = name
	} else {
		var base string
		if s.folder, base = filepath.Split(name); base != "" {
			s.prefix = strings.TrimSuffix(base, ".acc")
		}
	}
	root, err := os.OpenRoot(cmp.Or(s.folder, "."))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &hinted{fmt.Errorf("create files in %s: %w", s.folder, fs.ErrNotExist),
			"the folder is not there: make it, or name another one"}
	}
	if err != nil {
		return nil, err
	}
	s.root = root
	return s, s.find()
}

// find lists the files of earlier recordings, which count as the oldest ones.
func (s *fileSet) find() error {
	dir, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	list, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	ours := regexp.MustCompile(`^` + regexp.QuoteMeta(s.prefix) + `-(\d{8}T\d{6}Z)-\d{6}\.acc$`)
	for _, e := range list {
		m := ours.FindStringSubmatch(e.Name())
		info, err := e.Info()
		if m == nil || err != nil || !info.Mode().IsRegular() {
			continue
		}
		began, _ := time.Parse(stampLayout, m[1])
		s.old = append(s.old, setFile{e.Name(), info.Size(), began, info.ModTime()})
		s.stamp = max(s.stamp, m[1])
	}
	slices.SortFunc(s.old, func(a, b setFile) int { return cmp.Compare(a.base, b.base) })
	return nil
}

// stampLayout is the time in a file's name.
const stampLayout = "20060102T150405Z"

// next makes the next file, after it has made room for it.
func (s *fileSet) next() (*output, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom()
	for tries := 0; ; tries++ {
		at := s.now().UTC()
		stamp := max(at.Format(stampLayout), s.stamp)
		base := fmt.Sprintf("%s-%s-%06d.acc", s.prefix, stamp, s.number+1)
		root, err := s.root.OpenRoot(".")
		if err != nil {
			return nil, fmt.Errorf("create %s: %w", base, err)
		}
		o := &output{name: filepath.Join(s.folder, base), root: root, base: base, made: at}
		err = o.create()
		if errors.Is(err, fs.ErrExist) && tries < 100 { // of another recording that began in the same second
			root.Close()
			s.number++
			continue
		}
		if err != nil {
			root.Close()
			return nil, fmt.Errorf("create %s: %w", o.name, err)
		}
		s.number, s.stamp = s.number+1, stamp
		s.open[o.file] = o
		if s.lost != nil {
			s.watch(o)
		}
		return o, nil
	}
}

// makeRoom removes the oldest files, so that another one may be written.
func (s *fileSet) makeRoom() {
	sum := s.reserve
	for _, o := range s.open {
		if st, err := o.file.Stat(); err == nil {
			sum += st.Size()
		}
	}
	for _, f := range s.old {
		sum += f.size
	}
	tooOld := func(f setFile) bool { return s.age > 0 && f.began.Before(s.now().Add(-s.age)) }
	for len(s.old) > 0 && (s.files > 0 && len(s.old)+len(s.open) >= s.files || s.total > 0 && sum > s.total ||
		tooOld(s.old[0])) {
		oldest := s.old[0]
		if err := s.remove(oldest.base); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(s.errOut, "acc: can't remove %s: %s\n", format.Quote(oldest.base), format.Quote(err.Error()))
		}
		s.old, sum = s.old[1:], sum-oldest.size
	}
}

// dropOldest removes the oldest file that is no longer written; false: there is none.
func (s *fileSet) dropOldest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.old) == 0 {
		return false
	}
	oldest := s.old[0]
	if err := s.remove(oldest.base); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(s.errOut, "acc: can't remove %s: %s\n", format.Quote(oldest.base), format.Quote(err.Error()))
	}
	s.old = s.old[1:]
	return true
}

// bytes is how much the files have that are no longer written.
func (s *fileSet) bytes() (sum int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.old {
		sum += f.size
	}
	return sum
}

// remove removes a file that no acc writes.
func (s *fileSet) remove(base string) error {
	f, err := s.root.OpenFile(base, os.O_RDONLY|noFollow|noWait, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if lockFile(f) {
		return errWritten
	}
	s.gone++
	return s.root.Remove(base)
}

// end closes a file that is no longer written, or removes one that nothing was written to.
func (s *fileSet) end(w io.Writer, written bool) error {
	base, err := s.closeFile(w, written)
	if written && s.onEnd != nil {
		s.onEnd(base)
	}
	return err
}

func (s *fileSet) closeFile(w io.Writer, written bool) (base string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[w]
	delete(s.open, w)
	if stop := s.ended[w]; stop != nil {
		stop()
		delete(s.ended, w)
	}
	if !written {
		o.discard()
		return o.base, nil
	}
	size := int64(0)
	if st, err := o.file.Stat(); err == nil {
		size = st.Size()
	}
	s.old = append(s.old, setFile{o.base, size, o.made, s.now()})
	return o.base, o.close()
}

// give gives a folder of a dump to the user who called sudo, if one did.
func (s *fileSet) give(folder string) {
	uid, gid := caller()
	if uid == 0 {
		return
	}
	f, err := s.root.Open(folder)
	if err == nil {
		err = f.Chown(uid, gid)
		f.Close()
	}
	if err != nil {
		fmt.Fprintf(s.errOut, "acc: can't give %s to its user: %s\n", format.Quote(folder), format.Quote(err.Error()))
	}
}

// between are the files that have ended and have a part of a time.
func (s *fileSet) between(from, to time.Time) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.old {
		if !f.ended.Before(from) && !f.began.After(to) {
			names = append(names, f.base)
		}
	}
	return names
}

// oldest is when the oldest file began.
func (s *fileSet) oldest() time.Time {
	s.mu.Lock()
	if len(s.old) > 0 {
		defer s.mu.Unlock()
		return s.old[0].began
	}
	s.mu.Unlock()
	return s.began()
}

// began is when the file began that is written.
func (s *fileSet) began() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.current(); o != nil {
		return o.made
	}
	return s.now()
}

// begin says that the recording into the first file begins now: it was made before the probes were loaded.
func (s *fileSet) begin(o *output) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.made = s.now()
}

// current is the file that is written; s.mu is held. Another one may be open already.
func (s *fileSet) current() (oldest *output) {
	for _, o := range s.open {
		if oldest == nil || o.base < oldest.base {
			oldest = o
		}
	}
	return oldest
}

// endCurrent has the recording go on in another file, and waits until the one that is written has ended.
func (s *fileSet) endCurrent(recording *capture.Control) {
	s.mu.Lock()
	o := s.current()
	s.mu.Unlock()
	if o == nil || recording.Rotate() != nil { // the recording ends
		return
	}
	for deadline := s.now().Add(10 * time.Second); s.now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		s.mu.Lock()
		_, open := s.open[o.file]
		s.mu.Unlock()
		if !open {
			return
		}
	}
}

// watchAll has lost called when a file that is written is not what was written: those that are, and all that come.
func (s *fileSet) watchAll(lost func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = lost
	for _, o := range s.open {
		s.watch(o)
	}
}

// watch begins to watch a file until it ends.
func (s *fileSet) watch(o *output) {
	ctx, cancel := context.WithCancel(context.Background())
	s.ended[o.file] = cancel
	o.watch(ctx, s.errOut, s.lost)
}

// last is the output of the last file, which the caller closes; first is that of the first one.
func (s *fileSet) last(w io.Writer, first *output) *output {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stop := range s.ended {
		stop()
	}
	if o := s.open[w]; o != nil {
		return o
	}
	return first
}

// newest is the name of the file that was begun last.
func (s *fileSet) newest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := s.folder
	for _, o := range s.open {
		name = max(name, o.name)
	}
	return name
}
