# shellcheck shell=sh
# For bash, zsh and dash: `. ./build-env.sh` puts plain `cargo` inside a memory budget, in this shell only.
# `plimsoll_leave` undoes it.
@mark@
MEMORY_LIMIT="auto" # 2G, 4G, 50%, or auto: what the machine can spare

if cargo plimsoll --version >/dev/null 2>&1; then
    eval "$(cargo plimsoll --memory "$MEMORY_LIMIT" env)"
else
@fallback@
fi
unset MEMORY_LIMIT
