//! Registries with damage, and what `check` says about them; what could not be removed.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::outputs::Collector;
use crate::support::process::{finish, regsweep_bound_by_permissions};
use crate::support::tree::{Manifest, Tree, everything, write};

const REPAIR: [&str; 3] = ["check", "--repair", "--registry-stopped"];

pub(crate) fn add(all: &mut Collector) {
    whole(all);
    lost(all);
    put_aside(all);
    listed(all);
    not_removed(all);
}

/// Nothing is wrong; a part of the data is read, and the position remembered.
fn whole(all: &mut Collector) {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    all.run(&tree, &["check"], &[], 0);
    all.run(&tree, &["check", "--read-data"], &[], 0);
    let position = tree.beside().join("position");
    let position = position.to_str().unwrap();
    // In the middle of a round, and at its end.
    for (part, is_end) in [(&["--read-data-subset", "1B"][..], false), (&["--read-data", "--time-limit", "1h"], true)] {
        let report = all.run(&tree, &[&["check", "--position", position], part].concat(), &[], 0);
        assert_eq!(report["check"]["data"]["next"].is_null(), is_end, "{report:#}");
        all.lines(Path::new(position));
    }
}

/// Whatever can be lost is; then what can be mended is.
fn lost(all: &mut Collector) {
    let tree = everything();
    let app = tree.repository("app");
    let [amd64, arm64] = ["amd", "arm"].map(|words| Manifest::docker(words, &[words]));
    [&amd64, &arm64].iter().for_each(|child| app.push(child));
    app.index("multi", &[&amd64, &arm64]);
    tree.remove(&tree.blob(&arm64.blobs[1].digest));
    let loose = app.untagged("loose");
    tree.remove(&tree.blob(&loose.blobs[1].digest));
    let links = app.image_with_layers("links", &["base", "linked"]);
    tree.truncate(&app.layer(&links.blobs[2].digest).join("link"), 0);
    tree.truncate(&app.current("links"), 0);
    let flipped = app.image_with_layers("flipped", &["flipped"]);
    tree.flip(&tree.data(&flipped.blobs[1].digest));
    let grown = app.image_with_layers("grown", &["grown"]);
    tree.grow(&tree.data(&grown.blobs[1].digest), 1 << 20);
    let orphan = tree.orphan("of nobody");
    tree.flip(&tree.data(&orphan.digest));
    let unclear = tree.repository("unclear");
    unclear.image("v1");
    write(&unclear.current("v1"), b"nothing");
    fs::remove_dir_all(unclear.tag_folder("v1").join("index")).unwrap();

    all.run(&tree, &["gc", "--dry-run", "-m", "--keep-last", "1"], &[], 3);
    all.run(&tree, &["du"], &[], 3);
    all.run(&tree, &["du"], &["app:links"], 3);
    all.run(&tree, &["why"], &["unclear:v1"], 3);
    all.run(&tree, &["check"], &[], 3);
    all.run(&tree, &["check", "--read-data"], &[], 3);
    all.run(&tree, &["check", "--read-data", "--repair", "--dry-run"], &[], 3);
    all.run(
        &tree,
        &[&REPAIR[..], &["--read-data", "--drop-dangling-tags", "--drop-dangling-revisions"]].concat(),
        &[],
        3,
    );
    all.files(&tree);
}

/// A layer that a run has put aside and an image needs; and a trash that nobody can list.
fn put_aside(all: &mut Collector) {
    let tree = Tree::new();
    tree.repository("app").image("v0");
    tree.orphan("late");
    all.run(&tree, &["gc", "--quarantine", "--registry-stopped"], &[], 0);
    let image = tree.repository("app").image_with_layers("v1", &["late"]);
    tree.remove(&tree.blob(image.blob_digests()[1]));
    all.run(&tree, &["check"], &[], 3);
    fs::remove_dir_all(tree.regsweep().join("runs")).unwrap();
    write(&tree.regsweep().join("runs"), b"");
    all.run(&tree, &["du"], &[], 3);
}

/// What a listing cannot say.
fn listed(all: &mut Collector) {
    for folder in ["_manifests/tags", "_manifests/revisions", "_manifests"] {
        let tree = Tree::new();
        let app = tree.repository("app");
        app.image("v1");
        let guard = tree.unreadable(&app.folder().join(folder));
        all.run(&tree, &["ls"], &[], 3);
        all.run(&tree, &["du"], &[], 3);
        all.run(&tree, &["du"], &["app"], 3);
        guard.mend();
    }
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    // Only the history of a tag keeps an image, and what it points at nobody can tell.
    let alone = app.image_with_layers("alone", &["alone"]);
    tree.remove(&app.revision(&alone.digest));
    fs::remove_file(app.current("alone")).unwrap();
    all.run(&tree, &["du"], &[], 0);
    let guard = tree.unreadable(&app.current("v1"));
    all.run(&tree, &["ls"], &["app"], 3);
    all.run(&tree, &["du", "--tags"], &[], 3);
    guard.mend();
    let tree = Tree::new();
    let app = tree.repository("app");
    let broken = app.image("broken");
    tree.truncate(&tree.data(&broken.digest), 0);
    app.image_with_layers("nowhere", &["nowhere"]);
    fs::remove_file(app.current("nowhere")).unwrap();
    all.run(&tree, &["ls", "--tree", "--untagged"], &["app"], 3);
    all.run(&tree, &["du", "--tags"], &[], 3);
    all.run(&tree, &["du"], &["app:nowhere"], 3);
}

/// A run that may not move one of its things: it says so, in its journal as well.
fn not_removed(all: &mut Collector) {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    app.stray_layer("stray");
    tree.orphan("orphan");
    tree.give_to_nobody();
    tree.chmod(&app.folder().join("_layers/sha256"), 0o555);
    let root = tree.root();
    let arguments = ["gc", "--format", "json", "--registry-stopped", root.to_str().unwrap()];
    let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
    let report = all.document("gc that may not", run.exits(3));
    assert_eq!(report["outcome"], json!("incomplete"), "{report:#}");
    all.files(&tree);
}
