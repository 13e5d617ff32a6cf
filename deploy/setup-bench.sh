#!/usr/bin/env bash
# Installs what the benchmark of stores compares with: the AWS command line, below target/bench, and rclone.
set -euo pipefail
cd "$(dirname "$0")/.."

awscli_version=1.44.0
bench=$PWD/target/bench

if ! "$bench/bin/pip" show awscli >/dev/null 2>&1; then
    python3 -m venv "$bench" || { echo "setup: python3 -m venv does not work: install the package python3-venv" >&2; exit 1; }
    "$bench/bin/pip" install --quiet "awscli>=$awscli_version"
fi
command -v rclone >/dev/null && exit
if [ "$(id -u)" = 0 ]; then
    apt-get install -y -qq --no-install-recommends rclone >/dev/null
else
    sudo apt-get install -y -qq --no-install-recommends rclone >/dev/null
fi
