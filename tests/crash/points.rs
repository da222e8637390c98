//! The process dies: from some call on nothing is done any more, as after `kill -9`.

use std::sync::atomic::{AtomicUsize, Ordering};

use regsweep::seam::{Answer, Interceptor, Kind, Operation, Seam};
use rustix::io::Errno;

use crate::runs::gc;
use crate::scene::{LITTLE, RICH};
use crate::support::inside::DeadFrom;
use crate::support::inside::for_each_on_all_cores;

#[test]
fn t27_a_run_cut_off_anywhere_is_cleared_up_after() {
    let scene = &*RICH;
    let points = scene.count(&scene.disk, Kind::changes, gc);
    for_each_on_all_cores(&(0..points).collect::<Vec<_>>(), |&point| {
        let what = format!("dead from the change {point} on");
        let (tree, death) = (scene.tree(), DeadFrom::the(point));
        gc(&tree, death.seam());
        assert!(death.has_died(), "{what}: the run came to its end");
        scene.nothing_dangles(&tree, &what);
        scene.survives(&tree, &what);
    });
    println!("crash: {points} points of a run, each cut off there and collected again");
    assert!(points > 300, "only {points} points");
}

/// The run that clears up after a death dies as well, anywhere.
#[test]
fn t27_clearing_up_may_be_cut_off_as_well() {
    let scene = &*LITTLE;
    let points = scene.count(&scene.disk, Kind::changes, gc);
    let first: Vec<usize> = (0..points).step_by(points / 12).collect();
    let cut = |point| {
        let tree = scene.tree();
        gc(&tree, DeadFrom::the(point).seam());
        crate::disk::Disk::of(&tree.root())
    };
    let mut cases = Vec::new();
    for &point in &first {
        let disk = cut(point);
        let next = scene.count(&disk, Kind::changes, gc);
        // What is put back comes first; what comes after it is a run like any other.
        let seconds = (0..next).filter(|second| *second < 40 || second % 7 == 0);
        cases.extend(seconds.map(|second| (point, disk.clone(), second)));
    }
    for_each_on_all_cores(&cases, |(point, disk, second)| {
        let what = format!("dead from the change {point} on, and the next run from its change {second} on");
        let (tree, death) = (scene.tree_of(disk), DeadFrom::the(*second));
        gc(&tree, death.seam());
        assert!(death.has_died(), "{what}: the run came to its end");
        scene.nothing_dangles(&tree, &what);
        scene.survives(&tree, &what);
    });
    println!("crash while clearing up: {} points of a run, {} of the next", first.len(), cases.len());
    assert!(first.len() >= 12 && cases.len() > 300, "only {} and {}", first.len(), cases.len());
}

/// Dead in the middle of the n-th write, after so many bytes of it.
struct TornAt {
    write: usize,
    bytes: usize,
    count: AtomicUsize,
}

impl TornAt {
    fn the(write: usize, bytes: usize) -> &'static Self {
        Box::leak(Box::new(Self { write, bytes, count: AtomicUsize::new(0) }))
    }
}

impl Interceptor for TornAt {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        let before = self.count.load(Ordering::SeqCst);
        if before > self.write {
            return Answer::Fail(Errno::IO);
        }
        if operation.kind != Kind::Write {
            return Answer::Go;
        }
        self.count.store(before + 1, Ordering::SeqCst);
        if before == self.write { Answer::Torn(self.bytes, Errno::IO) } else { Answer::Go }
    }
}

/// The lock, the plan, the marks, the history: each is cut off in the middle. Small ones at every few bytes, so that
/// every field of a mark is torn once; and after the last byte but one, which is the end of its line.
#[test]
fn t27_a_torn_write_is_no_obstacle() {
    let scene = &*LITTLE;
    let writes = scene.count(&scene.disk, |kind| kind == Kind::Write, gc);
    let lengths = lengths_of_writes();
    assert_eq!(lengths.len(), writes);
    let mut cases = Vec::new();
    for (write, &length) in lengths.iter().enumerate() {
        let step = (length / 16).max(1);
        let bytes = (0..length).step_by(step).chain([length.saturating_sub(2), length - 1, length]);
        cases.extend(bytes.map(|bytes| (write, bytes)));
    }
    for_each_on_all_cores(&cases, |&(write, bytes)| {
        let what = format!("dead after {bytes} bytes of the write {write}");
        let tree = scene.tree();
        gc(&tree, Seam::intercepted_by(TornAt::the(write, bytes)));
        scene.nothing_dangles(&tree, &what);
        scene.survives(&tree, &what);
    });
    println!("torn writes: {writes} writes of a run, torn at {} places", cases.len());
    assert!(writes >= 5 && cases.len() > 80, "only {writes} writes and {} places", cases.len());
}

/// How many bytes each write of an undisturbed run adds.
fn lengths_of_writes() -> Vec<usize> {
    let tree = LITTLE.tree();
    let film = crate::cuts::Film::of(&tree.root());
    gc(&tree, film.seam());
    film.writes()
}
