//! The real earlyoom, which tells the largest process to end (SIGTERM) before it kills one.
//!
//! It acts at once here: what it leaves alone is less than the whole of the machine's memory. So that it can hit nobody
//! else, it lives in a PID namespace with the build alone. There it prefers compilers; and should it look once more before
//! the word after its first kill has ended it, there are decoys that it takes before anything of the build.

use std::process::Command;

use plimsoll_testing::needs;

use crate::scene::Scene;

/// Less than the last percent is never free, and less than one never taken: SIGTERM, and no SIGKILL.
const EARLYOOM: &str = "
    for decoy in 1 2 3 4 5 6 7 8 9; do
        sh -c 'echo 300 >/proc/self/oom_score_adj; exec sleep 1000' &
    done
    (
        while [ ! -e \"$E2E_SCENE/run-a\" ]; do sleep 0.01; done
        exec earlyoom -m 99,1 -s 100,1 -r 0 --prefer '^rustc$' -N \"$E2E_SCENE/bin/once\"
    ) >\"$E2E_SCENE/earlyoom\" 2>&1 &
    \"$@\"";

#[test]
fn a_compiler_that_earlyoom_tells_to_end_runs_once_more() {
    needs::program("earlyoom");
    needs::root();
    let own = ["--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    needs::success(Command::new("unshare").args(own).arg("true"), "root may make no PID namespace");
    let scene = Scene::new();
    scene.script("bin/once", "touch $E2E_SCENE/has-ended-one; kill -9 $PPID");
    scene.lib(
        "a",
        &[],
        "// fake: log run-a; alloc 100MiB in 100ms; until go\npub fn f() { let unused = 1; }",
    );
    scene.lib("b", &["a"], "pub fn g() { a::f() }");
    let build = scene.fake("--memory 1GiB build");
    let mut namespace = Command::new("unshare");
    namespace.args(own).args(["sh", "-c", EARLYOOM, "sh"]);
    let running = scene.start(&mut scene.inside(namespace, &build));
    scene.wait_for("has-ended-one");
    scene.wait_for_lines("run-a", 2);
    scene.write("go", "");
    let done = running.end();
    let earlyoom = scene.read("earlyoom");
    assert_eq!(done.code(), 0, "{}\n{earlyoom}", done.stderr);
    assert!(earlyoom.contains("sending SIGTERM to process"), "{earlyoom}");
    assert!(earlyoom.contains("\"rustc\""), "{earlyoom}");
    assert!(scene.log().contains("\"event\":\"lost\""), "{}", scene.log());
    let said = "Restarted 1 unit terminated by another program (SIGTERM, as earlyoom sends it): a";
    assert!(done.stderr.contains(said), "{}", done.stderr);
    assert_eq!(done.stderr.matches("unused variable").count(), 1, "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}
