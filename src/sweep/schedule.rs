//! The schedule of a pull-through cache, brought in step with what is gone.
//!
//! # The order
//!
//! The registry is stopped, and reads the file when it starts. An entry whose thing is gone does no harm: when its time
//! comes, the registry finds nothing, says so in its log and forgets it. A thing whose entry is gone would stay in the
//! cache for ever. So the file is written last, when everything that a run took is gone for good by the mark *swept*:
//! wherever a run is cut off, there may be an entry too many and never one too few. It is written before the end of the
//! window is told, for a registry that is started reads the file once and writes over it from then on.
//!
//! # Back
//!
//! What goes stands in the journal, behind the plan. Whatever puts a run back puts those entries back as well whose
//! links are there and that the registry has not noted anew meanwhile.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::Folder;
use super::journal::{JOURNAL, Journal, MAX_LINE};
use crate::cache::schedule::{MAX_STATE_BYTES, STATE, Schedule};
use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::layout::{Item, RepositoryName};
use crate::plan::Plan;
use crate::registry::Registry;

/// How a line of the journal begins that holds an entry.
const ENTRY: &[u8] = br#"{"event":"plan-entry","#;

/// An entry in the journal.
#[derive(Serialize, Deserialize)]
struct Line {
    event: String,
    key: String,
    entry: String,
}

/// The schedule of a cache, and what of it goes.
#[derive(Debug)]
pub(super) struct State {
    folder: Folder,
    bytes: Vec<u8>,
    schedule: Schedule,
    entries: Vec<(String, String)>,
}

impl State {
    /// Reads the schedule; `None` if this registry has none, or if nothing in it is about what the plan takes. One that
    /// cannot be used is left as it is, with a finding: an eviction was refused before for that, and for everybody else
    /// an entry too many does no harm.
    pub(super) fn read(registry: &Registry, plan: &Plan, findings: &Findings) -> Option<State> {
        State::try_read(registry, plan).unwrap_or_else(|why| {
            not_in_step(&why, findings);
            None
        })
    }

    fn try_read(registry: &Registry, plan: &Plan) -> Result<Option<State>, String> {
        let Some(root) = registry.storage_root_with(STATE) else { return Ok(None) };
        let opened = registry.open_above(root).and_then(|dir| Folder::of(&dir));
        let folder = opened.map_err(|error| error.to_string())?;
        let Some(bytes) = read_whole(&folder).map_err(|error| error.to_string())? else { return Ok(None) };
        let schedule = Schedule::parse(&bytes)?;
        let entries = schedule.taken_by(plan);
        Ok((!entries.is_empty()).then_some(State { folder, bytes, schedule, entries }))
    }

    /// Writes what goes to the journal. A line that would be too long to be read again is left out.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn note(state: Option<&State>, journal: &mut Journal) -> io::Result<()> {
        for (key, entry) in state.iter().flat_map(|state| &state.entries) {
            let line = Line { event: "plan-entry".to_owned(), key: key.clone(), entry: entry.clone() };
            let line = serde_json::to_vec(&line)?;
            if u64::try_from(line.len()).is_ok_and(|length| length < MAX_LINE) {
                journal.write_line(&line)?;
            }
        }
        Ok(())
    }

    /// Writes the schedule without what is gone. Where not all of that is known to be gone, everything is looked for.
    /// What cannot be written is a finding, and the file is as it was.
    pub(super) fn bring_in_step(self, tree: &Folder, all_gone: bool, findings: &Findings) {
        if let Err(error) = self.write(tree, all_gone) {
            not_in_step(&error.to_string(), findings);
        }
    }

    fn write(mut self, tree: &Folder, all_gone: bool) -> io::Result<()> {
        // What cannot be looked at may be there.
        let is_gone = |key: &String| all_gone || is_there(tree, key).is_ok_and(|is_there| !is_there);
        let gone: Vec<&String> = self.entries.iter().map(|(key, _)| key).filter(|key| is_gone(key)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        if read_whole(&self.folder)?.is_none_or(|bytes| bytes != self.bytes) {
            return Err(io::Error::other("somebody has written it meanwhile, so a registry may be running"));
        }
        self.schedule.remove(gone);
        self.folder.write_over_whole(STATE, &self.schedule.to_bytes())
    }
}

fn not_in_step(why: &str, findings: &Findings) {
    let message = format!(
        "was not brought in step ({why}): when the time of an entry comes whose image is gone, the registry finds \
         nothing, says so in its log, and forgets it"
    );
    findings.add(Severity::Warning, FindingKind::NotRemoved, None, Path::new(STATE), message);
}

fn read_whole(folder: &Folder) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = folder.read(STATE)? else { return Ok(None) };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_STATE_BYTES + 1), &mut bytes)?;
    if bytes.len() as u64 > MAX_STATE_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_STATE_BYTES} bytes")));
    }
    Ok(Some(bytes))
}

/// Puts the entries back that a run has taken out, as far as what they are about is back too.
///
/// # Errors
/// Whatever the system says, or what is wrong with the schedule.
pub(super) fn put_back(tree: &Folder, storage: &Folder, run: &Folder) -> io::Result<usize> {
    let entries = entries_of(run)?;
    if entries.is_empty() {
        return Ok(0);
    }
    let Some(bytes) = read_whole(storage)? else { return Ok(0) };
    let mut schedule = Schedule::parse(&bytes).map_err(io::Error::other)?;
    let mut back = Vec::new();
    for (key, entry) in entries {
        if is_there(tree, &key)? {
            back.push((key, entry));
        }
    }
    let count = schedule.put_back(back);
    if count > 0 {
        storage.write_over_whole(STATE, &schedule.to_bytes())?;
    }
    Ok(count)
}

/// Whether a repository has a link that a key is about.
fn is_there(tree: &Folder, key: &str) -> io::Result<bool> {
    let Some((name, digest)) = key.split_once('@') else { return Ok(false) };
    let (Ok(name), Ok(digest)) = (RepositoryName::parse(name), Digest::parse(digest.as_bytes())) else {
        return Ok(false);
    };
    for item in [Item::LayerLink(name.clone(), digest.clone()), Item::Revision(name, digest)] {
        let path = item.path();
        let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else { continue };
        if let Some(folder) = tree.open(parent)?
            && folder.kind(Path::new(last))?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entries that stand in a journal.
fn entries_of(run: &Folder) -> io::Result<Vec<(String, String)>> {
    let mut entries = Vec::new();
    let Some(file) = run.read(JOURNAL)? else { return Ok(entries) };
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        // Half a line that a crash has left is of a run that has written no schedule yet.
        if line.starts_with(ENTRY)
            && let Ok(Line { key, entry, .. }) = serde_json::from_slice(&line)
        {
            entries.push((key, entry));
        }
    }
    Ok(entries)
}
