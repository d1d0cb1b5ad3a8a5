//! Another user on the same machine: its process hears nothing, and changes nothing.

use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use crate::process::until;
use crate::scene::Scene;

/// Names the socket for the client below.
const SOCKET: &str = "E2E_SOCKET";
/// `nobody`, who owns nothing.
const NOBODY: u32 = 65534;

/// The abstract socket of the scene's driver.
fn socket(driver: u32) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let names = table.lines().filter_map(|line| line.rsplit_once('@').map(|(_, name)| name));
    let ours = |name: &&str| name.starts_with("plimsoll-") && name.contains(&format!("-{driver}-"));
    names.map(str::trim).find(ours).map(str::to_owned)
}

/// Not a test: the client, which the test below starts as whomever it wants.
#[test]
#[ignore = "the test below starts it as another user"]
fn client() {
    let Some(name) = std::env::var_os(SOCKET) else { return };
    let address = SocketAddr::from_abstract_name(name.as_encoded_bytes()).unwrap();
    let mut stream = UnixStream::connect_addr(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It may be closed already.
    let _ = stream.write_all(&plimsoll_proto::ToGovernor::Status.encode());
    let mut heard = [0; 1];
    let heard = stream.read(&mut heard).unwrap_or(0);
    std::process::exit(if heard > 0 { 10 } else { 11 });
}

#[test]
fn another_users_process_hears_nothing() {
    let scene = Scene::new();
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can act as another user");
        return;
    }
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let running = scene.start(&mut scene.fake("--memory 1GiB build"));
    scene.wait_for_lines("run-a", 1);
    let name = until("it listens", || socket(running.id()));
    // Where another user may read it.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(scene.dir(), open.clone()).unwrap();
    let program = scene.at("client");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, open).unwrap();
    let asks = |uid: u32| {
        let mut client = Command::new(&program);
        client.args(["--ignored", "--exact", "strangers::client", "--nocapture"]);
        client.env(SOCKET, &name).current_dir("/").uid(uid).gid(uid);
        client.output().unwrap().status.code()
    };
    assert_eq!(asks(0), Some(10), "our own user is answered");
    assert_eq!(asks(NOBODY), Some(11), "another one is not");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
}
