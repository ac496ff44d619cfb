#!/bin/sh
# Builds the last release, for the story of an upgrade from it; prints where its binary is. Takes from the target folder what both
# have in common, and leaves this tree's own binary alone. Exit 3: this checkout does not have that commit.
set -eu
cd "$(dirname "$0")/.."
RELEASE=v0.1.0
COMMIT=60e0e26194772f94cb2a38ca4661f643472368d7
target=${CARGO_TARGET_DIR:-$PWD/target}
home=$target/released/$COMMIT
if [ ! -x "$home/debug/pollux" ]; then
  git cat-file -e "$COMMIT^{commit}" 2>/dev/null || { echo "$RELEASE ($COMMIT) is not in this checkout" >&2; exit 3; }
  rm -rf "$home/source"
  mkdir -p "$home/source"
  git archive "$COMMIT" | tar -x -C "$home/source"
  (cd "$home/source" && CARGO_BUILD_BUILD_DIR=$target CARGO_TARGET_DIR=$home cargo build --quiet --locked --workspace --bin pollux) >&2
fi
echo "$home/debug/pollux"
