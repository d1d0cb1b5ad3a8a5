#!/bin/sh
# Walls and lines where the real systemd makes the cgroups and the real systemd-oomd kills: a Debian in a QEMU guest,
# without hardware acceleration, in about ten minutes. Takes root, for the Debian.
#
#   apt-get install qemu-system-x86 cpio mmdebstrap
#   crates/cargo-plimsoll/tests/guest/systemd.sh
#
# As run.sh, with Debian's cloud kernel, whose compressed swap systemd-oomd needs, and a systemd of this machine's own sources as the first process; `systemd-init.sh` says what is shown; a part of it are end-to-end tests, as root and as a user
# with a systemd of its own: those of limits and accounts that do with a stand-in for the real compiler.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/common.sh"
needs qemu-system-x86_64 cpio strip mmdebstrap
find_kernel ''

root=$work/root
sources=''
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -s "$file" ]; then sources="$sources $file"; fi
done
# shellcheck disable=SC2086
mmdebstrap --quiet --mode=root --variant=essential \
    --include=systemd-sysv,systemd-oomd,dbus-user-session,libpam-systemd,passwd,util-linux,kmod \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='chroot "$1" useradd --create-home --uid 1000 builder' \
    '' "$root" $sources
put_programs "$root" usr/local/bin
put_tests "$root"
for module in zsmalloc lzo-rle zram; do
    find "$work/kernel/lib/modules" -name "$module.ko*" -exec cp {} "$root/stand-in" \;
done
cp "$here/systemd-init.sh" "$root/stand-in/init"
chmod +x "$root/stand-in/init"
cat > "$root/etc/systemd/system/guest.service" << 'END'
[Unit]
After=systemd-logind.service dbus.service
[Service]
Type=oneshot
ExecStart=/stand-in/init
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
END
mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/etc/systemd/system/user@.service.d"
ln -s ../guest.service "$root/etc/systemd/system/multi-user.target.wants"
# As Fedora and Ubuntu have it, but sooner.
mkdir -p "$root/etc/systemd/oomd.conf.d"
printf '[OOM]\nDefaultMemoryPressureDurationSec=2s\n' > "$root/etc/systemd/oomd.conf.d/90-soon.conf"
printf '[Service]\nManagedOOMMemoryPressure=kill\nManagedOOMMemoryPressureLimit=20%%\n' \
    > "$root/etc/systemd/system/user@.service.d/oomd.conf"
ln -s lib/systemd/systemd "$root/init"
boot "$root" 1200 3072 psi=1 systemd.show_status=0
