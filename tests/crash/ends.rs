//! A run that ends early for some other reason than a death: what it says is so, and what it leaves is right.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use regsweep::collect;
use regsweep::halt::Halt;
use regsweep::policy::{Policy, Request};
use regsweep::registry::Registry;
use regsweep::run::{self, How};
use regsweep::seam::{Answer, Interceptor, Kind, Operation, Seam};
use regsweep::sweep::{self, Runs, State};
use rustix::io::Errno;

use crate::HOUR;
use crate::support::inside::{DeadFrom, Nth, call, gc_inside, gc_until, options};
use crate::support::process::{finish, regsweep};
use crate::support::tree::{Blob, Manifest, Tree};

/// The first line of the journal finds no room; and when the first blob has been deleted to make some, this happens.
struct FullAnd {
    has_failed: AtomicBool,
    has_acted: AtomicBool,
    act: Box<dyn Fn() + Send + Sync>,
}

impl FullAnd {
    fn the(act: impl Fn() + Send + Sync + 'static) -> Seam {
        let it = FullAnd { has_failed: AtomicBool::new(false), has_acted: AtomicBool::new(false), act: Box::new(act) };
        Seam::intercepted_by(Box::leak(Box::new(it)))
    }
}

impl Interceptor for FullAnd {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        let path = call(operation).path;
        if operation.kind == Kind::Write
            && path.ends_with("journal.jsonl")
            && !self.has_failed.swap(true, Ordering::SeqCst)
        {
            return Answer::Fail(Errno::NOSPC);
        }
        let deletes = operation.kind == Kind::RemoveFile && path.ends_with("data");
        if deletes && !self.has_acted.swap(true, Ordering::SeqCst) {
            (self.act)();
        }
        Answer::Go
    }
}

/// ```text
/// team/app   v1 => M (base, v1)       v2 => N (base, v2)      rm v1 --collect
/// ```
fn two_images() -> Tree {
    let tree = Tree::in_memory();
    let app = tree.repository("team/app");
    app.image("v1");
    app.image("v2");
    // No link leads there: room may be made of it.
    tree.orphan("pushed and never named");
    tree
}

fn without_v1() -> &'static Policy {
    let request = Request { names: vec!["team/app:v1".parse().unwrap()], is_recursive: false };
    Box::leak(Box::new(Policy { request, ..Policy::default() }))
}

/// Asked to end in that moment: "nothing was touched" has to be so, and what it has deleted has to be told.
#[test]
fn what_was_deleted_to_make_room_is_told_by_a_run_that_is_asked_to_end() {
    let tree = two_images();
    let (before, facts) = (tree.objects(), tree.deliverable(false));
    let halt = Halt::never();
    let asks = halt.clone();
    let collect = collect::Options { policy: without_v1(), ..options().collect };
    let seam = FullAnd::the(move || asks.ask("SIGTERM"));
    let (ended, _) = gc_until(&tree.root(), seam, run::Options { collect, ..options() }, &halt);
    let complaint = ended.complaint.expect("it was asked to end");
    let left = tree.objects();
    let gone: Vec<String> = before.difference(&left).map(|it| tree.explain(it)).collect();
    let lost: Vec<String> = facts.difference(&tree.deliverable(false)).map(|it| tree.explain(it)).collect();
    let is_there = left.contains(&tree.repository("team/app").tag_object("v1"));
    assert_eq!(gone.len(), 1, "{gone:#?}");
    assert!(complaint.text.contains("1 blob is gone to make room"), "{}", complaint.text);
    assert_eq!((ended.removed.things(), ended.removed.blobs.count), (1, 1), "{:?}", ended.removed);
    assert_eq!(complaint.how, How::Stopped);
    assert!(lost.is_empty() || !is_there, "the tag is still there, and cannot be pulled: {lost:#?}");
}

/// Somebody pushes in that moment: refused, with exit code 4, and blobs are gone.
#[test]
fn what_was_deleted_to_make_room_is_told_by_a_run_that_is_refused() {
    let tree = two_images();
    let before = tree.objects();
    let collect = collect::Options { policy: without_v1(), ..options().collect };
    let folder = tree.repository("team/app").tag_folder("v3").join("current");
    let seam = FullAnd::the(move || {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("link"), format!("sha256:{}", "0".repeat(64))).unwrap();
    });
    let (ended, _) = gc_inside(&tree.root(), seam, run::Options { collect, ..options() });
    let complaint = ended.complaint.expect("somebody has written");
    let left = tree.objects();
    let gone: Vec<String> = before.difference(&left).map(|it| tree.explain(it)).collect();
    assert_eq!(gone.len(), 1, "{gone:#?}");
    assert!(complaint.text.contains("1 blob is gone to make room"), "{}", complaint.text);
    assert_eq!((ended.removed.things(), ended.removed.blobs.count), (1, 1), "{:?}", ended.removed);
    assert_eq!(complaint.how, How::Stopped);
}

/// It dies in that moment: the tag that is to go is still there, and its image is broken.
/// It dies when room is made: the tag that was to go is as whole as it was.
#[test]
fn t62_room_is_made_of_nothing_that_a_tag_still_leads_to() {
    let tree = two_images();
    let facts = tree.deliverable(false);
    let collect = collect::Options { policy: without_v1(), ..options().collect };
    let dead: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let full = Nth::of(
        |_| true,
        move |_, operation| {
            let path = call(operation).path;
            if dead.load(Ordering::SeqCst) {
                return Answer::Fail(Errno::IO);
            }
            let is_journal = path.ends_with("journal.jsonl") && operation.kind == Kind::Write;
            // The first write fails; with the second the process is gone.
            static WRITES: AtomicUsize = AtomicUsize::new(0);
            if is_journal {
                if WRITES.fetch_add(1, Ordering::SeqCst) == 0 {
                    return Answer::Fail(Errno::NOSPC);
                }
                dead.store(true, Ordering::SeqCst);
                return Answer::Fail(Errno::IO);
            }
            Answer::Go
        },
    );
    gc_inside(&tree.root(), full.seam(), run::Options { collect, ..options() });
    assert!(dead.load(Ordering::SeqCst));
    let is_there = tree.objects().contains(&tree.repository("team/app").tag_object("v1"));
    let lost: Vec<String> = facts.difference(&tree.deliverable(false)).map(|it| tree.explain(it)).collect();
    assert!(lost.is_empty() || !is_there, "the tag is still there, and cannot be pulled: {lost:#?}");
}

/// Asks at the n-th move, and counts how often a tag's link is looked at after that.
struct LooksAfter {
    nth: usize,
    moved: AtomicUsize,
    looked: AtomicUsize,
    halt: Halt,
}

impl Interceptor for LooksAfter {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        if operation.kind == Kind::Move && self.moved.fetch_add(1, Ordering::SeqCst) == self.nth {
            self.halt.ask("SIGTERM");
        }
        let is_look = operation.kind == Kind::Look && call(operation).path.ends_with("tags/v1/current/link");
        if is_look && self.halt.is_due() {
            self.looked.fetch_add(1, Ordering::SeqCst);
        }
        Answer::Go
    }
}

/// Once it is asked to end, everything that was read is looked at once more, for the last time; not once for each step
/// that is not taken any more. On a large registry each look takes as long as a good part of the scan.
#[test]
fn after_the_end_of_its_time_a_run_looks_once_more_and_not_for_each_step_that_is_left() {
    let build = || {
        let tree = Tree::in_memory();
        let app = tree.repository("team/app");
        app.push_tagged("v1", &Manifest::docker("stays", &["base"]));
        for number in 0..8_usize {
            let blob = Blob::new(vec![u8::try_from(number).unwrap(); 1024 << number]);
            tree.put(&blob);
            app.link_layer(&blob.digest);
        }
        tree
    };
    let mut looks = BTreeMap::new();
    for has_limit in [false, true] {
        for nth in 0..4 {
            let tree = build();
            let halt = Halt::at(has_limit.then(|| Instant::now() + 1000 * HOUR));
            let asks = LooksAfter { nth, moved: AtomicUsize::new(0), looked: AtomicUsize::new(0), halt };
            let asks: &'static LooksAfter = Box::leak(Box::new(asks));
            gc_until(&tree.root(), Seam::intercepted_by(asks), options(), &asks.halt);
            looks.insert((has_limit, nth), asks.looked.load(Ordering::SeqCst));
        }
    }
    // Twice without a limit: before the blobs, and for the last time. Each asks twice for a link that is so new.
    assert!(looks.values().all(|looked| *looked <= 4), "{looks:?}");
}

/// Nothing was moved: there is nothing to keep, nothing in a trash, and nothing to restore.
#[test]
fn a_run_that_ends_before_the_first_move_leaves_no_trash_and_says_so() {
    for quarantine in [false, true] {
        let tree = two_images();
        let before = tree.objects();
        let halt = Halt::never();
        let asks = halt.clone();
        // The folder in the trash that the first thing would be moved to.
        let seam = Nth::of(
            |kind| kind == Kind::MakeFolder,
            move |_, operation| {
                if call(operation).path.to_str().unwrap().contains("/trash/") {
                    asks.ask("SIGTERM");
                }
                Answer::Go
            },
        )
        .seam();
        let (ended, _) = gc_until(&tree.root(), seam, run::Options { quarantine, ..options() }, &halt);
        assert_eq!(tree.objects(), before);
        assert!(ended.removed.is_nothing());
        let text = ended.complaint.unwrap().text;
        let runs = Runs::of(&Registry::open(&tree.root()).unwrap()).unwrap().list().unwrap();
        let states: Vec<State> = runs.iter().map(sweep::Run::state).collect();
        assert!(!text.contains("still in its trash"), "quarantine {quarantine}: {text}");
        assert!(!states.contains(&State::Kept), "quarantine {quarantine}: {states:?}");
    }
}

/// A run that is cut off puts back first, however long that takes and whatever the limit is; and says that.
#[test]
fn what_was_put_back_before_the_time_was_up_is_not_called_untouched() {
    let build = || {
        let tree = two_images();
        tree.repository("team/app").untagged("old");
        tree
    };
    let before = build().objects();
    // Killed after some moves, before the mark.
    let is_cut_off = |tree: &Tree| {
        let runs = Runs::of(&Registry::open(&tree.root()).unwrap()).unwrap().list().unwrap();
        tree.objects() != before && runs.iter().any(|run| run.state() == State::CutOff)
    };
    let killed = (0..60).find_map(|nth| {
        let tree = build();
        gc_inside(&tree.root(), DeadFrom::the(nth).seam(), options());
        is_cut_off(&tree).then_some(tree)
    });
    let tree = killed.expect("it has moved something");
    let root = tree.root();
    let run = finish(regsweep(&["gc", "--time-limit", "0s", "--registry-stopped", root.to_str().unwrap()]));
    assert_eq!(tree.objects(), before, "put back");
    assert!(!run.stderr.contains("nothing was touched"), "{}", run.stderr);
}

/// Most repositories are emptied and go, and the run is asked to end while it deletes its trash: everything that it was
/// to move has gone. The next run must not take them for missing.
#[test]
fn repositories_that_a_stopped_run_has_taken_away_are_not_missing_from_the_next() {
    let tree = Tree::in_memory();
    tree.repository("team/stays").image("v1");
    let names: Vec<String> = (0..8).map(|number| format!("team/gone{number}")).collect();
    let images: Vec<Manifest> = names.iter().map(|name| tree.repository(name).image("v1")).collect();
    let (first, _) = gc_inside(&tree.root(), Seam::default(), options());
    assert_eq!(first.complaint, None);
    for (name, image) in names.iter().zip(&images) {
        tree.repository(name).delete_by_api(image);
    }
    let halt = Halt::never();
    let asks = halt.clone();
    let seam = Nth::of(
        |kind| kind == Kind::RemoveFile,
        move |_, operation| {
            if call(operation).path.to_str().unwrap().contains("/trash/") {
                asks.ask("SIGTERM");
            }
            Answer::Go
        },
    )
    .seam();
    let (second, _) = gc_until(&tree.root(), seam, options(), &halt);
    assert!(second.complaint.is_some() && second.swept.is_some_and(|swept| swept.is_complete));
    assert_eq!(second.removed.repositories.count, 8);
    let (third, _) = gc_inside(&tree.root(), Seam::default(), options());
    assert_eq!(third.complaint.map(|complaint| complaint.text), None);
}
