//! Another user on the same machine: its process hears nothing, is told nothing, and changes nothing.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use plimsoll_testing::needs;

use crate::process::until;
use crate::scene::Scene;

/// Names what this program is to do ([`act`]).
pub(crate) const ROLE: &str = "E2E_STRANGER";
/// Names the socket for the client below.
const SOCKET: &str = "E2E_SOCKET";
/// `nobody`, who owns nothing.
const NOBODY: u32 = 65534;

/// Names the file into which the listener below writes that it was spoken to.
const HEARD: &str = "E2E_HEARD";

/// The abstract socket of the scene's driver.
fn socket(driver: u32) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let names = table.lines().filter_map(|line| line.rsplit_once('@').map(|(_, name)| name));
    let ours = |name: &&str| name.starts_with("plimsoll-") && name.contains(&format!("-{driver}-"));
    names.map(str::trim).find(ours).map(str::to_owned)
}

/// What this program does instead of running tests, when a test below has started it as whomever it wants.
pub(crate) fn act(role: &OsStr) -> ! {
    match role.to_str() {
        Some("client") => client(),
        Some("listener") => listener(),
        Some(crate::bystanders::INSIDE) => crate::bystanders::inside(),
        _ => panic!("no such role: {role:?}"),
    }
}

fn client() -> ! {
    let name = std::env::var_os(SOCKET).unwrap();
    let address = if Path::new(&name).is_absolute() {
        SocketAddr::from_pathname(&name).unwrap()
    } else {
        SocketAddr::from_abstract_name(name.as_encoded_bytes()).unwrap()
    };
    let mut stream = UnixStream::connect_addr(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It may be closed already.
    let _ = stream.write_all(&plimsoll_proto::ToGovernor::Status.encode());
    let mut heard = [0; 1];
    let heard = stream.read(&mut heard).unwrap_or(0);
    std::process::exit(if heard > 0 { 10 } else { 11 });
}

/// Somebody who listens, and writes down that a byte came.
fn listener() -> ! {
    let listener = UnixListener::bind(std::env::var_os(SOCKET).unwrap()).unwrap();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        if stream.read(&mut [0; 1]).is_ok_and(|read| read > 0) {
            std::fs::write(std::env::var_os(HEARD).unwrap(), "").unwrap();
        }
    }
}

/// This test program, copied to where another user may run it, in a role ([`act`]) and as user `uid`.
fn as_user(scene: &Scene, uid: u32, role: &str) -> Command {
    set_mode(scene.dir(), 0o755);
    let program = scene.at("stranger");
    if !program.exists() {
        scene.program(std::env::current_exe().unwrap(), "stranger");
    }
    let mut command = Command::new(&program);
    command.env(ROLE, role).current_dir("/").uid(uid).gid(uid);
    command
}

#[test]
fn another_users_process_hears_nothing() {
    needs::root();
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let running = scene.start(&mut scene.fake("--memory 1GiB build"));
    scene.wait_for_lines("run-a", 1);
    let name = until("it listens", || socket(running.id()));
    let asks = |uid: u32| {
        as_user(&scene, uid, "client").env(SOCKET, &name).output().unwrap().status.code()
    };
    assert_eq!(asks(0), Some(10), "our own user is answered");
    assert_eq!(asks(NOBODY), Some(11), "another one is not");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
}

/// Plain Cargo on the account of the scene, which is enabled.
fn on_account(scene: &Scene) -> Command {
    let mut enable = scene.plimsoll("enable --memory 1GiB");
    scene.ok(enable.env("CARGO_HOME", scene.at("cargo")));
    let mut build = scene.fake_cargo("build");
    build.env("CARGO_HOME", scene.at("cargo"));
    build
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn another_users_process_hears_nothing_of_the_accounts_governor_even_where_all_doors_are_open() {
    needs::root();
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let running = scene.start(&mut on_account(&scene));
    scene.wait_for_lines("run-a", 1);
    let pid = scene.governor().expect("one governs");
    let socket = scene.at(format!("home/run/{pid}.sock"));
    let asks = |uid: u32| {
        as_user(&scene, uid, "client").env(SOCKET, &socket).output().unwrap().status.code()
    };
    let (home, run) = (scene.at("home"), scene.at("home/run"));
    for path in [&home, &run] {
        set_mode(path, 0o755);
    }
    set_mode(&socket, 0o666);
    assert_eq!(asks(0), Some(10), "our own user is answered");
    assert_eq!(asks(NOBODY), Some(11), "another one is not");
    set_mode(&run, 0o700);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
}

#[test]
fn a_socket_or_a_directory_of_another_users_is_told_nothing() {
    needs::root();
    let scene = Scene::new();
    scene.lib("a", &[], "");
    let mut build = on_account(&scene);
    for (owner, target) in [(0, "target-socket"), (NOBODY, "target-directory")] {
        let (open, run) = (scene.at(format!("open-{owner}")), scene.at("home/run"));
        std::fs::create_dir(&open).unwrap();
        set_mode(&open, 0o777);
        let mut listener = as_user(&scene, NOBODY, "listener");
        listener.env(SOCKET, open.join("s")).env(HEARD, open.join("heard"));
        let mut listener = listener.spawn().unwrap();
        until("it listens", || open.join("s").exists().then_some(()));
        std::fs::create_dir_all(&run).unwrap();
        set_mode(&run, 0o700);
        std::fs::rename(open.join("s"), run.join("1.sock")).unwrap();
        let governing = format!(
            "governor\tv=1\tprotocol={}\tversion=0.1.0\tprogram=/p\tstamp=1\tpid=1\tsocket=1.sock\n",
            plimsoll_proto::VERSION
        );
        scene.write("home/run/governor", governing);
        std::os::unix::fs::chown(&run, Some(owner), None).unwrap();
        let done = scene.run(build.env("CARGO_TARGET_DIR", scene.at(target)));
        listener.kill().unwrap();
        listener.wait().unwrap();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert!(!open.join("heard").exists(), "the stranger was spoken to");
        // A stranger's socket in our directory is replaced; a stranger's directory is nothing of ours.
        let governor = scene.governor();
        assert_eq!(governor == Some(1), owner == NOBODY, "{governor:?}");
        until("nobody governs", || {
            scene.governor().filter(|pid| *pid != 1).is_none().then_some(())
        });
        std::os::unix::fs::chown(&run, Some(0), None).unwrap();
        std::fs::remove_dir_all(&run).unwrap();
    }
}
