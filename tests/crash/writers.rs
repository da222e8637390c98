//! A run was cut off, and before the next one the registry was started and somebody pushed.

use std::collections::BTreeSet;

use regsweep::seam::{Kind, Seam};

use crate::disk::Disk;
use crate::runs::gc;
use crate::scene::{LITTLE, Scene};
use crate::support::inside::DeadFrom;
use crate::support::inside::for_each_on_all_cores;
use crate::support::tree::{Manifest, Tree};

/// What a client writes, by its name.
type Writing = (&'static str, fn(&Tree));

const WRITINGS: &[Writing] = &[
    ("the former target of a tag again", |tree| {
        let app = tree.repository("team/app");
        app.push_tagged("again", &Manifest::docker("team/app latest", &["first"]));
    }),
    ("the tag moves back", |tree| {
        let app = tree.repository("team/app");
        app.push_tagged("latest", &Manifest::docker("team/app latest", &["first"]));
    }),
    ("the untagged image again", |tree| {
        let app = tree.repository("team/app");
        app.push_tagged("again", &Manifest::docker("team/app old", &["base", "team/app old"]));
    }),
    ("a new image of layers that were going", |tree| {
        let app = tree.repository("team/app");
        app.push_tagged("new", &Manifest::oci("new", &["team/app old", "stray", "orphan", "new"]));
    }),
    ("a new repository of layers that were going", |tree| {
        let new = tree.repository("new/one");
        new.push_tagged("v1", &Manifest::docker("new", &["team/app old", "first", "stray"]));
    }),
    ("a repository that was going whole", |tree| {
        tree.repository("gone").push_tagged("v1", &Manifest::docker("new", &["stray"]));
    }),
];

/// The ends that are right: of a run after the push, or of a push after the run. They differ where the push lets
/// something live that it does not bring along. And what can be pulled by tag then.
fn ends(scene: &Scene, push: fn(&Tree)) -> ([BTreeSet<String>; 2], BTreeSet<String>) {
    let [pushed_first, pushed_last] = [scene.tree(), scene.tree()];
    push(&pushed_first);
    let facts = pushed_first.deliverable(false);
    gc(&pushed_last, Seam::default());
    push(&pushed_last);
    let ends = [pushed_first, pushed_last].map(|tree| {
        assert_eq!(gc(&tree, Seam::default()).complaint, None);
        tree.objects()
    });
    (ends, facts)
}

#[test]
fn t27_what_is_pushed_after_a_crash_is_whole() {
    let scene = &*LITTLE;
    let points = scene.count(&scene.disk, Kind::changes, gc);
    let ends: Vec<_> = WRITINGS.iter().map(|(_, push)| ends(scene, *push)).collect();
    let cases: Vec<(usize, usize)> =
        (0..points).flat_map(|point| (0..WRITINGS.len()).map(move |writing| (point, writing))).collect();
    for_each_on_all_cores(&cases, |&(point, writing)| {
        let (name, push) = WRITINGS[writing];
        let what = format!("dead from the change {point} on, and then {name}");
        let tree = scene.tree();
        gc(&tree, DeadFrom::the(point).seam());
        push(&tree);
        let ([first, last], facts) = &ends[writing];
        assert!(tree.deliverable(false) == *facts, "{what}: the push is whole");
        // Only the next run tells which of the two it is.
        let disk = Disk::of(&tree.root());
        assert_eq!(gc(&tree, Seam::default()).complaint, None, "{what}");
        let end = if tree.objects() == *last { last } else { first };
        let tree = scene.tree_of(&disk);
        scene.runs_to(&tree, end, &what);
        let now = tree.deliverable(false);
        let lost: Vec<String> = facts.difference(&now).map(|fact| tree.explain(fact)).collect();
        assert!(lost.is_empty(), "{what}: LOST {lost:#?}");
    });
    println!("pushed after a crash: {points} points, {} kinds of push", WRITINGS.len());
    assert!(points > 100, "only {points} points");
}
