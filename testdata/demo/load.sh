#!/bin/sh
# Loads the HTTP server on a port of 127.0.0.1 for a time with so many clients, and
# ends when no handshake is going on and its accept queue is empty: then every
# connection that the kernel counted has been accepted. Arguments: port, time, clients.
set -eu
wrk -t1 "-c$3" "-d$2" "http://127.0.0.1:$1/" | grep requests
hex=$(printf ':%04X' "$1")
until awk -v port="$hex" 'index($2, port) && ($4 == "03" || $4 == "0A" && substr($5, 10) != "00000000") { exit 1 }' /proc/net/tcp; do :; done
