#!/usr/bin/env bash
# Installs what building and testing need on Debian or Ubuntu. Says exactly what is missing where it can't.
set -euo pipefail

rust_wanted=1.95
packages=(age bc bsdutils build-essential ca-certificates iproute2 libssl-dev mount openssh-client openssh-server openssl pigz pkg-config postgresql postgresql-client procps python3 rpm systemd time util-linux)

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "setup: these packages are missing and need root to install: ${missing[*]}" >&2
        exit 1
    fi
}

missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "setup: apt-get was not found; install these by hand: ${missing[*]}" >&2
        exit 1
    fi
    echo "setup: installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is missing: install Rust $rust_wanted or newer with rustup (https://rustup.rs)" >&2
    exit 1
fi
rust_found=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n%s\n' "$rust_wanted" "$rust_found" | sort -V | head -n1)" != "$rust_wanted" ]; then
    echo "setup: Rust $rust_found is too old: this project needs $rust_wanted or newer (rustup update stable)" >&2
    exit 1
fi
