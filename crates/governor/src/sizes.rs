//! The sizes that the cold model asks for: a crate's sources and its dependencies' files.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use plimsoll_core::Bytes;
use plimsoll_core::forecast::SourceSizes;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::unit::UnitFacts;

/// No crate that we met has more source files below its root; a root of `/` must not cost a second.
const FILES_AT_MOST: usize = 4000;

/// Processors and systems for which crates keep modules of their own, in families that share them. Names that
/// also mean other things (`web`, `wasm`, `x86` beside `x86_64`) are left out.
const PLATFORMS: [&[&str]; 28] = [
    &["aarch64", "arm", "arm64", "neon"],
    &["riscv", "riscv32", "riscv64"],
    &["mips", "mips32r6", "mips64", "mips64r6"],
    &["powerpc", "powerpc64", "ppc", "ppc64"],
    &["s390x"],
    &["sparc", "sparc64"],
    &["loongarch64"],
    &["csky"],
    &["m68k"],
    &["hexagon"],
    &["msp430"],
    &["wasm32", "wasm64"],
    &["windows", "win32"],
    &["macos", "ios", "tvos", "watchos", "visionos", "apple", "darwin"],
    &[
        "bsd",
        "freebsd",
        "netbsd",
        "openbsd",
        "dragonfly",
        "freebsdlike",
        "netbsdlike",
        "apple",
        "darwin",
    ],
    &["android"],
    &["solaris", "solarish", "illumos"],
    &["fuchsia"],
    &["redox"],
    &["haiku"],
    &["hermit"],
    &["emscripten"],
    &["vxworks"],
    &["nto", "qnx"],
    &["aix"],
    &["hurd"],
    &["cygwin"],
    &["uefi"],
];

/// Looks the sizes up. What cannot be read counts as nothing.
pub(crate) fn of(facts: &UnitFacts) -> SourceSizes {
    let host = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let target = if facts.target.is_empty() { &host } else { &facts.target };
    let of_file =
        |path: &PathBuf| fs::metadata(path).map(|data| Bytes(data.len())).unwrap_or_default();
    if facts.kind == UnitKind::Tool {
        return SourceSizes { source: of_file(&facts.source), ..SourceSizes::default() };
    }
    let mut source = facts.source.parent().map(|root| rust_below(root, target)).unwrap_or_default();
    if !facts.out_dir.as_os_str().is_empty() {
        source += rust_below(&facts.out_dir, target);
    }
    SourceSizes {
        source,
        dependencies: facts.externs.iter().map(of_file).sum(),
        native: Bytes::ZERO,
    }
}

/// Of the run of the build script of the package in `directory`.
pub(crate) fn of_script(directory: &Path) -> SourceSizes {
    const NATIVE: [&str; 4] = ["c", "cc", "cpp", "cxx"];
    let mut native = Bytes::ZERO;
    for_each_file(
        directory,
        |_| true,
        |file| {
            if file.path().extension().is_some_and(|it| NATIVE.iter().any(|name| it == *name)) {
                native = native.max(size(file));
            }
        },
    );
    SourceSizes { native, ..SourceSizes::default() }
}

fn size(file: &DirEntry) -> Bytes {
    file.metadata().map(|data| Bytes(data.len())).unwrap_or_default()
}

/// The Rust sources below a directory, without the modules of other platforms: of libc or linux-raw-sys a
/// fifth is compiled at a time.
fn rust_below(directory: &Path, target: &str) -> Bytes {
    let mut total = Bytes::ZERO;
    for_each_file(
        directory,
        |name| !is_of_another_platform(name, target),
        |file| {
            if file.path().extension().is_some_and(|extension| extension == "rs") {
                total += size(file);
            }
        },
    );
    total
}

/// Every file below a directory that is a crate's, or as many as may be looked at; by their stems, and those of
/// directories, some can be left out.
fn for_each_file(directory: &Path, wanted: impl Fn(&str) -> bool, mut look: impl FnMut(&DirEntry)) {
    let mut left = FILES_AT_MOST;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if left == 0 {
                return;
            }
            left -= 1;
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            if !wanted(name) {
                continue;
            }
            if kind.is_dir() {
                // A package's target directory or tests are not part of the crate.
                if !matches!(name, "target" | ".git") {
                    open.push(path);
                }
            } else {
                look(&entry);
            }
        }
    }
}

/// Whether a module of this name is compiled for other targets only.
fn is_of_another_platform(module: &str, target: &str) -> bool {
    let mut families = PLATFORMS.iter().filter(|family| family.contains(&module)).peekable();
    families.peek().is_some()
        && !families.any(|family| family.iter().any(|name| target.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rust_sources_below_the_root_count() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut facts = UnitFacts::build_script_run("a".to_owned(), String::new());
        facts.source = here.join("src/lib.rs");
        facts.externs = vec![here.join("Cargo.toml"), here.join("not there")];
        let sizes = of(&facts);
        assert!(sizes.source > Bytes::kib(5), "{}", sizes.source);
        assert!(sizes.dependencies > Bytes(200) && sizes.dependencies < Bytes::kib(8));
    }

    #[test]
    fn the_largest_native_source_of_a_package_is_what_its_script_may_compile() {
        let package = tempfile::tempdir().unwrap();
        for (file, bytes) in [
            ("src/parser.c", 3000),
            ("vendor/sqlite/sqlite3.cc", 5000),
            ("src/lib.rs", 9000),
            ("data.bin", 9000),
            ("target/debug/build/left.c", 9000),
        ] {
            let path = package.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![b' '; bytes]).unwrap();
        }
        assert_eq!(of_script(package.path()).native, Bytes(5000));
        assert_eq!(of_script(Path::new("/not/there")).native, Bytes::ZERO);
    }

    #[test]
    fn modules_of_other_platforms_are_not_compiled() {
        let linux = "x86_64-unknown-linux-gnu";
        for name in ["aarch64", "windows", "macos", "bsd", "riscv64", "wasm32"] {
            assert!(is_of_another_platform(name, linux), "{name}");
        }
        for name in ["x86_64", "linux", "unix", "x86", "lib", "armor", "wasm"] {
            assert!(!is_of_another_platform(name, linux), "{name}");
        }
        assert!(!is_of_another_platform("arm", "aarch64-unknown-linux-gnu"));
        assert!(!is_of_another_platform("bsd", "aarch64-apple-darwin"));
        assert!(!is_of_another_platform("apple", "x86_64-unknown-freebsd"));
        assert!(!is_of_another_platform("wasm32", "wasm32-unknown-unknown"));
        assert!(is_of_another_platform("windows", "x86_64-apple-darwin"), "not `win` in `darwin`");
    }
}
