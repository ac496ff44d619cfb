#!/bin/sh
# `make bench`: ours beside Postfix + Dovecot, in turn, in one run. POLLUX_PEERS is the folder with the scripts
# that bring the peers up and the load generator; without it only our own figures are made.
set -eu
cd "$(dirname "$0")/../.."
peers="${POLLUX_PEERS:-../shared/peers}"
work=$(mktemp -d "${TMPDIR:-/tmp}/pollux-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
if [ ! -d "$peers" ]; then
    echo "bench: no peers at $peers: set POLLUX_PEERS" >&2
    exit 1
fi
cp -r "$peers/." "$work/peers"
chmod -R u+w "$work/peers"
if [ -z "${MAILLOAD:-}" ]; then
    CARGO_TARGET_DIR="$work/mailload" cargo build --release --quiet --manifest-path "$work/peers/mailload/Cargo.toml"
    MAILLOAD="$work/mailload/release/mailload"
fi
export MAILLOAD
export STRANGERS="${STRANGERS:-$PWD/target/release/strangers}"
python3 cluster-tests/bench/bench.py --peers "$work/peers" --work "$work" "$@"
