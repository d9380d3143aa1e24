#!/bin/bash
# Runs the scripts of testdata/script with acc for Windows, under wine. Usage: .ci/wine.sh
# Debian 12's wine 8.0 has no bcryptprimitives.dll, without which no Go program starts: a function of
# it is built here. Not run: scripts that need sh, ssh-keygen, /dev or sparse files, or name a path within a folder, and repair, which finds
# that wine 8.0 can't delete a file relative to a folder (os.Root).
set -euo pipefail
command -v wine x86_64-w64-mingw32-gcc >/dev/null || { echo "installing wine gcc-mingw-w64-x86-64"
	(apt-get install -y -qq --no-install-recommends wine wine64 gcc-mingw-w64-x86-64 ||
	(apt-get update -qq && apt-get install -y -qq --no-install-recommends wine wine64 gcc-mingw-w64-x86-64)) >/dev/null; }
dir=$(mktemp -d)
trap 'wineserver -k || true; rm -rf "$dir"' EXIT
export WINEPREFIX=$dir/prefix WINEDEBUG=-all WINEARCH=win64
wineboot -i >/dev/null 2>&1
cat >"$dir/prng.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, (ULONG)n); }
C
x86_64-w64-mingw32-gcc -shared -O -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" "$dir/prng.c" -ladvapi32
export GOOS=windows GOARCH=amd64 CGO_ENABLED=0
go build -trimpath -o "$dir/acc.exe" ./cmd/acc
go test -c -o "$dir/acc.test.exe" ./cmd/acc
wine "$dir/acc.exe" version
cd cmd/acc
wine "$dir/acc.test.exe" -test.short -test.v -test.run '^TestScript$' \
	-test.skip 'TestScript/^(endless|folder|heads|hostile-names|repair|sign|sparse)$' >"$dir/log" 2>&1 || true # 1, as it can't delete its own program
grep -q '^PASS' "$dir/log" || { cat "$dir/log"; exit 1; }
grep -E '^ +--- |^PASS' "$dir/log"
