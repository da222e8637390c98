//! What may have been pushed before this was a cache: then it is nowhere else.

use std::fs;

use serde_json::Value;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::{gc, select};
use crate::support::tree::{Blob, Tree, blob_object, write};
use crate::{DAY, bytes_of, due, fetched_ago, forget, image, schedule, scheduled, state};

const A_MONTH: [&str; 2] = ["--cache-max-age", "30d"];

/// ```text
/// library/fetched v1 => F -> base, f     40 days ago, in the schedule       goes
/// team/pushed     v1 => P -> base, p     80 days ago, in no schedule        stays, and so does the base layer
/// ```
/// An image that was pushed here before this became a cache is in no schedule: nobody has fetched it, and nobody can.
#[test]
fn t64_what_was_pushed_before_this_was_a_cache_is_not_evicted() {
    for flags in [A_MONTH, ["--cache-max-size", "1"]] {
        let tree = Tree::new();
        let fetched = image(&tree, "library/fetched", "v1", &["base", "f"], 40);
        let pushed = image(&tree, "team/pushed", "v1", &["base", "p"], 80);
        schedule(&tree);
        forget(&tree, "team/pushed@");
        let run = select(&tree, &flags);
        let (library, team) = (tree.repository("library/fetched"), tree.repository("team/pushed"));
        let base = blob_object(&Blob::layer("base").digest);
        let mut going = library.objects_of(&fetched);
        going.retain(|object| *object != base);
        going.push(library.tag_object("v1"));
        run.exits(0).removes(&going).keeps(&team.objects_of(&pushed)).keeps(&[team.tag_object("v1"), base]);
        let kept = &run.real.0["cache"]["kept"];
        let bytes = bytes_of(&tree, &[&[&pushed.digest[..]], &pushed.blob_digests()[..]].concat());
        assert_eq!((&kept["unscheduled"], kept["unscheduled_bytes"].as_u64()), (&Value::from(1), Some(bytes)));
        assert!(run.real.has("warning", "--cache-unscheduled evicts it too"), "{}", run.real.reasons());
        assert_eq!(run.real.0["findings"][0]["kind"], "unscheduled");

        let root = tree.root();
        let people = finish(regsweep(&[&["gc", "--dry-run"], &flags[..], &[root.to_str().unwrap()]].concat()));
        assert!(people.text().contains("nothing shows that they were fetched"), "{}", people.text());
    }
}

/// What would stay anyway is worth no warning.
#[test]
fn what_stays_within_the_limits_is_only_counted() {
    let tree = Tree::new();
    image(&tree, "team/pushed", "v1", &["p"], 10);
    schedule(&tree);
    forget(&tree, "team/pushed@");
    let report = gc(&tree, &["--dry-run", "--cache-max-age", "30d", "--cache-max-size", "1G"]).report();
    assert_eq!(report.0["cache"]["kept"]["unscheduled"], 1);
    assert!(report.has("info", "--cache-unscheduled"), "{:?}", report.findings());
    assert!(!report.has("warning", "--cache-unscheduled"), "{:?}", report.findings());
}

/// An ordinary registry, and by mistake an empty schedule in its folder: nothing goes. Nor does anything in a cache
/// that keeps no schedule (`ttl: 0`), or has lost it, until somebody says that all of it was fetched.
#[test]
fn t64_without_a_schedule_nothing_goes_unless_somebody_says_that_all_was_fetched() {
    for has_state in [true, false] {
        let tree = Tree::new();
        let app = image(&tree, "team/app", "v1", &["base", "a"], 80);
        let config = tree.beside().join("config.yml");
        let root = tree.root();
        let storage = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root:?}}}}}\n");
        write(&config, format!("{storage}proxy: {{remoteurl: 'https://registry.example', ttl: 0}}\n").as_bytes());
        let mut flags = A_MONTH.to_vec();
        if has_state {
            fs::write(state(&tree.root()), "{}").unwrap();
        } else {
            flags.extend(["--config", config.to_str().unwrap()]);
        }
        let run = select(&tree, &flags);
        run.exits(0).removes(&[]);
        let says = if has_state { "not in scheduler-state.json" } else { "there is no scheduler-state.json" };
        assert!(run.real.has("warning", says), "{}", run.real.reasons());
        let run = select(&tree, &[&flags[..], &["--cache-unscheduled"]].concat());
        let team = tree.repository("team/app");
        run.exits(0).removes(&[team.objects_of(&app), vec![team.tag_object("v1")]].concat()).without_complaint();
        assert_eq!(run.real.0["cache"]["kept"]["unscheduled"], 0);
    }
    // By itself it says nothing.
    let tree = Tree::new();
    image(&tree, "team/app", "v1", &["a"], 80);
    let run = gc(&tree, &["--dry-run", "--cache-unscheduled"]);
    run.exits(2);
    assert!(run.stderr.contains("goes with --cache-max-size or --cache-max-age"), "{}", run.stderr);
}

/// ```text
/// app  v1 => F, fetched      sha256-F.sig => S, pushed here: nobody else has that signature
///      v2 => INDEX, fetched -> one, pushed here once
///      v3 => G, fetched, with a layer that the cache found here and has not noted      goes
/// ```
#[test]
fn t64_an_image_with_something_in_it_that_was_pushed_stays() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let signed = image(&tree, "app", "v1", &["f"], 40);
    let (tag, signature) = app.cosign(&signed, "sig");
    fetched_ago(&app, &tree, &signature, &[&tag], DAY * 40);
    let one = app.untagged("one");
    let index = app.index("v2", &[&one]);
    fetched_ago(&app, &tree, &one, &[], DAY * 40);
    fetched_ago(&app, &tree, &index, &["v2"], DAY * 40);
    let found = image(&tree, "app", "v3", &["g"], 40);
    schedule(&tree);
    for digest in [&signature.digest, &one.digest, &Blob::layer("g").digest] {
        forget(&tree, &format!("app@{digest}"));
    }
    let run = select(&tree, &A_MONTH);
    run.exits(0).removes(&[app.objects_of(&found), vec![app.tag_object("v3")]].concat());
    assert_eq!(run.real.0["cache"]["kept"]["unscheduled"], 2);
    assert!(scheduled(&tree.root()).is_subset(&due(&tree)));
}

/// ```text
/// app  old  => E: has expired, so that its link is gone, and those of its layers                    goes
///      part => H: its link has expired, its layers have not                                         goes
///      lost => P: pushed here, its link was lost; its layers are all here, so it can be mended      stays
/// ```
#[test]
fn what_has_expired_goes_and_what_has_lost_its_link_stays() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let [expired, half, lost] = ["old", "part", "lost"].map(|tag| image(&tree, "app", tag, &[tag], 40));
    schedule(&tree);
    for image in [&expired, &half, &lost] {
        fs::remove_file(app.revision(&image.digest).join("link")).unwrap();
        forget(&tree, &format!("app@{}", image.digest));
    }
    for digest in expired.blob_digests() {
        // As the registry does it: the folder stays. Another repository has fetched the layer again.
        fs::remove_file(app.layer(digest).join("link")).unwrap();
        forget(&tree, &format!("app@{digest}"));
    }
    lost.blob_digests().iter().for_each(|digest| forget(&tree, &format!("app@{digest}")));
    let run = select(&tree, &A_MONTH);
    run.exits(0).keeps(&[app.tag_object("lost"), blob_object(&lost.digest), blob_object(&Blob::layer("lost").digest)]);
    for (tag, image) in [("old", &expired), ("part", &half)] {
        assert!(run.gone.contains(&app.tag_object(tag)) && run.gone.contains(&blob_object(&image.digest)), "{tag}");
    }
    assert_eq!(run.real.0["cache"]["kept"]["unscheduled"], 1);
}
