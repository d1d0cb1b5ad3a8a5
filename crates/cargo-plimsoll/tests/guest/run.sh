#!/bin/sh
# Walls on a real cgroup v2 kernel: whole builds in a QEMU guest, without hardware acceleration, in about two minutes.
#
#   apt-get install qemu-system-x86 busybox-static cpio
#   crates/cargo-plimsoll/tests/guest/run.sh [KERNEL_IMAGE]
#
# Without an image it takes Debian's cloud kernel, which is downloaded and unpacked, not installed. In the guest: real
# Cargo, our programs, the fake compiler of the end-to-end tests, and `stand-in-rustc.sh` in the real one's place;
# `init.sh` says what is shown. Exits with 0 when all of it holds.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in qemu-system-x86_64 busybox cpio strip; do
    command -v "$program" > /dev/null || { echo "missing: $program" >&2; exit 1; }
done

kernel=${1:-}
if [ -z "$kernel" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    mkdir "$work/kernel"
    (cd "$work/kernel" && apt-get download -qq "$package" > /dev/null && dpkg-deb -x ./*.deb .) ||
        { echo "Debian's cloud kernel cannot be had (apt-get update?); name an image" >&2; exit 1; }
    kernel=$(echo "$work"/kernel/boot/vmlinuz-*)
fi
[ -f "$kernel" ] || { echo "there is no kernel at '$kernel'" >&2; exit 1; }

# The programs, without what only a debugger reads.
cd "$here/../../../.."
cargo build --locked --package cargo-plimsoll
target=$(cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
rustc=$(rustc --print sysroot)/bin/rustc
root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/stand-in" "$root/run/systemd/system"
"$rustc" --edition=2024 -Copt-level=2 -o "$root/bin/rustc" fixtures/fake-rustc/src/main.rs
cp "$target/debug/cargo-plimsoll" "$target/debug/plimsoll-rustc" "$target/debug/plimsoll-rustdoc" \
    "$target/debug/plimsoll-test" "$(dirname "$rustc")/cargo" "$root/bin"
cp "$(command -v busybox)" "$root/bin/busybox"
strip "$root"/bin/*
for program in "$root"/bin/*; do
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -Ln "$library" "$root$library" 2> /dev/null || true
    done
done
for applet in awk basename cat chmod cp cut date dd dirname env expr find grep head kill ls mkdir mount mv poweroff \
    printf ps rm rmdir sed seq sh sleep sort tail touch tr true wc; do
    ln -s busybox "$root/bin/$applet"
done

# What the real compiler answers to Cargo's questions.
"$rustc" -vV > "$root/stand-in/version"
"$rustc" - --crate-name ___ --print=file-names --crate-type bin --crate-type rlib --crate-type dylib \
    --crate-type cdylib --crate-type staticlib --crate-type proc-macro --print=sysroot --print=split-debuginfo \
    --print=crate-name --print=cfg -Wwarnings < /dev/null > "$root/stand-in/answers"
cp "$here/stand-in-rustc.sh" "$root/stand-in/rustc"
cp "$here/stand-in-systemd-run.sh" "$root/stand-in/systemd-run"
cp "$here/init.sh" "$root/init"
chmod +x "$root/init" "$root/stand-in/rustc" "$root/stand-in/systemd-run"
(cd "$root" && find . | cpio --quiet -o -H newc) > "$work/initrd"

timeout 300 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nographic -no-reboot \
    -kernel "$kernel" -initrd "$work/initrd" -append 'console=ttyS0 quiet panic=-1' \
    -nic none < /dev/null | tee "$work/log"
grep -q '^guest: passed' "$work/log"
