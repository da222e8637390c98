//! T27: `kill -9`, a bad disk, a full volume and a power cut, at every step of a run.
//!
//! The runs are made inside the test's process, with the test between them and the system (`support::inside`). What a
//! run leaves behind is judged by witnesses that know nothing of regsweep ([`scene::Scene`]): nothing that a tag could
//! deliver is lost; nothing that is left refers to something that is gone; and the next run ends where a run would have
//! ended that nothing disturbed.
//!
//! - [`points`]: the process dies, anywhere, also while it clears up after an earlier death;
//! - [`errors`]: one call fails, or all calls of a kind from some moment on, and the process goes on;
//! - [`ends`]: it ends early by itself, on a full volume or before it has done anything;
//! - [`halts`]: somebody asks the run to end, and it ends by itself;
//! - [`mending`]: the same for `check --repair`;
//! - [`trash`]: the same for `trash restore` and `trash purge`;
//! - [`writers`]: the registry was written to between the death and the next run;
//! - [`power`]: of what was not waited for, any part may have reached the disk.
//!
//! Every test counts what it has gone through, says so, and fails if that is too little.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod cuts;
mod disk;
mod ends;
mod errors;
mod halts;
mod mending;
mod points;
mod power;
mod runs;
mod scene;
mod trash;
mod writers;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::tree::{Manifest, Tree};

const HOUR: Duration = Duration::from_secs(3600);

/// Garbage of every kind beside live images of every kind, and two repositories of which nothing is left in the end.
fn rich(tree: &Tree) {
    tree.fill_with_everything();
    let gone = tree.repository("gone/whole");
    gone.untagged("old");
    gone.upload("stale", 400 * HOUR);
    tree.repository("gone/too").stray_layer("stray too");
}

/// A little of everything, for tests that go through more than one run can have steps.
///
/// ```text
/// team/app    v1 => M      latest => N, once => O: shares a layer with N      old: untagged, shares one with M
/// gone        stray: a layer that no manifest names
/// ```
fn little(tree: &Tree) {
    let app = tree.repository("team/app");
    app.image("v1");
    app.untagged_with_layers("old", &["base", "team/app old"]);
    app.image_with_layers("latest", &["first"]);
    app.push_tagged("latest", &Manifest::docker("second", &["first"]));
    app.upload("stale", 400 * HOUR);
    tree.repository("gone").stray_layer("stray");
    tree.orphan("orphan");
}

/// The least that has a step of each kind: what is cut by the power goes through all subsets of the steps.
///
/// ```text
/// app    v1 => M        old: untagged, shares its only layer with M
/// ```
fn least(tree: &Tree) {
    let app = tree.repository("app");
    app.image_with_layers("v1", &["base"]);
    app.untagged_with_layers("old", &["base", "own"]);
    app.upload("stale", 400 * HOUR);
    tree.orphan("orphan");
}
