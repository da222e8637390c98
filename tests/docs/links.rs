//! Links to elsewhere. They cannot be followed from here; their form is checked, and `tests/docs/links.txt` lists them
//! for whoever follows them by hand. `REGSWEEP_BLESS=1` writes that list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::names::prose;
use crate::{Page, fail_if_any, pages, repository};

/// `[name]: address` at the beginning of a line.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, address) = line.strip_prefix('[')?.split_once("]: ")?;
    Some((name, address))
}

/// The names in brackets of a line that are no links of another kind: `[name]`, `[text][name]`.
fn references(line: &str) -> Vec<String> {
    // What is in backquotes is code.
    let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let mut names = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once('[') {
        let Some((name, after)) = after.split_once(']') else { break };
        rest = after;
        // `[text](address)` and `[text][name]`: the name follows.
        if !after.starts_with(['(', '[', ':']) && !name.is_empty() && name != " " {
            names.push(name.to_owned());
        }
    }
    names
}

/// What is wrong with an address.
fn problem(address: &str) -> Option<&'static str> {
    let rest = address.strip_prefix("https://");
    match rest {
        None => Some("is not https"),
        Some(rest) if !rest.split('/').next().is_some_and(|host| host.contains('.')) => Some("has no host"),
        Some(rest) if rest.contains(|c: char| c.is_whitespace() || "<>\"{}|\\^`".contains(c)) => Some("has odd signs"),
        Some(rest) if rest.ends_with(['.', ',', ';']) => Some("ends with punctuation"),
        Some(_) => None,
    }
}

/// The addresses that a page links, and what is wrong with its links.
fn links(page: &Page) -> (BTreeSet<String>, Vec<String>) {
    let (mut addresses, mut failures) = (BTreeSet::new(), Vec::new());
    let mut defined: BTreeMap<&str, usize> = BTreeMap::new();
    let mut used: BTreeSet<String> = BTreeSet::new();
    let lines = prose(&page.text);
    for (number, line) in &lines {
        if let Some((name, address)) = definition(line) {
            addresses.insert(address.to_owned());
            if defined.insert(name, *number).is_some() {
                failures.push(format!("{}:{number}: [{name}] is defined twice", page.name));
            }
        }
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap();
            if target.contains("://") {
                addresses.insert(target.to_owned());
            }
        }
    }
    // A reference may be broken over two lines.
    let paragraphs = lines.iter().map(|(_, line)| *line).filter(|line| definition(line).is_none());
    used.extend(references(&paragraphs.collect::<Vec<_>>().join(" ")));
    for (name, number) in &defined {
        if !used.contains(*name) {
            failures.push(format!("{}:{number}: [{name}] is defined and not used", page.name));
        }
    }
    if !defined.is_empty() {
        let missing = used.iter().filter(|name| !defined.contains_key(name.as_str()));
        failures.extend(missing.map(|name| format!("{}: [{name}] leads nowhere", page.name)));
    }
    failures
        .extend(addresses.iter().filter_map(|it| problem(it).map(|problem| format!("{}: {it} {problem}", page.name))));
    (addresses, failures)
}

#[test]
fn links_to_elsewhere_are_well_formed_and_listed() {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut failures = Vec::new();
    // The changelog has its own form: versions in brackets.
    for page in pages().iter().filter(|page| page.name != "CHANGELOG.md") {
        let (addresses, wrong) = links(page);
        failures.extend(wrong);
        for address in addresses {
            all.entry(address).or_default().insert(page.name.clone());
        }
    }
    let lines = all.iter().map(|(address, pages)| {
        format!("{address}    {}\n", pages.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    });
    let list: String = lines.collect();
    let path = repository().join("tests/docs/links.txt");
    if std::env::var_os("REGSWEEP_BLESS").is_some() {
        fs::write(&path, &list).unwrap();
    } else if fs::read_to_string(&path).unwrap_or_default() != list {
        failures.push("tests/docs/links.txt does not list these links; see REGSWEEP_BLESS above".to_owned());
    }
    fail_if_any(&failures);
}

#[test]
fn links_that_are_wrong_are_told() {
    let page = |text: &str| Page { name: "x.md".to_owned(), path: "x.md".into(), text: text.to_owned() };
    for (text, expected) in [
        ("[a]\n\n[a]: http://example.com\n", "x.md: http://example.com is not https"),
        ("[a]\n\n[a]: https://example.com/x.\n", "x.md: https://example.com/x. ends with punctuation"),
        ("[b](https://example/x)\n", "x.md: https://example/x has no host"),
        ("[a]: https://example.com\n", "x.md:1: [a] is defined and not used"),
        ("[a] [b]\n\n[a]: https://example.com\n", "x.md: [b] leads nowhere"),
        ("[a]\n[a]: https://example.com\n[a]: https://example.org\n", "x.md:3: [a] is defined twice"),
    ] {
        assert_eq!(links(&page(text)).1, [expected], "{text}");
    }
    let right = "[text][a], [b\nc], `[x]` and [d](d.md)\n\n[a]: https://example.com\n[b c]: https://example.com/x(5)\n";
    assert!(links(&page(right)).1.is_empty(), "{:?}", links(&page(right)).1);
}
