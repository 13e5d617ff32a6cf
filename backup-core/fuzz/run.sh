#!/usr/bin/env bash
# Builds all fuzz targets and runs each one, or those that are named, as many at once as there are cores: run.sh SECONDS [TARGET…]. It needs a
# nightly Rust and a C++ compiler, and no cargo-fuzz. What is found lies in artifacts/, what was learned in corpus/; neither is committed.
set -euo pipefail
cd "$(dirname "$0")"
seconds=$1
shift
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(find fuzz_targets -name '*.rs' -exec basename {} .rs \; | sort)
# As cargo-fuzz has it, without a sanitizer: the crate forbids unsafe code.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions"
host=$(rustc --version --verbose | sed -n 's/^host: //p')
cargo +nightly build --release --locked --target "$host"
programs=${CARGO_TARGET_DIR:-target}/$host/release
"$programs/seeds" -runs=0 2>/dev/null

run() { # TARGET
    local target=$1 log found=0
    mkdir -p "corpus/$target" "artifacts/$target"
    log=$(mktemp)
    "$programs/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 \
        -print_final_stats=1 >"$log" 2>&1 || { found=1; tail -30 "$log"; }
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions in $seconds s, $(find "artifacts/$target" -type f | wc -l) findings"
    rm "$log"
    return "$found"
}
export -f run
export programs seconds
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run {}'
