#!/usr/bin/env bash
# Installs the readers of bundles that `make test-readers` runs: the system's packages, and those of Python below target/readers.
set -euo pipefail
cd "$(dirname "$0")/.."

ratarmount_version=1.3.0
requests_version=2.34.2
urllib3_version=2.8.0
readers=$PWD/target/readers
packages=(7zip busybox cpio curl default-jdk-headless fuse3 libarchive-tools libio-compress-perl nodejs perl php-cli pigz ruby wget zstd)
# What lies in PATH already came from elsewhere.
declare -A programs=([default-jdk-headless]=javac [nodejs]=node [libio-compress-perl]=perl)

missing=()
for package in "${packages[@]}"; do
    program=${programs[$package]:-}
    [ -n "$program" ] && command -v "$program" >/dev/null && continue
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: installing ${missing[*]}"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
wanted="ratarmount $ratarmount_version requests $requests_version urllib3 $urllib3_version"
if [ "$(cat "$readers/installed" 2>/dev/null)" != "$wanted" ]; then
    python3 -m venv "$readers/venv" || { echo "setup: python3 -m venv does not work: install the package python3-venv" >&2; exit 1; }
    "$readers/venv/bin/pip" install --quiet --disable-pip-version-check \
        "ratarmount==$ratarmount_version" "requests==$requests_version" "urllib3==$urllib3_version"
    echo "$wanted" >"$readers/installed"
fi
