//! Cloudflare Workers: with stand-ins for the tools here, and at the end with the real ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_testing::needs;

use crate::fake_rustc;
use crate::process::{process_exists, until};
use crate::scene::Scene;

/// A compiler that has a standard library for Workers, because it compiles for this machine instead. A module is made
/// of nothing.
const RUSTC: &str = r#"target=; module=; out=; name=; question=
for word; do
    case $previous in --target) target=$word ;; --out-dir) out=$word ;; --crate-name) name=$word ;; esac
    case $word in cdylib) module=yes ;; --print* | -vV | -) question=yes ;; esac
    previous=$word
done
case "$*" in *target-libdir*) exec "$E2E_RUSTC" --print target-libdir ;; esac
if [ -n "$question" ] || [ -z "$target" ]; then
    exec "$E2E_RUSTC" "$@"
fi
if [ -n "$module" ]; then
    printf '\0asm a module' >"$out/$name.wasm"
    printf '%s: src/lib.rs\n' "$out/$name.wasm" >"$out/$name.d"
    exit
fi
count=$#
while [ "$count" -gt 0 ]; do
    word=$1
    shift
    count=$((count - 1))
    if [ "$word" = --target ]; then
        shift
        count=$((count - 1))
    else
        set -- "$@" "$word"
    fi
done
exec "$E2E_RUSTC" "$@"
"#;

/// Writes what wasm-bindgen writes.
const BINDGEN: &str = r#"[ "$1" = --version ] && { echo "wasm-bindgen ${E2E_BINDGEN:-0.2.130}"; exit; }
module=$1
while [ $# -gt 0 ]; do
    case $1 in --out-dir) out=$2 ;; --out-name) name=$2 ;; esac
    shift
done
cp "$module" "$out/${name}_bg.wasm"
echo 'export function set() {}' >"$out/${name}_bg.js"
echo "import './${name}_bg.js'" >"$out/$name.js"
"#;

/// Copies, after what the test wants of it: `$E2E_SCENE/before-wasm-opt`.
const OPT: &str = r#"[ "$1" = --version ] && { echo 'wasm-opt version 132 (version_132)'; exit; }
echo "${BINARYEN_CORES-none}" >>"$E2E_SCENE/threads"
[ ! -e "$E2E_SCENE/before-wasm-opt" ] || . "$E2E_SCENE/before-wasm-opt"
cp "$1" "$3"
"#;

/// As worker-build, which looks up where its bundler really is.
const WORKER_BUILD: &str = r#"[ "$1" = --version ] && { echo 0.1.7; exit; }
set -e
echo "worker-build $*" >>"$E2E_SCENE/calls"
cargo build --lib --release --target wasm32-unknown-unknown
mkdir -p build
"$WASM_BINDGEN_BIN" "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/site.wasm" --out-dir build --out-name index
if [ "$1" = --release ]; then
    "$WASM_OPT_BIN" build/index_bg.wasm -o build/small.wasm
    mv build/small.wasm build/index_bg.wasm
fi
cd build
"$(readlink -f "$ESBUILD_BIN")" index.js --outfile=index.js --allow-overwrite
"#;

const ESBUILD: &str = "[ \"$1\" = --version ] && { echo 0.28.2; exit; }
echo '// bundled' >>\"$1\"
";

/// A workspace in which `pack` can become a Worker, and so can `site` by way of `worker`.
fn scene() -> Scene {
    let scene = Scene::new();
    add_site(&scene);
    add_module(&scene, "pack", "wasm-bindgen");
    scene
}

/// Adds the Worker `site`, and the libraries that it needs.
pub(crate) fn add_site(scene: &Scene) {
    scene.lib("wasm-bindgen", &[], "pub fn f() {}");
    // rustc itself refuses older ones.
    let manifest = scene.read("ws/wasm-bindgen/Cargo.toml").replace("0.1.0", "0.2.130");
    scene.write("ws/wasm-bindgen/Cargo.toml", manifest);
    scene.lib("worker", &["wasm-bindgen"], "pub fn f() {}");
    add_module(scene, "site", "worker");
}

fn add_module(scene: &Scene, name: &str, needs: &str) {
    scene.lib(name, &[needs], "");
    let manifest = scene.read(&format!("ws/{name}/Cargo.toml"));
    let manifest = format!("{manifest}[lib]\ncrate-type = [\"cdylib\"]\n");
    scene.write(format!("ws/{name}/Cargo.toml"), manifest);
}

/// Puts stand-ins for all tools into the scene's `bin`.
pub(crate) fn add_tools(scene: &Scene) {
    for (name, text) in [
        ("rustc", RUSTC),
        ("wasm-bindgen", BINDGEN),
        ("wasm-opt", OPT),
        ("esbuild", ESBUILD),
        ("worker-build", WORKER_BUILD),
    ] {
        scene.script(&format!("bin/{name}"), text);
    }
}

/// `cargo plimsoll worker build`, with nothing installed but a toolchain, and what is in the scene's `bin`.
fn build(scene: &Scene, args: &str) -> Command {
    let mut command = scene.plimsoll(&format!("worker build {args}"));
    let toolchain = fake_rustc::real().parent().unwrap();
    let path = [&scene.at("bin"), toolchain, Path::new("/usr/bin"), Path::new("/bin")];
    command
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("E2E_RUSTC", fake_rustc::real())
        .env("HOME", scene.at("account"))
        .env_remove("XDG_CACHE_HOME");
    for tool in ["WASM_BINDGEN_BIN", "WASM_OPT_BIN", "ESBUILD_BIN", "BINARYEN_CORES"] {
        command.env_remove(tool);
    }
    if std::env::var_os("CARGO_HOME").is_none() {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap());
        command.env("CARGO_HOME", home.join(".cargo"));
    }
    command
}

#[test]
fn what_is_missing_is_said_before_anything_is_built() {
    needs::program("rustup");
    let scene = scene();
    let done = scene.run(&mut build(&scene, "-p site"));
    assert_eq!(done.code(), 2, "{}", done.stderr);
    for said in [
        "`site` cannot be built yet; nothing was started",
        "has no standard library for wasm32-unknown-unknown",
        "rustup target add wasm32-unknown-unknown",
        "worker-build is not installed:\n    cargo install 'worker-build@^0.1'",
        "wasm-bindgen is not installed:\n    cargo install wasm-bindgen-cli@0.2.130",
        "wasm-opt is not installed:\n    npm install --save-dev binaryen",
        "esbuild is not installed:\n    npm install --save-dev esbuild",
    ] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    assert!(!scene.at("target/release").exists());

    add_tools(&scene);
    let done = scene.run(build(&scene, "-p pack").env("E2E_BINDGEN", "0.2.129"));
    assert_eq!(done.code(), 2, "{}", done.stderr);
    assert!(
        done.stderr.contains("is wasm-bindgen 0.2.129, but the lock file has wasm-bindgen 0.2.130"),
        "{}",
        done.stderr
    );
    for (args, said) in [
        ("", "more than one package can become a Worker; write -p pack or -p site"),
        ("-p worker", "`worker` cannot become a Worker: its library is no `cdylib`"),
        ("-p nobody", "no package of this workspace is called `nobody`"),
        ("-p pack --glue nowhere", "nowhere` is not a directory"),
    ] {
        let done = scene.run(&mut build(&scene, args));
        assert_eq!(done.code(), 2, "{}", done.stderr);
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    assert!(!scene.at("target/release").exists());
}

#[test]
fn a_packed_crate_is_one_build_and_its_tools_are_units() {
    let scene = scene();
    add_tools(&scene);
    scene.write("ws/pack/js/index.js", "export default {}").write("ws/LICENSE", "free");
    let done = scene.ok(&mut build(&scene, "-p pack --memory 1GiB --zip"));
    for said in [
        "of 1.00 GiB",
        "pack_bg.wasm: 0 KiB compiled, 0 KiB packed",
        "in 4 files",
        "pack-worker.zip",
    ] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    for tool in ["wasm-bindgen", "wasm-opt"] {
        assert!(scene.log().contains(&format!("\"title\":\"pack v0.1.0 ({tool})\"")), "{tool}");
    }
    assert_eq!(scene.read("ws/pack/pkg/index.js"), "export default {}");
    assert!(scene.read("ws/pack/pkg/package.json").contains("\"main\": \"pack.js\""));
    let first = fs::read(scene.at("target/pack-worker.zip")).unwrap();

    // The same bytes from nothing, wherever it is called from.
    fs::remove_dir_all(scene.at("target")).unwrap();
    fs::remove_dir_all(scene.at("ws/pack/pkg")).unwrap();
    let mut again = build(&scene, "--zip");
    scene.ok(again.current_dir(scene.at("ws/pack/src")));
    assert_eq!(fs::read(scene.at("target/pack-worker.zip")).unwrap(), first);

    // For development nothing is optimised, and what was made is another.
    fs::remove_file(scene.at("threads")).unwrap();
    scene.ok(&mut build(&scene, "-p pack --dev --out-dir dev --out-name other"));
    assert!(scene.at("ws/pack/dev/other_bg.wasm").exists() && !scene.at("threads").exists());
    assert!(scene.at("target/wasm32-unknown-unknown/debug/pack.wasm").exists());
}

#[test]
fn a_tool_that_somebody_kills_runs_again_and_one_that_fails_leaves_what_was_there() {
    let scene = scene();
    add_tools(&scene);
    scene.write(
        "before-wasm-opt",
        "[ -e \"$E2E_SCENE/killed\" ] || { touch \"$E2E_SCENE/killed\"; kill -9 $$; }",
    );
    let done = scene.ok(&mut build(&scene, "-p pack --memory 1GiB"));
    assert!(scene.log().contains("\"event\":\"lost\""), "{}", done.stderr);
    assert_eq!(scene.read("threads").lines().count(), 2);

    let module = fs::read(scene.at("ws/pack/pkg/pack_bg.wasm")).unwrap();
    scene.write("before-wasm-opt", "echo half >\"$3\"; exit 3");
    let done = scene.run(&mut build(&scene, "-p pack --memory 1GiB"));
    assert_eq!(done.code(), 3, "{}", done.stderr);
    assert!(done.stderr.contains("wasm-opt failed: exit status: 3"), "{}", done.stderr);
    assert_eq!(fs::read(scene.at("ws/pack/pkg/pack_bg.wasm")).unwrap(), module);

    scene.write("ws/pack/src/lib.rs", "not Rust");
    scene.script("bin/rustc", &RUSTC.replace("printf '\\0asm a module'", "exit 1; true"));
    let done = scene.run(&mut build(&scene, "-p pack --memory 1GiB"));
    assert_eq!(done.code(), 101, "Cargo's own: {}", done.stderr);
}

#[test]
fn a_tool_that_would_cross_the_budget_alone_gets_one_thread() {
    let scene = scene();
    add_tools(&scene);
    let hold = format!(
        "sleep 1 | FAKE_CHILD_ALLOC={} '{}' >/dev/null",
        300 << 20,
        fake_rustc::path().display()
    );
    scene.write("before-wasm-opt", hold);
    scene.ok(&mut build(&scene, "-p pack --memory 1GiB --jobs 2"));
    let done = scene.ok(&mut build(&scene, "-p pack --memory 200MiB --jobs 2"));
    assert!(
        done.stderr.contains("Oversized pack (wasm-opt) needs"),
        "{}{}",
        done.stderr,
        scene.log()
    );
    let threads = scene.read("threads");
    let threads: Vec<&str> = threads.lines().collect();
    assert_eq!(threads.last(), Some(&"1"), "{threads:?}");

    let done = scene.run(&mut build(&scene, "-p pack --memory 200MiB --oversized refuse"));
    assert_ne!(done.code(), 0, "{}", done.stderr);
    assert!(done.stderr.contains("`--oversized refuse` refuses it"), "{}", done.stderr);
}

#[test]
fn worker_build_is_governed_with_all_that_it_calls() {
    let scene = scene();
    add_tools(&scene);
    scene.ok(&mut build(&scene, "-p site --memory 1GiB -- --offline"));
    assert_eq!(scene.read("calls").trim(), "worker-build --release . --offline");
    let log = scene.log();
    for unit in [
        "worker v0.1.0",
        "site v0.1.0 (wasm-bindgen)",
        "site v0.1.0 (wasm-opt)",
        "site v0.1.0 (esbuild)",
    ] {
        assert!(log.contains(&format!("\"title\":\"{unit}\"")), "{unit}: {log}");
    }
    assert!(scene.read("ws/site/build/index.js").ends_with("// bundled\n"));
}

#[test]
fn a_worker_of_an_account_is_inside_its_budget() {
    let scene = scene();
    add_tools(&scene);
    let on_account = |mut command: Command| {
        command.env("CARGO_HOME", scene.at("cargo"));
        command
    };
    scene.ok(&mut on_account(scene.plimsoll("enable --memory 1GiB")));
    scene.ok(&mut on_account(build(&scene, "-p site")));
    let governor = scene.governor().expect("one governs");
    assert_eq!(scene.logs().len(), 1);
    for unit in ["worker v0.1.0", "site v0.1.0 (wasm-opt)", "site v0.1.0 (esbuild)"] {
        assert!(scene.log().contains(&format!("\"title\":\"{unit}\"")), "{unit}");
    }
    scene.ok(&mut on_account(scene.plimsoll("disable")));
    until("it has left", || (!process_exists(governor)).then_some(()));
}

/// The real compiler, tools and runtime, which `tests/worker/provision.sh` has made in `WORKER_ENV`.
mod real {
    use std::time::Duration;

    use plimsoll_testing::ignored;

    use super::*;
    use crate::scene::Done;

    /// A scene with a copy of the fixture `name` in its workspace's place.
    fn fixture(name: &str) -> (Scene, PathBuf) {
        let scene = Scene::new();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker").join(name);
        let to = scene.at(name);
        let copied = Command::new("cp").arg("-r").arg(from).arg(&to).status().unwrap();
        assert!(copied.success());
        (scene, to)
    }

    /// A command in the provisioned environment.
    fn provisioned(scene: &Scene, inner: &Command) -> Command {
        let Some(dir) = std::env::var_os("WORKER_ENV") else {
            ignored("WORKER_ENV does not name what tests/worker/provision.sh makes");
        };
        let mut command = Command::new("sh");
        let own: PathBuf = Path::new(&dir).join("env.sh");
        command.args(["-c", ". \"$0\"; exec \"$@\""]).arg(own);
        command.arg(inner.get_program()).args(inner.get_args());
        scene.prepare(&mut command);
        // Whatever else stood in the command's own environment.
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("CARGO_NET_OFFLINE", "false");
        command
    }

    /// Runs what must succeed, and may take its time.
    fn ok(scene: &Scene, command: &mut Command) -> Done {
        let done = scene.start(command).end_within(Duration::from_secs(1200));
        assert_eq!(done.code(), 0, "{command:?}\n{}", done.stderr);
        done
    }

    fn serve(scene: &Scene, name: &str, build: &Path) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker/serve.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(name).arg(build);
        let mut command = provisioned(scene, &command);
        let done = scene.ok(command.current_dir(scene.dir()));
        assert!(done.stdout.contains(&format!("ok: {name} /")), "{}", done.stdout);
        eprintln!("{}", done.stdout);
    }

    fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found: Vec<_> = crate::scene::below(dir)
            .into_iter()
            .filter(|path| path.is_file())
            .map(|path| (path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn a_worker_is_built_inside_the_budget_and_served() {
        let (scene, site) = fixture("site");
        let mut plain = provisioned(&scene, Command::new("worker-build").arg("--release"));
        ok(&scene, plain.current_dir(&site).env("CARGO_TARGET_DIR", scene.at("plain")));
        let expected = files(&site.join("build"));
        fs::remove_dir_all(site.join("build")).unwrap();

        let ours = scene.plimsoll("worker build --memory 700MiB --zip");
        let mut ours = provisioned(&scene, &ours);
        let done = ok(&scene, ours.current_dir(&site));
        eprintln!("{}", done.stderr);
        assert!(done.stderr.contains("of 700 MiB"), "{}", done.stderr);
        assert!(files(&site.join("build")) == expected, "the same as without Plimsoll");
        for tool in ["wasm-bindgen", "wasm-opt", "esbuild"] {
            assert!(scene.log().contains(&format!("site v0.1.0 ({tool})")), "{tool}");
        }
        serve(&scene, "site", &site.join("build"));

        // What wrangler runs, where plain Cargo is governed.
        let enable = scene.plimsoll("--memory 700MiB env");
        let shell = scene.ok(&mut provisioned(&scene, &enable)).stdout;
        scene.write("env.sh", shell).write("site/src/lib.rs", {
            let text = fs::read_to_string(site.join("src/lib.rs")).unwrap();
            text.replace("a page of site", "another page of site")
        });
        let mut command = Command::new("sh");
        command.args(["-c", ". \"$0\"; exec worker-build --release"]).arg(scene.at("env.sh"));
        let mut command = provisioned(&scene, &command);
        let logs = scene.logs().len();
        ok(&scene, command.current_dir(&site));
        let is_there =
            || scene.logs().len() > logs && scene.log().contains("\"title\":\"site v0.1.0");
        let said = || is_there().then_some(());
        until("the account's governor has written its log", said);
    }

    #[test]
    fn a_packed_crate_is_built_inside_the_budget_and_served() {
        let (scene, pack) = fixture("pack");
        let mut plain = provisioned(&scene, &Command::new("./pack.sh"));
        ok(&scene, plain.current_dir(&pack).env("CARGO_TARGET_DIR", scene.at("plain")));
        let module = fs::read(pack.join("build/pack_bg.wasm")).unwrap();
        fs::remove_dir_all(pack.join("build")).unwrap();

        let ours = scene.plimsoll("worker build --memory 400MiB --out-dir build");
        let mut ours = provisioned(&scene, &ours);
        let done = ok(&scene, ours.current_dir(&pack));
        eprintln!("{}", done.stderr);
        let ours = fs::read(pack.join("build/pack_bg.wasm")).unwrap();
        assert!(ours == module, "the same as without Plimsoll");
        serve(&scene, "pack", &pack.join("build"));
    }
}
