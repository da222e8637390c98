//! The manual: a page for each command, whole, and clean in the eyes of those who read pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::{commands, flags, help_of, output_of, regsweep};

fn pages() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    regsweep(&["man", "--dir", folder.path().join("man1").to_str().unwrap()]);
    folder
}

fn page_of(words: &[String]) -> String {
    std::iter::once("regsweep").chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join("-")
}

/// The page as a reader sees it, in one long line a paragraph.
fn shown(path: &Path) -> String {
    let mut mandoc = Command::new("mandoc");
    let output = output_of(mandoc.args(["-T", "ascii", "-O", "width=400"]).arg(path));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Bold is a letter printed twice, with a backspace in between.
    let mut text = String::new();
    for character in String::from_utf8(output.stdout).unwrap().chars() {
        match character {
            '\u{8}' => assert!(text.pop().is_some()),
            other => text.push(other),
        }
    }
    text
}

#[test]
fn every_command_has_a_page_with_everything_on_it() {
    let folder = pages();
    for words in commands() {
        let name = page_of(&words);
        let path = folder.path().join("man1").join(format!("{name}.1"));
        let text = shown(&path);
        println!("{text}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"] {
            assert!(text.lines().any(|line| line == section), "{name} has no {section}");
        }
        let tags: Vec<&str> = text.lines().map(str::trim_start).filter(|line| line.starts_with('-')).collect();
        for flag in flags(&help_of(&words, "--help")) {
            let is_there = |tag: &&str| tag.split([' ', ',']).any(|word| word == flag);
            assert!(tags.iter().any(is_there), "{name} does not describe {flag}");
        }
        let help = help_of(&words, "--help");
        if let Some((_, examples)) = help.split_once("\nExamples:\n") {
            for line in examples.lines().filter_map(|line| line.strip_prefix("    ")) {
                assert!(text.lines().any(|shown| shown.trim() == line.trim()), "{name} lacks the example {line}");
            }
        }
        if help.contains("--config <FILE>") {
            for word in ["ENVIRONMENT", "REGSWEEP_REGISTRY_AUTH", "FILES", "_regsweep"] {
                assert!(text.contains(word), "{name} does not speak of {word}");
            }
        }
        // Printed, it is the same page.
        let arguments: Vec<&str> = std::iter::once("man").chain(words.iter().map(String::as_str)).collect();
        assert_eq!(regsweep(&arguments), fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn pages_are_clean() {
    let folder = pages();
    let mut seen = 0;
    for entry in fs::read_dir(folder.path().join("man1")).unwrap() {
        let path = entry.unwrap().path();
        let name = Path::new("man1").join(path.file_name().unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let mut groff = Command::new("groff");
        let warned = output_of(groff.current_dir(folder.path()).args(["-man", "-ww", "-z"]).arg(&name));
        assert!(warned.status.success() && warned.stderr.is_empty(), "{}", String::from_utf8_lossy(&warned.stderr));
        if let Some(other) = text.strip_prefix(".so ") {
            assert!(folder.path().join(other.trim()).is_file(), "{text}");
            continue; // mandoc has nothing good to say of these, and yet man reads them.
        }
        let mut mandoc = Command::new("mandoc");
        let said = output_of(mandoc.args(["-T", "lint", "-W", "style"]).arg(&path));
        assert!(said.status.success() && said.stdout.is_empty(), "{}", String::from_utf8_lossy(&said.stdout));
        seen += 1;
    }
    assert_eq!(seen, commands().len());
}

/// The day on a page does not depend on when the package was built.
#[test]
fn a_page_is_as_old_as_it_is_told() {
    let page = regsweep(&["man", "gc"]);
    assert!(page.starts_with(".TH REGSWEEP\\-GC 1 2026-09-21 "), "{page}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    let wrong = output_of(command.env("SOURCE_DATE_EPOCH", "yesterday").args(["man", "gc"]));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty());
}

#[test]
fn a_page_that_does_not_exist_names_those_that_do() {
    for (arguments, says) in
        [(&["man", "cg"][..], "gc, "), (&["man", "trash", "empty"], "purge"), (&["man", "gc", "x"], "none")]
    {
        let output = output_of(Command::new(env!("CARGO_BIN_EXE_regsweep")).args(arguments));
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(says) && output.stdout.is_empty(), "{said}");
    }
}
