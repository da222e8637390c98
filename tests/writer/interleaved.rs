//! T20: a push at every point of a run, in every pace. Whoever is told that the push went well gets a whole image.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use regsweep::run::How;
use regsweep::seam::{Answer, Interceptor, Kind, Operation, Seam};

use super::push::{Outcome, Push, Pushed};
use super::support::inside::{call, for_each_on_all_cores, gc_inside, options, sample};
use super::support::tree::{Blob, Manifest, Tree};

/// How many interleavings of one push are tried in which its steps fall between those of the run.
const AT_MOST: usize = 700;
/// A whole push at once comes at every so many operations.
const WHOLE_EVERY: usize = 5;

/// ```text
/// team/app     v1 => image      loose, child: untagged, both go      gone => (x): taken out by hand, goes
/// team/bare    bare: untagged, goes; no tags at all
/// other        a layer that no manifest names: goes, and with it the repository
///              orphan: goes
/// ```
fn tree() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    app.push(&loose());
    app.push(&child());
    app.push_tagged("gone", &gone());
    app.delete_by_hand("gone", &gone());
    tree.repository("team/bare").push(&bare());
    tree.repository("other").stray_layer("stray");
    tree.orphan("orphan");
    tree.copy()
}

fn loose() -> Manifest {
    Manifest::docker("loose", &["loose", "also loose"])
}

fn child() -> Manifest {
    Manifest::docker("child", &["child"])
}

fn gone() -> Manifest {
    Manifest::docker("gone", &["gone"])
}

fn bare() -> Manifest {
    Manifest::docker("bare", &["bare"])
}

/// What is pushed into it, by what is special about it.
fn pushes() -> Vec<(&'static str, Pushed)> {
    let push = |repository: &str, tag: &str, manifest: Manifest| Pushed {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        manifest,
        children: Vec::new(),
        mount_from: None,
    };
    let shares = Manifest::docker_of("shares", &["base", "loose", "orphan"].map(Blob::layer));
    let mounted = Pushed {
        mount_from: Some("other".to_owned()),
        ..push("team/app", "mounted", Manifest::docker("mounted", &["stray", "new"]))
    };
    let index = Pushed {
        children: vec![loose(), child()],
        ..push("team/app", "multi", Manifest::index("multi", &[&loose(), &child()]))
    };
    vec![
        ("all new", push("team/app", "new", Manifest::docker("new", &["new", "also new"]))),
        ("an untagged image again", push("team/app", "again", loose())),
        ("layers that are garbage", push("team/app", "shares", shares.clone())),
        ("a mount of garbage", mounted),
        ("a tag moved in place", push("team/app", "v1", loose())),
        ("a tag that goes", push("team/app", "gone", gone())),
        ("the first tag", push("team/bare", "first", bare())),
        ("a new repository", push("fresh", "v1", shares.clone())),
        ("a new namespace", push("new/space/app", "v1", shares)),
        ("an index of untagged images", index),
    ]
}

/// How the steps of a push fall between those of the run.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// So many steps before the run, and the rest before its n-th operation.
    Rest { before: usize, nth: usize },
    /// One step every so many operations, from the n-th on.
    Every { operations: usize, nth: usize },
}

/// One interleaving.
#[derive(Clone, Copy, Debug)]
struct Case {
    pace: Pace,
    /// Whether everything in the tree was written an hour ago; else it was a moment ago, and what is overwritten then
    /// gets no other time.
    is_aged: bool,
}

/// Stands at the seam and pushes.
struct Writer {
    state: Mutex<State>,
}

struct State {
    push: Push,
    pace: Pace,
    operations: usize,
    /// The last operation before the first look: the journal is on the disk.
    journal_synced: usize,
    /// The first operation that moved something away.
    first_move: Option<usize>,
    /// The first one that moved a blob away, and the last one that moved a link away.
    first_blob_move: Option<usize>,
    last_link_move: usize,
    /// The last one.
    last_move: usize,
    /// The first operation after it that waits for the disk: everything was looked at for the last time before.
    last_look_ended: Option<usize>,
}

impl Interceptor for Writer {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        let mut state = self.state.lock().unwrap();
        let now = state.operations;
        match state.pace {
            Pace::Rest { nth, .. } if now == nth => _ = state.push.finish(now),
            Pace::Every { operations, nth } if now >= nth && (now - nth).is_multiple_of(operations) => {
                state.push.step(now);
            }
            _ => {}
        }
        match operation.kind {
            Kind::SyncFile if state.first_move.is_none() => state.journal_synced = now,
            Kind::Move => {
                state.first_move.get_or_insert(now);
                let path = call(operation).path;
                if path.starts_with(state.push.v2.join("blobs")) {
                    state.first_blob_move.get_or_insert(now);
                } else if path.starts_with(state.push.v2.join("repositories")) {
                    state.last_link_move = now;
                }
                (state.last_move, state.last_look_ended) = (now, None);
            }
            Kind::SyncVolume if state.last_look_ended.is_none() => state.last_look_ended = Some(now),
            _ => {}
        }
        state.operations += 1;
        Answer::Go
    }
}

/// What came of all interleavings.
#[derive(Default)]
struct Tally {
    whole: AtomicUsize,
    refused: AtomicUsize,
    stopped: AtomicUsize,
    failed: AtomicUsize,
    race: AtomicUsize,
    race_of_the_tag: AtomicUsize,
}

/// A push, and what it leads to when no run is at work.
struct Scenario {
    what: &'static str,
    pushed: Arc<Pushed>,
    steps: usize,
    /// What the pushed tag delivers then.
    delivered: BTreeSet<String>,
}

impl Scenario {
    fn new(template: &Tree, what: &'static str, pushed: Pushed) -> Scenario {
        let copy = template.copy();
        let pushed = Arc::new(pushed);
        let mut push = Push::new(copy.v2(), Arc::clone(&pushed), false);
        assert_eq!(push.finish(0), Outcome::Done, "{what}");
        let tag = format!("{}:{} gets ", pushed.repository, pushed.tag);
        let delivered: BTreeSet<String> =
            copy.deliverable(false).into_iter().filter(|fact| fact.starts_with(&tag)).collect();
        assert!(delivered.len() > pushed.manifest.blobs.len() + pushed.children.len(), "{what}: {delivered:?}");
        Scenario { what, pushed, steps: push.done, delivered }
    }

    fn cases(&self, operations: usize) -> Vec<Case> {
        let mut paces = Vec::new();
        for nth in 0..=operations {
            paces.extend((1..self.steps).map(|before| Pace::Rest { before, nth }));
            paces.extend([1, 2, 3, 7, 20].map(|operations| Pace::Every { operations, nth }));
        }
        let mut cases = sample(paces, AT_MOST, 20);
        cases.extend((0..=operations).step_by(WHOLE_EVERY).map(|nth| Pace::Rest { before: 0, nth }));
        cases.into_iter().enumerate().map(|(n, pace)| Case { pace, is_aged: n % 2 == 0 }).collect()
    }

    fn run(&self, template: &Tree, before: &BTreeSet<String>, case: Case, tally: &Tally) {
        let tree = template.copy();
        if case.is_aged {
            age(&tree);
        }
        let mut push = Push::new(tree.v2(), Arc::clone(&self.pushed), !case.is_aged);
        if let Pace::Rest { before, .. } = case.pace {
            (0..before).for_each(|_| push.step(0));
        }
        let objects = objects(&tree);
        let state = State {
            push,
            pace: case.pace,
            operations: 0,
            journal_synced: 0,
            first_move: None,
            first_blob_move: None,
            last_link_move: 0,
            last_move: 0,
            last_look_ended: None,
        };
        let writer: &'static Writer = Box::leak(Box::new(Writer { state: Mutex::new(state) }));
        let (ended, findings) = gc_inside(&tree.root(), Seam::intercepted_by(writer), options());
        let mut state = writer.state.lock().unwrap();
        let operations = state.operations;
        // A client does not stop because a collector has.
        let outcome = state.push.finish(operations);
        assert!(state.push.is_at_its_end());
        let told = || {
            let push = &state.push;
            let moments = (push.verified, push.revision_written, push.tag_written);
            format!(
                "{}: {case:?}, {operations} operations, last move {}, last look until {:?}\npush {outcome:?}; \
                 verified, revision and tag before {moments:?}\nrun {:?}\nfindings {}",
                self.what,
                state.last_move,
                state.last_look_ended,
                ended.complaint,
                tree.explain(&format!("{findings:#?}"))
            )
        };
        let how = ended.complaint.as_ref().map(|complaint| complaint.how);
        match how {
            Some(How::Refused | How::Stopped) => {
                tally.stopped.fetch_add(1, Ordering::Relaxed);
                let now = self::objects(&tree);
                let missing: Vec<_> = objects.difference(&now).map(|object| tree.explain(object)).collect();
                assert!(missing.is_empty(), "{}\nnot put back: {missing:#?}", told());
            }
            Some(How::NotThere) => panic!("{}: nothing was named", told()),
            Some(How::Failed) => {
                // Something that is being written is in the place of something to be put back: the next run does that.
                tally.failed.fetch_add(1, Ordering::Relaxed);
                let (then, findings) = gc_inside(&tree.root(), Seam::default(), options());
                assert!(then.complaint.is_none(), "{}\nthen {:?} {findings:#?}", told(), then.complaint);
            }
            None => assert!(ended.swept.is_some(), "{}", told()),
        }
        if how == Some(How::Stopped) {
            // What one look has seen, no earlier one may have missed: a stop costs less the earlier it comes.
            let was_done_by = |operation: usize| state.push.tag_written.is_some_and(|at| at <= operation);
            assert!(!was_done_by(state.journal_synced), "{}\nthe first look has missed it", told());
            let is_missed = state.first_blob_move.is_some() && was_done_by(state.last_link_move);
            assert!(!is_missed, "{}\nthe second look has missed it", told());
        }
        let now = tree.deliverable(false);
        let is_done = outcome == Outcome::Done;
        let own = format!("{}:{} gets ", self.pushed.repository, self.pushed.tag);
        let lost: Vec<String> = before
            .difference(&now)
            .filter(|fact| !(is_done && fact.starts_with(&own)))
            .map(|fact| tree.explain(fact))
            .collect();
        assert!(lost.is_empty(), "{}\nLOST of the tags that were there: {lost:#?}", told());
        if !is_done {
            tally.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.delivered.is_subset(&now) {
            tally.whole.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let broken: Vec<_> = self.delivered.difference(&now).map(|fact| tree.explain(fact)).collect();
        // The one race: the manifest was being put while the run looked for the last time, and nothing of it was to be
        // seen. The registry had looked for its layers before they went, and only the tag comes after the last look.
        // Of its revision link nothing is to be seen if that comes after the last look as well; or if it was written
        // before the run looked for the first time, or in the same tick of the clock with the same content.
        let push = &state.push;
        let looked_until = state.last_look_ended.unwrap_or(0);
        let is_in_flight = how.is_none()
            && push.verified.is_some_and(|at| at <= looked_until)
            && push.tag_written.is_some_and(|at| at > state.last_move);
        assert!(is_in_flight, "{}\nBROKEN: {broken:#?}", told());
        if push.revision_written.is_some_and(|at| at > state.last_move) {
            tally.race.fetch_add(1, Ordering::Relaxed);
        } else {
            let is_unseen = push.revision_written.is_some_and(|at| Some(at) <= state.first_move);
            assert!(is_unseen, "{}\nBROKEN: {broken:#?}", told());
            tally.race_of_the_tag.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Everything but uploads, which come and go with the push.
fn objects(tree: &Tree) -> BTreeSet<String> {
    tree.objects().into_iter().filter(|object| !object.contains(" upload ")).collect()
}

/// An hour passes.
fn age(tree: &Tree) {
    let then = SystemTime::now() - Duration::from_secs(3600);
    for entry in walkdir::WalkDir::new(tree.root()) {
        File::open(entry.unwrap().path()).unwrap().set_modified(then).unwrap();
    }
}

/// Counts, and does nothing.
#[derive(Default)]
struct Count(AtomicUsize);

impl Interceptor for Count {
    fn before(&self, _: &Operation<'_>) -> Answer {
        self.0.fetch_add(1, Ordering::Relaxed);
        Answer::Go
    }
}

#[test]
fn t20_a_push_at_every_point_of_a_run_is_whole_or_told_to_fail() {
    let template = tree();
    let before = template.deliverable(false);
    let count: &'static Count = Box::leak(Box::default());
    let swept = template.copy();
    let (ended, _) = gc_inside(&swept.root(), Seam::intercepted_by(count), options());
    assert!(ended.complaint.is_none() && ended.removed.blobs.count > 10, "{:?}", ended.complaint);
    let operations = count.0.load(Ordering::Relaxed);

    let tally = Tally::default();
    let (mut tried, mut all) = (0, 0);
    for (what, pushed) in pushes() {
        let scenario = Scenario::new(&template, what, pushed);
        let cases = scenario.cases(operations);
        for_each_on_all_cores(&cases, |&case| scenario.run(&template, &before, case, &tally));
        tried += cases.len();
        all += (operations + 1) * (scenario.steps + 5);
    }
    let get = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    println!(
        "writer: {tried} of {all} interleavings (a seeded sample) with {operations} operations: {} pushes whole, {} \
         told that they failed, {} runs stopped, {} of which left something to the next run to put back, {} in the \
         race that only a read-only registry closes ({} with the tag alone after the last look)",
        get(&tally.whole),
        get(&tally.refused),
        get(&tally.stopped) + get(&tally.failed),
        get(&tally.failed),
        get(&tally.race) + get(&tally.race_of_the_tag),
        get(&tally.race_of_the_tag),
    );
    assert!(tried > 8000 && operations > 500, "{tried} interleavings with {operations} operations");
    for (count, floor) in [(&tally.whole, 5000), (&tally.refused, 1000), (&tally.stopped, 3000)] {
        assert!(get(count) > floor, "{} where more than {floor} were to be expected", get(count));
    }
    assert!(get(&tally.race) > 50, "the race is there to be met: a test that never meets it sees too little");
    assert!(get(&tally.race) + get(&tally.race_of_the_tag) < tried / 10, "and it is rare");
}
