#!/bin/sh
# What is shown where systemd makes the cgroups. See systemd.sh.
export FAKE_REAL_RUSTC=/stand-in/rustc FAKE_STATE=/tmp/state
cgroups=/sys/fs/cgroup
. /stand-in/checks.sh
echo 'tests: root-v2 guest with systemd'
own=$cgroups/user.slice/user-1000.slice/user@1000.service

# As the user, in the workspace.
as_user() {
    chown -R builder /tmp/ws /tmp/state
    (cd /tmp/ws && exec setpriv --reuid=1000 --regid=1000 --init-groups env XDG_RUNTIME_DIR=/run/user/1000 \
        DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus HOME=/home/builder PATH=/usr/local/bin:/usr/bin:/bin \
        CARGO_HOME=/tmp/cargo CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0 RUSTC=/usr/local/bin/rustc \
        CARGO_TARGET_DIR=/tmp/target PLIMSOLL_HOME=/tmp/plimsoll "$@") > /tmp/out 2>&1
}
kills_of_oomd() { journalctl --quiet --unit systemd-oomd --grep Killed | wc -l; }

for module in zsmalloc lzo-rle zram; do insmod /stand-in/$module.ko*; done
echo 1G > /sys/block/zram0/disksize
mkswap --quiet /dev/zram0 > /dev/null && swapon /dev/zram0
loginctl enable-linger builder
until_true 'the user has a bus' [ -S /run/user/1000/bus ]
systemctl start systemd-oomd
until_true 'systemd-oomd runs' systemctl is-active --quiet systemd-oomd
systemctl --version | head -n 1

part 'a hard limit in a scope of the user'
workspace 'a: log runs; until go'
as_user cargo-plimsoll plimsoll build --hard --memory 400MiB &
build=$!
until_true 'it runs' [ -s /tmp/state/runs ]
limit=$(limit_in user.slice)
say "the hard limit: ${limit#"$cgroups"}: high $(mib "$limit/memory.high"), max $(mib "$limit/memory.max") MiB"
in_scope() { case $1 in "$own"/*/run-*.scope/plimsoll-*) ;; *) false ;; esac; }
check 'it is in a scope that systemd-run has made' in_scope "$limit"
check 'the build is inside it' grep -q . "$limit/cgroup.procs"
check 'it has a value' at_least "$(mib "$limit/memory.max")" 400
touch /tmp/state/go
wait $build
check 'it builds' equal $? 0
tail -n 2 /tmp/out
check 'no hard limit is left' equal "$(limits)" ''
no_scope() { ! ls -d "$own"/*/run-*.scope > /dev/null 2>&1; }
until_true 'the scope is gone' no_scope

part 'a limit of the session, and systemd-oomd above it'
session() { as_user systemd-run --user --scope --quiet --collect --property=MemoryHigh=450M "$@"; }
grows='alloc 300MiB in 3s; hold 2s; until go'
workspace "a: $grows" "b: $grows" "c: $grows"
session cargo build -j3
check 'plain Cargo is killed' none equal $? 0
tail -n 2 /tmp/out
check 'by systemd-oomd' at_least "$(kills_of_oomd)" 1
before=$(kills_of_oomd)
workspace "a: $grows" "b: $grows" "c: $grows"
touch /tmp/state/go
session cargo-plimsoll plimsoll build -j3
check 'Plimsoll builds it' equal $? 0
tail -n 2 /tmp/out
check 'nobody is killed' equal "$(kills_of_oomd)" "$before"

part 'a governor that sees nothing, units that grow, and systemd-oomd'
heavy='log runs; until grow; alloc 500MiB in 1s; until go'
workspace "d: $heavy" "e: $heavy"
as_user cargo-plimsoll plimsoll build -j4 --hard --memory 320MiB &
build=$!
both_run() { [ "$(lines runs)" = 2 ]; }
until_true 'both run' both_run
limit=$(limit_in user.slice)
driver=$(basename "$limit" | cut -d- -f2)
kill -STOP "$driver"
touch /tmp/state/grow
is_empty() { ! grep -q . "$limit/cgroup.procs"; }
until_true 'systemd-oomd has killed all of it' is_empty
check 'it was systemd-oomd' at_least "$(kills_of_oomd)" "$((before + 1))"
touch /tmp/state/go
kill -CONT "$driver"
wait $build
check 'the build ends well' equal $? 0
check 'it is said' grep 'systemd-oomd killed the whole build' /tmp/out
tail -n 2 /tmp/out
check 'no hard limit is left' equal "$(limits)" ''

journalctl --quiet --unit systemd-oomd --grep Killed | tail -n 3

# The end-to-end tests that depend on the version of cgroups or on who runs them: all of `--hard`, the cgroup limits around some
# of an account's builds and around an oversized unit, another user. (A processor that is a program takes twenty seconds
# for each, so no others; and not the one that runs what it has compiled, for the compiler is a stand-in.) Without the
# daemon, which would end them for what they do in their cgroups.
systemctl stop systemd-oomd.socket systemd-oomd
target=$(cat /stand-in/target)
mkdir -p "$target/debug" "$target/tmp"
for program in cargo-plimsoll plimsoll-rustc plimsoll-rustdoc plimsoll-test; do
    ln -s "/usr/local/bin/$program" "$target/debug/$program"
done
chmod 777 "$target/tmp"
for dir in $(expr "$target" : '\(/[^/]*\)') "$target"; do chmod a+rx "$dir"; done
run_tests() { # WHO COMMAND…
    who=$1 && shift
    say "tests as $who: $*"
    env PATH=/stand-in/path:/usr/local/bin:/usr/bin:/bin CARGO_HOME="/tmp/cargo-$who" E2E_PATIENCE=240 \
        E2E_FAKE_RUSTC=/usr/local/bin/rustc "$@" --test-threads 2 --color never < /dev/null 2>&1 || failed="$failed; tests as $who"
}
user_tests() {
    run_tests builder setpriv --reuid=1000 --regid=1000 --init-groups env XDG_RUNTIME_DIR=/run/user/1000 \
        DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus HOME=/home/builder USER=builder "$@"
}
echo 'tests: user-v2 guest with systemd'
user_tests /stand-in/tests/limits
user_tests /stand-in/tests/e2e hard_limit:: oversized::what_is account_governor::a_hard_limit account_governor::two_plain \
    --skip the_program_of_cargo_run
echo 'tests: root-v2 guest with systemd'
run_tests root /stand-in/tests/limits
run_tests root /stand-in/tests/processes
run_tests root /stand-in/tests/e2e hard_limit::a_build_is_inside strangers::a_socket
finish
