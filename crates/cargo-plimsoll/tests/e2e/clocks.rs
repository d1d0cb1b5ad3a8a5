//! The wall clock is set while a build runs: nobody waits by it, and nothing is lost.

use std::process::Command;

use crate::process::{is_stopped, until};
use crate::scene::Scene;

/// What every program of the scene takes the time of day from: two hours later where the file `later` is there, two
/// hours earlier where `earlier` is.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long set(void) {
    static const struct { const char *file; long by; } jumps[] = {{"earlier", -7200}, {"later", 7200}};
    const char *scene = getenv("E2E_SCENE");
    for (int i = 0; scene && i < 2; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", scene, jumps[i].file);
        if (access(path, F_OK) == 0) return jumps[i].by;
    }
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += set();
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    int result = syscall(SYS_gettimeofday, at, zone);
    if (result == 0) at->tv_sec += set();
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

#[test]
fn a_build_goes_on_when_the_clock_is_set() {
    let scene = Scene::new();
    scene.write("clock.c", CLOCK);
    let mut compile = Command::new("cc");
    let library = scene.at("clock.so");
    compile.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(scene.at("clock.c"));
    scene.prepare(&mut compile);
    scene.ok(&mut compile);
    // `a` holds its memory until the end; `b` is stopped, and killed for `c`, and runs again, on either side of a jump.
    scene.lib("a", &[], "// fake: alloc 130MiB in 260ms; touch a-is-up; until go\n");
    scene.lib("z", &[], "");
    let b = "// fake: until a-is-up; log run-b; alloc 350MiB in 1400ms\n";
    scene.lib("b", &["z"], b);
    let mut build = scene.fake("--memory 400MiB build --jobs 4");
    let running = scene.start(build.env("LD_PRELOAD", &library));
    let b = scene.wait_for_lines("run-b", 1);
    scene.write("later", "");
    until("b is stopped", || is_stopped(b).then_some(()));
    scene.write("earlier", "");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
    // The log's own time has no jump.
    let at = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["t"].as_u64()
    };
    let log = scene.log();
    let times: Vec<u64> = log.lines().filter_map(at).collect();
    assert!(times.len() > 5 && times.is_sorted(), "{log}");
    assert!(times.last().is_some_and(|last| *last < 3_600_000), "{log}");
}
