#!/bin/sh
# Fuzzes each target in turn: SECONDS_EACH of it (60), TARGETS (all), one process at a time.
# Starts from the kept corpus, our own transcripts and whatever corpora are present; what it learns goes to a folder of
# its own (WORK). KEEP=1 merges the smallest set that covers the same back into the kept corpus. A find stops the run.
# TIMEOUT_SECONDS is of the wall clock: more of them where the machine has other work.
set -eu
cd "$(dirname "$0")"
SECONDS_EACH=${SECONDS_EACH:-60}
TARGETS=${TARGETS:-$(cd fuzz_targets && ls | sed 's/\.rs$//')}
if [ "${KEEP:-0}" = 1 ]; then
  # What others wrote is read and never kept, not even in pieces.
  export POLLUX_CORPORA=/nonexistent
  WORK=${WORK:-$PWD/work/own}
fi
WORK=${WORK:-$PWD/work/all}
BOUNDS="-max_len=${MAX_LEN:-65536} -timeout=${TIMEOUT_SECONDS:-5} -rss_limit_mb=1024"
# Kept inputs are small, so that the tests which replay them stay quick.
KEPT_BYTES_MAX=2048
KEPT_FILES_MAX=${KEPT_FILES_MAX:-200}

command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
# Only nightly takes the fuzzer's flags unasked. No sanitizer: there is no unsafe code of ours for it to watch, and the
# build's overflow checks and assertions see what a panic shows, at a multiple of the speed.
export RUSTC_BOOTSTRAP=1
cargo fuzz build --sanitizer none --codegen-units 16 --fuzz-dir .
python3 seeds.py "$WORK/seeds"
for target in $TARGETS; do
  mkdir -p "corpus/$target" "$WORK/$target" "$WORK/seeds/$target" "artifacts/$target"
  dict=; [ ! -f "dict/$target.dict" ] || dict="-dict=dict/$target.dict"
  echo "== $target, $SECONDS_EACH s"
  cargo fuzz run --sanitizer none --codegen-units 16 --fuzz-dir . "$target" "$WORK/$target" "corpus/$target" "$WORK/seeds/$target" -- \
    $BOUNDS $dict -max_total_time="$SECONDS_EACH" -print_final_stats=1 -verbosity=0
  if [ "${KEEP:-0}" = 1 ]; then
    kept=$(mktemp -d "$WORK/kept.XXXXXX")
    find "corpus/$target" -name 'find-*' -exec cp {} "$kept" \;
    cargo fuzz run --sanitizer none --codegen-units 16 --fuzz-dir . "$target" "$kept" "$WORK/$target" "corpus/$target" "$WORK/seeds/$target" -- \
      -merge=1 -timeout="${TIMEOUT_SECONDS:-5}" -max_len="$KEPT_BYTES_MAX" -verbosity=0
    find "corpus/$target" -type f -delete
    find "$kept" -name 'find-*' -exec mv {} "corpus/$target" \;
    ls -S -r "$kept" | head -n "$KEPT_FILES_MAX" | while read -r file; do mv "$kept/$file" "corpus/$target/"; done
    rm -r "$kept"
  fi
done
