#!/usr/bin/env bash
# What a Cloudflare Worker build needs, on a machine without rustup's targets:
#
#   crates/cargo-plimsoll/tests/worker/provision.sh DIR
#   . DIR/env.sh
#
# Into DIR go a compiler with std for wasm32-unknown-unknown, wasm-bindgen of the version that the fixtures lock,
# worker-build, esbuild, wasm-opt and workerd; nothing outside of DIR changes, save Cargo's and npm's own caches. The
# compiler is Debian's rustc-web, unpacked, not installed, and its std is built from its sources; a machine whose own
# compiler has that std keeps it. DIR/env.sh puts all of it first in PATH.
#
# A step leaves a marker in DIR/done when it has ended, so a second call does only what is missing. Exits with 3 where
# it cannot be done here, after a line that says why.
set -euo pipefail

# What goes together: worker-build asks for this esbuild and this binaryen, and workerd need only be newer than the
# compatibility dates of the fixtures.
worker_build=0.8.7
esbuild=0.28.2
binaryen=132
workerd=1.20261117.1

here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1/done" "$1/bin"
dir=$(cd "$1" && pwd)
wasm_bindgen=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p;}' "$here/site/Cargo.lock")

# What is built here is built alike, whoever calls: not with this environment's compiler, flags and folders.
unset RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
export CARGO_TARGET_DIR=$dir/build
PATH=${PATH//"$dir/bin:"/}

cannot() {
    echo "no Worker can be built here: $*" >&2
    exit 3
}

failed() {
    echo "$*" >&2
    exit 1
}

# Runs a command whose output is of interest only when it fails.
quietly() {
    "$@" > "$dir/log" 2>&1 || { tail -n 20 "$dir/log" >&2; return 1; }
}

# Does a step unless its marker is there, and says how long it took.
step() {
    local marker=$dir/done/$1 started=$SECONDS
    [ ! -e "$marker" ] || return 0
    echo "$1 ..."
    shift
    "$@"
    touch "$marker"
    echo "    $((SECONDS - started)) s, $(du -sm "$dir" | cut -f 1) MB in all"
}

# Puts a program into DIR/bin and sees that it runs.
program() {
    [ -x "$2" ] || cannot "there is no '$1' for this platform"
    ln -sf "$2" "$dir/bin/$1"
    quietly "$dir/bin/$1" --version || failed "'$1' does not run"
}

npm_tools() {
    { command -v npm && command -v node; } > /dev/null || cannot "npm and node are missing"
    rm -rf "$dir/npm"
    mkdir "$dir/npm"
    # Their install scripts would only fetch anew what the optional packages of this platform hold.
    quietly npm install --prefix "$dir/npm" --ignore-scripts --no-audit --no-fund --include=optional \
        "workerd@$workerd" "binaryen@$binaryen" "esbuild@$esbuild" || cannot "npm cannot install its tools"
    local modules=$dir/npm/node_modules
    program workerd "$(echo "$modules"/@cloudflare/workerd-*/bin/workerd)"
    program esbuild "$(echo "$modules"/@esbuild/*/bin/esbuild)"
    program wasm-opt "$modules/binaryen/bin/wasm-opt"
}

# Downloads packages of Debian and unpacks them into a folder, whatever dpkg says is installed.
unpack() {
    local into=$1
    shift
    rm -rf "$into"
    mkdir -p "$into/debs"
    cd "$into/debs"
    quietly apt-get -o APT::Sandbox::User=root download "$@" || cannot "apt-get cannot download $* (apt-get update?)"
    for deb in *.deb; do
        case $deb in
        # Of all the sources only the library's are needed.
        rust-web-src_*) dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$into" --wildcards './usr/src/rustc-*/library' ;;
        *) dpkg-deb -x "$deb" "$into" ;;
        esac
    done
    cd "$dir"
    rm -rf "$into/debs"
}

# Debian's compiler with its std for the host, and LLVM and what that needs where they are not installed.
compiler() {
    { command -v apt-get && command -v apt-cache && command -v dpkg-deb; } > /dev/null ||
        cannot "the compiler has no std for wasm32-unknown-unknown, and there is no apt-get to take another from"
    local std linker libraries
    std=$(apt-cache depends libstd-rust-web-dev 2> /dev/null | sed -n 's/.*Depends: \(libstd-rust-web-[0-9].*\)/\1/p')
    [ -n "$std" ] || cannot "apt-get knows no rustc-web (apt-get update?)"
    linker=$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld
    [ -x "$linker" ] || cannot "there is no rust-lld beside the compiler to link with"
    mapfile -t libraries < <(apt-get -s install --no-install-recommends "$std" 2> /dev/null |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p' | grep -vxF "$std")
    unpack "$debian" rustc-web rust-web-src libstd-rust-web-dev "$std" "${libraries[@]}"
    mkdir -p "$debian/usr/lib/rustlib/$host/bin"
    ln -s "$linker" "$debian/usr/lib/rustlib/$host/bin/rust-lld"
    cat > "$debian/rustc" << EOF
#!/bin/sh
LD_LIBRARY_PATH='$debian/usr/lib/${host/-unknown/}' exec '$debian/usr/bin/rustc' "\$@"
EOF
    chmod +x "$debian/rustc"
    quietly "$debian/rustc" -vV || failed "Debian's compiler does not run"
}

# As a distribution builds it: of crates that a program's own cannot be taken for, with bitcode for a fat LTO, and
# without the paths of this machine. Its dependencies are those of its own lock file.
std_for_wasm() {
    local flags
    flags=$(printf '%s\x1f' -Zforce-unstable-if-unmarked -Cembed-bitcode=yes -Cdebuginfo=0 \
        "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" "--remap-path-prefix=$debian=")
    cd "$debian"/usr/src/rustc-*/library/sysroot
    local settings=(env "RUSTC=$debian/rustc" RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=stablestd
        "CARGO_ENCODED_RUSTFLAGS=${flags%$'\x1f'}")
    quietly "${settings[@]}" cargo fetch --locked || cannot "cargo cannot fetch what std depends on"
    quietly "${settings[@]}" cargo build --release --target wasm32-unknown-unknown --locked \
        --features panic-unwind,backtrace || failed "std for wasm32-unknown-unknown cannot be built"
    cd "$dir"
    local into=$debian/usr/lib/rustlib/wasm32-unknown-unknown/lib
    mkdir -p "$into"
    cp "$CARGO_TARGET_DIR"/wasm32-unknown-unknown/release/deps/*.rlib "$into"
    rm -rf "$CARGO_TARGET_DIR"
    ln -sf "$debian/rustc" "$dir/bin/rustc"
}

# What the fixtures depend on is needed in any case, and says whether the rest can be had.
crates() {
    quietly cargo fetch --locked --manifest-path "$here/site/Cargo.toml" || cannot "cargo cannot fetch crates"
}

# worker-build holds a TLS client to download its tools with, and does not compile without OpenSSL's headers, though
# here nothing is left for it to download.
openssl_headers() {
    if pkg-config --exists openssl 2> /dev/null; then return; fi
    command -v apt-get > /dev/null || cannot "OpenSSL's headers are missing"
    unpack "$dir/openssl" libssl-dev
}

# Not optimized: to compile them well takes longer than the few runs they are made for.
install() {
    local openssl=$dir/openssl/usr
    if [ -d "$openssl" ]; then
        export OPENSSL_STATIC=1 OPENSSL_LIB_DIR=$openssl/lib/${host/-unknown/} OPENSSL_INCLUDE_DIR=$openssl/include
        export CFLAGS=-I$openssl/include/${host/-unknown/}
    fi
    local name=$1
    shift
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 quietly cargo install --force --root "$dir/cargo" --bin "$name" "$@" ||
        failed "cargo cannot install $name"
    program "$name" "$dir/cargo/bin/$name"
}

{ command -v cargo && command -v rustc; } > /dev/null || cannot "cargo and rustc are missing"
host=$(rustc -vV | sed -n 's/^host: //p')
debian=$dir/debian
step crates crates
step npm npm_tools
if compgen -G "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib/libcore-*" > /dev/null; then
    rm -f "$dir/bin/rustc"
else
    step compiler compiler
    step std std_for_wasm
fi
step openssl openssl_headers
step "wasm-bindgen-$wasm_bindgen" install wasm-bindgen wasm-bindgen-cli --version "=$wasm_bindgen" --no-default-features
step "worker-build-$worker_build" install worker-build worker-build --version "=$worker_build"
rm -rf "$CARGO_TARGET_DIR" "$debian/usr/src" "$dir/log"

# worker-build asks PATH for rustc, Cargo the variable. What the last three name, worker-build does not download.
{
    echo "PATH='$dir/bin':\$PATH"
    [ ! -e "$dir/bin/rustc" ] || echo "export RUSTC='$dir/bin/rustc'"
    echo "export PATH WASM_BINDGEN_BIN='$dir/bin/wasm-bindgen'"
    echo "export WASM_OPT_BIN='$dir/bin/wasm-opt' ESBUILD_BIN='$dir/bin/esbuild'"
} > "$dir/env.sh.new"
mv "$dir/env.sh.new" "$dir/env.sh"
