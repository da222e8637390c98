//! One call fails and the process goes on; or, from some moment on, all calls of a kind.

use std::collections::BTreeMap;
use std::path::Path;

use regsweep::finding::Finding;
use regsweep::plan::Totals;
use regsweep::seam::{Answer, Kind, Seam};
use regsweep::sweep::State;
use rustix::io::Errno;

use crate::cuts::{Film, waits};
use crate::disk::Disk;
use crate::runs::{self, Done, Work, gc, restore};
use crate::scene::{LITTLE, Scene};
use crate::support::inside::Nth;
use crate::support::inside::for_each_on_all_cores;
use crate::support::tree::Tree;

const ERRORS: [Errno; 4] = [Errno::IO, Errno::ACCESS, Errno::NOSPC, Errno::NOENT];

/// What can go wrong on the way to the disk.
fn acts(kind: Kind) -> bool {
    kind.changes() || waits(kind)
}

/// Each call of what [`acts`], and each way in which it can fail. A removal that fails because there is nothing to be
/// removed is left out: that is success, and where the name is there all the same no system says so.
pub(crate) fn all_errors(scene: &Scene, disk: &Disk, work: Work) -> (usize, Vec<(usize, Errno)>) {
    let tree = scene.tree_of(disk);
    let film = Film::of(&tree.root());
    assert_eq!(work(&tree, film.seam()).complaint, None);
    let kinds: Vec<Kind> = film.frames().iter().map(|frame| frame.kind).collect();
    let all = kinds.iter().enumerate().flat_map(|(nth, kind)| {
        let removes = matches!(kind, Kind::RemoveFile | Kind::RemoveFolder);
        ERRORS.into_iter().filter(move |errno| !removes || *errno != Errno::NOENT).map(move |errno| (nth, errno))
    });
    (kinds.len(), all.collect())
}

/// The n-th call of what [`acts`] fails, and no other.
pub(crate) fn fails_once(nth: usize, errno: Errno) -> Seam {
    Nth::of(acts, move |count, _| if count == nth { Answer::Fail(errno) } else { Answer::Go }).seam()
}

#[test]
fn t27_an_error_anywhere_loses_nothing() {
    let scene = &*LITTLE;
    let (calls, cases) = all_errors(scene, &scene.disk, gc);
    for_each_on_all_cores(&cases, |&(nth, errno)| {
        let what = format!("{errno:?} at call {nth}");
        let tree = scene.tree();
        let done = gc(&tree, fails_once(nth, errno));
        is_honest(scene, &tree, &done, &what);
        // What refers to something that stays has gone first; only where room is made blobs go before their links.
        if errno != Errno::NOSPC {
            scene.nothing_dangles(&tree, &what);
        }
        scene.survives(&tree, &what);
    });
    println!("errors: {calls} calls of a run, failing in {} ways", cases.len());
    assert!(calls > 120, "only {calls} calls");
}

/// A kind of trouble that stays: the calls that it hits, and what they fail with.
type Trouble = (&'static str, fn(Kind) -> bool, Errno);

const TROUBLES: &[Trouble] = &[
    ("the volume turns read-only", Kind::changes, Errno::ROFS),
    ("the volume fills up", |kind| matches!(kind, Kind::MakeFolder | Kind::OpenToWrite | Kind::Write), Errno::NOSPC),
    (
        "the volume fills up, and needs room for a rename",
        |kind| matches!(kind, Kind::MakeFolder | Kind::OpenToWrite | Kind::Write | Kind::Move),
        Errno::NOSPC,
    ),
    ("no folder can be made", |kind| kind == Kind::MakeFolder, Errno::NOSPC),
    ("nothing can be moved", |kind| kind == Kind::Move, Errno::NOSPC),
    ("nothing can be written", |kind| kind == Kind::Write, Errno::NOSPC),
    ("nothing is on the disk", waits, Errno::NOSPC),
    ("nothing can be deleted", |kind| matches!(kind, Kind::RemoveFile | Kind::RemoveFolder), Errno::ROFS),
    ("nothing can be moved, read-only", |kind| kind == Kind::Move, Errno::ROFS),
    ("nothing can be written, read-only", |kind| kind == Kind::Write, Errno::ROFS),
];

#[test]
fn t27_trouble_that_stays_loses_nothing() {
    let scene = &*LITTLE;
    let mut cases = Vec::new();
    for trouble in TROUBLES {
        let calls = scene.count(&scene.disk, trouble.1, gc);
        assert!(calls > 0, "{}", trouble.0);
        cases.extend((0..calls).map(|first| (trouble, first)));
    }
    for_each_on_all_cores(&cases, |&(&(name, hit, errno), first)| {
        let what = format!("{name}, from call {first} on");
        let tree = scene.tree();
        let trouble = Nth::of(hit, move |count, _| if count >= first { Answer::Fail(errno) } else { Answer::Go });
        let done = gc(&tree, trouble.seam());
        is_honest(scene, &tree, &done, &what);
        if errno != Errno::NOSPC {
            scene.nothing_dangles(&tree, &what);
        }
        scene.survives(&tree, &what);
    });
    println!("trouble that stays: {} kinds, beginning at {} calls", TROUBLES.len(), cases.len());
    assert!(cases.len() > 300, "only {} cases", cases.len());
}

/// Where it could not be waited for something, nothing is done that rests on it: no rename without the plan, no mark
/// without the renames, no deleting without the mark; and a restore that is not on the disk is not noted.
#[test]
fn t27_what_could_not_be_waited_for_is_not_believed() {
    let scene = &*LITTLE;
    let tree = scene.tree();
    let film = Film::of(&tree.root());
    gc(&tree, film.seam());
    let frames = film.frames();
    let deleting = frames.iter().position(|frame| frame.kind == Kind::RemoveFile).unwrap();
    let volume = frames.iter().position(|frame| frame.kind == Kind::SyncVolume).unwrap();
    let all: Vec<usize> = (0..deleting).filter(|&nth| waits(frames[nth].kind)).collect();
    for_each_on_all_cores(&all, |&nth| {
        let what = format!("{:?} fails", frames[nth]);
        let tree = scene.tree();
        let done = gc(&tree, fails_once(nth, Errno::IO));
        // The last of them is for the line that says that deleting begins: all is done but that.
        let is_said = |finding: &Finding| finding.message.contains("cannot be deleted from the trash");
        let is_kept = nth == *all.last().unwrap() && done.findings.iter().any(is_said);
        assert!(done.complaint.is_some() || is_kept, "{what}: and nobody says so");
        let is_moved = nth >= volume;
        assert_eq!(tree.objects() == scene.objects, !is_moved, "{what}: moved without a plan on the disk");
        let is_marked = runs::trashes(&tree).iter().any(|(_, progress)| progress.swept.is_some());
        assert!(nth > volume || !is_marked, "{what}: marked");
        let settled = put_back(&tree, true);
        assert!(settled.as_ref().unwrap_or(&tree).objects() == scene.objects, "{what}: something is deleted");
    });
    let tree = scene.tree_of(&scene.aside);
    let done = restore(&tree, Nth::of(|kind| kind == Kind::SyncVolume, |_, _| Answer::Fail(Errno::IO)).seam());
    assert!(done.complaint.is_some() && runs::states(&tree) == [State::Kept]);
    println!("not waited for: {} calls of a run", all.len());
    assert!(all.len() >= 7, "only {} calls", all.len());
}

/// What a run says of itself is so: it is complete, or it says what is wrong; and what it says that it removed is gone,
/// and nothing else is. What lies in the trash of a run that failed is not removed: it may be put back.
fn is_honest(scene: &Scene, tree: &Tree, done: &Done, what: &str) {
    let is_complete = tree.objects() == scene.end;
    let says_so = done.complaint.is_some() || done.findings != scene.findings;
    assert!(is_complete || says_so, "{what}: neither complete, nor is anything said");
    let settled = put_back(tree, done.complaint.is_some());
    let left = settled.as_ref().unwrap_or(tree).objects();
    let mut gone: BTreeMap<&str, u64> = BTreeMap::new();
    for object in scene.objects.difference(&left) {
        // The history of a tag goes with the tag.
        if object.split_once(" history ").is_none_or(|(tag, _)| left.contains(tag)) {
            *gone.entry(kind_of(object)).or_default() += 1;
        }
    }
    assert_eq!(counts(&done.removed), gone, "{what}: said to be removed, and gone; {:?}", done.complaint);
}

/// The tree with what was moved without a mark, or by a run that has failed; `None` if there is no such thing.
fn put_back(tree: &Tree, has_failed: bool) -> Option<Tree> {
    let is_uncommitted = |progress: &runs::Progress| has_failed || progress.swept.is_none();
    let uncommitted: Vec<_> =
        runs::trashes(tree).into_iter().filter(|(_, progress)| is_uncommitted(progress)).collect();
    if !uncommitted.iter().any(|(trash, _)| crate::scene::holds_any(trash)) {
        return None;
    }
    let mut disk = Disk::of(&tree.root());
    for (trash, _) in uncommitted {
        disk.lay_over(trash.strip_prefix(tree.root()).unwrap(), Path::new("docker/registry/v2"));
    }
    let settled = Tree::in_memory();
    disk.write_to(&settled.root());
    Some(settled)
}

fn kind_of(object: &str) -> &'static str {
    let kinds = [" history ", " tag ", " revision ", " layer ", " upload "];
    match kinds.into_iter().find(|kind| object.contains(kind)) {
        Some(kind) => kind.trim(),
        None if object.starts_with("blob ") => "blob",
        None => "repository",
    }
}

fn counts(totals: &Totals) -> BTreeMap<&'static str, u64> {
    let all = [
        ("blob", totals.blobs.count),
        ("revision", totals.revisions.count),
        ("tag", totals.tags.count),
        ("history", totals.tag_history.count),
        ("layer", totals.layer_links.count),
        ("upload", totals.uploads.count),
        ("repository", totals.repositories.count),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}
