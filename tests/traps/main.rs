//! How collectors lose images, each a test: the scenarios of the traps list, named by their numbers.
//!
//! Every scenario runs through [`support::scenario::collect`]: a dry run, the real run, a second run, and the witnesses
//! of [`support::tree`], which ask before and after what a client can get. A scenario adds what must go and what must
//! stay. Pictures show what refers to what: `->` is a reference, `=>` a tag, `~>` a subject, `(x)` something broken or
//! missing.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod back;
mod brakes;
mod damage;
mod forgotten;
mod found;
mod leftovers;
mod names;
mod referents;
mod roots;
mod runs;
mod trash;
mod underfoot;

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::Duration;

use support::formats::sha256;
use support::tree::{Blob, Manifest, Repository, Tree, blob_object, write};

const HOUR: Duration = Duration::from_secs(3600);

/// Garbage that every run finds: a run that does nothing at all must not pass for a careful one.
fn control(tree: &Tree) -> Vec<String> {
    let orphan = tree.orphan("control");
    vec![blob_object(&orphan.digest)]
}

fn and(mut objects: Vec<String>, more: impl IntoIterator<Item = String>) -> Vec<String> {
    objects.extend(more);
    objects
}

/// Layer links and blobs of an image.
fn blobs_and_links(repository: &Repository<'_>, image: &Manifest) -> Vec<String> {
    let digests = image.blob_digests();
    digests.iter().flat_map(|digest| [blob_object(digest), repository.layer_object(digest)]).collect()
}

/// One tree with everything in it: garbage of every kind beside live images of every kind.
fn everything() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let moved = app.image("latest");
    app.push_tagged("latest", &Manifest::oci("newer", &["base", "newer"]));
    let deleted = app.image_with_layers("deleted", &["deleted"]);
    app.delete_by_api(&deleted);
    let by_hand = app.image_with_layers("by-hand", &["by hand"]);
    app.delete_by_hand("by-hand", &by_hand);
    app.push(&Manifest::referrer("signature", &moved));
    let nested = tree.repository("team/app/nested");
    let [amd64, arm64, loose] = ["amd64", "arm64", "loose"].map(|words| Manifest::docker(words, &["base", words]));
    [&amd64, &arm64, &loose].iter().for_each(|child| nested.push(child));
    nested.index("multi", &[&amd64, &arm64]);
    nested.push(&Manifest::index("loose index", &[&amd64, &loose]));
    nested.stray_layer("stray");
    nested.upload("stale", 400 * HOUR);
    nested.upload("fresh", HOUR);
    let old = tree.repository("old");
    old.push_tagged("s1", &Manifest::schema1("s1", &["s1"]));
    old.push_tagged("unknown", &Manifest::unknown("u", &["u1", "u2"]));
    old.push_tagged("moved", &Manifest::artifact("a", &["a1"]));
    old.push_tagged("moved", &Manifest::artifact("b", &["b1"]));
    fs::create_dir_all(old.layer(&sha256(b"empty"))).unwrap();
    tree.orphan("orphan one");
    tree.orphan("orphan two");
    tree.put(&Blob::sha512(b"orphan by sha512".to_vec()));
    write(&tree.v2().join("lost+found/x"), b"?");
    tree
}
