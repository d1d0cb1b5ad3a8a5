#!/bin/sh
# Builds, binds and shrinks what JavaScript calls, and puts the glue beside it:
#
#   pack.sh [OUT_DIR]
set -eu
cd "$(dirname "$0")"
out=${1:-build}

cargo build --release --locked --target wasm32-unknown-unknown
wasm-bindgen "${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/pack.wasm" --target bundler --out-dir "$out" \
    --no-typescript
wasm-opt -O "$out/pack_bg.wasm" -o "$out/pack_bg.wasm"
cp js/worker.js "$out"
