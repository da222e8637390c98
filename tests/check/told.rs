//! What a check tells a person who does not know it: what was not read, what the trash of a run can bring back, and
//! nothing any more of what was mended.

use super::support::process::Run;
use super::support::scenario::{gc, restore};
use super::support::tree::{Manifest, Tree};
use super::{check, finish, regsweep, repair};

/// `check` of this tree as a person runs it.
fn told(tree: &Tree, flags: &[&str]) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["check", root.to_str().unwrap()], flags].concat()))
}

/// What it says in one line, however it was wrapped.
fn unwrapped(run: &Run) -> String {
    run.text().split_whitespace().collect::<Vec<&str>>().join(" ")
}

fn first(run: &Run) -> String {
    let text = run.text();
    let lines: Vec<&str> = text.lines().take_while(|line| !line.starts_with('/')).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    lines.iter().map(|line| line.trim()).collect::<Vec<&str>>().join(" ")
}

#[test]
fn the_first_line_says_what_was_not_read() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let run = told(&tree, &[]);
    assert_eq!(first(&run), "regsweep check  the tag can be pulled; data was not read: --read-data");
    assert!(run.stderr.ends_with(": 1 tag can be pulled (data not read)\n"), "{}", run.stderr);
    app.image("v2");
    assert!(first(&told(&tree, &[])).ends_with("  all 2 tags can be pulled; data was not read: --read-data"));
    // What fits no more goes to a line of its own.
    let dry = told(&tree, &["--repair", "--dry-run"]);
    assert!(first(&dry).ends_with("all 2 tags can be pulled; data was not read: --read-data"), "{}", dry.text());
    assert!(first(&told(&tree, &["--read-blob", &image.digest])).ends_with("can be pulled; 1 of 7 blobs read"));
    let whole = told(&tree, &["--read-data"]);
    assert_eq!(first(&whole), "regsweep check  all 2 tags can be pulled");
    assert!(whole.stderr.ends_with(": 2 tags can be pulled\n"), "{}", whole.stderr);
    // What cannot be pulled is news enough.
    tree.remove(&tree.blob(image.blob_digests()[2]));
    assert_eq!(first(&told(&tree, &[])), "regsweep check  1 of 2 tags cannot be pulled");
}

/// A run has put a layer aside that nothing needed then, and an image needs now:
///
/// ```text
/// app   v1 => M -> config, base, late
/// ```
fn with_a_copy_in_the_trash() -> (Tree, Manifest, String) {
    let tree = Tree::new();
    tree.repository("app").image("v0");
    tree.orphan("late");
    let run = gc(&tree, &["--quarantine", "--registry-stopped"]).report().run().to_owned();
    let image = tree.repository("app").image_with_layers("v1", &["base", "late"]);
    (tree, image, run)
}

fn in_trash_of(run: &Run) -> Vec<Option<String>> {
    let report = run.report();
    let blobs = report.0["check"]["damaged"].as_array().unwrap();
    blobs.iter().map(|blob| blob["in_trash_of"].as_str().map(str::to_owned)).collect()
}

#[test]
fn what_is_missing_and_lies_in_a_trash_has_its_command() {
    let (tree, image, run) = with_a_copy_in_the_trash();
    let root = tree.root();
    let root = root.to_str().unwrap();
    tree.remove(&tree.blob(image.blob_digests()[2]));
    assert_eq!(in_trash_of(&check(&tree, &[])), [Some(run.clone())]);
    let seen = told(&tree, &[]);
    seen.exits(3);
    let command = format!("regsweep trash restore --registry URL {root} {run} (or --config FILE");
    assert!(unwrapped(&seen).contains(&command), "{}", seen.text());
    assert!(!seen.text().contains("--repair"), "nothing can be mended: {}", seen.text());
    // With evidence it is one that can be copied.
    let seen = told(&tree, &["--registry-stopped"]);
    let command = format!("regsweep trash restore --registry-stopped {root} {run}");
    assert!(unwrapped(&seen).contains(&command), "{}", seen.text());
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    finish(regsweep(&arguments)).exits(0);
    check(&tree, &["--read-data"]).exits(0);
}

/// What is put aside because it is damaged is damaged in the trash as well.
#[test]
fn a_damaged_copy_is_never_offered() {
    let tree = Tree::new();
    let image = tree.repository("app").image("v1");
    tree.flip(&tree.data(image.blob_digests()[2]));
    let mended = told(&tree, &["--repair", "--registry-stopped", "--read-data"]);
    let text = unwrapped(&mended);
    assert!(text.contains("as damaged as it was") && !text.contains("trash restore"), "{}", mended.text());
    let seen = check(&tree, &[]);
    assert_eq!(in_trash_of(&seen), [None]);
    let seen = told(&tree, &[]);
    assert!(seen.text().contains("is missing") && !seen.text().contains("trash"), "{}", seen.text());
}

/// What is there is in the way of what is put back: first it is put aside.
#[test]
fn what_is_damaged_and_has_a_whole_copy() {
    let (tree, image, run) = with_a_copy_in_the_trash();
    let layer = image.blob_digests()[2].to_owned();
    let trash = tree.regsweep().join("runs").join(&run).join("trash");
    let copy = trash.join(tree.blob(&layer).strip_prefix(tree.v2()).unwrap());
    tree.flip(&tree.data(&layer));
    let seen = told(&tree, &["--read-data"]);
    let text = unwrapped(&seen);
    let mend = format!("check --repair puts it aside; then trash restore brings back a whole copy, from run {run}");
    assert!(text.contains(&mend) && !text.contains("regsweep trash restore"), "{}", seen.text());
    // It is no help where it is damaged itself.
    tree.flip(&copy.join("data"));
    let seen = check(&tree, &["--read-data"]);
    assert_eq!(in_trash_of(&seen), [None]);
    tree.flip(&copy.join("data"));
    let mended = told(&tree, &["--repair", "--registry-stopped", "--read-data"]);
    let command = format!("regsweep trash restore --registry-stopped {} {run}", tree.root().display());
    assert!(unwrapped(&mended).contains(&command), "{}", mended.text());
    // Two runs have a copy now, and the newer one is damaged.
    assert_eq!(in_trash_of(&check(&tree, &[])), [Some(run.clone())]);
    restore(&tree, &run, &[]).exits(0);
    check(&tree, &["--read-data"]).exits(0);
}

/// A night run that has mended all there was has nothing to say.
#[test]
fn what_was_mended_is_no_error_any_more() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let other = app.image("v2");
    let layer = |image: &Manifest| app.layer(image.blob_digests()[2]).join("link");
    tree.truncate(&layer(&image), 0);
    let run = told(&tree, &["--repair", "--registry-stopped", "--quiet"]);
    run.exits(0);
    assert_eq!((run.text(), &*run.stderr), (String::new(), ""));
    tree.truncate(&layer(&image), 0);
    let run = repair(&tree, &[]);
    let findings = run.report().0["findings"].as_array().unwrap().clone();
    assert!(findings.iter().any(|it| it["message"].as_str().unwrap().starts_with("before mending: app:v1 cannot")));
    assert!(findings.iter().all(|it| it["severity"] != "error"), "{findings:#?}");
    // What is left is told, and nothing else.
    tree.truncate(&layer(&image), 0);
    tree.remove(&tree.blob(other.blob_digests()[2]));
    let run = told(&tree, &["--repair", "--registry-stopped", "--quiet"]);
    run.exits(3);
    assert!(run.stderr.contains("app:v2 cannot be pulled") && !run.stderr.contains("app:v1"), "{}", run.stderr);
}
