#!/bin/sh
# What a recording takes on disk, for `make bench-size`: nginx under wrk, watched by
# all recorders at once, so that they have the same connections. Leaves the files in
# /out. Argument: how long the load lasts.
set -eu
tcpdump -i lo -s 96 -w /out/tcpdump.pcap -B 16384 -Z root tcp port 8080 2>/tmp/tcpdump &
tcpdump=$!
until grep -q 'listening on' /tmp/tcpdump; do kill -0 $tcpdump || { cat /tmp/tcpdump >&2; exit 1; }; sleep 1; done
strace -f --seccomp-bpf -e trace=accept,accept4 -o /out/strace.txt nginx -c /in/nginx.conf &
until grep -q ':1F90 .* 0A ' /proc/net/tcp; do sleep 1; done
/in/acc record --events accept --force -o /out/accept.acc -- \
	/in/acc record --force -o /out/life.acc -- \
	trace-cmd record -q -e syscalls:sys_enter_accept4 -e syscalls:sys_exit_accept4 -o /out/trace.dat \
	perf record -q -a -e syscalls:sys_enter_accept4 -e syscalls:sys_exit_accept4 -o /out/perf.data \
	sh /in/load.sh 8080 "$1" 16
nginx -c /in/nginx.conf -s quit
kill $tcpdump
wait
