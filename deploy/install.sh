#!/bin/sh
# Puts the binary, its user and its unit on this machine: install.sh [BINARY]. Again: replaces the binary and the unit.
# It touches no mail and no settings, and starts nothing: `pollux init` or `pollux join` comes first (docs/operations.md).
# DESTDIR=DIR installs below DIR and makes no user, for packages and for the tests.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
binary=${1:-$here/../target/release/pollux}
root=${DESTDIR:-}

fail() {
    echo "install: $1" >&2
    exit 1
}

[ -x "$binary" ] || fail "there is no binary at $binary: cargo build --profile dist, or name one"
"$binary" --version >/dev/null || fail "$binary does not run on this machine"
if [ -z "$root" ]; then
    [ "$(id -u)" = 0 ] || fail "must be root: it makes a user and a unit"
    getent passwd pollux >/dev/null ||
        useradd --system --user-group --home-dir /srv/pollux --no-create-home --shell /usr/sbin/nologin pollux
fi

mkdir -p "$root/usr/local/bin" "$root/etc/systemd/system" "$root/srv/pollux"
# By rename, so that a running node keeps the file it was started from, and a full disk leaves the old one.
for file in "$binary:usr/local/bin/pollux:755" "$here/pollux.service:etc/systemd/system/pollux.service:644"; do
    from=${file%%:*} to=${file#*:} mode=${file##*:}
    to=$root/${to%:*}
    cp "$from" "$to.new" && chmod "$mode" "$to.new" && mv "$to.new" "$to" || fail "$to cannot be written"
done
if [ -z "$root" ]; then
    chown pollux:pollux /srv/pollux
    chmod 700 /srv/pollux
    systemctl daemon-reload 2>/dev/null || echo "install: no systemd here; start it by: pollux serve --config /srv/pollux/pollux.toml"
fi
echo "installed $("$binary" --version) to $root/usr/local/bin/pollux"
echo "next: runuser -u pollux -- pollux init --dir /srv/pollux …, or join; then systemctl enable --now pollux"
