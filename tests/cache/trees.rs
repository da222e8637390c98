//! Trees as a cache leaves them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use serde_json::Value;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::{gc, restore, select};
use crate::support::tree::{Blob, Manifest, Tree, blob_object};
use crate::{DAY, bytes_of, due, fetched_ago, image, schedule, scheduled, set_times, size, state};

fn and(mut objects: Vec<String>, more: impl IntoIterator<Item = String>) -> Vec<String> {
    objects.extend(more);
    objects
}

/// What goes with an image of which nothing is shared but the layer that says "base".
fn without_base(objects: Vec<String>) -> Vec<String> {
    let base = blob_object(&Blob::layer("base").digest);
    objects.into_iter().filter(|object| *object != base).collect()
}

fn limit(bytes: u64) -> String {
    bytes.to_string()
}

/// ```text
/// a v1 => A -> base, a      30 days ago
/// b v1 => B -> base, b      20 days ago
/// c v1 => C -> base, c      10 days ago
/// ```
/// One byte less than what is there takes A, and not the layer that B and C need as well. Half of it takes B too.
#[test]
fn the_least_recently_pulled_goes_first_and_shared_layers_count_once() {
    for (gone, names) in [(1, &["a"][..]), (2, &["a", "b"])] {
        let tree = Tree::new();
        let images: Vec<(&str, Manifest)> = [("a", 30), ("b", 20), ("c", 10)]
            .map(|(name, days)| (name, image(&tree, name, "v1", &["base", name], days)))
            .into();
        set_times(&tree.data(&Blob::layer("base").digest), DAY, DAY * 30);
        schedule(&tree);
        let mine = |image: &Manifest| {
            let own: Vec<&str> = [&image.digest[..]].into_iter().chain(image.blob_digests()).collect();
            bytes_of(&tree, &own) - bytes_of(&tree, &[&Blob::layer("base").digest])
        };
        // With exactly this much left, nothing more has to go.
        let most = size(&tree) - images.iter().take(gone).map(|(_, image)| mine(image)).sum::<u64>();
        let before = scheduled(&tree.root());
        fs::set_permissions(state(&tree.root()), fs::Permissions::from_mode(0o640)).unwrap();

        let run = select(&tree, &["--cache-max-size", &limit(most)]);
        let of = |name: &str, image: &Manifest| {
            let repository = tree.repository(name);
            and(without_base(repository.objects_of(image)), [repository.tag_object("v1")])
        };
        let going: Vec<String> = images.iter().take(gone).flat_map(|(name, image)| of(name, image)).collect();
        run.exits(0).removes(&going).without_complaint();
        run.because(&tree.repository("a").tag_object("v1"), &["evicted"]);
        let cache = &run.real.0["cache"];
        let evicted: Vec<&str> =
            cache["evicted"].as_array().unwrap().iter().map(|it| it["repository"].as_str().unwrap()).collect();
        assert_eq!(evicted, names);
        assert_eq!((&cache["is_reached"], cache["bytes_after"].as_u64()), (&Value::Bool(true), Some(most)));
        assert_eq!(size(&tree), most);
        assert_eq!(scheduled(&tree.root()), due(&tree), "the schedule is of what is there");
        assert_eq!(cache["schedule"]["going"], before.len() - due(&tree).len());
        let mode = fs::metadata(state(&tree.root())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}

/// ```text
/// a v1 => A      40 days ago; but somebody has read its layer 5 days ago, by digest
/// b v1 => B      20 days ago; its manifest was read a moment ago, as collectors do
/// ```
/// Where the volume keeps access times B goes, else A. Which of the two it was is said.
#[test]
fn what_was_read_was_pulled_where_the_volume_keeps_that() {
    let tree = Tree::new();
    let a = image(&tree, "a", "v1", &["a"], 40);
    let b = image(&tree, "b", "v1", &["b"], 20);
    set_times(&tree.data(&Blob::layer("a").digest), DAY * 5, DAY * 40);
    set_times(&tree.data(&b.digest), Duration::ZERO, DAY * 20);
    schedule(&tree);
    let run = select(&tree, &["--cache-max-size", &limit(size(&tree) - 1)]);
    let cache = &run.real.0["cache"];
    let (name, gone, days) = match cache["last_pull"].as_str().unwrap() {
        "access-time" => ("b", &b, 20),
        "push-time" => ("a", &a, 40),
        other => panic!("{other}"),
    };
    let repository = tree.repository(name);
    run.exits(0).removes(&and(repository.objects_of(gone), [repository.tag_object("v1")]));
    let evicted = &cache["evicted"][0];
    assert_eq!((&evicted["repository"], &evicted["told_by"]), (&Value::from(name), &Value::from("push-time")));
    let pulled: jiff::Timestamp = evicted["pulled_at"].as_str().unwrap().parse().unwrap();
    let ago = jiff::Timestamp::now().as_second() - pulled.as_second();
    assert_eq!((ago + 3600) / 86_400, days, "{ago} s");
}

/// T58: what regsweep reads does not look as if somebody had pulled it, whatever the command.
#[test]
fn t58_reading_leaves_no_trace() {
    let tree = Tree::new();
    let a = image(&tree, "a", "v1", &["base", "a"], 40);
    schedule(&tree);
    let files: Vec<_> = [&a.digest[..]].into_iter().chain(a.blob_digests()).map(|digest| tree.data(digest)).collect();
    let accessed = || files.iter().map(|file| fs::metadata(file).unwrap().atime()).collect::<Vec<_>>();
    let before = accessed();
    let root = tree.root();
    for command in [&["gc", "--dry-run", "--cache-max-age", "1d"][..], &["ls"], &["du"], &["check", "--read-data"]] {
        finish(regsweep(&[command, &[root.to_str().unwrap()]].concat())).exits(0);
        assert_eq!(accessed(), before, "{command:?}");
    }
    // The files can tell: somebody else's reading shows, where the volume keeps it at all.
    let report = gc(&tree, &["--dry-run", "--cache-max-age", "1d"]).report();
    fs::read(&files[0]).unwrap();
    assert_eq!(accessed() != before, report.0["cache"]["last_pull"] == "access-time");
}

/// ```text
/// app  old => INDEX -> amd64 -> base, x      both 40 days ago; arm64 was never fetched
///                   -> both -> y
///      new => both                           today
/// ```
/// An index goes whole, with its children, except for the one that another image is.
#[test]
fn an_index_goes_with_the_children_that_nobody_else_needs() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let [amd64, arm64, both] =
        [("amd64", "x"), ("arm64", "z"), ("both", "y")].map(|(words, layer)| Manifest::oci(words, &["base", layer]));
    app.push(&amd64);
    app.push(&both);
    let index = app.index("old", &[&amd64, &arm64, &both]);
    fetched_ago(&app, &tree, &amd64, &[], DAY * 40);
    fetched_ago(&app, &tree, &index, &["old"], DAY * 40);
    app.tag("new", &both);
    schedule(&tree);
    let run = select(&tree, &["--cache-max-age", "30d"]);
    let layers = and(app.objects_of(&amd64), app.objects_of(&index));
    let base = Blob::layer("base").digest;
    let kept = [blob_object(&base), app.layer_object(&base)];
    let going: Vec<String> = layers.into_iter().filter(|object| !kept.contains(object)).collect();
    run.exits(0).removes(&and(going, [app.tag_object("old")])).keeps(&app.objects_of(&both)).without_complaint();
    assert_eq!(scheduled(&tree.root()), due(&tree));
}

/// ```text
/// app  (by digest) U, 40 days ago      v1, latest => M, of which latest was asked for today
///      kept => K, 50 days ago: protected          signed => S, 45 days ago, with its signature
/// ```
/// Whoever pulls by digest has images without tags. One tag that is asked for keeps all tags of its image. What is
/// protected stays, and it is said that the size cannot be reached for that.
#[test]
fn tags_of_one_image_stay_together_and_what_is_protected_stays() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let untagged = app.untagged_with_layers("U", &["u"]);
    fetched_ago(&app, &tree, &untagged, &[], DAY * 40);
    let image_of_two = image(&tree, "app", "v1", &["m"], 60);
    app.tag("latest", &image_of_two);
    let kept = image(&tree, "app", "kept", &["k"], 50);
    let signed = image(&tree, "app", "signed", &["s"], 45);
    let (signature_tag, signature) = app.cosign(&signed, "sig");
    fetched_ago(&app, &tree, &signature, &[&signature_tag], DAY * 45);
    schedule(&tree);
    let protect = tree.beside().join("protect");
    fs::write(&protect, "registry.example/app:kept\n").unwrap();
    let run = select(&tree, &["--cache-max-size", "1", "--protect", protect.to_str().unwrap(), "--min-age", "2h"]);
    let tags = [app.tag_object("signed"), app.tag_object(&signature_tag)];
    let going = and(and(app.objects_of(&untagged), app.objects_of(&signed)), app.objects_of(&signature));
    run.exits(0).removes(&and(going, tags)).keeps(&app.objects_of(&image_of_two)).keeps(&app.objects_of(&kept));
    let cache = &run.real.0["cache"];
    assert_eq!(cache["is_reached"], false);
    assert_eq!((&cache["kept"]["protected"], &cache["kept"]["young"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(cache["images"], 4, "a signature is a part of its image");
    let order: Vec<&Value> = cache["evicted"].as_array().unwrap().iter().map(|it| &it["tags"]).collect();
    assert_eq!(order, [&Value::from(vec!["signed"]), &Value::from(Vec::<String>::new())]);
    assert_eq!(scheduled(&tree.root()), due(&tree));

    let root = tree.root();
    let people = finish(regsweep(&[
        "gc",
        "--dry-run",
        "--cache-max-size",
        "1",
        "--protect",
        protect.to_str().unwrap(),
        "--min-age",
        "2h",
        root.to_str().unwrap(),
    ]));
    assert!(people.text().contains("more than 1 B stay, for nothing else may be evicted"), "{}", people.text());
    assert!(people.text().contains("1 protected image stays"), "{}", people.text());
}

/// ```text
/// app  v1 => (nothing: the upstream refused the manifest)      v2 => E: expired, so its revision link is gone
///      v3 => M, lacks a layer that no client asked for
/// ```
/// What a cache lacks is no damage. A tag that names nothing goes, and does not keep the rest.
#[test]
fn what_a_cache_lacks_is_no_damage() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.tag("v1", &Manifest::docker("never fetched", &["never"]));
    let expired = image(&tree, "app", "v2", &["e"], 20);
    fs::remove_file(app.revision(&expired.digest).join("link")).unwrap();
    let whole = image(&tree, "app", "v3", &["m", "lost"], 3);
    let lost = Blob::layer("lost").digest;
    tree.remove(&tree.blob(&lost));
    fs::remove_file(app.layer(&lost).join("link")).unwrap();
    schedule(&tree);
    let run = select(&tree, &["--cache-max-age", "10d"]);
    run.exits(0).keeps(&[blob_object(&whole.digest), app.tag_object("v3"), app.revision_object(&whole.digest)]);
    for tag in ["v1", "v2"] {
        run.because(&app.tag_object(tag), &["evicted"]);
    }
    assert!(run.gone.contains(&blob_object(&expired.digest)), "{:?}", run.gone);
    assert_eq!(run.real.0["cache"]["hollow_tags"], 1);
    assert!(run.real.tainted().is_empty());
}

/// Something that cannot be understood keeps all of its repository, and the others go on.
#[test]
fn a_damaged_repository_stays_whole() {
    let tree = Tree::new();
    let damaged = image(&tree, "damaged", "v1", &["base", "a"], 40);
    image(&tree, "damaged", "v2", &["b"], 50);
    image(&tree, "whole", "v1", &["base", "c"], 45);
    tree.flip(&tree.data(&damaged.digest));
    schedule(&tree);
    let run = select(&tree, &["--cache-max-age", "30d"]);
    run.exits(3);
    let gone: BTreeSet<&str> =
        run.gone.iter().filter(|it| !it.starts_with("blob")).map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(gone, BTreeSet::from(["whole"]));
    assert_eq!(run.real.0["cache"]["kept"]["tainted_repositories"], 1);
    assert_eq!(scheduled(&tree.root()), due(&tree));
}

/// What was put aside comes back with its entries; what the registry has noted anew meanwhile stays as it is.
#[test]
fn what_comes_back_is_scheduled_again() {
    let tree = Tree::new();
    image(&tree, "a", "v1", &["base", "a"], 40);
    image(&tree, "b", "v1", &["base", "b"], 20);
    schedule(&tree);
    let before = fs::read_to_string(state(&tree.root())).unwrap();
    let run = gc(&tree, &["--registry-stopped", "--quarantine", "--cache-max-age", "30d"]);
    run.exits(0);
    assert_eq!(scheduled(&tree.root()), due(&tree));
    assert_ne!(
        scheduled(&tree.root()).len(),
        serde_json::from_str::<Value>(&before).unwrap().as_object().unwrap().len()
    );
    restore(&tree, run.report().run(), &[]).exits(0);
    assert_eq!(fs::read_to_string(state(&tree.root())).unwrap(), before);
}

/// A collection that evicts nothing brings the schedule in step as well: the entries of a layer that no manifest names.
#[test]
fn a_plain_collection_brings_the_schedule_in_step() {
    let tree = Tree::new();
    image(&tree, "a", "v1", &["base", "a"], 40);
    tree.repository("a").stray_layer("stray");
    schedule(&tree);
    let before = scheduled(&tree.root());
    gc(&tree, &["--registry-stopped"]).exits(0);
    assert_eq!(scheduled(&tree.root()), due(&tree));
    assert_eq!(before.len(), due(&tree).len() + 1);
}
