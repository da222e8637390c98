//! Retention: which tags stay, and what goes with the others (T15, T33-T37).

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::support::scenario::{collect, gc, refuses, select};
use crate::support::tree::{Blob, Manifest, Repository, Tree, set_time};
use crate::{HOUR, and, control};

const DAY: Duration = Duration::from_secs(86_400);

/// A policy beside the tree.
fn policy(tree: &Tree, text: &str) -> PathBuf {
    let path = tree.beside().join("policy.yml");
    fs::write(&path, text).unwrap();
    path
}

fn tags(repository: &Repository<'_>, tags: &[&str]) -> Vec<String> {
    tags.iter().map(|tag| repository.tag_object(tag)).collect()
}

/// An image whose config says that it was created then.
fn created(words: &str, at: &str) -> Manifest {
    let config = Blob::new(format!(r#"{{"created":"{at}","os":"linux","words":"{words}"}}"#).into_bytes());
    let layer = Blob::layer(words);
    let descriptor = |blob: &Blob| format!(r#"{{"digest":"{}","size":{}}}"#, blob.digest, blob.bytes.len());
    let (first, second) = (descriptor(&config), descriptor(&layer));
    let json = format!(r#"{{"schemaVersion":2,"config":{first},"layers":[{second}]}}"#);
    let mut image = Manifest::raw(json);
    image.blobs = vec![config, layer];
    image
}

/// A tag that goes takes its image along, and nothing else: what was untagged before stays.
///
/// ```text
/// team/app   v1 => M1 -> base, L1        goes, and L1 with it
///            v2 => M2 -> base, L2        stays
///                  loose                 untagged before: stays without -m
/// ```
#[test]
fn t35_what_a_tag_led_to_goes_with_it() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_ago("v1", DAY);
    let v2 = app.image("v2");
    let loose = app.untagged("loose");
    let base = v2.blobs.iter().find(|blob| v1.blobs.iter().any(|other| other.digest == blob.digest)).unwrap();
    let objects = app.objects_of(&v1).into_iter().filter(|object| !object.contains(&base.digest));
    let gone: Vec<String> = and(vec![app.tag_object("v1")], objects);

    let dry = gc(&tree, &["--dry-run", "--keep-last", "1", "-m"]).report();
    assert!(dry.reason_of(&app.revision_object(&loose.digest)).is_some_and(|reason| reason == "untagged"));
    let run = select(&tree, &["--keep-last", "1"]);
    run.exits(0).removes(&gone).keeps(&app.objects_of(&loose)).keeps(&app.objects_of(&v2));
    run.because(&app.tag_object("v1"), &["expired"]).because(&app.revision_object(&v1.digest), &["expired"]);
    assert_eq!(run.verdict("team/app", "v1"), (Some("expired"), "not-kept"));
    assert_eq!(run.verdict("team/app", "v2"), (None, "last"));
}

/// ```text
/// team/app   v1, v1.0, latest => M       three tags of one image: keep-last 2 keeps two of them, and the image
/// ```
#[test]
fn t15_a_tag_that_goes_leaves_its_sibling_alone() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("latest");
    app.tag("v1.0", &image);
    app.tag("v1", &image);
    for (tag, days) in [("latest", 1), ("v1.0", 2), ("v1", 3)] {
        app.pushed_ago(tag, DAY * days);
    }
    let run = select(&tree, &["--keep-last", "2", "-m"]);
    run.exits(0).removes(&tags(&app, &["v1"])).keeps(&app.objects_of(&image));
}

/// A build that says that it was made in 1970, or in 2099, is as old as its push.
#[test]
fn t33_created_never_decides() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    for (tag, at, days) in [
        ("new-1970", "1970-01-01T00:00:00Z", 1),
        ("new-future", "2099-01-01T00:00:00Z", 2),
        ("old-future", "2099-01-01T00:00:00Z", 50),
        ("old-1970", "1970-01-01T00:00:00Z", 60),
    ] {
        app.push_tagged_ago(tag, &created(tag, at), DAY * days);
    }
    let run = select(&tree, &["--keep-last", "2", "--keep-within", "10d"]);
    assert_eq!(run.real.actions_of("tag"), tags(&app, &["old-1970", "old-future"]).into_iter().collect());
}

/// ```text
/// backup   a, b, c, d: all pushed in the same second        nobody knows which is the newest
/// normal   v1, v2                                           told apart
/// ```
#[test]
fn t34_a_backup_without_its_times_loses_nothing() {
    let tree = Tree::new();
    let (backup, normal) = (tree.repository("backup"), tree.repository("normal"));
    for tag in ["a", "b", "c", "d"] {
        backup.image(tag);
    }
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (n, tag) in ["a", "b", "c", "d"].into_iter().enumerate() {
        // The parts of a second are what is left of the order in which a copy was made.
        set_time(&backup.current(tag), then + Duration::from_millis(n as u64 * 200));
    }
    normal.image_ago("v1", DAY);
    normal.image("v2");
    let run = select(&tree, &["--keep-last", "1", "--keep-within", "1d"]);
    run.exits(0).keeps(&tags(&backup, &["a", "b", "c", "d"]));
    assert_eq!(run.verdict("backup", "d"), (None, "last"));
    assert!(run.real.has("warning", "pushed in the same second (backup)"), "{}", run.real.0["findings"]);

    // Rules by name go by names, whatever the times; the floor keeps all of what it cannot tell apart.
    let run = select(&tree, &["--keep-tag", "b", "--repository", "backup"]);
    run.exits(0).keeps(&tags(&backup, &["b"])).keeps(&tags(&normal, &["v2"])).without_complaint();
    assert_eq!(run.verdict("backup", "a"), (Some("expired"), "not-kept"));
    let tree = Tree::new();
    let backup = tree.repository("backup");
    for tag in ["a", "b", "c"] {
        backup.image(tag);
        set_time(&backup.current(tag), then);
    }
    let run = select(&tree, &["--keep-tag", "nothing"]);
    run.exits(0).removes(&[]).keeps(&tags(&backup, &["a", "b", "c"]));
    assert_eq!(run.verdict("backup", "b"), (None, "floor"));
}

/// A copy takes its time: the pushes of a year lie some minutes apart then, in whatever order it came by them.
#[test]
fn t34_a_backup_that_was_restored_within_minutes_is_told() {
    let make = |minutes: u32| {
        let tree = Tree::new();
        for n in 0..24 {
            let repository = tree.repository(["a", "b", "c"][n as usize % 3]);
            repository.image_ago(&format!("v{n}"), DAY + Duration::from_secs(60) * (minutes * n / 23));
        }
        gc(&tree, &["--dry-run", "--keep-last", "2"]).report()
    };
    let report = make(50);
    assert!(report.has("warning", "all 24 tags that the rules are about, in 3 repositories, were pushed within 5"));
    assert!(make(90).complaints().is_empty());
}

/// ```text
/// team/app   v1 => INDEX -> amd64, arm64      each tag counts once, however much is behind it
///            v2, v2.0 => M                    and twice where two names lead to one image
/// ```
#[test]
fn t35_keep_last_counts_tags() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (amd64, arm64) = (Manifest::docker("amd64", &["amd64"]), Manifest::docker("arm64", &["arm64"]));
    app.push(&amd64);
    app.push(&arm64);
    app.push_tagged_ago("v1", &Manifest::index("v1", &[&amd64, &arm64]), DAY * 3);
    let image = app.image("v2");
    app.tag("v2.0", &image);
    app.cosign(&image, "sig");
    app.pushed_ago("v2", DAY);
    app.pushed_ago("v2.0", DAY * 2);
    let dry = |n: &str| gc(&tree, &["--dry-run", "--keep-last", n]).report().actions_of("tag");
    assert_eq!(dry("3").len(), 0);
    assert_eq!(dry("2"), tags(&app, &["v1"]).into_iter().collect());
    assert_eq!(dry("1"), tags(&app, &["v1", "v2.0"]).into_iter().collect());
    let run = select(&tree, &["--keep-last", "1"]);
    run.exits(0).keeps(&app.objects_of(&image));
    for manifest in [&amd64, &arm64] {
        run.because(&app.revision_object(&manifest.digest), &["expired"]);
    }
}

/// The order of the rules does not matter, and a rule that only protects lets nothing go.
#[test]
fn t36_protect_beats_keep_beats_expire() {
    let rules = [
        "  - name: old\n    expire: {older-than: 30d}\n",
        "  - name: releases\n    tags: ['v.*']\n    keep: {last: 2}\n",
        "  - name: in use\n    tags: [v1, latest]\n    protect: true\n",
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        for (tag, days) in [("v1", 100), ("v2", 90), ("v3", 80), ("v4", 70), ("latest", 60), ("x", 50), ("y", 1)] {
            app.image_ago(tag, DAY * days);
        }
        let text = order.map(|rule| rules[rule]).concat();
        let path = policy(&tree, &format!("rules:\n{text}"));
        let run = select(&tree, &["--policy", path.to_str().unwrap()]);
        assert_eq!(run.real.actions_of("tag"), tags(&app, &["v2", "x"]).into_iter().collect(), "{order:?}");
        assert_eq!(run.verdict("team/app", "v1"), (None, "protected"));
        // Both let it go; the first has the word.
        let place = |rule| order.iter().position(|it| *it == rule);
        let said = if place(1) < place(0) { "not-kept" } else { "older" };
        assert_eq!(run.verdict("team/app", "v2"), (Some("expired"), said));
        assert_eq!(run.verdict("team/app", "v3"), (None, "last"));
        assert_eq!(run.verdict("team/app", "y"), (None, "not-older"));
        run.exits(0).keeps(&tags(&app, &["v1", "v3", "v4", "latest", "y"]));
    }
}

/// ```text
/// team/app      v1, v2, odd         the rule is about v.* in team/*
/// other/app     v1, v2              no rule is about this one
/// team/a/b      v1, v2              nor about this one: * is one component
/// ```
#[test]
fn t37_what_no_rule_is_about_stays() {
    let tree = Tree::new();
    for name in ["team/app", "other/app", "team/a/b"] {
        for (tag, days) in [("v1", 3), ("v2", 2), ("odd", 400)] {
            tree.repository(name).image_ago(tag, DAY * days);
        }
    }
    let app = tree.repository("team/app");
    let path = policy(&tree, "rules: [{repositories: 'team/*', tags: 'v.*', keep: {last: 1}}]");
    let run = select(&tree, &["--policy", path.to_str().unwrap()]);
    assert_eq!(run.real.actions_of("tag"), tags(&app, &["v1"]).into_iter().collect());
    run.exits(0).keeps(&tags(&app, &["v2", "odd"]));
    for name in ["other/app", "team/a/b"] {
        let repository = tree.repository(name);
        run.keeps(&tags(&repository, &["v1", "v2", "odd"]));
        assert_eq!(run.verdict(name, "v1"), (None, "no-rule"));
    }
    assert_eq!(run.verdict("team/app", "odd"), (None, "no-rule"));
}

/// What cannot be pulled is no tag that a rule counts: it would push out one that can be.
///
/// ```text
/// team/app   new => (manifest missing)     stays, taints, and takes no place
///            v2, v1
/// ```
#[test]
fn t35_a_damaged_tag_takes_nobodys_place() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_ago("v1", DAY * 2);
    let v2 = app.image_ago("v2", DAY);
    let dangling = app.image("dangling");
    fs::remove_dir_all(app.revision(&dangling.digest)).unwrap();
    let cut_off = app.image("cut-off");
    fs::remove_file(app.current("cut-off")).unwrap();
    let run = select(&tree, &["--keep-last", "1"]);
    run.exits(0).keeps(&app.objects_of(&v2)).keeps(&tags(&app, &["v2", "dangling", "cut-off"]));
    run.keeps(&app.objects_of(&cut_off)).because(&app.revision_object(&v1.digest), &["expired"]);
    assert_eq!(run.verdict("team/app", "dangling"), (None, "damaged"));

    // A link that names another manifest leads nobody to this one.
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_ago("v1", DAY * 2);
    let (v2, odd) = (app.image_ago("v2", DAY), app.image("odd"));
    fs::write(app.revision(&odd.digest).join("link"), &v2.digest).unwrap();
    let run = select(&tree, &["--keep-last", "1"]);
    run.keeps(&tags(&app, &["v2", "odd"])).keeps(&app.objects_of(&odd)).keeps(&app.objects_of(&v2));
    assert_eq!(run.verdict("team/app", "odd"), (None, "damaged"));

    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_ago("v1", DAY * 2);
    app.image_ago("v2", DAY);
    fs::remove_dir_all(tree.blob(&app.image("new").digest)).unwrap();
    let run = select(&tree, &["--keep-last", "1"]);
    run.exits(3).removes(&[]).keeps(&tags(&app, &["v1", "v2", "new"]));
    assert_eq!(run.verdict("team/app", "v1"), (None, "tainted"));
    assert_eq!(run.verdict("team/app", "new"), (None, "damaged"));
}

/// A manifest that is needed and cannot be read may be an index of anything, in any repository: nothing expires.
#[test]
fn t35_where_a_manifest_is_damaged_only_its_repository_keeps_everything() {
    let tree = Tree::new();
    let (whole, damaged) = (tree.repository("whole"), tree.repository("damaged"));
    for repository in [&whole, &damaged] {
        repository.image_ago("v1", DAY);
        repository.image("v2");
    }
    let v2 = damaged.image("v2");
    fs::write(tree.data(&v2.digest), b"{").unwrap();
    let run = select(&tree, &["--keep-last", "1"]);
    assert_eq!(run.real.actions_of("tag"), tags(&whole, &["v1"]).into_iter().collect());
    run.exits(3).keeps(&tags(&damaged, &["v1", "v2"]));
}

/// ```text
/// team/app   latest => M5, before M4, M3, M2, M1       each untagged now
/// ```
#[test]
fn t35_what_a_tag_pointed_at_before() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let images: Vec<Manifest> = (1..=5)
            .map(|n| {
                let image = Manifest::docker(&format!("m{n}"), &[&format!("layer {n}")]);
                app.push_tagged("latest", &image);
                set_time(&app.history("latest", &image.digest).join("link"), SystemTime::now() - DAY * (6 - n));
                image
            })
            .collect();
        app.pushed_ago("latest", DAY);
        let loose = app.untagged("loose");
        (tree, images, loose)
    };
    // M4 was pushed two days ago and replaced one day ago, M3 replaced two days ago, and so on.
    for (flags, kept, loose_stays) in [
        (&["--keep-tag-history", "0"][..], 0, true),
        (&["--keep-tag-history", "2"], 2, true),
        (&["--keep-tag-history", "2", "-m"], 2, false),
        (&["--keep-tag-history", "9", "-m"], 4, false),
        (&["--keep-tag-history", "60h", "-m"], 2, false),
        (&["--keep-tag-history", "1h", "--keep-last", "1"], 0, true),
        (&["--keep-last", "1"], 4, true),
        (&["-m"], 0, false),
    ] {
        let (tree, images, loose) = make();
        let app = tree.repository("team/app");
        let run = select(&tree, flags);
        let (gone, stay) = images.split_at(4 - kept);
        stay.iter().for_each(|image| _ = run.keeps(&app.objects_of(image)));
        let mut expected: Vec<String> = gone.iter().flat_map(|image| app.objects_of(image)).collect();
        expected.extend(gone.iter().map(|image| app.history_object("latest", &image.digest)));
        if !loose_stays {
            expected.extend(app.objects_of(&loose));
        }
        run.exits(0).removes(&expected);
        if flags[0] == "--keep-tag-history" {
            gone.iter().for_each(|image| _ = run.because(&app.revision_object(&image.digest), &["expired"]));
        }
    }
}

/// What was deleted cannot be rolled back to, and takes the place of nothing that can.
#[test]
fn t35_a_former_digest_that_was_deleted_takes_no_place() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let images = [1, 2, 3].map(|n| {
        let image = Manifest::docker(&format!("m{n}"), &[&format!("layer {n}")]);
        app.push_tagged("latest", &image);
        set_time(&app.history("latest", &image.digest).join("link"), SystemTime::now() - DAY * (4 - n));
        image
    });
    fs::remove_file(app.revision(&images[1].digest).join("link")).unwrap();
    let run = select(&tree, &["--keep-tag-history", "1", "-m"]);
    run.exits(0).keeps(&app.objects_of(&images[0])).because(&app.revision_object(&images[1].digest), &["empty"]);
}

/// Who let go of the tags lets go of what they pointed at before, if the rules speak of that.
#[test]
fn t35_the_history_of_a_tag_goes_with_it() {
    for (flags, goes) in [(&["--keep-last", "1"][..], false), (&["--keep-last", "1", "--keep-tag-history", "5"], true)]
    {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let former = app.image("nightly");
        app.push_tagged_ago("nightly", &Manifest::docker("second", &["second"]), DAY);
        app.image("v1");
        let run = select(&tree, flags);
        assert_eq!(run.real.reason_of(&app.tag_object("nightly")).as_deref(), Some("expired"));
        let reason = run.real.reason_of(&app.revision_object(&former.digest));
        assert_eq!(reason.as_deref(), goes.then_some("expired"), "{flags:?}");
    }
}

/// A nested index whose inner part another tag needs.
#[test]
fn t14_a_tag_that_goes_leaves_what_another_tag_needs() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (shared, own) = (Manifest::docker("shared", &["shared"]), Manifest::docker("own", &["own"]));
    app.push(&shared);
    app.push(&own);
    let inner = Manifest::index("inner", &[&shared]);
    app.push(&inner);
    let outer = Manifest::index("outer", &[&inner, &own]);
    app.push_tagged_ago("old", &outer, DAY);
    app.push_tagged("new", &Manifest::index("new", &[&inner]));
    let run = select(&tree, &["--keep-last", "1"]);
    let gone = and(vec![app.tag_object("old")], app.objects_of(&outer));
    run.exits(0)
        .removes(&and(gone, app.objects_of(&own)))
        .keeps(&app.objects_of(&shared))
        .keeps(&app.objects_of(&inner));
}

/// An untagged index that stays keeps the child that an expired tag led to as well.
#[test]
fn t14_an_untagged_index_keeps_the_child_of_a_tag_that_goes() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let child = app.image_ago("child", DAY);
    let index = Manifest::index("untagged", &[&child]);
    app.push(&index);
    app.image("new");
    let run = select(&tree, &["--keep-last", "1"]);
    run.exits(0).removes(&tags(&app, &["child"])).keeps(&app.objects_of(&child)).keeps(&app.objects_of(&index));
}

/// The same image in another repository is another name for it.
#[test]
fn t12_a_tag_that_goes_leaves_the_same_image_elsewhere() {
    let tree = Tree::new();
    let (app, copy) = (tree.repository("team/app"), tree.repository("team/copy"));
    let image = app.image_ago("v1", DAY);
    app.image("v2");
    copy.push_tagged_ago("v1", &image, DAY);
    let run = select(&tree, &["--keep-last", "1"]);
    run.exits(0).keeps(&copy.objects_of(&image)).because(&app.revision_object(&image.digest), &["expired"]);
    assert!(run.real.garbage_blobs().is_empty());
}

/// A push of a minute ago is younger than everything that may go, whatever the rules say.
#[test]
fn t35_what_is_too_young_stays() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_ago("v1", HOUR);
    app.image("v2");
    let run = select(&tree, &["--keep-tag", "none", "--min-age", "2h"]);
    run.exits(0).removes(&[]).keeps(&tags(&app, &["v1", "v2"]));
    assert_eq!(run.verdict("team/app", "v1"), (None, "min-age"));
}

/// A clock that was wrong for a push does not cost the others their place.
#[test]
fn t33_a_push_in_the_future_takes_nobodys_place() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_ago("v1", DAY * 2);
    app.image_ago("v2", DAY);
    app.image("future");
    set_time(&app.current("future"), SystemTime::now() + DAY * 365);
    let run = select(&tree, &["--keep-last", "1"]);
    assert_eq!(run.real.actions_of("tag"), tags(&app, &["v1"]).into_iter().collect());
    assert_eq!(run.verdict("team/app", "future"), (None, "future"));
    assert!(run.real.has("warning", "pushed in the future"));
}

/// A rule with a mistake in it would let everything go: the newest stays.
#[test]
fn t34_the_newest_tag_of_a_repository_always_stays() {
    let make = || {
        let tree = Tree::new();
        for (name, days) in [("a", 900), ("b", 800)] {
            tree.repository(name).image_ago("old", DAY * (days + 1));
            tree.repository(name).image_ago("new", DAY * days);
        }
        tree
    };
    let tree = make();
    let run = select(&tree, &["--keep-last", "0"]);
    assert_eq!(run.real.actions_of("tag").len(), 2);
    assert_eq!(run.verdict("a", "new"), (None, "floor"));
    let tree = make();
    let path = policy(&tree, "floor: 0\nrules: [{repositories: [a], expire: {older-than: 30d}}]");
    let run = select(&tree, &["--policy", path.to_str().unwrap()]);
    let a = tree.repository("a");
    assert_eq!(run.real.actions_of("tag"), tags(&a, &["new", "old"]).into_iter().collect());
}

/// A repository that nothing may be removed from keeps its tags.
#[test]
fn t04_a_tag_behind_a_symbolic_link_stays() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_ago("v1", DAY);
    app.image("v2");
    let elsewhere = tree.beside().join("elsewhere");
    fs::rename(app.tag_folder("v1"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, app.tag_folder("v1")).unwrap();
    let run = select(&tree, &["--keep-last", "1"]);
    run.exits(0).removes(&[]);
    assert_eq!(run.verdict("team/app", "v1"), (None, "irremovable"));
}

/// The tag's revision is gone, its folder is not, and nobody can pull it: that goes if it is asked for.
#[test]
fn t41_a_dangling_tag_goes_if_it_is_asked_for() {
    let make = || {
        let tree = Tree::new();
        let image = tree.repository("team/app").image("v1");
        tree.repository("team/app").image("v2");
        fs::remove_dir_all(tree.repository("team/app").revision(&image.digest)).unwrap();
        (tree, image)
    };
    let (tree, image) = make();
    let app = tree.repository("team/app");
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&[]).keeps(&tags(&app, &["v1"]));
    assert!(run.real.has("warning", "--drop-dangling-tags"));
    let run = select(&tree, &["--drop-dangling-tags"]);
    let own: Vec<String> = app.objects_of(&image).into_iter().filter(|object| run.gone.contains(object)).collect();
    run.exits(0).removes(&and(tags(&app, &["v1"]), own.clone())).because(&app.tag_object("v1"), &["dangling"]);
    assert_eq!(own.len(), 5, "its manifest, config and own layer, and two layer links: {own:?}");

    // An index that cannot be listed says that something is wrong here, and nobody knows what.
    let (tree, image) = make();
    let app = tree.repository("team/app");
    let index = app.tag_folder("v1").join("index");
    fs::remove_dir_all(&index).unwrap();
    fs::write(&index, b"").unwrap();
    let run = select(&tree, &["--drop-dangling-tags"]);
    run.removes(&[]).keeps(&app.objects_of(&image)[1..]);
}

/// `--keep-within` counts from the newest push: a repository into which nobody pushes any more does not dry up.
#[test]
fn t34_within_counts_from_the_newest_push() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    for (tag, days) in [("a", 400), ("b", 375), ("c", 371), ("d", 370)] {
        app.image_ago(tag, DAY * days);
    }
    let garbage = control(&tree);
    let run = select(&tree, &["--keep-within", "6d"]);
    assert_eq!(run.real.actions_of("tag"), tags(&app, &["a"]).into_iter().collect());
    run.because(&garbage[0], &["unreferenced"]);
}

/// restic reads `6m` as six months, most others as six minutes. Who means months would lose half a year.
#[test]
fn t52_months_are_not_taken_for_minutes() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_ago("v1", DAY * 100);
    app.image("v2");
    let before = tree.fingerprint();
    let path = policy(&tree, "rules:\n  - keep: {within: 6m}\n");
    for flags in [&["--keep-within", "6m"][..], &["--keep-tag-history", "6m"], &["--policy", path.to_str().unwrap()]] {
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        run.exits(2);
        assert!(run.stderr.contains("'6m' may mean months or minutes: write mo or min"), "{}", run.stderr);
    }
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
    let run = select(&tree, &["--keep-within", "6mo"]);
    run.exits(0).removes(&[]);
}

/// Whatever stands in the way of a sweep stands in the way of a policy.
#[test]
fn t24_a_policy_does_not_get_past_the_interlock() {
    let tree = Tree::new();
    tree.repository("team/app").image_ago("v1", DAY);
    tree.repository("team/app").image("v2");
    fs::create_dir_all(tree.root().join("docker/registry/lockfiles")).unwrap();
    fs::write(tree.root().join("docker/registry/lockfiles/database-in-use"), b"").unwrap();
    refuses(&tree, &["--keep-last", "1"]);
}
