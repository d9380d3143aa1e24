package looks

// This file finds the frames of stacks that were copied, and names them. It reads files of the watched processes,
// which may be on slow disks, or made to harm: it has a goroutine of its own, and is bounded in what it reads and keeps.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/capture/stacks"
	"github.com/acc-project/acc/format"
)

const (
	maxCopies   = 64        // that wait to be looked at, 1 MiB
	maxStacks   = 4096      // of a recording
	maxImages   = 512       // of a recording
	maxOpen     = 64        // files at once
	maxKnown    = 4096      // stacks that are known again without unwinding, and named places of a file
	maxRead     = 256 << 20 // bytes for one stack
	findFor     = 2 * time.Second
	maxPrograms = 1024        // whose goroutines are remembered
	mapsAreGood = time.Second // for so long what is mapped is not read again
	maxFuncName = 256
)

// finder finds frames.
type finder struct {
	work chan func() // what is to be done, in order
	done chan struct{}
	wake func() // has the looker look: there is more to look at

	procs map[uint32]*process
	files map[mapped]*image
	known map[known]found
	nums  map[string]uint32 // of stacks, by their frames

	mu     sync.Mutex
	images []format.Image // by number, from 1
	stacks []format.Stack
	cannot map[uint32][]string           // by process
	gos    map[uint32]*format.Goroutines // by process, of the last look; what is pointed to stays as it is
	isGo   map[uint32]bool               // processes that are Go programs
}

// process is what is mapped in a process.
type process struct {
	maps  stacks.Maps
	files []mapped
	at    time.Time
}

// image is a file that is mapped.
type image struct {
	num   uint32 // 0: there are too many
	file  *stacks.File
	in    *bounded
	names map[uint64]string
}

// known is where a thread slept; the same again, with the same return addresses, is the same stack.
type known struct {
	pid       uint32
	pc, sp    uint64
	functions bool
}

type found struct {
	num     int32
	slots   []int
	returns []uint64
}

func newFinder(wake func()) *finder {
	f := &finder{work: make(chan func(), maxCopies), done: make(chan struct{}), wake: wake, procs: map[uint32]*process{},
		files: map[mapped]*image{}, known: map[known]found{}, nums: map[string]uint32{}, cannot: map[uint32][]string{},
		gos: map[uint32]*format.Goroutines{}, isGo: map[uint32]bool{}}
	go f.run()
	return f
}

// do has something done; false: too much waits for that.
func (f *finder) do(what func()) bool {
	select {
	case f.work <- what:
		return true
	default:
		return false
	}
}

// find has the frames of a copy found; false: too many wait for that.
func (f *finder) find(c *stackCopy) bool {
	return f.do(func() {
		num := f.number(c)
		c.stack = nil
		c.num.Store(num)
	})
}

// close waits until all is found, but not for longer than the timeout: a file may be on a disk that does not answer.
func (f *finder) close(timeout time.Duration) {
	close(f.work)
	select {
	case <-f.done:
	case <-time.After(timeout):
	}
}

func (f *finder) run() {
	defer close(f.done)
	for do := range f.work {
		do()
		f.forget()
	}
	f.closeFiles()
}

// forget closes files when there are many, and forgets what is mapped in processes.
func (f *finder) forget() {
	if len(f.files) > maxOpen {
		f.closeFiles()
	}
	for pid, p := range f.procs {
		if time.Since(p.at) > mapsAreGood {
			delete(f.procs, pid)
		}
	}
	if len(f.known) > maxKnown {
		clear(f.known)
	}
}

func (f *finder) closeFiles() {
	for _, i := range f.files {
		if i.in != nil {
			i.in.file.Close()
		}
	}
	clear(f.files)
}

// can notes what can't be found of a process.
func (f *finder) can(pid uint32, not string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.cannot[pid]
	not = not[:min(len(not), 2*maxPath)] // it may have a path in it
	if !slices.Contains(list, not) && len(list) < 8 && len(f.cannot) < maxStacks {
		f.cannot[pid] = append(list, not)
	}
}

// number gives the number of a stack, -1 if none can be given.
func (f *finder) number(c *stackCopy) int32 {
	key := known{c.pid, c.regs.PC, c.regs.R[7], c.functions}
	if was, ok := f.known[key]; ok && was.same(c.stack) {
		return was.num
	}
	p, fresh := f.process(c.pid)
	if p == nil {
		return -1
	}
	b := newBudget(findFor)
	s := stacks.Unwind(p.maps, f.opener(c.pid, p, b), c.regs, c.stack)
	if len(s.Frames) == 0 && !fresh { // it may have mapped more
		delete(f.procs, c.pid)
		if p, _ = f.process(c.pid); p == nil {
			return -1
		}
		s = stacks.Unwind(p.maps, f.opener(c.pid, p, b), c.regs, c.stack)
	}
	if b.spent() {
		f.can(c.pid, "stacks: reading the files of "+p.files[0].path+" took too long")
		return -1
	}
	if c.functions {
		for i := range s.Frames {
			fr := &s.Frames[i]
			fr.Addr = f.files[p.files[fr.Num]].file.Function(fr.Addr)
		}
	}
	num := f.name(c.pid, p, s)
	if num > 0 {
		was := found{num: num}
		for _, fr := range s.Frames {
			if fr.Slot >= 0 {
				was.slots = append(was.slots, fr.Slot)
				was.returns = append(was.returns, binary.LittleEndian.Uint64(c.stack[fr.Slot:]))
			}
		}
		f.known[key] = was
	}
	return num
}

// budget bounds what is read of files for one thing.
type budget struct {
	until time.Time
	bytes int64
}

func newBudget(within time.Duration) *budget { return &budget{time.Now().Add(within), maxRead} }

func (b *budget) spent() bool { return b.bytes <= 0 || time.Now().After(b.until) }

// opener opens the files that are mapped in a process.
func (f *finder) opener(pid uint32, p *process, b *budget) func(int) *stacks.File {
	return func(num int) *stacks.File {
		if i := f.open(pid, p.files[num], b); i.in != nil {
			i.in.budget = b
			return i.file
		}
		return nil
	}
}

// process gives what is mapped in a process, nil if it is gone. fresh: it was read just now.
func (f *finder) process(pid uint32) (p *process, fresh bool) {
	if p = f.procs[pid]; p != nil && time.Since(p.at) <= mapsAreGood {
		return p, false
	}
	maps, files, err := mapsOf(pid)
	if err != nil && !gone(err) {
		f.can(pid, "stacks: "+reason(err))
	}
	if len(maps) == 0 {
		return nil, true
	}
	p = &process{maps: maps, files: files, at: time.Now()}
	f.procs[pid] = p
	return p, true
}

// same reports whether a stack has the same return addresses.
func (w *found) same(stack []byte) bool {
	for i, slot := range w.slots {
		if slot+8 > len(stack) || binary.LittleEndian.Uint64(stack[slot:]) != w.returns[i] {
			return false
		}
	}
	return len(w.slots) > 0
}

// name names the frames of a stack, and numbers it.
func (f *finder) name(pid uint32, p *process, s stacks.Stack) int32 {
	if len(s.Frames) == 0 {
		return -1
	}
	ask := map[*image][]uint64{}
	for _, fr := range s.Frames {
		i := f.files[p.files[fr.Num]]
		if i.num == 0 {
			f.can(pid, "stacks: there are too many files")
			return -1
		}
		if _, ok := i.names[fr.Addr]; !ok && !slices.Contains(ask[i], fr.Addr) {
			ask[i] = append(ask[i], fr.Addr)
		}
	}
	for i, addrs := range ask {
		if len(i.names) > maxKnown {
			continue
		}
		for k, name := range i.file.Names(addrs) {
			i.names[addrs[k]] = name[:min(len(name), maxFuncName)]
		}
	}
	out := format.Stack{Whole: s.Whole}
	key := fmt.Sprint(s.Whole)
	for _, fr := range s.Frames {
		i := f.files[p.files[fr.Num]]
		out.Frames = append(out.Frames, format.StackFrame{Image: i.num, Offset: fr.Addr, Func: i.names[fr.Addr]})
		key += fmt.Sprintf(" %d:%x", i.num, fr.Addr)
	}
	if num := f.nums[key]; num > 0 {
		return int32(num)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.stacks) >= maxStacks {
		return -1
	}
	out.Num = uint32(len(f.stacks) + 1)
	f.nums[key] = out.Num
	f.stacks = append(f.stacks, out)
	return int32(out.Num)
}

// open gives a file that is mapped in a process; one that can't be read has no in.
func (f *finder) open(pid uint32, m mapped, b *budget) *image {
	if i := f.files[m]; i != nil {
		return i
	}
	i := &image{names: map[uint64]string{}}
	f.files[m] = i
	file, err := openMapped(pid, m)
	if err != nil {
		f.can(pid, "stacks: "+m.path+": "+reason(err))
		return i
	}
	i.in = &bounded{file, b}
	if i.file, err = stacks.Open(i.in); err != nil {
		f.can(pid, "stacks: "+m.path+": "+err.Error())
		file.Close()
		i.in = nil
		return i
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x := format.Image{Path: m.path, BuildID: i.file.BuildID}
	if len(x.Path) > maxPath {
		x.Path = x.Path[:maxPath]
	}
	at := slices.IndexFunc(f.images, func(y format.Image) bool { return y.Path == x.Path && y.BuildID == x.BuildID })
	if at < 0 && len(f.images) < maxImages {
		at = len(f.images)
		x.Num = uint32(at + 1)
		f.images = append(f.images, x)
	}
	i.num = uint32(at + 1)
	return i
}

var errReplaced = errors.New("another file is there now")

// openMapped opens a file that is mapped in a process, if it is still there: the program itself in any case, others by
// their path. What is opened is a file on a disk, and the very one: a path can lead anywhere.
func openMapped(pid uint32, m mapped) (*os.File, error) {
	path, deleted := strings.CutSuffix(m.path, " (deleted)")
	err := errReplaced
	for _, name := range []string{fmt.Sprintf("/proc/%d/root%s", pid, path), fmt.Sprintf("/proc/%d/exe", pid)} {
		if deleted && strings.HasSuffix(name, path) {
			continue
		}
		f, openErr := openInode(name, m.inode)
		if openErr == nil {
			return f, nil
		}
		if openErr != errReplaced {
			err = openErr
		}
	}
	return nil, err
}

// openInode opens a regular file if it has an inode number. Nothing else is opened: opening a device can do things.
func openInode(path string, inode uint64) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Ino != inode || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errReplaced
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// bounded reads a file within a budget.
type bounded struct {
	file   *os.File
	budget *budget
}

// ReadAt implements io.ReaderAt.
func (b *bounded) ReadAt(p []byte, off int64) (int, error) {
	if b.budget.bytes -= int64(len(p)); b.budget.spent() {
		return 0, os.ErrDeadlineExceeded
	}
	return b.file.ReadAt(p, off)
}

// stackBook is a finder, and what of its stacks is recorded.
type stackBook struct {
	*finder
	images, stacks map[uint32]bool // that stand in the file
}

func newStackBook(wake func()) *stackBook {
	return &stackBook{newFinder(wake), map[uint32]bool{}, map[uint32]bool{}}
}

// again has all recorded once more: there is another file.
func (s *stackBook) again() {
	clear(s.images)
	clear(s.stacks)
}

// record writes a stack and the images that it refers to, if they don't stand in the file yet.
func (s *stackBook) record(num uint32, write func(any)) {
	if s.stacks[num] {
		return
	}
	s.stacks[num] = true
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.finder.stacks[num-1]
	for _, f := range x.Frames {
		if !s.images[f.Image] {
			s.images[f.Image] = true
			write(s.finder.images[f.Image-1])
		}
	}
	write(x)
}

// cannotFind gives what could not be found of the processes of threads.
func (s *stackBook) cannotFind(threads []*thread) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cannot) == 0 {
		return nil
	}
	for _, t := range threads {
		list = append(list, s.cannot[t.PID]...)
	}
	return list
}
