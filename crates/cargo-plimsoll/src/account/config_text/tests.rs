//! Texts to texts: what `enable` puts in and `disable` takes out.

use proptest::prelude::*;

use super::*;

const WRAPPER: &str = "/opt/Größe und mehr/plimsoll-rustc";
const RUSTDOC: &str = "/opt/Größe und mehr/plimsoll-rustdoc";

fn put(text: &str) -> String {
    let text = set(text, Key::Rustdoc, &Written::new(RUSTDOC)).unwrap();
    set(&text, Key::RustcWrapper, &Written::new(WRAPPER)).unwrap()
}

fn taken_out(text: &str) -> String {
    Key::ALL.iter().fold(text.to_owned(), |text, key| remove(&text, *key).unwrap())
}

/// `before` becomes `after` (`W` and `D` being our programs), and that becomes `back`.
#[track_caller]
fn check(before: &str, after: &str, back: &str) {
    let expected =
        after.replace('W', &format!("{WRAPPER:?}")).replace('D', &format!("{RUSTDOC:?}"));
    let written = put(before);
    assert_eq!(written, expected);
    assert_eq!(put(&written), written, "twice");
    assert_eq!(taken_out(&written), back);
}

#[test]
fn a_table_is_added_at_the_end_where_there_is_none() {
    check("", "[build]\nrustc-wrapper = W\nrustdoc = D\n", "[build]\n");
    assert_eq!(remove_empty_table("[build]\n").unwrap(), "");
    check(
        "# mine\n[net]\noffline = true # why",
        "# mine\n[net]\noffline = true # why\n\n[build]\nrustc-wrapper = W\nrustdoc = D\n",
        "# mine\n[net]\noffline = true # why\n\n[build]\n",
    );
    let empty = "[net]\nx = 1\n\n[build]\n";
    assert_eq!(remove_empty_table(empty).unwrap(), "[net]\nx = 1\n");
    let tables_below = "[build.x]\ny = 1\n";
    check(
        tables_below,
        "[build.x]\ny = 1\n\n[build]\nrustc-wrapper = W\nrustdoc = D\n",
        "[build.x]\ny = 1\n\n[build]\n",
    );
}

#[test]
fn a_table_that_is_there_gets_the_keys_first() {
    check(
        "# a\n[build] # b\n# c\njobs = 2 # d\n\n[net]\n",
        "# a\n[build] # b\nrustc-wrapper = W\nrustdoc = D\n# c\njobs = 2 # d\n\n[net]\n",
        "# a\n[build] # b\n# c\njobs = 2 # d\n\n[net]\n",
    );
    check("[build]", "[build]\nrustc-wrapper = W\nrustdoc = D", "[build]\n");
}

#[test]
fn windows_line_ends_stay() {
    check(
        "[build]\r\njobs = 2\r\n[net]\r\n",
        "[build]\r\nrustc-wrapper = W\r\nrustdoc = D\r\njobs = 2\r\n[net]\r\n",
        "[build]\r\njobs = 2\r\n[net]\r\n",
    );
    check(
        "[net]\r\n",
        "[net]\r\n\r\n[build]\r\nrustc-wrapper = W\r\nrustdoc = D\r\n",
        "[net]\r\n\r\n[build]\r\n",
    );
}

#[test]
fn a_byte_order_mark_stays() {
    let text = "\u{feff}build.rustc-wrapper = W\nbuild.rustdoc = D\n";
    let text = text.replace('W', &format!("{WRAPPER:?}")).replace('D', &format!("{RUSTDOC:?}"));
    assert_eq!(taken_out(&text), "\u{feff}");
    check("\u{feff}", "\u{feff}[build]\nrustc-wrapper = W\nrustdoc = D\n", "\u{feff}[build]\n");
}

#[test]
fn dotted_keys_get_company() {
    check(
        "build.jobs = 2 # two\nbuild . a.b = [\n  1, # one\n]\nx = 1\n\n[net]\n",
        "build.jobs = 2 # two\nbuild . a.b = [\n  1, # one\n]\nbuild.rustdoc = D\nbuild.rustc-wrapper = W\nx = 1\n\n[net]\n",
        "build.jobs = 2 # two\nbuild . a.b = [\n  1, # one\n]\nx = 1\n\n[net]\n",
    );
    check(
        "build.jobs = 2\n[build.x]\ny = 1\n",
        "build.jobs = 2\nbuild.rustdoc = D\nbuild.rustc-wrapper = W\n[build.x]\ny = 1\n",
        "build.jobs = 2\n[build.x]\ny = 1\n",
    );
}

#[test]
fn an_inline_table_stays_one() {
    check(
        "build = { jobs = 2 } # one line\n",
        "build = { rustc-wrapper = W, rustdoc = D, jobs = 2 } # one line\n",
        "build = { jobs = 2 } # one line\n",
    );
    check("build = {}\n", "build = { rustc-wrapper = W, rustdoc = D }\n", "build = {}\n");
}

#[test]
fn what_stood_there_is_replaced_in_its_place() {
    let before = "[build]\n  'rustc-wrapper'='a/b' # why\nrustdoc = \"\"\"\nx\"\"\"\n";
    let after = put(before);
    let ours = before.replace("'a/b'", &format!("{WRAPPER:?}"));
    assert_eq!(after, ours.replace("\"\"\"\nx\"\"\"", &format!("{RUSTDOC:?}")));
    let former = get(before, Key::RustcWrapper).unwrap().unwrap();
    assert_eq!((former.value.as_str(), former.literal.as_str()), ("a/b", "'a/b'"));
    let back = set(&after, Key::RustcWrapper, &former).unwrap();
    let former = get(before, Key::Rustdoc).unwrap().unwrap();
    assert_eq!(set(&back, Key::Rustdoc, &former).unwrap(), before);
    // The comment is the user's.
    assert_eq!(
        remove(before, Key::RustcWrapper).unwrap(),
        "[build]\n# why\nrustdoc = \"\"\"\nx\"\"\"\n"
    );
}

#[test]
fn what_is_last_or_between_in_an_inline_table_goes_with_its_comma() {
    for (before, after) in [
        ("build = { a = 1, rustc-wrapper = 'x' }", "build = { a = 1 }"),
        ("build = { a = 1, rustc-wrapper = 'x', b = 2 }", "build = { a = 1, b = 2 }"),
        ("build = {rustc-wrapper='x'}", "build = {}"),
    ] {
        assert_eq!(remove(before, Key::RustcWrapper).unwrap(), after);
    }
}

#[test]
fn an_empty_table_with_words_about_it_stays() {
    for text in ["[build] # mine\n", "[build]\njobs = 1\n", "build = {}\n", "build.a = 1\n", ""] {
        assert_eq!(remove_empty_table(text).unwrap(), text);
    }
}

#[test]
fn what_cannot_be_read_names_its_line() {
    for (text, said) in [
        ("a = 1\nb = [", "line 2"),
        ("a = 1\nbuild = 3\n", "line 2: `build` is not a table"),
        ("\n[[build]]\n", "line 2: `build` is not a table"),
        ("[build]\n\nrustc-wrapper = ['x']\n", "line 3: `build.rustc-wrapper` is not a string"),
        ("[build.rustc-wrapper]\n", "line 1: `build.rustc-wrapper` is not a string"),
    ] {
        let error = set(text, Key::RustcWrapper, &Written::new("w")).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
        assert!(remove(text, Key::RustcWrapper).is_err());
    }
}

fn piece(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(choices)
}

/// Configuration files of every form that Cargo reads; the line end is any.
pub(in crate::account) fn file() -> impl Strategy<Value = String> {
    let before = piece(&["", "\u{feff}", "# ü\n", "\n\n", "include = [\n 'a', # b\n]\n"]);
    let build = piece(&[
        "",
        "[build]\n",
        "[build]",
        "[ 'build' ] # x\n  jobs = 2\n",
        "[build]\n# one\nrustdoc = '''a'''   # two\n\n# three\nrustc-wrapper=\"b\\u0020\"\n",
        "build.jobs = 1\n",
        "build.rustc-wrapper = 'sccache' # c\nbuild.jobs = 1\n",
        "\"build\" . 'x' . y = { z = 1 }\n",
        "build = {}\n",
        "build={rustdoc='d',jobs=1}#x\n",
        "build = { jobs = 1, rustc-wrapper = 'x' }\n",
        "build = { target = [\n 'a', # b\n ] }\n",
        "[build.x]\ny = 1\n",
    ]);
    let after =
        piece(&["", "\n", "\n[net]\noffline = true", "\n[alias]\nb = 'build' # [build]\n\n\n"]);
    (before, build, after, any::<bool>()).prop_map(|(before, build, after, windows)| {
        let text = [before, build, after].concat();
        if windows { text.replace('\n', "\r\n") } else { text }
    })
}

proptest! {
    #[test]
    fn what_was_put_in_comes_out_and_nothing_else(text in file()) {
        // `[build]net…` and the like are no files.
        prop_assume!(text.parse::<toml::Table>().is_ok());
        let former = Key::ALL.map(|key| get(&text, key).unwrap());
        let written = put(&text);
        for (key, ours) in Key::ALL.into_iter().zip([WRAPPER, RUSTDOC]) {
            prop_assert_eq!(get(&written, key).unwrap().unwrap().value, ours);
        }
        prop_assert_eq!(put(&written), written.clone());
        let mut back = written;
        for (key, former) in Key::ALL.into_iter().zip(former) {
            back = match former {
                Some(former) => set(&back, key, &former).unwrap(),
                None => remove(&back, key).unwrap(),
            };
        }
        if !has_header(&text) {
            back = remove_empty_table(&back).unwrap();
        }
        // A line end is added where the file's last line had none.
        prop_assert_eq!(back.trim_end(), text.trim_end());
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}", build in piece(&["", "build={", "build.", "[build]"])) {
        let text = format!("{build}{text}");
        for key in Key::ALL {
            let _ = get(&text, key);
            let _ = set(&text, key, &Written::new("x"));
            let _ = remove(&text, key);
        }
        let _ = remove_empty_table(&text);
    }
}
