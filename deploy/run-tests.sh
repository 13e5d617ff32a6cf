#!/usr/bin/env bash
# Runs all tests, or those of a filter of nextest, and says which took longest. The program must be built.
set -euo pipefail
cd "$(dirname "$0")/.."
status=0
cargo nextest run --workspace --locked ${1:+--filterset "$1"} || status=$?
echo "The slowest tests, in seconds:"
grep -o '<testcase name="[^"]*"[^>]* time="[^"]*"' "${CARGO_TARGET_DIR:-target}/nextest/default/tests.xml" |
    sed 's/<testcase name="\([^"]*\)".* time="\([^"]*\)"/\2 \1/' | sort --general-numeric-sort --reverse | sed -n 1,10p
exit "$status"
