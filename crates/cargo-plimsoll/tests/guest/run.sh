#!/bin/sh
# Walls on a real cgroup v2 kernel: whole builds in a QEMU guest, without hardware acceleration, in about two minutes.
#
#   apt-get install qemu-system-x86 busybox-static cpio
#   crates/cargo-plimsoll/tests/guest/run.sh [KERNEL_IMAGE]
#
# Without an image it takes Debian's cloud kernel. In the guest: real Cargo, our programs, the fake compiler of the
# end-to-end tests, and `stand-in-rustc.sh` in the real one's place; `init.sh` says what is shown. Exits with 0 when all
# of it holds.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/common.sh"
needs qemu-system-x86_64 busybox cpio strip
find_kernel "${1:-}"

root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/run/systemd/system"
put_programs "$root" bin
cp "$(command -v busybox)" "$root/bin/busybox"
# Where it cannot be had the guest says so.
PATH=$PATH:$work/earlyoom/usr/bin
command -v earlyoom > /dev/null ||
    (cd "$work" && apt-get download -qq earlyoom && dpkg-deb -x ./earlyoom_*.deb earlyoom) > /dev/null 2>&1 || true
cp "$(command -v earlyoom)" "$root/bin" 2> /dev/null || true
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
cp "$here/stand-in-systemd-run.sh" "$root/stand-in/systemd-run"
cp "$here/init.sh" "$root/init"
chmod +x "$root/init" "$root/stand-in/systemd-run"
boot "$root" 400 2048
