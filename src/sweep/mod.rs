//! Sweep: the only part that changes anything.
//!
//! # One way out
//!
//! Everything leaves by one `rename` of its folder into the run's trash, `_regsweep/runs/<run>/trash/`, which mirrors
//! the tree. A rename is atomic, can be undone, keeps contents and times, needs next to no space, and costs a tenth of
//! deleting. Deleting comes afterwards, when the registry may already be written to again.
//!
//! # The order
//!
//! References die before referents: tags and tag history, revisions, layer links, and only then blobs. So a process
//! that dies anywhere leaves more garbage, never a broken image. Within a repository the first three follow each other;
//! repositories go side by side; blobs wait for all of them.
//!
//! # What is undone, and what is finished
//!
//! The plan is in the journal, on the disk, before the first rename. After the last one comes `syncfs`, and then the
//! mark *swept*. A run without the mark is put back by the next run before that looks at anything; a run with it gets
//! its trash deleted.
//!
//! # When it cannot be done that way
//!
//! On a full volume there may be no room for a journal: then blobs that no link leads to are deleted directly, until
//! there is, and if there is still none, everything is.
//! Where nothing can be renamed, because a folder lies on another device, things are deleted directly as well. The
//! order stays the same, so a cut still leaves only garbage; but nothing of it can be undone, and so `--quarantine`
//! refuses to start where that is known beforehand.

mod disk;
mod error;
mod hand;
mod history;
mod journal;
mod lacking;
mod lease;
mod lock;
mod mend;
mod movers;
mod past;
mod recheck;
mod recovery;
mod runs;
mod schedule;
mod steps;
mod trash;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rayon::prelude::*;

pub use disk::{is_forbidden, is_full};
pub use error::SweepError;
pub use history::{COMPLETE, Completed, History, Remembered, last as last_completed, record, record_late, remembered};
pub use journal::{Event, Progress, progress_of};
pub use lacking::{Lacking, Unseen, lacking};
pub use lock::{Holder, Lock, LockError, acquire, is_held};
pub use past::{Fate, Past, PastRun, past};
pub use recovery::{Recovered, Unrecovered, purge, recover};
pub use runs::{Run, RunId, Runs, State};
pub use trash::{Contents, Purged, PutBack};

use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::halt::{Cause, Halted};
use crate::inventory::Inventory;
use crate::layout::{Item, shown_path};
use crate::plan::{BlobPlan, Plan, RepositoryPlan, Totals};
use crate::progress::{Meter, Phase, Watch};
use crate::registry::Registry;
use disk::Gone;
use hand::{Hand, Tally, Way};
use journal::Journal;
use runs::Begin;
use schedule::State as Schedule;

/// How many bytes are deleted directly, to make room for a journal, before it is tried again.
const ROOM: u64 = 64 * 1024 * 1024;

/// How much of the time that is left goes to moving things into the trash, where it is not kept: deleting them takes
/// about three times as long, and what is only moved is not freed. (`docs/benchmarks.md` has both.)
const MOVING: f64 = 0.25;

/// What a sweep is told.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The command that asks for it, for the journal: `gc`, `rm` or `check`.
    pub command: &'static str,
    /// The trash is kept.
    pub quarantine: bool,
    /// Untagged manifests went into the plan; for the journal.
    pub delete_untagged: bool,
    /// How many removals are in flight at a time while the trash is deleted.
    pub deleters: usize,
    /// When the registry had to be read-only.
    pub window_began: Instant,
}

/// How much of a trash that was to be deleted is left: the run had to end, or it could not be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing, or it was to be kept.
    Nothing,
    /// Nobody knows how much: the rest is deleted by the next run.
    Some,
    /// All of it: it can be restored until the next run deletes it.
    All,
}

impl Left {
    /// What is left of a run's trash after it was to be deleted.
    fn of(run: &Run) -> Left {
        match (run.trash(), journal::progress(&run.folder)) {
            (Ok(None), _) => Left::Nothing,
            (Ok(Some(_)), Ok(Progress { purging: false, .. })) => Left::All,
            // What cannot be looked at may have begun to go.
            (Ok(Some(_)), Ok(_) | Err(_)) | (Err(_), _) => Left::Some,
        }
    }
}

/// What a sweep did.
#[derive(Debug)]
pub struct Swept {
    /// The run; `None` if there was no room for one, and everything was deleted directly.
    pub run: Option<RunId>,
    /// What is gone.
    pub removed: Totals,
    /// How many links were written.
    pub mended: u64,
    /// Whether all was done: blobs are not reached where a link could not be removed, and a link may not be writable; and
    /// the run may have had to end before that.
    pub is_complete: bool,
    /// Why the run left something of the plan, or of its trash, to the next; nothing if it did not.
    pub halted: Option<Cause>,
    /// What is left in its trash of what was to be deleted.
    pub left_in_trash: Left,
    /// How long the registry had to be read-only, in seconds.
    pub window_seconds: f64,
    /// How many seconds the phases took: links, blobs, purge.
    pub seconds: [f64; 3],
}

/// Carries out a plan.
///
/// # Errors
/// [`SweepError`]. In every case the tree is consistent: nothing kept is broken.
pub fn sweep(
    registry: &Registry,
    inventory: &Inventory,
    plan: &Plan,
    options: Options,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<Swept, SweepError> {
    let io_error = |what| move |source| SweepError::Io { what, source };
    let runs = Runs::of(registry).map_err(io_error("cannot open the registry's folder"))?;
    if options.quarantine {
        let folder = movers::on_another_mount(&runs.tree, plan).map_err(io_error("cannot see what can be moved"))?;
        if let Some(path) = folder {
            return Err(SweepError::OtherMount { path, root: registry.root().to_owned() });
        }
    }
    let tally = Tally::default();
    let may_begin = || {
        let removed = || Box::new(tally.totals());
        watch.halt().check().map_err(|Halted(cause)| SweepError::Halted { cause, removed: removed() })?;
        match recheck::changed(registry, inventory, plan, &HashSet::new(), Path::new("")) {
            None => Ok(()),
            Some(what) => Err(SweepError::Changed { what, removed: removed() }),
        }
    };
    let schedule = Schedule::read(registry, plan, findings);
    let mut recorded = begin(&runs, (plan, schedule.as_ref()), options, &tally, findings, &may_begin)?;
    // As late as possible: the journal of a large plan takes its time.
    if let Err(why) = may_begin() {
        if let Some((run, _)) = recorded {
            runs.discard(run).map_err(io_error("cannot take back the run's folder"))?;
        }
        return Err(why);
    }
    let trash = match &recorded {
        Some((run, _)) => run.trash().map_err(io_error("cannot open the run's trash"))?,
        None => None,
    };
    // What cannot be moved is deleted at once, and what is kept is not deleted at all.
    let is_moved_to_be_deleted = trash.is_some() && !options.quarantine && !movers::deletes_directly(&runs.tree, plan);
    let halt = if is_moved_to_be_deleted { watch.halt().with_share(MOVING) } else { watch.halt() };
    let hand = Hand::new(&runs.tree, trash.as_ref(), options.quarantine, findings, &tally, halt);

    let began = Instant::now();
    let meter = watch.begin(Phase::Links);
    // Who has all the time takes all links first, with one look before the blobs. Who has not takes the links of the
    // largest blobs first, and looks again with each step.
    let has_limit = watch.halt().time_left().is_some();
    meter.expect(plan.repositories.iter().map(|repository| links_of(repository, !has_limit)).sum());
    let take_names = |repository: &RepositoryPlan| {
        let all_gone = hand.names(repository, &meter);
        if all_gone && !has_limit {
            hand.layer_links(&repository.name, repository.layer_links.iter(), &meter);
        }
        all_gone
    };
    let names_gone: Vec<bool> = plan.repositories.par_iter().map(take_names).collect();
    let links_seconds = began.elapsed().as_secs_f64();

    let trash = recorded.as_ref().map(|(run, _)| Runs::trash_of(&run.id)).unwrap_or_default();
    let mut moved = HashSet::new();
    let mut changed = || {
        moved.extend(hand.moved());
        recheck::changed(registry, inventory, plan, &moved, &trash)
    };
    if let Some(what) = changed() {
        return Err(put_back(&runs, recorded.map(|(run, _)| run), what, &tally));
    }

    let began = Instant::now();
    let meter = watch.begin(Phase::Blobs);
    let steps = steps::steps(plan, has_limit);
    meter.expect(steps.iter().map(steps::Step::len).sum());
    for step in &steps {
        let links = step.links.par_iter().filter(|(place, _)| names_gone[*place]);
        links.for_each(|(place, links)| {
            hand.layer_links(&plan.repositories[*place].name, links.iter().copied(), &meter);
        });
        // What is not taken any more needs no look.
        if hand.was_cut_by().is_some() {
            break;
        }
        if !step.links.is_empty()
            && let Some(what) = changed()
        {
            return Err(put_back(&runs, recorded.map(|(run, _)| run), what, &tally));
        }
        // A reference that could not be removed still needs what it refers to.
        if hand.kept().is_empty() {
            hand.blobs(&step.blobs, &meter);
        }
    }
    // While nothing is deleted, a push that came in between loses nothing yet.
    if let Some(what) = changed() {
        return Err(put_back(&runs, recorded.map(|(run, _)| run), what, &tally));
    }
    if !hand.kept().is_empty() {
        let message = "some links could not be removed, so blobs were left: they may still be referenced";
        findings.add(Severity::Error, FindingKind::NotRemoved, None, Path::new(crate::layout::BLOBS), message);
    }
    let mut is_complete = hand.kept().is_empty();
    let mut mended = 0;
    if hand.was_cut_by().is_none() {
        for repository in plan.repositories.iter().filter(|repository| repository.folder) {
            hand.empty_folders(&repository.name);
        }
        // Last, for nobody can tell a folder that this run has written to from one that somebody else has.
        let (written, all_mended) = hand.mend(plan);
        mended = written;
        is_complete &= all_mended;
    }
    let mut halted = hand.was_cut_by();
    is_complete &= halted.is_none();
    let blobs_seconds = began.elapsed().as_secs_f64();
    let mut window_seconds = options.window_began.elapsed().as_secs_f64();
    // The schedule of a cache waits for the mark.
    if schedule.is_none() {
        watch.window_closed(window_seconds);
    }

    let began = Instant::now();
    let mut left_in_trash = Left::Nothing;
    if let Some((_, journal)) = &mut recorded {
        commit(&runs, journal, &hand, options, window_seconds)?;
    } else {
        let (what, removed) = ("cannot write the volume to the disk", Box::new(tally.totals()));
        runs.tree.sync_volume().map_err(|source| SweepError::NotCommitted { what, source, removed })?;
    }
    if let Some(schedule) = schedule {
        schedule.bring_in_step(&runs.tree, halted.is_none() && hand.kept().is_empty(), findings);
        window_seconds = options.window_began.elapsed().as_secs_f64();
        watch.window_closed(window_seconds);
    }
    // Where nothing was moved there is nothing to keep.
    if let Some((run, _)) = &recorded
        && (!options.quarantine || tally[Way::Moved].things() == 0)
    {
        // An empty trash takes no time, and is not left to anybody.
        let moved = tally[Way::Moved].things();
        let meter = if moved == 0 { Arc::new(Meter::new()) } else { watch.begin(Phase::Purge) };
        meter.expect(moved);
        let path = |blob: &&BlobPlan| Item::Blob(blob.digest.clone()).path();
        let first: Vec<Vec<PathBuf>> = steps.iter().map(|step| step.blobs.iter().map(path).collect()).collect();
        if let Err(Halted(cause)) = purge(&runs, run, &first, options.deleters, &meter, findings) {
            halted.get_or_insert(cause);
        }
        left_in_trash = Left::of(run);
    }
    let seconds = [links_seconds, blobs_seconds, began.elapsed().as_secs_f64()];
    let (run, removed) = (recorded.map(|(run, _)| run.id), tally.totals());
    Ok(Swept { run, removed, mended, is_complete, halted, left_in_trash, window_seconds, seconds })
}

/// Undoes a run that is not committed.
fn put_back(runs: &Runs, run: Option<Run>, what: String, tally: &Tally) -> SweepError {
    let gone = tally[Way::Deleted].things();
    let removed = Box::new(tally[Way::Deleted].totals());
    let Some(run) = run else {
        return SweepError::ChangedTooLate { what, items: 0, gone, removed };
    };
    let failed = |what, path: PathBuf, why: String| SweepError::NotPutBack { what, path, why };
    match runs.put_back(&run, &Meter::new()) {
        Err(error) => failed(what, PathBuf::from(run.id.as_str()), error.to_string()),
        Ok(back) => match back.failed.into_iter().next() {
            Some((path, why)) => failed(what, path, why),
            None if gone > 0 => SweepError::ChangedTooLate { what, items: back.items, gone, removed },
            None => SweepError::ChangedMeanwhile { what, items: back.items },
        },
    }
}

/// The point of no return: every rename is on the disk, and then the journal says so.
fn commit(
    runs: &Runs,
    journal: &mut Journal,
    hand: &Hand<'_>,
    options: Options,
    window_seconds: f64,
) -> Result<(), SweepError> {
    let failed = |what| {
        move |source| {
            let mut removed = hand.tally[Way::Deleted].totals();
            // The folders of a repository are made again for whatever is put back into it.
            if hand.tally[Way::Moved].things() > 0 {
                removed.repositories.count = 0;
            }
            SweepError::NotCommitted { what, source, removed: Box::new(removed) }
        }
    };
    let write = "cannot write the journal; the next run puts back what this one has moved";
    for (path, why) in hand.kept().iter() {
        let event = Event::Kept { path: shown_path(path), why: why.clone() };
        journal.write(&event).map_err(failed(write))?;
    }
    runs.tree
        .sync_volume()
        .map_err(failed("cannot write the volume to the disk; the next run puts back what this one has moved"))?;
    let totals = hand.tally.totals();
    let swept = Event::Swept {
        at: Timestamp::now().to_string(),
        window_seconds,
        quarantine: options.quarantine,
        moved: hand.tally[Way::Moved].things(),
        bytes: totals.bytes(),
        stopped: hand.was_cut_by().map(|cause| cause.to_string()),
    };
    journal.write(&swept).map_err(failed(write))?;
    // A mark that could not be waited for may be there all the same.
    let mark = "cannot make sure that the journal is on the disk; the next run deletes what this one has moved if it \
                finds the mark there, and puts it back if not";
    match journal.sync() {
        // On a full volume the mark itself may find no room. Everything in the trash is garbage, and every rename is on
        // the disk: some of it can go now as well as a moment later.
        Err(error) if disk::is_full(&error) && !options.quarantine => {
            let trash = hand.trash.map_or(Ok(None), |trash| trash.open(Path::new(crate::layout::BLOBS)));
            if let Some(blobs) = trash.map_err(failed(mark))? {
                trash::make_room(&blobs, ROOM);
            }
            match journal.sync() {
                // Some of it is deleted already, so the rest goes as well: to end here would leave links to be put back
                // whose blobs are gone.
                Err(error) if disk::is_full(&error) => Ok(()),
                done => done.map_err(failed(mark)),
            }
        }
        done => done.map_err(failed(mark)),
    }
}

/// Makes the run's folder and journal, with the plan in it and on the disk. On a full volume, makes room first; if that
/// is of no use, there is no run, and everything is deleted directly.
fn begin(
    runs: &Runs,
    (plan, schedule): (&Plan, Option<&Schedule>),
    options: Options,
    tally: &Tally,
    findings: &Findings,
    is_unchanged: &dyn Fn() -> Result<(), SweepError>,
) -> Result<Option<(Run, Journal)>, SweepError> {
    let what = "cannot make the run's folder and journal in _regsweep";
    let attempt = || -> io::Result<(Run, Journal)> {
        let Options { command, delete_untagged, quarantine, .. } = options;
        let told = Begin { command, delete_untagged, quarantine };
        let (run, mut journal) = runs.create(Timestamp::now(), told)?;
        match journal
            .write_plan(plan)
            .and_then(|()| Schedule::note(schedule, &mut journal))
            .and_then(|()| journal.sync())
        {
            Ok(()) => Ok((run, journal)),
            Err(error) => {
                journal.abandon();
                runs.discard(run)?;
                Err(error)
            }
        }
    };
    match attempt() {
        Ok(begun) => return Ok(Some(begun)),
        Err(error) if disk::is_full(&error) && !options.quarantine => {}
        Err(source) if disk::is_full(&source) => {
            let what = "the volume is full, and what is kept in a trash (--quarantine, check --repair) frees nothing: make \
                        room first, or collect without --quarantine";
            return Err(SweepError::Io { what, source });
        }
        Err(source) => return Err(SweepError::Io { what, source }),
    }
    is_unchanged()?;
    let freed = free_the_largest(runs, plan, tally, findings);
    let say = |more: &str| {
        let message = match freed {
            0 => format!("the volume is full{more}"),
            freed => format!(
                "the volume is full: blobs that no link leads to ({freed} bytes) were deleted to make room{more}"
            ),
        };
        findings.add(Severity::Warning, FindingKind::Volume, None, Path::new(crate::layout::REGSWEEP), message);
    };
    match attempt() {
        Ok(begun) => {
            say("");
            Ok(Some(begun))
        }
        Err(error) if disk::is_full(&error) => {
            say("; there is still none for a journal, so everything goes directly");
            Ok(None)
        }
        Err(source) => Err(SweepError::Io { what, source }),
    }
}

/// Deletes the largest blobs of the plan directly, until there should be room for a journal. Only such that no link
/// leads to: nobody can pull them. The others wait for the links, as ever; if this run ends here, or dies, a tag that it
/// was to take is as whole as it was.
fn free_the_largest(runs: &Runs, plan: &Plan, tally: &Tally, findings: &Findings) -> u64 {
    let linked: HashSet<&Digest> = plan.repositories.iter().flat_map(links_to).collect();
    let mut largest: Vec<_> = plan.blobs.iter().filter(|blob| !linked.contains(&blob.digest)).collect();
    largest.sort_by_key(|blob| std::cmp::Reverse(blob.size.disk_bytes));
    let mut freed = 0;
    for blob in largest {
        if freed >= ROOM {
            break;
        }
        let path = Item::Blob(blob.digest.clone()).path();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let removed = match runs.tree.open(parent) {
            Ok(Some(folder)) => trash::remove(&folder, Path::new(name), &path),
            Ok(None) => continue,
            Err(error) => Err(error.to_string()),
        };
        match removed {
            Ok(Gone::Now) => {
                freed += blob.size.bytes;
                tally[Way::Deleted].blob(blob.size);
            }
            Ok(Gone::Before) => {}
            Err(why) => findings.add(Severity::Error, FindingKind::NotRemoved, None, &path, why),
        }
    }
    freed
}

/// What the links lead to that go of a repository.
fn links_to(repository: &RepositoryPlan) -> impl Iterator<Item = &Digest> {
    let RepositoryPlan { tag_history, revisions, layer_links, .. } = repository;
    let former = tag_history.iter().map(|(_, digest, _)| digest);
    former.chain(revisions.iter().map(|(digest, _)| digest)).chain(layer_links.iter())
}

/// What goes of a repository, with its layer links or before them.
fn links_of(repository: &RepositoryPlan, with_layers: bool) -> u64 {
    let RepositoryPlan { tags, tag_history, revisions, layer_links, uploads, .. } = repository;
    let layers = if with_layers { layer_links.len() } else { 0 };
    (tags.len() + tag_history.len() + revisions.len() + layers + uploads.len()) as u64
}
