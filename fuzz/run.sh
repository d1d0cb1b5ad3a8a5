#!/bin/sh
# The protocol's decoder under libFuzzer, as `cargo fuzz` runs it, but with any Rust and without a sanitizer, which safe
# code has no use for. Takes a C++ compiler, for libFuzzer. The arguments are libFuzzer's:
#
#   fuzz/run.sh -runs=300000        fuzz/run.sh -max_total_time=60
set -eu
cd "$(dirname "$0")"

host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}/fuzz
flags='--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module'
for option in level=4 trace-compares inline-8bit-counters pc-table; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$option"
done
# With a target that is named, build scripts and procedural macros are built without them.
RUSTFLAGS=$flags cargo build --release --locked --target "$host" --target-dir "$target"
mkdir -p "$target/corpus"
"$target/$host/release/decode" "$target/corpus" -max_len=4096 -artifact_prefix="$target/" "$@"
echo 'test the decoder under libFuzzer ... ok'
