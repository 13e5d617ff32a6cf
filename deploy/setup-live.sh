#!/usr/bin/env bash
# Installs the S3 servers that `make test-live` talks to, below target/live, each at one version: what they do changes.
# Garage and s3s-fs are compiled, which takes some ten minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

live=$PWD/target/live
# Each has a place of its own, for they want other versions of the same libraries.
from_pypi=(ministack==1.5.33 'moto[server]==5.2.5' localbucket==1.2.1 nanio==0.1.7 pys3local==0.2.1 local-s3-server==0.2.2)
from_npm=(s3rver@3.7.1)
from_cargo=("s3s-fs 0.14.1 --features=binary" "garage 2.5.0")

for wanted in "${from_pypi[@]}"; do
    name=${wanted%%[=[]*}
    place=$live/$name
    [ "$(cat "$place/installed" 2>/dev/null)" = "$wanted" ] && continue
    rm -rf "$place"
    python3 -m venv "$place" || { echo "setup: python3 -m venv does not work: install the package python3-venv" >&2; exit 1; }
    "$place/bin/pip" install --quiet "$wanted"
    echo "$wanted" > "$place/installed"
done
for wanted in "${from_npm[@]}"; do
    place=$live/${wanted%%@*}
    [ "$(cat "$place/installed" 2>/dev/null)" = "$wanted" ] && continue
    command -v npm > /dev/null || { echo "setup: npm is missing: install the package npm" >&2; exit 1; }
    rm -rf "$place"
    npm install --silent --no-fund --no-audit --prefix "$place" "$wanted"
    echo "$wanted" > "$place/installed"
done
for wanted in "${from_cargo[@]}"; do
    read -r name version options <<< "$wanted"
    [ "$(cat "$live/$name/installed" 2>/dev/null)" = "$wanted" ] && continue
    # shellcheck disable=SC2086 # they are several words
    cargo install "$name" --version "$version" $options --locked --root "$live/$name"
    echo "$wanted" > "$live/$name/installed"
done
