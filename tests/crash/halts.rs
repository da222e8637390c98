//! Somebody asks a run to end, at every call. It finishes what is in hand, and what it did stays done: nothing is put
//! back, nothing refers to what is gone, and the next run goes on.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use regsweep::finding::Finding;
use regsweep::halt::Halt;
use regsweep::run::{self, Ended, How};
use regsweep::seam::{Answer, Interceptor, Kind, Operation, Seam};
use regsweep::sweep::{Left, State};

use crate::disk::Disk;
use crate::runs::{self, gc, restore, states};
use crate::scene::{LITTLE, RICH, Scene};
use crate::support::inside::{DeadFrom, for_each_on_all_cores, gc_until, options, sample};
use crate::support::tree::{Blob, Manifest, Tree, blob_object};

/// Which calls count.
type Counted = fn(Kind) -> bool;

const ASKED: &str = "SIGTERM";

/// Somebody who asks at the n-th call of some kinds, and counts what is moved after that.
struct AsksAt {
    counted: Counted,
    nth: usize,
    count: AtomicUsize,
    has_asked: AtomicBool,
    moved_after: AtomicUsize,
    halt: Halt,
}

impl AsksAt {
    /// With a time limit that is far away the work goes in another order.
    fn the(nth: usize, counted: Counted, has_limit: bool) -> &'static Self {
        let (count, moved_after) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let halt = Halt::at(has_limit.then(|| Instant::now() + 1000 * crate::HOUR));
        Box::leak(Box::new(Self { counted, nth, count, has_asked: AtomicBool::new(false), moved_after, halt }))
    }

    fn run(&'static self, tree: &Tree, quarantine: bool) -> (Ended, Vec<Finding>) {
        let options = run::Options { quarantine, ..options() };
        gc_until(&tree.root(), Seam::intercepted_by(self), options, &self.halt)
    }

    fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::SeqCst)
    }
}

impl Interceptor for AsksAt {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        let is_moved = operation.kind == Kind::Move;
        if is_moved && self.has_asked() {
            self.moved_after.fetch_add(1, Ordering::SeqCst);
        }
        if (self.counted)(operation.kind) && self.count.fetch_add(1, Ordering::SeqCst) == self.nth {
            self.halt.ask(ASKED);
            self.has_asked.store(true, Ordering::SeqCst);
        }
        Answer::Go
    }
}

/// Looked at and decided, moved, deleted: how a run ended that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    Nothing,
    Moving,
    Deleting,
    Everything,
}

fn ends_well(scene: &Scene, asks: &'static AsksAt, what: &str) -> Where {
    let tree = scene.tree();
    let (ended, findings) = asks.run(&tree, false);
    assert!(asks.has_asked(), "{what}: the run came to its end before");
    let moved_after = asks.moved_after.load(Ordering::SeqCst);
    assert_eq!(moved_after, 0, "{what}: something was moved that was not in hand");
    let left = tree.objects();
    let is_untouched = left == scene.objects;
    assert_eq!(is_untouched, ended.removed.is_nothing(), "{what}: {:?}", ended.removed);
    let came = match &ended.complaint {
        None => Where::Everything,
        Some(complaint) => {
            assert_eq!(complaint.how, How::Stopped, "{what}: {}", complaint.text);
            assert!(complaint.text.starts_with("stopped by SIGTERM"), "{what}: {}", complaint.text);
            assert!(findings.iter().any(|finding| finding.message == complaint.text), "{what}");
            match complaint.text.contains("nothing was touched") {
                true => Where::Nothing,
                false if left == scene.end => Where::Deleting,
                false => Where::Moving,
            }
        }
    };
    match came {
        Where::Nothing => assert!(is_untouched, "{what}"),
        Where::Moving => assert!(ended.swept.is_some_and(|swept| !swept.is_complete), "{what}"),
        // Empty folders of repositories may be all that is left to do.
        Where::Deleting => {
            assert!(
                ended.swept.is_some_and(|swept| swept.left_in_trash != Left::Nothing || !swept.is_complete),
                "{what}"
            )
        }
        Where::Everything => assert_eq!(left, scene.end, "{what}"),
    }
    // What was done is committed: the next run puts nothing back.
    let is_committed = |state: &State| matches!(state, State::Finished | State::Unpurged | State::HalfPurged);
    assert!(states(&tree).iter().all(is_committed), "{what}");
    scene.nothing_dangles(&tree, what);
    scene.survives(&tree, what);
    came
}

#[test]
fn a_run_that_is_asked_to_end_anywhere_ends_well_and_the_next_goes_on() {
    let scene = &*RICH;
    let changes = scene.count(&scene.disk, Kind::changes, gc);
    let looks = scene.count(&scene.disk, |kind| !kind.changes(), gc);
    let mut cases: Vec<(usize, Counted)> = (0..changes).map(|nth| (nth, Kind::changes as _)).collect();
    let looked: Vec<usize> = sample((0..looks).collect(), 150, 7);
    cases.extend(looked.into_iter().map(|nth| (nth, (|kind: Kind| !kind.changes()) as Counted)));
    let came: std::sync::Mutex<Vec<Where>> = std::sync::Mutex::default();
    for_each_on_all_cores(&cases, |&(nth, counted)| {
        let what = format!("asked at the {nth}th call that {}", if counted(Kind::Move) { "changes" } else { "looks" });
        let has_limit = nth % 2 == 1;
        let ended = ends_well(scene, AsksAt::the(nth, counted, has_limit), &format!("{what}, limited: {has_limit}"));
        came.lock().unwrap().push(ended);
    });
    let came = came.into_inner().unwrap();
    let of = |wanted| came.iter().filter(|came| **came == wanted).count();
    let counts = [Where::Nothing, Where::Moving, Where::Deleting, Where::Everything].map(of);
    println!("asked to end at {} calls: {counts:?} before anything, moving, deleting, at the end", cases.len());
    assert!(counts.iter().all(|count| *count > 0) && counts[1] > 60, "{counts:?}");
}

/// What was moved until then can be put back: out of a trash that is kept, and out of one of which nothing is deleted.
#[test]
fn what_was_put_aside_until_then_can_be_restored() {
    let scene = &*LITTLE;
    let moves = scene.count(&scene.disk, |kind| kind == Kind::Move, gc);
    assert!(moves > 8, "{moves}");
    for (nth, quarantine) in (0..moves).flat_map(|nth| [(nth, true), (nth, false)]) {
        let tree = scene.tree();
        let (ended, _) = AsksAt::the(nth, |kind| kind == Kind::Move, nth % 2 == 0).run(&tree, quarantine);
        let what = format!("asked at the {nth}th move, quarantine: {quarantine}");
        if nth + 1 < moves || !quarantine {
            assert_eq!(ended.complaint.map(|complaint| complaint.how), Some(How::Stopped), "{what}");
        }
        assert_ne!(tree.objects(), scene.objects, "{what}: the one in hand has gone");
        let (state, left) = if quarantine { (State::Kept, Left::Nothing) } else { (State::Unpurged, Left::All) };
        assert_eq!(states(&tree), [state], "{what}");
        assert_eq!(ended.swept.map(|swept| swept.left_in_trash), Some(left), "{what}");
        assert_eq!(restore(&tree, Seam::default()).complaint, None, "{what}");
        assert_eq!(tree.objects(), scene.objects, "{what}");
    }
}

/// A restore out of a trash that was to be deleted dies anywhere: what is not back yet is not for the next run to
/// delete, and the next restore brings it back.
#[test]
fn what_is_not_back_yet_is_kept() {
    let scene = &*LITTLE;
    let moves = scene.count(&scene.disk, |kind| kind == Kind::Move, gc);
    let stopped = scene.tree();
    AsksAt::the(moves - 1, |kind| kind == Kind::Move, false).run(&stopped, false);
    let (end, disk) = (stopped.objects(), Disk::of(&stopped.root()));
    let points = scene.count(&disk, Kind::changes, restore);
    for_each_on_all_cores(&(0..points).collect::<Vec<_>>(), |&point| {
        let what = format!("restore dead from the change {point} on");
        let (tree, death) = (scene.tree_of(&disk), DeadFrom::the(point));
        restore(&tree, death.seam());
        assert!(death.has_died(), "{what}");
        match &*states(&tree) {
            [State::Unpurged] => assert_eq!(tree.objects(), end, "{what}: something is back"),
            [State::Kept] => assert_eq!(restore(&tree, Seam::default()).complaint, None, "{what}"),
            // Its trash is gone, and the journal does not say so yet.
            states => assert!(matches!(states, [State::CutOff | State::Finished]), "{what}: {states:?}"),
        }
        if states(&tree) != [State::Unpurged] {
            assert_eq!(tree.objects(), scene.objects, "{what}");
        }
    });
    assert!(points > 20, "only {points} points");
}

/// Once the first of it is deleted nobody restores the rest; until then it is all there. The journal knows.
#[test]
fn what_is_being_deleted_cannot_be_restored() {
    let scene = &*LITTLE;
    let files = scene.count(&scene.disk, |kind| kind == Kind::RemoveFile, gc);
    assert!(files > 8, "{files}");
    for nth in 0..files - 1 {
        let tree = scene.tree();
        let (ended, _) = AsksAt::the(nth, |kind| kind == Kind::RemoveFile, false).run(&tree, false);
        let what = format!("asked at the {nth}th removal");
        assert_eq!(ended.swept.map(|swept| swept.left_in_trash), Some(Left::Some), "{what}");
        assert_eq!(states(&tree), [State::HalfPurged], "{what}");
        assert!(restore(&tree, Seam::default()).complaint.is_some(), "{what}");
    }
}

/// Blobs of 1 KiB, 2 KiB, 4 KiB ...: half of them with a layer link, which goes before its blob and not before others.
fn sized(tree: &Tree) -> Vec<String> {
    let app = tree.repository("team/app");
    app.push_tagged("v1", &Manifest::docker("stays", &["base"]));
    let mut digests = Vec::new();
    for number in 0..8_usize {
        let blob = Blob::new(vec![u8::try_from(number).unwrap(); 1024 << number]);
        tree.put(&blob);
        if number % 2 == 0 {
            app.link_layer(&blob.digest);
        }
        digests.push(blob.digest);
    }
    digests.reverse();
    digests
}

/// Whenever it ends, what is gone is larger than what is left; and so is what is deleted for good.
#[test]
fn the_largest_go_first() {
    let (mut moving, mut deleting) = (BTreeSet::new(), BTreeSet::new());
    let mut before_other_links = 0;
    for (kind, has_limit) in [(Kind::Move, false), (Kind::Move, true), (Kind::RemoveFile, false)] {
        let counted: Counted =
            if kind == Kind::Move { |kind| kind == Kind::Move } else { |kind| kind == Kind::RemoveFile };
        for nth in 0.. {
            let tree = Tree::in_memory();
            let largest_first = sized(&tree);
            let asks = AsksAt::the(nth, counted, has_limit);
            asks.run(&tree, false);
            if !asks.has_asked() {
                break;
            }
            let left = tree.objects();
            let gone: Vec<bool> = largest_first.iter().map(|digest| !left.contains(&blob_object(digest))).collect();
            // The smallest three go together: steps are few.
            assert!(gone[..5].is_sorted_by(|a, b| a >= b), "asked at {kind:?} {nth}: {gone:?}");
            let app = tree.repository("team/app");
            let has_links = largest_first.iter().any(|digest| left.contains(&app.layer_object(digest)));
            if gone[0] && has_links {
                assert!(has_limit, "asked at {kind:?} {nth}: a blob has gone before the last link");
                before_other_links += 1;
            }
            moving.insert(gone.iter().filter(|gone| **gone).count());
            if kind == Kind::RemoveFile && gone.iter().all(|gone| *gone) {
                let (trash, _) = runs::trashes(&tree).pop().expect("there is something left in it");
                let mut sizes: Vec<u64> = walkdir::WalkDir::new(trash)
                    .into_iter()
                    .map(Result::unwrap)
                    .filter(|entry| entry.file_name() == "data")
                    .map(|entry| fs::metadata(entry.path()).unwrap().len())
                    .collect();
                sizes.sort_unstable();
                let smallest: Vec<u64> = (0..sizes.len()).map(|number| 1024 << number).collect();
                assert!(sizes.len() <= 3 || sizes == smallest, "asked at {kind:?} {nth}: {sizes:?} are left");
                deleting.insert(sizes.len());
            }
        }
    }
    assert!(before_other_links >= 5, "with a limit the largest need not wait for the links of others");
    assert!(moving.len() >= 7 && deleting.len() >= 5, "{moving:?} {deleting:?}");
}
