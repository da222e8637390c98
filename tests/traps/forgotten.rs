//! Traps that mutations of the collector found open: each test here fails where one small thing is forgotten.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use crate::support::formats::{DOCKER_CONFIG, DOCKER_MANIFEST, hex_of};
use crate::support::process::{finish, regsweep_bound_by_permissions};
use crate::support::scenario::{collect, gc, gc_arguments, refuses};
use crate::support::tree::{Blob, Manifest, Tree, blob_object, write};
use crate::{HOUR, and, blobs_and_links, control, everything};

/// ```text
/// team/app   v1 => M'      revisions/M'/link = "M"      stray      a link that names M instead of M'
/// ```
/// Both manifests are read, so there is nothing that nobody knows, and the stray layer goes.
#[test]
fn t11_a_mismatched_revision_link_is_no_reason_to_keep_everything() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let other = app.untagged("other");
    tree.remove(&app.revision(&other.digest));
    tree.replace(&app.revision(&v1.digest).join("link"), other.digest.as_bytes());
    let stray = app.stray_layer("stray");
    let garbage = and(control(&tree), [blob_object(&stray.digest), app.layer_object(&stray.digest)]);
    let run = collect(&tree, &["-m"]);
    run.removes(&garbage).keeps(&blobs_and_links(&app, &v1)).keeps(&blobs_and_links(&app, &other));
    assert_eq!(run.real.tainted(), BTreeSet::new());
}

/// ```text
/// team/app   v1 => M (x)      revision link gone, index entry there, and the manifest gone from the blob store as well
/// ```
/// Nobody knows any more what M needs; it may be mended from a backup.
#[test]
fn t41_a_dangling_tag_whose_manifest_is_missing_taints() {
    for flags in [&[][..], &["-m"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        tree.remove(&app.revision(&v1.digest));
        tree.remove(&tree.blob(&v1.digest));
        let garbage = control(&tree);
        let run = collect(&tree, flags);
        run.exits(3).removes(&garbage).keeps(&blobs_and_links(&app, &v1)).keeps(&[app.tag_object("v1")]);
        assert_eq!(run.real.tainted(), BTreeSet::from(["team/app"]));
    }
}

/// A live image whose revision link cannot be understood, or cannot be read: the link may name another digest, one
/// that this repository has.
#[test]
fn t06_a_revision_link_of_a_live_image_that_cannot_be_used_taints() {
    for unreadable in [false, true] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        let loose = app.untagged("loose");
        let stray = app.stray_layer("stray");
        let garbage = control(&tree);
        let link = app.revision(&v1.digest).join("link");
        if unreadable {
            let _left_broken = tree.unreadable(&link);
        } else {
            tree.truncate(&link, 0);
        }
        let run = collect(&tree, &["-m"]);
        run.exits(3).removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&app.objects_of(&loose));
        run.keeps(&[app.layer_object(&stray.digest), blob_object(&stray.digest)]);
        assert_eq!(run.real.tainted(), BTreeSet::from(["team/app"]));
    }
}

/// A layer that a client need not fetch from here, and that was pushed all the same.
#[test]
fn t10_a_foreign_layer_that_is_there_stays() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (config, layer) = (Blob::new(b"{}".to_vec()), Blob::layer("windows base"));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "digest": config.digest, "size": 2},
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": layer.digest, "size": layer.bytes.len(), "urls": ["https://example.com/layer"],
        }],
    });
    let mut image = Manifest::raw(manifest.to_string());
    image.blobs = vec![config, layer];
    app.push_tagged("v1", &image);
    let garbage = control(&tree);
    collect(&tree, &["-m"]).exits(0).without_complaint().removes(&garbage).keeps(&app.objects_of(&image));
    // Nor is it missed where nobody pushed it.
    tree.remove(&tree.blob(&image.blobs[1].digest));
    tree.remove(&app.layer(&image.blobs[1].digest));
    collect(&tree, &["-m"]).exits(0).without_complaint().removes(&[]);
}

/// An index by hand, of entries that do not say what they are.
fn untyped_entries(children: &[&Manifest]) -> Manifest {
    let entries = children.iter().map(|child| json!({"digest": child.digest, "size": child.bytes.len()}));
    Manifest::raw(json!({"schemaVersion": 2, "manifests": entries.collect::<Vec<_>>()}).to_string())
}

/// ```text
/// team/app   v1 => INDEX -> amd64, INNER -> arm64      no entry has a media type; nor have the children here a link
/// ```
#[test]
fn t10_entries_of_an_index_without_media_types_are_expanded() {
    for linked in [true, false] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let [amd64, arm64] = ["amd64", "arm64"].map(|words| Manifest::docker(words, &[words]));
        let inner = untyped_entries(&[&arm64]);
        for child in [&amd64, &arm64, &inner] {
            app.push(child);
            if !linked {
                tree.remove(&app.revision(&child.digest));
            }
        }
        app.push_tagged("v1", &untyped_entries(&[&amd64, &inner]));
        let garbage = control(&tree);
        let run = collect(&tree, &["-m"]);
        run.exits(0).without_complaint().removes(&garbage).keeps(&[blob_object(&inner.digest)]);
        for child in [&amd64, &arm64] {
            run.keeps(&blobs_and_links(&app, child)).keeps(&[blob_object(&child.digest)]);
        }
    }
}

/// ```text
/// team/app   v1 => INDEX -> C (x)               an entry without a media type: C may be a blob like any other
///            v2 => OUTER -> INNER -> C (x)      it is a manifest, and damaged
/// ```
/// What is first taken for a mere blob is looked at again where somebody says that it is a manifest.
#[test]
fn t07_a_damaged_child_taints_whoever_names_it_first() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    tree.remove(&app.revision(&child.digest));
    app.push_tagged("v1", &untyped_entries(&[&child]));
    let inner = Manifest::index("inner", &[&child]);
    app.push(&inner);
    tree.remove(&app.revision(&inner.digest));
    app.index("v2", &[&inner]);
    let garbage = control(&tree);
    tree.flip(&tree.data(&child.digest));
    let run = collect(&tree, &["-m"]);
    run.exits(3).removes(&garbage).keeps(&blobs_and_links(&app, &child));
    assert_eq!(run.real.tainted(), BTreeSet::from(["team/app"]));
}

/// A child without a revision link here that cannot be read is not a child that is missing.
#[test]
fn t06_an_unreadable_child_without_a_link_taints() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    tree.remove(&app.revision(&child.digest));
    app.index("v1", &[&child]);
    let garbage = control(&tree);
    let broken = tree.unreadable(&tree.data(&child.digest));
    collect(&tree, &["-m"]).exits(3).removes(&garbage).keeps(&blobs_and_links(&app, &child));
    broken.mend();
    collect(&tree, &["-m"]).exits(0).removes(&[]);
}

/// Signatures by their sha512 names live and go like others.
#[test]
fn t10_schema_1_signatures_by_sha512_live_and_go() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (kept, gone) = (Manifest::schema1("one", &["s1 one"]), Manifest::schema1("two", &["s1 two"]));
    app.push_tagged("v1", &kept);
    app.push(&gone);
    let [kept_signature, gone_signature] = [(&kept, "one"), (&gone, "two")].map(|(manifest, words)| {
        let blob = Blob::sha512(format!("signature {words}").into_bytes());
        tree.put(&blob);
        let folder = app.revision(&manifest.digest).join("signatures/sha512").join(hex_of(&blob.digest));
        write(&folder.join("link"), blob.digest.as_bytes());
        blob_object(&blob.digest)
    });
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&and(app.objects_of(&gone), [gone_signature])).keeps(&[kept_signature]);
}

/// ```text
/// team/app   v1 => INDEX -> C (x) -> config, L       C has a revision link here, and is gone from the blob store
/// ```
#[test]
fn t07_a_missing_child_that_was_pushed_here_taints() {
    for flags in [&[][..], &["-m"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let child = Manifest::docker("child", &["child"]);
        app.push(&child);
        app.index("v1", &[&child]);
        tree.remove(&tree.blob(&child.digest));
        let garbage = control(&tree);
        let run = collect(&tree, flags);
        run.exits(3).removes(&garbage).keeps(&blobs_and_links(&app, &child));
        run.keeps(&[app.revision_object(&child.digest)]);
        assert_eq!(run.real.tainted(), BTreeSet::from(["team/app"]));
    }
}

/// ```text
/// team/app   v1 => M -> sha512:L      _layers/sha512/L/link   cannot be read; it says "sha256:L'"
/// ```
#[test]
fn t11_an_unreadable_link_of_a_sha512_name_keeps_what_it_may_name() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let content = b"one content, two names".to_vec();
    let (by_sha256, by_sha512) = (Blob::new(content.clone()), Blob::sha512(content));
    let mut image = Manifest::docker_of("two names", std::slice::from_ref(&by_sha512));
    image.blobs.retain(|blob| blob.digest != by_sha512.digest);
    app.push_tagged("v1", &image);
    tree.put(&by_sha256);
    app.link_layer(&by_sha256.digest);
    let link = app.layer(&by_sha512.digest).join("link");
    write(&link, by_sha256.digest.as_bytes());
    let delivered = tree.deliverable(false);
    control(&tree);
    // Registries also write a link of the sha256 name. Without it nothing else tells what the unreadable one names.
    for with_the_other_name in [true, false] {
        if !with_the_other_name {
            tree.remove(&app.layer(&by_sha256.digest));
        }
        let broken = tree.unreadable(&link);
        let refused = refuses(&tree, &["-m"]);
        assert!(refused.says("the layer link of sha512:"), "{}", refused.stderr);
        broken.mend();
        assert!(tree.data(&by_sha256.digest).exists());
        assert_eq!(tree.deliverable(false) == delivered, with_the_other_name);
    }
}

/// What a damaged manifest may need in its repository: layers whose links name another digest than their path, images
/// that a tag pointed at, and images that a tag points at without a revision link.
#[test]
fn t07_taint_keeps_what_only_links_and_tags_name() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let damaged = app.image("damaged");
    let content = b"one content, two names".to_vec();
    let (by_sha256, by_sha512) = (Blob::new(content.clone()), Blob::sha512(content));
    tree.put(&by_sha256);
    write(&app.layer(&by_sha512.digest).join("link"), by_sha256.digest.as_bytes());
    let former = app.image("moved");
    app.push_tagged("moved", &Manifest::docker("newer", &["newer"]));
    tree.remove(&app.revision(&former.digest));
    let by_hand = app.image("by-hand");
    app.delete_by_hand("by-hand", &by_hand);
    let garbage = control(&tree);
    tree.flip(&tree.data(&damaged.digest));
    let run = collect(&tree, &["-m"]);
    run.exits(3).removes(&garbage);
    run.keeps(&[blob_object(&by_sha256.digest), app.layer_object(&by_sha512.digest)]);
    run.keeps(&[blob_object(&former.digest), app.history_object("moved", &former.digest)]);
    run.keeps(&[blob_object(&by_hand.digest), app.tag_object("by-hand")]);
}

/// ```text
/// team/app   _layers/sha256/ABAB.../link      _layers/tarsum.v1+sha256/.../link      _layers/tarsum/v1/sha256/.../link
/// ```
/// Links in places that the layout does not know keep what they name.
#[test]
fn t11_links_in_odd_places_keep_what_they_name() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let upper = format!("_layers/sha256/{}/link", "AB".repeat(32));
    let places = [&*upper, "_layers/tarsum.v1+sha256/abc/link", "_manifests/revisions/tarsum/v1/sha256/abc/link"];
    let named = places.map(|place| {
        let blob = tree.orphan(place);
        write(&app.folder().join(place), blob.digest.as_bytes());
        blob_object(&blob.digest)
    });
    let garbage = control(&tree);
    collect(&tree, &["-m"]).exits(0).removes(&garbage).keeps(&named);
}

/// A folder of links of an unknown algorithm that cannot be listed may name anything.
#[test]
fn t31_an_unlistable_folder_of_an_unknown_algorithm_is_not_empty() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let tarsum = app.folder().join("_layers/tarsum.v1+sha256");
    write(&tarsum.join("abc/link"), b"?");
    control(&tree);
    tree.give_to_nobody();
    tree.chmod(&tarsum, 0o000);
    let before = tree.objects();
    let run = finish(regsweep_bound_by_permissions(&tree, &gc_arguments(&tree.root(), &["--registry-stopped"])));
    tree.chmod(&tarsum, 0o755);
    run.exits(4);
    assert_eq!(tree.objects(), before);
}

/// With `-m` an untagged manifest that cannot be read may be a referrer of a live one, or hold anything: it stays.
#[test]
fn t31_an_untagged_manifest_that_cannot_be_read_stays() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let signature = Manifest::referrer("signature", &v1);
    app.push(&signature);
    let garbage = control(&tree);
    let delivered = tree.deliverable(true);
    let broken = tree.unreadable(&tree.data(&signature.digest));
    collect(&tree, &["-m"]).exits(3).removes(&garbage).keeps(&app.objects_of(&signature));
    broken.mend();
    assert_eq!(tree.deliverable(true), delivered, "the disk recovers and the signature is whole");
}

/// With `-m` an untagged revision whose link cannot be used stays, and so does what its image needs.
#[test]
fn t06_an_untagged_revision_link_that_cannot_be_used_is_no_deletion() {
    for unreadable in [false, true] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let old = app.untagged("old");
        let garbage = control(&tree);
        let link = app.revision(&old.digest).join("link");
        if unreadable {
            let _left_broken = tree.unreadable(&link);
        } else {
            tree.truncate(&link, 0);
        }
        collect(&tree, &["-m"]).exits(3).removes(&garbage).keeps(&app.objects_of(&old));
    }
}

/// ```text
/// team/app   v1 -> (x)     index: old, new        no current link: a push that was cut off, or a careless hand
/// ```
#[test]
fn t06_a_tag_without_current_link_keeps_its_history() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let old = app.image_with_layers("v1", &["old"]);
    let new = Manifest::docker("new", &["new"]);
    app.push_tagged("v1", &new);
    tree.remove(app.current("v1").parent().unwrap());
    let garbage = and(control(&tree), app.objects_of(&app.untagged("loose")));
    let run = collect(&tree, &["-m"]);
    run.removes(&garbage).keeps(&app.objects_of(&old)).keeps(&app.objects_of(&new));
    run.keeps(&[app.tag_object("v1"), app.history_object("v1", &old.digest), app.history_object("v1", &new.digest)]);
}

/// A digest folder without a link is debris, unless somebody laid something into it.
#[test]
fn t28_a_digest_folder_with_a_strangers_file_stays() {
    for (name, denied) in [("notes.txt", false), ("link.tmp", true)] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let deleted = app.image("deleted");
        app.delete_by_api(&deleted);
        let folder = app.revision(&deleted.digest);
        write(&folder.join(name), b"mine");
        control(&tree);
        tree.give_to_nobody();
        if denied {
            // It may be entered, and not be listed.
            tree.chmod(&folder, 0o311);
        }
        let arguments = gc_arguments(&tree.root(), &["-m", "--registry-stopped"]);
        let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
        tree.chmod(&folder, 0o755);
        run.exits(0);
        assert!(tree.objects().contains(&app.revision_object(&deleted.digest)), "{name}");
        assert_eq!(fs::read(folder.join(name)).unwrap(), b"mine");
        assert!(!tree.objects().contains(&blob_object(&deleted.digest)), "its image goes: {name}");
        assert!(run.report().has_finding(hex_of(&deleted.digest)), "{}", run.report().0["findings"]);
    }
}

/// A link that will not go still needs what it refers to: no blob goes, and the next run does the rest.
#[test]
fn t27_blobs_stay_while_a_link_will_not_go() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let loose = app.untagged("loose");
    let garbage = control(&tree);
    tree.give_to_nobody();
    let revisions = app.folder().join("_manifests/revisions/sha256");
    tree.chmod(&revisions, 0o555);
    let arguments = gc_arguments(&tree.root(), &["-m", "--registry-stopped"]);
    let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
    tree.chmod(&revisions, 0o755);
    assert_eq!(run.report().outcome(), "incomplete", "exit {}: {}", run.code, run.stderr);
    assert_eq!(run.report().count("removed", "blobs"), 0);
    let left = tree.objects();
    assert!(left.contains(&app.revision_object(&loose.digest)) && left.contains(&blob_object(&loose.digest)));
    assert!(loose.blobs.iter().chain(&[Blob::layer("control")]).all(|it| left.contains(&blob_object(&it.digest))));
    let again = finish(regsweep_bound_by_permissions(&tree, &arguments));
    again.exits(0);
    assert!(garbage.iter().chain(&app.objects_of(&loose)).all(|object| !tree.objects().contains(object)));
}

/// On a full volume there may be no lock file; the folder `v2` itself is locked as well, and that alone is enough.
#[test]
fn t22_a_run_that_could_not_make_its_lock_file_holds_the_lock() {
    let tree = everything();
    let v2 = fs::File::open(tree.v2()).unwrap();
    rustix::fs::flock(&v2, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(refuses(&tree, &["-m"]).says("lock"));
    drop(v2);
    gc(&tree, &["-m", "--registry-stopped"]).exits(0);
}

/// A file that nobody knows keeps the folders of a repository of which nothing else is left; they are not even tried.
#[test]
fn t13_a_repository_with_a_strangers_file_is_not_empty() {
    for place in [".DS_Store", "_manifests/.DS_Store", "_layers/sha256/.DS_Store", "_uploads/.DS_Store"] {
        let tree = Tree::new();
        tree.repository("other").image("v1");
        let app = tree.repository("team/app");
        let stray = app.stray_layer("stray");
        write(&app.folder().join(place), b"somebody's");
        let garbage = and(control(&tree), [blob_object(&stray.digest), app.layer_object(&stray.digest)]);
        let run = collect(&tree, &["--remove-empty-repositories"]);
        run.exits(0).without_complaint().removes(&garbage);
        assert!(app.folder().join(place).exists(), "{place}");
    }
}

/// ```text
/// a    loose -> own, both      untagged
/// b    loose -> both           untagged, and both manifests are one more repository's:
/// c    b's loose, and a stray layer
///      orphan                  nobody's
/// ```
#[test]
fn exclusive_garbage_bytes_are_those_that_no_other_repository_names() {
    let tree = Tree::new();
    let (a, b, c) = (tree.repository("a"), tree.repository("b"), tree.repository("c"));
    tree.repository("d").image("v1");
    let own = a.untagged_with_layers("loose", &["own", "both"]);
    let shared = b.untagged_with_layers("loose", &["both"]);
    c.push(&shared);
    let stray = c.stray_layer("stray");
    tree.orphan("nobody's");
    let run = collect(&tree, &["-m"]);
    let size = |bytes: &[u8]| bytes.len() as u64;
    let both = Blob::layer("both").digest;
    let of_own = own.blobs.iter().filter(|blob| blob.digest != both).map(|blob| size(&blob.bytes)).sum::<u64>();
    for (name, bytes) in [("a", size(&own.bytes) + of_own), ("b", 0), ("c", size(&stray.bytes)), ("d", 0)] {
        let repositories = run.real.0["repositories"].as_array().unwrap();
        let repository = repositories.iter().find(|repository| repository["name"] == name).unwrap();
        assert_eq!(repository["exclusive_garbage_bytes"], bytes, "{name}");
    }
}

/// An upload that is old enough and cannot be looked at whole is kept, and the bytes of one that goes are all counted.
#[test]
fn t31_a_stale_upload_that_cannot_be_looked_at_stays() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let stale = app.upload("stale", 400 * HOUR);
    let bytes = ["data", "startedat", "hashstates/sha256/0"].map(|file| fs::metadata(stale.join(file)).unwrap().len());
    let denied = app.upload("denied", 400 * HOUR);
    tree.give_to_nobody();
    tree.chmod(&denied.join("hashstates/sha256"), 0o000);
    let arguments = gc_arguments(&tree.root(), &["--registry-stopped"]);
    let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
    tree.chmod(&denied.join("hashstates/sha256"), 0o755);
    run.exits(0);
    assert_eq!(run.report().actions_of("upload"), BTreeSet::from([app.upload_object("stale")]));
    assert_eq!(run.report().bytes("removed", "uploads"), bytes.iter().sum::<u64>());
    assert!(denied.join("data").exists() && run.report().has("warning", "denied"), "{}", run.report().0["findings"]);
}

/// ```text
/// team/app   damaged => (x)     INDEX -> C      by-hand => INDEX' -> C'      no revision links for C, C', INDEX'
/// ```
/// Taint makes roots of all that is named, and what those need is found as for any other root.
#[test]
fn t07_taint_keeps_what_its_roots_need() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let damaged = app.image("damaged");
    let [one, two] = ["one", "two"].map(|words| Manifest::docker(words, &[words]));
    app.push(&one);
    app.push(&two);
    app.push(&Manifest::index("untagged", &[&one]));
    let index = app.index("by-hand", &[&two]);
    app.delete_by_hand("by-hand", &index);
    for child in [&one, &two] {
        tree.remove(&app.revision(&child.digest));
    }
    let garbage = control(&tree);
    tree.flip(&tree.data(&damaged.digest));
    let run = collect(&tree, &["-m"]);
    run.exits(3).removes(&garbage).keeps(&[blob_object(&one.digest), blob_object(&two.digest)]);
}
