//! The traps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::{fail_if_any, functions, page};

/// Every test that is named for a trap, by the number: `t25_t26_...` is about two.
fn tests_of_traps() -> BTreeMap<u32, BTreeSet<String>> {
    let mut tests: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for name in functions().into_iter().filter(|name| name.starts_with('t')) {
        for part in name.split('_') {
            let Some(number) = part.strip_prefix('t').filter(|rest| rest.len() == 2).and_then(|it| it.parse().ok())
            else {
                break;
            };
            tests.entry(number).or_default().insert(name.clone());
        }
    }
    tests
}

/// `docs/traps.md` names every test of every trap, and every trap has one.
#[test]
fn every_trap_has_its_tests() {
    let page = page("docs/traps.md");
    let mut tests = tests_of_traps();
    let mut failures = Vec::new();
    let lines: Vec<String> = page
        .text
        .lines()
        .map(|line| {
            let number = line.strip_prefix("| T").and_then(|rest| rest.get(..2)).and_then(|it| it.parse::<u32>().ok());
            let (Some(number), [_, name, trap, ..]) = (number, &line.split('|').collect::<Vec<_>>()[..]) else {
                return line.to_owned();
            };
            let names = tests.remove(&number).unwrap_or_default();
            if names.is_empty() {
                failures.push(format!("docs/traps.md: T{number:02} has no test"));
            }
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("|{name}|{trap}| {} |", names.join(", "))
        })
        .collect();
    failures.extend(tests.keys().map(|number| format!("docs/traps.md: T{number:02} is not there")));
    let text = format!("{}\n", lines.join("\n"));
    if text != page.text {
        if std::env::var_os("REGSWEEP_BLESS").is_some() {
            fs::write(&page.path, &text).unwrap();
        } else {
            failures.push("docs/traps.md does not name the tests that there are; see REGSWEEP_BLESS above".to_owned());
        }
    }
    fail_if_any(&failures);
}
