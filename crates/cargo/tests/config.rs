//! Cargo's configuration as Plimsoll reads it, against what Cargo itself says (`cargo config get`).
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up stops there")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_cargo::{CargoConfig, Environment, Given, Jobs, Origin};

/// A directory tree with configuration files, `w/s` being where Cargo is called and `home` Cargo's.
struct Tree {
    root: tempfile::TempDir,
    variables: Vec<(String, OsString)>,
    cli: Vec<OsString>,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("w/s")).unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let home = root.path().join("home").into_os_string();
        let variables = vec![("CARGO_HOME".to_owned(), home)];
        Self { root, variables, cli: Vec::new() }
    }

    fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), value.into()));
        self.variables.extend(owned);
        self
    }

    fn cli(mut self, cli: &[&str]) -> Self {
        self.cli = cli.iter().map(OsString::from).collect();
        self
    }

    fn cwd(&self) -> PathBuf {
        self.root.path().join("w/s")
    }

    fn read(&self) -> CargoConfig {
        let environment = Environment::from_iter(self.variables.clone());
        CargoConfig::read(&environment, &self.cwd(), &self.cwd(), &self.cli)
    }

    /// What Cargo says of a key; nothing where it is not set.
    fn ask(&self, key: &str, format: &[&str]) -> Option<String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .env_clear()
            .env("RUSTC_BOOTSTRAP", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.cwd())
            .args(["config", "get", "-Z", "unstable-options"])
            .args(format)
            .args(self.cli.iter().flat_map(|value| ["--config".into(), value.clone()]))
            .arg(key)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() || said.contains("is not set"), "{key}: {said}");
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// A single value, what relative paths in it are relative to, and the words for its origin.
    fn oracle(&self, key: &str) -> Option<(toml::Value, PathBuf, String)> {
        let line = self.ask(key, &["--show-origin"])?;
        let table: toml::Table = line.parse().unwrap();
        let value = key.split('.').fold(toml::Value::Table(table), |value, key| value[key].clone());
        let origin = line.trim_end().rsplit_once(" # ").unwrap().1.to_owned();
        let file = Path::new(&origin);
        let base = if file.is_absolute() {
            file.parent().unwrap().parent().unwrap().to_owned()
        } else {
            self.cwd()
        };
        Some((value, base, origin))
    }

    #[track_caller]
    fn same_origin<T>(&self, given: &Given<T>, said: &str) {
        match &given.origin {
            Origin::Variable(name) => assert_eq!(said, format!("environment variable `{name}`")),
            Origin::File(path) => assert_eq!(said, path.to_str().unwrap()),
            Origin::CommandLine => {
                assert!(!self.cli.is_empty() && !said.contains("variable"), "{said}");
            }
        }
    }

    /// Compares every key with Cargo's word and gives back what was read.
    #[track_caller]
    fn agree(&self) -> CargoConfig {
        let config = self.read();
        let jobs = self.oracle("build.jobs");
        assert_eq!(config.jobs.is_some(), jobs.is_some(), "build.jobs: {jobs:?}");
        if let (Some(given), Some((value, _, origin))) = (&config.jobs, jobs) {
            let expected = match value.as_integer() {
                Some(number) => Jobs::from_integer(number).unwrap(),
                None => value.as_str().unwrap().parse().unwrap(),
            };
            assert_eq!(given.value, expected);
            self.same_origin(given, &origin);
        }
        for (key, given) in [
            ("rustc-wrapper", &config.rustc_wrapper),
            ("rustc", &config.rustc),
            ("rustdoc", &config.rustdoc),
            ("target-dir", &config.target_dir),
        ] {
            let said = self.oracle(&format!("build.{key}"));
            assert_eq!(given.is_some(), said.is_some(), "{key}: {said:?}");
            if let (Some(given), Some((value, base, origin))) = (given, said) {
                let text = value.as_str().unwrap();
                let is_path = key == "target-dir" || text.contains('/');
                let expected = if is_path { base.join(text) } else { PathBuf::from(text) };
                assert_eq!(given.value, expected, "{key}");
                self.same_origin(given, &origin);
            }
        }
        for (name, words) in &config.aliases {
            let json = self.ask(&format!("alias.{name}"), &["--format", "json-value"]);
            let Some(json) = json else { panic!("{name} is no alias") };
            let expected: Vec<String> = match serde_json::from_str(&json).unwrap() {
                serde_json::Value::String(text) => {
                    text.split_whitespace().map(str::to_owned).collect()
                }
                list => serde_json::from_value(list).unwrap(),
            };
            assert_eq!(*words, expected, "alias.{name}");
        }
        config
    }
}

const NEAR: &str = "
[build]
jobs = 2
rustc-wrapper = 'tools/wrap'
target-dir = 'near'
[alias]
b2 = 'build -j2'
both = ['build', '-j1']
";

const FAR: &str = "
[build]
jobs = -1
rustc-wrapper = 'sccache'
rustc = '../rustc'
rustdoc = 'rustdoc-far'
[alias]
b2 = 'build -j3'
far = ['check', '--all targets']
both = ['check']
";

#[test]
fn the_nearest_file_wins_and_home_comes_last() {
    let tree = Tree::new(&[
        ("w/s/.cargo/config.toml", NEAR),
        ("w/.cargo/config.toml", FAR),
        (
            "home/config.toml",
            "[build]\njobs = 9\nbuild-dir = 'b/{workspace-root}'\n[alias]\nh = 'h'",
        ),
    ]);
    let config = tree.agree();
    assert_eq!(config.jobs.unwrap().value, "2".parse().unwrap());
    assert_eq!(config.aliases.len(), 4);
    assert_eq!(config.aliases["both"], ["check", "build", "-j1"]);
    assert_eq!(config.aliases["far"], ["check", "--all targets"]);
}

#[test]
fn home_alone() {
    let config = Tree::new(&[("home/config.toml", FAR)]).agree();
    assert_eq!(config.jobs.unwrap().value, "-1".parse().unwrap());
}

#[test]
fn the_name_without_an_extension_is_preferred() {
    let tree = Tree::new(&[("w/.cargo/config.toml", FAR), ("w/.cargo/config", NEAR)]);
    assert_eq!(tree.agree().jobs.unwrap().value, "2".parse().unwrap());
}

#[test]
fn a_home_inside_the_tree_is_read_once_in_its_place() {
    let mut tree = Tree::new(&[("w/.cargo/config.toml", FAR), ("w/s/.cargo/config.toml", NEAR)]);
    tree.variables[0].1 = tree.root.path().join("w/.cargo").into_os_string();
    assert_eq!(tree.agree().aliases["both"], ["check", "build", "-j1"]);
}

#[test]
fn nothing_is_nothing() {
    let config = Tree::new(&[]).agree();
    assert_eq!(config, CargoConfig::default());
}

#[test]
fn the_environment_goes_before_files() {
    let variables = [
        ("CARGO_BUILD_JOBS", "5"),
        ("CARGO_BUILD_RUSTC_WRAPPER", "./here"),
        ("CARGO_BUILD_TARGET_DIR", "t"),
        ("CARGO_ALIAS_B2", "build -j5"),
        ("CARGO_ALIAS_BOTH", "--locked --offline"),
    ];
    let tree = Tree::new(&[("w/.cargo/config.toml", NEAR)]).variables(&variables);
    let config = tree.agree();
    assert_eq!(config.rustc_wrapper.unwrap().value, tree.cwd().join("./here"));
    assert_eq!(config.aliases["both"], ["build", "-j1", "--locked", "--offline"]);

    let tree = Tree::new(&[]).variables(&[("CARGO_BUILD_JOBS", "default")]);
    assert_eq!(tree.agree().jobs.unwrap().value, Jobs::Default);
}

#[test]
fn an_alias_that_only_the_environment_defines_is_seen() {
    let config = Tree::new(&[]).variables(&[("CARGO_ALIAS_Q_B", "build -q")]).read();
    assert_eq!(config.aliases["q-b"], ["build", "-q"]);
    assert_eq!(config.aliases["q_b"], ["build", "-q"]);
}

#[test]
fn the_command_line_goes_before_everything() {
    let config = Tree::new(&[
        ("w/.cargo/config.toml", NEAR),
        (
            "w/s/extra/deep/more.toml",
            "build.jobs = 7\nbuild.rustc = 'bin/rustc'\nalias.both = ['--locked']",
        ),
    ])
    .variables(&[("CARGO_BUILD_JOBS", "5")])
    .cli(&["build.jobs = 6", "extra/deep/more.toml", "build.rustdoc='./doc'"])
    .agree();
    assert_eq!(
        config.jobs.unwrap(),
        Given { value: "7".parse().unwrap(), origin: Origin::CommandLine }
    );
    assert_eq!(config.aliases["both"], ["build", "-j1", "--locked"]);
}

#[test]
fn included_files_come_after_the_including_one_the_last_of_them_first() {
    let main = "include = ['a.toml', { path = 'in/b.toml', optional = true }, { path = 'no.toml', optional = true }]
        build.jobs = 2
        alias.x = ['main']";
    let tree = Tree::new(&[
        ("w/.cargo/config.toml", main),
        (
            "w/.cargo/a.toml",
            "build.jobs = 3\nbuild.rustc = 'x/a'\nbuild.rustdoc = 'x/a'\nalias.x = ['a']",
        ),
        ("w/.cargo/in/b.toml", "include = ['c.toml']\nbuild.rustc = 'x/b'\nalias.x = ['b']"),
        ("w/.cargo/in/c.toml", "build.rustc = 'x/c'\nbuild.target-dir = 'c'\nalias.x = ['c']"),
        ("home/config.toml", "build.rustc-wrapper = 'home'\nalias.x = ['home']"),
    ]);
    let config = tree.agree();
    assert_eq!(config.aliases["x"], ["home", "a", "c", "b", "main"]);

    tree.cli(&["include = ['../.cargo/a.toml']"]).agree();
}

#[test]
fn what_is_malformed_is_left_to_cargo() {
    let tree =
        Tree::new(&[("w/s/.cargo/config.toml", "build = ["), ("w/.cargo/config.toml", NEAR)])
            .cli(&["no toml", ""])
            .variables(&[("CARGO_BUILD_RUSTC", "")]);
    let config = tree.read();
    assert_eq!(config.jobs.unwrap().value, "2".parse().unwrap());

    let tree =
        Tree::new(&[("w/.cargo/config.toml", "build.jobs = 0\nbuild.rustc = 1\nalias.x = 3")]);
    assert_eq!(tree.read(), CargoConfig::default());
    let circle = "include = ['config.toml']\nbuild.jobs = 4";
    let tree = Tree::new(&[("w/.cargo/config.toml", circle)]);
    assert_eq!(tree.read().jobs.unwrap().value, "4".parse().unwrap());
}

#[test]
fn cargos_own_variables_go_before_its_configuration() {
    let variables = [
        ("RUSTC_WRAPPER", ""),
        ("RUSTC", "./my/rustc"),
        ("RUSTDOC", "my-rustdoc"),
        ("CARGO_TARGET_DIR", "t"),
    ];
    let tree = Tree::new(&[("w/.cargo/config.toml", NEAR)])
        .variables(&variables)
        .cli(&["build.rustc='x'", "build.target-dir='x'"]);
    let config = tree.read();
    let wrapper = config.rustc_wrapper.unwrap();
    assert_eq!(wrapper.value, Path::new(""), "none, and said so");
    assert_eq!(wrapper.origin, Origin::Variable("RUSTC_WRAPPER"));
    assert_eq!(config.rustc.unwrap().value, tree.cwd().join("./my/rustc"));
    assert_eq!(config.rustdoc.unwrap().value, Path::new("my-rustdoc"));
    assert_eq!(config.target_dir.unwrap().value, tree.cwd().join("t"));
}

#[test]
fn the_build_directory_is_a_template() {
    let build_dir = |text: &str| {
        let config = format!("build.build-dir = '{text}'");
        let tree = Tree::new(&[("w/.cargo/config.toml", &config)]);
        let path = tree.read().build_dir.unwrap().value.resolve(Path::new("/ws"));
        path.to_str().unwrap().replace(tree.root.path().to_str().unwrap(), "R")
    };
    assert_eq!(build_dir("out"), "R/w/out");
    assert_eq!(build_dir("{workspace-root}/out"), "/ws/out");
    assert_eq!(build_dir("{cargo-cache-home}/b/{workspace-path-hash}/x"), "R/home/b/");
}
