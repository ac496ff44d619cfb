#!/bin/sh
# Proof that the suite bites: applies each patch beside this script to a copy of the tree, builds that copy, and runs the
# stories that its head names until one of them reports it. Fails if none does, or if a patch no longer applies.
#
# The check "simulation" is not a story, but 200 schedules of src/cluster/tests/sim: what breaks seldom shows in one of a hundred.
#
#   run.sh [NAME...]        all patches, or these (without .patch)
#   SECONDS_MAX=420         for the stories of one patch, tries included
#   SKIP_HEALTHY=1          do not first see the stories pass without sabotage
#   CHECK=nemesis           this story in place of those that the patches name
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cargo=${CARGO:-cargo}
copy=$target/sabotage/tree
SECONDS_MAX=${SECONDS_MAX:-420}
names=${*:-$(cd "$here" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')}

# Only what differs gets a new time stamp, so that cargo builds no more than it must; what a cut-off run left is put right.
mkdir -p "$copy"
(cd "$root" && git ls-files) | while read -r file; do
    cmp -s "$root/$file" "$copy/$file" && continue
    mkdir -p "$copy/$(dirname "$file")"
    cp "$root/$file" "$copy/$file"
done
# What is gone from the tree is gone from the copy.
(cd "$copy" && find . -name '*.rs') | while read -r file; do
    [ -f "$root/$file" ] || rm "$copy/$file"
done
cd "$copy"
export CARGO_TARGET_DIR="$target"

checks_of() {
    [ -z "${CHECK:-}" ] || { echo "$CHECK"; return; }
    for name in "$@"; do sed -n 's/^check: //p' "$here/$name.patch"; done | sort -u
}
# As cargo selects it.
selected() {
    case $1 in
        simulation) echo "--package pollux --lib" ;;
        *) echo "--package cluster-tests --test $1" ;;
    esac
}
# The product, and a check that is built into it.
build() {
    $cargo build --quiet --bin pollux >"$target/sabotage/build.log" 2>&1 &&
        if checks_of "$@" | grep -qx simulation; then
            $cargo nextest run --cargo-quiet $(selected simulation) --no-run >>"$target/sabotage/build.log" 2>&1
        fi || { cat "$target/sabotage/build.log"; return 1; }
}
# The product of the copy may be killed at any time by its story; nothing of it outlives a story's namespace.
story() {
    only=$([ "$1" != simulation ] || echo "test(=cluster::tests::sim::schedules)")
    POLLUX_SIM_COUNT=200 timeout "$2" $cargo nextest run --cargo-quiet --no-fail-fast $(selected "$1") ${only:+-E "$only"} >"$target/sabotage/$3.log" 2>&1
}

# The first words of the panic.
said() { grep -A2 -m1 'panicked at' "$target/sabotage/$1.log" | tail -n +2 | grep -v 'stack backtrace' | tr -s ' \n' ' ' | cut -c1-200; }

for name in $names; do
    [ -f "$here/$name.patch" ] || { echo "there is no sabotage named $name"; exit 2; }
    patch --dry-run --silent -p1 <"$here/$name.patch" >/dev/null || { echo "$name.patch no longer applies: mend it"; exit 1; }
done
for check in $(checks_of $names); do
    $cargo nextest run --cargo-quiet $(selected "$check") --no-run >"$target/sabotage/build.log" 2>&1 || { cat "$target/sabotage/build.log"; exit 1; }
done
if [ -z "${SKIP_HEALTHY:-}" ]; then
    build
    for check in $(checks_of $names); do
        story "$check" "$SECONDS_MAX" healthy || { echo "$check fails without any sabotage:"; tail -50 "$target/sabotage/healthy.log"; exit 1; }
    done
    echo "healthy: every story passes without sabotage"
fi

missed=
for name in $names; do
    patch --silent -p1 <"$here/$name.patch"
    if build "$name"; then
        tries=$(sed -n 's/^tries: //p' "$here/$name.patch")
        began=$(date +%s) caught= try=1
        while [ "$try" -le "${tries:-1}" ] && [ -z "$caught" ]; do
            for check in $(checks_of "$name"); do
                left=$((SECONDS_MAX - $(date +%s) + began))
                [ "$left" -gt 0 ] || break 2
                if story "$check" "$left" "$name"; then :; else
                    # A story that was cut off for time has found nothing.
                    grep -q 'panicked at' "$target/sabotage/$name.log" && { caught=$check; break; }
                fi
            done
            try=$((try + 1))
        done
        took=$(($(date +%s) - began))
        if [ -n "$caught" ]; then
            echo "$name: reported by $caught after $took s: $(said "$name")"
        else
            echo "$name: NOT REPORTED in $took s"
            missed="$missed $name"
        fi
    else
        echo "$name: the sabotaged tree does not build: mend the patch"
        missed="$missed $name"
    fi
    patch --silent --reverse -p1 <"$here/$name.patch"
done
# What was built last was sabotaged: leave nobody to test it for the product.
rm -f "$target/debug/pollux"
[ -z "$missed" ] || { echo "not reported:$missed"; exit 1; }
