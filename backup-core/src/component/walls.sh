# Makes a root directory of its own for a throw-away PostgreSQL, in new namespaces, and holds them until the input ends.
# Arguments: the new root, user and group, then pairs: ro or rw, and an absolute path; what is rw comes last, for it may lie in what is ro.
set -eu
umask 022
root=$1 user=$2 group=$3
shift 3

# Shows a file or a directory, read-only, with all that is mounted in it.
show() {
    if [ -d "$1" ]; then
        mkdir -p ".$1"
    elif [ ! -e ".$1" ]; then
        mkdir -p ".${1%/*}"
        : >".$1"
    fi
    mount --rbind "$1" ".$1"
    close_below "$root$1"
}

# Makes each mount at and below a place read-only, with the options that it has, which not everybody may take away.
close_below() {
    while read -r _ _ _ _ at options _; do
        at=$(printf '%b.' "$at")
        at=${at%.}
        case $at in
        "$1" | "$1"/*)
            case $options in
            rw | rw,*) mount -o "remount,bind,ro${options#rw}" "$at" ;;
            esac
            ;;
        esac
    done </proc/self/mountinfo
}

mount -t tmpfs -o mode=755,size=64m,nosuid,nodev drill "$root"
cd "$root"
root=$(pwd -P)
mkdir proc dev etc old
mkdir -m 1777 tmp
for place in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$place" ]; then
        cp -P "/$place" .
    elif [ -d "/$place" ]; then
        show "/$place"
    fi
done
for place in /usr /etc/alternatives /etc/perl /var/cache/postgresql; do
    [ ! -d "$place" ] || show "$place"
done
# Nothing of /etc that could be secret.
for file in ld.so.cache nsswitch.conf localtime locale.alias; do
    [ ! -r "/etc/$file" ] || cp -L "/etc/$file" etc/
done
echo "drill:x:$user:$group::/:/usr/sbin/nologin" >etc/passwd
echo "drill:x:$group:" >etc/group
for node in null zero full random urandom; do
    : >"dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
# Who builds PostgreSQL has its data here.
[ ! -d usr/local/pgsql/data ] || mount -t tmpfs -o mode=0,size=4k drill usr/local/pgsql/data
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
mkdir -m 1777 dev/shm
mount -t tmpfs -o mode=1777,nosuid,nodev drill dev/shm
while [ $# -gt 0 ]; do
    case $1 in
    rw)
        mkdir -p ".$2"
        mount --bind "$2" ".$2"
        ;;
    ro) show "$2" ;;
    esac
    shift 2
done
# As those outside see it: the new processes have a /proc of their own.
read -r outside rest </proc/self/stat
mount -t proc -o nosuid,nodev,noexec proc proc
pivot_root . old
cd /
umount -l old
rmdir old
echo "$outside"
read -r rest || :
