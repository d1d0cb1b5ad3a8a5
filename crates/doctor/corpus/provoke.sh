#!/bin/bash
# Makes the provoked texts of this corpus anew: provoke.sh OUT [NAME…]. Needs root (cgroups v1, mounts), gcc, lld, mold,
# sccache, cargo-nextest; nothing is fetched. Every crate lives in a temporary directory; mounts and cgroups are removed.
set -u
HERE=$(cd "$(dirname "$0")" && pwd); OUT=$1; shift; ONLY=" $* "
W=$(mktemp -d /var/tmp/corpus-XXXXXX)
CG=/sys/fs/cgroup/memory/plimsoll-corpus; PG=/sys/fs/cgroup/pids/plimsoll-corpus
mkdir -p "$OUT/memory" "$OUT/other" "$W/bin" "$W/small" "$W/disk"
cleanup() { cd /; umount "$W/small" "$W/disk" 2>/dev/null; rmdir $CG $PG 2>/dev/null; rm -rf "$W" /dev/shm/plimsoll-corpus; }
trap cleanup EXIT; trap 'exit 1' INT TERM
export RUSTUP_TOOLCHAIN CARGO_NET_OFFLINE=true CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
RUSTUP_TOOLCHAIN=$(rustup show active-toolchain | cut -d' ' -f1)
unset RUSTC_WRAPPER CARGO_TARGET_DIR RUSTFLAGS
RUSTC=$(rustc --print sysroot)/bin/rustc; REAL=$RUSTC; unset RUSTC
GNU="-Clinker-features=-lld"

# A workspace of one package: app NAME, the rest is files.
app() { cd "$W"; rm -rf "$W/app"; mkdir -p "$W/app/src"; cd "$W/app"
  printf '[package]\nname = "%s"\nversion = "0.1.0"\nedition = "2021"\n\n[workspace]\n' "$1" >Cargo.toml; }
main() { printf '%s\n' "$1" >src/main.rs; }
lib() { printf '%s\n' "$1" >src/lib.rs; }
big() { echo "pub static BIG: [u64; $1 << 17] = [1; $1 << 17];"; }
# A stand-in NAME that sends itself SIGNAL where the arguments have WORD, and else is PROGRAM.
standin() { printf '#!/bin/bash\ncase " $* " in *"%s"*) kill -%s $$; sleep 5;; esac\nexec %s "$@"\n' "$2" "$3" "$4" >"$W/bin/$1"; chmod +x "$W/bin/$1"; }
# Runs the rest, its whole output as text KIND/NAME without this machine's paths.
record() { local kind=$1 name=$2; shift 2
  case "$ONLY" in "  "|*" $name "*) ;; *) return;; esac
  echo "== $kind/$name" >&2
  (timeout -k 5 120 bash -c 'ulimit -v 8000000; "$@"' - "$@") >"$W/log" 2>&1; local status=$?
  [ -n "${TAIL:-}" ] && printf '%s\n' "${TAIL//STATUS/$status}" >>"$W/log"
  sed -E -e "s#$W/bin/rustc#rustc#g; s#$W/bin/##g; s#$REAL#rustc#g; s#$W/app#/home/user/app#g; s#$W/small#/home/user/app#g; s#$W/disk#/home/user/app#g" \
    -e "s#/dev/shm/plimsoll-corpus#/dev/shm/target#g; s#$W#/home/user#g; s#$HOME/.rustup#/home/user/.rustup#g; s#$HOME/.cargo#/home/user/.cargo#g; s#/var/tmp/#/home/user/#g" \
    -e "s#/tmp/rustc#/home/user/rustc#g; s#/(root|work|tmp)/#/home/user/#g" "$W/log" >"$OUT/$kind/$name.log"; }
in_memory() { mkdir -p $CG; echo "$1" >$CG/memory.limit_in_bytes; shift; bash -c 'echo $$ >'$CG'/cgroup.procs; "$@"' - "$@"; local s=$?; sleep 0.1; rmdir $CG 2>/dev/null; return $s; }
in_pids() { mkdir -p $PG; echo "$1" >$PG/pids.max; shift; bash -c 'echo $$ >'$PG'/cgroup.procs; exec "$@"' - "$@"; local s=$?; sleep 0.1; rmdir $PG 2>/dev/null; return $s; }
export -f in_memory in_pids; export CG PG W REAL

[ -n "${OTHERS:-}" ] || . "$HERE/provoke-memory.sh"
. "$HERE/provoke-other.sh"
