use plimsoll_core::Bytes;

use super::*;

fn resolve(
    asked: Asked,
    variables: &[(&str, &str)],
    build_jobs: Option<&str>,
) -> Result<Settings, BadSettings> {
    let environment = Environment::from_iter(variables.iter().copied());
    let jobs = build_jobs.map(|text| plimsoll_cargo::Given {
        value: text.parse().unwrap(),
        origin: plimsoll_cargo::Origin::Variable("CARGO_BUILD_JOBS"),
    });
    let cargo = CargoConfig { jobs, ..CargoConfig::default() };
    from_files(asked, &environment, &Files::default(), cargo)
}

fn from_files(
    asked: Asked,
    environment: &Environment,
    files: &Files,
    cargo: CargoConfig,
) -> Result<Settings, BadSettings> {
    let whole = || Some(Bytes::gib(8));
    let sources = Sources { environment, files, processors: 8, whole };
    Settings::resolve(&asked, &sources, cargo, Path::new("/w"))
}

#[test]
fn a_repository_stays_within_what_the_user_gives() {
    let file = |path: &str, text: &str| plimsoll_toml::parse(Path::new(path), text).unwrap();
    let settled = |repo: &str, user: &str| {
        let files = Files { repo: file("repo", repo), user: file("user", user) };
        let nothing = Environment::default();
        from_files(Asked::default(), &nothing, &files, CargoConfig::default()).unwrap()
    };
    for (repo, user, memory, origin) in [
        ("memory = '2G'", "", "2G", "repo:1"),
        ("", "\nmemory = '2G'", "2G", "user:2"),
        ("memory = '2G'", "memory = '3G'", "2G", "repo:1"),
        ("memory = '4G'", "memory = '3G'", "3G", "user:1"),
        ("memory = 'auto'", "memory = '3G'", "3G", "user:1"),
        ("memory = '4G'", "memory = 'auto'", "4G", "repo:1"),
        ("memory = '50%'", "memory = '5G'", "50%", "repo:1"),
        ("memory = '50%'", "memory = '3G'", "3G", "user:1"),
        ("memory = '50%'", "memory = '40%'", "40%", "user:1"),
    ] {
        let settings = settled(repo, user);
        assert_eq!(settings.memory.value, memory.parse().unwrap(), "{repo} {user}");
        assert_eq!(settings.memory.origin.to_string(), origin, "{repo} {user}");
    }
    for (repo, user, jobs) in [("jobs = 3", "jobs = 2", 2), ("jobs = -7", "jobs = 2", 1)] {
        assert_eq!(settled(repo, user).jobs.value, jobs);
    }
    for (repo, user, reserve) in [
        ("reserve = '2G'", "reserve = '1G'", "2G"),
        ("reserve = '1G'", "reserve = '2G'", "2G"),
        ("reserve = 'auto'", "reserve = '2G'", "2G"),
        ("reserve = '10%'", "reserve = '1G'", "1G"),
        ("", "", "auto"),
    ] {
        assert_eq!(settled(repo, user).reserve.value, reserve.parse().unwrap());
    }
    let oversized = |repo: &str, user: &str| settled(repo, user).oversized.value;
    assert_eq!(oversized("", ""), Oversized::Shrink);
    assert_eq!(oversized("oversized = 'run'", "oversized = 'refuse'"), Oversized::Run);
    assert_eq!(oversized("", "oversized = 'shrink-output'"), Oversized::ShrinkOutput);
    for (repo, user, hard) in [
        ("hard = true", "", true),
        ("hard = true", "hard = false", true),
        ("hard = false", "hard = true", true),
        ("", "hard = true", true),
        ("hard = false", "", false),
        ("", "", false),
    ] {
        assert_eq!(settled(repo, user).hard.value, hard, "{repo} {user}");
    }
    let notes = settled("[crates.a]\nmemory = '1G'", "[crates.a]\nmemory = '2G'\n[crates.b]");
    assert_eq!(notes.crates["a"].memory, Some(Bytes::gib(1)));
    assert!(notes.crates.contains_key("b"));

    let files = Files { repo: file("repo", "memory = '2G'\njobs = 2"), user: Default::default() };
    let said = Environment::from_iter([(env::MEMORY, "3G"), (env::JOBS, "3")]);
    let set = from_files(Asked::default(), &said, &files, CargoConfig::default()).unwrap();
    assert_eq!((set.memory.value, set.jobs.value), (Memory::Size(Bytes::gib(3)), 3));
}

#[test]
fn an_option_goes_before_the_environment_and_that_before_the_default() {
    let nothing = resolve(Asked::default(), &[("HOME", "/h")], None).unwrap();
    assert_eq!(nothing.memory, Sourced::new(Memory::Auto, Origin::Default));
    assert_eq!(nothing.jobs, Sourced::new(8, Origin::Default));
    assert_eq!(nothing.processors, Sourced::new(8, Origin::Default));
    assert_eq!(nothing.oversized, Sourced::new(Oversized::Shrink, Origin::Default));
    let home = PathBuf::from("/h/.local/state/plimsoll");
    assert_eq!(nothing.home, Sourced::new(Some(home), Origin::Default));

    let variables = [
        (env::MEMORY, "2G"),
        (env::JOBS, "3"),
        (env::OVERSIZED, "refuse"),
        (env::QUIET, "off"),
        (env::HOME, "kept"),
    ];
    let set = resolve(Asked::default(), &variables, None).unwrap();
    let two = Memory::Size(Bytes::gib(2));
    assert_eq!(set.memory, Sourced::new(two, Origin::Variable(env::MEMORY)));
    assert_eq!(set.jobs, Sourced::new(3, Origin::Variable(env::JOBS)));
    assert_eq!(set.oversized, Sourced::new(Oversized::Refuse, Origin::Variable(env::OVERSIZED)));
    assert_eq!(set.quiet, Sourced::new(false, Origin::Variable(env::QUIET)));
    assert_eq!(set.home.value, Some(PathBuf::from("/w/kept")));

    let repo = plimsoll_toml::parse(Path::new("repo"), "hard = true").unwrap();
    let files = Files { repo, user: Default::default() };
    let hard = |asked, value| {
        let said = Environment::from_iter([(env::HARD, value)]);
        from_files(asked, &said, &files, CargoConfig::default()).unwrap().hard
    };
    let off = Sourced::new(false, Origin::Variable(env::HARD));
    assert_eq!(hard(Asked::default(), "0"), off, "the user's own word");
    let on = Sourced::new(true, Origin::Option("--hard"));
    assert_eq!(hard(Asked { hard: true, ..Asked::default() }, "0"), on);

    let asked = Asked {
        memory: Some(Memory::Percent(50)),
        jobs: Some(Jobs::Default),
        quiet: true,
        ..Asked::default()
    };
    let asked = resolve(asked, &variables, Some("2")).unwrap();
    assert_eq!(asked.memory, Sourced::new(Memory::Percent(50), Origin::Option("--memory")));
    assert_eq!(asked.jobs, Sourced::new(8, Origin::Option("--jobs")));
    assert_eq!(asked.quiet, Sourced::new(true, Origin::Option("--quiet")));
}

#[test]
fn build_jobs_bounds_what_was_not_asked_for_on_the_command_line() {
    let jobs = |variables: &[(&str, &str)], ceiling| {
        resolve(Asked::default(), variables, Some(ceiling)).unwrap().jobs.value
    };
    assert_eq!(jobs(&[], "3"), 3);
    assert_eq!(jobs(&[], "16"), 8);
    assert_eq!(jobs(&[], "-6"), 2);
    assert_eq!(jobs(&[(env::JOBS, "6")], "3"), 3);
    assert_eq!(jobs(&[(env::JOBS, "2")], "3"), 2);
    assert_eq!(jobs(&[(env::PROCESSORS, "4")], "16"), 4);
}

#[test]
fn contradictions_and_unreadable_variables_are_refused() {
    let four = "4".parse().ok();
    let asked = Asked { jobs: four, cargo_jobs: "2".parse().ok(), ..Asked::default() };
    let twice = resolve(asked, &[], None);
    assert!(matches!(twice, Err(BadSettings::JobsTwice { before: 4, after: 2 })));
    let asked = Asked { jobs: four, cargo_jobs: "-4".parse().ok(), ..Asked::default() };
    assert_eq!(resolve(asked, &[], None).unwrap().jobs.value, 4);

    for (name, value, said) in [
        (env::MEMORY, "lots", "is not an amount of memory"),
        (env::JOBS, "0", "not a number of jobs"),
        (env::PROCESSORS, "0", "not a number of processors"),
        (env::OVERSIZED, "maybe", "`shrink-output`"),
        (env::PRIORITY, "first", "`normal`"),
        (env::HARD, "maybe", "neither yes nor no"),
    ] {
        let error = resolve(Asked::default(), &[(name, value)], None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(value) && text.contains(said), "{text}");
        assert!(std::error::Error::source(&error).is_none(), "a cause would be printed once more");
        assert!(resolve(Asked::default(), &[(name, "")], None).is_ok(), "{name} unset");
    }
}

#[test]
fn state_goes_where_the_xdg_specification_says() {
    let home =
        |variables: &[(&str, &str)]| resolve(Asked::default(), variables, None).unwrap().home.value;
    let both = [("HOME", "/h"), ("XDG_STATE_HOME", "/s")];
    assert_eq!(home(&both), Some(PathBuf::from("/s/plimsoll")));
    let relative = [("HOME", "/h"), ("XDG_STATE_HOME", "s")];
    assert_eq!(home(&relative), Some(PathBuf::from("/h/.local/state/plimsoll")));
    assert_eq!(home(&[]), None);
}
