# shellcheck shell=sh
# For bash, zsh and dash: after `. ./build-env.sh` plain `cargo build`, `cargo build --jobs 1` … are inside a memory
# budget, in this shell alone; `plimsoll_leave` ends it.
@mark@
MEMORY_LIMIT="auto" # 2G, 4G, 50% …; auto: what the machine leaves

if cargo plimsoll --version >/dev/null 2>&1; then
    eval "$(cargo plimsoll --memory "$MEMORY_LIMIT" env)"
else
@fallback@
fi
unset MEMORY_LIMIT
