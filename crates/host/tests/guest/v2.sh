#!/bin/sh
# Runs this crate's tests on a real cgroup v2 kernel: in a QEMU guest, without hardware acceleration.
#
#   apt-get install qemu-system-x86 busybox-static cpio e2fsprogs
#   apt-get download linux-image-6.1.0-48-cloud-amd64; dpkg-deb -x linux-image-*.deb kernel
#   crates/host/tests/guest/v2.sh kernel/boot/vmlinuz-*
#
# Takes about ten seconds after the build. Exits with 0 when every test passed in the guest.
set -eu

kernel=${1:?usage: v2.sh KERNEL_IMAGE}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/bin" "$root/tests" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/disk"

busybox=$(command -v busybox)
cp "$busybox" "$root/bin/busybox"
for applet in sh sleep env kill cat mount mkdir rm dd insmod mkswap swapon swapoff poweroff; do
    ln -s busybox "$root/bin/$applet"
done

# What a disk needs, where the kernel does not have it built in.
mkdir "$root/modules"
find "$(dirname "$kernel")/../lib/modules" -name 'virtio*.ko' -exec cp {} "$root/modules" ';'

# The test binaries, with the libraries that they are linked to.
cargo test --package plimsoll-host --no-run --message-format=json --test limits --test processes |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' > "$work/binaries"
while read -r binary; do
    name=$(basename "$binary")
    cp "$binary" "$root/tests/${name%-*}"
    ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -Ln "$library" "$root$library"
    done
done < "$work/binaries"

cat > "$root/init" <<'INIT'
#!/bin/sh
export PATH=/bin PLIMSOLL_HOST_TEST_DISK=/disk
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm && mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    insmod /modules/$module.ko 2>/dev/null
done
mount -t ext4 /dev/vda /disk
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/outer
echo +memory > /sys/fs/cgroup/outer/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/outer/wall
echo 536870912 > /sys/fs/cgroup/outer/memory.max
failed=
dd if=/dev/zero of=/disk/swap bs=1M count=150 2>/dev/null
mkswap /disk/swap > /dev/null && swapon /disk/swap
/tests/processes --include-ignored || failed="$failed processes"
swapoff /disk/swap && rm /disk/swap
/tests/limits || failed="$failed limits"
sh -c 'echo 0 > /sys/fs/cgroup/outer/wall/cgroup.procs
    exec /tests/limits --ignored' || failed="$failed wall"
cat /sys/fs/cgroup/outer/wall/memory.pressure /proc/version
if [ -z "$failed" ]; then echo 'guest: passed'; else echo "guest: FAILED in$failed"; fi
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc) > "$work/initrd"

truncate -s 400M "$work/disk"
mkfs.ext4 -q -F "$work/disk"

timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 1536 -nographic -no-reboot \
    -kernel "$kernel" -initrd "$work/initrd" -append 'console=ttyS0 quiet panic=-1' \
    -drive "file=$work/disk,format=raw,if=virtio" -nic none < /dev/null | tee "$work/log"
grep -q '^guest: passed' "$work/log"
