//! Registration, admission and the end of a unit.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::ExitStatusExt as _;

use plimsoll_core::invocation::UnitKind;
use plimsoll_core::oversized::Shrink;
use plimsoll_proto::{ToGovernor, ToShim};
use plimsoll_shim::env;

use crate::scene::{ANNOUNCED, LIB, Running, Scene, lives};

#[test]
fn a_unit_registers_with_what_is_known_of_it() {
    let scene = Scene::new("exit 0");
    let mut command = scene.shim(LIB);
    command
        .env("CARGO_PKG_NAME", "foo-package")
        .env("CARGO_PKG_VERSION", "1.2.3")
        .env("OUT_DIR", "/t/build/foo/out")
        .args(["--extern", "bar=out/libbar.rmeta"]);
    let running = Running::start(&mut command);
    let (mut peer, facts) = scene.governor().unit();
    assert_eq!((facts.package.as_str(), facts.version.as_str()), ("foo-package", "1.2.3"));
    assert_eq!(facts.crate_name, "foo");
    assert_eq!(facts.source, scene.at("src.rs"));
    assert_eq!(facts.externs, [scene.at("out/libbar.rmeta")]);
    assert_eq!(facts.out_dir.to_str(), Some("/t/build/foo/out"));
    assert!(facts.retryable);
    peer.admit();
    peer.started();
    assert!(peer.finished());
    assert!(running.end().0.success());
}

#[test]
fn only_the_compiler_itself_is_run_again() {
    let retryable = |prepare: &dyn Fn(&Scene) -> std::process::Command| {
        let scene = Scene::new("exit 0");
        let running = Running::start(&mut prepare(&scene));
        let (mut peer, facts) = scene.governor().unit();
        peer.say(&ToShim::Leave);
        assert_eq!(running.end().0.code(), Some(1));
        facts.retryable
    };
    let named = |name: &'static str| {
        move |scene: &Scene| {
            let mut command = scene.shim_before(scene.at(name));
            command.args(LIB);
            command
        }
    };
    assert!(retryable(&named("rustc")));
    assert!(retryable(&named("clippy-driver")));
    assert!(!retryable(&named("cargo")));
    assert!(!retryable(&named("my-rustc")));
    for name in [env::WRAPPER, "__CARGO_FIX_PLZ"] {
        assert!(!retryable(&|scene| {
            let mut command = scene.shim(LIB);
            command.env(name, "sccache");
            command
        }));
    }
    let rustdoc = |scene: &Scene, test: bool| {
        let mut command = std::process::Command::new(scene.at("plimsoll-rustdoc"));
        scene.prepare(&mut command);
        command.args(["--crate-name", "foo", "src.rs"]).args(test.then_some("--test"));
        command
    };
    assert!(retryable(&|scene| rustdoc(scene, false)));
    assert!(!retryable(&|scene| rustdoc(scene, true)));
}

#[test]
fn a_compiler_that_will_link_or_is_near_the_budget_gives_back_what_it_has_freed() {
    let told = |kind: &str, shrink: Shrink, users: Option<&str>| {
        let scene = Scene::new("echo \"${MALLOC_CONF-nothing}\"");
        let args = LIB.iter().map(|arg| if *arg == "lib" { kind } else { arg });
        let mut command = scene.shim(args);
        match users {
            Some(text) => command.env("MALLOC_CONF", text),
            None => command.env_remove("MALLOC_CONF"),
        };
        let running = Running::start(&mut command);
        let (mut peer, _) = scene.governor().unit();
        peer.admit_as(shrink);
        running.end().1
    };
    assert!(told("bin", Shrink::No, None).contains("dirty_decay_ms:1000"));
    assert!(told("lib", Shrink::SameOutput, None).contains("dirty_decay_ms:200"));
    assert!(told("bin", Shrink::SameOutput, None).contains("dirty_decay_ms:200"));
    assert_eq!(told("lib", Shrink::No, None), "nothing\n");
    assert_eq!(told("bin", Shrink::SameOutput, Some("tcache:false")), "tcache:false\n");
}

#[test]
fn an_oversized_unit_gets_no_huge_pages_and_other_settings_only_where_that_was_agreed_to() {
    let seen = |shrink: Shrink| {
        let scene = Scene::new("echo \"$@\"; grep THP_enabled /proc/self/status");
        let heavy = ["-C", "codegen-units=1", "-C", "debuginfo=2"];
        let running = Running::start(&mut scene.shim(LIB.iter().chain(&heavy)));
        let (mut peer, facts) = scene.governor().unit();
        assert_eq!(facts.slimmer, "codegen units 1 to 16, no debug info");
        peer.admit_as(shrink);
        let said = running.end().1;
        let huge = said.contains("THP_enabled:\t1");
        (huge, said.contains("-Ccodegen-units=16 -Cdebuginfo=0"))
    };
    assert_eq!(seen(Shrink::No), (true, false));
    assert_eq!(seen(Shrink::SameOutput), (false, false));
    assert_eq!(seen(Shrink::OtherOutput), (false, true));
}

#[test]
fn rustdoc_is_the_one_that_the_driver_names() {
    let scene = Scene::new("");
    scene.script("real-rustdoc", "echo real \"$@\"");
    let mut command = std::process::Command::new(scene.at("plimsoll-rustdoc"));
    scene.prepare(&mut command);
    command.args(["--crate-name", "foo", "src.rs"]).env(env::RUSTDOC, scene.at("real-rustdoc"));
    let running = Running::start(&mut command);
    let (mut peer, facts) = scene.governor().unit();
    assert_eq!(facts.kind, UnitKind::Doc);
    peer.admit();
    peer.started();
    assert!(peer.finished());
    assert_eq!(running.end().1, "real --crate-name foo src.rs\n");
}

#[test]
fn argument_files_are_understood_and_handed_on_as_they_are() {
    let scene = Scene::new("echo \"$@\"");
    fs::write(scene.at("args"), LIB.join("\n")).unwrap();
    let running = Running::start(&mut scene.shim(["@args"]));
    let (mut peer, facts) = scene.governor().unit();
    assert_eq!((facts.crate_name.as_str(), facts.unit_name.as_str()), ("foo", "foo-ab"));
    peer.admit();
    peer.started();
    assert!(peer.finished());
    assert_eq!(running.end().1, "@args\n");
}

#[test]
fn names_need_not_be_utf8() {
    let odd = OsString::from_vec(b"caf\xe9.rs".to_vec());
    let scene = Scene::new("printf '%s\\n' \"$1\" >seen");
    let mut command = scene.shim([&odd]);
    let running = Running::start(&mut command);
    let (mut peer, facts) = scene.governor().unit();
    assert_eq!(facts.source, scene.at(&odd));
    peer.admit();
    peer.started();
    assert!(peer.finished());
    assert!(running.end().0.success());
    assert_eq!(fs::read(scene.at("seen")).unwrap(), b"caf\xe9.rs\n");
}

#[test]
fn the_compiler_gets_its_own_tokens_and_its_own_temporary_directory() {
    let scene = Scene::new(
        "echo $CARGO_MAKEFLAGS; echo ${MAKEFLAGS-none} ${MFLAGS-none}; cat /proc/self/oom_score_adj
         echo $TMPDIR; touch $TMPDIR/left; r=${CARGO_MAKEFLAGS##*auth=}; head -c1 /proc/self/fd/${r%,*}
         printf y >/proc/self/fd/${r#*,}",
    );
    let mut command = scene.shim(LIB);
    command.env("MAKEFLAGS", "x").env("MFLAGS", "x").env("CARGO_MAKEFLAGS", "cargo's");
    let running = Running::start(&mut command);
    let (mut peer, _) = scene.governor().unit();
    let (read, write) = peer.admit();
    rustix::io::write(&write, b"x").unwrap();
    peer.started();
    assert!(peer.finished());
    let (status, stdout, _) = running.end();
    assert!(status.success());
    let lines: Vec<_> = stdout.lines().collect();
    assert!(lines[0].starts_with("-j --jobserver-fds="), "{stdout}");
    assert_eq!(lines[1], "none none");
    let score: i32 = lines[2].parse().unwrap();
    assert!(score >= 500, "{stdout}");
    assert!(lines[3].starts_with(scene.at("tmp/u").to_str().unwrap()), "{stdout}");
    assert_eq!(lines[4], "x");
    let mut returned = [0];
    assert_eq!(rustix::io::read(&read, &mut returned), Ok(1));
    assert_eq!(&returned, b"y");
    assert_eq!(scene.names("tmp"), [""; 0]);
}

#[test]
fn diagnostics_come_at_once_and_metadata_is_announced() {
    let scene = Scene::new(&format!(
        "echo 'first' >&2; read line <gate; echo '{ANNOUNCED}' >&2; read line <end; printf last >&2"
    ));
    // Two of them: whoever opens one again may find the writer of before still there.
    let (gate, end) = (scene.gate("gate"), scene.gate("end"));
    let mut running = Running::start(&mut scene.shim(LIB));
    let (mut peer, _) = scene.governor().start();
    assert_eq!(running.line(), "first");
    fs::write(&gate, "\n").unwrap();
    assert_eq!(running.line(), ANNOUNCED);
    assert_eq!(peer.hear(), ToGovernor::Announced);
    fs::write(&end, "\n").unwrap();
    assert!(peer.finished());
    assert_eq!(running.end().2, "last");
}

#[test]
fn the_end_is_the_compilers() {
    for (script, code, signal) in [
        ("exit 101", Some(101), None),
        ("kill -ABRT $$", None, Some(6)),
        ("kill -SEGV $$", None, Some(11)),
    ] {
        let scene = Scene::new(script);
        let running = Running::start(&mut scene.shim(LIB));
        let (mut peer, _) = scene.governor().start();
        assert!(!peer.finished(), "{script}");
        let (status, ..) = running.end();
        assert_eq!((status.code(), status.signal()), (code, signal), "{script}");
    }
}

#[test]
fn a_build_that_has_failed_elsewhere_is_left_in_silence() {
    let scene = Scene::new("touch ran");
    let running = Running::start(&mut scene.shim(LIB));
    let (mut peer, _) = scene.governor().unit();
    peer.say(&ToShim::Leave);
    let (status, stdout, stderr) = running.end();
    assert_eq!((status.code(), stdout.as_str(), stderr.as_str()), (Some(1), "", ""));
    assert!(!scene.at("ran").exists());
}

#[test]
fn a_refusal_is_a_diagnostic() {
    for (args, expected) in [
        (
            &["--error-format=json"][..],
            "{\"$message_type\":\"diagnostic\",\"message\":\"needs 3 GiB\"",
        ),
        (&[], "error: needs 3 GiB\n"),
    ] {
        let scene = Scene::new("touch ran");
        let running = Running::start(scene.shim(LIB).args(args));
        let (mut peer, _) = scene.governor().unit();
        peer.say(&ToShim::Refuse { text: "needs 3 GiB".to_owned() });
        let (status, _, stderr) = running.end();
        assert_eq!(status.code(), Some(1));
        assert!(stderr.starts_with(expected), "{stderr}");
        assert!(!scene.at("ran").exists());
    }
}

#[test]
fn an_abort_kills_the_whole_tree() {
    let scene = Scene::new("sleep 1000 & echo $! >inner; touch $TMPDIR/left; wait");
    let running = Running::start(&mut scene.shim(LIB));
    let (mut peer, pid) = scene.governor().start();
    let inner = crate::scene::pid_in(&scene.at("inner"));
    peer.say(&ToShim::Abort);
    assert_eq!(running.end().0.code(), Some(1));
    assert!(!lives(pid) && !lives(inner));
    assert_eq!(scene.names("tmp"), [""; 0]);
}

#[test]
fn a_shim_that_is_killed_takes_its_compiler_along() {
    let scene = Scene::new("echo here >&2; exec sleep 1000");
    let mut running = Running::start(&mut scene.shim(LIB));
    let (mut peer, pid) = scene.governor().start();
    assert_eq!(running.line(), "here");
    running.kill();
    crate::scene::until("the compiler is gone", || !lives(pid));
    assert!(peer.hangs_up());
}

#[test]
fn the_users_own_wrapper_is_chained() {
    let scene = Scene::new("");
    scene.script("sccache", "echo wrapped \"$@\"");
    let mut command = scene.shim(LIB);
    command.env(env::WRAPPER, scene.at("sccache"));
    let running = Running::start(&mut command);
    let (mut peer, _) = scene.governor().start();
    assert!(peer.finished());
    let expected = format!("wrapped {} {}\n", scene.at("rustc").display(), LIB.join(" "));
    assert_eq!(running.end().1, expected);
}
