//! The runs that were, as far as the registry knows of them: what the history says, and what the runs' own folders do.
//!
//! Neither has it all. A run that was refused has no folder, and one that was cut off has no line in the history; what
//! is kept in a trash only the folder tells.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::history::{Remembered, remembered};
use super::lock::{Holder, is_held};
use super::runs::{Run, Runs, State};
use crate::registry::Registry;

/// What became of what a run moved away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is being moved now.
    AtWork,
    /// The run was cut off: the next one puts it back.
    CutOff,
    /// It is kept, and can be restored or purged.
    Kept,
    /// The run ended before anything of it was deleted: it can be restored until the next run deletes it.
    Unpurged,
    /// It was being deleted when something cut that off: the next run deletes the rest.
    HalfPurged,
    /// It was deleted.
    Purged,
    /// It was put back.
    Restored,
    /// Another version of regsweep has made the run, and this one does not understand its journal.
    Foreign,
}

/// A run that was, or is.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRun {
    /// What is remembered of it. Of a run that only its folder tells of: when it began, its name, what it moved.
    pub line: Remembered,
    /// Whether the history has it.
    pub is_remembered: bool,
    /// What became of what it moved away; `None` if it has no folder, or none any more.
    pub fate: Option<Fate>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Past {
    /// The oldest first.
    pub runs: Vec<PastRun>,
    /// How many lines of the history cannot be understood.
    pub not_understood: u64,
    /// Who is at work now; the inner is `None` if it has not written who it is.
    pub at_work: Option<Option<Holder>>,
}

/// Reads what is known of the runs of a registry. Takes no lock and changes nothing.
///
/// # Errors
/// Whatever the system says.
pub fn past(registry: &Registry) -> io::Result<Past> {
    // First who is at work: a run that ends meanwhile is then one that was.
    let at_work = is_held(registry)?;
    let history = remembered(registry)?;
    let mut runs: Vec<PastRun> =
        history.runs.into_iter().map(|line| PastRun { line, is_remembered: true, fate: None }).collect();
    for run in Runs::of(registry)?.list()? {
        let fate = fate(&run, at_work.as_ref());
        match runs.iter_mut().find(|past| is_of(&past.line, &run)) {
            Some(past) => {
                past.line.run = Some(run.id.to_string());
                past.fate = Some(fate);
            }
            None => runs.push(PastRun { line: told_by_its_folder(&run), is_remembered: false, fate: Some(fate) }),
        }
    }
    runs.sort_by_key(|past| began(&past.line.at));
    Ok(Past { runs, not_understood: history.not_understood, at_work })
}

fn began(at: &str) -> Option<Timestamp> {
    at.parse().ok()
}

/// Whether a line is about this run. A run that did not come to its end has not written its name; but there is only one
/// at a time.
fn is_of(line: &Remembered, run: &Run) -> bool {
    if let Some(name) = &line.run {
        return name == run.id.as_str();
    }
    let made = run.progress.began.as_deref().and_then(began);
    let (Some(made), Some(begins), Some(seconds)) = (made, began(&line.at), line.seconds) else { return false };
    let ends = SignedDuration::try_from_secs_f64(seconds).ok().and_then(|took| begins.checked_add(took).ok());
    begins <= made && ends.is_some_and(|ends| made <= ends)
}

fn told_by_its_folder(run: &Run) -> Remembered {
    let (items, bytes) = run.progress.swept.unzip();
    Remembered {
        schema: Remembered::SCHEMA.to_owned(),
        at: run.progress.began.clone().unwrap_or_default(),
        run: Some(run.id.to_string()),
        command: run.progress.command.clone(),
        items,
        bytes,
        quarantine: run.progress.swept.map(|_| run.progress.quarantine),
        ..Remembered::default()
    }
}

fn fate(run: &Run, at_work: Option<&Option<Holder>>) -> Fate {
    let is_its_own = |holder: &Option<Holder>| holder.as_ref().is_none_or(|holder| run.id.is_of_process(holder.pid));
    match run.state() {
        State::CutOff | State::Unpurged | State::HalfPurged if at_work.is_some_and(is_its_own) => Fate::AtWork,
        State::CutOff => Fate::CutOff,
        State::Unpurged => Fate::Unpurged,
        State::HalfPurged => Fate::HalfPurged,
        State::Kept => Fate::Kept,
        State::Foreign => Fate::Foreign,
        State::Finished if run.progress.restored => Fate::Restored,
        State::Finished => Fate::Purged,
    }
}
