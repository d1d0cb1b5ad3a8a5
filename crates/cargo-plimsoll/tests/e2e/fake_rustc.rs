//! The compiler of `fixtures/fake-rustc`, which does what comments in a crate say and then what rustc does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The fake compiler's path. It is made once, with rustc alone, and called `rustc` as any compiler; in a guest without a
/// real one it is what `E2E_FAKE_RUSTC` names.
pub(crate) fn path() -> &'static Path {
    /// The compiler, beside the test binary: tests of one run, and runs after each other, share it.
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(made) = std::env::var_os("E2E_FAKE_RUSTC") {
            return made.into();
        }
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fake-rustc");
        std::fs::create_dir_all(&dir).unwrap();
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/fake-rustc/src/main.rs");
        // Another run may use the old one while it is replaced, or make it at the same time.
        let own = tempfile::tempdir_in(&dir).unwrap();
        let (path, new) = (dir.join("rustc"), own.path().join("rustc"));
        let mut rustc = Command::new(real());
        let made = rustc.args(["--edition=2024", "-Copt-level=2", "-o"]).arg(&new).arg(source);
        assert!(made.status().unwrap().success());
        std::fs::rename(&new, &path).unwrap();
        path
    })
}

/// The real compiler, without rustup before it.
pub(crate) fn real() -> &'static Path {
    static REAL: OnceLock<PathBuf> = OnceLock::new();
    REAL.get_or_init(|| {
        let mut rustc = Command::new("rustc");
        crate::scene::in_toolchain(&mut rustc);
        let said = rustc.args(["--print", "sysroot"]).output().unwrap();
        Path::new(String::from_utf8(said.stdout).unwrap().trim()).join("bin/rustc")
    })
}
