//! A power cut: what can be on the disk afterwards.
//!
//! A run is filmed: every call that changes or waits for something, with whole paths. From the film the states are made
//! that a power cut after any call can leave:
//!
//! - what was done before the last `syncfs` is on the disk;
//! - of a file's content as much as was waited for with `fsync`, and any part of what was written after that;
//! - names in a folder that was waited for with `fsync`, where files or folders were made;
//! - of all other moves and removals any of them, in whatever order the system wrote them. What one of them cannot be
//!   without comes with it: a move its target folder; and a folder can be gone only once it is empty. Folders and files
//!   that were made and lead nowhere yet are all there, or only those that something needs.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use regsweep::seam::{Answer, Interceptor, Kind, Operation, Seam};

use crate::disk::Disk;
use crate::support::inside::call;

/// Up to so many steps all their subsets are gone through.
const ALL_SUBSETS: usize = 8;
/// Up to so many those of two steps, before everything is waited for; beside those of one step.
const PAIRS: usize = 16;
/// And so many by chance.
const BY_CHANCE: usize = 6;

/// Somebody at the seam who films what is done.
pub(crate) struct Film {
    root: PathBuf,
    frames: Mutex<Vec<Frame>>,
}

/// A call, and what it did. Paths are relative to the storage root.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    to: Option<PathBuf>,
    /// The length of what is there, before and after.
    before: Option<u64>,
    after: Option<u64>,
}

pub(crate) fn waits(kind: Kind) -> bool {
    matches!(kind, Kind::SyncFile | Kind::SyncFolder | Kind::SyncVolume)
}

impl Film {
    pub(crate) fn of(root: &Path) -> &'static Self {
        let root = root.canonicalize().unwrap();
        Box::leak(Box::new(Self { root, frames: Mutex::default() }))
    }

    pub(crate) fn seam(&'static self) -> Seam {
        Seam::intercepted_by(self)
    }

    fn length(&self, path: &Path) -> Option<u64> {
        let metadata = fs::symlink_metadata(self.root.join(path)).ok()?;
        Some(if metadata.is_file() { metadata.len() } else { 0 })
    }

    /// What the last call has done is seen when the next one is made.
    fn settle(&self, frames: &mut [Frame]) {
        if let Some(last) = frames.last_mut() {
            last.after = self.length(&last.path);
        }
    }

    pub(crate) fn frames(&self) -> Vec<Frame> {
        let mut frames = self.frames.lock().unwrap();
        self.settle(&mut frames);
        frames.clone()
    }

    /// How many bytes each write has added.
    pub(crate) fn writes(&self) -> Vec<usize> {
        let frames = self.frames();
        let writes = frames.iter().filter(|frame| frame.kind == Kind::Write);
        writes.map(|frame| usize::try_from(frame.after.unwrap() - frame.before.unwrap()).unwrap()).collect()
    }
}

impl Interceptor for Film {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        let mut frames = self.frames.lock().unwrap();
        // Only once: a later call may have undone it.
        if frames.last().is_some_and(|last| last.after.is_none()) {
            self.settle(&mut frames);
        }
        if operation.kind.changes() || waits(operation.kind) {
            let call = call(operation);
            let relative = |path: PathBuf| path.strip_prefix(&self.root).unwrap().to_owned();
            let (path, to) = (relative(call.path), call.to.map(relative));
            frames.push(Frame { kind: call.kind, before: self.length(&path), after: None, path, to });
        }
        Answer::Go
    }
}

/// What changes names.
#[derive(Clone, Debug)]
enum Step {
    Make(PathBuf),
    Create(PathBuf),
    Move(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveFolder(PathBuf),
}

/// What the disk is known to hold at one moment, and what it may hold beyond that.
pub(crate) struct Moment {
    durable: Disk,
    /// In the order in which they were done; and whether it was waited for them.
    pending: Vec<(Step, bool)>,
    /// How much of each file is on the disk, and how much was written.
    files: BTreeMap<PathBuf, (u64, u64)>,
    /// What the files hold in the end. They are only ever added to.
    contents: Disk,
}

/// One choice among the states that a power cut can leave.
struct Choice<'a> {
    /// For each move and removal.
    taken: &'a [bool],
    /// Whether everything that was made is there.
    made: bool,
    /// Of four, how much of what was written after the last `fsync`.
    quarters: u64,
}

impl Moment {
    pub(crate) fn before(start: &Disk, end: &Disk) -> Self {
        Self { durable: start.clone(), pending: Vec::new(), files: BTreeMap::new(), contents: end.clone() }
    }

    /// The next call is made.
    pub(crate) fn advance(&mut self, frame: &Frame) {
        let path = frame.path.clone();
        let is_done = frame.before.is_some() != frame.after.is_some();
        let step = match frame.kind {
            Kind::MakeFolder => Step::Make(path),
            Kind::RemoveFile => Step::RemoveFile(path),
            Kind::RemoveFolder => Step::RemoveFolder(path),
            Kind::Move => Step::Move(path, frame.to.clone().unwrap()),
            Kind::OpenToWrite => {
                let length = frame.before.unwrap_or_default();
                self.files.entry(path.clone()).or_insert((length, length));
                Step::Create(path)
            }
            Kind::Truncate => {
                self.files.insert(path, (0, 0));
                return;
            }
            Kind::Write => return self.files.get_mut(&path).unwrap().1 = frame.after.unwrap(),
            Kind::SyncFile => {
                let file = self.files.get_mut(&path).unwrap();
                return file.0 = file.1;
            }
            Kind::SyncFolder => {
                for (step, is_certain) in &mut self.pending {
                    if let Step::Make(made) | Step::Create(made) = step {
                        *is_certain |= made.parent() == Some(&path);
                    }
                }
                return;
            }
            Kind::SyncVolume => {
                self.durable = self.all();
                self.pending.clear();
                self.files.values_mut().for_each(|file| file.0 = file.1);
                return;
            }
            _ => return,
        };
        if is_done {
            self.pending.push((step, false));
        }
    }

    fn choices(&self) -> usize {
        self.pending.iter().filter(|(step, _)| !matches!(step, Step::Make(_) | Step::Create(_))).count()
    }

    /// The state without a power cut.
    pub(crate) fn all(&self) -> Disk {
        self.state(&Choice { taken: &vec![true; self.choices()], made: true, quarters: 4 })
    }

    fn state(&self, choice: &Choice<'_>) -> Disk {
        let mut disk = self.durable.clone();
        let mut taken = choice.taken.iter();
        let has_parent = |disk: &Disk, path: &Path| path.parent().is_some_and(|parent| disk.holds(parent));
        for (step, is_certain) in &self.pending {
            match step {
                Step::Make(path) if (choice.made || *is_certain) && has_parent(&disk, path) => disk.make_folder(path),
                Step::Create(path) if (choice.made || *is_certain) && has_parent(&disk, path) => disk.write(path, b""),
                Step::Make(_) | Step::Create(_) => {}
                _ if !taken.next().unwrap() => {}
                Step::Move(from, to) if disk.holds(from) && !disk.is_occupied(to) => {
                    disk.make_folder(to.parent().unwrap());
                    disk.rename(from, to);
                }
                Step::RemoveFolder(path) if !disk.is_occupied(path) => disk.remove(path),
                Step::RemoveFile(path) => disk.remove(path),
                Step::Move(..) | Step::RemoveFolder(_) => {}
            }
        }
        for (path, &(synced, written)) in &self.files {
            if disk.holds(path) {
                let part = if choice.quarters == 3 { written.saturating_sub(1) } else { written * choice.quarters / 4 };
                let length = usize::try_from(part.clamp(synced, written)).unwrap();
                let (_, content) = self.contents.files().find(|(other, _)| other == path).unwrap();
                // The lock is written anew by each run, and not always as long; nothing depends on what it holds.
                disk.write(path, &content[..length.min(content.len())]);
            }
        }
        disk
    }

    /// Every state that a power cut can leave now is shown; returns how many.
    fn each_state(&self, pairs: bool, mut show: impl FnMut(Disk)) -> usize {
        let mut count = 0;
        let is_unsynced = self.files.values().any(|(synced, written)| synced != written);
        let quarters: &[u64] = if is_unsynced { &[0, 2, 3, 4] } else { &[4] };
        for taken in subsets(self.choices(), pairs) {
            for made in [false, true] {
                for &quarters in quarters {
                    show(self.state(&Choice { taken: &taken, made, quarters }));
                    count += 1;
                }
            }
        }
        count
    }
}

/// All subsets of so many steps; where they are too many, the smallest, the largest, and some by chance.
fn subsets(count: usize, pairs: bool) -> Vec<Vec<bool>> {
    if count <= ALL_SUBSETS {
        return (0..1_u32 << count).map(|bits| (0..count).map(|step| bits >> step & 1 == 1).collect()).collect();
    }
    let mut subsets = Vec::new();
    for first in 0..count {
        for second in first..if pairs && count <= PAIRS { count } else { first + 1 } {
            let few: Vec<bool> = (0..count).map(|step| step == first || step == second).collect();
            subsets.push(few.iter().map(|taken| !taken).collect());
            subsets.push(few);
        }
    }
    // Xorshift, from the same seed each time.
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..BY_CHANCE {
        let mut toss = || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance >> 32 & 1 == 1
        };
        subsets.push((0..count).map(|_| toss()).collect());
    }
    // What a system that writes in order leaves: everything up to some step.
    subsets.extend((0..=count).map(|steps| (0..count).map(|step| step < steps).collect()));
    subsets
}

/// All that a power cut can leave of one piece of work.
pub(crate) struct Cuts {
    /// After how many calls it was cut.
    pub(crate) points: usize,
    /// How many states were gone through.
    pub(crate) subsets: usize,
    /// The different ones among them, with the first point at which each can be.
    pub(crate) states: Vec<(usize, Disk)>,
}

impl Cuts {
    /// Of the first so many calls; all of them lead from the start to the end.
    pub(crate) fn of(start: &Disk, end: &Disk, frames: &[Frame], calls: usize) -> Self {
        let mut cuts = Self { points: calls + 1, subsets: 0, states: Vec::new() };
        let mut seen = HashSet::new();
        let mut moment = Moment::before(start, end);
        for point in 0..=calls {
            if let Some(frame) = point.checked_sub(1).map(|last| &frames[last]) {
                moment.advance(frame);
            }
            let is_waited_for = frames.get(point).is_none_or(|next| next.kind == Kind::SyncVolume);
            cuts.subsets += moment.each_state(is_waited_for, |disk| {
                if seen.insert(disk.hash()) {
                    cuts.states.push((point, disk));
                }
            });
        }
        frames[calls..].iter().for_each(|frame| moment.advance(frame));
        assert!(moment.all() == *end, "the film tells all that happened");
        cuts
    }
}
