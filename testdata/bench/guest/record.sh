#!/bin/sh
# What watching accept costs, for `make bench-record`: the loop of testdata/bench/loop
# alone and under each watcher, in a machine whose clock counts instructions. Prints
# lines of a name, instructions a connection, and instructions a getppid.
# Arguments: connections in a round, rounds, calls of getppid.
set -eu
rounds=$1 repeats=$2 calls=$3

# The mean of all rounds but the first.
mean() { awk '/^[0-9]+$/ { if (n++) sum += $1 } END { if (n < 2) exit 1; print int(sum / (n - 1)) }' "$1"; }

watch() { # name, command that runs what follows it
	name=$1
	shift
	connect=- getppid=-
	if "$@" /in/loop connect "$rounds" "$repeats" >/tmp/out 2>/tmp/err; then connect=$(mean /tmp/out); else tail -3 /tmp/err >&2; fi
	if "$@" /in/loop getppid "$calls" 3 >/tmp/out 2>/tmp/err; then getppid=$(mean /tmp/out); fi
	printf 'RECORD\t%s\t%s\t%s\n' "$name" "$connect" "$getppid"
	rm -f /tmp/watched*
}

bpftrace() { # program, loop and its arguments
	program=$1
	shift
	command bpftrace -o /tmp/watched -e "$program" -c "$*"
}

watch nothing env
watch 'acc, accept, fentry' /in/acc record --events accept --probe fentry --force -o /tmp/watched --
watch 'acc, accept, kprobe' /in/acc record --events accept --probe kprobe --force -o /tmp/watched --
watch 'acc, whole life, fentry' /in/acc record --probe fentry --force -o /tmp/watched --
watch 'trace-cmd record' trace-cmd record -q -e syscalls:sys_enter_accept4 -e syscalls:sys_exit_accept4 -o /tmp/watched
watch 'perf record' perf record -q -a -e syscalls:sys_enter_accept4 -e syscalls:sys_exit_accept4 -o /tmp/watched
watch 'bpftrace, counting' bpftrace 'kprobe:__sys_accept4 { @enter = count(); } kretprobe:__sys_accept4 { @return = count(); }'
watch 'bpftrace, printing' bpftrace 'kprobe:__sys_accept4 { @at[tid] = nsecs; } kretprobe:__sys_accept4 { printf("%d %d %d\n", tid, nsecs - @at[tid], retval); delete(@at[tid]); }'
watch 'perf trace' perf trace -q -e accept4 -o /tmp/watched
watch 'strace --seccomp-bpf' strace -f --seccomp-bpf -e trace=accept4 -o /tmp/watched
watch 'strace' strace -f -e trace=accept4 -o /tmp/watched
