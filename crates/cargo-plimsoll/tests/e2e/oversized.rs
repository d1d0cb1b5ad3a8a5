//! Units that alone are too large: what is tried, what is said, and what swap is good for.

use std::fs;

use plimsoll_testing::cgroup::LimitedCgroup;
use plimsoll_testing::needs;

use crate::process::{is_stopped, until};
use crate::scene::Scene;

const MIB: u64 = 1 << 20;

/// A crate whose compiler needs 300 MiB with one codegen unit and 60 MiB with more.
fn slims() -> Scene {
    let scene = Scene::new();
    let manifest =
        "[workspace]\nmembers = [\"*\"]\nresolver = \"3\"\n[profile.dev]\ncodegen-units = 1\n";
    scene.write("ws/Cargo.toml", manifest);
    scene.lib(
        "giant",
        &[],
        "// fake: log run; alloc 60MiB in 100ms; unless codegen-units=16 alloc 240MiB in 960ms\n\
         // fake: unless codegen-units=16 hold 2s\n",
    );
    scene.lib("small", &["giant"], "");
    scene
}

#[test]
fn an_oversized_unit_is_compiled_by_other_settings_only_where_that_was_agreed_to() {
    let scene = slims();
    let done = scene.ok(&mut scene.fake("--memory 200MiB --oversized shrink-output build"));
    assert!(
        done.stderr
            .contains("Changed the output of giant (codegen units 1 to 16), because of `--oversized shrink-output`"),
        "{}",
        done.stderr
    );
    assert!(scene.log().contains("\"event\":\"slimmed\""), "{}", scene.log());
    assert_eq!(scene.read("run").lines().count(), 2, "by its own settings first: {}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));

    // What was seen of it so is no example of what it needs by its own settings.
    fs::remove_dir_all(scene.at("target")).unwrap();
    let done = scene.ok(&mut scene.fake("--memory 200MiB --oversized shrink-output build"));
    assert!(done.stderr.contains("Changed the output of giant "), "{}", done.stderr);
    assert_eq!(scene.read("run").lines().count(), 3, "at once: {}", done.stderr);

    fs::remove_dir_all(scene.at("target")).unwrap();
    let done = scene.ok(&mut scene.fake("--memory 200MiB build"));
    assert!(!done.stderr.contains("Changed the output"), "{}", done.stderr);
    assert!(done.stderr.contains("Oversized giant needs 3"), "{}", done.stderr);
}

#[test]
fn what_is_above_the_whole_machine_is_stopped_with_what_was_tried_and_what_helps() {
    let cgroup = LimitedCgroup::new(450 * MIB);
    let scene = slims();
    scene.lib("good", &[], "").lib(
        "giant",
        &["good"],
        "// fake: log run; alloc 900MiB in 3600ms\n",
    );
    let build = scene.fake("build");
    let done = scene.run(&mut scene.inside(cgroup.entrance(), &build));
    assert_eq!(done.code(), 101, "{}", done.stderr);
    assert_eq!(cgroup.kills(), 0, "the kernel killed: {}", done.stderr);
    for said in [
        "giant v0.1.0 needs more than",
        "Tried: alone (a retry with one thread",
        "while it was still growing",
        "at least 1.00 GiB of swap (",
        "`--oversized shrink-output`, which compiles it with codegen units 1 to 16",
        "could not compile `giant`",
    ] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    assert_eq!(scene.read("run").lines().count(), 1, "once more would end at the same height");
    // What is built stays.
    let again = scene.run(&mut scene.fake("--memory 2GiB build -p good"));
    assert!(!again.stderr.contains("Compiling good"), "{}", again.stderr);
}

/// `b` has worked for seconds and holds much when `a`, which is there first, needs the room.
#[test]
fn with_swap_long_work_is_paged_out_and_not_done_again() {
    needs::swap(600);
    needs::root();
    for (oversized, again) in [("shrink", false), ("run", true)] {
        let cgroup = LimitedCgroup::with_swap(520 * MIB);
        let scene = Scene::new();
        scene.lib("a", &[], "// fake: alloc 40MiB in 80ms; touch a-is-up; until grow; alloc 170MiB in 700ms; touch grown; until go\n");
        scene.lib("z", &[], "").lib(
            "b",
            &["z"],
            "// fake: until a-is-up; log run-b; alloc 150MiB in 300ms; cpu 6s; touch b-is-up; until go\n",
        );
        scene.lib("c", &["a", "b"], "");
        let build = scene.fake(&format!("--oversized {oversized} --jobs 4 build"));
        let running = scene.start(&mut scene.inside(cgroup.entrance(), &build));
        let b = scene.wait_for_lines("run-b", 1);
        scene.wait_for("b-is-up");
        scene.write("grow", "");
        if again {
            until("b was killed", || (scene.events("killed") > 0).then_some(()));
        } else {
            until("b is paged out", || (scene.events("paged-out") > 0).then_some(()));
            assert!(is_stopped(b));
        }
        scene.wait_for("grown");
        scene.write("go", "");
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert_eq!(cgroup.kills(), 0, "{}", done.stderr);
        assert_eq!(scene.read("run-b").lines().count() > 1, again, "{}", done.stderr);
        assert_eq!(
            done.stderr.contains("paged out 1 unit meanwhile: b"),
            !again,
            "{}",
            done.stderr
        );
    }
}
