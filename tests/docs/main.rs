//! The documentation, held to what the tool does: its examples are run ([`examples`]), and those of the help
//! ([`help`]); its links, flags and names lead somewhere ([`names`], [`links`]), nothing is left out of it
//! ([`coverage`]), and every trap has its tests ([`traps`]). Scripts run with stubs in place of the programs that are
//! not there ([`scripts`]), what is for other programs is parsed ([`blocks`]), forms of read-only mode are tried on a
//! real registry ([`read_only`]), and the pages are those of the book ([`book`]).
//!
//! `REGSWEEP_BLESS=1 cargo test --test docs` writes what was printed, and which tests there are, into the pages. Read
//! the difference afterwards.

#![allow(clippy::disallowed_methods, reason = "tests build trees, and some of them rewrite the documentation")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod blocks;
mod book;
mod coverage;
mod examples;
mod help;
mod links;
mod names;
mod read_only;
mod scripts;
#[path = "../support/source.rs"]
mod source;
mod traps;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

struct Page {
    name: String,
    path: PathBuf,
    text: String,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> Page {
    let path = repository().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Page { name: name.to_owned(), path, text }
}

fn pages() -> Vec<Page> {
    let mut names: Vec<String> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "fixtures/README.md"].map(str::to_owned).into();
    for entry in WalkDir::new(repository().join("docs")) {
        let entry = entry.unwrap();
        let name = entry.path().strip_prefix(repository()).unwrap().to_str().unwrap();
        if name.ends_with(".md") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    assert!(names.len() >= 9, "pages are missing: {names:?}");
    names.iter().map(|name| page(name)).collect()
}

fn fail_if_any(failures: &[String]) {
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

/// The names of all functions of the sources and the tests.
fn functions() -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    for folder in ["src", "tests"] {
        for entry in WalkDir::new(repository().join(folder)) {
            let entry = entry.unwrap();
            if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(entry.path()).unwrap();
                let names = text.lines().filter_map(|line| line.trim_start().split_once("fn ")?.1.split_once('('));
                functions.extend(names.map(|(name, _)| name.to_owned()));
            }
        }
    }
    functions
}
