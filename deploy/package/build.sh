#!/usr/bin/env bash
# Builds the packages: build.sh PROGRAM DIRECTORY [deb] [rpm]. Everything in them but the program stands in this repository.
set -euo pipefail
program=$(realpath "$1")
out=$(mkdir -p "$2" && realpath "$2")
shift 2
kinds=("${@:-deb}")
cd "$(dirname "$0")/../.."
version=$("$program" --version | cut -d' ' -f2)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/stage
umask 022

install -D "$program" "$stage/usr/bin/orchestrator-cli"
man=$stage/usr/share/man/man1
mkdir -p "$man"
"$program" man "$man" >/dev/null
chmod 644 "$man"/*
gzip -9n "$man"/*
completion() { # SHELL FILE
    install -D -m 644 /dev/null "$stage/usr/share/$2"
    "$program" completions "$1" >"$stage/usr/share/$2"
}
completion bash bash-completion/completions/orchestrator-cli
completion zsh zsh/vendor-completions/_orchestrator-cli
completion fish fish/vendor_completions.d/orchestrator-cli.fish
doc=$stage/usr/share/doc/orchestrator-cli
install -D -m 644 -t "$doc/examples" deploy/orchestrator.toml deploy/prometheus-alerts.yml deploy/package/sudoers
install -D -m 644 -t "$doc/examples/container" deploy/container/Dockerfile
install -D -m 644 -t "$doc/examples/kubernetes" deploy/kubernetes/cronjob.yaml
install -D -m 644 -t "$doc" README.md CHANGELOG.md docs/*.md docs/*.svg
install -D -m 644 -t "$doc/runbooks" deploy/runbooks/*.md
# Links lead to where things are in the package.
sed -i -E -e 's#\]\((\.\./)?deploy/package/#](examples/#g' -e 's#\]\((\.\./)?deploy/runbooks/#](runbooks/#g' -e 's#\]\((\.\./)?deploy/#](examples/#g' -e 's#\]\(docs/#](#g' "$doc"/*.md
install -D -m 644 LICENSE "$doc/copyright"

# The units are those that `schedule install` writes, of the usual times; of `databases backup`, too, which is off otherwise.
units=$stage/usr/lib/systemd/system
mkdir -p "$units" "$stage/etc/orchestrator"
printf 'cluster_conf = "cluster.conf"\nschedule.databases = "03:30"\n' >"$stage/etc/orchestrator/orchestrator.toml"
echo 'chef: { continuum: { cluster_name: example } }' >"$stage/etc/orchestrator/cluster.conf"
STATE_DIRECTORY=$work/state "$stage/usr/bin/orchestrator-cli" schedule install --config "$stage/etc/orchestrator/orchestrator.toml" \
    --user orchestrator-cli --directory "$units" >/dev/null
sed -i -e "s|$stage||g" -e '1s|.*|# Of the package orchestrator-cli. To change it: systemctl edit|' "$units"/*
rm -r "$stage/etc"

deb() {
    local architecture
    architecture=$(dpkg --print-architecture)
    mkdir -p "$stage/DEBIAN"
    sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" deploy/package/control >"$stage/DEBIAN/control"
    install -m 755 -t "$stage/DEBIAN" deploy/package/postinst deploy/package/prerm deploy/package/postrm
    sed -i -e '/@USER@/{r deploy/package/user.sh' -e 'd}' -e '/@HINT@/{r deploy/package/postinst.sh' -e 'd}' "$stage/DEBIAN/postinst"
    dpkg-deb --root-owner-group --build "$stage" "$out/orchestrator-cli_${version}_$architecture.deb" >/dev/null
    rm -r "$stage/DEBIAN"
    echo "$out/orchestrator-cli_${version}_$architecture.deb"
}

rpm() {
    command -v rpmbuild >/dev/null || { echo "missing: rpmbuild (package rpm)" >&2; exit 1; }
    rpmbuild -bb --quiet --define "_binary_payload w6.gzdio" --define "_topdir $work/rpm" --define "_rpmdir $work/rpms" --define "version $version" \
        --define "stage $stage" --define "source $PWD/deploy/package" deploy/package/orchestrator-cli.spec
    find "$work/rpms" -name '*.rpm' -exec mv -t "$out" {} + -exec basename {} \; | sed "s|^|$out/|"
}

for kind in "${kinds[@]}"; do
    "$kind"
done
