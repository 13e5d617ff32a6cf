#!/usr/bin/env bash
# Keeps what cargo has built of libraries of others, so that a fresh clone builds none but our own crates: `cache.sh fetch`
# before a build, `cache.sh keep` after it. Cargo itself decides by its fingerprints what of it is current; of ours nothing is kept,
# because those fingerprints go by the times of files, which say nothing across clones.
set -euo pipefail
cd "$(dirname "$0")/.."
built=${CARGO_TARGET_DIR:-target}/debug
home=${XDG_CACHE_HOME:-${HOME:?cache: where caches go is not known: set XDG_CACHE_HOME}/.cache}/orchestrator-cli/build
# What else cargo builds them by: other versions, features, profiles and compilers have a folder of their own.
key=$( (cat Cargo.lock Cargo.toml ./*/Cargo.toml; rustc -vV; cc --version; pkg-config --modversion openssl 2>/dev/null || true; echo "${RUSTFLAGS:-}") |
    sha256sum | cut -c1-16)
kept=$home/$key

fetch() {
    # A clone that has built something has what it needs.
    [ ! -e "$built" ] && [ -d "$kept" ] || return 0
    touch "$kept"
    # All or nothing, with their times, which cargo compares.
    mkdir -p "$(dirname "$built")"
    rm -rf "$built.half"
    cp -a --reflink=auto "$kept" "$built.half"
    # What is kept is the user's own; tests run the program as others, too.
    chmod --reference="$(dirname "$built")" "$built.half"
    mv -T "$built.half" "$built"
    echo "cache: libraries of others come from $kept"
}

keep() {
    [ ! -d "$kept" ] || return 0
    mkdir -p "$home"
    # It takes some 1.5 GB, and must leave room for what tests write.
    if [ "$(df --output=avail --block-size=1G "$home" | tail -n1)" -lt 8 ]; then
        echo "cache: less than 8 GB are free in $home: nothing is kept"
        return 0
    fi
    half=$(mktemp -d "$home/half-XXXXXXXX")
    trap 'rm -rf "$half"' EXIT
    ours=$(sed -n 's/^name = "\(.*\)"$/\1/p' ./*/Cargo.toml | sort -u)
    mkdir "$half/.fingerprint" "$half/build" "$half/deps"
    # A folder or a file is called by its package and 16 digits. Of what belongs to nobody else nothing is taken.
    others() {
        ls "$1" | grep -E '^.+-[0-9a-f]{16}$' | grep -vE "^($(paste -sd'|' <<<"$ours"))-[0-9a-f]{16}$"
    }
    others "$built/.fingerprint" | sed "s|^|$built/.fingerprint/|" | xargs -d '\n' cp -a --reflink=auto -t "$half/.fingerprint"
    others "$built/build" | sed "s|^|$built/build/|" | xargs -d '\n' cp -a --reflink=auto -t "$half/build"
    others "$built/.fingerprint" | grep -oE '[0-9a-f]{16}$' | sort -u >"$half/digits"
    ls "$built/deps" | grep -F -f "$half/digits" | sed "s|^|$built/deps/|" | xargs -d '\n' cp -a --reflink=auto -t "$half/deps"
    rm "$half/digits"
    # It has its name once it is whole; another clone may have been quicker.
    mv -T "$half" "$kept" 2>/dev/null || return 0
    echo "cache: libraries of others are kept in $kept"
    # The newest three, and what nobody has finished for a day.
    ls -dt "$home"/*/ | grep -v '/half-' | sed 1,3d | xargs -r -d '\n' rm -rf
    find "$home" -maxdepth 1 -name 'half-*' -mmin +1440 -exec rm -rf {} +
}

case ${1:-} in
fetch) fetch ;;
keep) keep ;;
*) echo "usage: $0 fetch | keep" >&2 && exit 2 ;;
esac
