# Makes a root directory of its own for a throw-away PostgreSQL, in new namespaces, and holds them until the input ends.
# Arguments: the new root, user and group, then pairs: rw or ro, and an absolute path.
set -eu
umask 022
root=$1 user=$2 group=$3
shift 3

# Shows a file or a directory, read-only.
show() {
    if [ -d "$1" ]; then
        mkdir -p ".$1"
    else
        mkdir -p ".${1%/*}"
        : >".$1"
    fi
    mount --rbind "$1" ".$1"
    mount -o remount,bind,ro ".$1"
}

mount -t tmpfs -o mode=755,size=64m,nosuid,nodev drill "$root"
cd "$root"
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
