#!/bin/sh
# Static binaries: static.sh [TARGET…]. By default both kinds. Needs musl-gcc (musl-tools), and for the other kind of machine its C compiler
# (gcc-aarch64-linux-gnu, gcc-x86-64-linux-gnu): ring has some C. CHECK=1 only compiles, without code.
set -eu
cd "$(dirname "$0")/.."
for kind in ${*:-x86_64-unknown-linux-musl aarch64-unknown-linux-musl}; do
    rustup target add "$kind" >/dev/null 2>&1 || { echo "static: rustup has no $kind" >&2; exit 1; }
    machine=${kind%%-*}
    if [ "$machine" = "$(uname -m)" ]; then
        compiler=musl-gcc
    else
        compiler=$machine-linux-gnu-gcc
    fi
    command -v "$compiler" >/dev/null 2>&1 || { echo "static: $compiler is missing; install musl-tools or gcc-$machine-linux-gnu" >&2; exit 1; }
    variable=$(echo "$kind" | tr a-z- A-Z_)
    export "CC_$(echo "$kind" | tr - _)=$compiler"
    # Rust brings musl's own start files and links by itself; any linker that knows the machine will do, but for musl-gcc: it makes
    # a program that asks for musl's loader, and does not start where there is none.
    [ "$compiler" = musl-gcc ] || export "CARGO_TARGET_${variable}_LINKER=$compiler"
    if [ -n "${CHECK:-}" ]; then
        cargo check --profile dist --target "$kind" --bin pollux
    else
        cargo build --profile dist --target "$kind" --bin pollux
        binary=${CARGO_TARGET_DIR:-target}/$kind/dist/pollux
        if readelf -l "$binary" | grep -q INTERP; then
            echo "static: $binary asks for a loader: it is not static" >&2
            exit 1
        fi
        [ "$machine" != "$(uname -m)" ] || "$binary" --version >/dev/null
        ls -l "$binary"
    fi
done
