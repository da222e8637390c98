//! Putting back, where something is in the way: each test here fails where one small thing is forgotten.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::process::{Run, finish, regsweep};
use crate::support::scenario::gc;
use crate::support::tree::{Manifest, Repository, Tree, write};

/// `gc -m --quarantine`; returns the run's folder.
fn quarantined(tree: &Tree) -> PathBuf {
    let run = gc(tree, &["-m", "--registry-stopped", "--quarantine"]);
    run.exits(0);
    tree.regsweep().join("runs").join(run.report().run())
}

fn restore(tree: &Tree, run: &Path) -> Run {
    let name = run.file_name().unwrap().to_str().unwrap();
    finish(regsweep(&["trash", "restore", tree.root().to_str().unwrap(), name, "--registry-stopped"]))
}

/// Takes the mark out of a journal: what a crash before it leaves.
fn cut_off(run: &Path) {
    let journal = run.join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let lines = text.lines().filter(|line| !line.contains("\"event\":\"swept\""));
    fs::write(&journal, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// Where something is put in the way of an image that is to come back.
type Place = fn(&Tree, &Repository<'_>, &Manifest) -> PathBuf;

/// What breaks the place of something that is to come back: a push that was cut off leaves an empty file, or half of
/// one.
const IN_THE_WAY: &[(&str, Place)] = &[
    ("an empty revision link", |_, app, image| app.revision(&image.digest).join("link")),
    ("an empty layer link", |_, app, image| app.layer(&image.blobs[1].digest).join("link")),
    ("an empty blob", |tree, _, image| tree.data(&image.blobs[1].digest)),
    ("a strange file in an empty digest folder", |_, app, image| app.revision(&image.digest).join("notes.txt")),
];

/// Something else lies where a thing of the trash belongs: neither is lost, and it is said which. Without the mark the
/// next run goes no further, for it would take what is missing for garbage.
#[test]
fn t27_what_cannot_be_put_back_stays_in_the_trash() {
    for (what, place) in IN_THE_WAY {
        println!("{what}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let old = app.untagged("old");
        let aside = quarantined(&tree);
        let place = place(&tree, &app, &old);
        write(&place, b"");
        let trashed = aside.join("trash").join(place.parent().unwrap().strip_prefix(tree.v2()).unwrap());
        assert!(trashed.is_dir(), "{}", trashed.display());

        let run = restore(&tree, &aside);
        run.exits(1);
        assert!(run.stderr.contains("something else is there now"), "{}", run.stderr);
        assert!(trashed.is_dir() && fs::read(&place).unwrap().is_empty());

        cut_off(&aside);
        let before = tree.objects();
        let next = gc(&tree, &["--registry-stopped"]);
        next.exits(1);
        assert!(next.stderr.contains("cannot put back"), "{}", next.stderr);
        assert!(trashed.is_dir() && tree.objects() == before);

        // A hand has taken it out of the way, and all is well.
        tree.remove(place.parent().unwrap());
        gc(&tree, &["--registry-stopped"]).exits(0);
        assert!(app.objects_of(&old).iter().all(|object| tree.objects().contains(object)), "{what}");
    }
}

/// What lies in the way is as long as what is to come back, and is not the same: the copy in the trash is the last whole
/// one, and stays.
#[test]
fn t63_a_damaged_copy_of_the_same_size_does_not_cost_the_whole_one() {
    let places: [(&str, Place); 3] = [
        ("a blob", |tree, _, image| tree.data(&image.blobs[1].digest)),
        ("a layer link", |_, app, image| app.layer(&image.blobs[1].digest).join("link")),
        ("a revision link", |_, app, image| app.revision(&image.digest).join("link")),
    ];
    for (what, place) in places {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let old = app.untagged("old");
        let place = place(&tree, &app, &old);
        let whole = fs::read(&place).unwrap();
        let aside = quarantined(&tree);
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        write(&place, &damaged);
        let run = restore(&tree, &aside);
        run.exits(1);
        assert!(run.stderr.contains("something else is there now"), "{what}: {}", run.stderr);
        let trashed = aside.join("trash").join(place.strip_prefix(tree.v2()).unwrap());
        assert_eq!(fs::read(&trashed).unwrap(), whole, "{what}: the whole one is in the trash");
        assert_eq!(fs::read(&place).unwrap(), damaged, "{what}: and nobody has touched the other");
        // What is the same may go.
        write(&place, &whole);
        restore(&tree, &aside).exits(0);
        assert!(!trashed.exists(), "{what}");
    }
}

/// The signatures that an image deleted through the API left behind, and then the image is pushed again: its new link
/// is not what lies in the trash.
#[test]
fn t27_what_a_digest_folder_without_a_link_holds_is_not_lost() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = Manifest::schema1("old", &["old"]);
    app.push(&old);
    let signature = app.revision(&old.digest).join("signatures/sha256").join("ab".repeat(32)).join("link");
    write(&signature, b"sha256:...");
    app.delete_by_api(&old);
    let aside = quarantined(&tree);
    let trashed = aside.join("trash").join(signature.strip_prefix(tree.v2()).unwrap());
    assert!(trashed.exists() && !signature.exists());
    app.push(&old);
    let run = restore(&tree, &aside);
    run.exits(1);
    assert!(run.stderr.contains("something else is there now"), "{}", run.stderr);
    assert!(trashed.exists());
}

/// A file that nobody moved into a trash stays there, and is named.
#[test]
fn t45_a_strangers_file_in_the_trash_is_named() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let aside = quarantined(&tree);
    let notes = aside.join("trash/notes.txt");
    write(&notes, b"mine");
    let run = restore(&tree, &aside);
    run.exits(1);
    assert!(run.stderr.contains("notes.txt"), "{}", run.stderr);
    assert!(app.objects_of(&old).iter().all(|object| tree.objects().contains(object)), "the rest is back");
    assert_eq!(fs::read(&notes).unwrap(), b"mine");
}

/// History that went from a tag comes back into the tag, whatever has become of the tag.
#[test]
fn trash_restore_puts_history_back_into_its_tag() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let old = app.image_with_layers("v1", &["old"]);
    app.push_tagged("v1", &Manifest::docker("new", &["new"]));
    let before = tree.fingerprint();
    let aside = quarantined(&tree);
    assert!(!tree.objects().contains(&app.history_object("v1", &old.digest)));
    restore(&tree, &aside).exits(0);
    let changes = before.as_moved_back().changes_to(&tree.fingerprint().as_moved_back());
    assert_eq!(changes, Vec::<String>::new(), "as it was, modes of folders included");
}

/// Folders that are made anew for what comes back are as those around them: the registry goes on writing there.
#[test]
fn trash_restore_makes_folders_as_they_were() {
    let tree = Tree::new();
    tree.repository("keep").image("v1");
    tree.repository("team/app").untagged("old");
    let before = tree.fingerprint();
    let run = gc(&tree, &["-m", "--registry-stopped", "--quarantine", "--remove-empty-repositories"]);
    run.exits(0);
    assert!(!tree.repositories().join("team").exists());
    restore(&tree, &tree.regsweep().join("runs").join(run.report().run())).exits(0);
    let changes = before.as_moved_back().changes_to(&tree.fingerprint().as_moved_back());
    assert_eq!(changes, Vec::<String>::new());
}
