//! One of everything, and nothing that speaks of it as of several.

use std::ffi::OsString;
use std::time::Duration;

use crate::support::process::{finish, regsweep};
use crate::support::tree::{Manifest, Tree};

/// What is counted, in the plural.
const SEVERAL: [&str; 43] = [
    "repositories",
    "tags",
    "revisions",
    "manifests",
    "images",
    "blobs",
    "links",
    "layers",
    "configs",
    "uploads",
    "digests",
    "references",
    "referrers",
    "chains",
    "traces",
    "runs",
    "things",
    "names",
    "places",
    "platforms",
    "entries",
    "files",
    "folders",
    "bytes",
    "errors",
    "warnings",
    "notes",
    "findings",
    "rules",
    "patterns",
    "lines",
    "seconds",
    "minutes",
    "hours",
    "days",
    "threads",
    "requests",
    "children",
    "items",
    "others",
    "times",
    "commands",
    "are",
];

/// Where a 1 stands before the plural, with what is around it; nothing if nowhere.
fn slips(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_one = |word: &str| word.trim_start_matches(['(', '`', '[']) == "1";
    let several = |word: &str| SEVERAL.contains(&word.trim_matches(|c: char| !c.is_alphabetic()));
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate().filter(|(_, word)| is_one(word)) {
        // `1 layer link`, `1 untagged manifests`; what is said next of something else is not meant.
        let next = words[at + 1..].iter().take(2);
        let ends = |word: &&&str| word.ends_with([',', ';', '.', ':', ')']);
        let of_it: Vec<&&str> = match next.clone().position(|word| ends(&word)) {
            Some(end) => next.take(end + 1).collect(),
            None => next.collect(),
        };
        // `1 of 3 tags` is right, and so is `1 tag needs`.
        let is_part = of_it.first().is_some_and(|word| **word == "of");
        if !is_part && of_it.iter().any(|word| several(word)) {
            found.push(format!("{word} {}", of_it.iter().map(|word| **word).collect::<Vec<_>>().join(" ")));
        }
    }
    found
}

#[test]
fn slips_are_found() {
    for (text, is_slip) in [
        ("1 repositories, 2 tags", true),
        ("1 repository, 2 tags", false),
        ("in 1 untagged manifests", true),
        ("(1 blobs)", true),
        ("1 of 3 tags", false),
        ("11 tags", false),
        ("1 blob, tags", false),
        ("there 1 are left", true),
    ] {
        assert_eq!(!slips(text).is_empty(), is_slip, "{text}: {:?}", slips(text));
    }
}

/// ```text
/// team/app   v1 => M -> config, layer     (untagged) => U -> its config and layer
///            a stray layer link, an upload, an orphan of one byte
/// ```
fn one_of_each() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_with_layers("v1", &["one"]);
    app.push(&Manifest::docker("u", &["u"]));
    app.upload("stale", Duration::from_hours(400));
    tree.orphan("orphan");
    tree
}

fn said(tree: &Tree, arguments: &[&str]) -> String {
    let root = tree.root();
    let words =
        arguments.iter().map(|word| if *word == "REGISTRY" { root.as_os_str().into() } else { OsString::from(word) });
    let run = finish(regsweep(&words.collect::<Vec<OsString>>()));
    format!("{}\n{}", run.text(), run.stderr)
}

#[test]
fn one_is_never_several() {
    type Break = fn(&Tree);
    let scenes: [(&str, Break); 8] = [
        ("whole", |_| {}),
        ("a layer is gone", |tree| {
            let image = Manifest::docker("team/app v1", &["one"]);
            tree.remove(&tree.blob(image.blob_digests()[1]));
        }),
        ("a layer of one byte too many", |tree| {
            let image = Manifest::docker("team/app v1", &["one"]);
            tree.truncate(&tree.data(image.blob_digests()[1]), 1);
        }),
        ("a current link is empty", |tree| tree.truncate(&tree.repository("team/app").current("v1"), 0)),
        ("a layer link is empty", |tree| {
            let image = Manifest::docker("team/app v1", &["one"]);
            tree.truncate(&tree.repository("team/app").layer(image.blob_digests()[1]).join("link"), 0);
        }),
        ("a manifest is gone", |tree| {
            tree.remove(&tree.blob(&Manifest::docker("team/app v1", &["one"]).digest));
        }),
        ("no tag", |tree| tree.remove(&tree.repository("team/app").tag_folder("v1"))),
        ("tags that cannot be listed", |tree| {
            let tags = tree.repository("team/app").folder().join("_manifests/tags");
            tree.remove(&tags);
            tree.symlink(&tree.beside().join("nowhere"), &tags);
        }),
    ];
    let commands: [&[&str]; 24] = [
        &["gc", "--dry-run", "REGISTRY"],
        &["gc", "--dry-run", "-m", "-v", "REGISTRY"],
        &["gc", "--dry-run", "--keep-last", "1", "--keep-tag", "v1", "REGISTRY"],
        &["gc", "--registry-stopped", "--max-delete", "0", "-m", "REGISTRY"],
        &["ls", "REGISTRY"],
        &["ls", "--tree", "--untagged", "REGISTRY"],
        &["ls", "-v", "REGISTRY", "team/app"],
        &["du", "REGISTRY"],
        &["du", "--tags", "-v", "REGISTRY"],
        &["du", "--blobs", "--top", "1", "REGISTRY"],
        &["du", "REGISTRY", "team/app:v1"],
        &["why", "REGISTRY", "team/app"],
        &["why", "REGISTRY", "team/app:v1"],
        &["why", "-m", "REGISTRY", "team/app"],
        &["check", "REGISTRY"],
        &["check", "--read-data", "-v", "REGISTRY"],
        &["check", "--repair", "--dry-run", "--drop-dangling-tags", "--max-delete", "0", "REGISTRY"],
        &["rm", "--dry-run", "REGISTRY", "team/app:v1"],
        &["rm", "--dry-run", "REGISTRY", "team"],
        &["gc", "--quarantine", "--registry-stopped", "REGISTRY"],
        &["trash", "list", "REGISTRY"],
        &["runs", "REGISTRY"],
        &["du", "REGISTRY"],
        &["trash", "purge", "REGISTRY"],
    ];
    let mut failures = Vec::new();
    for (scene, spoil) in scenes {
        let tree = one_of_each();
        spoil(&tree);
        for command in commands {
            let text = said(&tree, command);
            assert!(text.len() > 2, "{scene}: {command:?} says nothing");
            failures.extend(slips(&text).into_iter().map(|slip| format!("{scene}: {}: {slip}", command.join(" "))));
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}
