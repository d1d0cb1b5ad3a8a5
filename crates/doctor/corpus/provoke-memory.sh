# Sourced by provoke.sh: builds that die for want of memory, really or by the signal that they would get.
M() { record memory "$@"; }

app codec; lib 'pub fn f() {}'; standin rustc "--crate-name codec " KILL "$REAL"
RUSTC=$W/bin/rustc M rustc-killed cargo build
RUSTC=$W/bin/rustc M rustc-killed-verbose cargo build -v --release
RUSTC=$W/bin/rustc CARGO_TERM_COLOR=always M rustc-killed-colours cargo check --color always
RUSTC=$W/bin/rustc M rustc-killed-json cargo build --message-format=json
standin rustc "--crate-name codec " TERM "$REAL"
RUSTC=$W/bin/rustc M rustc-terminated cargo build
standin rustc "--crate-name codec " BUS "$REAL"
RUSTC=$W/bin/rustc M rustc-sigbus cargo build

app tables; lib "$(big 400)"
M rustc-cgroup-limit in_memory 200M cargo build
M kernel-cgroup-and-cargo bash -c 'in_memory 200M cargo build; dmesg | grep -E "Killed process|oom-kill:" | tail -2 | sed "s#/plimsoll-corpus#/docker/4c1f#g"'
M kernel-only bash -c 'in_memory 200M cargo build >/dev/null 2>&1; dmesg | tail -40 | sed "s#/plimsoll-corpus#/docker/4c1f#g"'
M allocation-failed bash -c 'ulimit -v 500000; cargo build -j1'
M allocation-failed-check bash -c 'ulimit -v 560000; cargo check -j1'
app wide; { for i in $(seq 1 4000); do echo "pub fn f$i(v: &[u64]) -> Vec<String> { v.iter().map(|x| format!(\"{x} $i\")).filter(|s| s.len() > $((i % 7))).collect() }"; done; } >src/lib.rs
for kib in 900000 700000 600000 500000; do M address-space-$kib bash -c "ulimit -v $kib; cargo build --release -j1"; done

mkdir -p "$W/app"; app server; main 'fn main() { println!("{}", std::env::args().count()); }'
standin ld "" KILL /usr/bin/ld
RUSTFLAGS="$GNU -Clink-arg=-B$W/bin" M ld-killed cargo build
printf '\n[[bin]]\nname = "bin-07"\npath = "src/main.rs"\n' >>Cargo.toml
RUSTFLAGS="$GNU -Clink-arg=-B$W/bin" M ld-killed-named-bin cargo build --release --bin bin-07
app server; main 'fn main() { println!("{}", std::env::args().count()); }'
standin ld.lld "" KILL /usr/bin/ld.lld
RUSTFLAGS="$GNU -Clink-arg=-fuse-ld=lld -Clink-arg=-B$W/bin" M lld-killed cargo build --bin server
standin ld.mold "" KILL /usr/bin/mold; cp "$W/bin/ld.mold" "$W/bin/ld"
RUSTFLAGS="$GNU -Clink-arg=-fuse-ld=mold -Clink-arg=-B$W/bin" M mold-killed cargo build --bin server
standin ld "" BUS /usr/bin/ld
RUSTFLAGS="$GNU -Clink-arg=-B$W/bin" M ld-sigbus cargo build --bin server
standin ld "" TERM /usr/bin/ld
RUSTFLAGS="$GNU -Clink-arg=-B$W/bin" M ld-terminated cargo build --bin server
standin cc "" KILL /usr/bin/cc
CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=$W/bin/cc M cc-killed cargo build --bin server
printf '#!/bin/bash\nulimit -v 24000\nexec /usr/bin/ld "$@"\n' >"$W/bin/ld"
RUSTFLAGS="$GNU -Clink-arg=-B$W/bin" M ld-exhausted cargo build --bin server
printf '#!/bin/bash\nulimit -v 260000\nexec /usr/bin/ld.lld "$@"\n' >"$W/bin/ld.lld"
RUSTFLAGS="$GNU -Clink-arg=-fuse-ld=lld -Clink-arg=-B$W/bin" M lld-exhausted cargo build --bin server
rm -f "$W/bin/ld" "$W/bin/ld.lld" "$W/bin/ld.mold" "$W/bin/cc"

app aws-sys; lib ''; printf 'int f() { return 1; }\n' >f.cc
standin cc1plus "" KILL "$(gcc -print-prog-name=cc1plus)"
printf 'fn main() { let s = std::process::Command::new("c++").args(["-B", env!("BIN"), "-c", "f.cc", "-o", "/dev/null"]).status().unwrap(); assert!(s.success(), "the C++ compiler failed: {s}"); }' >build.rs
BIN=$W/bin/ M cc1plus-killed cargo build
rm "$W/bin/cc1plus"
echo 'fn main() { println!("cargo:warning=compiling 812 files"); unsafe { extern "C" { fn kill(a: i32, b: i32) -> i32; } kill(std::process::id() as i32, 9); } }' >build.rs
M build-script-killed cargo build
echo 'fn main() { let mut v: Vec<Vec<u8>> = vec![]; loop { v.push(vec![1; 64 << 20]); } }' >build.rs
M build-script-cgroup-limit in_memory 300M cargo build
M build-script-allocation bash -c 'ulimit -v 1500000; cargo build -j1'

app matcher; lib '#[cfg(test)] mod tests { #[test] fn large() { let mut v: Vec<Vec<u8>> = vec![]; loop { v.push(vec![1; 64 << 20]); } } #[test] fn small() {} }'
cargo test --no-run -q 2>/dev/null
M test-cgroup-limit in_memory 300M cargo test
M nextest-cgroup-limit in_memory 300M cargo nextest run
M test-allocation bash -c 'ulimit -v 4000000; cargo test'

app handbook; lib '/// x
pub fn f() {}'; standin rustdoc "--crate-name handbook" KILL "$(dirname "$REAL")/rustdoc"
RUSTDOC=$W/bin/rustdoc M rustdoc-killed cargo doc
app linted; lib 'pub fn f() {}'; standin clippy-driver "--crate-name linted " KILL "$(dirname "$REAL")/clippy-driver"
RUSTC_WORKSPACE_WRAPPER=$W/bin/clippy-driver M clippy-killed cargo check --all-targets

app cached; lib 'pub fn f() {}'; standin rustc "--crate-name cached " KILL "$REAL"
SCCACHE_DIR=$W/sc RUSTC_WRAPPER=sccache RUSTC=$W/bin/rustc M sccache-killed cargo build; sccache --stop-server >/dev/null 2>&1
rm "$W/bin/rustc"

app stack; lib "$(big 40)"; main 'fn main() { println!("{}", stack::BIG[0]); }'
mkdir -p /dev/shm/plimsoll-corpus; mount -t tmpfs -o size=24m none /dev/shm/plimsoll-corpus
CARGO_TARGET_DIR=/dev/shm/plimsoll-corpus M shm-full cargo build
rm -rf /dev/shm/plimsoll-corpus/*
CARGO_TARGET_DIR=/dev/shm/plimsoll-corpus M shm-full-verbose bash -c 'cargo build --release -v; df -h /dev/shm/plimsoll-corpus'
umount /dev/shm/plimsoll-corpus
mount -t tmpfs -o size=24m none "$W/small"
CARGO_TARGET_DIR=$W/small M tmpfs-full-df bash -c 'cargo build; df -h '"$W/small"
umount "$W/small"

app tool; main 'fn main() {}'; printf 'cargo build\n' >ci.sh; lib "$(big 300)"
M shell-killed bash -c 'bash ci.sh & sleep 0.6; pkill -9 -P $! cargo; wait $!; echo "Error: Process completed with exit code $?."'
printf 'build:\n\tcargo build; kill -9 $$$$\n' >Makefile; M make-killed make build
M earlyoom-dry bash -c 'timeout 2 earlyoom --dryrun -m 99,98 -r 0 2>&1 | grep -m6 -vE "^mem avail" ; true'
