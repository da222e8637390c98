//! Somebody writes to the registry while a run is at work, although it was shown that nobody does (T20).
//!
//! A run is taken apart here: the scan and the sweep are called by themselves, and a writer comes in between, or while
//! the sweep is at work. What is written is what a registry writes for a push, in the order of the protocol.
//!
//! In [`interleaved`] a push comes at every point of a whole run, step by step, as [`push`] does it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]

mod interleaved;
mod push;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use regsweep::collect::{self, Collection, collect};
use regsweep::finding::Findings;
use regsweep::plan::Scope;
use regsweep::policy::Policy;
use regsweep::progress::{Meter, Phase, Unwatched, Watch};
use regsweep::registry::Registry;
use regsweep::sweep::{self, SweepError, Swept, sweep};
use support::tree::{Manifest, Tree, blob_object};

/// Does something at the moment at which a phase begins.
struct At<F>(Phase, Mutex<F>);

impl<F: FnMut() + Send> Watch for At<F> {
    fn begin(&self, phase: Phase) -> Arc<Meter> {
        if phase == self.0 {
            (self.1.lock().unwrap())();
        }
        Arc::default()
    }

    fn window_closed(&self, _: f64) {}
}

fn at<F: FnMut() + Send>(phase: Phase, act: F) -> At<F> {
    At(phase, Mutex::new(act))
}

fn scanned(registry: &Registry) -> Collection {
    let options = collect::Options {
        policy: &Policy { delete_untagged: true, ..Policy::default() },
        uploads_older_than: 0,
        remove_empty_repositories: true,
        young_since: None,
        max_delete: None,
        last_repositories: None,
        scope: Scope::Everything,
        now: Timestamp::now().as_second(),
    };
    let collection = collect(registry, options, &Findings::default(), &Unwatched).unwrap();
    assert!(collection.brake.is_none() && !collection.plan.is_empty());
    collection
}

fn swept(registry: &Registry, seen: &Collection, quarantine: bool, watch: &dyn Watch) -> Result<Swept, SweepError> {
    let options =
        sweep::Options { command: "gc", quarantine, delete_untagged: true, deleters: 1, window_began: Instant::now() };
    sweep(registry, &seen.inventory, &seen.plan, options, &Findings::default(), watch)
}

/// ```text
/// team/app     v1 => M, v0 => M0     loose, old: untagged, both go
/// team/bare    loose: untagged, goes; no tags at all
///              orphan: goes
/// ```
fn tree() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v0");
    app.image("v1");
    app.untagged("loose");
    app.untagged("old");
    tree.repository("team/bare").untagged("loose");
    tree.orphan("orphan");
    // Whatever is written from here on has another time.
    std::thread::sleep(Duration::from_millis(20));
    tree
}

/// What is there before the run, and the registry as a run opens it.
fn opened(tree: &Mutex<Tree>) -> (BTreeSet<String>, Registry) {
    let tree = tree.lock().unwrap();
    (tree.objects(), Registry::open(&tree.root()).unwrap())
}

/// What a writer does, by its name.
type Writing = (&'static str, fn(&Tree));

/// The same image as the builder makes for `untagged("loose")`.
fn loose(tree: &Tree, repository: &str) -> Manifest {
    let words = format!("{repository} loose");
    let loose = Manifest::docker(&words, &[&words]);
    assert!(tree.data(&loose.digest).exists(), "the scenario has this image");
    loose
}

/// There is no folder of tags before.
fn first_tag(tree: &Tree) {
    let loose = loose(tree, "team/bare");
    tree.repository("team/bare").push_tagged("first", &loose);
}

const WRITINGS: &[Writing] = &[
    ("a new image", |tree| tree.repository("team/app").push_tagged("new", &Manifest::docker("new", &["new"]))),
    ("a new image without a tag", |tree| tree.repository("team/app").push(&Manifest::docker("new", &["new"]))),
    ("a layer", |tree| _ = tree.repository("team/app").stray_layer("new")),
    ("a new repository", |tree| _ = tree.repository("other").image("v1")),
    ("a new repository in a namespace", |tree| _ = tree.repository("team/new").image("v1")),
    ("a new repository below a repository", |tree| _ = tree.repository("team/app/below").image("v1")),
    ("a tag that moves", |tree| {
        let app = tree.repository("team/app");
        app.push_tagged("v1", &loose(tree, "team/app"));
    }),
    ("a tag that moves back, all in place", |tree| {
        let v0 = fs::read(tree.repository("team/app").current("v0")).unwrap();
        fs::write(tree.repository("team/app").current("v1"), v0).unwrap();
    }),
    ("an untagged image again, all in place", |tree| {
        let loose = loose(tree, "team/app");
        tree.repository("team/app").push(&loose);
    }),
];

#[test]
fn t20_a_push_between_scan_and_sweep_stops_the_run() {
    for (what, write) in WRITINGS.iter().chain(&[("the first tag of a repository", first_tag as fn(&Tree))]) {
        println!("{what}");
        let tree = tree();
        let registry = Registry::open(&tree.root()).unwrap();
        let seen = scanned(&registry);
        write(&tree);
        let (pushed, delivered) = (tree.fingerprint().files(), tree.deliverable(true));
        let error = swept(&registry, &seen, false, &Unwatched).expect_err(what);
        assert!(matches!(error, SweepError::Changed { .. }), "{what}: {error}");
        assert_eq!(pushed.changes_to(&tree.fingerprint().files()), Vec::<String>::new(), "{what}: nothing was touched");
        assert_eq!(tree.deliverable(true), delivered, "{what}");
    }
}

/// Somebody writes at the moment at which the links begin to go: it is seen before the first blob goes, and all links
/// are put back.
fn is_seen_while_links_go(what: &str, write: fn(&Tree)) {
    println!("{what}");
    let tree = Mutex::new(tree());
    let (before, registry) = opened(&tree);
    let seen = scanned(&registry);
    let mut pushed = BTreeSet::new();
    let watch = at(Phase::Links, || {
        let tree = tree.lock().unwrap();
        write(&tree);
        pushed = tree.deliverable(true);
    });
    let error = swept(&registry, &seen, false, &watch).expect_err(what);
    let tree = tree.lock().unwrap();
    assert!(matches!(error, SweepError::ChangedMeanwhile { items: 1.., .. }), "{what}: {error}");
    assert!(before.is_subset(&tree.objects()), "{what}: everything is back");
    assert_eq!(tree.deliverable(true), pushed, "{what}");
    // Nothing is left for the next run to put back.
    let run = support::scenario::gc(&tree, &["--registry-stopped"]);
    assert!(!run.report().has_finding("cut off"), "{what}: {}", run.text());
}

#[test]
fn t20_a_push_while_links_go_puts_everything_back() {
    for (what, write) in WRITINGS {
        is_seen_while_links_go(what, *write);
    }
}

#[test]
fn t20_the_first_tag_of_a_repository_is_seen_too() {
    is_seen_while_links_go("the first tag of a repository", first_tag);
}

/// References die before referents: when the first blob goes, no link of the plan is left, and all blobs are there.
#[test]
fn t20_no_blob_goes_before_the_last_link_has_gone() {
    for quarantine in [false, true] {
        let tree = Mutex::new(tree());
        let (before, registry) = opened(&tree);
        let seen = scanned(&registry);
        let loose = loose(&tree.lock().unwrap(), "team/app");
        let mut looked = 0;
        let watch = at(Phase::Blobs, || {
            let tree = tree.lock().unwrap();
            let (app, now) = (tree.repository("team/app"), tree.objects());
            let gone: Vec<&String> = before.difference(&now).filter(|object| object.starts_with("blob ")).collect();
            assert_eq!(gone, Vec::<&String>::new(), "no blob has gone yet");
            assert!(!now.contains(&app.revision_object(&loose.digest)));
            assert!(!loose.blobs.iter().any(|blob| now.contains(&app.layer_object(&blob.digest))));
            looked += 1;
        });
        swept(&registry, &seen, quarantine, &watch).unwrap();
        assert_eq!(looked, 1);
        assert!(!tree.lock().unwrap().objects().contains(&blob_object(&loose.digest)));
    }
}

/// The registry's own purger takes stale uploads away at any time: what is gone already is no failure, and not counted.
#[test]
fn t22_what_somebody_else_has_removed_is_no_failure() {
    let tree = tree();
    let app = tree.repository("team/app");
    let [purged, stale] = ["purged", "stale"].map(|id| app.upload(id, Duration::from_secs(9_000_000)));
    let registry = Registry::open(&tree.root()).unwrap();
    let seen = scanned(&registry);
    assert_eq!(seen.plan.totals().uploads.count, 2);
    fs::remove_dir_all(purged).unwrap();
    let swept = swept(&registry, &seen, false, &Unwatched).unwrap();
    assert!(swept.is_complete && !stale.exists());
    assert_eq!((swept.removed.uploads.count, swept.removed.blobs), (1, seen.plan.totals().blobs));
    assert_eq!(support::scenario::gc(&tree, &["-m", "--registry-stopped"]).report().actions(), Vec::new());
}

/// The one step that cannot be undone comes after the mark that says so: a crash before it can still be put back.
#[test]
fn t27_the_trash_is_deleted_only_after_the_mark() {
    let tree = Mutex::new(tree());
    let (_, registry) = opened(&tree);
    let seen = scanned(&registry);
    let mut looked = 0;
    let watch = at(Phase::Purge, || {
        let runs = fs::read_dir(tree.lock().unwrap().regsweep().join("runs")).unwrap();
        for run in runs {
            let journal = fs::read_to_string(run.unwrap().path().join("journal.jsonl")).unwrap();
            assert!(journal.lines().last().unwrap().contains("\"event\":\"swept\""), "no mark yet:\n{journal}");
            let planned = journal.lines().filter(|line| line.contains("\"event\":\"plan\"")).count();
            assert_eq!(planned, seen.plan.actions().count(), "every action is in the journal");
            looked += 1;
        }
    });
    swept(&registry, &seen, false, &watch).unwrap();
    assert_eq!(looked, 1);
}
