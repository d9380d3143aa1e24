#!/bin/bash
# again.sh KERNEL LOG…: runs those tests in virtual machines that failed, according to these logs of go test -v, once more,
# alone. An emulated machine on a busy host can stand still for seconds. Whoever fails twice has failed; so has a run of which
# more than three tests failed, or that did not come to its end.
set -euo pipefail
kernel=$1
shift
echo "what failed, once more:"
awk -f "$(dirname "$0")/failed.awk" "$@"
names=$(sed -nE 's/.*--- FAIL: (TestVM[A-Za-z0-9_]+) \(.*/\1/p' "$@")
if grep -qE '^(\[[0-9]\] )?(panic: |fatal error: )' "$@" || [ -z "$names" ] || [ "$(wc -l <<<"$names")" -gt 3 ]; then
	exit 1
fi
for log; do
	# The tests came to their end, and nothing failed but they.
	grep -qE '^(\[[0-9]\] )?(PASS|FAIL)\s*$' "$log" || exit 1
	if grep -E '\*\*\* .* Error ' "$log" | grep -qv ' Error 1$'; then exit 1; fi
done
echo "again, alone:" $names
make --no-print-directory -o vm-programs test-vm KERNEL="$kernel" TESTS="^($(paste -sd '|' <<<"$names"))\$\$" OUT=.vm-cache/build/again
echo "PASSED ONLY AT THE SECOND TRY:" $names
