//! `enable`, `disable` and `status` as programs, on an account in a temporary directory.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up stops there")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use plimsoll_core::Bytes;
use plimsoll_core::settings::Memory;
use plimsoll_proto::Enabled;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cargo-plimsoll");

/// A Cargo home, a Plimsoll home and a workspace's directory.
struct Account {
    root: tempfile::TempDir,
}

impl Account {
    fn new() -> Self {
        let account = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(account.at("w/s")).unwrap();
        account
    }

    fn with(config: &str) -> Self {
        let account = Self::new();
        fs::create_dir(account.at("cargo")).unwrap();
        fs::write(account.config(), config).unwrap();
        account
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.at("cargo/config.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    fn command(&self, words: &str) -> Command {
        self.command_of(Path::new(PROGRAM), words)
    }

    fn command_of(&self, program: &Path, words: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.at("user"))
            .env("CARGO_HOME", self.at("cargo"))
            .env("PLIMSOLL_HOME", self.at("state/plimsoll"))
            .current_dir(self.at("w/s"))
            .args(words.split_whitespace());
        command
    }

    #[track_caller]
    fn ok(&self, words: &str) -> String {
        good(&mut self.command(words))
    }

    #[track_caller]
    fn refused(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(101), "{words}");
        err(&output)
    }

    fn enabled(&self) -> Option<Enabled> {
        let line = fs::read(Enabled::file(&self.at("state/plimsoll"))).ok()?;
        Some(Enabled::decode(&line).unwrap())
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok("status --json")).unwrap()
    }

    /// Nothing of ours is left.
    #[track_caller]
    fn assert_gone(&self) {
        assert_eq!(self.enabled(), None);
        assert!(!self.at("state/plimsoll/enable").exists());
    }
}

#[track_caller]
fn good(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", err(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The program with its shims in another place, as by another installation.
fn installed(directory: &Path) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    for name in ["cargo-plimsoll", "plimsoll-rustc", "plimsoll-rustdoc"] {
        fs::hard_link(Path::new(PROGRAM).with_file_name(name), directory.join(name))
            .or_else(|_| {
                // By another process, so that no other test's fork has it open for writing.
                let from = Path::new(PROGRAM).with_file_name(name);
                Command::new("cp").arg(from).arg(directory).status().map(drop)
            })
            .unwrap();
    }
    directory.join("cargo-plimsoll")
}

#[test]
fn nothing_was_there_and_nothing_is_left() {
    let account = Account::new();
    let said = account.ok("plimsoll enable --memory 6G");
    assert!(said.starts_with("enabled: ") && said.contains("6.00 GiB"), "{said}");
    let shim = |name| Path::new(PROGRAM).with_file_name(name);
    let (rustc, rustdoc) = (shim("plimsoll-rustc"), shim("plimsoll-rustdoc"));
    assert_eq!(
        account.text(),
        format!("[build]\nrustc-wrapper = {rustc:?}\nrustdoc = {rustdoc:?}\n")
    );
    let enabled = account.enabled().unwrap();
    assert_eq!(enabled.memory, Memory::Size(Bytes::gib(6)));
    assert_eq!((enabled.wrapper, enabled.rustdoc), (None, None));
    assert_eq!(enabled.config, account.config());
    assert_eq!(mode(&account.at("state/plimsoll")), 0o700);
    assert_eq!(mode(&account.at("state/plimsoll/enable")), 0o700);
    for file in ["enabled", "enable/written"] {
        assert_eq!(mode(&account.at("state/plimsoll").join(file)), 0o600);
    }
    assert!(account.ok("disable").contains("is what it was before"));
    account.assert_gone();
    assert!(!account.at("cargo").exists(), "the directory was made by us");
    assert!(account.ok("disable").starts_with("not enabled"));
}

#[test]
fn what_stood_there_is_chained_and_comes_back() {
    let config = "# mine\r\nbuild = { rustc-wrapper = 'bin/sc cache', rustdoc = \"rd\" } # ü\r\n";
    let account = Account::with(config);
    fs::set_permissions(account.config(), Permissions::from_mode(0o640)).unwrap();
    let said = account.ok("enable");
    assert!(said.contains("sc cache` for rustc") && said.contains("`rd` for rustdoc"), "{said}");
    let enabled = account.enabled().unwrap();
    assert_eq!(enabled.wrapper, Some(account.at("bin/sc cache")), "as Cargo resolves it");
    assert_eq!(enabled.rustdoc, Some("rd".into()));
    assert_eq!(mode(&account.config()), 0o640);
    assert_eq!(mode(&account.at("state/plimsoll/enable/original")), 0o600);
    account.ok("disable");
    assert_eq!((account.text().as_str(), mode(&account.config())), (config, 0o640));
    account.assert_gone();
}

#[test]
fn a_wrapper_of_an_included_file_is_chained() {
    let account = Account::with("include = ['more.toml']\n");
    fs::write(account.at("cargo/more.toml"), "build.rustc-wrapper = 'kache'\n").unwrap();
    account.ok("enable");
    assert_eq!(account.enabled().unwrap().wrapper, Some("kache".into()));
}

#[test]
fn twice_changes_nothing_but_the_budget() {
    let account = Account::with("[build]\nrustc-wrapper = 'sccache'\n");
    account.ok("enable --memory 50%");
    let (text, kept) = (account.text(), fs::read(account.at("state/plimsoll/enable/original")));
    assert!(account.ok("enable").contains("nothing changed"));
    assert!(account.ok("enable --memory 4G").contains("updated"));
    assert_eq!(account.text(), text);
    assert_eq!(account.enabled().unwrap().memory, Memory::Size(Bytes::gib(4)));
    assert_eq!(account.enabled().unwrap().wrapper, Some("sccache".into()));
    assert_eq!(fs::read(account.at("state/plimsoll/enable/original")).unwrap(), kept.unwrap());
    account.ok("disable");
    assert_eq!(account.text(), "[build]\nrustc-wrapper = 'sccache'\n");
}

#[test]
fn another_installation_takes_over() {
    let config = "[build]\nrustc-wrapper = 'sccache' # x\n";
    let account = Account::with(config);
    let (first, second) = (installed(&account.at("a b")), installed(&account.at("c")));
    good(&mut account.command_of(&first, "enable"));
    fs::remove_dir_all(account.at("a b")).unwrap();
    let status: serde_json::Value =
        serde_json::from_str(&good(&mut account.command_of(&second, "status --json"))).unwrap();
    assert_eq!(status["effective"], false);
    assert!(status["obstacles"][0]["what"].as_str().unwrap().contains("does not exist"));
    good(&mut account.command_of(&second, "enable"));
    assert!(account.text().contains(account.at("c/plimsoll-rustc").to_str().unwrap()));
    assert!(!account.text().contains("a b"));
    assert_eq!(account.enabled().unwrap().wrapper, Some("sccache".into()));
    good(&mut account.command_of(&second, "disable"));
    assert_eq!(account.text(), config);
}

#[test]
fn what_was_edited_since_stays() {
    let account = Account::with("[build]\nrustc-wrapper = 'sccache' # x\njobs = 3\n");
    account.ok("enable");
    let edited = format!(
        "# new\n{}\n[net]\noffline = true\n",
        account.text().replace("jobs = 3", "jobs = 4")
    );
    fs::write(account.config(), edited).unwrap();
    assert!(account.ok("disable").contains("your later edits"));
    let expected =
        "# new\n[build]\nrustc-wrapper = 'sccache' # x\njobs = 4\n\n[net]\noffline = true\n";
    assert_eq!(account.text(), expected);
    account.assert_gone();

    // Edited, enabled again, not edited: the bytes of the second time come back.
    account.ok("enable");
    fs::write(account.config(), format!("{}# more\n", account.text())).unwrap();
    account.ok("enable");
    assert!(account.ok("disable").contains("is what it was before"));
    assert_eq!(account.text(), format!("{expected}# more\n"));
}

#[test]
fn a_file_that_was_made_goes_where_nothing_was_added() {
    let account = Account::new();
    account.ok("enable");
    fs::write(account.config(), format!("{}\n", account.text())).unwrap();
    account.ok("disable");
    assert_eq!(account.text(), "\n");
    account.ok("enable");
    fs::write(account.config(), format!("{}jobs = 2\n", account.text())).unwrap();
    account.ok("disable");
    assert_eq!(account.text().trim(), "[build]\njobs = 2");
}

#[test]
fn keys_that_were_changed_since_are_left() {
    let account = Account::with("");
    account.ok("enable");
    fs::write(account.config(), "build.rustc-wrapper = 'kache'\n").unwrap();
    let status = account.status();
    assert_eq!((&status["enabled"], &status["effective"]), (&true.into(), &false.into()));
    assert!(account.ok("disable").contains("no longer named Plimsoll"));
    assert_eq!(account.text(), "build.rustc-wrapper = 'kache'\n");
    account.assert_gone();

    account.ok("enable");
    fs::remove_file(account.config()).unwrap();
    assert!(account.ok("disable").contains("no longer named Plimsoll"));
    account.assert_gone();
}

#[test]
fn what_is_configured_over_a_shim_is_chained_when_enabled_again() {
    let account = Account::with("build.jobs = 1\n");
    account.ok("enable");
    let shim = format!("{:?}", Path::new(PROGRAM).with_file_name("plimsoll-rustc"));
    fs::write(account.config(), account.text().replace(&shim, "'kache'")).unwrap();
    account.ok("enable");
    assert_eq!(account.enabled().unwrap().wrapper, Some("kache".into()));
    account.ok("disable");
    assert_eq!(account.text(), "build.jobs = 1\nbuild.rustc-wrapper = 'kache'\n");
}

/// Each state in which a crash can leave the account is put right by both commands.
#[test]
fn a_crash_in_the_middle_is_put_right() {
    let config = "[build]\nrustc-wrapper = 'sccache'\n";
    for command in ["enable", "disable"] {
        // Before `enabled` is written or after it is removed; with it, but without the configuration.
        for recorded in [false, true] {
            let account = Account::with(config);
            account.ok("enable");
            fs::write(account.config(), config).unwrap();
            if !recorded {
                fs::remove_file(account.at("state/plimsoll/enabled")).unwrap();
            }
            account.ok(command);
            if command == "enable" {
                assert_eq!(account.status()["effective"], true, "{recorded}");
                assert_eq!(account.enabled().unwrap().wrapper, Some("sccache".into()));
                account.ok("disable");
            }
            assert_eq!(account.text(), config, "{command}, {recorded}");
            account.assert_gone();
        }
    }
}

#[test]
fn a_home_that_was_lost_does_not_leave_the_shims_behind() {
    let account = Account::with("[net]\noffline = true\n");
    account.ok("enable");
    fs::remove_dir_all(account.at("state")).unwrap();
    let status = account.status();
    assert_eq!(status["enabled"], false);
    assert!(status["obstacles"][0]["what"].as_str().unwrap().contains("not enabled"));
    account.ok("disable");
    assert_eq!(account.text(), "[net]\noffline = true\n");
}

#[test]
fn a_link_stays_a_link() {
    let account = Account::new();
    fs::create_dir(account.at("cargo")).unwrap();
    fs::create_dir(account.at("dotfiles")).unwrap();
    let file = account.at("dotfiles/cargo.toml");
    fs::write(&file, "[net]\n").unwrap();
    symlink("../dotfiles/cargo.toml", account.config()).unwrap();
    account.ok("enable");
    assert!(fs::read_to_string(&file).unwrap().contains("plimsoll-rustc"));
    account.ok("disable");
    assert_eq!(fs::read_to_string(&file).unwrap(), "[net]\n");
    assert!(account.config().is_symlink());
    // One that leads nowhere yet.
    fs::remove_file(&file).unwrap();
    account.ok("enable");
    assert!(file.exists() && account.config().is_symlink());
    account.ok("disable");
    assert!(!file.exists() && account.config().is_symlink());
}

#[test]
fn the_file_that_cargo_reads_is_edited() {
    let account = Account::with("# not read\n");
    let old = account.at("cargo/config");
    fs::write(&old, "# read\n").unwrap();
    let output = account.command("enable").output().unwrap();
    assert!(err(&output).contains("Cargo reads only the first"), "{}", err(&output));
    assert!(fs::read_to_string(&old).unwrap().contains("plimsoll-rustc"));
    assert_eq!(account.text(), "# not read\n");
    account.ok("disable");
    assert_eq!(fs::read_to_string(&old).unwrap(), "# read\n");
}

#[test]
fn what_cannot_be_edited_is_left_as_it_is() {
    for (config, said) in [
        ("[build]\njobs = \n", "line 2"),
        ("build = 1\n", "line 1: `build` is not a table"),
        ("[build]\nrustc-wrapper = 3\n", "line 2: `build.rustc-wrapper` is not a string"),
    ] {
        let account = Account::with(config);
        let error = account.refused("enable");
        assert!(error.contains(said) && error.contains("config.toml"), "{error}");
        assert_eq!(account.text(), config);
        account.assert_gone();
    }
    let account = Account::new();
    fs::create_dir(account.at("cargo")).unwrap();
    fs::write(account.config(), b"# \xff\n").unwrap();
    assert!(account.refused("enable").contains("utf-8"));

    let account = Account::with("[net]\n");
    fs::set_permissions(account.config(), Permissions::from_mode(0o400)).unwrap();
    let error = account.refused("enable");
    assert!(error.contains("cannot write") && error.contains("writable"), "{error}");
    assert_eq!(account.text(), "[net]\n");
    account.assert_gone();
}

#[test]
fn one_configuration_at_a_time() {
    let account = Account::new();
    account.ok("enable");
    let mut other = account.command("enable");
    let output = other.env("CARGO_HOME", account.at("other")).output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    assert!(err(&output).contains("CARGO_HOME now leads to"), "{}", err(&output));
    // Wherever it is called, what was enabled is disabled.
    good(account.command("disable").env("CARGO_HOME", account.at("other")));
    account.assert_gone();
    assert!(!account.at("cargo").exists());
}

/// Shims look for the record from directories of Cargo's choosing, with the environment that they are given.
#[test]
fn a_home_that_others_may_not_find_is_said() {
    let account = Account::new();
    let output = account.command("enable").env("PLIMSOLL_HOME", "here").output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    assert!(err(&output).contains("PLIMSOLL_HOME is a relative path"), "{}", err(&output));
    assert!(!account.at("cargo").exists());
    let output = account.command("enable").output().unwrap();
    assert!(err(&output).contains("only this shell sets PLIMSOLL_HOME"), "{}", err(&output));
    let output = account.command("enable").env_remove("PLIMSOLL_HOME").output().unwrap();
    assert_eq!(err(&output), "");
    assert!(account.at("user/.local/state/plimsoll/enabled").exists());
}

#[test]
fn status_says_what_goes_past_the_budget_here() {
    let account = Account::with("build.rustc-wrapper = 'sccache'\n");
    assert!(account.ok("status").contains("no: plain `cargo` has no memory budget"));
    account.ok("enable --memory 1GiB");
    let said = account.ok("status");
    assert!(said.contains("yes, since 2") && said.contains("sccache for rustc"), "{said}");
    assert!(said.contains("plain `cargo` keeps to the budget"), "{said}");
    let status = account.status();
    assert_eq!(status["memory"], "1.00 GiB");
    assert_eq!(status["config"], account.config().to_str().unwrap());
    assert_eq!(status["obstacles"], serde_json::json!([]));

    let said = good(account.command("status").env("RUSTC_WRAPPER", ""));
    assert!(
        said.contains("does NOT keep to the budget") && said.contains("`unset RUSTC_WRAPPER`"),
        "{said}"
    );
    fs::create_dir(account.at("w/.cargo")).unwrap();
    let workspace = account.at("w/.cargo/config.toml");
    fs::write(&workspace, "build.rustc-wrapper = 'kache'\nbuild.rustdoc = 'x'\n").unwrap();
    let said = account.ok("status");
    assert!(said.contains(workspace.to_str().unwrap()) && said.contains("kache"), "{said}");
    assert_eq!(account.status()["obstacles"][1]["tool"], "rustdoc");
    let output = account.command("enable").output().unwrap();
    assert!(err(&output).contains("remove it there"), "{}", err(&output));
}

#[test]
fn uninstall_leaves_nothing_but_the_programs() {
    let account = Account::with("[build]\njobs = 3\n");
    account.ok("enable --memory 6G");
    let state = account.at("state/plimsoll");
    fs::create_dir(state.join("logs")).unwrap();
    fs::write(state.join("logs/one.jsonl"), "x".repeat(9000)).unwrap();
    let kept = account.ok("disable");
    assert!(
        kept.contains("the log of 1 build") && kept.contains("cargo plimsoll uninstall"),
        "{kept}"
    );
    account.ok("enable --memory 6G");

    let unasked = account.command("uninstall").output().unwrap();
    assert_eq!(unasked.status.code(), Some(1));
    assert!(err(&unasked).contains("no terminal to ask on"), "{}", err(&unasked));
    assert!(account.enabled().is_some());

    let done = account.ok("uninstall --yes");
    assert!(done.contains("cargo uninstall cargo-plimsoll"), "{done}");
    assert_eq!(account.text(), "[build]\njobs = 3\n");
    assert!(!state.exists());
    assert!(account.ok("uninstall --yes").contains("nothing to remove"));
    assert!(!state.exists(), "asking makes nothing");
}

#[test]
fn uninstall_works_when_half_is_gone_and_leaves_what_is_not_ours() {
    let account = Account::new();
    account.ok("enable");
    let state = account.at("state/plimsoll");
    fs::remove_file(Enabled::file(&state)).unwrap();
    fs::write(state.join("notes.txt"), "mine").unwrap();
    let done = account.ok("uninstall --yes");
    assert!(done.contains("are not Plimsoll's and stay"), "{done}");
    assert!(!account.config().exists());
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1);

    // The state is gone, the configuration still names the shims.
    account.ok("enable");
    fs::remove_dir_all(&state).unwrap();
    account.ok("uninstall --yes");
    assert!(!account.config().exists() || !account.text().contains("plimsoll"));
    assert!(!state.exists());
}
