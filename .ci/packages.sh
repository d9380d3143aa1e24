#!/bin/bash
# Reads, installs, runs, removes and purges the packages of a release, by programs that
# did not make them. Usage: .ci/packages.sh DIR
set -euo pipefail
dir=$1
command -v rpm bsdtar lintian mandoc >/dev/null || { echo "installing rpm libarchive-tools lintian mandoc"
	(apt-get install -y -qq --no-install-recommends rpm libarchive-tools lintian mandoc ||
	(apt-get update -qq && apt-get install -y -qq --no-install-recommends rpm libarchive-tools lintian mandoc)) >/dev/null; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

deb=$(ls "$dir"/acc_*_amd64.deb)
dpkg-deb -c "$deb"
dpkg-deb -f "$deb"
lintian --suppress-tags initial-upload-closes-no-bugs --fail-on error "$deb"
mkdir -p "$root"/var/lib/dpkg/{info,updates,triggers}
touch "$root"/var/lib/dpkg/status
on_root() { dpkg --root="$root" --force-not-root --force-script-chrootless --log=/dev/null "$@" >/dev/null; }
on_root -i "$deb"
"$root"/usr/bin/acc version
"$root"/usr/bin/acc analyze --brief "$root"/usr/share/doc/acc/examples/demo.acc
"$root"/usr/bin/acc analyze testdata/captures/v1.acc >/dev/null || test $? -eq 4 # it does not fit: it was made by hand
for page in "$root"/usr/share/man/man*/*.gz; do gzip -dc "$page" | mandoc -T lint -W style; done
# shellcheck source=/dev/null
(. "$root"/usr/share/bash-completion/completions/acc && type __start_acc >/dev/null)
on_root -i "$deb" # again, as an upgrade does
on_root -r acc
test ! -e "$root"/usr/bin/acc
on_root -P acc 2>/dev/null || true
left=$(find "$root" -type f -not -path "$root/var/lib/dpkg/*")
test -z "$left" || { echo "left behind: $left"; exit 1; }

package=$(ls "$dir"/acc-*.x86_64.rpm)
rpm -qpi "$package"
rpm -qpl "$package"
rpm -K --nosignature "$package"
mkdir "$root/rpm"
bsdtar -xf "$package" -C "$root/rpm"
"$root"/rpm/usr/bin/acc version
(cd "$dir" && sha256sum -c --quiet SHA256SUMS)
echo "packages: deb and rpm are well"
