//! Whether the compiler has a standard library for Workers.

use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_cargo::Environment;
use plimsoll_cargo::metadata::answer;

use super::TARGET;
use super::tools::Missing;

/// What is missing beside `rustc`, the compiler that Cargo uses in `directory`.
pub fn missing(rustc: &Path, environment: &Environment, directory: &Path) -> Option<Missing> {
    let ask = |what: &[&str]| {
        let said = answer(Command::new(rustc).args(what).current_dir(directory));
        said.map(|said| String::from_utf8_lossy(&said).trim().to_owned())
    };
    let libraries = ask(&["--print", "target-libdir", "--target", TARGET]);
    match libraries.map(PathBuf::from) {
        Ok(libraries) if has_core(&libraries) => None,
        Ok(libraries) => {
            let of_rustup = ask(&["--print", "sysroot"]).is_ok_and(|sysroot| {
                Path::new(&sysroot).parent().is_some_and(|it| it.ends_with("toolchains"))
            });
            Some(Missing {
                what: format!(
                    "the compiler `{}` has no standard library for {TARGET} (it would be in `{}`)",
                    rustc.display(),
                    libraries.display()
                ),
                install: if of_rustup {
                    format!("rustup target add {TARGET}")
                } else if has_apt(environment) {
                    "sudo apt-get install libstd-rust-dev-wasm32".to_owned()
                } else {
                    format!("your system's package of Rust's standard library for {TARGET}")
                },
            })
        }
        Err(error) => Some(Missing {
            what: format!("the compiler `{}` does not answer: {error:#}", rustc.display()),
            install: "rustup default stable".to_owned(),
        }),
    }
}

fn has_core(libraries: &Path) -> bool {
    let entries = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn has_apt(environment: &Environment) -> bool {
    environment.program("apt-get", Path::new("/")).is_some()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_library_that_is_missing_is_told_with_rustups_command_where_the_compiler_is_rustups() {
        let dir = tempfile::tempdir().unwrap();
        let rustc = dir.path().join("rustc");
        let toolchain = dir.path().join("toolchains/stable");
        let libraries = toolchain.join("lib");
        fs::create_dir_all(&libraries).unwrap();
        let text = format!(
            "#!/bin/sh\ncase $2 in sysroot) echo '{}' ;; *) echo '{}' ;; esac\n",
            toolchain.display(),
            libraries.display()
        );
        fs::write(&rustc, text).unwrap();
        fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).unwrap();
        let environment = Environment::from_iter([("PATH", "/nowhere")]);
        let found = || missing(&rustc, &environment, dir.path());
        assert_eq!(found().unwrap().install, "rustup target add wasm32-unknown-unknown");
        fs::write(libraries.join("libcore-0123.rlib"), "").unwrap();
        assert_eq!(found(), None);
        fs::write(&rustc, "#!/bin/sh\necho no such toolchain >&2\nexit 1\n").unwrap();
        assert!(found().unwrap().what.contains("no such toolchain"));
    }
}
