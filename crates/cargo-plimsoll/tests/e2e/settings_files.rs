//! `plimsoll.toml`, of a repository and of its user: what a build makes of it.

use crate::scene::Scene;

const USER: &str = "config/plimsoll/plimsoll.toml";

/// A workspace of one unit that needs 300 MiB, which a budget of 200 MiB refuses with `--oversized refuse`.
fn oversized() -> Scene {
    let scene = Scene::new();
    scene.lib("giant", &[], "// fake: alloc 300MiB in 200ms\n");
    scene
}

/// The rows of `settings`, each in single spaces.
fn rows(scene: &Scene, args: &str) -> Vec<String> {
    let said = scene.ok(&mut scene.plimsoll(args)).stdout;
    said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn both_files_hold_and_the_repositorys_stays_within_the_users() {
    let scene = oversized();
    scene.write("ws/plimsoll.toml", "memory = \"200MiB\"\njobs = 5\nreserve = \"1G\"\n");
    scene.write(USER, "# mine\njobs = 3\noversized = \"run\"\n");
    let (repo, user) = (scene.at("ws/plimsoll.toml"), scene.at(USER));
    let all = rows(&scene, "settings");
    for expected in [
        format!("memory 200 MiB {}:1", repo.display()),
        format!("jobs 3 {}:2", user.display()),
        format!("reserve 1.00 GiB {}:3", repo.display()),
        format!("oversized run {}:3", user.display()),
    ] {
        assert!(all.contains(&expected), "{expected}\n{all:#?}");
    }

    let refused = scene.run(&mut scene.fake("--oversized refuse build"));
    assert!(refused.stderr.contains("memory budget of 200 MiB"), "{}", refused.stderr);
    assert_eq!(refused.code(), 101);
    scene.ok(scene.fake("--oversized refuse build").env("PLIMSOLL_MEMORY", "600MiB"));
    scene.write(USER, "memory = \"190MiB\"\n");
    let bounded = rows(&scene, "settings");
    assert!(bounded.contains(&format!("memory 190 MiB {}:1", user.display())), "{bounded:#?}");
    scene.assert_clean();
}

#[test]
fn what_a_crate_is_said_to_need_counts_until_it_is_known() {
    let scene = Scene::new();
    scene.lib("big", &[], "// fake: alloc 80MiB in 100ms\n");
    let note = "[crates.big]\nmemory = \"900MiB\"\nnote = \"tables\"\n";
    scene.write("ws/plimsoll.toml", note);
    let said = format!("\"forecast\":{}", 900 << 20);
    let forecasts = || scene.logs().iter().filter(|log| log.contains(&said)).count();
    scene.ok(&mut scene.fake("--memory 400MiB build"));
    assert_eq!((forecasts(), scene.logs().len()), (1, 1));
    let all = rows(&scene, "settings");
    assert!(all.iter().any(|row| row.starts_with("crates.big 900 MiB, tables ")), "{all:#?}");
    scene.write("ws/big/src/lib.rs", "// fake: alloc 80MiB in 100ms\n// again\n");
    scene.ok(&mut scene.fake("--memory 400MiB build"));
    assert_eq!((forecasts(), scene.logs().len()), (1, 2), "what was seen counts more than a word");
}

#[test]
fn a_file_that_means_nothing_starts_nothing() {
    let scene = oversized();
    for (file, text, said) in [
        (
            "ws/plimsoll.toml",
            "\nmemroy = \"1G\"\n",
            "2: unknown key `memroy`; did you mean `memory`?",
        ),
        (USER, "jobs = 0\n", "1: jobs: write a number other than 0"),
    ] {
        scene.write(file, text);
        let done = scene.run(&mut scene.fake("build"));
        assert_eq!(done.code(), 2, "{}", done.stderr);
        let said = format!("{}:{said}", scene.at(file).display());
        assert!(done.stderr.contains(&said), "{said}\n{}", done.stderr);
        assert_eq!(scene.run(&mut scene.plimsoll("settings")).code(), 2);
        scene.write(file, "");
    }
    scene.ok(&mut scene.fake("build"));
}

#[test]
fn the_users_file_names_the_accounts_budget_where_enable_did_not() {
    let scene = oversized();
    scene.write(USER, "memory = \"321MiB\"\nreserve = \"1G\"\n");
    scene.write("ws/plimsoll.toml", "memory = \"123MiB\"\n");
    let on_account = |args: &str| {
        let mut command = scene.plimsoll(args);
        command.env("CARGO_HOME", scene.at("cargo"));
        command
    };
    scene.ok(&mut on_account("enable"));
    let said = scene.ok(&mut on_account("status")).stdout;
    assert!(said.contains("321 MiB") && !said.contains("123"), "{said}");
    scene.ok(&mut on_account("enable --memory 400MiB"));
    let said = scene.ok(&mut on_account("status")).stdout;
    assert!(said.contains("400 MiB"), "{said}");
    scene.write(USER, "nonsense = 1\n");
    let done = scene.ok(&mut on_account("status"));
    assert!(done.stderr.contains("ignores a file with an error"), "{}", done.stderr);
    assert!(done.stdout.contains("400 MiB"), "{}", done.stdout);
    scene.ok(&mut on_account("disable"));
    scene.assert_clean();
}
