#!/usr/bin/env bash
# The crates depend on one another in one direction: orchestrator-cli → s3-store → backup-core. One TLS provider. Rooms within a
# crate import downwards only. No file is longer than can be read at once.
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() { # CRATE FORBIDDEN…
    local crate=$1 forbidden
    shift
    for forbidden in "$@"; do
        if cargo tree --locked --quiet --package "$crate" --edges normal --prefix none | grep -q "^$forbidden v"; then
            echo "dependency: $crate must not depend on $forbidden" >&2
            exit 1
        fi
    done
}

refuse backup-core orchestrator-cli s3-store fixtures clap indicatif ring
refuse s3-store orchestrator-cli fixtures ring
refuse orchestrator-cli fixtures ring
python3 deploy/check-rooms.py
long=$(git ls-files -z '*.rs' | xargs -0 wc -l | awk '$1 > 400 && $2 != "total"')
if [ -n "$long" ]; then
    printf 'more than 400 lines:\n%s\n' "$long" >&2
    exit 1
fi
