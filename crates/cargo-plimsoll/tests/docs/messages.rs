//! The list of all sentences that a person can read, so that a reviewer reads them in one sitting: found in the sources of
//! all crates that people run.
//!
//! What it deliberately does not do: the help of commands and options, which is on the page of settings
//! (`docs/src/reference.md`), and which sentence is printed where.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::root;

const LIST: &str = "docs/messages.txt";
/// Set, it has the test write the list instead of comparing it.
const WRITE: &str = "WRITE_REFERENCE";

/// Crates that no user runs.
const NOT_RUN: [&str; 4] = ["rig", "testing", "testing-macro", "torture"];

/// Files whose strings nobody reads, with the reason.
const UNREAD: [(&str, &str); 18] = [
    ("doctor/src/circumstances.rs", "what the doctor looks for in a log"),
    ("doctor/src/doubt.rs", "what the doctor looks for in a log"),
    ("doctor/src/free.rs", "what the doctor looks for in a log"),
    ("doctor/src/full.rs", "what the doctor looks for in a log"),
    ("doctor/src/log.rs", "what the doctor looks for in a log"),
    ("doctor/src/memory.rs", "what the doctor looks for in a log"),
    ("doctor/src/narrow.rs", "what the doctor looks for in a log"),
    ("doctor/src/other.rs", "what the doctor looks for in a log"),
    ("doctor/src/phrases.rs", "what the doctor looks for in a log"),
    ("doctor/src/plain.rs", "what the doctor looks for in a log"),
    ("doctor/src/shown.rs", "what the doctor looks for in a log"),
    ("doctor/src/signal.rs", "what the doctor looks for in a log"),
    ("doctor/src/words.rs", "what the doctor looks for in a log"),
    ("history/src/record.rs", "SQL"),
    ("history/src/rows.rs", "SQL"),
    ("history/src/schema.rs", "SQL"),
    ("history/src/store.rs", "SQL"),
    ("worker/src/output.rs", "JavaScript that is written"),
];

/// The strings of one file, in the order in which they stand there.
#[derive(Default)]
struct Strings(Vec<String>);

impl Strings {
    fn take(&mut self, literal: &syn::LitStr) {
        let text = literal.value();
        let text = text.trim();
        let letters = |part: &str| part.chars().any(char::is_alphabetic);
        // A sentence has words; what has none is a name, a path or a separator.
        if text.split_whitespace().filter(|word| letters(word)).count() > 1 {
            self.0
                .push(text.split_inclusive('\n').map(str::trim_end).collect::<Vec<_>>().join("\n"));
        }
    }

    fn take_tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.take_tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(literal) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.take(&literal);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let is = |attribute: &syn::Attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    };
    attributes.iter().any(is)
}

impl<'ast> Visit<'ast> for Strings {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("error")
            && let Ok(list) = attribute.meta.require_list()
        {
            self.take_tokens(list.tokens.clone());
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.take(literal);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.take_tokens(mac.tokens.clone());
    }
}

/// The sources below a directory, without those of tests, by their path from `crates`.
fn sources(directory: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "properties.rs" {
            let short = path.strip_prefix(root().join("crates")).unwrap();
            found.insert(short.to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
}

fn list() -> String {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name();
        if !NOT_RUN.iter().any(|it| name == *it) {
            sources(&root().join("crates").join(name).join("src"), &mut files);
        }
    }
    for (name, _) in UNREAD {
        assert!(files.remove(name).is_some(), "{name} is not there");
    }
    let mut text = String::from(
        "Every sentence that a person can read, by the file that says it. A test keeps this list up to date\n\
         (`just docs` writes it). `{…}` is filled in. The help of commands and options is in src/reference.md.\n",
    );
    for (name, source) in files {
        let mut strings = Strings::default();
        strings.visit_file(&syn::parse_file(&source).unwrap());
        if !strings.0.is_empty() {
            let _ = write!(text, "\n== {name}\n");
            strings.0.iter().for_each(|string| {
                let _ = writeln!(text, "{string}");
            });
        }
    }
    text
}

#[test]
fn the_list_of_messages_is_up_to_date() {
    let (list, file) = (list(), root().join(LIST));
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, &list).unwrap();
    }
    let is = fs::read_to_string(&file).unwrap_or_default();
    assert!(is == list, "{LIST} is not what the sources say: `just docs` writes it");
}
