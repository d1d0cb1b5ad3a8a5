//! README and the book: every block of commands runs, every file of settings means something, and the guide says the
//! same in both languages. (Links and the page of settings: `tests/docs`.)
//!
//! A block that cannot run here says so behind its language: `sh,untested=docker`. [`UNTESTED`] has the reasons that
//! count. README's first block is run by `.ci/run`, which installs Plimsoll.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use crate::process::patience;
use crate::scene::{Scene, below};
use crate::{fake_rustc, worker};

/// Why a block of commands may not be run, and what that means.
const UNTESTED: [(&str, &str); 6] = [
    ("docker", "it takes Docker, and an image that is fetched"),
    ("hours", "it takes hours on an idle machine"),
    ("install", "`.ci/run` runs it, as README's first command"),
    ("network", "it fetches something from a network"),
    ("nix", "it takes Nix"),
    ("python", "it takes Python packages that are fetched"),
];

/// The languages that blocks may be in, beside `sh`.
const OTHERS: [&str; 6] = ["dockerfile", "ini", "json", "text", "toml", "yaml"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// README and the book's pages, by their path in the repository. What the book includes from elsewhere is here, too.
fn pages() -> Vec<PathBuf> {
    let elsewhere = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md"];
    let book = below(&root().join("docs/src"));
    let is_page = |path: &PathBuf| path.extension() == Some(OsStr::new("md"));
    let book = book.into_iter().filter(is_page);
    let mut pages: Vec<PathBuf> =
        book.map(|path| path.strip_prefix(root()).unwrap().to_owned()).collect();
    pages.extend(elsewhere.map(PathBuf::from));
    pages.sort();
    pages
}

fn text(page: &Path) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// A fenced block: what stands behind its fence, and what is in it.
struct Block {
    language: String,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut inside = false;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                blocks.push(Block { language: language.into_string(), text: String::new() });
                inside = true;
            }
            Event::Text(text) if inside => blocks.last_mut().unwrap().text.push_str(&text),
            Event::End(TagEnd::CodeBlock) => inside = false,
            _ => {}
        }
    }
    blocks
}

/// The blocks in this language.
fn in_language(text: &str, language: &str) -> Vec<String> {
    let blocks = blocks(text).into_iter().filter(|block| block.language == language);
    blocks.map(|block| block.text).collect()
}

/// The numbers of the rows of the table of figures; in Portuguese the decimals stand behind a comma.
fn figures(text: &str) -> Vec<Vec<String>> {
    let table =
        text.split("<!-- figures -->").nth(1).unwrap().split("<!-- end -->").next().unwrap();
    let number = |cell: &str| cell.trim().replace(',', ".");
    let is_number = |cell: &String| cell.parse::<f64>().is_ok();
    table.lines().map(|line| line.split('|').map(number).filter(is_number).collect()).collect()
}

/// What a file of settings says, without comments and texts for people.
fn settings(block: &str) -> Vec<String> {
    let lines = block.lines().map(|line| line.split('#').next().unwrap().trim().to_owned());
    lines.filter(|line| !line.starts_with("note")).collect()
}

#[test]
fn both_languages_of_the_guide_name_the_same_commands_settings_and_figures() {
    let [english, portuguese] =
        ["docs/src/guide.md", "docs/src/guia.pt-BR.md"].map(|page| text(Path::new(page)));
    assert_eq!(in_language(&english, "sh"), in_language(&portuguese, "sh"));
    let toml =
        |text: &str| in_language(text, "toml").iter().map(|it| settings(it)).collect::<Vec<_>>();
    assert_eq!(toml(&english), toml(&portuguese));
    assert_eq!(figures(&english), figures(&portuguese));
    assert!(figures(&english).concat().len() >= 12);
    let headings = |text: &str| text.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(headings(&english), headings(&portuguese));
    let decimals = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        words.filter(|word| word.starts_with("0.") && word.len() > 3).count()
    };
    assert_eq!(decimals(&portuguese), 0, "decimals of the Portuguese guide stand behind a comma");
}

/// Nothing is left out in silence.
#[test]
fn every_block_is_run_or_says_why_not() {
    let mut unknown = Vec::new();
    let mut reasons: Vec<&str> = UNTESTED.iter().map(|(reason, _)| *reason).collect();
    let mut unused = reasons.clone();
    for page in pages() {
        for block in blocks(&text(&page)) {
            let language = block.language.as_str();
            if let Some(reason) = language.strip_prefix("sh,untested=") {
                unused.retain(|it| *it != reason);
                if reasons.contains(&reason) {
                    continue;
                }
            }
            // Pictures of processes and messages in the pages for contributors have no language.
            let is_drawing = language.is_empty() && !page.starts_with("docs/src/recipes");
            if !is_drawing && language != "sh" && !OTHERS.contains(&language) {
                unknown.push(format!("{}: ```{language}", page.display()));
            }
            if language == "json" {
                let _: serde_json::Value = serde_json::from_str(&block.text).unwrap();
            }
        }
    }
    reasons.sort_unstable();
    assert!(unknown.is_empty(), "{unknown:#?}; known are {reasons:?} and {OTHERS:?}");
    assert!(unused.is_empty(), "reasons that nothing has: {unused:?}");
}

/// A package `cli`, a Worker with all that it needs, a Makefile, a wrapper, and the log of a build that died.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.lib("core-of-it", &[], "");
    scene.bin("cli", &["core-of-it"], "fn main() {}");
    scene.write(
        "ws/Cargo.toml",
        "[workspace]\nmembers = [\"cli\", \"core-of-it\", \"site\"]\nresolver = \"3\"\n",
    );
    scene.write("ws/Makefile", "all:\n\tcargo build\n");
    scene.write("ws/build.log", "error: could not compile `cli`\n\nCaused by:\n  process didn't exit successfully: `rustc --crate-name cli` (signal: 9, SIGKILL: kill)\n");
    scene.script("bin/wrapper", "exec \"$@\"");
    worker::add_site(&scene);
    worker::add_tools(&scene);
    for program in ["cargo-plimsoll", "plimsoll-rustc", "plimsoll-rustdoc", "plimsoll-test"] {
        let built = Path::new(env!("CARGO_BIN_EXE_cargo-plimsoll")).with_file_name(program);
        scene.program(built, &format!("bin/{program}"));
    }
    scene.ok(&mut scene.cargo("generate-lockfile"));
    scene
}

/// bash in the scene's workspace, as somebody who has installed Plimsoll and has a home of their own.
fn bash(scene: &Scene) -> Command {
    let mut bash = Command::new("bash");
    scene.prepare(&mut bash);
    scene.with_fake(&mut bash);
    let path = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(scene.at("bin")).chain(std::env::split_paths(&path));
    // rustup's own programs look for their toolchains there.
    let rustup = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".rustup")))
        .filter(|home| home.exists());
    if let Some(rustup) = rustup {
        bash.env("RUSTUP_HOME", rustup);
    }
    bash.env("HOME", scene.at("person"))
        .env("RUSTC", scene.at("bin/rustc"))
        .env("E2E_RUSTC", fake_rustc::path())
        .env("CARGO_HOME", scene.at("cargo"))
        .env("PATH", std::env::join_paths(path).unwrap());
    bash
}

/// Runs all that these pages have, each page in a world of its own, its blocks one after the other.
fn run(is_of: impl Fn(&Path) -> bool) {
    let mut ran = 0;
    for page in pages().into_iter().filter(|page| is_of(page)) {
        let text = text(&page);
        let mut commands = in_language(&text, "sh");
        if page == Path::new("README.md") {
            assert!(commands.remove(0).starts_with("cargo install --locked --path"));
        }
        let files = in_language(&text, "toml");
        if commands.is_empty() && files.is_empty() {
            continue;
        }
        let scene = scene();
        for file in files {
            scene.write("ws/plimsoll.toml", file);
            scene.ok(bash(&scene).args(["-c", "cargo plimsoll settings"]));
        }
        let _ = fs::remove_file(scene.at("ws/plimsoll.toml"));
        for block in commands {
            // 1 is "there is nothing to show", a difference, or that something was found.
            let checked = |line: &str| {
                format!(
                    "{line}\n[ $? -le 1 ] || {{ echo '{}: {}' >&2; exit 9; }}\n",
                    page.display(),
                    line.replace('\'', "")
                )
            };
            let script: String = block.lines().map(checked).collect();
            // `cargo plimsoll bench` builds a workspace five times.
            let done = scene.start(bash(&scene).args(["-c", &script])).end_within(patience() * 4);
            assert_eq!(done.code(), 0, "{script}\n{}", done.stderr);
            ran += 1;
        }
        scene.assert_clean();
    }
    assert!(ran > 0);
}

fn is_guide(page: &Path) -> bool {
    page.ends_with("guide.md")
}

/// The Portuguese guide has the same commands.
fn is_other(page: &Path) -> bool {
    !is_guide(page) && !page.ends_with("guia.pt-BR.md") && !page.starts_with("docs/src/recipes")
}

#[test]
fn every_command_of_the_guide_runs() {
    run(is_guide);
}

#[test]
fn every_command_of_the_recipes_runs() {
    run(|page| page.starts_with("docs/src/recipes"));
}

#[test]
fn every_command_of_readme_and_the_other_pages_runs() {
    run(is_other);
}
