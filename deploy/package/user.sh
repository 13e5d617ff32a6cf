# Makes the user that jobs run as, and gives it the groups whose files it reads and the directory that it writes. Part of the packages.
user=orchestrator-cli
home=/var/lib/orchestrator-cli
if ! getent passwd "$user" >/dev/null; then
    useradd --system --user-group --home-dir "$home" --shell /usr/sbin/nologin "$user"
fi
# The server's files and cluster.conf are readable by their groups where their owners want that.
for group in postgres orchestrator; do
    if getent group "$group" >/dev/null; then
        usermod --append --groups "$group" "$user"
    fi
done
[ -d "$home" ] || install -d -o "$user" -g "$user" -m 755 "$home"
# Where bundles are kept unless the settings say otherwise; one that is there is left as it is.
if [ ! -e /var/lib/postgresql/backups ]; then
    [ -d /var/lib/postgresql ] || install -d -m 755 /var/lib/postgresql
    install -d -o "$user" -g "$user" -m 700 /var/lib/postgresql/backups
fi
install -d -m 755 /etc/orchestrator
