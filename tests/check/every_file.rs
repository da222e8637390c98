//! Every file of a registry, broken in every way.
//!
//! A witness that shares no code with the check says what a client can get ([`Tree::deliverable`]). What it can no
//! longer get has to be told, by the name that it had; what is told and can be got is a false alarm. And after
//! `--repair` the client gets at least what it got before, all that a link alone stood in the way of, and a second
//! repair has nothing to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::support::inside::{for_each_on_all_cores, sample};
use super::support::tree::{Manifest, Tree, everything};
use super::{check, lost, repair};

/// How a file is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Removed,
    FolderRemoved,
    Emptied,
    Halved,
    Flipped,
    Foreign,
}

const WAYS: [Way; 6] = [Way::Removed, Way::FolderRemoved, Way::Emptied, Way::Halved, Way::Flipped, Way::Foreign];

fn break_it(tree: &Tree, path: &Path, way: Way) {
    match way {
        Way::Removed => tree.remove(path),
        Way::FolderRemoved => tree.remove(path.parent().unwrap()),
        Way::Emptied => tree.truncate(path, 0),
        Way::Halved => tree.truncate(path, path.metadata().unwrap().len() / 2),
        Way::Flipped => tree.flip(path),
        Way::Foreign => tree.replace(path, b"nothing that a registry writes"),
    }
}

/// A tree with images of all kinds, in which nothing is broken.
fn whole() -> Tree {
    let tree = everything();
    let shared = tree.repository("shared");
    let (amd64, arm64) = (Manifest::docker("amd64 of shared", &["base", "x"]), Manifest::oci("arm64", &["base", "y"]));
    shared.push(&amd64);
    shared.push(&arm64);
    let index = shared.index("v1", &[&amd64, &arm64]);
    shared.tag("v1.0", &index);
    shared.image("v2");
    shared.cosign(&index, "sig");
    // What a tag pointed at before it did so in another tick of the clock.
    for (repository, tag) in [("team/app", "latest"), ("old", "moved")] {
        let repository = tree.repository(repository);
        let now = fs::read_to_string(repository.current(tag)).unwrap();
        for entry in fs::read_dir(repository.history(tag, &now).parent().unwrap()).unwrap() {
            let entry = entry.unwrap().path();
            if !now.ends_with(entry.file_name().unwrap().to_str().unwrap()) {
                tree.set_age(&entry.join("link"), Duration::from_secs(3600));
            }
        }
    }
    tree
}

/// Every file below `blobs` and `repositories`, relative to `v2`.
fn files(tree: &Tree) -> Vec<PathBuf> {
    let v2 = tree.v2();
    let mut files = Vec::new();
    for top in ["blobs", "repositories"] {
        for entry in walkdir::WalkDir::new(v2.join(top)) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() && !entry.path().components().any(|part| part.as_os_str() == "_uploads") {
                files.push(entry.path().strip_prefix(&v2).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// Who gets something: `team/app:v1`, `team/app@sha256:...`.
fn who(facts: &BTreeSet<String>) -> BTreeSet<String> {
    facts.iter().map(|fact| fact.split(" gets ").next().unwrap().to_owned()).collect()
}

#[test]
fn what_is_broken_is_told_and_mended() {
    let whole_before = whole().deliverable(true);
    let at_first = lost(&check(&whole(), &["--read-data"]));
    let cases: Vec<(PathBuf, Way)> =
        files(&whole()).into_iter().flat_map(|file| WAYS.map(|way| (file.clone(), way))).collect();
    assert!(cases.len() > 400, "{} cases", cases.len());
    let share = std::env::var("REGSWEEP_CHECK_CASES").map_or(150, |cases| cases.parse().unwrap());
    for_each_on_all_cores(&sample(cases, share, 17), |(file, way)| {
        let context = format!("{} {way:?}", file.display());
        let tree = whole();
        break_it(&tree, &tree.v2().join(file), *way);
        let before = tree.deliverable(true);
        let run = check(&tree, &["--read-data"]);
        assert!(matches!(run.code, 0 | 3), "{context}: {}", run.stderr);
        let told: BTreeSet<String> =
            lost(&run).difference(&at_first).map(|name| name.split(' ').next().unwrap().to_owned()).collect();
        let misses: BTreeSet<String> = whole_before.difference(&before).cloned().collect();
        // A revision behind a link that is gone is no name any more; by its tag it is.
        let named: BTreeSet<String> =
            who(&misses).into_iter().filter(|name| name.contains(':') && is_still_named(&tree, name)).collect();
        for name in &named {
            let is_told = told.iter().any(|told| told == name || stands_for(told, name, &misses));
            assert!(is_told, "{context}: {name} is lost and not told\n{:#?}", run.report().findings());
        }
        for name in &told {
            // Or could not be got before either.
            assert!(
                who(&misses).contains(name) || !who(&whole_before).contains(name),
                "{context}: {name} is told and not lost\n{:#?}",
                run.report().findings()
            );
        }
        let is_tagged = told.iter().any(|name| !name.contains('@'));
        assert_eq!(run.code == 3, is_tagged || has_error(&run), "{context}");

        let run = repair(&tree, &["--read-data"]);
        assert!(matches!(run.code, 0 | 3), "{context}: {} {}", run.code, run.stderr);
        let after = tree.deliverable(true);
        let gone: Vec<&String> = before.difference(&after).collect();
        assert!(gone.is_empty(), "{context}: the repair has lost {gone:#?}\n{:#?}", run.report().0["actions"]);
        let is_link = file.ends_with("link") && file.starts_with("repositories");
        if is_link && !matches!(way, Way::Removed | Way::FolderRemoved) {
            assert_eq!(after, whole_before, "{context}: what a link alone stood in the way of");
        }
        let run = repair(&tree, &["--read-data"]);
        assert_eq!(super::mends(&run), BTreeSet::new(), "{context}: nothing is left to mend");
        assert_eq!(run.report().actions().len(), 0, "{context}: nothing is left to put aside");
        // What was put aside comes back, byte for byte; what stayed damaged is as it was.
        assert_eq!(tree.deliverable(true), after, "{context}");
    });
}

fn has_error(run: &super::Run) -> bool {
    run.report().findings().iter().any(|finding| finding["severity"] == "error")
}

/// Whether a name is one that somebody could ask for: its tag folder or its revision link is there.
fn is_still_named(tree: &Tree, name: &str) -> bool {
    match name.split_once('@') {
        Some((repository, digest)) => tree.repository(repository).revision(digest).join("link").exists(),
        None => {
            let (repository, tag) = name.rsplit_once(':').unwrap();
            tree.repository(repository).current(tag).exists()
        }
    }
}

/// Whether a tagged image was told under its tag, and not by its digest as well: all that `name` misses is what `told`
/// misses.
fn stands_for(told: &str, name: &str, misses: &BTreeSet<String>) -> bool {
    let what = |who: &str| -> BTreeSet<&str> {
        misses.iter().filter_map(|fact| fact.strip_prefix(who)?.strip_prefix(" gets ")).collect()
    };
    name.contains('@')
        && told.split(['@', ':']).next() == name.split('@').next()
        && !what(name).is_disjoint(&what(told))
}
