//! Hundreds at once.

use std::process::{Child, Command, Stdio};

use crate::scene::{LIB, Scene};

/// Kills what is left where the test fails.
struct All(Vec<Child>);

impl Drop for All {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn three_hundred_shims_at_once_all_register() {
    let scene = Scene::new("exit 0");
    let start = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    // Nobody accepts until all of them have come, or stand at the door.
    let mut all = All((0..300).map(|_| start(&mut scene.shim(LIB))).collect());
    let mut peers: Vec<_> = (0..300).map(|_| scene.governor().unit().0).collect();
    for peer in &mut peers {
        peer.admit();
    }
    for peer in &mut peers {
        peer.started();
        assert!(peer.finished());
    }
    for child in &mut all.0 {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(scene.names("tmp"), [""; 0]);
}
