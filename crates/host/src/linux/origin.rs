//! Who started a compiler: the Cargo that asks for it, the whole invocation that this is part of, and whether a
//! person waits for that.
//!
//! Read from the chain of parents in `/proc`, once for each build that comes without a driver. What cannot be read
//! (a process that has ended, or that is another user's) ends the chain.
//!
//! The root of a build must be proven, because everything below it counts as the build's. The kernel gives the
//! children of a dead process to another parent (process 1, a subreaper), and that one looks like whoever started
//! them. So only a Cargo is a root. It is above the process through parents that are of the same user and not younger than
//! their children. Process 1 adopts strangers, so it is a root only where it leads the session of the process, as in
//! `docker run IMAGE cargo build`. A process without such a Cargo above it belongs to no build.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::environ;
use super::procfs::{INIT, Proc};

/// A chain of parents that is longer than this is not followed.
const DEEPEST: usize = 64;

/// Programs that run Cargo again and again, for days: each run is a build of its own.
const WATCHERS: [&str; 1] = ["cargo-watch"];

/// Editors' language servers: a person looks at what their checks say. Because they run Cargo without a
/// terminal, nothing else tells.
const EDITORS: [&str; 3] = ["rust-analyzer", "rustrover", "idea"];

/// Where a compiler comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The invocation's first process, a Cargo, below which everything is that it runs.
    pub root: u32,
    /// That Cargo's program file.
    pub program: PathBuf,
    /// The name of Cargo's subcommand, where the command line begins with one.
    pub command: String,
    /// A person waits for it: it writes to a terminal, or an editor asked for it.
    pub interactive: bool,
    /// Its compilers' messages go to another program, as JSON.
    pub json_messages: bool,
    /// The user that it runs as.
    pub uid: u32,
}

/// One process of a chain of parents, as far as it tells where a build begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ancestor {
    pid: u32,
    parent: u32,
    /// When it started, in clock ticks since boot.
    start: u64,
    session: u32,
    uid: u32,
    /// It keeps an account's governor, which belongs to no build.
    is_watchdog: bool,
    program: PathBuf,
}

impl Ancestor {
    fn read(proc: &Proc, pid: u32) -> Option<Self> {
        let stat = proc.stat(pid)?;
        Some(Self {
            pid,
            parent: stat.ppid,
            start: stat.start,
            session: stat.session,
            uid: proc.user_of(pid)?,
            is_watchdog: stat.is_watchdog,
            program: program(pid),
        })
    }

    fn name(&self) -> &str {
        name_of(&self.program)
    }
}

/// Where the process `pid` comes from: a Cargo, or what a Cargo has started. `None` where no Cargo is proven to be
/// above it, or it cannot be read.
#[must_use]
pub fn origin_of(pid: u32) -> Option<Origin> {
    let proc = Proc::open(Path::new("/proc")).ok()?;
    let chain = chain_of(pid, |pid| Ancestor::read(&proc, pid));
    // A Cargo under another name (wrapped, or run by an emulator) says which program it is to what it starts.
    let told = environ::variable_of(&proc, pid, b"CARGO");
    let told = told.map(|path| PathBuf::from(OsStr::from_bytes(&path)));
    let top = root_of(&chain, told.as_deref())?;
    let root = &chain[top];
    let is_editor = |name: &str| EDITORS.iter().any(|editor| name.starts_with(editor));
    let edited = chain[top..].iter().any(|it| is_editor(it.name()));
    let words = words(root.pid);
    Some(Origin {
        root: root.pid,
        program: root.program.clone(),
        command: subcommand(&words),
        interactive: edited || has_terminal(root.pid),
        json_messages: wants_json(&words),
        uid: root.uid,
    })
}

/// The process and its parents, as far as each is known to have started the one before: of the same user, and not
/// younger.
fn chain_of(pid: u32, mut read: impl FnMut(u32) -> Option<Ancestor>) -> Vec<Ancestor> {
    let mut chain: Vec<Ancestor> = Vec::new();
    let mut above = pid;
    while above != 0 && chain.len() < DEEPEST {
        let Some(next) = read(above) else { break };
        let fits = |child: &Ancestor| next.uid == child.uid && next.start <= child.start;
        if next.is_watchdog || !chain.last().is_none_or(fits) {
            break;
        }
        above = next.parent;
        chain.push(next);
    }
    chain
}

/// Where in the chain the build's root is: the top of the first unbroken run of Cargos. (`cargo nextest run` is one
/// invocation, though it runs a Cargo below it. What a test or a build script runs is another.)
fn root_of(chain: &[Ancestor], told: Option<&Path>) -> Option<usize> {
    let session = chain.first()?.session;
    let is_root = |it: &Ancestor| {
        let proven = it.pid != INIT || it.session == INIT && session == INIT;
        proven && (is_cargo(it.name()) || told == Some(&*it.program))
    };
    let first = chain.iter().position(is_root)?;
    let goes_on = |it: &&Ancestor| is_root(it) && !WATCHERS.contains(&it.name());
    Some(first + chain[first + 1..].iter().take_while(goes_on).count())
}

/// Whether the process runs a Cargo, by its name or as the `known` program. Under `cargo run` it becomes the user's own program.
#[must_use]
pub fn runs_cargo(pid: u32, known: Option<&Path>) -> bool {
    let program = program(pid);
    known == Some(&*program) || is_cargo(name_of(&program)) || name_of(&program) == "rustup"
}

fn is_cargo(name: &str) -> bool {
    name == "cargo" || name.starts_with("cargo-")
}

/// The process's program file, without what the kernel adds where it was replaced.
fn program(pid: u32) -> PathBuf {
    let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) => PathBuf::from(OsStr::from_bytes(path)),
        None => path,
    }
}

fn name_of(program: &Path) -> &str {
    program.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// Whether the process's standard error is a terminal. (A coding agent's commands write into pipes.)
fn has_terminal(pid: u32) -> bool {
    let stderr: PathBuf = fs::read_link(format!("/proc/{pid}/fd/2")).unwrap_or_default();
    stderr.starts_with("/dev/pts") || stderr.starts_with("/dev/console") || {
        let name = stderr.to_str().unwrap_or_default();
        name.strip_prefix("/dev/tty").is_some_and(|rest| !rest.is_empty())
    }
}

/// The process's arguments. Nothing but the subcommand's name is kept of them.
fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).skip(1).map(|it| String::from_utf8_lossy(it).into()).collect()
}

/// The first of Cargo's words that is no option.
fn subcommand(words: &[String]) -> String {
    let plain = |word: &&String| {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !word.is_empty() && !word.starts_with('-') && word.chars().all(letter)
    };
    words.iter().find(plain).cloned().unwrap_or_else(|| "cargo".to_owned())
}

/// `--message-format=json…`, or in two words.
fn wants_json(words: &[String]) -> bool {
    const OPTION: &str = "--message-format";
    let said =
        |word: &String| word.strip_prefix(OPTION).is_some_and(|rest| rest.starts_with("=json"));
    words.iter().any(said)
        || words.windows(2).any(|two| two[0] == OPTION && two[1].starts_with("json"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_outermost_cargo_below_a_watcher_is_the_build_and_a_pipe_is_no_terminal() {
        // Shells stand in: `cargo-watch` runs `cargo`, that runs another one, and that what asks. (The test
        // itself may run below a Cargo.)
        let dir = tempfile::tempdir().unwrap();
        for name in ["cargo", "cargo-watch"] {
            // By another process, so that no other test's fork has it open for writing.
            let copied = Command::new("cp").arg("/bin/sh").arg(dir.path().join(name)).status();
            assert!(copied.unwrap().success());
        }
        let cargo = dir.path().join("cargo").display().to_string();
        fs::write(dir.path().join("outer"), format!("echo $$; '{cargo}' inner build; :")).unwrap();
        fs::write(dir.path().join("inner"), "exec 3<&0; cat <&3 >/dev/null & echo $!; wait")
            .unwrap();
        let mut child = Command::new(dir.path().join("cargo-watch"))
            .args(["-c", &format!("'{cargo}' outer check; :")])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let pids: Vec<u32> =
            out.lines().take(2).map(|line| line.unwrap().trim().parse().unwrap()).collect();
        let origin = origin_of(pids[1]).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(origin.root, pids[0]);
        assert_eq!(origin.command, "outer");
        assert!(!origin.interactive);
        assert_eq!(origin.uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn what_cargo_was_asked_for_is_read_from_its_words() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, name, json) in [
            ("check --workspace --message-format=json-diagnostic-rendered-ansi", "check", true),
            ("-q build --message-format json", "build", true),
            ("b --message-format=short json", "b", false),
            ("--version", "cargo", false),
        ] {
            assert_eq!((subcommand(&words(line)).as_str(), wants_json(&words(line))), (name, json));
        }
    }

    #[test]
    fn what_is_gone_has_no_origin() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(origin_of(pid), None);
    }

    const USER: u32 = 1000;

    fn ancestor(pid: u32, parent: u32, session: u32, program: &str) -> Ancestor {
        let start = u64::from(pid);
        let program = Path::new("/bin").join(program);
        Ancestor { pid, parent, start, session, uid: USER, is_watchdog: false, program }
    }

    fn root(chain: &[Ancestor]) -> Option<u32> {
        let find = |pid: u32| chain.iter().find(|it| it.pid == pid).cloned();
        let chain = chain_of(chain.first()?.pid, find);
        root_of(&chain, None).map(|at| chain[at].pid)
    }

    #[test]
    fn whoever_adopts_an_orphan_is_no_root() {
        // Its Cargo was killed: process 1, a service manager, a shell, a build tool, somebody's container.
        for adopter in ["systemd", "sh", "bash", "tini", "make", "plimsoll-watch"] {
            let shim = ancestor(90, 1, 50, "plimsoll-rustc");
            assert_eq!(root(&[shim, ancestor(1, 0, 1, adopter)]), None, "{adopter}");
            let shim = ancestor(90, 40, 50, "plimsoll-rustc");
            let chain = [shim, ancestor(40, 1, 40, adopter), ancestor(1, 0, 1, "init")];
            assert_eq!(root(&chain), None, "{adopter}");
        }
    }

    #[test]
    fn process_1_is_a_root_only_where_it_is_a_cargo_that_leads_the_session() {
        let shim = |session| ancestor(90, 1, session, "plimsoll-rustc");
        let init = |session| ancestor(1, 0, session, "cargo");
        assert_eq!(root(&[shim(1), init(1)]), Some(1), "docker run IMAGE cargo build");
        assert_eq!(root(&[shim(50), init(1)]), None, "an orphan of docker exec");
        assert_eq!(root(&[shim(0), init(0)]), None, "nobody can tell these sessions apart");
    }

    #[test]
    fn a_cargo_that_is_younger_or_another_users_is_not_above() {
        let shim = || ancestor(90, 40, 50, "plimsoll-rustc");
        let cargo = ancestor(40, 30, 50, "cargo");
        assert_eq!(root(&[shim(), cargo.clone()]), Some(40));
        assert_eq!(root(&[shim(), Ancestor { start: 91, ..cargo.clone() }]), None);
        assert_eq!(root(&[shim(), Ancestor { uid: USER + 1, ..cargo.clone() }]), None);
        let outer = Ancestor { start: 41, ..ancestor(30, 1, 50, "cargo-nextest") };
        assert_eq!(root(&[shim(), cargo, outer]), Some(40), "a number that was given again");
    }

    #[test]
    fn a_cargo_under_another_name_is_known_by_what_it_tells_its_compilers() {
        let chain = [ancestor(90, 40, 50, "plimsoll-rustc"), ancestor(40, 1, 50, ".cargo-wrapped")];
        assert_eq!(root_of(&chain, None), None);
        assert_eq!(root_of(&chain, Some(Path::new("/bin/.cargo-wrapped"))), Some(1));
    }

    /// A machine's processes, with the kernel's rules of who becomes the parent of an orphan, and what no kernel
    /// tells: who has really started whom.
    #[derive(Debug, Default)]
    struct World {
        living: Vec<Being>,
        now: u64,
    }

    #[derive(Clone, Debug)]
    struct Being {
        is: Ancestor,
        adopts: bool,
        /// Start and number of each that was above it when it began.
        lineage: Vec<(u64, u32)>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// One of the living starts a program, perhaps in a session of its own, perhaps as a subreaper.
        Start {
            of: usize,
            program: usize,
            apart: bool,
            adopts: bool,
        },
        /// Somebody enters the namespace (`docker exec`).
        Enter {
            program: usize,
        },
        End(usize),
    }

    const PROGRAMS: [&str; 6] =
        ["sh", "cargo", "cargo-nextest", "make", "plimsoll-rustc", "plimsoll-rustc"];

    impl World {
        fn new(init: &str) -> Self {
            let is = Ancestor { start: 0, ..ancestor(1, 0, 1, init) };
            Self { living: vec![Being { is, adopts: true, lineage: Vec::new() }], now: 1 }
        }

        fn start(&mut self, parent: Option<usize>, program: usize, apart: bool, adopts: bool) {
            // Numbers are given again: the smallest free one.
            let free = |pid: &u32| self.living.iter().all(|it| it.is.pid != *pid);
            let Some(pid) = (2..).find(free) else { return };
            let above = parent.map(|at| self.living[at].clone());
            let mut is = ancestor(pid, 0, pid, PROGRAMS[program % PROGRAMS.len()]);
            is.start = self.now;
            let mut lineage = Vec::new();
            if let Some(above) = above {
                is.parent = above.is.pid;
                is.session = if apart { pid } else { above.is.session };
                lineage = above.lineage;
                lineage.push((above.is.start, above.is.pid));
            }
            self.living.push(Being { is, adopts, lineage });
        }

        fn end(&mut self, at: usize) {
            let gone = self.living.remove(at).is;
            let mut heir = gone.parent;
            let of =
                |pid: u32, living: &[Being]| living.iter().find(|it| it.is.pid == pid).cloned();
            while let Some(it) = of(heir, &self.living).filter(|it| !it.adopts) {
                heir = it.is.parent;
            }
            let heir = of(heir, &self.living).map_or(INIT, |it| it.is.pid);
            for it in self.living.iter_mut().filter(|it| it.is.parent == gone.pid) {
                it.is.parent = heir;
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, ..Default::default() })]

        /// Whatever dies, in whatever order, and whoever adopts whom.
        #[test]
        fn a_root_is_a_cargo_that_has_really_started_the_process(
            init in 0..2usize,
            steps in proptest::collection::vec(steps(), 0..60),
        ) {
            let mut world = World::new(["init", "cargo"][init]);
            for step in steps {
                world.now += 1;
                let among = world.living.len();
                match step {
                    Step::Start { of, program, apart, adopts } => {
                        world.start(Some(of % among), program, apart, adopts);
                    }
                    Step::Enter { program } => world.start(None, program, true, false),
                    // Process 1 does not end before all others.
                    Step::End(at) if among > 1 => world.end(1 + at % (among - 1)),
                    Step::End(_) => {}
                }
                for being in &world.living {
                    let find = |pid: u32| {
                        world.living.iter().find(|it| it.is.pid == pid).map(|it| it.is.clone())
                    };
                    let chain = chain_of(being.is.pid, find);
                    let Some(root) = root_of(&chain, None).map(|at| &chain[at]) else { continue };
                    proptest::prop_assert!(is_cargo(root.name()));
                    let own = root.pid == being.is.pid;
                    proptest::prop_assert!(
                        own || being.lineage.contains(&(root.start, root.pid)),
                        "{root:?} has never started {being:?}"
                    );
                }
            }
        }
    }

    fn steps() -> impl proptest::strategy::Strategy<Value = Step> {
        use proptest::prelude::*;
        prop_oneof![
            5 => (any::<usize>(), any::<usize>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
                .prop_map(|(of, program, apart, adopts)| Step::Start { of, program, apart, adopts }),
            1 => any::<usize>().prop_map(|program| Step::Enter { program }),
            3 => any::<usize>().prop_map(Step::End),
        ]
    }
}
