//! What cannot be read, or not be believed: manifests, links, folders. It is never taken for absent (T06, T07, T31).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::process::{finish, regsweep_bound_by_permissions};
use crate::support::scenario::{collect, gc, gc_arguments, refuses};
use crate::support::tree::{Blob, Manifest, Tree, blob_object};
use crate::{and, blobs_and_links, control};

/// A way to break a file.
type BreakFile = fn(&Tree, &Path);

/// A way to break the manifest behind a tag.
type Breakage = (&'static str, fn(&Tree, &Manifest));

const BREAKAGES: &[Breakage] = &[
    ("empty", |tree, manifest| tree.truncate(&tree.data(&manifest.digest), 0)),
    ("truncated", |tree, manifest| tree.truncate(&tree.data(&manifest.digest), 200)),
    ("bit-flipped", |tree, manifest| tree.flip(&tree.data(&manifest.digest))),
    ("not JSON", |tree, manifest| tree.replace(&tree.data(&manifest.digest), b"\x1f\x8b no manifest at all")),
    ("100 MB", |tree, manifest| tree.grow(&tree.data(&manifest.digest), 100 << 20)),
    ("another manifest's bytes", |tree, manifest| {
        tree.replace(&tree.data(&manifest.digest), &Manifest::docker("some other image", &["other"]).bytes);
    }),
    ("an empty JSON object", |tree, manifest| tree.replace(&tree.data(&manifest.digest), b"{}")),
    ("missing data", |tree, manifest| tree.remove(&tree.data(&manifest.digest))),
    ("missing folder", |tree, manifest| tree.remove(&tree.blob(&manifest.digest))),
    ("a folder", |tree, manifest| {
        tree.remove(&tree.data(&manifest.digest));
        fs::create_dir(tree.data(&manifest.digest)).unwrap();
    }),
    ("unreadable", |tree, manifest| {
        // Mended by nobody: the folder stays as it is.
        let _left_broken = tree.unreadable(&tree.data(&manifest.digest));
    }),
];

/// ```text
/// team/app    v1 => M (x) -> config, base, L1        M broken in some way
///                   old -> config', Lold             untagged
///                   stray                            a layer link that nothing names: M may have named it
/// team/other        gone -> ...                      untagged, goes with -m
///             orphan                                 goes
/// ```
fn t07(flags: &[&str]) {
    for (what, break_it) in BREAKAGES {
        println!("the manifest is {what}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        let old = app.untagged("old");
        let stray = app.stray_layer("stray");
        let other = tree.repository("team/other");
        other.image("v1");
        let gone = other.untagged("gone");
        let garbage = control(&tree);
        break_it(&tree, &v1);

        let run = collect(&tree, flags);
        run.exits(3);
        // What cannot be read may be whole tomorrow, and an index of images in any repository.
        let untagged_goes = !flags.is_empty() && *what != "unreadable";
        run.removes(&if untagged_goes { and(garbage, other.objects_of(&gone)) } else { garbage });
        run.keeps(&blobs_and_links(&app, &v1));
        run.keeps(&app.objects_of(&old));
        run.keeps(&[blob_object(&stray.digest), app.layer_object(&stray.digest)]);
        run.keeps(&[app.tag_object("v1"), app.revision_object(&v1.digest)]);
        assert_eq!(run.real.tainted(), BTreeSet::from(["team/app"]), "{what}");
        assert!(run.real.has("error", "team/app"), "{what}: {}", run.real.0["findings"]);
    }
}

#[test]
fn t07_a_damaged_manifest_behind_a_tag_keeps_its_repository() {
    t07(&[]);
}

#[test]
fn t07_a_damaged_manifest_behind_a_tag_keeps_its_repository_with_delete_untagged() {
    t07(&["--delete-untagged"]);
}

/// The digest is right and the content is still no manifest: pushed by something odd, or a file system that lost data
/// before it was hashed.
#[test]
fn t07_a_manifest_that_is_not_json_under_its_right_digest_taints_too() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.push_tagged("v1", &Manifest::raw(*b"not JSON"));
    let stray = app.stray_layer("perhaps its layer");
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(3).removes(&garbage).keeps(&[app.layer_object(&stray.digest), blob_object(&stray.digest)]);
}

/// Truncation that leaves valid JSON: the layers are gone from it and it parses. Only the digest tells.
#[test]
fn t07_valid_json_with_fewer_layers_is_not_believed() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["one", "two", "three"]);
    let shorter = Manifest::docker("team/app v1", &["one"]);
    tree.replace(&tree.data(&v1.digest), &shorter.bytes);
    let garbage = control(&tree);
    collect(&tree, &["-m"]).exits(3).removes(&garbage).keeps(&blobs_and_links(&app, &v1));
}

/// ```text
/// team/app   v1 => INDEX -> C (x) -> config, L       C broken: what it needs is linked here
/// ```
#[test]
fn t07_a_damaged_child_of_a_tagged_index_taints_as_the_index_would() {
    for (what, break_it) in BREAKAGES.iter().filter(|(what, _)| !what.starts_with("missing")) {
        println!("the child is {what}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let child = Manifest::docker("child", &["child"]);
        app.push(&child);
        app.index("v1", &[&child]);
        let garbage = control(&tree);
        break_it(&tree, &child);
        let run = collect(&tree, &["-m"]);
        run.exits(3).removes(&garbage).keeps(&blobs_and_links(&app, &child));
    }
}

/// In default mode an untagged manifest is a root, so its damage keeps what it may need.
#[test]
fn t07_a_damaged_untagged_manifest_taints_while_it_is_a_root() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let garbage = control(&tree);
    tree.flip(&tree.data(&old.digest));
    let run = collect(&tree, &[]);
    run.exits(3).removes(&garbage).keeps(&app.objects_of(&old));
}

/// An untagged revision whose manifest is missing names nothing that could be kept, and does not taint.
#[test]
fn t07_an_untagged_revision_without_its_manifest_does_not_taint() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    tree.remove(&tree.blob(&old.digest));
    let garbage = and(control(&tree), blobs_and_links(&app, &old));
    let run = collect(&tree, &[]);
    assert_eq!(run.real.tainted(), BTreeSet::new());
    for object in garbage {
        assert!(!run.left.contains(&object), "kept: {}", tree.explain(&object));
    }
    assert!(run.real.has_finding(&old.digest[7..]), "the dangling revision is reported: {}", run.real.0["findings"]);
}

/// Taken out by hand, with a revision link that answers with an error instead of "no such file": that is not the same.
#[test]
fn t06_an_error_on_the_revision_link_is_not_deletion() {
    for flags in [&[][..], &["-m"]] {
        for folder in [false, true] {
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let v1 = app.image("v1");
            let delivered = tree.deliverable(false);
            tree.remove(&app.tag_folder("v1").join("index"));
            let link = app.revision(&v1.digest).join("link");
            let broken = tree.unreadable(if folder { link.parent().unwrap() } else { &link });
            let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
            assert!([3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
            broken.mend();
            assert_eq!(tree.deliverable(false), delivered, "the disk recovers and the image is whole");
        }
    }
}

/// ```text
/// team/app   v1 => INDEX -> child      the child's revision link answers with an error, not with "no such file"
/// ```
#[test]
fn t06_an_error_on_a_childs_revision_link_is_not_absence() {
    for folder in [false, true] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let child = Manifest::docker("child", &["child"]);
        app.push(&child);
        app.index("v1", &[&child]);
        let delivered = tree.deliverable(false);
        let link = app.revision(&child.digest).join("link");
        let broken = tree.unreadable(if folder { link.parent().unwrap() } else { &link });
        let run = gc(&tree, &["--registry-stopped", "-m"]);
        assert!([0, 3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
        broken.mend();
        assert_eq!(tree.deliverable(false), delivered, "the disk recovers and the image is whole");
    }
}

/// ```text
/// team/app   v1 -?-> (x)     index: old, new        the current link is unreadable, empty or no digest
/// ```
/// All that the tag ever pointed at may be what it points at.
#[test]
fn t06_a_tag_whose_current_link_cannot_be_read_keeps_its_whole_history() {
    let breakages: &[(&str, BreakFile)] = &[
        ("empty", |tree, link| tree.truncate(link, 0)),
        ("cut", |tree, link| tree.truncate(link, 40)),
        ("no digest", |tree, link| tree.replace(link, b"hello")),
        ("an unknown algorithm", |tree, link| tree.replace(link, b"md5:d41d8cd98f00b204e9800998ecf8427e")),
        ("not UTF-8", |tree, link| tree.replace(link, b"\xff\xfe\x00")),
        ("a folder", |tree, link| {
            tree.remove(link);
            fs::create_dir(link).unwrap();
        }),
        ("unreadable", |tree, link| {
            let _left_broken = tree.unreadable(link);
        }),
    ];
    for (what, break_it) in breakages {
        println!("current/link is {what}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let old = app.image_with_layers("v1", &["old"]);
        let new = Manifest::docker("new", &["new"]);
        app.push_tagged("v1", &new);
        let loose = app.untagged("loose");
        let garbage = control(&tree);
        break_it(&tree, &app.current("v1"));
        let run = collect(&tree, &["-m"]);
        run.exits(3).keeps(&app.objects_of(&old)).keeps(&app.objects_of(&new)).keeps(&[app.tag_object("v1")]);
        run.keeps(&[app.history_object("v1", &old.digest), app.history_object("v1", &new.digest)]);
        assert!(run.real.has("error", "team/app"), "{what}: {}", run.real.0["findings"]);
        // The history says enough: what it does not name may go.
        assert!(garbage.iter().all(|object| !run.left.contains(object)));
        assert!(!run.left.contains(&app.revision_object(&loose.digest)), "only the tag's history is kept: {what}");
    }
}

#[test]
fn t06_a_tag_without_current_link_and_without_history_taints() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    tree.truncate(&app.current("v1"), 0);
    tree.remove(&app.tag_folder("v1").join("index"));
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(3).removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    assert_eq!(run.real.tainted(), BTreeSet::from(["team/app"]));
}

/// Empty links, as a crash of 2.8 leaves them (it truncates in place).
#[test]
fn an_empty_revision_link_of_a_tagged_image_loses_nothing() {
    for (what, content) in [("empty", &b""[..]), ("no digest", b"sha256:zz"), ("cut", b"sha256:0123456789abcdef")] {
        for flags in [&[][..], &["-m"]] {
            println!("the revision link is {what}, {flags:?}");
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let v1 = app.image("v1");
            tree.replace(&app.revision(&v1.digest).join("link"), content);
            let garbage = control(&tree);
            let run = collect(&tree, flags);
            run.exits(3).removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
            assert!(run.real.has("error", "team/app"), "{}", run.real.0["findings"]);
        }
    }
}

#[test]
fn an_empty_revision_link_of_an_untagged_image_is_no_deletion() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    tree.truncate(&app.revision(&old.digest).join("link"), 0);
    let garbage = control(&tree);
    collect(&tree, &[]).removes(&garbage).keeps(&app.objects_of(&old));
}

#[test]
fn an_empty_layer_link_of_a_live_image_stays_and_keeps_its_blob() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["own"]);
    tree.truncate(&app.layer(&Blob::layer("own").digest).join("link"), 0);
    let garbage = control(&tree);
    collect(&tree, &["-m"]).removes(&garbage).keeps(&app.objects_of(&v1));
}

/// The folders of a repository whose listing fails: not one blob may go, for nobody knows what it refers to.
#[test]
fn t31_an_unlistable_link_folder_is_not_an_empty_one() {
    let folders = [
        "team/app/_layers",
        "team/app/_layers/sha256",
        "team/app/_manifests",
        "team/app/_manifests/revisions",
        "team/app/_manifests/revisions/sha256",
        "team/app/_manifests/tags",
        "team/app",
        "team",
    ];
    for folder in folders {
        for flags in [&[][..], &["--delete-untagged"]] {
            println!("{folder} cannot be listed, {flags:?}");
            let tree = Tree::new();
            let app = tree.repository("team/app");
            app.image("v1");
            app.untagged("old");
            tree.repository("other").image("v1");
            tree.orphan("perhaps team/app's");
            let delivered = tree.deliverable(true);
            let objects = tree.objects();
            let broken = tree.unreadable(&tree.repositories().join(folder));
            assert!(refuses(&tree, flags).says(folder), "it says which");
            broken.mend();
            assert_eq!(tree.objects(), objects, "exit 4: nothing was touched");
            assert_eq!(tree.deliverable(true), delivered, "the disk recovers and every image is whole");
        }
    }
}

/// The same with permission bits, as a user whom they bind.
#[test]
fn t31_permission_denied_on_one_repository_is_not_an_empty_repository() {
    for folder in ["team/app", "team/app/_layers", "team/app/_manifests/revisions/sha256", "team"] {
        for flags in [&[][..], &["--delete-untagged"]] {
            println!("{folder} may not be listed, {flags:?}");
            let tree = Tree::new();
            tree.repository("team/app").image("v1");
            tree.repository("other").image("v1");
            tree.orphan("perhaps team/app's");
            let objects = tree.objects();
            tree.give_to_nobody();
            let denied = tree.repositories().join(folder);
            tree.chmod(&denied, 0o000);
            let flags = [&["--registry-stopped"], flags].concat();
            let run = finish(regsweep_bound_by_permissions(&tree, &gc_arguments(&tree.root(), &flags)));
            tree.chmod(&denied, 0o755);
            run.exits(4);
            assert_eq!(run.report().outcome(), "refused");
            assert!(run.report().0.to_string().contains("ermission denied"), "{}", run.text());
            assert_eq!(tree.objects(), objects, "exit 4: nothing was touched");
        }
    }
}

/// A manifest, a link, a tag that may not be read is kept with all that it may need.
#[test]
fn t31_permission_denied_on_a_file_taints() {
    for what in ["manifest", "blob folder", "current link", "revision link"] {
        println!("the {what} may not be read");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        tree.repository("other").image("v1");
        let delivered = tree.deliverable(false);
        let garbage = control(&tree);
        tree.give_to_nobody();
        let denied = match what {
            "manifest" => tree.data(&v1.digest),
            "blob folder" => tree.blob(&v1.digest),
            "current link" => app.current("v1"),
            _ => app.revision(&v1.digest).join("link"),
        };
        tree.chmod(&denied, 0o000);
        let flags = ["--registry-stopped", "--delete-untagged"];
        let run = finish(regsweep_bound_by_permissions(&tree, &gc_arguments(&tree.root(), &flags)));
        tree.chmod(&denied, 0o755);
        assert!([3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
        assert!(run.report().has("error", "team/app"), "{}", run.report().0["findings"]);
        assert_eq!(tree.deliverable(false), delivered, "nothing is lost behind the error");
        if run.code == 3 {
            assert!(garbage.iter().all(|object| !tree.objects().contains(object)), "the rest is collected");
        }
    }
}

/// A shard of the blob store that cannot be listed holds manifests that cannot be read, and blobs that nobody saw.
#[test]
fn t31_an_unlistable_shard_loses_nothing() {
    for flags in [&[][..], &["-m"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        tree.repository("other").image("v1");
        let delivered = tree.deliverable(true);
        let shard = tree.blob(&v1.digest).parent().unwrap().to_owned();
        tree.orphan("an orphan");
        let broken = tree.unreadable(&shard);
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        assert!([3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
        broken.mend();
        assert_eq!(tree.deliverable(true), delivered);
    }
}
