//! Links, anchors, and paths of the repository that stand in code quotes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use crate::{documents, root};

/// What a document has and points at.
#[derive(Default)]
pub(crate) struct Document {
    anchors: BTreeSet<String>,
    links: Vec<String>,
    /// Code in the text.
    pub(crate) code: Vec<String>,
}

/// The anchor of a heading, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(|c| fits(*c)).collect::<String>().replace(' ', "-")
}

pub(crate) fn read(path: &Path) -> Document {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let mut document = Document::default();
    let (mut heading, mut seen) = (None::<String>, BTreeMap::<String, usize>::new());
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let name = anchor(heading.take().unwrap_or_default().trim());
                let times = seen.entry(name.clone()).or_default();
                *times += 1;
                let name = if *times > 1 { format!("{name}-{}", *times - 1) } else { name };
                document.anchors.insert(name);
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                document.links.push(dest_url.into_string());
            }
            Event::Text(text) => add(&mut heading, &text),
            Event::Code(code) => {
                add(&mut heading, &code);
                document.code.push(code.into_string());
            }
            _ => {}
        }
    }
    document
}

fn add(heading: &mut Option<String>, text: &CowStr<'_>) {
    if let Some(heading) = heading {
        heading.push_str(text);
    }
}

/// Where a link of a document leads, without `.` and `..`; nothing where that is not in the repository.
fn target(from: &Path, link: &str) -> Option<PathBuf> {
    let mut path = from.parent().unwrap().to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir if path.pop() => {}
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

/// The page of the book that consists of this document: its anchors are the document's.
fn included(path: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(root().join(path)).ok()?;
    let file = text.trim().strip_prefix("{{#include ")?.strip_suffix("}}")?;
    target(path, file.trim())
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let documents = documents();
    let read: BTreeMap<PathBuf, Document> =
        documents.iter().map(|path| (path.clone(), read(path))).collect();
    let mut broken = Vec::new();
    for (from, document) in &read {
        for link in &document.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let to = if file.is_empty() { Some(from.clone()) } else { target(from, file) };
            let Some(to) = to.filter(|to| root().join(to).exists()) else {
                broken.push(format!("{}: {link}: no such file", from.display()));
                continue;
            };
            let anchors = read.get(&included(&to).unwrap_or(to)).map(|document| &document.anchors);
            if !fragment.is_empty() && !anchors.is_some_and(|anchors| anchors.contains(fragment)) {
                broken.push(format!("{}: {link}: no such heading", from.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A page of the book may only point at what is in the book, and what the book includes from elsewhere at nothing
/// beside itself: relative links would lead nowhere in one of the two places.
#[test]
fn links_of_the_book_stay_in_the_book() {
    let book = Path::new("docs/src");
    let mut strays = Vec::new();
    for path in documents() {
        let from_elsewhere =
            documents().iter().any(|page| included(page).is_some_and(|it| it == path));
        if !path.starts_with(book) && !from_elsewhere {
            continue;
        }
        for link in read(&path).links {
            let stays = link.contains("://")
                || link.starts_with('#')
                || !from_elsewhere
                    && target(&path, link.split('#').next().unwrap())
                        .is_some_and(|to| to.starts_with(book));
            if !stays {
                strays.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn every_page_is_in_the_books_table_of_contents() {
    let summary = Path::new("docs/src/SUMMARY.md");
    let listed: BTreeSet<PathBuf> =
        read(summary).links.iter().filter_map(|link| target(summary, link)).collect();
    let pages: BTreeSet<PathBuf> = documents()
        .into_iter()
        .filter(|path| path.starts_with("docs/src") && path != summary)
        .collect();
    assert_eq!(listed, pages);
}

#[test]
fn every_path_of_the_repository_that_a_document_names_is_there() {
    let mut gone = Vec::new();
    for path in documents() {
        for code in read(&path).code {
            let is_path = ["crates/", "bench/", "docs/", "fuzz/", "fixtures/", ".ci/"]
                .iter()
                .any(|start| code.starts_with(start));
            let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path && plain && !root().join(&code).exists() {
                gone.push(format!("{}: {code}", path.display()));
            }
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
}
