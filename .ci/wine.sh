#!/bin/bash
# Runs the scripts of testdata/script with acc for Windows, under wine. Usage: .ci/wine.sh [SCRIPTS [SKIP]]
# wine is Debian 13's, in a file system of its own, made once in $ACC_VM_CACHE or .vm-cache: Debian 12's lacks functions
# that Go programs call first. Not run: scripts that need sh, ssh-keygen, /dev or files with holes.
set -euo pipefail
only=${1:-.}
skip=${2:-^(endless|heads|hostile-names|sign|sparse)$}
cache=${ACC_VM_CACHE:-$PWD/.vm-cache}
root=$cache/wine-trixie
command -v mmdebstrap >/dev/null || { echo "installing mmdebstrap"
	(apt-get install -y -qq --no-install-recommends mmdebstrap ||
	(apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap)) >/dev/null; }
test -d "$root" || { echo "making a Debian 13 with wine"
	archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$')
	rm -rf "$root.new"
	mmdebstrap --quiet --variant=apt --mode=root --format=directory --aptopt='APT::Install-Recommends "false"' \
		--aptopt='Acquire::Check-Valid-Until "false"' --include=wine,wine64 trixie "$root.new" \
		"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive trixie main"
	mv "$root.new" "$root"; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/cmd"
cp -r cmd/acc "$dir/cmd/"
cp -r testdata docs README.md "$dir/"
export GOOS=windows GOARCH=amd64 CGO_ENABLED=0
go build -trimpath -o "$dir/acc.exe" ./cmd/acc
go test -c -o "$dir/acc.test.exe" ./cmd/acc
cat >"$dir/run" <<'R'
export PATH=/usr/bin:/bin HOME=/tmp/wine WINEPREFIX=/tmp/wine WINEDEBUG=-all LC_ALL=C.UTF-8
mkdir -p /tmp/wine
wineboot -i >/dev/null 2>&1
cd /src/cmd/acc
wine --version
wine /src/acc.exe version
wine /src/acc.exe analyze --brief 'Z:\src\testdata\captures\v1.acc' || test $? -eq 4
wine /src/acc.test.exe -test.short -test.v -test.run "^TestScript\$/$1" -test.skip "TestScript/$2"
code=$?
wineserver -k
exit $code
R
# Mounts in a namespace of their own end with it; so do wine's processes.
unshare --mount --pid --fork --kill-child bash -euc '
	mkdir -p "$1/src" && mount --bind "$2" "$1/src"
	mount -t proc proc "$1/proc" && mount -t tmpfs tmp "$1/tmp" && mount --bind /dev "$1/dev"
	exec chroot "$1" /bin/bash /src/run "$3" "$4"' - "$root" "$dir" "$only" "$skip" >"$dir/log" 2>&1 || code=$?
grep -aE '^wine|^acc |^ +--- |^PASS|^FAIL' "$dir/log" || true
test "${code:-0}" -eq 0 || { grep -a -B20 'FAIL: .*txtar' "$dir/log" || cat "$dir/log"; exit 1; }
