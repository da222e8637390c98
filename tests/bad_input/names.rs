//! Names that nobody should print, names that are no UTF-8, and files that nobody knows.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::collect;
use crate::support::tree::{Manifest, Tree, blob_object, write};
use crate::{gc_on, small, wrong_usage};

/// Names that would repaint the operator's terminal, forge a line of a report, or turn text around.
const EVIL: [&str; 4] = ["evil\nname", "evil\x1b[2Jname", "evil\u{9b}31mname", "evil\rname\u{202e}"];

fn evil_tree() -> Tree {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    for (n, evil) in EVIL.iter().enumerate() {
        let repository = tree.repository(&format!("team/{evil}"));
        repository.image(&format!("tag-{n}"));
        repository.untagged("old");
        repository.upload(evil, Duration::from_secs(9_000_000));
        let app = tree.repository("team/app");
        app.tag(evil, &Manifest::docker("nowhere", &[]));
        write(&app.folder().join("_layers").join(evil).join("x"), b"?");
        write(&tree.v2().join("blobs/sha256").join(evil).join("x"), b"?");
        write(&tree.v2().join(evil), b"?");
    }
    tree
}

#[test]
fn names_never_reach_the_terminal_raw() {
    let tree = evil_tree();
    let root = tree.root();
    let cases: [&[&str]; 8] = [
        &["ls"],
        &["ls", "--untagged", "--tree", "-v"],
        &["ls", "--untagged", "--tree", "--format", "json"],
        &["gc", "--dry-run", "-m", "-v"],
        &["gc", "--dry-run", "-m"],
        &["gc", "--dry-run", "-m", "-v", "--format", "json"],
        &["gc", "--registry-stopped", "-m", "-v", "--quarantine"],
        &["gc", "--registry-stopped", "-m", "-v", "--format", "json"],
    ];
    for arguments in cases {
        let run = finish(regsweep(&[arguments, &[root.to_str().unwrap()]].concat()));
        for said in [run.text(), run.stderr.clone()] {
            assert!(!said.contains('\x1b'), "{arguments:?}: an escape sequence: {said:?}");
            assert!(!said.contains("evil\n"), "{arguments:?}: a line break in a name: {said:?}");
            assert!(!said.contains("evil\r"), "{arguments:?}: a carriage return in a name: {said:?}");
            if !arguments.contains(&"json") {
                assert!(!said.contains('\u{9b}'), "{arguments:?}: an eight-bit escape sequence: {said:?}");
                assert!(!said.contains('\u{202e}'), "{arguments:?}: text turned around: {said:?}");
            }
        }
        // It does speak of them, or this tests nothing.
        assert!(run.text().contains("evil"), "{arguments:?}: {}", run.text());
        if arguments.contains(&"json") {
            run.report();
        }
    }
}

#[test]
fn a_registry_path_with_escape_sequences_is_not_printed_raw() {
    let tree = small();
    let missing = tree.beside().join("evil\x1b[2J\nname");
    let run = gc_on(&missing);
    wrong_usage(&run, &["evil"]);
    assert!(!run.stderr.contains('\x1b'), "{:?}", run.stderr);
    // Nor where there is something.
    tree.symlink(&tree.root(), &missing);
    let run = gc_on(&missing);
    run.exits(0);
    assert!(!run.text().contains('\x1b') && !run.stderr.contains('\x1b'), "{:?}", run.text());
}

/// Names that are no UTF-8: found, kept, and nobody else's image suffers.
#[test]
fn names_that_are_no_utf8_are_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let orphan = tree.orphan("orphan");
    let bad = OsString::from_vec(b"bad\xff\xfename".to_vec());
    let manifests = app.folder().join("_manifests");
    let places = [
        tree.v2().join(&bad),
        tree.v2().join("blobs").join(&bad).join("x"),
        tree.v2().join("blobs/sha256").join(&bad).join("x"),
        tree.v2().join("blobs/sha256/ab").join(&bad).join("data"),
        tree.repositories().join(&bad).join("_uploads/x/data"),
        tree.repositories().join("team").join(&bad).join("x"),
        app.folder().join(&bad),
        manifests.join("revisions").join(&bad).join("x"),
        manifests.join("revisions/sha256").join(&bad).join("link"),
        manifests.join("tags/v1/index/sha256").join(&bad).join("link"),
        app.folder().join("_layers/sha256").join(&bad).join("link"),
        app.folder().join("_uploads").join(&bad).join("data"),
    ];
    for place in &places {
        write(place, b"?");
    }
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]).removes(&[blob_object(&orphan.digest)]);
    for place in &places {
        assert!(place.exists(), "{}", place.display());
    }
    assert!(run.real.has_finding("bad"), "{}", run.real.0["findings"]);
    let human = finish(regsweep(&[OsStr::new("gc"), OsStr::new("-dmv"), tree.root().as_os_str()]));
    human.text();
}

/// A tag whose name is no UTF-8 is a tag that nobody can pull; what it points at is kept all the same.
#[test]
fn a_tag_that_is_no_utf8_keeps_what_it_points_at() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let tag = app.folder().join("_manifests/tags").join(OsStr::from_bytes(b"bad\xff"));
    write(&tag.join("current/link"), old.digest.as_bytes());
    let run = collect(&tree, &["-m"]);
    run.keeps(&app.objects_of(&old));
    assert!(tag.exists());
    assert!(run.real.has_finding("bad"), "{}", run.real.0["findings"]);
}

#[test]
fn unknown_files_everywhere_are_info_and_kept() {
    let tree = small();
    let app = tree.repository("team/app");
    let v1 = fs::read_to_string(app.current("v1")).unwrap();
    let strangers: BTreeSet<_> = [
        tree.root(),
        tree.root().join("docker"),
        tree.root().join("docker/registry"),
        tree.v2(),
        tree.v2().join("blobs"),
        tree.v2().join("blobs/sha256"),
        tree.blob(&v1).parent().unwrap().to_owned(),
        tree.blob(&v1),
        tree.repositories(),
        tree.repositories().join("team"),
        app.folder(),
        app.folder().join("_manifests"),
        app.folder().join("_manifests/revisions"),
        app.folder().join("_manifests/revisions/sha256"),
        app.revision(&v1),
        app.folder().join("_manifests/tags"),
        app.tag_folder("v1"),
        app.tag_folder("v1").join("current"),
        app.tag_folder("v1").join("index"),
        app.tag_folder("v1").join("index/sha256"),
        app.history("v1", &v1),
        app.folder().join("_layers"),
        app.folder().join("_layers/sha256"),
        app.folder().join("_uploads"),
    ]
    .into_iter()
    .flat_map(|folder| [folder.join("unknown.txt"), folder.join("unknown folder/inside")])
    // A folder there is a tag, if one that was never finished.
    .filter(|path| !path.starts_with(app.tag_folder("unknown folder")))
    .collect();
    for stranger in &strangers {
        write(stranger, b"somebody's");
    }
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.exits(0).without_complaint();
    assert_eq!(run.real.actions().len(), 1, "the orphan: {}", run.real.0["actions"]);
    for stranger in &strangers {
        assert!(stranger.exists(), "removed: {}", stranger.display());
    }
    assert!(run.real.has("info", "unknown.txt") && run.real.has("info", "unknown folder"));
}
