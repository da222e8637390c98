//! `trash restore` and `trash purge`, cut off anywhere, or with an error anywhere.

use std::collections::BTreeSet;

use regsweep::seam::{Kind, Seam};
use regsweep::sweep::State;

use crate::disk::Disk;
use crate::errors::{all_errors, fails_once};
use crate::runs::{self, gc, purge, quarantine, restore};
use crate::scene::{LITTLE, RICH, Scene};
use crate::support::fingerprint::Fingerprint;
use crate::support::inside::DeadFrom;
use crate::support::inside::for_each_on_all_cores;
use crate::support::tree::Tree;

/// A tree from which a run has put things aside, and what it looked like before.
fn aside(scene: &Scene) -> (Tree, Fingerprint) {
    let tree = scene.tree();
    let before = tree.fingerprint().files();
    assert_eq!(quarantine(&tree, Seam::default()).complaint, None);
    (tree, before)
}

/// Restoring again gives back the same tree, and all of it is garbage again.
fn is_restored(scene: &Scene, tree: &Tree, before: &Fingerprint, what: &str) {
    if runs::states(tree).contains(&State::Kept) {
        assert_eq!(restore(tree, Seam::default()).complaint, None, "{what}");
    }
    assert!(tree.objects() == scene.objects, "{what}: every object is back");
    let changes = before.changes_to(&tree.fingerprint().files());
    assert_eq!(changes, Vec::<String>::new(), "{what}: names, contents, times and inodes are as they were");
    scene.ends_as(tree, &scene.end, what);
    assert!(runs::trashes(tree).is_empty(), "{what}: no trash is left");
}

#[test]
fn t27_a_restore_cut_off_anywhere_is_restored_by_the_next() {
    let scene = &*RICH;
    let points = scene.count(&scene.aside, Kind::changes, restore);
    let cases: Vec<(usize, bool)> = (0..points).flat_map(|point| [(point, false), (point, true)]).collect();
    for_each_on_all_cores(&cases, |&(point, a_run_comes)| {
        let what = format!("restore dead from the change {point} on, a run comes: {a_run_comes}");
        let (tree, before) = aside(scene);
        let death = DeadFrom::the(point);
        restore(&tree, death.seam());
        assert!(death.has_died(), "{what}");
        scene.nothing_is_lost(&tree, &what);
        scene.nothing_dangles(&tree, &what);
        if a_run_comes {
            scene.ends_as(&tree, &scene.end, &what);
        } else {
            is_restored(scene, &tree, &before, &what);
        }
    });
    println!("restore: {points} points, each cut off there and restored again, or collected");
    assert!(points > 100, "only {points} points");
}

#[test]
fn t27_a_restore_with_an_error_anywhere_is_restored_by_the_next() {
    let scene = &*LITTLE;
    let (calls, cases) = all_errors(scene, &scene.aside, restore);
    for_each_on_all_cores(&cases, |&(nth, errno)| {
        let what = format!("restore with {errno:?} at call {nth}");
        let (tree, before) = aside(scene);
        let done = restore(&tree, fails_once(nth, errno));
        assert!(
            done.complaint.is_some() || tree.objects() == scene.objects,
            "{what}: neither done, nor is anything said"
        );
        scene.nothing_is_lost(&tree, &what);
        is_restored(scene, &tree, &before, &what);
    });
    println!("restore: {calls} calls, failing in {} ways", cases.len());
    assert!(calls > 40, "only {calls} calls");
}

/// What is in the trashes.
fn trashed(tree: &Tree) -> BTreeSet<String> {
    let folders = runs::trashes(tree);
    let files = folders.iter().flat_map(|(trash, _)| walkdir::WalkDir::new(trash));
    files.map(|entry| entry.unwrap().path().display().to_string()).collect()
}

/// The tree is as it was; a run of which something is deleted cannot be restored; the next run finishes the deleting.
fn is_purged(scene: &Scene, tree: &Tree, before: &BTreeSet<String>, what: &str) {
    assert!(tree.objects() == scene.end, "{what}: the tree is unharmed");
    scene.nothing_is_lost(tree, what);
    let is_whole = trashed(tree) == *before;
    let can_be_restored = runs::states(tree).contains(&State::Kept);
    assert!(is_whole || !can_be_restored, "{what}: something of it is deleted, and it can be restored");
    if can_be_restored {
        assert_eq!(purge(tree, Seam::default()).complaint, None, "{what}");
    } else {
        scene.ends_as(tree, &scene.end, what);
    }
    assert!(runs::trashes(tree).is_empty(), "{what}: the trash is deleted");
}

#[test]
fn t27_a_purge_cut_off_anywhere_is_finished_by_the_next() {
    let scene = &*RICH;
    let points = scene.count(&scene.aside, Kind::changes, purge);
    for_each_on_all_cores(&(0..points).collect::<Vec<_>>(), |&point| {
        let what = format!("purge dead from the change {point} on");
        let tree = scene.tree_of(&scene.aside);
        let before = trashed(&tree);
        let death = DeadFrom::the(point);
        purge(&tree, death.seam());
        assert!(death.has_died(), "{what}");
        is_purged(scene, &tree, &before, &what);
    });
    println!("purge: {points} points, each cut off there and finished");
    assert!(points > 100, "only {points} points");
}

#[test]
fn t27_a_purge_with_an_error_anywhere_is_finished_by_the_next() {
    let scene = &*LITTLE;
    let (calls, cases) = all_errors(scene, &scene.aside, purge);
    for_each_on_all_cores(&cases, |&(nth, errno)| {
        let what = format!("purge with {errno:?} at call {nth}");
        let tree = scene.tree_of(&scene.aside);
        let before = trashed(&tree);
        let done = purge(&tree, fails_once(nth, errno));
        let says_so = done.complaint.is_some() || !done.findings.is_empty();
        assert!(says_so || runs::trashes(&tree).is_empty(), "{what}: neither done, nor is anything said");
        is_purged(scene, &tree, &before, &what);
    });
    println!("purge: {calls} calls, failing in {} ways", cases.len());
    assert!(calls > 40, "only {calls} calls");
}

/// A run leaves what was put aside alone, and its own crash does not make anything else of it.
#[test]
fn t27_a_crash_of_another_run_leaves_what_was_put_aside() {
    let scene = &*LITTLE;
    let more = |tree: &Tree| _ = tree.orphan("another orphan");
    let points = {
        let tree = scene.tree_of(&scene.aside);
        more(&tree);
        scene.count(&Disk::of(&tree.root()), Kind::changes, gc)
    };
    for_each_on_all_cores(&(0..points).collect::<Vec<_>>(), |&point| {
        let what = format!("dead from the change {point} on, beside what was put aside");
        let (tree, before) = aside(scene);
        let aside = trashed(&tree);
        more(&tree);
        gc(&tree, DeadFrom::the(point).seam());
        scene.ends_as(&tree, &scene.end, &what);
        assert!(trashed(&tree) == aside, "{what}: what was put aside is there");
        is_restored(scene, &tree, &before, &what);
    });
    println!("crash beside what was put aside: {points} points");
    assert!(points > 15, "only {points} points");
}
