#!/bin/sh
# Builds one part of the workspace after the other: ./build-incremental.sh [arguments of cargo build]
@mark@
MEMORY_LIMIT="auto" # 2G, 4G, 50%, or auto: what the machine can spare

set -eu
cd "$(dirname "$0")"
if cargo plimsoll --version >/dev/null 2>&1; then
    exec cargo plimsoll --memory "$MEMORY_LIMIT" build --staged "$@"
fi
@fallback@
exec cargo build "$@"
