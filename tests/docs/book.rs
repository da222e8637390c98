//! The book: every page is in its contents, and none leads out of it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::names::prose;
use crate::{fail_if_any, page, pages};

#[test]
fn the_contents_of_the_book_are_its_pages() {
    let contents = page("docs/SUMMARY.md");
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for (_, line) in prose(&contents.text) {
        if let Some((_, rest)) = line.split_once("](") {
            *times.entry(format!("docs/{}", rest.split(')').next().unwrap())).or_default() += 1;
        }
    }
    let mut failures = Vec::new();
    for page in pages().iter().filter(|page| page.name.starts_with("docs/") && page.name != contents.name) {
        match times.remove(&page.name) {
            Some(1) => {}
            Some(times) => failures.push(format!("{} is in docs/SUMMARY.md {times} times", page.name)),
            None => failures.push(format!("{} is not in docs/SUMMARY.md", page.name)),
        }
    }
    failures.extend(times.keys().map(|name| format!("docs/SUMMARY.md: there is no {name}")));
    fail_if_any(&failures);
}

/// The site has nothing but `docs/` in it, and not the page of its contents.
#[test]
fn links_of_the_book_stay_in_it() {
    let mut failures = Vec::new();
    for page in pages().iter().filter(|page| page.name.starts_with("docs/")) {
        let depth = Path::new(&page.name).components().count() - 2;
        for (number, line) in prose(&page.text) {
            for (at, _) in line.match_indices("](") {
                let target = line[at + 2..].split([')', '#']).next().unwrap();
                let ups = target.matches("../").count();
                if !target.contains("://") && (ups > depth || target.ends_with("SUMMARY.md")) {
                    failures.push(format!("{}:{number}: {target} is not in the book", page.name));
                }
            }
        }
    }
    fail_if_any(&failures);
}

#[test]
fn the_book_is_made_of_these_pages() {
    let text = page("book.toml").text;
    assert!(text.contains("src = \"docs\"\n"), "{text}");
    assert!(text.contains("build-dir = \"target/book\"\n"), "what is made is not in the repository: {text}");
}
