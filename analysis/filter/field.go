// Package filter is the language of -f: conditions on events, attempts and connections.
//
// An expression is parsed by github.com/expr-lang/expr, whose operators and precedence it has. What
// its words mean is acc's: fields come from the same tables as the keys of JSON, and have types
// (durations, sizes, addresses, times, words) that are checked before anything is read. It is compiled into Go
// functions, not for expr's machine: a filter runs once for each of millions of events, and makes no garbage.
//
// What is not known of an event is nil. A comparison with it is false, and != is the opposite of ==.
package filter

import (
	"net/netip"

	"github.com/acc-project/acc/format"
)

// Kind is the type of a field.
type Kind int

// The kinds of field.
const (
	Flag     Kind = iota // yes or no: a condition by itself
	Number               // 443
	Duration             // 10ms; nanoseconds
	Size                 // 1MiB; bytes
	Time                 // "14:03:20"; nanoseconds of the boot clock
	Text                 // "nginx"
	Address              // "10.0.0.1"; in "10.0.0.0/8"
	List                 // of words: "armed" in mark
)

// kindWords says what a kind is, and how one writes it.
var kindWords = [...]struct{ a, name, like string }{
	Flag:     {"a condition", "condition", "by itself, or with not"},
	Number:   {"a number", "number", "443"},
	Duration: {"a duration", "duration", "10ms"},
	Size:     {"a size", "size", "1MiB"},
	Time:     {"a time", "time", `"14:03:20", "2026-11-24T14:03:20Z", or 90s after the start`},
	Text:     {"text", "text", `"nginx"`},
	Address:  {"an address", "address", `"10.0.0.1", or in "10.0.0.0/8"`},
	List:     {"a list of words", "list of words", `"word" in the list`},
}

// String is the kind's name.
func (k Kind) String() string { return kindWords[k].name }

// Like is how a value of the kind is written.
func (k Kind) Like() string { return kindWords[k].like }

// Field is one property of a T that an expression can ask for. Of the functions it has the
// one of its Kind: Yes of Flag, Text of Text, Addr of Address, List of List, else Int. Each
// says whether the value is known.
type Field[T any] struct {
	Name  string
	Kind  Kind
	Words []string // all that a Text or an element of a List can be; nil: anything
	Doc   string   // what it means

	Yes  func(*T, *Env) (yes, known bool)
	Int  func(*T, *Env) (n int64, known bool)
	Text func(*T, *Env) (s string, known bool)
	Addr func(*T, *Env) (a netip.Addr, known bool)
	List func(*T, *Env) (words []string)
}

// Env is what a value alone does not tell. What is nil is not known.
type Env struct {
	Clocks *format.Clocks // which place boot times
	// Process gives the record of a process by its number, nil if there is none
	Process func(num uint32) *format.Process
	// Findings gives the ids of the findings of a listener
	Findings func(netns uint32, listener uint64) []string
}

// ProcessFields are the fields of the process that did something, by its number.
func ProcessFields[T any](of func(*T, *Env) *format.Process) []Field[T] {
	text := func(name string, get func(*format.Process) string, doc string) Field[T] {
		return Field[T]{Name: name, Kind: Text, Doc: doc, Text: func(v *T, env *Env) (string, bool) {
			p := of(v, env)
			if p == nil {
				return "", false
			}
			s := get(p)
			return s, s != ""
		}}
	}
	return []Field[T]{
		text(
			"exe",
			func(p *format.Process) string { return p.Exe },
			"path of the executable of the process that accepted",
		),
		text("cgroup_path", func(p *format.Process) string { return p.Cgroup }, "path of its cgroup"),
		text("container", func(p *format.Process) string { return p.Container }, "id of its container"),
		text("unit", func(p *format.Process) string { return p.Unit }, "its systemd unit"),
		text("pod", func(p *format.Process) string { return p.Pod }, "its Kubernetes pod, as namespace/name"),
		text("pod_uid", func(p *format.Process) string { return p.PodUID }, "id of that pod"),
	}
}

// ProcessNames are the names of ProcessFields.
func ProcessNames() (names []string) {
	for _, f := range ProcessFields[struct{}](nil) {
		names = append(names, f.Name)
	}
	return names
}

// ByNumber gives a process of an environment.
func ByNumber(env *Env, num uint32) *format.Process {
	if num == 0 || env.Process == nil {
		return nil
	}
	return env.Process(num)
}

// FindingsField is the list of findings of a listener.
func FindingsField[T any](words []string, of func(*T) (netns uint32, listener uint64)) Field[T] {
	return Field[T]{Name: FindingsName, Kind: List, Words: words,
		Doc: "ids of the findings of its listener; the capture is read twice for it",
		List: func(v *T, env *Env) []string {
			netns, listener := of(v)
			if listener == 0 || env.Findings == nil {
				return nil
			}
			return env.Findings(netns, listener)
		}}
}

// FindingsName is the field for which Env.Findings is needed.
const FindingsName = "findings"
