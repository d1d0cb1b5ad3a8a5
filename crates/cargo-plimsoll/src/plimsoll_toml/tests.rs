use plimsoll_core::oversized::Oversized;

use super::*;

fn error(text: &str) -> String {
    parse(Path::new("plimsoll.toml"), text).unwrap_err().to_string()
}

#[test]
fn everything_that_can_be_said_is_read_with_its_line() {
    let text = "\
# The budget.
memory = \"60%\"
jobs = -1
reserve = \"2G\"
oversized = 'run'

[crates.big-one]
memory = \"900 MiB\"
note = \"generated code\"

[crates]
small.memory = \"70M\"
";
    let says = parse(Path::new("plimsoll.toml"), text).unwrap();
    let memory = says.memory.unwrap();
    assert_eq!(
        (memory.value, memory.place.to_string()),
        (Memory::Percent(60), "plimsoll.toml:2".to_owned())
    );
    assert_eq!(says.jobs.unwrap().value.resolve(8), 7);
    assert_eq!(says.reserve.unwrap().value, Memory::Size(Bytes::gib(2)));
    assert_eq!(says.oversized.unwrap().value, Oversized::Run);
    let big = &says.crates["big-one"];
    assert_eq!((big.memory, big.note.as_deref()), (Some(Bytes::mib(900)), Some("generated code")));
    assert_eq!(big.place.line, 7);
    assert_eq!(says.crates["small"].memory, Some(Bytes::mib(70)));
    assert_eq!(parse(Path::new("p"), "").unwrap(), PlimsollToml::default());
}

#[test]
fn what_means_nothing_is_an_error_with_line_and_advice() {
    for (text, expected) in [
        ("# a\nmemroy = \"1G\"\n", "plimsoll.toml:2: unknown key `memroy`; did you mean `memory`?"),
        (
            "linker = \"evil\"\n",
            "plimsoll.toml:1: unknown key `linker`; known are memory, jobs, reserve, oversized, hard, crates",
        ),
        (
            "[crates.a]\nnots = 1\n",
            "plimsoll.toml:2: unknown key `crates.a.nots`; did you mean `crates.a.note`?",
        ),
        ("\nmemory = \"lots\"\n", "plimsoll.toml:2: memory: `lots` is not an amount of memory"),
        ("memory = 12\n", "plimsoll.toml:1: memory: write a size"),
        ("jobs = 0\n", "plimsoll.toml:1: jobs: write a number other than 0"),
        (
            "reserve = \"1M\"\n",
            "plimsoll.toml:1: reserve: Plimsoll always keeps more than that free",
        ),
        (
            "oversized = \"yes\"\n",
            "plimsoll.toml:1: oversized: `yes` is not a way to treat an oversized unit",
        ),
        ("oversized = true\n", "plimsoll.toml:1: oversized: write `\"refuse\"`, `\"run\"`"),
        ("crates = 1\n", "plimsoll.toml:1: crates: write a table, for example `[crates.serde]`"),
        ("[crates]\na = 1\n", "plimsoll.toml:2: crates.a: write a table"),
        ("[crates.a]\nmemory = \"50%\"\n", "plimsoll.toml:2: crates.a.memory: write a size"),
        ("memory = \"1G\"\nmemory = \"2G\"\n", "plimsoll.toml:2: not TOML: "),
        ("[[crates]]\n", "plimsoll.toml:1: crates: write a table"),
    ] {
        let said = error(text);
        assert!(said.starts_with(expected), "{text:?}: {said}");
    }
}

#[test]
fn the_files_are_found_where_cargo_and_the_xdg_specification_look() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("ws/Cargo.toml", "[workspace]\nmembers = [\"a b\"]\nexclude = [\"out\"]\n");
    write("ws/a b/Cargo.toml", "[package]\nname = \"a\"\n");
    write("ws/a b/src/lib.rs", "");
    write("ws/out/Cargo.toml", "[package]\nname = \"out\"\n");
    write("far/Cargo.toml", "[package]\nname = \"far\"\nworkspace = \"../ws\"\n");
    let found = |from: &str| workspace_root(&root.path().join(from));
    let at = |path: &str| Some(root.path().join(path));
    assert_eq!(found("ws"), at("ws"));
    assert_eq!(found("ws/a b/src"), at("ws"));
    assert_eq!(found("ws/a b/Cargo.toml"), at("ws"));
    assert_eq!(found("ws/out"), at("ws/out"));
    assert_eq!(found("far"), at("ws").map(|it| it.canonicalize().unwrap()));

    write("ws/plimsoll.toml", "memory = \"1G\"\n");
    write("home/.config/plimsoll/plimsoll.toml", "memory = \"2G\"\n");
    write("xdg/plimsoll/plimsoll.toml", "memory = \"3G\"\n");
    let home = root.path().join("home").display().to_string();
    let mut environment = vec![("HOME", home)];
    let files = |environment: &[(&str, String)]| {
        let environment = Environment::from_iter(environment.iter().cloned());
        Files::find(&root.path().join("ws/a b"), &environment).unwrap()
    };
    let gib = |says: &PlimsollToml| says.memory.as_ref().map(|it| it.value);
    let both = files(&environment);
    assert_eq!(gib(&both.repo), Some(Memory::Size(Bytes::gib(1))));
    assert_eq!(gib(&both.user), Some(Memory::Size(Bytes::gib(2))));
    environment.push(("XDG_CONFIG_HOME", root.path().join("xdg").display().to_string()));
    assert_eq!(gib(&files(&environment).user), Some(Memory::Size(Bytes::gib(3))));
}

#[test]
fn the_books_example_means_something() {
    let page = include_str!("../../../../docs/src/settings.md");
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let says = parse(Path::new("settings.md"), example).unwrap();
    assert!(says.memory.is_some() && says.reserve.is_some() && !says.crates.is_empty());
}
