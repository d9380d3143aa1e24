package capture

// This file finds out whether tasks preempt each other inside of probes.

import (
	"bytes"
	"io/fs"
	"strings"
)

// preempts reports whether the kernel may preempt a program of ours. It then
// does not run the same fentry or fexit program for a task that preempted
// another one inside it (prog->active in kernel/bpf/trampoline.c). kprobe programs
// run with preemption off.
func preempts(root fs.FS, release, build string) bool {
	// The model in force, if it can be chosen: "none voluntary (full) lazy".
	if b, err := fs.ReadFile(root, "sys/kernel/debug/sched/preempt"); err == nil {
		return bytes.Contains(b, []byte("(full)")) || bytes.Contains(b, []byte("(lazy)"))
	}
	if b, err := fs.ReadFile(root, "proc/cmdline"); err == nil && strings.Contains(build, "PREEMPT_DYNAMIC") {
		for word := range strings.FieldsSeq(string(b)) {
			if model, ok := strings.CutPrefix(word, "preempt="); ok {
				return model == "full" || model == "lazy"
			}
		}
		return !olderThan(release, 7, 0) // before, distributions default to voluntary; now there is only full and lazy
	}
	return strings.Contains(build, " PREEMPT ") || strings.Contains(build, "PREEMPT_RT") ||
		strings.Contains(build, "PREEMPT_LAZY")
}
