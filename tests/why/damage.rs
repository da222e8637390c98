//! Damage that touches the question is told, and ends with exit code 3; other damage is not.

use serde_json::json;

use crate::support::tree::{Blob, Tree};
use crate::{lines, why, why_json};

#[test]
fn a_layer_that_is_gone_and_that_a_tag_needs() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image_with_layers("v1", &["base", "own"]);
    tree.remove(&tree.blob(&image.blobs[2].digest));
    let (document, code) = why_json(&tree, &[&image.blobs[2].digest]);
    assert_eq!((&document["state"], code), (&json!("missing"), 3));
    assert_eq!(lines(&document), ["team/app:v1 -> linux/amd64 image -> layer 2 of 2"]);
    let run = why(&tree, &[&image.blobs[2].digest]);
    assert!(run.exits(3).text().contains("cannot be pulled"), "{}", run.text());
    assert!(run.stderr.contains("missing from the blob store"), "{}", run.stderr);
}

#[test]
fn a_layer_that_is_gone_and_that_no_tag_needs() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.untagged_with_layers("untagged", &["base", "own"]);
    tree.remove(&tree.blob(&image.blobs[2].digest));
    let (document, code) = why_json(&tree, &[&image.blobs[2].digest]);
    assert_eq!((&document["state"], code), (&json!("missing"), 0));
    assert_eq!(lines(&document), ["team/app (untagged) -> linux/amd64 image -> layer 2 of 2"]);
}

#[test]
fn a_blob_without_its_data() {
    let tree = Tree::new();
    let image = tree.repository("team/app").image("v1");
    tree.remove(&tree.data(&image.blobs[2].digest));
    let (document, code) = why_json(&tree, &[&image.blobs[2].digest]);
    assert_eq!((&document["state"], code), (&json!("needed"), 3));
    assert!(document["problem"].is_string(), "{document:#}");
    let text = why(&tree, &[&image.blobs[2].digest]).exits(3).text();
    assert!(text.contains("something is wrong with its blob"), "{text}");
}

#[test]
fn a_tainted_repository_keeps_everything() {
    let tree = Tree::new();
    let (app, job) = (tree.repository("team/app"), tree.repository("team/job"));
    let image = app.image("v1");
    let stray = app.stray_layer("stray");
    job.image("main");
    tree.flip(&tree.data(&image.digest));
    let (document, code) = why_json(&tree, &[&stray.digest]);
    assert_eq!((lines(&document), code), (vec!["team/app (tainted) -> blob".to_owned()], 3));
    let text = why(&tree, &[&stray.digest]).exits(3).text();
    assert!(text.contains("tainted: something in this repository is damaged"), "{text}");
    // Damage elsewhere is another question.
    let run = why(&tree, &["team/job:main"]);
    assert_eq!((run.exits(0).stderr.as_str(), run.code), ("", 0));
}

#[test]
fn a_tag_whose_link_cannot_be_used_keeps_its_history() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let before = app.image_with_layers("v1", &["old"]);
    app.image_with_layers("v1", &["new"]);
    tree.truncate(&app.current("v1"), 0);
    let (document, code) = why_json(&tree, &["-m", &before.digest]);
    assert_eq!((lines(&document), code), (vec!["team/app (damaged-tag) -> linux/amd64 image".to_owned()], 3));
    let run = why(&tree, &["team/app:v1"]);
    assert!(run.exits(3).text().contains("its current link cannot be used"), "{}", run.text());
}

#[test]
fn a_layer_that_goes_by_another_name() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let canonical = Blob::layer("aliased");
    let alias = Blob::sha512(canonical.bytes.clone());
    let image = crate::support::tree::Manifest::docker_of("image", std::slice::from_ref(&alias));
    app.push_tagged("v1", &image);
    tree.remove(&tree.blob(&alias.digest));
    tree.put(&canonical);
    tree.replace(&app.layer(&alias.digest).join("link"), canonical.digest.as_bytes());
    let (document, code) = why_json(&tree, &[&canonical.digest]);
    let expected = "team/app:v1 -> linux/amd64 image -> layer 1 of 1 -> layer-link blob";
    assert_eq!((lines(&document), code), (vec![expected.to_owned()], 0));
}

#[test]
fn a_registry_that_no_gc_may_touch() {
    let tree = Tree::new();
    let orphan = tree.orphan("orphan");
    let (document, code) = why_json(&tree, &[&orphan.digest]);
    assert_eq!((&document["state"], &document["kept"], code), (&json!("kept"), &json!("refused"), 0));
    let text = why(&tree, &[&orphan.digest]).text();
    assert!(text.contains("gc refuses to remove anything here"), "{text}");
}
