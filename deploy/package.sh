#!/bin/sh
# Makes the Debian package of this machine's kind: package.sh [BINARY]. Without a BINARY it builds one of the profile dist.
# The package is left in target/debian, and its name is the last line printed. FAST=1 makes a larger one sooner.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
binary=${1:-}
if [ -z "$binary" ]; then
    cargo build --profile dist --bin pollux
    binary=$target/dist/pollux
fi
command -v cargo-deb >/dev/null 2>&1 || cargo install cargo-deb --locked

# What the package is made of lies together, so that Cargo.toml can name it whatever the target is.
staged=target/package
rm -rf "$staged"
mkdir -p "$staged/man"
cp "$binary" "$staged/pollux"
for shell in bash zsh fish; do
    "$binary" completions $shell >"$staged/pollux.$shell"
done
"$binary" manual "$staged/man"
gzip -9n "$staged"/man/*.1
# A package has its files in /usr and its data in /var/lib.
sed -e 's:/usr/local/bin/:/usr/bin/:' -e 's:/srv/pollux:/var/lib/pollux:g' deploy/pollux.service >"$staged/pollux.service"
cargo deb --no-build --no-strip ${FAST:+--fast} --output target/debian/
