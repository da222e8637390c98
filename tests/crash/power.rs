//! The power is cut, anywhere in a run, a restore, a purge: whatever part of what was not waited for has reached the
//! disk, the next run ends where an undisturbed one ends. And a journal never says more than is true.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regsweep::seam::Kind;
use regsweep::sweep::{Progress, State, progress_of};

use crate::cuts::{Cuts, Film, Frame};
use crate::disk::Disk;
use crate::runs::{self, Work, gc, purge, restore};
use crate::scene::{LITTLE, Scene};
use crate::support::inside::DeadFrom;
use crate::support::inside::for_each_on_all_cores;
use crate::support::tree::Tree;
use regsweep::seam::Seam;

static LEAST: LazyLock<Scene> = LazyLock::new(|| Scene::of(crate::least));

const V2: &str = "docker/registry/v2";

/// After at most so many states of one piece of work the next run is made; what the journals say is checked in all.
const JUDGED: usize = 3000;

fn ours() -> PathBuf {
    Path::new(V2).join("_regsweep")
}

/// One piece of work from its start to its end.
struct Story {
    start: Disk,
    end: Disk,
    frames: Vec<Frame>,
}

impl Story {
    fn of(scene: &Scene, start: &Disk, work: Work) -> Self {
        let tree = scene.tree_of(start);
        let film = Film::of(&tree.root());
        assert_eq!(work(&tree, film.seam()).complaint, None);
        Self { start: start.clone(), end: Disk::of(&tree.root()), frames: film.frames() }
    }

    /// All states, each of which is true, and which the judge gets as trees.
    fn cut(&self, name: &str, scene: &Scene, judge: impl Fn(&Tree, &str) + Sync) -> Cuts {
        self.cut_before(self.frames.len(), name, scene, judge)
    }

    fn cut_before(&self, calls: usize, name: &str, scene: &Scene, judge: impl Fn(&Tree, &str) + Sync) -> Cuts {
        let cuts = Cuts::of(&self.start, &self.end, &self.frames, calls);
        for (point, disk) in &cuts.states {
            let what = match point.checked_sub(1) {
                Some(last) => format!("{name}: cut after {:?}", self.frames[last]),
                None => format!("{name}: not begun"),
            };
            self.is_true(disk, &what);
        }
        // The first state is the first point, and neighbours differ in little.
        let judged: Vec<_> = cuts.states.iter().step_by(cuts.states.len().div_ceil(JUDGED)).collect();
        for_each_on_all_cores(&judged, |(point, disk)| {
            let tree = scene.tree_of(disk);
            judge(&tree, &format!("{name}: cut after {:?}", point.checked_sub(1).map(|last| &self.frames[last])));
        });
        println!(
            "power cut, {name}: {} points, {} subsets, {} different states, the next run after {} of them",
            cuts.points,
            cuts.subsets,
            cuts.states.len(),
            judged.len()
        );
        cuts
    }

    /// What the journals on this disk say is so.
    fn is_true(&self, disk: &Disk, what: &str) {
        let before = journals(&self.start);
        let [own, tree] = disk.split(&ours());
        let mut kept: BTreeSet<&Path> = BTreeSet::new();
        let mut something_may_be_gone = false;
        for (run, journal) in journals(disk) {
            let things = things_in(&own, &run.join("trash"));
            let was = before.get(&run).map(|journal| journal.progress.clone()).unwrap_or_default();
            let now = &journal.progress;
            assert!(things.is_empty() || journal.is_planned, "{what}: moved before the plan is on the disk");
            if now.swept.is_some() && was.swept.is_none() {
                let [_, end] = self.end.split(&ours());
                assert!(files(&tree) == files(&end), "{what}: the mark is on the disk, and not all renames are");
            }
            if now.restored && !was.restored {
                assert!(things.is_empty(), "{what}: restored, says the journal, and {things:?} is in the trash");
            }
            something_may_be_gone |= now.swept.is_some() && now.purging;
        }
        // Whatever is not in the tree is in a trash, unless it may be deleted.
        let all: Vec<PathBuf> = own.files().map(|(path, _)| untrashed(path)).collect();
        kept.extend(all.iter().map(PathBuf::as_path));
        kept.extend(tree.files().map(|(path, _)| path));
        let gone = self.start.files().map(|(path, _)| untrashed(path)).find(|path| !kept.contains(path.as_path()));
        assert!(gone.is_none() || something_may_be_gone, "{what}: {gone:?} is gone, and no mark says that it may be");
    }
}

fn files(disk: &Disk) -> BTreeMap<&Path, &[u8]> {
    disk.files().collect()
}

/// Where something in a trash belongs; what is in none is where it belongs.
fn untrashed(path: &Path) -> PathBuf {
    let mut parts = path.components();
    if parts.by_ref().any(|part| part.as_os_str() == "trash") { Path::new(V2).join(parts) } else { path.to_owned() }
}

struct Journal {
    progress: Progress,
    is_planned: bool,
}

/// The journals of all runs, by the folders of the runs.
fn journals(disk: &Disk) -> BTreeMap<PathBuf, Journal> {
    let runs = ours().join("runs");
    let folders = disk.folders().filter(|folder| folder.parent() == Some(&runs));
    let all = folders.map(|folder| {
        let text = files(disk).get(&*folder.join("journal.jsonl")).copied().unwrap_or_default();
        let is_planned = String::from_utf8_lossy(text).contains("{\"event\":\"planned\"");
        (folder.to_owned(), Journal { progress: progress_of(Cursor::new(text)).unwrap(), is_planned })
    });
    all.collect()
}

/// Files, and folders of digests, which may be empty.
fn things_in<'d>(disk: &'d Disk, folder: &Path) -> Vec<&'d Path> {
    let is_digest = |path: &Path| path.file_name().is_some_and(|name| name.len() >= 64);
    let files = disk.files().map(|(path, _)| path);
    let things = files.chain(disk.folders().filter(|path| is_digest(path)));
    things.filter(|path| path.starts_with(folder)).collect()
}

fn enough(cuts: &Cuts, points: usize, subsets: usize, states: usize) {
    assert!(
        cuts.points > points && cuts.subsets > subsets && cuts.states.len() > states,
        "only {} points, {} subsets, {} states",
        cuts.points,
        cuts.subsets,
        cuts.states.len()
    );
}

#[test]
fn t27_a_run_survives_a_power_cut() {
    let scene = &*LEAST;
    let story = Story::of(scene, &scene.disk, gc);
    let cuts = story.cut("gc", scene, |tree, what| {
        scene.nothing_is_lost(tree, what);
        scene.next_run_ends(tree, what);
    });
    enough(&cuts, 60, 3000, 500);
}

/// The disk after a run that died right before its mark.
fn cut_off_before_the_mark(scene: &Scene) -> Disk {
    let frames = Story::of(scene, &scene.disk, gc).frames;
    let changes: Vec<&Frame> = frames.iter().filter(|frame| frame.kind.changes()).collect();
    let is_of_the_journal = |frame: &&Frame| frame.kind == Kind::Write && frame.path.ends_with("journal.jsonl");
    let plan = changes.iter().position(is_of_the_journal).unwrap();
    let mark = plan + 1 + changes[plan + 1..].iter().position(is_of_the_journal).unwrap();
    let tree = scene.tree();
    gc(&tree, DeadFrom::the(mark).seam());
    assert!(tree.objects() == scene.end && runs::states(&tree) == [State::CutOff]);
    Disk::of(&tree.root())
}

#[test]
fn t27_putting_back_survives_a_power_cut() {
    let scene = &*LEAST;
    let story = Story::of(scene, &cut_off_before_the_mark(scene), gc);
    let cuts = story.cut("gc after a crash", scene, |tree, what| {
        scene.nothing_is_lost(tree, what);
        scene.next_run_ends(tree, what);
    });
    enough(&cuts, 100, 3000, 1000);
}

#[test]
fn t27_a_restore_survives_a_power_cut() {
    let scene = &*LEAST;
    let story = Story::of(scene, &scene.aside, restore);
    let cuts = story.cut("restore", scene, |tree, what| {
        scene.nothing_is_lost(tree, what);
        if runs::states(tree) == [State::Kept] {
            assert_eq!(restore(tree, Seam::default()).complaint, None, "{what}");
        }
        let [_, now] = Disk::of(&tree.root()).split(&ours());
        assert!(files(&now) == files(&scene.disk), "{what}: not all is back");
        scene.next_run_ends(tree, what);
    });
    enough(&cuts, 25, 1000, 300);
}

#[test]
fn t27_a_purge_survives_a_power_cut() {
    let scene = &*LEAST;
    let story = Story::of(scene, &scene.aside, purge);
    let cuts = story.cut("purge", scene, |tree, what| {
        scene.nothing_is_lost(tree, what);
        scene.next_run_ends(tree, what);
        if runs::states(tree).contains(&State::Kept) {
            assert_eq!(purge(tree, Seam::default()).complaint, None, "{what}");
        }
        assert!(runs::trashes(tree).is_empty(), "{what}: the trash is deleted");
    });
    enough(&cuts, 30, 1000, 200);
}

/// More steps than all subsets can be gone through of, and a repository that goes whole.
#[test]
fn t27_a_run_that_takes_a_repository_away_survives_a_power_cut() {
    let scene = &*LITTLE;
    let story = Story::of(scene, &scene.disk, gc);
    // Up to the mark; what comes after it is as in the other tests.
    let volume = story.frames.iter().position(|frame| frame.kind == Kind::SyncVolume).unwrap();
    let cuts = story.cut_before(volume + 3, "gc with a repository that goes whole", scene, |tree, what| {
        scene.nothing_is_lost(tree, what);
        scene.next_run_ends(tree, what);
    });
    enough(&cuts, 60, 3000, 500);
}
