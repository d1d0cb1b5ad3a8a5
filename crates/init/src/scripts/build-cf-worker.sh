#!/bin/sh
# Builds the workspace's Cloudflare Worker, and an archive of it:
# ./build-cf-worker.sh [--dev] [other arguments of `cargo plimsoll worker build`]
@mark@
MEMORY_LIMIT="auto" # 2G, 4G, 50%, or auto: what the machine can spare
WORKER=""           # the Worker's directory, relative to this file; empty: the only one

set -eu
cd "$(dirname "$0")"
if cargo plimsoll --version >/dev/null 2>&1; then
    if [ -n "$WORKER" ]; then
        cd "$WORKER"
    fi
    if [ $# -eq 0 ]; then
        set -- --release --zip
    fi
    exec cargo plimsoll --memory "$MEMORY_LIMIT" worker build "$@"
fi
if [ -z "$WORKER" ]; then
    WORKER=$(find . -maxdepth 4 \( -name target -o -name node_modules -o -name '.?*' \) -prune -o \
        \( -name wrangler.toml -o -name wrangler.json -o -name wrangler.jsonc \) -print |
        sed 's,/[^/]*$,,' | sort -u)
    case $WORKER in
    '')
        echo "$0: no wrangler.toml here or below; write the Worker's directory after WORKER= in this file" >&2
        exit 2
        ;;
    *'
'*)
        echo "$0: there are several Workers; write the directory of one after WORKER= in this file:" >&2
        echo "$WORKER" >&2
        exit 2
        ;;
    esac
fi
cd "$WORKER"
if ! command -v worker-build >/dev/null 2>&1; then
    echo "$0: worker-build is not installed; run 'cargo install worker-build'" >&2
    exit 2
fi
if [ $# -eq 0 ]; then
    set -- --release
fi
@fallback@
exec worker-build "$@"
