//! What stops a run that is otherwise in order, and what is too young to go.

use std::fs;

use serde_json::Value;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::{collect, gc, gc_arguments, refuses};
use crate::support::tree::{Blob, Manifest, Tree, blob_object};
use crate::{HOUR, and, blobs_and_links, control};

/// Six repositories, one image each.
fn six() -> Tree {
    let tree = Tree::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        tree.repository(name).image("v1");
    }
    tree
}

/// A volume of which half is not mounted looks like a registry from which half has been removed.
#[test]
fn t02_fewer_than_half_of_the_repositories_of_the_last_run_are_refused() {
    let tree = six();
    gc(&tree, &["--registry-stopped"]).exits(0);
    for name in ["a", "b", "c"] {
        tree.remove(&tree.repository(name).folder());
    }
    // Half of them: collected, and from now on three are the measure.
    let half = gc(&tree, &["--registry-stopped", "--quarantine"]);
    half.exits(0);
    for name in ["d", "e"] {
        tree.remove(&tree.repository(name).folder());
    }
    let refused = refuses(&tree, &[]);
    assert!(refused.says("1 repository is there, and the last completed run saw 3"), "{}", refused.stderr);
    assert!(refused.says("--accept-shrink"), "{}", refused.stderr);
    let before = tree.fingerprint();
    let dry = gc(&tree, &["--dry-run"]);
    dry.exits(4);
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
    assert!(dry.stderr.contains("a sweep would be refused: 1 repository is"), "{}", dry.stderr);

    // On purpose: it goes on, and the next run needs no flag.
    gc(&tree, &["--dry-run", "--accept-shrink"]).exits(0);
    gc(&tree, &["--registry-stopped", "--accept-shrink"]).exits(0);
    gc(&tree, &["--registry-stopped"]).exits(0);
}

/// What the last run saw and cannot be read is not the same as no last run.
#[test]
fn t02_a_history_that_cannot_be_read_is_not_none() {
    let tree = six();
    gc(&tree, &["--registry-stopped"]).exits(0);
    let history = tree.regsweep().join("history.jsonl");
    for rubbish in [true, false] {
        let broken = if rubbish {
            tree.replace(&history, b"rubbish\n");
            None
        } else {
            Some(tree.unreadable(&history))
        };
        let refused = refuses(&tree, &[]);
        assert!(refused.says("history.jsonl cannot be read"), "{}", refused.stderr);
        // A dry run touches nothing, whatever it is compared with.
        let dry = gc(&tree, &["--dry-run"]);
        dry.exits(0);
        assert!(dry.report().has("warning", "cannot be compared with the last completed run"), "{}", dry.text());
        if let Some(broken) = broken {
            broken.mend();
        }
    }
    gc(&tree, &["--registry-stopped", "--accept-shrink"]).exits(0);
    gc(&tree, &["--registry-stopped"]).exits(0);
}

/// A run that was refused or stopped is not the measure of the next one.
#[test]
fn t02_a_refused_run_is_not_the_measure() {
    let tree = six();
    gc(&tree, &["--registry-stopped"]).exits(0);
    for name in ["a", "b", "c", "d"] {
        tree.remove(&tree.repository(name).folder());
    }
    refuses(&tree, &[]);
    refuses(&tree, &[]);
    let lines = fs::read_to_string(tree.regsweep().join("history.jsonl")).unwrap();
    let seen: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(seen.len(), 3);
    for refused in &seen[1..] {
        assert_eq!((&refused["outcome"], &refused["repositories"]), (&"refused".into(), &Value::Null));
    }
    assert_eq!((&seen[0]["repositories"], &seen[0]["tags"], &seen[0]["blobs"]), (&6.into(), &6.into(), &19.into()));
}

/// Four blobs of an image that stays, one orphan: one of five, 20 %.
#[test]
fn more_blobs_than_max_delete_allows_are_refused() {
    let tree = Tree::new();
    tree.repository("app").image("v1");
    let orphan = tree.orphan("orphan");
    for allowed in ["0", "19", "19.9%"] {
        let refused = refuses(&tree, &["--max-delete", allowed]);
        assert!(refused.says("1 of 5 blobs would go (20.0 %)"), "{}", refused.stderr);
        // The dry run shows what would go all the same.
        let dry = gc(&tree, &["--dry-run", "--max-delete", allowed]);
        dry.exits(4);
        assert_eq!(dry.report().outcome(), "refused");
        assert_eq!(dry.report().count("garbage", "blobs"), 1);
        assert_eq!(dry.report().garbage_blobs().into_iter().collect::<Vec<_>>(), [blob_object(&orphan.digest)]);
        let human = finish(regsweep(&["gc", "-d", "--max-delete", allowed, tree.root().to_str().unwrap()]));
        assert!(human.text().contains("Would free"), "{}", human.text());
    }
    let run = gc(&tree, &["--max-delete", "101", "--registry-stopped"]);
    run.exits(2);
    collect(&tree, &["--max-delete", "20"]).exits(0).removes(&[blob_object(&orphan.digest)]);
}

/// ```text
/// team/app    v1 => M       (untagged) old -> O      stray layer S       orphan, orphan two
/// ```
/// Everything is ten days old; then one thing at a time is touched.
#[test]
fn what_is_younger_than_min_age_stays() {
    let flags = &["-m", "--min-age", "24h"];
    let scene = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let old = app.untagged("old");
        let stray = app.stray_layer("stray");
        let orphan = tree.orphan("orphan");
        tree.age(240 * HOUR);
        (tree, old, stray, orphan)
    };
    let all = |tree: &Tree, old: &Manifest, stray: &Blob, orphan: &Blob| {
        let app = tree.repository("team/app");
        let stray = [blob_object(&stray.digest), app.layer_object(&stray.digest)];
        and(and(app.objects_of(old), stray), [blob_object(&orphan.digest)])
    };
    let without = |objects: Vec<String>, kept: &[String]| -> Vec<String> {
        objects.into_iter().filter(|object| !kept.contains(object)).collect()
    };

    // Nothing is young: everything goes.
    let (tree, old, stray, orphan) = scene();
    let garbage = all(&tree, &old, &stray, &orphan);
    collect(&tree, flags).exits(0).removes(&garbage);

    // A blob that is young.
    let (tree, old, stray, orphan) = scene();
    tree.set_age(&tree.data(&orphan.digest), HOUR);
    let kept = [blob_object(&orphan.digest)];
    let run = collect(&tree, flags);
    run.exits(0).removes(&without(all(&tree, &old, &stray, &orphan), &kept)).keeps(&kept);
    assert_eq!(run.dry.0["scanned"]["young_blobs_kept"], 1);

    // A blob that is old, and a link to it that is young: both stay.
    let (tree, old, stray, orphan) = scene();
    let app = tree.repository("team/app");
    tree.set_age(&app.layer(&stray.digest).join("link"), HOUR);
    let kept = [blob_object(&stray.digest), app.layer_object(&stray.digest)];
    collect(&tree, flags).exits(0).removes(&without(all(&tree, &old, &stray, &orphan), &kept)).keeps(&kept);

    // The same, mounted from another repository an hour ago: every link to it stays.
    let (tree, old, stray, orphan) = scene();
    let (app, other) = (tree.repository("team/app"), tree.repository("team/other"));
    other.link_layer(&stray.digest);
    let kept = [blob_object(&stray.digest), app.layer_object(&stray.digest), other.layer_object(&stray.digest)];
    collect(&tree, flags).exits(0).removes(&without(all(&tree, &old, &stray, &orphan), &kept)).keeps(&kept);

    // A young link of an untagged manifest, or the manifest itself: it stays with everything that it references.
    for by_link in [true, false] {
        let (tree, old, stray, orphan) = scene();
        let app = tree.repository("team/app");
        let young = if by_link { app.revision(&old.digest).join("link") } else { tree.data(&old.digest) };
        tree.set_age(&young, HOUR);
        let kept = app.objects_of(&old);
        collect(&tree, flags).exits(0).removes(&without(all(&tree, &old, &stray, &orphan), &kept)).keeps(&kept);
    }

    // The future is young: a clock that was wrong keeps more.
    let (tree, old, stray, orphan) = scene();
    let tomorrow = std::time::SystemTime::now() + 24 * HOUR;
    fs::File::open(tree.data(&orphan.digest)).unwrap().set_modified(tomorrow).unwrap();
    let kept = [blob_object(&orphan.digest)];
    collect(&tree, flags).exits(0).removes(&without(all(&tree, &old, &stray, &orphan), &kept)).keeps(&kept);
}

/// A link whose age cannot be seen is young.
#[test]
fn t06_a_link_whose_age_cannot_be_seen_is_young() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let stray = app.stray_layer("stray");
    let garbage = control(&tree);
    tree.age(240 * HOUR);
    let broken = tree.unreadable(&app.layer(&stray.digest).join("link"));
    let run = collect(&tree, &["--min-age", "1h"]);
    run.removes(&garbage).keeps(&[blob_object(&stray.digest)]);
    assert!(run.real.has("warning", "nobody knows how old it is"), "{}", run.real.0["findings"]);
    broken.mend();
    collect(&tree, &["--min-age", "1h"]).removes(&[blob_object(&stray.digest), app.layer_object(&stray.digest)]);
}

/// Without the flag age is no matter.
#[test]
fn without_min_age_what_is_new_goes_too() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let run = collect(&tree, &["-m"]);
    run.removes(&and(vec![app.revision_object(&old.digest), blob_object(&old.digest)], blobs_and_links(&app, &old)));
    assert_eq!(run.dry.0["scanned"]["young_blobs_kept"], 0);
    assert_eq!(finish(regsweep(&gc_arguments(&tree.root(), &["-d", "--min-age", "soon"]))).code, 2);
}

/// Where the tags are elsewhere (in a database, on a volume that is not mounted) all that is there is untagged.
#[test]
fn t60_where_nothing_is_tagged_nothing_is_untagged() {
    let tree = six();
    for name in ["a", "b", "c", "d", "e", "f"] {
        tree.remove(&tree.repository(name).folder().join("_manifests/tags"));
    }
    // Without being asked for untagged manifests it has no reason to stop.
    let kept = gc(&tree, &["--dry-run"]);
    kept.exits(0);
    let refused = refuses(&tree, &["--delete-untagged"]);
    assert!(refused.says("6 revisions are there and not one tag"), "{}", refused.stderr);
    assert!(refused.says("--accept-shrink"), "{}", refused.stderr);
    let before = tree.fingerprint();
    let dry = gc(&tree, &["--dry-run", "--delete-untagged"]);
    dry.exits(4);
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
    assert!(!dry.report().garbage_blobs().is_empty(), "it shows what would go: {}", dry.text());

    // One tag is enough to show that they are here.
    tree.repository("a").image("v1");
    gc(&tree, &["--dry-run", "--delete-untagged"]).exits(0);
    tree.remove(&tree.repository("a").folder().join("_manifests/tags"));
    // On purpose; and where nothing is left there is nothing to stop.
    gc(&tree, &["--registry-stopped", "--delete-untagged", "--accept-shrink"]).exits(0);
    gc(&tree, &["--registry-stopped", "--delete-untagged"]).exits(0);
}
