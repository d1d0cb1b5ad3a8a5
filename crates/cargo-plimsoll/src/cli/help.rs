//! What `--help` says below the options: units, examples, exit statuses.

pub(super) const BENCH_HELP: &str = "\
Every arm builds clean in a target directory of its own below the workspace's, which is removed afterwards. The peak is \
the highest memory of all processes of the build together, sampled 20 times a second in the same way for each arm. \
Plimsoll's arms get the recipe's peak as their line, unless --memory names one, and begin without history. Compiler \
caches are bypassed.

Examples:
  cargo plimsoll bench                               the dev profile, all arms
  cargo plimsoll bench --release -p cli              arguments of cargo build
  cargo plimsoll bench --arms plain,plimsoll --memory 2G --rebuild
  cargo plimsoll bench --rounds 3 --json bench.json --markdown bench.md --release

JSON: `runs`, each with arm, round, line_bytes, peak_bytes, wall_ms, rebuild_ms, exit, out_of_memory, and peak and \
time as shares of plain Cargo's in the same round (peak_vs_plain, wall_vs_plain).

Cargo's own benchmarks run inside the line with `cargo plimsoll cargo bench`.";

pub(super) const INIT_HELP: &str = "\
Every setting is listed, written or not, with the reason and, where recorded builds know it, the figure. Written \
lines say in a comment what they do and cost; everything else in the files stays as it is.

Examples:
  cargo plimsoll init                    what changes nothing in the programs: jobs, linker, split debug info
  cargo plimsoll init --lowmem           also thin LTO, more codegen units, less debug info …
  cargo plimsoll init --profile small    the same as a profile of its own: cargo build --profile small
  cargo plimsoll init --check            the difference, for a script: exit status 1 where there is one
  cargo plimsoll init --undo             exactly that back, also after other edits
  cargo plimsoll init --scripts          four scripts for those who type ./build-low-memory.sh --release -p cli

The scripts work without Plimsoll, too, with plain Cargo and smaller settings. What stands at their top (MEMORY_LIMIT) \
is yours to set and stays when they are written again.

Cargo's own command is `cargo init`.";

pub(super) const ENV_HELP: &str = "\
As `enable`, for one shell and what it starts: nothing is written outside Plimsoll's home. A compiler wrapper that is \
set already (sccache) is chained. Cargo keeps its own jobs: -j is yours. `plimsoll_leave` ends it in that shell.

Examples:
  source <(cargo plimsoll env)                     bash, zsh
  eval \"$(cargo plimsoll --memory 4G env)\"        any POSIX shell; inside 4 GiB
  cargo plimsoll env --shell fish | source         fish";

pub(super) const ENABLE_HELP: &str = "\
Cargo's own configuration file in its home (~/.cargo/config.toml) names Plimsoll's programs from then on; \
everything else in it stays. A compiler wrapper that stands there already (sccache) is chained. Without \
--memory the line is auto, or what was named before.

Examples:
  cargo plimsoll enable                  everything on this account inside what the machine leaves
  cargo plimsoll enable --memory 6G      inside 6 GiB; run it again to name another line";

pub(super) const DISABLE_HELP: &str = "\
The configuration file comes back byte for byte; where it was edited since, only Plimsoll's entries are taken \
out. Builds that run go on.

Example:
  cargo plimsoll disable";

pub(super) const RUN_UNDER_HELP: &str = "\
Examples:
  cargo plimsoll run-under -- make -j8
  cargo plimsoll --memory 2GiB run-under -- cmake --build build

The command and all that it starts are held together inside the line: it is stopped while there is no room for it,
and continued when there is. make and ninja get a jobserver, so that a -j of theirs is a ceiling. The compilers of a
Cargo that it runs are units of their own, as under `cargo plimsoll build`.";

pub(super) const WORKER_HELP: &str = "\
A package that depends on the library `worker` is built by worker-build; one with `wasm-bindgen` alone as wasm-pack does it
for bundlers, with its JavaScript beside it. Compilers, wasm-bindgen, wasm-opt and esbuild are units of one build inside
the line. Each tool is taken from its variable (WASM_BINDGEN_BIN, WASM_OPT_BIN, ESBUILD_BIN), from PATH, from
node_modules/.bin, or from what worker-build has fetched; what is missing or does not fit the lock file is said before
anything is built, with the command that installs it. The exit status is 2 then.

Examples:
  cargo plimsoll worker build                        in the Worker's directory: into build/, for wrangler
  cargo plimsoll worker build --memory 1GiB --dev    for development, inside 1 GiB
  cargo plimsoll worker build -p site --zip          also target/site-worker.zip
  cargo plimsoll worker build -- --features kv       more arguments for `cargo build`

Wrangler builds so itself with `[build] command = \"cargo plimsoll worker build\"` in wrangler.toml.";

pub(super) const STATUS_HELP: &str = "\
The exit status is 0 whatever the answer is; a script reads `enabled` and `effective` of --json.

Examples:
  cargo plimsoll status                  in a workspace: does anything there go past the line?
  cargo plimsoll status --json";

pub(super) const CLEAN_HELP: &str = "\
Nothing that the next build would take for fresh is removed, whatever its profile, features and command: what cannot be \
told stays. It waits for builds that run in the same target directory, as Cargo does. Where other workspaces build \
there, too, nothing is told.

Examples:
  cargo plimsoll clean --dry-run           what is stale, how old and how large
  cargo plimsoll clean                     the same, then removed when you say so
  cargo plimsoll clean --yes --keep-days 7 for a script; nothing of the last week

The exit status is 1 where something is stale, --yes was not said and nobody can be asked. Cargo's own command, which \
removes everything, is `cargo clean`, or `cargo plimsoll cargo clean`.";

pub(super) const DOCTOR_HELP: &str = "\
Three questions. Without an option: are this machine and workspace set up well? With a log, or --last: what killed that \
build? With --slow: why was it slow?

Examples:
  cargo plimsoll doctor                    every finding with why it matters here and what fixes it
  cargo plimsoll doctor --fix              the safe ones applied, asking before each
  cargo plimsoll doctor --last             what ended the last build
  cargo plimsoll doctor < build.log        the same of a log from anywhere: a CI, another machine
  cargo build 2>&1 | cargo plimsoll doctor -
  cargo plimsoll doctor --slow             where the last build's time went

A log may have colours, CRLF, and the times and prefixes of GitHub, GitLab, BuildKit, act or the journal; it is read \
as a stream. JSON of a killed build: memory, cause, certainty (certain, likely, possible), unit, evidence (line, text), \
remedies (command, why).

The exit status is 1 where something was found, or the build died for want of memory; 0 where all is well, the build \
failed for another reason, or nothing tells how it ended.";

pub(super) const SETTINGS_HELP: &str = "\
Options stand before variables, variables before the workspace's plimsoll.toml, that before your own \
(~/.config/plimsoll/plimsoll.toml).

Examples:
  cargo plimsoll settings
  cargo plimsoll settings --memory 50% --json

JSON: one object. `settings` is a list; each entry has `name`, `value` (a number of bytes for a size, otherwise as it \
is written in plimsoll.toml) and `origin` (default, option, variable, file, cargo or account) with `from` in words. \
`budget_bytes` is the memory budget as it is now, or null.";
