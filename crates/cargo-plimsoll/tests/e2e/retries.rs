//! A unit whose second run makes something else than dependents have read.

use rustix::process::Signal;

use crate::process::{signal, until};
use crate::scene::{Running, Scene};

/// `b` has announced other metadata than its next run will make, when `a` needs its memory.
fn unsteady() -> Scene {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: alloc 40MiB in 80ms; touch a-is-up; until grow; alloc 230MiB in 460ms; until go\n");
    scene.lib("z", &[], "");
    scene.lib(
        "b",
        &["z"],
        "// fake: until a-is-up; nondeterministic; compile; once alloc 150MiB in 300ms; touch b-is-up; until go\n\
         pub fn f() -> u8 { 42 }",
    );
    scene.bin("c", &["a", "b"], "fn main() { println!(\"{}\", b::f()) }");
    scene
}

fn retried<'a>(scene: &'a Scene, args: &str) -> Running<'a> {
    let running = scene.start(&mut scene.fake(&format!("--memory 400MiB --jobs 4 build {args}")));
    scene.wait_for("b-is-up");
    scene.write("grow", "");
    until("b was killed", || (scene.events("killed") > 0).then_some(()));
    scene.write("go", "");
    running
}

#[test]
fn cargo_runs_again_and_the_result_is_right() {
    let scene = unsteady();
    let done = retried(&scene, "").end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stderr.contains("metadata changed when it was compiled again"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
    assert_eq!(scene.ok(&mut scene.fake_cargo("run -q")).stdout, "42\n");
}

/// What was printed as JSON cannot be taken back.
#[test]
fn a_json_stream_ends_in_a_clear_failure() {
    let scene = unsteady();
    let done = retried(&scene, "--message-format json").end();
    assert_eq!(done.code(), 101, "{}", done.stderr);
    assert!(done.stdout.contains("the two outputs differ"), "{}", done.stdout);
    assert!(done.stdout.trim_end().ends_with("{\"reason\":\"build-finished\",\"success\":false}"));
    scene.ok(&mut scene.fake_cargo("build"));
    assert_eq!(scene.ok(&mut scene.fake_cargo("run -q")).stdout, "42\n");
}

/// What it makes of a macro call is another constant in each run of the compiler.
const ROULETTE: &str = "#[proc_macro]
pub fn roulette(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!(\"pub const N: u128 = {}; pub fn n() -> u128 {{ N }}\", since.as_nanos()).parse().unwrap()
}";

/// `reader` has taken the constant of the first run from the metadata, when the compiler of `wheel` is killed.
#[test]
fn what_a_procedural_macro_rolls_anew_is_the_same_everywhere_in_the_end() {
    let scene = Scene::new();
    scene.lib("roulette", &[], ROULETTE);
    let manifest = scene.read("ws/roulette/Cargo.toml") + "[lib]\nproc-macro = true\n";
    scene.write("ws/roulette/Cargo.toml", manifest);
    scene.lib(
        "wheel",
        &["roulette"],
        "// fake: log run-wheel; compile; touch compiled; until go\nroulette::roulette!();",
    );
    scene.lib("reader", &["wheel"], "// fake: compile; touch read\npub const M: u128 = wheel::N;");
    scene.bin("c", &["wheel", "reader"], "fn main() { println!(\"{}\", reader::M == wheel::n()) }");
    let running = scene.start(&mut scene.fake("--memory 1GiB --jobs 4 build"));
    let first = scene.wait_for_lines("run-wheel", 1);
    scene.wait_for("compiled");
    scene.wait_for("read");
    signal(first, Signal::KILL);
    scene.wait_for_lines("run-wheel", 2);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stderr.contains("metadata changed when it was compiled again"), "{}", done.stderr);
    assert_eq!(scene.ok(&mut scene.fake_cargo("run -q")).stdout, "true\n");
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}
