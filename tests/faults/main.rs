//! What cannot be read is never taken for absent, wherever in a run it happens (T01, T05, T06, T18, T31).
//!
//! A test stands at the seam between regsweep and the system, and makes the n-th call fail, give less than is there, or
//! do its work a moment after somebody has taken something away: for every n, one after the other. What such a run
//! would remove is compared with what the same run removes when nothing is wrong.
//!
//! - [`reading`]: scan, mark and plan, over a tree with everything in it, damage included;
//! - [`whole`]: the whole run, with what it has to put back first, and its second and third look;
//! - [`vanishing`]: a registry that is at work while it is read;
//! - [`permissions`]: the same with permission bits, and the binary itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]

mod names;
mod permissions;
mod reading;
mod vanishing;
mod whole;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use regsweep::collect::{self, Collection};
use regsweep::finding::{Finding, Findings, Severity};
use regsweep::policy::Policy;
use regsweep::progress::Unwatched;
use regsweep::registry::Registry;
use regsweep::seam::{Kind, Seam};
use support::formats::{sha256, sha512};
use support::inside::{Call, options};
use support::tree::{Blob, Manifest, Tree, write};

const HOUR: Duration = Duration::from_secs(3600);

/// The calls that look at the tree, of which every one can fail.
fn reads(kind: Kind) -> bool {
    matches!(kind, Kind::OpenFolder | Kind::List | Kind::OpenFile | Kind::Read | Kind::Look)
}

/// What a collection says, to be compared with another one's.
struct Said {
    /// What goes; nothing where a brake stops the run.
    actions: BTreeSet<String>,
    is_stopped: bool,
    findings: BTreeSet<Finding>,
}

impl Said {
    fn new(collection: &Collection, findings: Vec<Finding>) -> Said {
        let is_stopped = collection.brake.is_some();
        let plan = collection.plan.actions();
        let actions = plan.map(|action| {
            let place = action.repository.map(ToString::to_string).unwrap_or_default();
            let digest = action.digest.map(ToString::to_string).unwrap_or_default();
            format!("{:?} {place} {} {digest}", action.kind, action.name.unwrap_or_default())
        });
        Said {
            actions: if is_stopped { BTreeSet::new() } else { actions.collect() },
            is_stopped,
            findings: findings.into_iter().collect(),
        }
    }

    /// What somebody has to be told.
    fn complaints(&self) -> BTreeSet<&Finding> {
        self.findings.iter().filter(|finding| finding.severity != Severity::Info).collect()
    }
}

/// Scan, mark and plan. The caller sees to it that it happens on one thread.
fn collected(root: &Path, policy: &Policy, seam: Seam) -> Said {
    let registry = Registry::open_with(root, seam).unwrap();
    let findings = Findings::default();
    let options = collect::Options { policy, ..options().collect };
    let collection = regsweep::collect::collect(&registry, options, &findings, &Unwatched).unwrap();
    Said::new(&collection, findings.into_sorted())
}

/// The default, or `--delete-untagged`.
fn policy(delete_untagged: bool) -> Policy {
    Policy { delete_untagged, ..Policy::default() }
}

/// How many entries a folder has that is about to be listed.
fn entries(call: &Call) -> usize {
    fs::read_dir(&call.path).map_or(0, Iterator::count)
}

/// A tree with garbage of every kind beside live images of every kind, and damage beside both.
fn rich() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let moved = app.image("latest");
    app.push_tagged("latest", &Manifest::oci("newer", &["base", "newer"]));
    let deleted = app.image_with_layers("deleted", &["deleted"]);
    app.delete_by_api(&deleted);
    let by_hand = app.image_with_layers("by-hand", &["by hand"]);
    app.delete_by_hand("by-hand", &by_hand);
    let signature = Manifest::referrer("signature", &moved);
    app.push(&signature);
    let multi = tree.repository("team/app/nested");
    let [amd64, arm64, loose] = ["amd64", "arm64", "loose"].map(|words| Manifest::docker(words, &["base", words]));
    [&amd64, &arm64, &loose].iter().for_each(|child| multi.push(child));
    let inner = Manifest::index("inner", &[&arm64]);
    multi.push(&inner);
    multi.index("multi", &[&amd64, &inner]);
    multi.push(&Manifest::index("loose index", &[&loose]));
    let sbom = Manifest::referrer("sbom", &amd64);
    multi.push(&sbom);
    multi.push(&Manifest::referrer("signature of the sbom", &sbom));
    multi.stray_layer("stray");
    multi.upload("stale", 400 * HOUR);
    multi.upload("fresh", HOUR);
    old_formats(&tree);
    damage(&tree);
    let empty = tree.repository("team/empty");
    empty.stray_layer("of nothing");
    empty.upload("stale", 400 * HOUR);
    fs::create_dir_all(empty.revision(&sha256(b"gone"))).unwrap();
    // An upload that has just begun, in a repository of which all else goes.
    let starting = tree.repository("team/starting");
    starting.stray_layer("of another upload");
    fs::remove_file(starting.upload("begun", HOUR).join("startedat")).unwrap();
    tree.orphan("orphan");
    tree.put(&Blob::sha512(b"orphan by sha512".to_vec()));
    tree
}

/// What old registries wrote, and what lies where the layout knows no links.
fn old_formats(tree: &Tree) {
    let old = tree.repository("old");
    let signed = Manifest::schema1("s1", &["s1"]);
    old.push_tagged("s1", &signed);
    let signature = tree.orphan("signature of s1");
    let signatures = old.revision(&signed.digest).join("signatures/sha256").join(&signature.digest[7..]);
    write(&signatures.join("link"), signature.digest.as_bytes());
    old.push_tagged("unknown", &Manifest::unknown("u", &["u1", "u2"]));
    old.push_tagged("moved", &Manifest::artifact("a", &["a1"]));
    old.push_tagged("moved", &Manifest::artifact("b", &["b1"]));
    old.push_tagged("untyped", &Manifest::untyped("untyped", &["untyped"]));

    let sha512s = tree.repository("sha512");
    let own = Blob::sha512(b"stored under its sha512 name".to_vec());
    sha512s.push_tagged("own", &Manifest::docker_of("own", &[own]));
    // Linked under the sha512 name, and stored under the sha256 name.
    let bytes = b"stored under its sha256 name".to_vec();
    let named = Blob { digest: sha512(&bytes), bytes: bytes.clone() };
    let image = Manifest::docker_of("linked", std::slice::from_ref(&named));
    sha512s.push_tagged("linked", &image);
    fs::remove_dir_all(tree.blob(&named.digest)).unwrap();
    let stored = Blob::new(bytes);
    tree.put(&stored);
    sha512s.link_layer(&stored.digest);
    write(&sha512s.layer(&named.digest).join("link"), stored.digest.as_bytes());

    // Only these links in odd places keep what they name.
    let odd = tree.repository("odd");
    odd.image("v1");
    let layers = ["tarsum", "hidden by an odd name"].map(|words| tree.orphan(words));
    let link = |path: &str, digest: &str| write(&odd.folder().join(path).join("link"), digest.as_bytes());
    link("_layers/tarsum/v1/sha256/aa", &layers[0].digest);
    link("_layers/sha256/not-a-digest", &layers[1].digest);
    let by_odd_link = Manifest::docker("by odd link", &["by odd link"]);
    odd.push(&by_odd_link);
    fs::remove_dir_all(odd.revision(&by_odd_link.digest)).unwrap();
    link("_manifests/revisions/tarsum/v1/bb", &by_odd_link.digest);
}

/// Tags and manifests as crashes and careless hands leave them, and indexes of which a part is elsewhere.
fn damage(tree: &Tree) {
    let app = tree.repository("damage/app");
    app.image("whole");
    // A push that was cut off before its last step.
    let no_target = app.image_with_layers("no-target", &["no target"]);
    fs::remove_dir_all(app.tag_folder("no-target").join("current")).unwrap();
    app.image_with_layers("cut", &["cut, old"]);
    app.push_tagged("cut", &Manifest::docker("cut, new", &["cut, new"]));
    tree.truncate(&app.current("cut"), 0);
    let dangling = app.image_with_layers("dangling", &["dangling"]);
    fs::remove_dir_all(app.revision(&dangling.digest)).unwrap();
    app.untagged("untagged");
    assert!(app.revision(&no_target.digest).exists());

    let tainted = tree.repository("damage/tainted");
    let flipped = tainted.image("flipped");
    tree.flip(&tree.data(&flipped.digest));
    tainted.untagged("kept by the taint");
    tainted.stray_layer("kept by the taint as well");

    // The child is here, and untagged; an index of another repository needs it.
    let child = Manifest::docker("sparse child", &["sparse child"]);
    tree.repository("sparse/has").push(&child);
    let absent = Manifest::docker("sparse and nowhere", &["nowhere"]);
    tree.repository("sparse/lists").index("v1", &[&child, &absent]);
}
