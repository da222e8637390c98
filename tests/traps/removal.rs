//! `regsweep rm`: what was named goes, what belongs to it goes with it, and nothing else (T13, T15, T53).

use std::collections::BTreeSet;
use std::fs;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::{gc, restore, rm};
use crate::support::tree::{Manifest, Tree};
use crate::{HOUR, and};

/// Removes, and holds the run to what it owes: the dry run names the same and changes nothing; exactly what is named
/// goes; what can still be named can still be pulled; the next collection frees as much as was said; and before that,
/// `trash restore` brings everything back.
fn removes(tree: &Tree, names: &[&str], flags: &[&str], gone: &[String]) {
    let expected: BTreeSet<String> = gone.iter().cloned().collect();
    let before = tree.fingerprint();
    let (objects, delivered) = (tree.objects(), tree.deliverable(true));
    let dry_run = rm(tree, &[&["--dry-run"], flags].concat(), names);
    let dry = dry_run.report();
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new(), "a dry run changes nothing");
    assert_eq!(dry.0["command"], "rm");

    for is_restored in [true, false] {
        let run = rm(tree, &[&["--registry-stopped"], flags].concat(), names);
        run.exits(dry_run.code);
        let report = run.report();
        assert_eq!(report.actions(), dry.actions(), "the dry run names what the real run does");
        let named: BTreeSet<String> = report.actions().into_iter().map(|action| action.object).collect();
        let explain = |set: &BTreeSet<String>| set.iter().map(|it| tree.explain(it)).collect::<Vec<_>>();
        assert_eq!(explain(&named), explain(&expected));
        for action in report.actions().iter().filter(|action| action.kind != "layer_link") {
            assert_eq!(action.reason, "deleted", "{}", tree.explain(&action.object));
        }
        // Whatever goes was told before.
        for action in report.actions() {
            let digest = action.object.rsplit(' ').next().unwrap();
            assert!(run.stderr.contains(digest), "{}: {}", action.object, run.stderr);
        }
        let left = tree.objects();
        let missing: BTreeSet<String> = objects.difference(&left).cloned().collect();
        assert!(missing.iter().all(|object| named.iter().any(|it| object.starts_with(it.as_str()))), "{missing:#?}");
        assert!(named.iter().all(|object| !left.contains(object)));
        assert!(!missing.iter().any(|object| object.starts_with("blob ")), "blobs are for the next collection");
        let is_named = |who: &str| match who.split_once('@') {
            Some((name, digest)) => named.contains(&format!("{name} revision {digest}")),
            None => who.rsplit_once(':').is_some_and(|(name, tag)| named.contains(&format!("{name} tag {tag}"))),
        };
        let now = tree.deliverable(true);
        let lost: Vec<String> = delivered
            .difference(&now)
            .filter(|fact| !is_named(fact.split(" gets ").next().unwrap()))
            .map(|fact| tree.explain(fact))
            .collect();
        assert_eq!(lost, Vec::<String>::new(), "lost");
        if is_restored {
            restore(tree, report.run(), &[]).exits(0);
            assert_eq!(tree.objects(), objects);
            assert_eq!(tree.deliverable(true), delivered);
            continue;
        }
        let next = gc(tree, &["--registry-stopped"]).report();
        let said = &report.0["next_gc"];
        assert_eq!(next.bytes("removed", "blobs"), said["blobs"]["bytes"].as_u64().unwrap(), "{said}");
        assert_eq!(next.bytes("removed", "uploads"), said["uploads"]["bytes"].as_u64().unwrap(), "{said}");
        assert_eq!(tree.deliverable(true), now);
    }
}

/// ```text
/// team/app   v1, latest => M        one of them goes, the other stays, and so does M
///            v2 => N
/// ```
#[test]
fn t15_removing_a_tag_by_name_leaves_its_sibling_alone() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    app.tag("latest", &image);
    app.image("v2");
    // Garbage of before is for the next collection, in this repository and elsewhere.
    tree.orphan("orphan");
    for repository in [&app, &tree.repository("other")] {
        repository.delete_by_api(&repository.untagged("deleted"));
        repository.stray_layer("stray");
        repository.upload("stale", HOUR * 400);
        let by_hand = repository.image("by-hand");
        repository.delete_by_hand("by-hand", &by_hand);
    }
    removes(&tree, &["team/app:v1"], &[], &[app.tag_object("v1")]);
}

/// An image goes with its last tag, with its platforms and its signature; what they share with others stays.
#[test]
fn t15_an_image_goes_with_its_last_tag() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (own, shared) = (Manifest::docker("own", &["own", "base"]), Manifest::docker("shared", &["shared"]));
    app.push(&own);
    app.push(&shared);
    let index = app.index("v1", &[&own, &shared]);
    app.index("v2", &[&shared]);
    let (tag, signature) = app.cosign(&own, "sig");
    app.cosign(&shared, "sig");
    let loose = app.untagged("loose");
    let gone = [&index, &own, &signature].map(|manifest| app.revision_object(&manifest.digest));
    removes(&tree, &["team/app:v1"], &[], &and(gone.to_vec(), [app.tag_object("v1"), app.tag_object(&tag)]));
    assert!(tree.objects().contains(&app.revision_object(&loose.digest)), "it was untagged before");
}

#[test]
fn t15_a_manifest_goes_with_every_tag_that_points_at_it() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    app.tag("latest", &image);
    let other = app.image("v2");
    app.tag("moved", &image);
    app.tag("moved", &other);
    let name = format!("team/app@{}", image.digest);
    let gone = vec![
        app.tag_object("v1"),
        app.tag_object("latest"),
        app.revision_object(&image.digest),
        app.history_object("moved", &image.digest),
    ];
    removes(&tree, &[&name], &[], &gone);
}

/// A part of an image that stays cannot go by itself.
#[test]
fn t14_a_platform_of_a_tagged_index_cannot_be_removed() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let amd64 = Manifest::docker("amd64", &["amd64"]);
    app.push(&amd64);
    let index = app.index("multi", &[&amd64]);
    let before = tree.fingerprint().files();
    let name = format!("team/app@{}", amd64.digest);
    for flags in [&["--dry-run"][..], &["--registry-stopped"]] {
        let run = rm(&tree, flags, &[&name]);
        run.exits(4);
        let said = format!("is a part of {} (team/app:multi), which stays", index.digest);
        assert!(run.stderr.contains(&said), "{}", run.stderr);
    }
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    // Both at once is another matter.
    let (tag, index, amd64) =
        (app.tag_object("multi"), app.revision_object(&index.digest), app.revision_object(&amd64.digest));
    removes(&tree, &[&name, "team/app:multi"], &[], &[tag, index, amd64]);
}

/// ```text
/// team             v1                      goes alone, or with
/// team/app         v1, upload in progress  everything below it
/// team/app/cache   untagged
/// teams            v1                      another name
/// ```
#[test]
fn t13_a_repository_goes_whole_and_what_is_below_it_only_if_it_is_asked_for() {
    let make = || {
        let tree = Tree::new();
        tree.repository("team").image("v1");
        tree.repository("team/app").image("v1");
        tree.repository("team/app").upload("fresh", HOUR);
        tree.repository("team/app").upload("stale", HOUR * 400);
        tree.repository("team/app/cache").untagged("old");
        tree.repository("teams").image("v1");
        tree
    };
    let all_of = |tree: &Tree, name: &str| {
        let prefix = format!("{name} ");
        let mut objects: Vec<String> =
            tree.objects().into_iter().filter(|object| object.starts_with(&prefix)).collect();
        // What goes with something else is not named by itself.
        objects.retain(|object| !object.contains(" history "));
        objects.push(name.to_owned());
        objects
    };
    let tree = make();
    removes(&tree, &["team"], &[], &all_of(&tree, "team"));
    assert!(tree.repository("team/app").folder().exists());
    let tree = make();
    let all = ["team", "team/app", "team/app/cache"].into_iter().flat_map(|name| all_of(&tree, name));
    removes(&tree, &["team"], &["--recursive"], &all.collect::<Vec<_>>());
    assert!(!tree.repository("team").folder().exists() && tree.repository("teams").folder().exists());

    // A namespace is no repository.
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    tree.repository("team/web").image("v1");
    tree.repository("other").image("v1");
    let run = rm(&tree, &["--registry-stopped"], &["team"]);
    run.exits(1);
    assert!(run.stderr.contains("team is no repository, but a namespace of 2 repositories: --recursive"));
    let all = ["team/app", "team/web"].into_iter().flat_map(|name| all_of(&tree, name));
    removes(&tree, &["team/"], &["-r"], &all.collect::<Vec<_>>());
    assert!(!tree.repository("team").folder().exists(), "nothing is left in the namespace");
}

/// Several at once, and one of them is not there: nothing goes.
#[test]
fn t15_what_is_not_there_is_an_error_with_the_nearest_names() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1.0");
    app.image("v1.1");
    let unknown = Manifest::docker("unknown", &["unknown"]).digest;
    let almost = format!("{}{}", &image.digest[..70], if image.digest.ends_with('0') { "1" } else { "0" });
    let before = tree.fingerprint().files();
    for (name, said) in [
        ("team/app:v1.2", "team/app has no tag v1.2 (did you mean v1.0 or v1.1?)".to_owned()),
        ("team/ap:v1.0", "there is no repository team/ap (did you mean team/app?)".to_owned()),
        ("app", "there is no repository app (did you mean team/app?)".to_owned()),
        (&format!("team/app@{unknown}"), format!("team/app has no manifest {unknown}")),
        (&format!("team/app@{almost}"), format!("(did you mean {}?)", image.digest)),
    ] {
        for flags in [&["--dry-run"][..], &["--registry-stopped"], &["--registry-stopped", "--collect"]] {
            let run = rm(&tree, flags, &["team/app:v1.0", name]);
            run.exits(1);
            assert!(run.stderr.contains(&said), "{name}: {}", run.stderr);
            assert_eq!(run.report().outcome(), "refused");
        }
    }
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    for wrong in ["team/app@sha256:12", "team/app:", "../app", "localhost:5000/team/app:v1"] {
        rm(&tree, &["--registry-stopped"], &[wrong]).exits(2);
    }
}

#[test]
fn t16_nothing_is_removed_without_evidence() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    let before = tree.fingerprint();
    let run = rm(&tree, &[], &["team/app:v1"]);
    run.exits(4);
    assert_eq!(run.report().outcome(), "refused");
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
}

/// With `--collect` the bytes are free at once, and what was garbage before goes too.
#[test]
fn t15_what_is_collected_at_once_is_what_the_next_collection_would_take() {
    let make = || {
        let tree = Tree::new();
        tree.repository("team/app").image("v1");
        tree.repository("team/app").image("v2");
        tree.orphan("orphan");
        tree
    };
    let tree = make();
    let dry = rm(&tree, &["--dry-run"], &["team/app:v1"]).report();
    assert_eq!(dry.count("garbage", "blobs"), 0);
    let (all, by_name) = (&dry.0["next_gc"]["blobs"], &dry.0["next_gc"]["of_these_names"]);
    assert!(all["count"].as_u64().unwrap() == 4 && by_name["count"].as_u64().unwrap() == 3, "{all} {by_name}");
    let delivered = tree.deliverable(true);
    let run = rm(&tree, &["--registry-stopped", "--collect"], &["team/app:v1"]).report();
    assert_eq!(run.bytes("removed", "blobs"), all["bytes"].as_u64().unwrap());
    let lost: Vec<String> = delivered.difference(&tree.deliverable(true)).cloned().collect();
    let app = tree.repository("team/app");
    let gone = run.actions_of("revision");
    assert!(lost.iter().all(|fact| fact.starts_with("team/app:v1 ") || gone.iter().any(|it| fact.contains(&it[18..]))));
    assert!(!tree.objects().contains(&app.tag_object("v1")));
    assert_eq!(gc(&tree, &["--registry-stopped"]).report().actions(), []);
    let trash = finish(regsweep(&["trash", "list", tree.root().to_str().unwrap()].map(str::to_owned)));
    assert!(String::from_utf8(trash.stdout).unwrap().contains("empty"));

    let tree = make();
    let objects = tree.objects();
    let run = rm(&tree, &["--registry-stopped", "--collect", "--quarantine"], &["team/app:v1"]).report();
    restore(&tree, run.run(), &[]).exits(0);
    assert_eq!(tree.objects(), objects);
}

/// What a run has put aside needs what a later run has taken. To put it back would make a tag that cannot be pulled.
///
/// ```text
/// 1  rm team/app:v1        its links are in the trash, its blobs in the registry
/// 2  gc                    takes the blobs
/// 3  trash restore         refuses
/// ```
#[test]
fn t53_what_later_runs_have_taken_from_is_not_put_back() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    app.image("v2");
    let run = rm(&tree, &["--registry-stopped"], &["team/app:v1"]).report();
    gc(&tree, &["--registry-stopped"]).exits(0);
    let before = tree.fingerprint().files();
    let refused = restore(&tree, run.run(), &[]);
    refused.exits(4);
    assert!(refused.stderr.contains(&format!("team/app@{} lacks", image.digest)), "{}", refused.stderr);
    assert!(refused.stderr.contains("--allow-missing"), "{}", refused.stderr);
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    restore(&tree, run.run(), &["--allow-missing"]).exits(0);
    assert!(tree.objects().contains(&app.tag_object("v1")));
}

/// The same with two collections: the first put an image aside, the second took the layer that it shared; or only the
/// link to it, where another repository still needs the layer itself.
#[test]
fn t53_a_shared_layer_that_a_later_run_has_taken_is_missed() {
    for is_needed_elsewhere in [false, true] {
        a_shared_layer_is_missed(is_needed_elsewhere);
    }
}

fn a_shared_layer_is_missed(is_needed_elsewhere: bool) {
    let tree = Tree::new();
    if is_needed_elsewhere {
        tree.repository("other").image_with_layers("v1", &["shared"]);
    }
    let app = tree.repository("team/app");
    let first = app.untagged_with_layers("first", &["shared", "own"]);
    let second = app.image_with_layers("second", &["shared"]);
    app.image("keep");
    let run = gc(&tree, &["--registry-stopped", "-m", "--quarantine"]).report();
    assert_eq!(run.actions_of("revision").len(), 1);
    restore(&tree, run.run(), &[]).exits(0);
    let run = gc(&tree, &["--registry-stopped", "-m", "--quarantine"]).report();
    fs::remove_dir_all(app.tag_folder("second")).unwrap();
    gc(&tree, &["--registry-stopped", "-m"]).exits(0);
    let refused = restore(&tree, run.run(), &[]);
    refused.exits(4);
    let shared = second.blobs.iter().find(|blob| first.blobs.iter().any(|it| it.digest == blob.digest)).unwrap();
    assert!(refused.stderr.contains(&format!("@{} lacks {}", first.digest, shared.digest)), "{}", refused.stderr);
}

/// What is damaged can be taken out by name: that is how a registry is mended. While something else is damaged in the
/// same repository, only the tag goes; whoever names all of it at once is rid of it.
#[test]
fn t07_what_is_damaged_can_be_removed() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("whole");
        let (damaged, missing) = (app.image("damaged"), app.image("missing"));
        app.image("empty");
        fs::write(tree.data(&damaged.digest), b"{").unwrap();
        fs::remove_dir_all(tree.blob(&missing.digest)).unwrap();
        fs::write(app.current("empty"), b"").unwrap();
        (tree, [damaged, missing].map(|manifest| format!("team/app@{}", manifest.digest)))
    };
    let (tree, digests) = make();
    let app = tree.repository("team/app");
    gc(&tree, &["--dry-run"]).exits(3);
    for tag in ["damaged", "missing", "empty"] {
        let report = rm(&tree, &["--registry-stopped"], &[&format!("team/app:{tag}")]).report();
        assert_eq!(report.actions().len(), 1, "{tag}: {}", report.0);
        assert_eq!(report.tainted().len(), 1, "{tag}: {}", report.0);
        assert!(!app.tag_folder(tag).exists());
    }
    rm(&tree, &["--registry-stopped"], &digests[..1].iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    rm(&tree, &["--registry-stopped"], &digests[1..].iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    gc(&tree, &["--registry-stopped"]).exits(0);

    let (tree, _) = make();
    let app = tree.repository("team/app");
    let delivered = tree.deliverable(false);
    let run = rm(&tree, &["--registry-stopped"], &["team/app:damaged", "team/app:missing", "team/app:empty"]);
    run.exits(0);
    assert_eq!(run.report().actions_of("revision").len(), 2);
    gc(&tree, &["--registry-stopped"]).exits(0);
    let lost: Vec<String> = delivered.difference(&tree.deliverable(false)).cloned().collect();
    assert!(lost.iter().all(|fact| !fact.starts_with("team/app:whole ")), "{lost:?}");
    assert!(app.tag_folder("whole").exists());
}

/// Whoever names a whole repository wants nothing of it, whatever is wrong in it.
#[test]
fn t07_a_repository_goes_with_all_that_is_damaged_in_it() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let kept = tree.repository("other").image("v1");
    let (damaged, emptied, missing) = (app.image("damaged"), app.image("emptied"), app.untagged("missing"));
    app.image("garbled");
    app.image("cut-off");
    fs::write(tree.data(&damaged.digest), b"{").unwrap();
    fs::write(app.revision(&emptied.digest).join("link"), b"").unwrap();
    fs::remove_dir_all(tree.blob(&missing.digest)).unwrap();
    fs::write(app.current("garbled"), b"sha256:12").unwrap();
    fs::remove_file(app.current("cut-off")).unwrap();
    gc(&tree, &["--dry-run"]).exits(3);
    rm(&tree, &["--registry-stopped"], &["team/app"]).exits(0);
    assert!(!app.folder().exists());
    let run = gc(&tree, &["--registry-stopped"]);
    run.exits(0);
    assert!(tree.objects().is_superset(&tree.repository("other").objects_of(&kept).into_iter().collect()));
}

/// The next collection does not take what somebody removed for what has vanished.
#[test]
fn t02_repositories_that_were_removed_by_name_are_not_missed() {
    let tree = Tree::new();
    for n in 0..6 {
        tree.repository(&format!("team/app{n}")).image("v1");
    }
    tree.repository("other").image("v1");
    gc(&tree, &["--registry-stopped"]).exits(0);
    rm(&tree, &["--registry-stopped", "-r"], &["team"]).exits(0);
    gc(&tree, &["--registry-stopped"]).exits(0);
}

/// What nobody knows stays, and so does the folder around it; that is said.
#[test]
fn t30_a_repository_with_a_strangers_file_does_not_go_whole() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    tree.repository("other").image("v1");
    let file = app.folder().join("README");
    fs::write(&file, b"mine").unwrap();
    let run = rm(&tree, &["--registry-stopped"], &["team/app"]);
    run.exits(0);
    assert!(run.report().has("warning", "its folder stays"), "{}", run.text());
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert!(!app.tag_folder("v1").exists());
}
