//! Links, flags and names.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::{fail_if_any, functions, pages, repository};

/// Lines outside of fenced blocks, with their numbers.
pub(crate) fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut failures = Vec::new();
    let mut links = 0;
    for page in pages() {
        for (number, line) in prose(&page.text) {
            for (at, _) in line.match_indices("](") {
                let target = line[at + 2..].split(')').next().unwrap();
                if target.contains("://") {
                    continue;
                }
                links += 1;
                let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
                let path = if file.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(file) };
                let place = format!("{}:{number}: {target}", page.name);
                if !path.exists() {
                    failures.push(format!("{place}: there is no such file"));
                } else if !fragment.is_empty() {
                    let text = fs::read_to_string(&path).unwrap();
                    let headings = prose(&text).into_iter().filter(|(_, line)| line.starts_with('#'));
                    if !headings.map(|(_, line)| anchor(line)).any(|known| known == fragment) {
                        failures.push(format!("{place}: there is no such heading"));
                    }
                }
            }
        }
    }
    assert!(links > 10, "{links} links were found: the search is broken");
    fail_if_any(&failures);
}

/// The long flags in a text.
fn flags(text: &str) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for (at, _) in text.match_indices("--") {
        let before = text[..at].chars().next_back();
        let name: String = text[at + 2..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        let is_flag = name.starts_with(|c: char| c.is_ascii_lowercase());
        if is_flag && !before.is_some_and(|c| c.is_alphanumeric() || c == '-') {
            flags.insert(format!("--{}", name.trim_end_matches('-')));
        }
    }
    flags
}

pub(crate) fn help(command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_regsweep")).env_clear().args(command).arg("--help").output().unwrap();
    assert!(output.status.success(), "{command:?} --help: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The flags of other programs that the documentation names.
const OTHER_PROGRAMS: [&str; 47] = [
    "--all-targets",
    "--apparent-size",
    "--cap-drop",
    "--check",
    "--delete",
    "--delete-all",
    "--delete-by-hours",
    "--detach",
    "--example",
    "--file",
    "--from",
    "--ignore-missing",
    "--image",
    "--include",
    "--keep-daily",
    "--keep-monthly",
    "--keep-tags",
    "--keep-weekly",
    "--lifecycle-policy-text",
    "--link",
    "--locked",
    "--name",
    "--namespace",
    "--network",
    "--no-clobber",
    "--no-tags",
    "--now",
    "--num",
    "--offline",
    "--patch",
    "--path",
    "--prune",
    "--read-only",
    "--release",
    "--repo",
    "--repository-name",
    "--retry",
    "--rm",
    "--schemafile",
    "--static",
    "--tag",
    "--tags-like",
    "--target",
    "--test",
    "--timeout",
    "--type",
    "--user",
];

#[test]
fn flags_are_those_of_the_help() {
    let commands: [(&str, &[&str]); 14] = [
        ("regsweep du", &["du"]),
        ("regsweep garbage-collect", &["gc"]),
        ("regsweep gc", &["gc"]),
        ("regsweep check", &["check"]),
        ("regsweep completions", &["completions"]),
        ("regsweep ls", &["ls"]),
        ("regsweep man", &["man"]),
        ("regsweep rm", &["rm"]),
        ("regsweep runs", &["runs"]),
        ("regsweep trash list", &["trash", "list"]),
        ("regsweep trash restore", &["trash", "restore"]),
        ("regsweep trash purge", &["trash", "purge"]),
        ("regsweep why", &["why"]),
        ("regsweep probe", &["probe"]),
    ];
    let known: Vec<(&str, BTreeSet<String>)> =
        commands.iter().map(|(name, words)| (*name, flags(&help(words)))).collect();
    let mut all: BTreeSet<String> = flags(&help(&[]));
    known.iter().for_each(|(_, flags)| all.extend(flags.iter().cloned()));
    let mut failures = Vec::new();
    let mut documented = BTreeSet::new();
    for page in pages() {
        for (number, line) in page.text.lines().enumerate() {
            let place = format!("{}:{}", page.name, number + 1);
            for flag in flags(line) {
                if !all.contains(&flag) && !OTHER_PROGRAMS.contains(&&*flag) {
                    failures.push(format!("{place}: {flag} is in no --help"));
                }
                documented.insert(flag);
            }
            for (name, flags_of_it) in &known {
                for (at, _) in line.match_indices(name) {
                    let call = line[at..].split(['|', '`', ';', '&', '#', '"']).next().unwrap();
                    for flag in flags(call).difference(flags_of_it) {
                        failures.push(format!("{place}: {name} has no {flag}"));
                    }
                }
            }
        }
    }
    for flag in all.difference(&documented) {
        failures.push(format!("{flag} is in --help and on no page"));
    }
    fail_if_any(&failures);
}

/// Names of tests and files in the documentation are those of the tree.
#[test]
fn tests_and_files_that_are_named_are_there() {
    let functions = functions();
    let mut failures = Vec::new();
    let mut named = 0;
    for page in pages() {
        for (number, line) in prose(&page.text) {
            for code in line.split('`').skip(1).step_by(2) {
                let place = format!("{}:{number}: {code}", page.name);
                let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                let is_metric = code.starts_with("regsweep_") || code.starts_with("node_");
                if code.chars().all(is_name) && code.matches('_').count() >= 3 && !is_metric {
                    named += 1;
                    if !functions.contains(code) {
                        failures.push(format!("{place}: there is no such test"));
                    }
                }
                let is_path =
                    ["src/", "tests/", "docs/", "scripts/", "fixtures/"].iter().any(|it| code.starts_with(it));
                if is_path && !code.contains(['*', ' ', '<', '{']) && !repository().join(code).exists() {
                    failures.push(format!("{place}: there is no such file"));
                }
            }
        }
    }
    assert!(named > 10, "{named} tests are named: the search is broken");
    fail_if_any(&failures);
}
