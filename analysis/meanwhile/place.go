package meanwhile

// This file writes where in its program a thread was.

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/acc-project/acc/format"
)

// maxStacks bounds the stacks and images that are kept.
const maxStacks = 1 << 14

// Names gives functions of an image by places in it, "" those that it does not know.
type Names func(image *format.Image, offsets []uint64) []string

// Frame is a place in a file of a program.
type Frame struct {
	Image   string `json:"image"`    // path of the file, in the process's mount namespace
	BuildID string `json:"build_id"` // its GNU build id in hexadecimal, "" not known
	// address in the file's own numbering, which addr2line takes; of a caller, that of the call's last byte
	Offset uint64 `json:"offset"`
	Func   string `json:"func"` // function whose symbol covers it, "" not known
}

// stackOf gives the frames of a stack, innermost first, nil if they are not known.
func (c *Collector) stackOf(num uint32) []Frame {
	s := c.stacks[num]
	if s == nil {
		return nil
	}
	list := make([]Frame, 0, len(s.Frames))
	for _, f := range s.Frames {
		x := c.images[f.Image]
		if x == nil {
			x = &format.Image{}
		}
		list = append(list, Frame{x.Path, x.BuildID, f.Offset, f.Func})
	}
	return list
}

// whole reports whether the frames of a stack go up to where the thread began.
func (c *Collector) whole(num uint32) bool { return c.stacks[num] != nil && c.stacks[num].Whole }

// name has the frames that have no name named.
func (c *Collector) name() {
	if c.Names == nil {
		return
	}
	type place struct {
		image  uint32
		offset uint64
	}
	ask, names := map[uint32][]uint64{}, map[place]string{}
	for _, s := range c.stacks {
		for _, f := range s.Frames {
			at := place{f.Image, f.Offset}
			if _, asked := names[at]; f.Func == "" && !asked {
				ask[f.Image], names[at] = append(ask[f.Image], f.Offset), ""
			}
		}
	}
	for num, offsets := range ask {
		x, ok := c.images[num]
		if !ok {
			continue
		}
		for i, name := range c.Names(x, offsets) {
			names[place{num, offsets[i]}] = name
		}
	}
	for _, s := range c.stacks {
		for k := range s.Frames {
			if f := &s.Frames[k]; f.Func == "" {
				f.Func = names[place{f.Image, f.Offset}]
			}
		}
	}
}

// maxCallers is how many functions are named.
const maxCallers = 6

// languages are what runs programs of other languages: where it does, its own functions say nothing of the program.
var languages = []struct{ function, words string }{
	{"_PyEval_", "Python code"}, {"PyEval_", "Python code"}, {"rb_vm_exec", "Ruby code"}, {"vm_exec", "Ruby code"},
	{"execute_ex", "PHP code"}, {"Perl_runops_", "Perl code"},
}

// InOther reports whether a place names no function of the program: it is in code of another language.
func (p *Where) InOther() bool {
	return slices.ContainsFunc(languages, func(l struct{ function, words string }) bool { return l.words == p.At })
}

// placeOf writes a stack as the functions that called one another, without those of the C library and of Go's runtime
// on both ends: "access_log < handle < main". A function without a name is its file, and the place there.
func placeOf(stack []Frame, whole bool, call string) string {
	for i, f := range stack {
		for _, l := range languages {
			if strings.HasPrefix(f.Func, l.function) {
				stack = trim(stack[:i], call)
				stack = slices.DeleteFunc(slices.Clone(stack), func(g Frame) bool { return g.Image == f.Image })
				return join(append(stack, Frame{Func: l.words}), true)
			}
		}
	}
	return join(trim(stack, call), whole)
}

// join writes functions.
func join(stack []Frame, whole bool) string {
	var words []string
	for _, f := range stack[:min(len(stack), maxCallers)] {
		if f.Func != "" {
			words = append(words, format.Quote(short(f.Func)))
		} else {
			words = append(words, fmt.Sprintf("%s+%#x", format.Quote(path.Base(f.Image)), f.Offset))
		}
	}
	if len(words) > 0 && (len(stack) > maxCallers || !whole) {
		words = append(words, "…")
	}
	return strings.Join(words, " < ")
}

// short is the name of a function of Go without the path of its package.
func short(name string) string {
	own := name
	if i := strings.IndexAny(name, "(["); i >= 0 {
		own = name[:i]
	}
	return name[strings.LastIndexByte(own, '/')+1:]
}

// trim leaves out the functions through which any program makes its calls, and those that started the thread.
func trim(stack []Frame, call string) []Frame {
	for len(stack) > 0 && (inLibrary(&stack[0]) || isCall(stack[0].Func, call)) {
		stack = stack[1:]
	}
	// What started the thread is behind the last function of the C library, if that is near the end; in Go also the
	// function that a go statement makes.
	for i := max(len(stack)-3, 0); i < len(stack); i++ {
		if f := &stack[i]; inLibrary(f) || slices.Contains(starters, f.Func) || strings.Contains(f.Func, ".gowrap") {
			return stack[:i]
		}
	}
	return stack
}

// starters start a thread, where they are linked into the program.
var starters = []string{"_start", "__libc_start_main", "__libc_start_call_main", "__libc_start_main_impl", "start_thread",
	"clone", "__clone", "clone3", "__clone3", "runtime.main", "runtime.goexit", "runtime.mcall", "runtime.mstart"}

// inLibrary reports whether a function is of the C library, or of Go's runtime and what stands between it and system
// calls.
func inLibrary(f *Frame) bool {
	base := path.Base(f.Image)
	for _, p := range []string{"libc.so", "libc-", "libpthread", "ld-linux", "ld-musl", "ld-2", "libc.musl"} {
		if strings.HasPrefix(base, p) {
			return true
		}
	}
	for _, p := range []string{"runtime.", "syscall.", "internal/", "runtime/", "golang.org/x/sys/unix.", "sync.",
		"net.(*netFD).", "time.Sleep"} {
		if strings.HasPrefix(f.Func, p) {
			return true
		}
	}
	return false
}

// isCall reports whether a function makes a system call for its caller, as those do that have its name.
func isCall(function, call string) bool {
	f := strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(function, "_"), "libc_"), "_")
	if f == "" || call == "" {
		return false
	}
	f = strings.TrimSuffix(strings.TrimSuffix(f, "64"), "_cancel")
	return strings.HasPrefix(call, f) || strings.HasSuffix(call, f)
}
