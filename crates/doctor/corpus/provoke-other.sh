# Sourced by provoke.sh: builds that fail, or do not, for other reasons than memory.
O() { record other "$@"; }

app types; main 'fn main() { let x: u32 = "nine"; println!("{x}"); }'; O type-error cargo build
O type-error-json cargo build --message-format=json
CARGO_TERM_COLOR=always O type-error-colours cargo check --color always
main 'fn main() { let v = vec![1]; let w = v; println!("{v:?} {w:?}"); }'; O borrow-error cargo build --release
main 'use signal::sigkill_9; fn main() { sigkill_9(); }'; O import-error cargo check
main 'fn main() { let x = 1; }'; RUSTFLAGS=-Dwarnings O warnings-as-errors cargo build
main '#![deny(clippy::all)] fn main() { let v: Vec<u8> = vec![]; if v.len() == 0 { println!("none") } }'; O clippy-error cargo clippy
main 'const A: [u8; usize::MAX] = [0; usize::MAX]; fn main() { println!("{}", A.len()); }'; O array-too-large cargo build
main 'fn f<T>(x: T, n: u32) { if n > 0 { f((x, 1u8), n - 1) } } fn main() { f(0, 9); }'; O instantiation-limit cargo build
main 'macro_rules! m { ($($t:tt)*) => { m!($($t)* x) } } m!(); fn main() {}'; O recursion-limit cargo build
main 'extern "C" { fn plimsoll_nowhere(); } fn main() { unsafe { plimsoll_nowhere() } }'; O undefined-symbol cargo build
RUSTFLAGS="$GNU" O undefined-symbol-bfd cargo build
main '#[link(name = "nowhere9")] extern "C" { fn f(); } fn main() { unsafe { f() } }'; O missing-library cargo build
main 'fn main() {}'; RUSTFLAGS="-Clinker=aarch64-nowhere-gcc" O missing-linker cargo build
O missing-target cargo build --target riscv64gc-unknown-linux-gnu
O bad-option cargo build --frobnicate
O missing-bin cargo build --bin nowhere

app tests; lib '#[cfg(test)] mod tests {
 #[test] fn signal_9_sigkill_is_told() { println!("signal: 9, SIGKILL: kill"); }
 #[test] fn out_of_memory_killed_process() {} }'
O passing-with-words cargo test -- --nocapture
O passing-build cargo build
O passing-nextest cargo nextest run --no-capture
lib '#[cfg(test)] mod tests { #[test] fn kills() { println!("child: (signal: 9, SIGKILL: kill)"); assert_eq!(Some(9), None::<i32>, "memory allocation of 12 bytes failed"); } }'
O failing-with-words cargo test
O failing-nextest cargo nextest run
lib '#[cfg(test)] mod tests { #[test] fn aborts() { std::process::abort(); } }'; O test-aborts cargo test
lib '#[cfg(test)] mod tests { fn f(n: u64) -> u64 { if n == 0 { 0 } else { f(std::hint::black_box(n) + 1) + 1 } } #[test] fn deep() { f(1); } }'; O test-stack-overflow cargo test
lib '#[cfg(test)] mod tests { #[test] fn slow() { std::thread::sleep(std::time::Duration::from_secs(60)); } }'
mkdir -p .config; printf '[profile.default]\nslow-timeout = { period = "1s", terminate-after = 1, grace-period = "0s" }\n' >.config/nextest.toml
O nextest-timeout cargo nextest run
O timeout-command bash -c 'timeout -v -s KILL 3 cargo test; exit 137'
lib '#[cfg(test)] mod tests { #[test] fn blocks() { Err::<(), _>(std::io::Error::from_raw_os_error(11)).unwrap(); } }'; O test-would-block cargo test
lib '/// ```
/// assert_eq!(1, 2);
/// ```
pub fn f() {}'; O failing-doctest cargo test --doc

app script; lib ''; echo 'fn main() { panic!("Unable to find libclang: \"could not find any valid shared library\"") }' >build.rs; O build-script-panics cargo build
echo 'fn main() { eprintln!("The system library `openssl` required by crate `openssl-sys` was not found.\nThe file `openssl.pc` needs to be installed"); std::process::exit(101) }' >build.rs; O pkg-config cargo build
echo 'fn main() { std::process::Command::new("cmake-nowhere").status().expect("failed to execute command: is `cmake` not installed?"); }' >build.rs; O cmake-missing cargo build
printf 'int f( { return 1; }\n' >f.cc; echo 'fn main() { let s = std::process::Command::new("c++").args(["-c", "f.cc", "-o", "/dev/null"]).status().unwrap(); assert!(s.success()); }' >build.rs; O c++-error cargo build
rm build.rs
standin rustc "--crate-name script " SEGV "$REAL"; RUSTC=$W/bin/rustc O rustc-sigsegv cargo build
standin rustc "--crate-name script " ILL "$REAL"; RUSTC=$W/bin/rustc O rustc-sigill cargo build
standin rustc "--crate-name script " INT "$REAL"; RUSTC=$W/bin/rustc O rustc-interrupted cargo build
standin rustc "--crate-name script " ABRT "$REAL"; RUSTC=$W/bin/rustc O rustc-aborts cargo build
rm "$W/bin/rustc"

app deps; lib ''; printf '[dependencies]\nserde = "1"\n' >>Cargo.toml
CARGO_HOME=$W/empty O offline cargo build
CARGO_HOME=$W/empty CARGO_NET_OFFLINE=false https_proxy=http://127.0.0.1:9 CARGO_NET_RETRY=0 O network cargo build
O locked cargo build --locked
printf 'nowhere-9 = { path = "../nowhere-9" }\n' >>Cargo.toml; O missing-path cargo build
app bad; lib ''; printf '[dependencies\n' >>Cargo.toml; O manifest cargo build
app old; lib ''; sed -i 's/^edition/rust-version = "1.999"\nedition/' Cargo.toml; O rust-version cargo build
app feats; lib ''; O missing-feature cargo build --features nowhere
RUSTUP_TOOLCHAIN=nightly-2016-01-01 O toolchain rustc +nowhere --version
app fmt; lib 'pub fn  f( ) { }'; O rustfmt cargo fmt --check

app stack; lib "$(big 40)"; main 'fn main() { println!("{}", stack::BIG[0]); }'
truncate -s 28M "$W/image"; mkfs.ext4 -q "$W/image"; mount -o loop "$W/image" "$W/disk"
CARGO_TARGET_DIR=$W/disk O disk-full cargo build
rm -rf "$W/disk/"*; CARGO_TARGET_DIR=$W/disk O disk-full-df bash -c 'cargo build --release -v; df -hT '"$W/disk"
umount "$W/disk"
chmod 000 src; setpriv --reuid 65534 true 2>/dev/null && O permission setpriv --reuid 65534 env HOME=/nonexistent CARGO_HOME="$W/empty" PATH="$(dirname "$REAL"):$PATH" "$(dirname "$REAL")/cargo" build; chmod 755 src

app "oom-killer"; lib 'pub fn memory_limit() -> u32 { "137" }'; O names-of-memory cargo build
app files; lib ''; O too-many-files bash -c 'ulimit -n 8; cargo build'

# A limit of processes is not want of memory, whatever the compiler calls it.
app wide; lib "$(big 400)"
for pids in 4 6 9; do O threads-$pids in_pids $pids cargo build -j1; done
