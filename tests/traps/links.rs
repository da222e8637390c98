//! Symbolic links (T04): what is behind one counts, and nothing is removed through it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::formats::hex_of;
use crate::support::scenario::{collect, gc};
use crate::support::tree::{Manifest, Tree, blob_object};
use crate::{and, blobs_and_links, control};

/// Moves a folder away and puts a symbolic link to it in its place.
fn moved_behind_a_link(tree: &Tree, folder: &Path) -> PathBuf {
    let number = fs::read_dir(tree.beside()).unwrap().count();
    let away = tree.beside().join(format!("away-{number}"));
    fs::rename(folder, &away).unwrap();
    symlink(&away, folder).unwrap();
    away
}

/// A layer link whose folder is a symbolic link, on another volume perhaps: the digest of its path is kept, and the one
/// that it names; and a repository that has nothing else is not empty.
#[test]
fn t04_a_symlinked_layer_link_keeps_both_digests_and_its_repository() {
    let tree = Tree::new();
    tree.repository("other").image("v1");
    let app = tree.repository("team/app");
    let stray = app.stray_layer("stray");
    let named = tree.orphan("what the link names");
    tree.replace(&app.layer(&stray.digest).join("link"), named.digest.as_bytes());
    moved_behind_a_link(&tree, &app.layer(&stray.digest));
    let garbage = control(&tree);
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.exits(0).without_complaint().removes(&garbage);
    run.keeps(&[blob_object(&stray.digest), blob_object(&named.digest), app.layer_object(&stray.digest)]);
}

/// The same for a whole folder of an algorithm.
#[test]
fn t04_a_symlinked_folder_of_layer_links_is_not_touched() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let stray = app.stray_layer("stray");
    let away = moved_behind_a_link(&tree, &app.folder().join("_layers/sha256"));
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(0).without_complaint().removes(&garbage).keeps(&[blob_object(&stray.digest)]);
    assert!(away.join(hex_of(&stray.digest)).join("link").exists());
}

/// A revision whose folder is a symbolic link cannot be removed, so it stays a root; an empty one stays as well.
#[test]
fn t04_a_symlinked_revision_keeps_its_image() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let (loose, empty) = (app.untagged("loose"), app.untagged("empty"));
    moved_behind_a_link(&tree, &app.revision(&loose.digest));
    fs::remove_file(app.revision(&empty.digest).join("link")).unwrap();
    let emptied = moved_behind_a_link(&tree, &app.revision(&empty.digest));
    let garbage = and(control(&tree), blobs_and_links(&app, &empty));
    let run = collect(&tree, &["-m"]);
    run.exits(0).without_complaint().removes(&and(garbage, [blob_object(&empty.digest)]));
    run.keeps(&app.objects_of(&loose)).keeps(&[app.revision_object(&empty.digest)]);
    assert!(emptied.is_dir() && fs::symlink_metadata(app.revision(&empty.digest)).unwrap().is_symlink());
}

/// `blobs` itself behind a symbolic link, as people do who put it on a larger disk.
#[test]
fn t04_a_symlinked_folder_of_all_blobs_is_read_and_not_swept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let orphan = tree.orphan("orphan");
    let stray = app.stray_layer("stray");
    for folder in ["blobs", "blobs/sha256"] {
        moved_behind_a_link(&tree, &tree.v2().join(folder));
        let run = gc(&tree, &["-m", "--registry-stopped"]);
        run.exits(0);
        assert_eq!(run.report().actions_of("blob"), BTreeSet::new(), "{folder}");
        assert!(tree.data(&orphan.digest).exists() && tree.data(&stray.digest).exists());
        assert!(v1.blob_digests().iter().all(|digest| tree.data(digest).exists()));
    }
}

/// A tag and a shard of the same registry, reached through a symbolic link: the link itself stays as well.
#[test]
fn t04_a_symlinked_tag_that_was_taken_out_by_hand_stays() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let by_hand = app.image("by-hand");
    app.delete_by_hand("by-hand", &by_hand);
    let away = moved_behind_a_link(&tree, &app.tag_folder("by-hand"));
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.removes(&garbage).keeps(&[app.tag_object("by-hand"), blob_object(&by_hand.digest)]);
    assert!(away.join("current/link").exists());
}

/// The history of a tag of which one folder on the way is a symbolic link.
#[test]
fn t04_a_tags_history_behind_a_link_is_not_touched() {
    for part in ["index", "index/sha256"] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let old = app.image_with_layers("v1", &["old"]);
        app.push_tagged("v1", &Manifest::docker("new", &["new"]));
        let away = moved_behind_a_link(&tree, &app.tag_folder("v1").join(part));
        let garbage = and(control(&tree), app.objects_of(&old));
        let run = collect(&tree, &["-m"]);
        run.exits(0).without_complaint().removes(&garbage).keeps(&[app.history_object("v1", &old.digest)]);
        assert!(away.is_dir(), "{part}");
    }
}
