# Makes the user that jobs run as, the group whose files it reads, and the directories that it writes. Part of the packages.
user=orchestrator-cli
state=/var/lib/orchestrator-cli
home=$state/users/$user
if ! getent passwd "$user" >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir "$home" --shell /usr/sbin/nologin "$user"
elif [ "$(getent passwd "$user" | cut -d: -f6)" = "$state" ]; then
    # It can't be moved while a job runs; then the next upgrade does it.
    usermod --home "$home" "$user" 2>/dev/null || :
fi
# cluster.conf is readable by its group where its owner wants that.
if getent group orchestrator >/dev/null; then
    usermod --append --groups orchestrator "$user"
fi
# Whoever is in the group postgres can put another socket in the place of the server's. Older versions put the user there.
if getent group postgres | cut -d: -f4 | tr , '\n' | grep -qx "$user"; then
    gpasswd --delete "$user" postgres >/dev/null
    echo "orchestrator-cli: $user is not in the group postgres any more; a file that this group alone can read, and the settings capture: setfacl -m u:$user:r FILE"
fi
# Root's state is root's alone, and the user's lies in a directory of its own; what older versions left is moved.
/usr/bin/orchestrator-cli schedule prepare --user "$user" >/dev/null
# Where bundles are kept unless the settings say otherwise; one that is there is left as it is.
if [ ! -e /var/lib/postgresql/backups ]; then
    [ -d /var/lib/postgresql ] || install -d -m 755 /var/lib/postgresql
    install -d -o "$user" -g "$user" -m 700 /var/lib/postgresql/backups
fi
install -d -m 755 /etc/orchestrator
