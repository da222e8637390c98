//! What is done about runs that have ended: clearing up after those that did not come to their end, and deleting what lies
//! in their trash.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Event, Run, RunId, Runs, State};
use crate::finding::{FindingKind, Findings, Severity};
use crate::halt::Halted;
use crate::layout::shown_path;
use crate::progress::{Meter, Phase, Watch};
use crate::threads;
use crate::words::counted;

/// Why it could not be cleared up after an earlier run.
#[derive(Debug, thiserror::Error)]
pub enum Unrecovered {
    /// Another version of regsweep has made it. Nothing was touched.
    #[error(
        "run {0} was made by another version of regsweep, and this one does not understand its journal. Let that version \
         finish it (gc), restore it or purge it; nothing was touched"
    )]
    Foreign(RunId),
    /// Something could not be put back, or not even be looked at: one line that says what, and why.
    #[error("{0}")]
    Failed(String),
}

/// What was found of runs that did not come to their end.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Runs that ended before their trash was deleted: that is to be done when the registry may be written to again.
    pub to_purge: Vec<Run>,
    /// How many things were put back.
    pub put_back: u64,
}

/// Clears up after runs that were cut off, before anything is looked at, and says so: what was moved before the mark
/// *swept* is put back.
///
/// # Errors
/// [`Unrecovered`]. Nothing may be swept then.
pub fn recover(runs: &Runs, findings: &Findings, watch: &dyn Watch) -> Result<Recovered, Unrecovered> {
    let all = runs
        .list()
        .map_err(|error| Unrecovered::Failed(format!("cannot see whether an earlier run was cut off: {error}")))?;
    if let Some(run) = all.iter().find(|run| run.state() == State::Foreign) {
        return Err(Unrecovered::Foreign(run.id.clone()));
    }
    let mut recovered = Recovered::default();
    for run in all {
        let path = Path::new(crate::layout::REGSWEEP).join("runs").join(run.id.as_str());
        let note = |message: String| findings.add(Severity::Info, FindingKind::UnfinishedRun, None, &path, message);
        match run.state() {
            State::Finished | State::Kept | State::Foreign => {}
            State::Unpurged | State::HalfPurged => recovered.to_purge.push(run),
            State::CutOff => {
                let failed =
                    |why: String| Unrecovered::Failed(format!("cannot put back what run {} has moved: {why}", run.id));
                let back =
                    runs.put_back(&run, &watch.begin(Phase::Restore)).map_err(|error| failed(error.to_string()))?;
                if let Some((path, why)) = back.failed.first() {
                    let left = counted(back.failed.len() as u64, "thing is", "things are");
                    return Err(failed(format!("{}: {why} ({left} still in its trash)", shown_path(path))));
                }
                recovered.put_back += back.items;
                let things = counted(back.items, "thing was", "things were");
                note(match back.anew {
                    0 => format!("run {} was cut off; {things} put back", run.id),
                    anew => format!(
                        "run {} was cut off; {things} put back, {anew} more had been written anew meanwhile",
                        run.id
                    ),
                });
            }
        }
    }
    Ok(recovered)
}

/// Deletes the trash of a run that is committed, these in it first, with so many removals in flight at a time. What
/// cannot be deleted is named; the next run tries again.
///
/// # Errors
/// [`Halted`], if the meter says that the work is to end before everything is deleted: the next run deletes the rest.
pub fn purge(
    runs: &Runs,
    run: &Run,
    first: &[Vec<PathBuf>],
    deleters: usize,
    meter: &Meter,
    findings: &Findings,
) -> Result<(), Halted> {
    let not_purged = |path: &Path, why: &str| {
        let path = Path::new(crate::layout::REGSWEEP).join("runs").join(run.id.as_str()).join("trash").join(path);
        let message = format!("cannot be deleted from the trash: {why}");
        findings.add(Severity::Warning, FindingKind::NotRemoved, None, &path, message);
    };
    match threads::with(deleters, || runs.purge(run, first, meter)) {
        Err(error) => not_purged(Path::new(""), &error.to_string()),
        Ok(purged) => {
            for (path, why) in &purged.kept {
                not_purged(path, why);
            }
            // Without the line in its journal the next run tries again, and says again what it cannot delete.
            if purged.is_halted {
                return meter.check();
            }
            if !purged.kept.is_empty() {
                return Ok(());
            }
            let done = run.remove_empty_trash().and_then(|is_gone| match is_gone {
                true => run.note(&Event::Purged { at: Timestamp::now().to_string() }).and_then(|()| runs.forget_old()),
                false => {
                    Err(io::Error::other("something is left in it that no listing gave; the next run tries again"))
                }
            });
            if let Err(error) = done {
                not_purged(Path::new(""), &error.to_string());
            }
        }
    }
    Ok(())
}
