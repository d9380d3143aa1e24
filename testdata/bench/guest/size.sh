#!/bin/sh
# What a recording takes on disk, for `make bench-size`: nginx under wrk, watched by
# all recorders at once, so that they have the same connections. Leaves the files in
# /out. Argument: how long the load lasts.
set -eu
nginx -c /in/nginx.conf
tcpdump -i lo -s 96 -w /out/tcpdump.pcap -B 16384 tcp port 8080 2>/tmp/tcpdump &
until grep -q 'listening on' /tmp/tcpdump; do :; done
pids=$(awk '{ print "-p", $1 }' /tmp/nginx.pid; for p in /proc/[0-9]*; do awk -v parent="$(cat /tmp/nginx.pid)" '$4 == parent { print "-p", $1 }' "$p/stat"; done)
strace -qq -f -e trace=accept4,accept -o /out/strace.txt $pids &
/in/acc record --events accept --force -o /out/accept.acc -- \
	/in/acc record --force -o /out/life.acc -- \
	trace-cmd record -q -e syscalls:sys_enter_accept4 -e syscalls:sys_exit_accept4 -o /out/trace.dat \
	perf record -q -a -e syscalls:sys_enter_accept4 -e syscalls:sys_exit_accept4 -o /out/perf.data \
	sh /in/load.sh 8080 "$1" 16
nginx -c /in/nginx.conf -s quit
kill %1
wait || true
