# shellcheck shell=sh
# What the guests of this folder are made of; sourced. `here` is this folder, `work` one that is removed at the end.

needs() {
    for program in "$@"; do
        command -v "$program" > /dev/null || { echo "missing: $program" >&2; exit 1; }
    done
}

# Sets `kernel`, to an image that is named or to Debian's cloud kernel, which is downloaded and unpacked, not installed.
find_kernel() {
    kernel=${1:-}
    if [ -z "$kernel" ]; then
        package=$(apt-cache depends linux-image-cloud-amd64 |
            sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
        mkdir "$work/kernel"
        (cd "$work/kernel" && apt-get download -qq "$package" > /dev/null && dpkg-deb -x ./*.deb .) ||
            { echo "Debian's cloud kernel cannot be had (apt-get update?); name an image" >&2; exit 1; }
        kernel=$(echo "$work"/kernel/boot/vmlinuz-*)
    fi
    [ -f "$kernel" ] || { echo "there is no kernel at '$kernel'" >&2; exit 1; }
}

# Our programs, Cargo and the fake compiler of the end-to-end tests into a folder of the guest's root, and beside them
# what the real compiler answers to Cargo's questions. Without what only a debugger reads.
put_programs() { # ROOT FOLDER
    (cd "$here/../../../.." && cargo build --locked --package cargo-plimsoll)
    target=$(cd "$here" && cargo metadata --format-version 1 --no-deps --offline |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    rustc=$(rustc --print sysroot)/bin/rustc
    mkdir -p "$1/$2" "$1/stand-in"
    "$rustc" --edition=2024 -Copt-level=2 -o "$1/$2/rustc" "$here/../../../../fixtures/fake-rustc/src/main.rs"
    cp "$target/debug/cargo-plimsoll" "$target/debug/plimsoll-rustc" "$target/debug/plimsoll-rustdoc" \
        "$target/debug/plimsoll-test" "$(dirname "$rustc")/cargo" "$1/$2"
    for program in cargo cargo-plimsoll plimsoll-rustc plimsoll-rustdoc plimsoll-test rustc; do
        strip "$1/$2/$program"
    done
    "$rustc" -vV > "$1/stand-in/version"
    "$rustc" - --crate-name ___ --print=file-names --crate-type bin --crate-type rlib --crate-type dylib \
        --crate-type cdylib --crate-type staticlib --crate-type proc-macro --print=sysroot --print=split-debuginfo \
        --print=crate-name --print=cfg -Wwarnings < /dev/null > "$1/stand-in/answers"
    cp "$here/stand-in-rustc.sh" "$1/stand-in/rustc"
    cp "$here/checks.sh" "$1/stand-in/checks.sh"
    chmod +x "$1/stand-in/rustc"
}

# The test programs, stripped, and the compiler whose sysroot they ask for. They look for our programs and a directory for
# temporary files where they were built: `/stand-in/target` says where.
put_tests() { # ROOT
    mkdir -p "$1/stand-in/tests" "$1/stand-in/path" "$1/stand-in/sysroot/bin"
    (cd "$here/../../../.." && cargo test --locked --no-run --message-format json --package cargo-plimsoll \
        --package plimsoll-host --test e2e --test limits --test processes) |
        sed -n 's/.*"executable":"\([^"]*\/\(e2e\|limits\|processes\)-[0-9a-f]*\)".*/\1/p' > "$work/tests"
    while read -r program; do
        name=$(basename "$program")
        strip -o "$1/stand-in/tests/${name%-*}" "$program"
    done < "$work/tests"
    echo "$target" > "$1/stand-in/target"
    ln -s /stand-in/rustc "$1/stand-in/sysroot/bin/rustc"
    cat > "$1/stand-in/path/rustc" << 'END'
#!/bin/sh
case $* in '--print sysroot') echo /stand-in/sysroot ;; *) exec /stand-in/rustc "$@" ;; esac
END
    chmod +x "$1/stand-in/path/rustc"
}

# Boots a root, without hardware acceleration, and tells whether it says at its end that all holds.
boot() { # ROOT SECONDS MEBIBYTES WORD…
    root=$1 seconds=$2 memory=$3
    shift 3
    (cd "$root" && find . | cpio --quiet -o -H newc) > "$work/initrd"
    timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m "$memory" -nographic -no-reboot \
        -kernel "$kernel" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 $*" \
        -nic none < /dev/null | tee "$work/log"
    grep -q '^guest: passed' "$work/log"
}
