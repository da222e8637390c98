//! A repair that dies, or that something fails in, at every call that changes anything.
//!
//! Whatever it had done until then, a client gets at least what it got before; and the next repair makes of it what an
//! undisturbed one makes.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use regsweep::check::{DataRequest, Request, Wishes};
use regsweep::finding::Findings;
use regsweep::progress::Unwatched;
use regsweep::registry::Registry;
use regsweep::run::{self, Mending, Repaired};
use regsweep::seam::{Answer, Kind, Operation, Seam};
use rustix::io::Errno;

use crate::support::inside::{DeadFrom, Nth, for_each_on_all_cores, on_one_thread, sample};
use crate::support::tree::{Blob, Manifest, Tree};

/// ```text
/// app   v1 => INDEX -> amd64 (its layer link is empty), arm64 (its revision link is gone)
///       v2 (its current link is empty), lost (its manifest is gone), damaged (a layer is)
/// ```
fn broken() -> Tree {
    let tree = Tree::in_memory();
    let app = tree.repository("app");
    let (amd64, arm64) = (Manifest::docker("amd64", &["base", "a"]), Manifest::docker("arm64", &["base", "b"]));
    app.push(&amd64);
    app.push(&arm64);
    app.index("v1", &[&amd64, &arm64]);
    app.image("v2");
    let lost = app.image_with_layers("lost", &["of lost"]);
    app.image_with_layers("damaged", &["base", "of damaged"]);
    tree.truncate(&app.layer(&Blob::layer("a").digest).join("link"), 0);
    tree.remove(&app.revision(&arm64.digest));
    tree.remove(&app.layer(&Blob::layer("b").digest).join("link"));
    tree.truncate(&app.current("v2"), 0);
    tree.remove(&tree.blob(&lost.digest));
    tree.flip(&tree.data(&Blob::layer("of damaged").digest));
    tree
}

fn mend(tree: &Tree, seam: Seam) -> Repaired {
    let Ok(registry) = Registry::open_with(&tree.root(), seam) else { return Repaired::default() };
    let wishes = Wishes { drop_dangling_tags: true, drop_dangling_revisions: true, max_aside: None };
    let request = Request { data: Some(DataRequest::default()), repair: Some(wishes), known: Vec::new() };
    let mending = Mending { deleters: 1, at: Timestamp::now(), window_began: Instant::now() };
    on_one_thread(|| run::repair(&registry, &request, mending, &Findings::default(), &Unwatched))
}

fn state(tree: &Tree) -> (BTreeSet<String>, BTreeSet<String>) {
    (tree.deliverable(true), tree.objects())
}

#[test]
fn a_repair_that_is_cut_off_anywhere_is_finished_by_the_next() {
    let before = broken().deliverable(true);
    let whole = broken();
    let done = mend(&whole, Seam::default());
    assert_eq!(done.complaint, None);
    let end = state(&whole);
    assert!(end.0.len() > before.len(), "something is mended");
    assert_eq!((done.removed.blobs.count, done.removed.tags.count, done.removed.revisions.count), (1, 1, 1));

    let counter = Nth::of(Kind::changes, |_, _| Answer::Go);
    mend(&broken(), counter.seam());
    let calls = counter.count();
    assert!(calls > 40, "{calls} calls that change something");
    let cases: Vec<(usize, Option<Errno>)> =
        (0..calls).flat_map(|nth| [None, Some(Errno::IO), Some(Errno::NOSPC)].map(|errno| (nth, errno))).collect();
    for_each_on_all_cores(&sample(cases, 150, 5), |&(nth, errno)| {
        let context = format!("call {nth}, {errno:?}");
        let tree = broken();
        match errno {
            None => {
                let dead = DeadFrom::the(nth);
                mend(&tree, dead.seam());
                assert!(dead.has_died(), "{context}");
            }
            Some(errno) => {
                let fails = move |n, _: &Operation<'_>| if n == nth { Answer::Fail(errno) } else { Answer::Go };
                mend(&tree, Nth::of(Kind::changes, fails).seam());
            }
        }
        let after: BTreeSet<String> = tree.deliverable(true);
        let gone: Vec<&String> = before.difference(&after).collect();
        assert!(gone.is_empty(), "{context}: lost {gone:#?}");
        let next = mend(&tree, Seam::default());
        assert_eq!(next.complaint, None, "{context}");
        assert_eq!(state(&tree), end, "{context}");
    });
}

/// A link that somebody has written meanwhile is theirs.
#[test]
fn what_was_written_meanwhile_stays() {
    let tree = broken();
    let app = tree.repository("app");
    let link = app.current("v2");
    let other = Manifest::docker("amd64", &["base", "a"]).digest;
    let (path, text) = (link.clone(), other.clone());
    // When everything was seen, and the plan is being written down.
    let writes = move |_, operation: &Operation<'_>| {
        if operation.name.ends_with("journal.jsonl") {
            std::fs::write(&path, &text).unwrap();
        }
        Answer::Go
    };
    let done = mend(&tree, Nth::of(|kind| kind == Kind::OpenToWrite, writes).seam());
    assert!(done.complaint.is_some() || done.swept.is_some_and(|swept| !swept.is_complete));
    assert_eq!(std::fs::read_to_string(&link).unwrap(), other);
}
