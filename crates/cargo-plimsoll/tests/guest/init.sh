#!/bin/sh
# The guest's first process: each claim about limits on cgroup v2, shown. See run.sh.
export PATH=/bin HOME=/tmp/home CARGO_HOME=/tmp/cargo CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0
export RUSTC=/bin/rustc FAKE_REAL_RUSTC=/stand-in/rustc FAKE_STATE=/tmp/state
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cgroups=/sys/fs/cgroup
echo +memory > $cgroups/cgroup.subtree_control
. /stand-in/checks.sh
echo 'tests: root-v2 guest without systemd'

# A cgroup with a limit in MiB, or none, as a container runtime makes it.
box() {
    mkdir "$cgroups/$1"
    if [ -n "${2:-}" ]; then
        echo $(($2 << 20)) > "$cgroups/$1/memory.max"
        echo 0 > "$cgroups/$1/memory.swap.max" 2> /dev/null
    fi
}

# Runs a command in a box, in the workspace; the output goes to /tmp/out.
inside() {
    dir=$cgroups/$1 && shift
    # shellcheck disable=SC2016
    (cd /tmp/ws && export CARGO_TARGET_DIR=/tmp/target PLIMSOLL_HOME=/tmp/plimsoll &&
        exec sh -c 'echo 0 > "$0/cgroup.procs" && exec "$@"' "$dir" "$@") > /tmp/out 2>&1
}

nothing_is_left() {
    check "no hard limit is left after $1" equal "$(limits)" ''
    check "$1 is as it was" equal "$(cat "$cgroups/$1/cgroup.subtree_control"):$(cat "$cgroups/$1/cgroup.procs")" ':'
}

# Each stays until it may go, or for a second where it may go at once.
three='alloc 150MiB in 1500ms; hold 1s; until go'
tight() { workspace "a: $three" "b: $three" "c: $three"; }

part 'a container of 450 MiB and three units of 150'
box plain 450 && tight
inside plain cargo build -j3 &
build=$!
killed_in() { [ "$(event "$1" oom_kill)" -ge 1 ]; }
until_true 'the kernel has killed for it' killed_in $cgroups/plain
touch /tmp/state/go
wait $build
check 'plain Cargo fails' none equal $? 0
grep -m1 'signal: 9' /tmp/out

box soft 450 && tight && touch /tmp/state/go
inside soft cargo-plimsoll plimsoll build -j3
check 'Plimsoll builds it' equal $? 0
tail -n 2 /tmp/out
check 'nothing is killed' equal "$(event $cgroups/soft oom_kill)" 0
nothing_is_left soft

box hard 450 && tight && touch /tmp/state/go
inside hard cargo-plimsoll plimsoll build -j3 --hard &
build=$!
until_true 'Cargo is inside a hard limit' stands hard
limit=$(limit_in hard)
say "the hard limit: $(basename "$limit"): high $(mib "$limit/memory.high"), max $(mib "$limit/memory.max") MiB; beside it: $(basename $cgroups/hard/*-driver)"
check 'it is below the container' at_least 449 "$(mib "$limit/memory.max")"
check 'and has a value' at_least "$(mib "$limit/memory.high")" 100
check 'it slows down before' at_least "$(($(mib "$limit/memory.max") - 1))" "$(mib "$limit/memory.high")"
wait $build
check 'Plimsoll builds it inside a hard limit' equal $? 0
tail -n 2 /tmp/out
check 'nothing is killed there' equal "$(event $cgroups/hard oom_kill)" 0
nothing_is_left hard

part 'a governor that sees nothing, and units that grow'
box blind
grows='log runs; until grow; alloc 260MiB in 1s; until go'
workspace "a: $grows" "b: $grows"
inside blind cargo-plimsoll plimsoll build -j4 --hard --memory 320MiB &
build=$!
both_run() { [ "$(lines runs)" = 2 ]; }
until_true 'both run' both_run
limit=$(limit_in blind)
driver=$(basename "$limit" | cut -d- -f2)
kill -STOP "$driver"
touch /tmp/state/grow
at_the_limit() { [ "$(mib "$limit/memory.current")" -ge "$(mib "$limit/memory.high")" ] && [ "$(event "$limit" high)" -ge 1 ]; }
until_true 'it is at its hard limit' at_the_limit
check 'it is slowed down, and nobody is killed' equal "$(event "$limit" oom_kill)" 0
# The governor would have set things right long ago. What if that did not help?
echo max > "$limit/memory.high"
until_true 'the kernel takes one' killed_in "$limit"
say "events of the hard limit: $(tr '\n' ' ' < "$limit/memory.events"); peak $(mib "$limit/memory.peak") of $(mib "$limit/memory.max") MiB"
kill -CONT "$driver"
touch /tmp/state/go
wait $build
check 'the build ends well' equal $? 0
check "a unit ran again" at_least "$(lines runs)" 3
check 'it is said' grep 'the kernel killed 1 process of this build at its hard limit' /tmp/out
nothing_is_left blind

part 'a driver that is killed'
box orphan
workspace 'a: log runs; until go'
inside orphan cargo-plimsoll plimsoll build --hard --memory 400MiB &
build=$!
until_true 'it runs' [ -s /tmp/state/runs ]
limit=$(limit_in orphan)
kill -KILL "$(basename "$limit" | cut -d- -f2)"
wait $build
check 'the build goes on inside its hard limit' grep -q . "$limit/cgroup.procs"
touch /tmp/state/go
gone() { [ -z "$(limits)$(cat $cgroups/orphan/cgroup.procs)" ]; }
until_true 'limit and guard are gone' gone
nothing_is_left orphan

part 'a cgroup that others are in'
box shared 1500
workspace 'a: hold 10ms'
sleep 1000 &
stranger=$!
echo $stranger > $cgroups/shared/cgroup.procs
PATH=/stand-in:$PATH inside shared cargo-plimsoll plimsoll build --hard
check 'the build goes on without a hard limit' equal $? 0
check 'it is said why' grep 'no hard limit at the budget: other processes are in' /tmp/out
check 'no scope that would be without the limit' none [ -e /tmp/systemd-run.calls ]
check 'the stranger is where it was' equal "$(cat $cgroups/shared/cgroup.procs)" $stranger

part 'the same without a limit, where systemd makes scopes'
echo max > $cgroups/shared/memory.max
echo max > $cgroups/shared/memory.swap.max 2> /dev/null
workspace 'a: log runs; until go'
PATH=/stand-in:$PATH inside shared cargo-plimsoll plimsoll build --hard --memory 400MiB &
build=$!
until_true 'it runs' [ -s /tmp/state/runs ]
check 'the hard limit is in the scope' grep -q . $cgroups/scope-*/plimsoll-*/cgroup.procs
touch /tmp/state/go
wait $build
check 'it builds' equal $? 0
check 'a trial and the command, once' equal "$(wc -l < /tmp/systemd-run.calls)" 2
cat /tmp/systemd-run.calls
check 'no hard limit is left' equal "$(limits)" ''

part 'the root of all cgroups'
workspace 'a: log runs; until go'
(cd /tmp/ws && CARGO_TARGET_DIR=/tmp/target PLIMSOLL_HOME=/tmp/plimsoll \
    exec cargo-plimsoll plimsoll build --hard --memory 400MiB) > /tmp/out 2>&1 &
build=$!
until_true 'it runs' [ -s /tmp/state/runs ]
check 'the hard limit is there' grep -q . $cgroups/plimsoll-*/cgroup.procs
touch /tmp/state/go
wait $build
check 'it builds' equal $? 0
check 'no hard limit is left' equal "$(limits)" ''

if [ -x /bin/earlyoom ]; then
    part 'earlyoom, which leaves room for two of three units'
    heavy='alloc 300MiB in 1500ms; hold 1s; until go'
    begin() { # DIR: from here on it kills below what leaves 750 MiB
        workspace "a: $heavy" "b: $heavy" "c: $heavy"
        floor=$(($(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo) - (750 << 10)))
        earlyoom -M $floor -r 0 > /tmp/earlyoom 2>&1 &
        daemon=$!
        sleep 2
    }
    box first && begin
    inside first cargo build -j3 &
    build=$!
    has_killed() { grep -q 'sending SIG[A-Z]* to process' /tmp/earlyoom; }
    until_true 'it has killed for plain Cargo' has_killed
    touch /tmp/state/go
    wait $build
    check 'plain Cargo fails' none equal $? 0
    kill "$daemon"
    box second && begin && touch /tmp/state/go
    inside second cargo-plimsoll plimsoll build -j3
    check 'Plimsoll builds it' equal $? 0
    tail -n 2 /tmp/out
    check 'nobody is killed' none has_killed
    kill "$daemon"
    cat /tmp/earlyoom
else
    echo 'test earlyoom ... ignored, there is no earlyoom'
fi

finish
