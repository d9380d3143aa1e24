package looks

// This file copies the stacks of threads that sleep, and reads where the files of a process are mapped.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/acc-project/acc/capture/stacks"
)

const (
	copySize    = 16 << 10 // of a stack
	maxMaps     = 4 << 20  // bytes of /proc/PID/maps
	maxMappings = 1 << 14  // for execution
)

// canUnwind is false where no stack is copied.
const canUnwind = runtime.GOARCH == "amd64"

// stackCopy is a copy of the stack of a thread, whose frames are found later.
type stackCopy struct {
	pid   uint32
	regs  stacks.Registers
	stack []byte
	// the functions are wanted, not the places in them: many samples make few stacks
	functions bool
	num       atomic.Int32 // number of the stack; 0: not found yet, -1: it can't be
}

// copyStack copies the stack of a thread that sleeps where c says, nil if it does not any more.
func (t *thread) copyStack(w *watch, d doing) *stackCopy {
	if d.pc == 0 || w.stacks == nil {
		return nil
	}
	c := &stackCopy{pid: t.PID, regs: stacks.Sleeping(d.pc, d.sp)}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", t.PID))
	if err != nil {
		if !gone(err) {
			w.can("stacks: " + reason(err))
		}
		return nil
	}
	defer mem.Close()
	b := make([]byte, copySize)
	n, err := mem.ReadAt(b, int64(d.sp)) // less at the end of the stack
	if n == 0 {
		if err != nil && err != io.EOF && !gone(err) {
			w.can("stacks: " + reason(err))
		}
		return nil
	}
	c.stack = b[:n]
	if again := t.files.inCall(t.buf); again.pc != d.pc || again.sp != d.sp {
		return nil
	}
	if !w.stacks.find(c) {
		w.can("stacks of some rows: there were too many at once")
		return nil
	}
	return c
}

// mapped is a file that is mapped in a process.
type mapped struct {
	path  string
	inode uint64
}

// mapsOf reads where a process has mapped files for execution.
func mapsOf(pid uint32) (maps stacks.Maps, files []mapped, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxMaps))
	lines.Buffer(make([]byte, 8<<10), 8<<10)
	numbers := map[mapped]int{}
	for lines.Scan() && len(maps) < maxMappings {
		m, file, ok := parseMapping(lines.Text())
		if !ok {
			continue
		}
		num, known := numbers[file]
		if !known {
			num = len(files)
			numbers[file] = num
			files = append(files, file)
		}
		m.Num = num
		maps = append(maps, m)
	}
	return maps, files, lines.Err()
}

// parseMapping reads a line of /proc/PID/maps; not ok: it is no file that is mapped for execution.
func parseMapping(line string) (m stacks.Mapping, file mapped, ok bool) {
	words := strings.SplitN(line, " ", 6)
	if len(words) < 6 || len(words[1]) != 4 || words[1][2] != 'x' {
		return m, file, false
	}
	from, to, _ := strings.Cut(words[0], "-")
	var errs [4]error
	m.From, errs[0] = strconv.ParseUint(from, 16, 64)
	m.To, errs[1] = strconv.ParseUint(to, 16, 64)
	m.Off, errs[2] = strconv.ParseUint(words[2], 16, 64)
	file.inode, errs[3] = strconv.ParseUint(words[4], 10, 64)
	file.path = strings.TrimLeft(words[5], " ")
	for _, err := range errs {
		if err != nil {
			return m, file, false
		}
	}
	return m, file, m.From < m.To && file.inode != 0 && strings.HasPrefix(file.path, "/")
}
