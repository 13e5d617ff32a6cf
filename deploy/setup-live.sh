#!/usr/bin/env bash
# Installs the S3 servers that `make test-live` talks to, below target/live: Garage, and one that enforces Object Lock.
# Garage is compiled, which takes some ten minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

garage_version=2.5.0
ministack_version=1.5.33
live=$PWD/target/live

if ! "$live/bin/garage" --version 2>/dev/null | grep -q "$garage_version"; then
    cargo install garage --version "$garage_version" --locked --root "$live"
fi
if ! "$live/venv/bin/pip" show ministack 2>/dev/null | grep -qx "Version: $ministack_version"; then
    python3 -m venv "$live/venv" || { echo "setup: python3 -m venv does not work: install the package python3-venv" >&2; exit 1; }
    "$live/venv/bin/pip" install --quiet "ministack==$ministack_version"
fi
