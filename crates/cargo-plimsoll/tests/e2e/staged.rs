//! `--staged`: one part of the workspace after the other, inside one Cargo.

use crate::scene::Scene;

/// Three packages of which none needs another, and one that needs all of them.
fn scene() -> Scene {
    let scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.lib(name, &[], "// fake: alloc 30MiB in 100ms\n");
    }
    scene.bin("z", &["a", "b", "c"], "fn main() {}");
    scene
}

/// The titles of units, in the order of this event; and how often one was admitted before another had finished.
fn order(scene: &Scene) -> (Vec<String>, usize) {
    let (mut admitted, mut running, mut beside) = (Vec::new(), 0usize, 0);
    let mut titles = std::collections::BTreeMap::new();
    for line in scene.log().lines().skip(1) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let unit = event["unit"].as_u64();
        match event["event"].as_str().unwrap() {
            "registered" => {
                titles.insert(unit.unwrap(), event["title"].as_str().unwrap().to_owned());
            }
            "admitted" => {
                beside += running;
                running += 1;
                admitted.push(titles[&unit.unwrap()].clone());
            }
            "finished" => running -= 1,
            _ => {}
        }
    }
    (admitted, beside)
}

#[test]
fn stages_are_listed_and_built_one_after_the_other() {
    let scene = scene();
    let listed = scene.ok(&mut scene.fake("build --staged --list")).stdout;
    let names: Vec<&str> =
        listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names, ["a", "b", "c", "z"], "{listed}");
    assert!(!scene.at("target/debug").exists(), "a list builds nothing");

    let done = scene.ok(&mut scene.fake("--jobs 4 build --staged"));
    let expected = ["a v0.1.0", "b v0.1.0", "c v0.1.0", "z v0.1.0 (bin)"];
    assert_eq!(order(&scene), (expected.map(str::to_owned).to_vec(), 0), "{}", scene.log());
    for said in [
        "Stage 1 of 4: a: peak memory ",
        "Stage 4 of 4: z: peak memory ",
        "`--staged` saved nothing",
    ] {
        assert!(done.stderr.contains(said), "{said}\n{}", done.stderr);
    }
    scene.assert_fresh(&mut scene.fake_cargo("build"));
    // With one job, too, Cargo shows what is ready: what waits for its stage takes no place.
    std::fs::remove_dir_all(scene.at("target")).unwrap();
    scene.ok(&mut scene.fake("--jobs 1 build --staged"));
    assert_eq!(order(&scene), (expected.map(str::to_owned).to_vec(), 0), "{}", scene.log());
    scene.assert_clean();
}

#[test]
fn a_staged_build_that_broke_off_goes_on_where_it_was() {
    let scene = scene();
    scene.write("ws/b/src/lib.rs", "// fake: fail\n");
    let broken = scene.run(&mut scene.fake("--jobs 4 build --staged"));
    assert_eq!(broken.code(), 101, "{}", broken.stderr);
    assert!(!order(&scene).0.contains(&"c v0.1.0".to_owned()), "{}", scene.log());
    scene.write("ws/b/src/lib.rs", "");
    scene.ok(&mut scene.fake("--jobs 4 build --staged"));
    assert!(!order(&scene).0.contains(&"a v0.1.0".to_owned()), "{}", scene.log());
    scene.assert_clean();
}

#[test]
fn stages_hold_under_the_accounts_governor_too() {
    let scene = scene();
    let on_account = |mut command: std::process::Command| {
        command.env("CARGO_HOME", scene.at("cargo"));
        command
    };
    scene.ok(&mut on_account(scene.plimsoll("enable")));
    let done = scene.ok(&mut on_account(scene.fake("--jobs 4 build --staged")));
    assert!(done.stderr.contains("Stage 2 of 4: b: "), "{}", done.stderr);
    assert_eq!(order(&scene).1, 0, "{}", scene.log());
    scene.ok(&mut on_account(scene.plimsoll("disable")));
}

#[test]
fn what_has_no_stages_says_so() {
    let scene = scene();
    let refused = scene.run(&mut scene.fake("clippy --staged"));
    assert_eq!(refused.code(), 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("`--staged` works with build"), "{}", refused.stderr);
}
