//! Which unit a line of Cargo's names.

use std::ffi::OsStr;
use std::path::Path;

use plimsoll_core::invocation::{own_folder, without_hash};

/// What Cargo says that it could not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// How a person calls it: `serde`, `app (bin server)`.
    pub(crate) title: String,
    /// How a person calls its link: `link of server`.
    pub(crate) link: String,
    /// It is the run of a build script, whose own output follows.
    pub(crate) script: bool,
}

/// The unit of a line that says what failed.
pub(crate) fn said(line: &str) -> Option<Said> {
    if let Some(rest) = after(line, "ould not compile ") {
        // Old Cargos, and what was pasted without its backticks: `could not compile http.`
        let (package, rest) = match rest.strip_prefix('`') {
            Some(rest) => rest.split_once('`')?,
            None => rest.split_once([' ', '.', ',']).unwrap_or((rest, "")),
        };
        let target = rest.trim_start().strip_prefix('(').and_then(|rest| rest.split_once(')'));
        return Some(compiled(package, target.map_or("", |(target, _)| target)));
    }
    if let Some(rest) = after(line, "ould not document `") {
        let title = format!("documentation of {}", rest.split_once('`')?.0);
        return Some(Said { link: title.clone(), title, script: false });
    }
    let rest = after(line, "failed to run custom build command for `")?;
    let package = rest.split(['`', ' ']).next()?;
    let title = format!("{package} (build script)");
    Some(Said { link: title.clone(), title, script: true })
}

fn compiled(package: &str, target: &str) -> Said {
    let mut words = target.splitn(2, ' ');
    let (kind, rest) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let name = rest.split('"').nth(1).unwrap_or(package);
    let of_tests = rest.ends_with("test") && kind != "test";
    let title = match kind {
        "" | "lib" if !of_tests => package.to_owned(),
        "build" => format!("{package} (compiling its build script)"),
        "bin" | "example" | "test" | "bench" if name != package => {
            format!("{package} ({kind} {name}{})", if of_tests { " test" } else { "" })
        }
        _ => format!("{package} ({})", target.replace(&format!(" \"{package}\""), "")),
    };
    let link = match kind {
        "bin" | "example" | "bench" | "test" if of_tests => format!("link of {name} (test)"),
        "bin" | "example" | "bench" => format!("link of {name}"),
        "test" => format!("link of {name} (test)"),
        "build" => format!("link of {package} (build script)"),
        _ if of_tests => format!("link of {package} (test)"),
        _ => format!("link of {package}"),
    };
    Said { title, link, script: false }
}

/// The unit of a process by its command, as Cargo shows it in backticks: `None` for a compiler without a name.
pub(crate) fn of_command(command: &str) -> Option<String> {
    if let Some(rest) = after(command, "--crate-name ") {
        let name = rest.split_whitespace().next()?.trim_matches(['\'', '"']);
        return Some(match name {
            "build_script_build" => "a build script (compiling it)".to_owned(),
            _ if command.contains("rustdoc") => format!("documentation of {name}"),
            _ => name.to_owned(),
        });
    }
    let program = command.split_whitespace().next()?;
    // A log may be of any system.
    let path = program.replace('\\', "/");
    let file = path.rsplit('/').next()?;
    let file = file.strip_suffix(".exe").unwrap_or(file);
    let folder = Path::new(&path).parent();
    let own = folder.and_then(own_folder);
    if file.starts_with("build-script-") || file.starts_with("build_script_") {
        // target/debug/build/aws-lc-sys-0123456789abcdef/build-script-build, and since Cargo 1.100
        // target/debug/build/aws-lc-sys/0123456789abcdef/out/build_script_build
        let of_package = match own {
            Some(own) => own.parent(),
            None => folder,
        };
        let name = of_package.and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
        let package = if own.is_some() { name } else { without_hash(name) };
        return (!package.is_empty()).then(|| format!("{package} (build script)"));
    }
    if is_compiler(file) || matches!(file, "sh" | "bash" | "cargo" | "make" | "docker") {
        return None;
    }
    let name = without_hash(file);
    // Only tests have a hash in both layouts; programs are run by their names.
    let is_built_there = path.contains("/deps/") || own.is_some();
    Some(if is_built_there && name != file {
        format!("run of test {name}")
    } else {
        format!("run of {name}")
    })
}

/// Whether a program's name is that of a compiler, a wrapper of one, or Cargo's documentation tool.
pub(crate) fn is_compiler(name: &str) -> bool {
    ["rustc", "rustdoc", "clippy-driver", "sccache", "cachepot", "kache"]
        .iter()
        .any(|known| name.contains(known))
}

/// Whether a process of this name (as the kernel cuts it, 15 characters) is one that builds start.
pub(crate) fn is_of_builds(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "cargo",
        "rustc",
        "rustdoc",
        "clippy-driver",
        "sccache",
        "rust-lld",
        "lld",
        "ld",
        "ld.lld",
        "ld.mold",
        "ld.bfd",
        "ld.gold",
        "mold",
        "wild",
        "collect2",
        "cc1",
        "cc1plus",
        "cc",
        "c++",
        "gcc",
        "g++",
        "clang",
        "clang++",
        "lto1",
        "lto-wrapper",
        "as",
        "make",
        "ninja",
        "cmake",
        "wasm-opt",
        "opt",
        "llc",
        "dsymutil",
        "rustc_driver",
        "coordinator",
        "nextest",
        "cargo-nextest",
        "node",
        "bindgen",
        "protoc",
    ];
    NAMES.contains(&name)
        || name.starts_with("build-script-")
        || name.starts_with("build_script_")
        || name.starts_with("rustc")
        || name.starts_with("opt cgu")
        || name.starts_with("opt ")
        || name.starts_with("lto ")
        || name.starts_with("clang-")
        || name.starts_with("cargo-")
}

/// What stands behind the first `mark`.
pub(crate) fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.find(mark).map(|at| &line[at + mark.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_s_words_name_the_unit_and_its_link() {
        let check = |line: &str, title: &str, link: &str| {
            let said = said(line).unwrap();
            assert_eq!((said.title.as_str(), said.link.as_str()), (title, link), "{line}");
        };
        check("error: could not compile `serde` (lib)", "serde", "link of serde");
        check("error: Could not compile `http`.", "http", "link of http");
        check(
            "error: could not compile `app` (bin \"bin-07\") due to 1 previous error",
            "app (bin bin-07)",
            "link of bin-07",
        );
        check("error: could not compile `app` (bin \"app\")", "app (bin)", "link of app");
        check("error: could not compile `app` (lib test)", "app (lib test)", "link of app (test)");
        check(
            "error: could not compile `app` (bin \"app\" test)",
            "app (bin test)",
            "link of app (test)",
        );
        check("error: could not compile `app` (test \"it\")", "app (test it)", "link of it (test)");
        check(
            "error: could not compile `log` (build script)",
            "log (compiling its build script)",
            "link of log (build script)",
        );
        check(
            "error: failed to run custom build command for `aws-lc-sys v0.20.0`",
            "aws-lc-sys (build script)",
            "aws-lc-sys (build script)",
        );
    }

    #[test]
    fn a_command_names_what_it_runs() {
        let check = |command: &str, unit: Option<&str>| {
            assert_eq!(of_command(command).as_deref(), unit, "{command}");
        };
        check("/r/bin/rustc --crate-name serde --edition=2021 src/lib.rs", Some("serde"));
        check("/t/debug/deps/app-0123456789abcdef --quiet", Some("run of test app"));
        check("target/debug/app", Some("run of app"));
        check("/t/build/v8-0123456789abcdef/build-script-build", Some("v8 (build script)"));
        let own = "target/debug/build/v8/0123456789abcdef/out";
        check(&format!("{own}/build_script_build"), Some("v8 (build script)"));
        check(&format!("/t/{own}/it-0123456789abcdef --quiet"), Some("run of test it"));
        check(&format!("/t/{own}/v8"), Some("run of v8"));
        check("rustc -vV", None);
    }
}
