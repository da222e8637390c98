//! What people and registries leave behind, and what others put beside it: half-deleted images, empty folders, dead
//! links, uploads, temporary files, strangers (T28-T30).

use std::collections::BTreeSet;
use std::fs;

use crate::support::formats::sha256;
use crate::support::scenario::{collect, gc};
use crate::support::tree::{Blob, Manifest, Tree, blob_object, write};
use crate::{HOUR, and, control};

/// ```text
/// team/app   v1 => M -> config, L       index entry and revision removed by hand: the tag's folder is what is left
/// ```
#[test]
fn an_image_taken_out_by_hand_goes_with_its_tag() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image_with_layers("v1", &["base", "own"]);
        let v2 = app.image_with_layers("v2", &["base"]);
        app.delete_by_hand("v1", &v1);
        let run = collect(&tree, flags);
        let base = Blob::layer("base").digest;
        let mut gone = app.objects_of(&v1);
        gone.retain(|object| {
            // By hand, the revision went already; the base is the other tag's too.
            *object != app.revision_object(&v1.digest)
                && *object != blob_object(&base)
                && *object != app.layer_object(&base)
        });
        run.exits(0).removes(&and(gone, [app.tag_object("v1")])).keeps(&app.objects_of(&v2));
        run.because(&app.tag_object("v1"), &["deleted"]);
        assert!(!app.tag_folder("v1").exists());
    }
}

/// Taken out by hand where the tag had moved: the older image of the same tag is a revision still, and stays.
#[test]
fn an_image_taken_out_by_hand_leaves_the_tags_older_images() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let older = app.image_with_layers("v1", &["older"]);
    let newer = Manifest::docker("newer", &["newer"]);
    app.push_tagged("v1", &newer);
    app.delete_by_hand("v1", &newer);
    let run = collect(&tree, &[]);
    let mut gone = app.objects_of(&newer);
    gone.retain(|object| *object != app.revision_object(&newer.digest));
    run.exits(0).removes(&and(gone, [app.tag_object("v1")])).keeps(&app.objects_of(&older));
}

/// A manifest deleted through the API: the revision's `link` is gone, its folder is debris, its blobs are garbage.
#[test]
fn t28_a_manifest_deleted_by_the_api_leaves_an_empty_digest_folder_that_is_no_root() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        let v2 = app.image_with_layers("v2", &["second"]);
        app.delete_by_api(&v2);
        assert!(app.revision(&v2.digest).is_dir() && !app.tag_folder("v2").exists());
        let run = collect(&tree, flags);
        run.exits(0).without_complaint().removes(&app.objects_of(&v2)).keeps(&app.objects_of(&v1));
        run.because(&app.revision_object(&v2.digest), &["deleted", "empty"]);
    }
}

#[test]
fn t28_empty_digest_folders_are_debris() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let nowhere = sha256(b"nowhere");
    fs::create_dir_all(app.revision(&nowhere)).unwrap();
    fs::create_dir_all(app.layer(&nowhere)).unwrap();
    fs::create_dir_all(app.history("v1", &nowhere)).unwrap();
    let debris = [app.revision_object(&nowhere), app.layer_object(&nowhere), app.history_object("v1", &nowhere)];
    let run = collect(&tree, &[]);
    run.exits(0).without_complaint().removes(&debris).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
}

/// The revision's folder is there and empty, and a tag's index remembers it.
#[test]
fn tag_history_without_a_revision_goes() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let old = app.image_with_layers("v1", &["old"]);
    let new = Manifest::docker("new", &["new"]);
    app.push_tagged("v1", &new);
    app.delete_by_api(&old);
    let run = collect(&tree, &[]);
    let history = app.history_object("v1", &old.digest);
    run.exits(0).removes(&and(app.objects_of(&old), [history.clone()]));
    run.because(&history, &["deleted", "dangling"]);
    run.keeps(&[app.tag_object("v1"), app.history_object("v1", &new.digest)]).keeps(&app.objects_of(&new));
}

/// Layer links that no live manifest of their repository names, though other repositories' manifests do.
#[test]
fn dead_layer_links_go_and_live_ones_elsewhere_stay() {
    let tree = Tree::new();
    let (one, two) = (tree.repository("one"), tree.repository("two"));
    let image = one.image_with_layers("v1", &["shared"]);
    two.image_with_layers("v1", &["own"]);
    // Mounted into `two` for a push that was never finished.
    let shared = Blob::layer("shared").digest;
    two.link_layer(&shared);
    let run = collect(&tree, &[]);
    run.exits(0).removes(&[two.layer_object(&shared)]).keeps(&one.objects_of(&image));
}

/// A layer link whose blob is gone: dead where nothing names it, kept where a live manifest does.
#[test]
fn layer_links_without_a_blob_go_by_reference_like_others() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["own"]);
    tree.remove(&tree.blob(&Blob::layer("own").digest));
    let stray = app.stray_layer("stray");
    tree.remove(&tree.blob(&stray.digest));
    let run = collect(&tree, &["-m"]);
    run.removes(&[app.layer_object(&stray.digest)]).keeps(&[app.layer_object(&Blob::layer("own").digest)]);
    run.keeps(&[app.revision_object(&v1.digest), app.tag_object("v1")]);
}

#[test]
fn uploads_go_by_their_age() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        app.upload("begun-this-hour", HOUR / 2);
        app.upload("not-yet-a-week", 167 * HOUR);
        app.upload("just-over-a-week", 169 * HOUR);
        app.upload("last-year", 9000 * HOUR);
        tree
    };
    let tree = make();
    let app = tree.repository("team/app");
    let run = collect(&tree, &[]);
    run.exits(0).removes(&[app.upload_object("just-over-a-week"), app.upload_object("last-year")]);
    run.because(&app.upload_object("last-year"), &["stale"]);
    assert!(run.real.bytes("removed", "uploads") >= 2 * 30 * "upload last-year\n".len() as u64 - 200);

    let tree = make();
    let app = tree.repository("team/app");
    let run = collect(&tree, &["--uploads-older-than", "45m"]);
    run.exits(0).keeps(&[app.upload_object("begun-this-hour")]);
    assert_eq!(run.real.actions_of("upload").len(), 3);

    let tree = make();
    collect(&tree, &["--uploads-older-than", "10000h"]).exits(0).removes(&[]);
}

/// What does not say when it began is not stale: its folder was made a moment ago.
#[test]
fn uploads_that_do_not_say_when_they_began_are_not_stale() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let cases: [(&str, Option<&[u8]>); 5] = [
        ("no-startedat", None),
        ("empty", Some(b"")),
        ("malformed", Some(b"yesterday")),
        ("future", Some(b"2999-01-01T00:00:00Z")),
        ("binary", Some(b"\xff\x00")),
    ];
    for (id, startedat) in cases {
        let folder = app.upload(id, HOUR);
        match startedat {
            Some(bytes) => fs::write(folder.join("startedat"), bytes).unwrap(),
            None => fs::remove_file(folder.join("startedat")).unwrap(),
        }
    }
    let run = collect(&tree, &[]);
    run.removes(&[]);
    assert!([0, 3].contains(&gc(&tree, &["--registry-stopped"]).code));
}

/// Temporary files of 3.x and NFS's silly renames, beside a live link and alone in a folder.
#[test]
fn t29_temporary_files_are_never_fatal() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["own"]);
    let places = [
        app.revision(&v1.digest),
        app.layer(&Blob::layer("own").digest),
        app.current("v1").parent().unwrap().to_owned(),
        tree.blob(&v1.digest),
        tree.v2().join("blobs/sha256"),
        tree.repositories(),
        app.folder().join("_manifests/tags"),
        app.folder().join("_manifests/revisions/sha256"),
        app.folder().join("_layers/sha256"),
        app.folder().join("_uploads"),
    ];
    for place in places {
        write(&place.join("link.0b86c37e-6a4a-4a83-9f0b-5f5f2b7f9e5d.tmp"), b"half");
        write(&place.join(".nfs000000000123456700000001"), b"silly");
    }
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(0).without_complaint().keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    assert!(garbage.iter().all(|object| !run.left.contains(object)));
    assert_eq!(run.real.tainted(), BTreeSet::new());
    // No temporary file was read as a tag, a repository or a digest.
    assert_eq!(run.real.0["scanned"]["tags"], 1);
    assert_eq!(run.real.0["scanned"]["repositories"], 1);
    assert_eq!(run.real.0["scanned"]["revisions"], 1);
}

/// A digest folder that holds no `link` but what a write that was cut off left.
#[test]
fn t29_a_digest_folder_with_only_a_temporary_file_is_no_root_and_not_fatal() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    for name in ["link.0b86c37e-6a4a-4a83-9f0b-5f5f2b7f9e5d.tmp", ".nfs000000000123456700000001"] {
        let digest = sha256(name.as_bytes());
        write(&app.revision(&digest).join(name), digest.as_bytes());
        write(&app.layer(&digest).join(name), digest.as_bytes());
    }
    let run = collect(&tree, &["-m"]);
    run.exits(0).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    assert_eq!(run.real.tainted(), BTreeSet::new());
}

#[test]
fn t30_what_does_not_belong_is_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let strangers = [
        tree.v2().join("lost+found/x"),
        tree.v2().join("blobs/lost+found/x"),
        tree.v2().join("blobs/.DS_Store"),
        tree.v2().join("blobs/sha256/.snapshot/hourly/x"),
        tree.v2().join("blobs/sha256/.DS_Store"),
        tree.v2().join("blobs/sha256/zz/x"),
        tree.repositories().join(".snapshot/hourly/x"),
        tree.repositories().join(".DS_Store"),
        tree.repositories().join("README"),
        app.folder().join(".DS_Store"),
        app.folder().join("_manifests/.DS_Store"),
        app.folder().join("_manifests/tags/.DS_Store"),
        app.folder().join("_manifests/revisions/sha256/.DS_Store"),
        app.folder().join("_layers/sha256/.DS_Store"),
        app.folder().join("_uploads/.DS_Store"),
        tree.root().join("docker/registry/notes.txt"),
    ];
    for stranger in &strangers {
        write(stranger, b"somebody's");
    }
    let garbage = control(&tree);
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.exits(0).without_complaint().removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    for stranger in &strangers {
        assert_eq!(fs::read(stranger).unwrap(), b"somebody's", "{}", stranger.display());
    }
    for name in ["lost+found", ".snapshot", ".DS_Store", "README"] {
        assert!(run.real.has("info", name), "no finding names {name}: {}", run.real.0["findings"]);
    }
}

/// Names in the blob store that look like blobs and are not quite. None is referenced; none may go.
#[test]
fn t30_blobs_that_are_not_as_they_should_be_are_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let store = tree.v2().join("blobs/sha256");
    let hex = |words: &str| sha256(words.as_bytes())["sha256:".len()..].to_owned();

    // A blob folder without `data`, one with something else in it, and one whose `data` is a folder.
    let without_data = hex("without data");
    fs::create_dir_all(store.join(&without_data[..2]).join(&without_data)).unwrap();
    let something_else = hex("something else");
    write(&store.join(&something_else[..2]).join(&something_else).join("other"), b"x");
    let folder = hex("data is a folder");
    write(&store.join(&folder[..2]).join(&folder).join("data/inside"), b"x");
    // In the wrong shard.
    let misplaced = hex("wrong shard");
    let shard = if misplaced.starts_with("00") { "01" } else { "00" };
    write(&store.join(shard).join(&misplaced).join("data"), b"wrong shard");
    // Bad hex: too short, too long, upper case, no hex.
    let short = "ab".repeat(16);
    let long = "ab".repeat(40);
    let upper = hex("upper").to_uppercase();
    let odd = format!("ab{}", "x".repeat(62));
    for name in [&short, &long, &upper, &odd] {
        write(&store.join(name[..2].to_lowercase()).join(name).join("data"), b"bad name");
    }
    // Another algorithm.
    write(&tree.v2().join("blobs/tarsum.v1+sha256/ab").join("ab".repeat(32)).join("data"), b"tarsum");
    write(&tree.v2().join("blobs/md5/d4/d41d8cd98f00b204e9800998ecf8427e/data"), b"md5");

    let garbage = control(&tree);
    let before = tree.objects();
    let run = collect(&tree, &["-m"]);
    assert!([0, 3].contains(&gc(&tree, &["--registry-stopped"]).code));
    run.removes(&garbage);
    let mut expected = before;
    garbage.iter().for_each(|object| _ = expected.remove(object));
    assert_eq!(run.left, expected);
    for name in [&without_data, &folder, &misplaced, &short, &long, &upper, &odd] {
        assert!(run.real.has_finding(name), "no finding names {name}: {}", run.real.0["findings"]);
    }
    assert!(run.real.has_finding("tarsum") && run.real.has_finding("md5"), "{}", run.real.0["findings"]);
}

/// Bad names among the links: kept, reported, and no obstacle.
#[test]
fn t30_links_with_bad_names_are_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let manifests = app.folder().join("_manifests");
    let upper = sha256(b"upper")["sha256:".len()..].to_uppercase();
    let bad = [
        manifests.join("revisions/sha256/abc/link"),
        manifests.join("revisions/sha256").join(&upper).join("link"),
        manifests.join("tags/v1/index/sha256/abc/link"),
        app.folder().join("_layers/sha256/abc/link"),
        app.folder().join("_layers/sha256").join(&upper).join("link"),
    ];
    for path in &bad {
        write(path, b"sha256:abc");
    }
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    for path in &bad {
        assert!(path.exists(), "{}", path.display());
    }
    assert!(run.real.has_finding("abc") && run.real.has_finding(&upper), "{}", run.real.0["findings"]);
}
