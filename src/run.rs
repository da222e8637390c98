//! A whole collection, from the lock to the last line of the journal.
//!
//! One run at a time; what an earlier one was cut off at is cleared up first; then see, decide, do. A run always comes
//! to an [`Ended`]: what went wrong is in it as a [`Complaint`] and among the findings, so that every run has a report.

mod book;
mod ended;

use std::io;
use std::path::Path;
use std::time::Instant;

use book::{Book, tell_what_was_done};
pub use ended::{Complaint, Ended, How, Leftover, Outcome};
use jiff::Timestamp;

use crate::check::{self, Checked, TrashCopy};
use crate::collect::{self, Collection, Mistaken, collect_and};
use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::halt::{Cause, Halted};
use crate::interlock::brakes::Brake;
use crate::inventory::Inventory;
use crate::layout::{DATA, Item, REGSWEEP, shown_path};
use crate::plan::{Plan, Totals};
use crate::progress::{Phase, Watch};
use crate::registry::Registry;
use crate::sweep::{
    self, Left, Lock, LockError, Recovered, Remembered, Run, Runs, State, SweepError, Swept, Unrecovered,
};
use crate::usage::{self, Usage};
use crate::words::counted;

/// The path of a finding about the whole registry, relative to the `v2` folder like all others.
const WHOLE: &str = ".";

/// What the operator asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The command that asks for this: `gc` or `rm`.
    pub command: &'static str,
    /// What is to go.
    pub collect: collect::Options<'a>,
    /// What goes is kept in the run's trash.
    pub quarantine: bool,
    /// It is right that fewer than half of the repositories are left.
    pub accept_shrink: bool,
    /// How many removals are in flight at a time while a trash is deleted.
    pub deleters: usize,
    /// When the run began.
    pub at: Timestamp,
    /// When the registry had to be read-only.
    pub window_began: Instant,
    /// Whether somebody wants to know where the bytes are. That takes a look at every blob, before anything is moved.
    pub wants_usage: bool,
}

/// A complaint, noted among the findings as well.
fn complain(how: How, text: impl Into<String>, findings: &Findings) -> Complaint {
    let text = text.into();
    let kind = match how {
        How::Refused | How::NotThere => FindingKind::Refused,
        How::Stopped | How::Failed => FindingKind::Stopped,
    };
    findings.add(Severity::Error, kind, None, Path::new(WHOLE), text.clone());
    Complaint { how, text }
}

/// The complaint of a run that ended before everything was seen. What it has found so far is of a part.
pub fn halted_early(Halted(cause): Halted, findings: &Findings) -> Complaint {
    complain(How::Stopped, format!("{cause} before everything was seen; nothing was touched"), findings)
}

/// The same for a run that had put back what another had moved.
fn halted_after(halted: Halted, put_back: u64, findings: &Findings) -> Complaint {
    if put_back == 0 {
        return halted_early(halted, findings);
    }
    let things = counted(put_back, "thing was", "things were");
    let text = format!(
        "{halted} before everything was seen; nothing was removed, and {things} put back that an earlier run had moved"
    );
    complain(How::Stopped, text, findings)
}

/// Sees and decides, and stops there. Changes nothing at all, and takes no lock; it says what stands in the way of its
/// figures.
pub fn dry_run(registry: &Registry, options: Options<'_>, findings: &Findings, watch: &dyn Watch) -> Ended {
    look_for_other_runs(registry, findings);
    let last_repositories = last_repositories(registry, options).unwrap_or_else(|error| {
        let message = format!("cannot be compared with the last completed run ({error})");
        findings.add(Severity::Warning, FindingKind::Unreadable, None, Path::new(REGSWEEP), message);
        None
    });
    let (collection, usage) = match look(registry, options, last_repositories, findings, watch) {
        Ok(seen) => seen,
        Err(halted) => return Ended::early(halted_early(halted, findings)),
    };
    let complaint = objection(&collection, findings).map(|Complaint { how, text }| match collection.brake {
        Some(_) => Complaint { how, text: format!("a sweep would be refused: {text}") },
        None => Complaint { how, text },
    });
    Ended { collection: Some(collection), usage, complaint, ..Ended::default() }
}

/// Sees and decides.
fn look(
    registry: &Registry,
    options: Options<'_>,
    last_repositories: Option<u64>,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<(Collection, Option<Usage>), Halted> {
    let asked = collect::Options { last_repositories, ..options.collect };
    let (mut collection, store) =
        collect_and(registry, asked, findings, watch, |store| options.wants_usage.then_some(store))?;
    let measure = |store| {
        let parts = (&collection.inventory, &store);
        usage::measure(registry, parts, &collection.marking, findings, watch)
    };
    let usage = store.map(measure).transpose()?;
    collection.brake = collection.brake.take().or_else(|| no_tags(&collection, options));
    Ok((collection, usage))
}

/// Where nothing is tagged everything is untagged. It may be so; more often the tags are elsewhere, or not mounted.
fn no_tags(collection: &Collection, options: Options<'_>) -> Option<Brake> {
    let Collection { inventory, plan, .. } = collection;
    let is_said = options.accept_shrink || !options.collect.policy.delete_untagged;
    let takes_revisions = plan.repositories.iter().any(|repository| !repository.revisions.is_empty());
    let revisions = inventory.revisions();
    (!is_said && takes_revisions && inventory.tags() == 0 && revisions > 0).then_some(Brake::NoTags { revisions })
}

/// Why the plan is not to be carried out: what was seen cannot be right, or what was named cannot go.
fn objection(collection: &Collection, findings: &Findings) -> Option<Complaint> {
    if let Some(brake) = &collection.brake {
        return Some(complain(How::Refused, brake.to_string(), findings));
    }
    match collection.mistaken.as_ref()? {
        Mistaken::Unknown(lines) => Some(complain(How::NotThere, lines.join("; "), findings)),
        Mistaken::Needed(lines) => Some(complain(How::Refused, lines.join("; "), findings)),
    }
}

/// How many repositories the last completed run saw, unless it is right that they are fewer now.
fn last_repositories(registry: &Registry, options: Options<'_>) -> io::Result<Option<u64>> {
    if options.accept_shrink {
        return Ok(None);
    }
    Ok(sweep::last_completed(registry)?.map(|last| last.repositories))
}

fn look_for_other_runs(registry: &Registry, findings: &Findings) {
    let path = Path::new(REGSWEEP);
    let note = |message: String| findings.add(Severity::Warning, FindingKind::UnfinishedRun, None, path, message);
    match sweep::is_held(registry) {
        Ok(None) => {}
        Ok(Some(holder)) => {
            let who = holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
            note(format!("a run is at work now ({who}); these figures are of a moment in between"));
        }
        Err(error) => note(format!("cannot see whether another run is at work: {error}")),
    }
    match Runs::of(registry).and_then(|runs| runs.list()) {
        Err(error) => note(format!("cannot see whether an earlier run was cut off: {error}")),
        Ok(runs) => {
            for run in runs {
                match run.state() {
                    State::CutOff => note(format!(
                        "run {} was cut off; the next sweep puts back what it had moved, before it looks at anything",
                        run.id
                    )),
                    State::Foreign => note(format!("a sweep would be refused: {}", Unrecovered::Foreign(run.id))),
                    State::Unpurged => note(format!(
                        "run {} has left all that it moved away in its trash; the next sweep deletes it, `trash purge` \
                         deletes it now, `trash restore` puts it back",
                        run.id
                    )),
                    State::HalfPurged => note(format!(
                        "run {} has left something in its trash; the next sweep deletes it, `trash purge` deletes it now",
                        run.id
                    )),
                    State::Finished | State::Kept => {}
                }
            }
        }
    }
}

/// Collects. The caller has seen to it that the registry is read-only.
pub fn real_run(registry: &Registry, options: Options<'_>, findings: &Findings, watch: &dyn Watch) -> Ended {
    real_run_telling(registry, options, findings, watch, &|_| {})
}

/// [`real_run`], and somebody is told what goes before anything does.
pub fn real_run_telling(
    registry: &Registry,
    options: Options<'_>,
    findings: &Findings,
    watch: &dyn Watch,
    decided: &dyn Fn(&Plan),
) -> Ended {
    let Options { command, at, window_began, quarantine, .. } = options;
    let book = Book { registry, command, at, window_began, findings, quarantine };
    let Locked { runs, unfinished, put_back, lock } = match lock_up(&book, watch) {
        Ok(locked) => locked,
        Err(complaint) => return Ended::early(complaint),
    };
    let last_repositories = match last_repositories(registry, options) {
        Ok(last) => last,
        Err(error) => {
            let text = format!(
                "{REGSWEEP}/history.jsonl cannot be read ({error}), so nobody knows whether repositories are missing. \
                 --accept-shrink goes on without it"
            );
            let ended = Ended::early(complain(How::Refused, text, findings));
            book.note(None, &ended);
            return ended;
        }
    };
    let (collection, usage) = match look(registry, options, last_repositories, findings, watch) {
        Ok(seen) => seen,
        Err(halted) => {
            let ended = Ended::early(halted_after(halted, put_back, findings));
            book.note(None, &ended);
            return ended;
        }
    };
    let mut ended = Ended { usage, ..Ended::default() };
    if let Some(complaint) = objection(&collection, findings) {
        ended.complaint = Some(complaint);
        book.note(Some(&collection), &ended);
    } else {
        decided(&collection.plan);
        if !collection.plan.is_empty() {
            let how = sweep::Options {
                command,
                quarantine,
                delete_untagged: options.collect.policy.delete_untagged,
                deleters: options.deleters,
                window_began,
            };
            carry_out(registry, &collection.inventory, &collection.plan, how, findings, watch, &mut ended);
        }
        book.note(Some(&collection), &ended);
        // Outside the window: what an earlier run was cut off at.
        let is_stopped = ended.complaint.is_some();
        purge_unfinished(&runs, &unfinished, options.deleters, findings, watch, &mut ended);
        if !is_stopped && ended.complaint.is_some() {
            // It came to its end, which the first line says; this one says how the command did.
            book.note(Some(&collection), &ended);
        }
    }
    ended.collection = Some(collection);
    drop(lock);
    ended
}

/// A registry that is ours alone, with nothing left of runs that were cut off.
struct Locked {
    runs: Runs,
    /// Runs whose trash is to be deleted at the end.
    unfinished: Vec<Run>,
    /// How many things were put back that a run had moved which was cut off.
    put_back: u64,
    lock: Lock,
}

/// Takes the lock, and clears up after runs that were cut off.
fn lock_up(book: &Book<'_>, watch: &dyn Watch) -> Result<Locked, Complaint> {
    let Book { registry, at, findings, .. } = *book;
    let failed = |text: String| complain(How::Failed, text, findings);
    let lock = sweep::acquire(registry, at).map_err(|error| match error {
        LockError::Held(_) => complain(How::Refused, error.to_string(), findings),
        LockError::Io(error) if sweep::is_forbidden(&error) => {
            let hint = "run as the user that the registry's files belong to, on a volume that is mounted writable";
            failed(format!("cannot write to {}: {error}; {hint}", shown_path(registry.root())))
        }
        LockError::Io(error) => failed(format!("cannot take the lock {REGSWEEP}/lock: {error}")),
    })?;
    let cleared = Runs::of(registry)
        .map_err(|error| failed(format!("cannot open the registry's folder: {error}")))
        .and_then(|runs| match sweep::recover(&runs, findings, watch) {
            Ok(recovered) => Ok((runs, recovered)),
            Err(foreign @ Unrecovered::Foreign(_)) => Err(complain(How::Refused, foreign.to_string(), findings)),
            Err(Unrecovered::Failed(why)) => Err(failed(why)),
        });
    match cleared {
        Ok((runs, Recovered { to_purge: unfinished, put_back })) => Ok(Locked { runs, unfinished, put_back, lock }),
        Err(complaint) => {
            book.note(None, &Ended::early(complaint.clone()));
            Err(complaint)
        }
    }
}

/// What is asked of a check that may mend.
#[derive(Clone, Copy, Debug)]
pub struct Mending {
    /// How many removals are in flight at a time while a trash is deleted.
    pub deleters: usize,
    /// When the run began.
    pub at: Timestamp,
    /// When the registry had to be read-only.
    pub window_began: Instant,
}

/// A check that has ended, one way or the other.
#[derive(Debug, Default)]
pub struct Repaired {
    /// What was found; `None` if it did not come to that.
    pub checked: Option<Checked>,
    /// What was done; `None` if nothing was.
    pub swept: Option<Swept>,
    /// What was put aside or dropped.
    pub removed: Totals,
    /// Why it is not what was asked for.
    pub complaint: Option<Complaint>,
    /// What is to be remembered of it once its exit code is known, which takes another look at the registry, without
    /// the lock; `None` if there is nothing to remember, or if that was done.
    pub line: Option<Remembered>,
}

/// Checks. Changes nothing at all, and takes no lock; it says what stands in the way of its figures.
///
/// # Errors
/// [`Halted`], if the run is to end before everything is seen.
pub fn check(
    registry: &Registry,
    request: &check::Request,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<Checked, Halted> {
    look_for_other_runs(registry, findings);
    let runs = Runs::of(registry).and_then(|runs| runs.list()).unwrap_or_default();
    // What cannot be seen was said a moment ago; here it is only for a hint.
    check::check(registry, request, &|digest| in_trash_of(&runs, digest), findings, watch)
}

/// The copies of a blob that lie in trashes, those of the newest run first.
fn in_trash_of(runs: &[Run], digest: &Digest) -> Vec<TrashCopy> {
    let path = Item::Blob(digest.clone()).path();
    let holds_it = |run: &&Run| {
        let trash = run.trash().ok().flatten().filter(|_| run.can_be_restored());
        trash.is_some_and(|trash| matches!(trash.open(&path), Ok(Some(_))))
    };
    let copy = |run: &Run| TrashCopy { run: run.id.to_string(), data: Runs::trash_of(&run.id).join(&path).join(DATA) };
    runs.iter().rev().filter(holds_it).map(copy).collect()
}

/// Why nothing is to be mended: what was seen cannot be right. A folder that could not be listed is no reason; nothing
/// is mended in that repository.
pub fn mending_brake(inventory: &Inventory) -> Option<Brake> {
    collect::brake(inventory, &[], None)
}

/// Checks, and mends what can be mended. The caller has seen to it that the registry is read-only. What is put aside
/// stays in the run's trash.
pub fn repair(
    registry: &Registry,
    request: &check::Request,
    options: Mending,
    findings: &Findings,
    watch: &dyn Watch,
) -> Repaired {
    let Mending { at, window_began, .. } = options;
    let book = Book { registry, command: "check", at, window_began, findings, quarantine: true };
    let Locked { runs, lock, put_back, .. } = match lock_up(&book, watch) {
        Ok(locked) => locked,
        Err(complaint) => return Repaired { complaint: Some(complaint), ..Repaired::default() },
    };
    let all = runs.list().unwrap_or_default();
    let checked = match check::check(registry, request, &|digest| in_trash_of(&all, digest), findings, watch) {
        Ok(checked) => checked,
        Err(halted) => {
            let complaint = halted_after(halted, put_back, findings);
            book.note(None, &Ended::early(complaint.clone()));
            return Repaired { complaint: Some(complaint), ..Repaired::default() };
        }
    };
    let mut ended = Ended::default();
    let mut line = book.line();
    if let Some(brake) = mending_brake(&checked.inventory) {
        ended.complaint = Some(complain(How::Refused, brake.to_string(), findings));
    } else if !checked.repair.plan.is_empty() {
        let how = sweep::Options {
            command: book.command,
            quarantine: true,
            delete_untagged: false,
            deleters: options.deleters,
            window_began: options.window_began,
        };
        carry_out(registry, &checked.inventory, &checked.repair.plan, how, findings, watch, &mut ended);
    }
    // What earlier runs have left in their trash stays there: it may be what is missing.
    drop(lock);
    tell_what_was_done(&mut line, &ended);
    line.seconds = Some(book.window_began.elapsed().as_secs_f64());
    let Ended { swept, removed, complaint, .. } = ended;
    Repaired { checked: Some(checked), swept, removed, complaint, line: Some(line) }
}

fn carry_out(
    registry: &Registry,
    inventory: &Inventory,
    plan: &Plan,
    how: sweep::Options,
    findings: &Findings,
    watch: &dyn Watch,
    ended: &mut Ended,
) {
    match sweep::sweep(registry, inventory, plan, how, findings, watch) {
        Ok(swept) => {
            ended.removed = swept.removed;
            ended.complaint = swept.halted.map(|cause| complain(How::Stopped, halted_late(cause, &swept), findings));
            ended.swept = Some(swept);
        }
        Err(error) => {
            let how = match &error {
                SweepError::OtherMount { .. } => How::Refused,
                SweepError::Changed { removed, .. } => {
                    ended.removed = **removed;
                    if removed.is_nothing() { How::Refused } else { How::Stopped }
                }
                SweepError::Halted { removed, .. } => {
                    ended.removed = **removed;
                    How::Stopped
                }
                SweepError::ChangedMeanwhile { .. } => How::Stopped,
                SweepError::ChangedTooLate { removed, .. } => {
                    ended.removed = **removed;
                    How::Stopped
                }
                SweepError::NotCommitted { removed, .. } => {
                    ended.removed = **removed;
                    How::Failed
                }
                SweepError::NotPutBack { .. } | SweepError::Io { .. } => How::Failed,
            };
            ended.complaint = Some(complain(how, with_causes(&error), findings));
        }
    }
}

/// What a run leaves to the next that had to end before its end.
fn halted_late(cause: Cause, swept: &Swept) -> String {
    let trash = match swept.left_in_trash {
        Left::Nothing => None,
        Left::Some => Some("some of what went is still in its trash, and the next run deletes it"),
        Left::All => Some("all of what went is still in its trash, and the next run deletes it"),
    };
    match (swept.is_complete, trash) {
        (true, trash) => {
            format!("{cause} when everything was moved away: {}", trash.unwrap_or("nothing is left to do"))
        }
        (false, Some(trash)) => format!("{cause}: what is left is whole, and the next run goes on with it; {trash}"),
        (false, None) => format!("{cause}: what is left is whole, and the next run goes on with it"),
    }
}

/// Deletes what earlier runs have left in their trash, as far as there is time.
fn purge_unfinished(
    runs: &Runs,
    unfinished: &[Run],
    deleters: usize,
    findings: &Findings,
    watch: &dyn Watch,
    ended: &mut Ended,
) {
    for run in unfinished {
        let (id, meter) = (&run.id, watch.begin(Phase::Purge));
        let was_whole = run.state() == State::Unpurged;
        let swept = run.progress.swept.unwrap_or_default();
        if was_whole {
            meter.expect(swept.0);
        }
        let purged = sweep::purge(runs, run, &[], deleters, &meter, findings);
        let is_left = !runs.find(id).is_ok_and(|run| run.is_none_or(|run| run.state() == State::Finished));
        let bytes = (was_whole && !is_left).then_some(swept.1);
        ended.earlier.push(Leftover { run: id.to_string(), items: meter.done(), bytes, is_left });
        if let Err(Halted(cause)) = purged {
            let text = format!("{cause} while the trash of run {id} was deleted; the next run deletes the rest");
            ended.complaint.get_or_insert_with(|| complain(How::Stopped, text, findings));
        }
    }
}

/// An error with what caused it, on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
