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
mod links;
mod names;
mod protect;
mod referents;
mod referrers;
mod removal;
mod retention;
mod roots;
mod runs;
mod second;
mod slips;
mod trash;
mod underfoot;
mod undo;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::tree::{Manifest, Repository, Tree, blob_object, everything};

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
