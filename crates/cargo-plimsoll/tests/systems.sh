#!/usr/bin/env bash
# Whether Plimsoll compiles for each system that the README names, on a machine that has the libraries of none:
#
#   crates/cargo-plimsoll/tests/systems.sh DIR
#
# For other systems than Linux that is the package `cargo-plimsoll`. Nothing is
# linked and nothing runs: it shows that everything named exists there and fits, no more.
#
# The standard libraries are made from the sources of the machine's own compiler, as far as `cargo check` reads them:
# from rustup's component `rust-src` where that is installed, else from Debian's package of the same version, unpacked
# into DIR, not installed. Exits with 3 where
# it cannot be done here, after a line that says why.
set -euo pipefail

others=(x86_64-apple-darwin aarch64-apple-darwin x86_64-pc-windows-gnu)

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
root=$(cd "$(dirname "$0")/../../.." && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
unset RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET

cannot() {
    echo "other systems cannot be checked here: $*" >&2
    exit 3
}

# Runs a command whose output is of interest only when it fails.
quietly() {
    "$@" > "$dir/log" 2>&1 || { tail -n 20 "$dir/log" >&2; return 1; }
}

# Words as Cargo takes them for the compiler.
flags() {
    local all
    all=$(printf '%s\x1f' "$@")
    printf '%s' "${all%$'\x1f'}"
}

# Debian's sources of the compiler's version, out of its backports, whose list is small: by an apt with a state of its
# own, from the machine's mirror.
debian_sources() {
    { command -v apt-get && command -v apt-cache && command -v dpkg-deb; } > /dev/null ||
        cannot "rustup's component rust-src is not installed, and there is no apt-get"
    local mirror version apt=$dir/apt
    # shellcheck disable=SC2016 # apt replaces it itself
    read -r mirror < <(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian') ||
        cannot "apt-get knows no mirror of Debian"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    : > "$apt/status"
    echo "deb $mirror stable-backports main" > "$apt/sources.list"
    cat > "$apt/apt.conf" << EOF
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Sandbox::User "root";
Acquire::Languages "none";
EOF
    export APT_CONFIG=$apt/apt.conf
    quietly apt-get update || cannot "apt-get cannot reach Debian's backports"
    version=$(apt-cache madison rust-src | awk -F ' *[|] *' -v release="$release+" 'index($2, release) == 1 { print $2; exit }')
    [ -n "$version" ] || cannot "Debian has no rust-src $release"
    (cd "$apt" && quietly apt-get download "rust-src=$version") || cannot "apt-get cannot download rust-src=$version"
    unset APT_CONFIG
    # Of all the sources only the library's are needed.
    mkdir -p "$dir/new"
    dpkg-deb --fsys-tarfile "$apt"/rust-src_*.deb | tar -x -C "$dir/new" --wildcards './usr/src/rustc-*/library'
    mv "$dir"/new/usr/src/rustc-*/library "$dir/library-$release"
    rm -rf "$apt" "$dir/new"
}

{ command -v cargo && command -v rustc; } > /dev/null || cannot "cargo and rustc are missing"
release=$(rustc -vV | sed -n 's/^release: //p')
library=$(rustc --print sysroot)/lib/rustlib/src/rust/library
if [ ! -e "$library/std/Cargo.toml" ]; then
    library=$dir/library-$release
    [ -e "$library" ] || debian_sources
fi

targets=()
for system in "${others[@]}"; do targets+=(--target "$system"); done
(
    cd "$library"
    export RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=stablestd CARGO_TARGET_DIR=$dir/std CARGO_INCREMENTAL=0
    export CARGO_ENCODED_RUSTFLAGS=-Zforce-unstable-if-unmarked
    quietly cargo fetch --locked || cannot "cargo cannot fetch what std depends on"
    quietly cargo check --locked --package std --features panic-unwind "${targets[@]}"
)
echo "[$SECONDS s] std is made"
for system in "${others[@]}"; do
    into=$dir/sysroot/lib/rustlib/$system/lib
    rm -rf "$into"
    mkdir -p "$into"
    find "$dir/std/$system" -name 'lib*.rmeta' -exec cp -p {} "$into" \;
done

CARGO_ENCODED_RUSTFLAGS=$(flags "--sysroot=$dir/sysroot" -Dwarnings)
export CARGO_ENCODED_RUSTFLAGS
cd "$root"
# The systems, and what is checked for them.
check() {
    local targets=() systems=$1 system
    for system in $systems; do targets+=(--target "$system"); done
    quietly cargo check --locked "${targets[@]}" "${@:2}"
    echo "[$SECONDS s] $systems"
}
check "${others[*]}" --package cargo-plimsoll
