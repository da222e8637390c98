//! The whole run with a fault at every place: what it puts back first, what it looks at again, what it deletes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use regsweep::run::{Ended, How};
use regsweep::seam::{Answer, Kind, Seam};
use rustix::io::Errno;

use super::support::inside::{Call, DeadFrom, Nth, Recorder, for_each_on_all_cores, gc_inside, options};
use super::support::tree::{Manifest, Tree};
use super::{entries, reads};

fn small() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let child = Manifest::docker("child", &["base", "child"]);
    app.push(&child);
    app.index("multi", &[&child]);
    app.untagged("old");
    tree.orphan("orphan");
    tree.copy()
}

/// What a run does that dies at its n-th change, and the tree after it.
fn dies(tree: &Tree, is_the_last: impl Fn(&Call) -> bool) {
    // Where that is, is seen in a copy.
    let recorder = Recorder::new();
    gc_inside(&tree.copy().root(), recorder.seam(), options());
    let calls = recorder.calls();
    let nth = calls.iter().filter(|call| call.kind.changes()).position(is_the_last).expect("the run comes there");
    let dead = DeadFrom::the(nth + 1);
    gc_inside(&tree.root(), dead.seam(), options());
    assert!(dead.has_died());
}

/// A tree in which one run was cut off while it deleted its trash, and another while it moved things there.
fn tree_of_two_crashes() -> Tree {
    let tree = small();
    let files = |part: &str| {
        let all = walkdir::WalkDir::new(tree.regsweep()).into_iter().map(|entry| entry.unwrap().into_path());
        all.filter(|path| path.is_file() && path.to_str().unwrap().contains(part)).count()
    };
    dies(&tree, |call| call.kind == Kind::RemoveFile && call.path.to_str().unwrap().contains("/trash/"));
    let half_purged = files("/trash/");
    assert!(half_purged > 0, "something is left in the trash");

    let app = tree.repository("team/app");
    app.untagged("newer garbage");
    tree.repository("team/other").untagged("of another repository");
    tree.repository("team/other").image("v1");
    dies(&tree, |call| call.kind == Kind::Move && call.path.to_str().unwrap().contains("/_layers/"));
    assert!(files("/trash/") > half_purged, "something of the second run is in the trash");
    assert_eq!(files("journal"), 2);
    // A run that begins in the same second has to look for another name, and makes other calls than the next one.
    std::thread::sleep(Duration::from_millis(1100));
    tree
}

/// What a run owes, whatever went wrong: nothing that a faultless run keeps is gone, and no tag has lost anything.
struct Owed {
    kept: BTreeSet<String>,
    delivered: BTreeSet<String>,
}

impl Owed {
    fn check(&self, tree: &Tree, told: &dyn Fn() -> String) {
        let left = tree.objects();
        let gone: Vec<String> = self.kept.difference(&left).map(|object| tree.explain(object)).collect();
        assert!(gone.is_empty(), "{}\ngone, and a faultless run keeps it: {gone:#?}", told());
        let now = tree.deliverable(false);
        let lost: Vec<String> = self.delivered.difference(&now).map(|fact| tree.explain(fact)).collect();
        assert!(lost.is_empty(), "{}\nLOST: {lost:#?}", told());
    }
}

fn faults_of(call: &Call) -> Vec<Answer> {
    let mut answers = vec![Answer::Fail(Errno::IO)];
    if call.kind == Kind::List {
        let all = entries(call);
        let mut parts = vec![0, all / 2, all.saturating_sub(1)];
        parts.sort_unstable();
        parts.dedup();
        answers.extend(parts.into_iter().filter(|&part| part < all).map(Answer::Short));
    }
    answers
}

#[test]
fn t01_a_whole_run_with_a_fault_at_any_place_loses_nothing() {
    let tree = tree_of_two_crashes();
    let delivered = tree.deliverable(false);
    let faultless = tree.copy();
    let recorder = Recorder::new();
    // The copies are made before the run: entries of folders that it lists are counted in one that it did not touch.
    let (ended, _) = gc_inside(&faultless.root(), recorder.seam(), options());
    assert!(ended.complaint.is_none() && ended.swept.is_some(), "{:?}", ended.complaint);
    let owed = Owed { kept: faultless.objects(), delivered };
    assert_eq!(leftovers(&faultless), 0, "the faultless run clears up after both");
    let looks_again = looks_again(&recorder.calls());
    let calls: Vec<Call> = recorder.calls().into_iter().filter(|call| reads(call.kind)).collect();
    let answers = |call: &Call| {
        let path = call.path.strip_prefix(faultless.root()).map_or(call.path.clone(), |below| tree.root().join(below));
        faults_of(&Call { path, ..call.clone() })
    };
    let cases: Vec<(usize, Answer)> = calls
        .iter()
        .enumerate()
        .flat_map(|(nth, call)| answers(call).into_iter().map(move |answer| (nth, answer)))
        .collect();
    let ends = [const { AtomicUsize::new(0) }; 4];
    for_each_on_all_cores(&cases, |&(nth, answer)| {
        let copy = tree.copy();
        let hook = Nth::of(reads, move |n, _| if n == nth { answer } else { Answer::Go });
        let (ended, findings) = gc_inside(&copy.root(), hook.seam(), options());
        ends[place_of(&ended)].fetch_add(1, Ordering::Relaxed);
        let told = || {
            format!("{nth} of {}: {answer:?} at {:?}\n{:?}\n{findings:#?}", calls.len(), calls[nth], ended.complaint)
        };
        owed.check(&copy, &told);
        if matches!(answer, Answer::Fail(_)) && looks_again.contains(&nth) {
            assert!(ended.complaint.is_some(), "{}\nwhat cannot be looked at again has changed", told());
        }
        // The disk recovers: the next run ends as if nothing had been.
        let (ended, findings) = gc_inside(&copy.root(), Seam::default(), options());
        assert!(ended.complaint.is_none(), "{}\nthen: {:?} {findings:#?}", told(), ended.complaint);
        assert_eq!(copy.objects(), owed.kept, "{}\nthe next run converges", told());
        assert_eq!(leftovers(&copy), 0, "{}\nthe next run clears up", told());
        owed.check(&copy, &told);
    });
    let [done, refused, stopped, failed] = ends.map(AtomicUsize::into_inner);
    println!(
        "whole runs: {} places, {} faults, nothing lost: {done} came to their end, {refused} refused, \
         {stopped} stopped, {failed} failed",
        calls.len(),
        cases.len()
    );
    assert!(calls.len() > 500 && cases.len() > 600, "{} places, {} faults", calls.len(), cases.len());
    assert!(done > 100 && refused > 100 && stopped > 20 && failed > 20, "every way to end has been seen");
}

/// Which of the reading calls look again at what was read: between the run's own journal and the end of its window.
fn looks_again(calls: &[Call]) -> BTreeSet<usize> {
    let is_new = |call: &Call| {
        let folder = call.path.parent().unwrap();
        call.kind == Kind::OpenToWrite
            && call.path.ends_with("journal.jsonl")
            && calls.iter().any(|made| made.kind == Kind::MakeFolder && made.path == folder)
    };
    let begin = calls.iter().position(is_new).unwrap();
    let end = begin + calls[begin..].iter().position(|call| call.kind == Kind::SyncVolume).unwrap();
    let reading = calls.iter().enumerate().filter(|(_, call)| reads(call.kind)).enumerate();
    let looks = reading.filter(|(_, (place, call))| (begin..end).contains(place) && call.kind == Kind::Look);
    let looks: BTreeSet<usize> = looks.map(|(nth, _)| nth).collect();
    assert!(looks.len() > 50, "{} looks", looks.len());
    looks
}

fn place_of(ended: &Ended) -> usize {
    match ended.complaint.as_ref().map(|complaint| complaint.how) {
        None => 0,
        Some(How::Refused | How::NotThere) => 1,
        Some(How::Stopped) => 2,
        Some(How::Failed) => 3,
    }
}

/// Files that lie in the trash of any run.
fn leftovers(tree: &Tree) -> usize {
    let runs = fs::read_dir(tree.regsweep().join("runs")).unwrap();
    let files_below = |path: &Path| {
        let all = walkdir::WalkDir::new(path).into_iter().filter_map(Result::ok);
        all.filter(|entry| entry.file_type().is_file()).count()
    };
    runs.map(|run| files_below(&run.unwrap().path().join("trash"))).sum()
}
