# shellcheck shell=sh
# What the guests' scripts have in common; sourced there. `cgroups` is where those are mounted, `failed` names what does
# not hold. What holds is said as a test program says it.
failed='' part=''

say() { echo "[$(cut -d' ' -f1 /proc/uptime)] $*"; }
part() { part=$1 && say "$1"; }
holds() { echo "test $part: $1 ... ok"; }
fails() { # WHAT WHY
    echo "test $part: $1 ... FAILED: $2"
    failed="$failed; $1"
}
check() { # WHAT COMMAND…
    what=$1 && shift
    if "$@"; then holds "$what"; else fails "$what" "$*"; fi
}
equal() { [ "$1" = "$2" ]; }
at_least() { [ "$1" -ge "$2" ]; }
none() { ! "$@"; }
event() { sed -n "s/^$2 //p" "$1/memory.events"; }
mib() { # FILE: 0 where there is no number
    bytes=$(cat "$1" 2> /dev/null)
    case $bytes in
        '' | *[!0-9]*) echo 0 ;;
        *) echo $((bytes >> 20)) ;;
    esac
}
lines() { grep -c "" "/tmp/state/$1" 2> /dev/null || true; }
limit_in() { find "$cgroups/$1" -name 'plimsoll-*' ! -name '*-driver' 2> /dev/null | head -n 1; }
stands() { grep -q . "$(limit_in "$1")/cgroup.procs" 2> /dev/null; }
limits() { find $cgroups -name 'plimsoll-*' 2> /dev/null; }
until_true() { # WHAT COMMAND…
    what=$1 && shift
    for _ in $(seq 600); do
        "$@" && return
        sleep 0.1
    done
    fails "$what" 'waited in vain'
}

# A workspace whose libraries do what follows, `name: steps` each.
workspace() {
    rm -rf /tmp/ws /tmp/state /tmp/target
    mkdir -p /tmp/ws /tmp/state
    printf '[workspace]\nmembers = ["*"]\nresolver = "2"\n' > /tmp/ws/Cargo.toml
    for unit in "$@"; do
        name=${unit%%:*}
        mkdir -p "/tmp/ws/$name/src"
        printf '[package]\nname = "%s"\nversion = "0.1.0"\nedition = "2021"\n' "$name" > "/tmp/ws/$name/Cargo.toml"
        echo "// fake: ${unit#*:}" > "/tmp/ws/$name/src/lib.rs"
    done
}

# The last word.
finish() {
    cat /proc/version
    if [ -z "$failed" ]; then echo 'guest: passed'; else cat /tmp/out && echo "guest: FAILED$failed"; fi
    poweroff -f
}
