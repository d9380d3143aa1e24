#!/bin/sh
# The main job, for `make demo`: real servers under load, recorded, and what acc
# says of it. Runs on this host if root can trace its kernel, else in a virtual
# machine. Leaves demo.acc in the current directory. Arguments: acc, goserver, vm.
set -eu
acc=$1 goserver=$2 vm=$3
root=$(cd "$(dirname "$0")/.." && pwd)
rm -f demo.acc

if [ "$(id -u)" = 0 ] && "$acc" record -d 0.2 -o demo.acc 2>/dev/null; then
	rm -f demo.acc
	echo "demo: this kernel can be traced; recording on this host"
	for p in nginx:nginx-light wrk:wrk; do
		command -v "${p%:*}" >/dev/null || { echo "demo: installing ${p#*:}"; apt-get install -y -qq --no-install-recommends "${p#*:}" >/dev/null; }
	done
	sh "$root/.ci/demo-work.sh" "$acc" "$goserver" "$root/testdata/demo/nginx.conf" .
else
	rm -f demo.acc
	echo "demo: this host can't be traced; booting Linux 6.1 in a virtual machine (emulated, so it is slow)"
	"$vm" -kernel 6.1 -in "$acc:/in/acc" -in "$goserver:/in/goserver" -in "$root/testdata/demo/nginx.conf" -in "$root/testdata/demo/load.sh" \
		-in "$root/.ci/demo-work.sh" -bin nginx,wrk -modules tcp_diag -out . -- /bin/sh /in/demo-work.sh /in/acc /in/goserver /in/nginx.conf /out
fi

echo
echo "\$ acc info demo.acc"
"$acc" info demo.acc
echo
echo "\$ acc analyze demo.acc"
"$acc" analyze demo.acc
