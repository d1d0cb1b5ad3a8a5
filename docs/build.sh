#!/usr/bin/env bash
# Builds the book into a directory, and fails where mdBook warns.
#
#   docs/build.sh [DIRECTORY]
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-target/book}")
if ! command -v mdbook >/dev/null; then
    echo "mdbook is missing: cargo install --locked --no-default-features mdbook" >&2
    exit 3
fi
said=$(mdbook build docs --dest-dir "$out" 2>&1) || { echo "$said" >&2; exit 1; }
echo "$said"
if grep -qE '^ *(WARN|ERROR) ' <<< "$said"; then
    echo "the book has warnings" >&2
    exit 1
fi
