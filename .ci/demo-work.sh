#!/bin/sh
# The part of the demo that runs where it records. Arguments: acc, goserver,
# nginx.conf, directory for the capture.
set -eu
acc=$1 goserver=$2 conf=$3 out=$4
load=$(dirname "$conf")/load.sh
opens() { awk '/^Tcp:/ { if (!n) { for (i = 1; i <= NF; i++) if ($i == "PassiveOpens") n = i } else print $n }' "$1"; }

nginx -c "$conf"
"$goserver" 127.0.0.1:9090 >/tmp/goserver.count &
server=$!
sleep 1
# Counted inside: acc tries its probes, before it records, with connections of its own.
"$acc" record -o "$out/demo.acc" --force -- sh -c "cat /proc/net/snmp >/tmp/snmp.before; \
	sh $load 8080 8s 16 & sh $load 9090 8s 4; wait; cat /proc/net/snmp >/tmp/snmp.after"
kill $server
wait $server || true
nginx -c "$conf" -s quit 2>/dev/null
echo "demo: the kernel counted $(($(opens /tmp/snmp.after) - $(opens /tmp/snmp.before))) accepted TCP connections (PassiveOpens), the Go server $(cat /tmp/goserver.count) of them"
