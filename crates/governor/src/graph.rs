//! The unit graph ahead of the first build, where Cargo can tell it.
//!
//! `cargo … --unit-graph` is unstable, so this is asked on the side, only when the history does not know
//! the way, and whatever goes wrong means only that units are started in Cargo's own order. It is asked
//! after the first unit has registered: a build with nothing to do must not pay for it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use plimsoll_core::Millis;
use plimsoll_core::unit::UnitFacts;
use serde_json::Value;

use crate::graph_node::{GraphNode, UnitName};
use crate::stages::Stages;

/// How to ask Cargo for its unit graph.
#[derive(Debug)]
pub struct GraphCommand(Command);

/// The subcommands that can tell their unit graph, and Cargo's own short names of them.
const CAN_TELL: &[&str] =
    &["build", "b", "check", "c", "test", "t", "bench", "rustc", "doc", "d", "run", "r"];

impl GraphCommand {
    /// Asks `program` with the subcommand and its `args`, without anything after `--`.
    #[must_use]
    pub fn new(program: OsString, args: Vec<OsString>) -> Self {
        let mut command = Command::new(program);
        command.args(args);
        Self(command)
    }

    /// Whether this subcommand of Cargo's can tell.
    #[must_use]
    pub fn can_tell(subcommand: &OsStr) -> bool {
        subcommand.to_str().is_some_and(|name| CAN_TELL.contains(&name))
    }

    /// Asks and waits for the answer: the stages in which this would be built. Cargo does what it would do before it
    /// builds (it writes a lock file, and downloads), and says what is wrong; `None` where it has no answer.
    #[must_use]
    pub fn stages(self) -> Option<Stages> {
        let GraphCommand(mut command) = self;
        command.stderr(Stdio::inherit());
        Some(GraphReader::run(command)?.take()?.stages)
    }

    /// Asks as the running Cargo `pid` was asked: its program, arguments, directory and environment. `None` where
    /// that is not a Cargo, or another user's. (Nothing of it is kept.)
    pub(crate) fn of_cargo(pid: u32) -> Option<Self> {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        let words = |bytes: Vec<u8>| -> Vec<OsString> {
            let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
        };
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let args: Vec<OsString> =
            words(read("cmdline")?).into_iter().skip(1).take_while(|word| word != "--").collect();
        let tells = program.file_name().is_some_and(|name| name == "cargo")
            && args
                .iter()
                .find(|word| !word.as_bytes().starts_with(b"-"))
                .is_some_and(|word| Self::can_tell(word));
        let mut command = Command::new(program);
        command.args(args).current_dir(fs::read_link(format!("/proc/{pid}/cwd")).ok()?);
        command.env_clear();
        for variable in words(read("environ")?) {
            let bytes = variable.as_bytes();
            let at = bytes.iter().position(|byte| *byte == b'=')?;
            command.env(OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]));
        }
        tells.then_some(Self(command))
    }
}

/// How many units the running Cargo `pid` was told to start at once, by its words or its environment. `None` where
/// neither says: then it is as many as there are processors, or what its configuration says.
pub(crate) fn jobs_of_cargo(pid: u32) -> Option<u32> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    jobs_in(&read("cmdline"), &read("environ"))
}

fn jobs_in(words: &[u8], environment: &[u8]) -> Option<u32> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let mut words = words.split(|byte| *byte == 0).map_while(text).take_while(|word| *word != "--");
    let mut told = None;
    while let Some(word) = words.next() {
        let value = match word {
            "-j" | "--jobs" => words.next(),
            _ => word.strip_prefix("--jobs=").or_else(|| {
                let short = word.strip_prefix("-j")?;
                Some(short.strip_prefix('=').unwrap_or(short))
            }),
        };
        told = value.or(told);
    }
    let mut variables = environment.split(|byte| *byte == 0).filter_map(text);
    let told = told.or_else(|| variables.find_map(|it| it.strip_prefix("CARGO_BUILD_JOBS=")));
    told?.parse().ok().filter(|jobs| *jobs > 0)
}

/// The version of Cargo's unit graph that is understood here.
const GRAPH_VERSION: u64 = 1;

/// What a graph says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    /// The longest path from each unit to the end.
    critical_paths: HashMap<UnitName, Millis>,
    /// The parts of the workspace in their order.
    pub(crate) stages: Stages,
}

impl Graph {
    pub(crate) fn critical_path(&self, facts: &UnitFacts) -> Option<Millis> {
        self.critical_paths.get(&UnitName::of(facts)).copied()
    }
}

/// A Cargo that was asked. The answer is read and weighed on a thread of its own: half a thousand source
/// directories are looked at, which the loop must not wait for.
pub(crate) struct GraphReader {
    child: Child,
    reader: Option<JoinHandle<Option<Graph>>>,
    /// Hangs up when the thread is done.
    done: OwnedFd,
}

impl GraphReader {
    /// Asks on the side: nothing is written, downloaded or said.
    pub(crate) fn start(command: GraphCommand) -> Option<Self> {
        let GraphCommand(mut command) = command;
        command.arg("--frozen").stderr(Stdio::null());
        Self::run(command)
    }

    fn run(mut command: Command) -> Option<Self> {
        let (done, working) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).ok()?;
        // Where builds are logged (`-Zbuild-analysis`) this is none: `cargo report` would take it for the last one.
        if command.get_args().any(|word| word.to_string_lossy().contains("build.analysis")) {
            command.args(["--config", "build.analysis.enabled=false"]);
        }
        let mut child = command
            .args(["--unit-graph", "-Zunstable-options"])
            // The option is unstable, and without the second variable its probes would be cached in
            // target/.rustc_info.json as if the compiler were a nightly one.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_CACHE_RUSTC_INFO", "0")
            // The first keeps a Cargo quiet that would else ignore the second with a warning.
            .env("CARGO_UNSTABLE_BUILD_ANALYSIS", "true")
            .env("CARGO_BUILD_ANALYSIS_ENABLED", "false")
            .env_remove("CARGO_MAKEFLAGS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let output = child.stdout.take()?;
        let reader = std::thread::Builder::new()
            .name("unit graph".to_owned())
            .spawn(move || {
                let _working = working;
                read(output)
            })
            .ok()?;
        Some(Self { child, reader: Some(reader), done })
    }

    /// What the graph said, once; after its descriptor has hung up.
    pub(crate) fn take(&mut self) -> Option<Graph> {
        let graph = self.reader.take()?.join().ok().flatten();
        let _ = self.child.wait();
        graph
    }

    /// The answer is still awaited.
    pub(crate) fn is_reading(&self) -> bool {
        self.reader.is_some()
    }
}

impl AsFd for GraphReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }
}

impl Drop for GraphReader {
    /// A build that ends first leaves no Cargo behind.
    fn drop(&mut self) {
        if self.reader.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The unit graph of one build: asked for once, when there is something to compile, and known some time later.
#[derive(Default)]
pub(crate) struct UnitGraph {
    /// How to ask, as the build's driver says.
    command: Option<GraphCommand>,
    asked: bool,
    reader: Option<GraphReader>,
    known: Option<Graph>,
}

impl UnitGraph {
    pub(crate) fn new(command: Option<GraphCommand>) -> Self {
        Self { command, ..Self::default() }
    }

    /// A driver has come, who says how to ask.
    pub(crate) fn set_command(&mut self, command: Option<GraphCommand>) {
        self.command = command;
    }

    /// Asks the driver's way; else as the running `cargo` was asked, where that is a plain one.
    pub(crate) fn ask(&mut self, cargo: u32, is_plain: bool) {
        if !std::mem::replace(&mut self.asked, true) {
            let command = self.command.take();
            let command = command.or_else(|| GraphCommand::of_cargo(cargo).filter(|_| is_plain));
            self.reader = command.and_then(GraphReader::start);
        }
    }

    /// What the answer is read from, while it is awaited.
    pub(crate) fn reader(&self) -> Option<&GraphReader> {
        self.reader.as_ref().filter(|reader| reader.is_reading())
    }

    /// Nobody could be asked, or nobody was.
    pub(crate) fn is_not_coming(&self) -> bool {
        self.known.is_none() && self.reader.is_none()
    }

    /// The answer is there; false where it says nothing.
    pub(crate) fn take_answer(&mut self) -> bool {
        if let Some(reader) = &mut self.reader {
            self.known = reader.take();
        }
        self.known.is_some()
    }

    pub(crate) fn known(&self) -> Option<&Graph> {
        self.known.as_ref()
    }
}

fn read(mut output: ChildStdout) -> Option<Graph> {
    let mut text = Vec::new();
    output.read_to_end(&mut text).ok()?;
    weigh(&serde_json::from_slice(&text).ok()?)
}

fn weigh(graph: &Value) -> Option<Graph> {
    if graph["version"].as_u64() != Some(GRAPH_VERSION) {
        return None;
    }
    let nodes: Vec<GraphNode> = graph["units"]
        .as_array()?
        .iter()
        .map(GraphNode::read)
        .collect::<Option<Vec<GraphNode>>>()?;
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for need in &node.needs {
            after.get_mut(*need)?.push(at);
        }
    }
    let mut known = vec![None; nodes.len()];
    let mut critical_paths: HashMap<UnitName, Millis> = HashMap::new();
    for at in 0..nodes.len() {
        let critical_path = longest(at, &nodes, &after, &mut known);
        let kept = critical_paths.entry(UnitName::of(&nodes[at].facts)).or_default();
        *kept = (*kept).max(critical_path);
    }
    Some(Graph { critical_paths, stages: Stages::find(&nodes) })
}

/// The longest chain from `at` to the end, depth first with what is known already; a graph of Cargo's has
/// no cycles, and a cycle would only end in zeros.
fn longest(
    at: usize,
    nodes: &[GraphNode],
    after: &[Vec<usize>],
    known: &mut Vec<Option<Millis>>,
) -> Millis {
    if let Some(critical_path) = known[at] {
        return critical_path;
    }
    known[at] = Some(Millis::ZERO);
    let next = after[at].iter().map(|next| longest(*next, nodes, after, known)).max();
    let critical_path = nodes[at].cpu + next.unwrap_or_default();
    known[at] = Some(critical_path);
    critical_path
}

#[cfg(test)]
mod tests {
    use plimsoll_core::invocation::UnitKind;
    use serde_json::json;

    use super::*;

    fn unit(id: &str, kind: &str, mode: &str, needs: &[usize]) -> Value {
        json!({
            "pkg_id": id, "mode": mode, "profile": {"opt_level": "0"},
            "target": {"kind": [kind], "name": id.rsplit('/').next(), "src_path": ""},
            "dependencies": needs.iter().map(|n| json!({"index": n})).collect::<Vec<_>>(),
        })
    }

    #[test]
    fn a_plain_cargos_jobs_are_in_its_words_or_its_environment() {
        let environment = b"PATH=/bin\0CARGO_BUILD_JOBS=8\0";
        for (words, jobs) in [
            ("cargo\0build\0", Some(8)),
            ("cargo\0build\0-j3\0", Some(3)),
            ("cargo\0build\0-j\x003\0--jobs=4\0", Some(4)),
            ("cargo\0build\0--jobs\x005\0", Some(5)),
            ("cargo\0run\0--\0-j3\0", Some(8)),
            ("cargo\0build\0-j\0default\0", None),
        ] {
            assert_eq!(jobs_in(words.as_bytes(), environment), jobs, "{words:?}");
        }
        assert_eq!(jobs_in(b"cargo\0build\0", b""), None);
    }

    #[test]
    fn a_library_that_is_linked_too_is_what_its_compiler_says() {
        let mut both = unit("path+file:///w/app#0.1.0", "cdylib", "build", &[]);
        both["target"]["kind"] = json!(["cdylib", "rlib"]);
        assert_eq!(GraphNode::read(&both).unwrap().facts.kind, UnitKind::Bin);
    }

    #[test]
    fn a_dependency_lies_further_from_the_end_than_its_dependents() {
        let graph = json!({"version": 1, "units": [
            unit("path+file:///w/app#0.1.0", "bin", "build", &[1]),
            unit("registry+https://index#mid@2.0.0", "lib", "build", &[2]),
            unit("registry+https://index#base@1.0.0", "lib", "build", &[]),
        ]});
        let weighed = weigh(&graph).unwrap();
        let names: Vec<&str> = weighed.stages.list().iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["app"]);
        let critical_paths = weighed.critical_paths;
        let of = |name: &str| {
            critical_paths
                .iter()
                .find(|(key, _)| key.package == name)
                .map(|(_, critical_path)| *critical_path)
        };
        assert!(of("base") > of("mid") && of("mid") > of("app"));
        let checked = json!({"version": 1, "units": [
            unit("registry+https://index#base@1.0.0", "lib", "check", &[]),
        ]});
        let alone = weigh(&checked).unwrap().critical_paths.into_values().next();
        assert!(alone < of("base"), "what is only checked takes less");
        assert!(weigh(&json!({"version": 2, "units": []})).is_none());
    }
}
