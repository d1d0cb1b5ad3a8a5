//! What `--help` says below the options: units, examples, exit statuses.

pub(super) const BENCH_HELP: &str = "\
Each arm builds everything in its own directory below the target directory, and removes it afterwards. The peak is the \
highest memory of all processes of the build together, sampled 20 times a second in the same way for each arm. \
Plimsoll's arms get the recipe's peak as their budget, unless you set --memory to a size or a share, and begin without history. Compiler \
caches are off.

Examples:
  cargo plimsoll bench                     the dev profile, all arms
  cargo plimsoll bench --release -p cli    arguments of cargo build
  cargo plimsoll bench --arms plain,plimsoll --memory 2G --rebuild
  cargo plimsoll bench --rounds 3 --json bench.json --markdown bench.md

JSON: `runs`, each with arm, round, budget_bytes, peak_bytes, wall_ms, rebuild_ms, exit, out_of_memory, and peak and \
time as shares of plain Cargo's in the same round (peak_vs_plain, wall_vs_plain).

The exit status is 1 if a build failed.

Cargo's own benchmarks run inside the budget with `cargo plimsoll cargo bench`.";

pub(super) const INIT_HELP: &str = "\
Lists every setting, written or not, with the reason and, where your recorded builds know it, a measured figure. It \
writes only what is right on every machine; settings that depend on yours are printed as advice. A comment behind each \
written line says what it does and costs. Everything else in Cargo.toml stays as it is.

Examples:
  cargo plimsoll init                   write what does not change your programs
  cargo plimsoll init --lowmem          also thin LTO, less debug info …
  cargo plimsoll init --profile small   the same, in a new profile `small`
  cargo plimsoll init --check           show the difference, write nothing
  cargo plimsoll init --undo            take it back, even after other edits
  cargo plimsoll init --scripts         write four build scripts

Use the scripts if people expect to type ./build-low-memory.sh. They also work without Plimsoll, with plain Cargo and smaller settings. You can edit MEMORY_LIMIT at their top: \
it stays when you write them again, and --undo leaves a script that you edited.

Cargo's own command is `cargo init`.";

pub(super) const ENV_HELP: &str = "\
Prints commands for your shell. They do what `enable` does, but only for that shell and the programs that you start \
from it; Cargo's configuration stays as it is. A compiler wrapper that you use already, such as sccache, still runs. \
Cargo keeps its own number of jobs. `plimsoll_leave` undoes it in that shell.

Examples:
  source <(cargo plimsoll env)                bash, zsh
  eval \"$(cargo plimsoll --memory 4G env)\"   any POSIX shell, inside 4 GiB
  cargo plimsoll env --shell fish | source    fish";

pub(super) const ENABLE_HELP: &str = "\
Adds Plimsoll's programs to Cargo's own configuration file (~/.cargo/config.toml); everything else in it stays. A \
compiler wrapper that you use already, such as sccache, still runs. Run it again to change the budget. Without \
--memory, the budget stays what you set before; at first it is auto.

Examples:
  cargo plimsoll enable               all your builds share the spare memory
  cargo plimsoll enable --memory 6G   all your builds share 6 GiB";

pub(super) const DISABLE_HELP: &str = "\
Cargo's configuration file becomes what it was, byte for byte; if you edited it since, only Plimsoll's entries go. \
Running builds go on. What your builds recorded stays; `cargo plimsoll uninstall` removes that, too.

Example:
  cargo plimsoll disable";

pub(super) const UNINSTALL_HELP: &str = "\
Undoes `enable` and removes Plimsoll's state directory: what your builds recorded, their logs, and links to tools. It \
asks first, and it removes nothing while a build runs. Your settings (~/.config/plimsoll/plimsoll.toml), the files of \
your workspaces and the programs stay; it prints the command that removes the programs. In a workspace, `cargo \
plimsoll init --undo` takes back what `init` wrote.

Examples:
  cargo plimsoll uninstall
  cargo plimsoll uninstall --yes && cargo uninstall cargo-plimsoll

The exit status is 1 if nothing was removed because a build runs or there is neither --yes nor a terminal to ask on.";

pub(super) const RUN_UNDER_HELP: &str = "\
Examples:
  cargo plimsoll run-under -- make -j8
  cargo plimsoll --memory 2GiB run-under -- cmake --build build

Plimsoll measures the command and everything that it starts together. It pauses them while there is no room in the
budget, and continues them when there is. make and ninja get a jobserver; their own -j is then the highest number of
jobs. If the command runs Cargo, its compilers are units of their own, as under `cargo plimsoll build`.";

pub(super) const WORKER_HELP: &str = "\
worker-build builds a package that depends on the library `worker`. A package with `wasm-bindgen` alone is built as \
wasm-pack does it for bundlers, with its JavaScript beside it. Compilers, wasm-bindgen, wasm-opt and esbuild are units \
of one build inside the budget. Each tool comes from its variable (WASM_BINDGEN_BIN, WASM_OPT_BIN, ESBUILD_BIN), from \
PATH, from node_modules/.bin, or from what worker-build has downloaded. If a tool is missing or does not fit the lock \
file, you read that before anything is built, with the command that installs it; the exit status is then 2.

Examples:
  cargo plimsoll worker build                      into build/, for wrangler
  cargo plimsoll worker build --memory 1GiB --dev  a development build in 1 GiB
  cargo plimsoll worker build -p site --zip        also target/site-worker.zip
  cargo plimsoll worker build -- --features kv     arguments for `cargo build`

To let wrangler build this way, write `[build] command = \"cargo plimsoll worker build\"` into wrangler.toml.";

pub(super) const STATUS_HELP: &str = "\
Run it in a workspace to see whether anything there bypasses the budget. The exit status is always 0; scripts read \
`enabled` and `effective` of --json.

Examples:
  cargo plimsoll status
  cargo plimsoll status --json";

pub(super) const CLEAN_HELP: &str = "\
Removes what no build of this workspace can use again: old versions of packages, removed packages, what was built from \
them, and what toolchains built that you no longer have. Everything that a build with any installed toolchain, profile \
or feature set reuses stays. Like Cargo, it waits for a build that runs in the same target directory. A target \
directory that several workspaces share stays as it is.

Without rustup, Plimsoll cannot list the installed toolchains. What other toolchains built then stays, unless you name \
the toolchains to keep.

Examples:
  cargo plimsoll clean --dry-run                 show what would go
  cargo plimsoll clean                           show it, ask, and remove it
  cargo plimsoll clean --yes --keep-days 7       keep what the last week built
  cargo plimsoll clean --keep-toolchains current keep only this toolchain's work

The exit status is 1 if something could go but there is neither --yes nor a terminal to ask on. To remove everything, \
use `cargo clean`.";

pub(super) const DOCTOR_HELP: &str = "\
Answers three questions. Without an option: are this machine and workspace set up well? With a log or --last: what \
killed the build? With --slow: why was it slow?

Examples:
  cargo plimsoll doctor               every finding, the worst first
  cargo plimsoll doctor -v            also the checks that passed
  cargo plimsoll doctor --fix         apply the safe fixes; asks before each
  cargo plimsoll doctor --last        what ended this workspace's last build
  cargo plimsoll doctor --last --all  what ended the last build of any workspace
  cargo plimsoll doctor < build.log   the same for a log from anywhere
  cargo build 2>&1 | cargo plimsoll doctor -
  cargo plimsoll doctor --slow        why this workspace's last build was slow

A log on stdin needs no `-` if stdin is a file or a pipe. A log may have colors, CRLF, and the times and prefixes of GitHub, GitLab, BuildKit, act or the journal; it is read \
as a stream. JSON of a killed build: memory, cause, certainty (certain, likely, possible), unit, evidence (line, text), \
remedies (command, why); with --last also build, workspace, command and started_unix_ms.

The exit status is 1 if there is a problem, or if the build died for lack of memory; 0 if all is well, if the build \
failed for another reason, or if nothing tells how it ended.";

pub(super) const SETTINGS_HELP: &str = "\
An option overrides a variable, a variable overrides the workspace's plimsoll.toml, and that overrides your own \
(~/.config/plimsoll/plimsoll.toml).

Examples:
  cargo plimsoll settings
  cargo plimsoll settings --memory 50% --json

JSON: one object. `settings` is a list; each entry has `name`, `value` (a number of bytes for a size, otherwise as it \
is written in plimsoll.toml) and `origin` (default, option, variable, file, cargo or account) with `from` in words. \
`budget_bytes` is the memory budget as it is now, or null.";
pub(super) const REPORT_HELP: &str = "\
Examples:
  cargo plimsoll report                the last build of this workspace
  cargo plimsoll report --list         this workspace's builds, the newest first
  cargo plimsoll report --list --all   the builds of every workspace
  cargo plimsoll report 17953          the build whose id begins with this
  cargo plimsoll report --json         a summary for a program

Plimsoll keeps the last 20 builds, and the last build of each workspace. Their logs are readable by you only; they \
contain neither command lines nor environment variables.

JSON: plimsoll_report (the version of this form, 1), build, workspace (null where it is unknown), command, \
started_unix_ms, result (finished, failed, canceled, killed, running, incomplete), exit (null before the end), wall_ms, \
peak_bytes, budget_bytes, budget_at_peak_bytes (null without a budget), memory, jobs, units (ran, finished, failed, \
refused, not_started, under_way, nested), paused, paged_out, killed_and_restarted, killed_by_others (numbers of units), \
cpu_ms, lost_cpu_ms, governor_cpu_ms, notices, heaviest (name, title, status, peak_bytes, forecast_bytes, forecast_from, \
cpu_ms, wall_ms, waited_ms, runs), version. With --list: plimsoll_builds (1) and builds, each with the fields from build \
to peak_bytes.

The exit status is 1 if no such build is recorded.";

pub(super) const HISTORY_HELP: &str = "\
Examples:
  cargo plimsoll history                   every crate, the heaviest first
  cargo plimsoll history serde             crates whose name contains this

JSON: plimsoll_history (the version of this form, 1) and units, each with package, version, kind, profile, runs, \
peak_bytes (of the last run), highest_bytes, at_least_bytes (if a run was killed), linker_bytes, cpu_ms, wall_ms.

The exit status is 1 if nothing is recorded.";
