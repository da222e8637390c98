//! Runs on the disk: `_regsweep/runs/<run>/{journal.jsonl, trash/}`.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::disk::{self, Folder};
use super::journal::{self, Event, Journal, Progress, SCHEMA};
use super::schedule;
use super::trash::{self, Contents, Purged, PutBack};
use crate::cache::schedule::STATE;
use crate::layout::REGSWEEP;
use crate::progress::Meter;
use crate::registry::{Kind, Registry};

/// The folder of all runs, below `_regsweep`.
const RUNS: &str = "runs";
/// The folder of what a run has moved away, below the run's own.
pub(super) const TRASH: &str = "trash";
/// How many finished runs keep their journals.
const REMEMBERED: usize = 30;

/// The name of a run: its time in UTC, and the process that made it. Sorted by name is sorted by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// Checks a name that somebody gave: letters, digits and `-`, nothing that could be a path.
    pub fn parse(text: &str) -> Option<RunId> {
        let fine = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        fine.then(|| RunId(text.to_owned()))
    }

    fn new(at: Timestamp, attempt: u32) -> RunId {
        let suffix = if attempt == 0 { String::new() } else { format!("-{attempt}") };
        RunId(format!("{}-{:07}{suffix}", at.strftime("%Y%m%dT%H%M%SZ"), std::process::id()))
    }

    /// Whether a process of this number has made it.
    pub(super) fn is_of_process(&self, pid: u32) -> bool {
        self.0.split('-').nth(1).and_then(|text| text.parse().ok()) == Some(pid)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the next run has to do about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Cut off before the mark *swept*: what it moved is put back.
    CutOff,
    /// Ended after the mark, before anybody had begun to delete its trash: everything is there. It can be restored
    /// until the next run deletes it.
    Unpurged,
    /// Ended while its trash was being deleted: the deleting is finished.
    HalfPurged,
    /// Its trash is kept, for `trash restore` or `trash purge`.
    Kept,
    /// Another version of regsweep has made it, whose journal this one does not understand. Nothing is done about it,
    /// and nothing else either: what lies in its trash may be needed.
    Foreign,
    /// Nothing is left to do.
    Finished,
}

/// A run on the disk.
#[derive(Debug)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// Its folder.
    pub(super) folder: Folder,
    /// How far it came.
    pub progress: Progress,
    /// Whether it has a folder for its trash.
    has_trash: bool,
}

impl Run {
    /// What is to be done about it.
    pub fn state(&self) -> State {
        match &self.progress {
            Progress { foreign: true, .. } if self.has_trash => State::Foreign,
            Progress { foreign: true, .. } => State::Finished,
            // The trash goes before either is noted. Where it is there, a power cut has brought it back.
            Progress { purged: true, .. } if self.has_trash => State::HalfPurged,
            Progress { restored: true, .. } if self.has_trash => State::CutOff,
            Progress { purged: true, .. } | Progress { restored: true, .. } => State::Finished,
            Progress { swept: None, .. } => State::CutOff,
            Progress { purging: true, .. } => State::HalfPurged,
            Progress { quarantine: true, .. } | Progress { restoring: true, .. } => State::Kept,
            _ => State::Unpurged,
        }
    }

    /// Whether everything that it moved away is in its trash, committed, so that it can be put back.
    pub fn can_be_restored(&self) -> bool {
        matches!(self.state(), State::Kept | State::Unpurged)
    }

    /// Whether its trash may be deleted.
    pub fn can_be_purged(&self) -> bool {
        matches!(self.state(), State::Kept | State::Unpurged | State::HalfPurged)
    }

    /// Its trash; `None` if it has none.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn trash(&self) -> io::Result<Option<Folder>> {
        self.folder.open(Path::new(TRASH))
    }

    /// What lies in its trash, by its place, in the order of the paths. Changes nothing.
    ///
    /// # Errors
    /// Whatever the system says while a folder is listed.
    pub fn contents(&self) -> io::Result<Contents> {
        self.trash()?.map_or_else(|| Ok(Contents::default()), |trash| trash::contents(&trash))
    }

    /// Removes its trash folder, if nothing is left in it, and says whether it is gone.
    ///
    /// # Errors
    /// Whatever the system says, except that something is left.
    pub fn remove_empty_trash(&self) -> io::Result<bool> {
        match self.folder.remove_empty(Path::new(TRASH)) {
            Ok(_) => Ok(true),
            Err(error) if disk::is_occupied(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a line to its journal and waits until it is on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn note(&self, event: &Event) -> io::Result<()> {
        let mut journal = Journal::open(&self.folder)?;
        journal.write(event)?;
        journal.sync()
    }
}

/// All runs of a registry.
#[derive(Debug)]
pub struct Runs {
    /// The `v2` folder.
    pub(super) tree: Folder,
    /// The storage root of a pull-through cache, where its schedule is.
    storage: Option<Folder>,
}

impl Runs {
    /// Where a registry's runs are. Changes nothing.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn of(registry: &Registry) -> io::Result<Runs> {
        let storage = registry.storage_root_with(STATE);
        // What cannot be opened is for whoever needs it.
        let storage = storage.and_then(|root| registry.open_above(root).and_then(|dir| Folder::of(&dir)).ok());
        Ok(Runs { tree: Folder::of(registry.v2())?, storage })
    }

    /// Where a run's trash is, relative to the `v2` folder.
    pub(crate) fn trash_of(id: &RunId) -> PathBuf {
        runs_path().join(id.as_str()).join(TRASH)
    }

    /// All runs, the oldest first. Folders with names that no run has are passed over.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn list(&self) -> io::Result<Vec<Run>> {
        let path = runs_path();
        let opened = self.tree.open(&path).map_err(|error| about(&path, &error))?;
        let Some(folder) = opened else { return Ok(Vec::new()) };
        let mut runs = Vec::new();
        for (name, kind) in folder.entries()? {
            let id = std::str::from_utf8(&name).ok().and_then(RunId::parse);
            let Some(id) = id.filter(|_| kind == Kind::Directory) else { continue };
            if let Some(folder) = folder.open(Path::new(id.as_str()))? {
                let progress = journal::progress(&folder).map_err(|error| about(&path.join(id.as_str()), &error))?;
                let has_trash = folder.kind(Path::new(TRASH))?.is_some();
                runs.push(Run { id, folder, progress, has_trash });
            }
        }
        runs.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(runs)
    }

    /// The run of this name; `None` if there is none.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn find(&self, id: &RunId) -> io::Result<Option<Run>> {
        Ok(self.list()?.into_iter().find(|run| run.id == *id))
    }

    /// Makes a new run: its folder, its trash, and a journal that begins.
    ///
    /// # Errors
    /// Whatever the system says. A folder that is half made holds nothing, and the next run finishes it off.
    pub(super) fn create(&self, at: Timestamp, options: Begin) -> io::Result<(Run, Journal)> {
        let ours = self.tree.make_private(REGSWEEP)?;
        let runs = ours.make_private(RUNS)?;
        let id = (0..100).map(|attempt| RunId::new(at, attempt)).find(|id| {
            // Whatever is wrong with that name, making the folder will say so.
            !matches!(runs.kind(Path::new(id.as_str())), Ok(Some(_)))
        });
        let id = id.ok_or_else(|| io::Error::other("a hundred runs began in the same second"))?;
        let folder = runs.make_private(id.as_str())?;
        folder.make_private(TRASH)?;
        let mut journal = Journal::open(&folder)?;
        // The names on the way to the journal are on the disk before anything is moved. Only these: `syncfs` would wait
        // for whatever else is being written to the volume, and that inside the window.
        for made in [&folder, &runs, &ours, &self.tree] {
            made.sync()?;
        }
        journal.write(&Event::Begin {
            schema: SCHEMA.to_owned(),
            run: id.to_string(),
            tool: concat!("regsweep ", env!("CARGO_PKG_VERSION")).to_owned(),
            at: at.to_string(),
            delete_untagged: options.delete_untagged,
            quarantine: options.quarantine,
            command: Some(options.command.to_owned()),
        })?;
        Ok((Run { id, folder, progress: Progress::default(), has_trash: true }, journal))
    }

    /// Takes a run back that has moved nothing.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn discard(&self, run: Run) -> io::Result<()> {
        run.folder.remove_empty(Path::new(TRASH))?;
        run.folder.remove_file(Path::new(journal::JOURNAL))?;
        if let Some(runs) = self.tree.open(&runs_path())? {
            runs.remove_empty(Path::new(run.id.as_str()))?;
        }
        Ok(())
    }

    /// Forgets the journals of all but the last finished runs. A run that still has something in its trash is never
    /// forgotten.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn forget_old(&self) -> io::Result<()> {
        let finished: Vec<Run> = self.list()?.into_iter().filter(|run| run.state() == State::Finished).collect();
        for run in finished.into_iter().rev().skip(REMEMBERED) {
            if let Some(trash) = run.trash()?
                && !trash.entries()?.is_empty()
            {
                continue;
            }
            self.discard(run)?;
        }
        Ok(())
    }

    /// Puts everything in a run's trash back where it was, and notes that in its journal: only when every rename is on
    /// the disk, for after a power cut the journal must not say more than is true; and only when the trash is gone, for
    /// a listing that gave less than there is must not leave something behind that nobody looks for again.
    ///
    /// # Errors
    /// Whatever the system says while the trash is listed or the journal is written; what cannot be put back is in the
    /// answer.
    pub fn put_back(&self, run: &Run, meter: &Meter) -> io::Result<PutBack> {
        if run.state() == State::Unpurged {
            // If this is cut off, the next run must not delete what is not back yet.
            run.note(&Event::Restoring { at: Timestamp::now().to_string() })?;
        }
        let mut back = match run.trash()? {
            Some(trash) => trash::put_back(&self.tree, &trash, meter)?,
            None => PutBack::default(),
        };
        if !back.failed.is_empty() {
            return Ok(back);
        }
        self.tree.sync_volume()?;
        if !run.remove_empty_trash()? {
            let why = "something is left in it that no listing gave; run again".to_owned();
            back.failed.push((PathBuf::from(TRASH), why));
            return Ok(back);
        }
        // Without the mark the schedule was not touched.
        if run.progress.swept.is_some()
            && let Some(storage) = &self.storage
            && let Err(error) = schedule::put_back(&self.tree, storage, &run.folder)
        {
            back.unscheduled = Some(error.to_string());
        }
        match run.note(&Event::Restored { at: Timestamp::now().to_string(), items: back.items }) {
            // Its trash is empty: the next run finds nothing to put back, and tries to note that again.
            Err(error) if disk::is_full(&error) => Ok(back),
            noted => noted.map(|()| back),
        }
    }

    /// Deletes a run's trash for good, these in it first. The journal says so before the first of it goes: until then
    /// all of it can be restored.
    ///
    /// # Errors
    /// Whatever the system says while the trash is opened; what cannot be deleted is in the answer.
    pub fn purge(&self, run: &Run, first: &[Vec<PathBuf>], meter: &Meter) -> io::Result<Purged> {
        let Some(trash) = run.trash()? else { return Ok(Purged::default()) };
        if meter.is_halted() {
            return Ok(Purged { is_halted: true, ..Purged::default() });
        }
        if run.state() != State::HalfPurged {
            match run.note(&Event::Purging { at: Timestamp::now().to_string() }) {
                // If this is cut off, a `trash restore` brings back what is left: only garbage, and some of it broken.
                Err(error) if disk::is_full(&error) => {}
                noted => noted?,
            }
        }
        Ok(trash::purge(&trash, first, meter))
    }
}

/// An error that says where: one run that cannot be read stops everything, and somebody has to look at it.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// What a new run is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    pub(super) command: &'static str,
    pub(super) delete_untagged: bool,
    pub(super) quarantine: bool,
}

fn runs_path() -> PathBuf {
    Path::new(REGSWEEP).join(RUNS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use super::*;
    use crate::registry::Dir;

    /// The journals of the newest stay; and a run whose trash holds something, whatever its journal says.
    #[test]
    fn old_runs_are_forgotten_and_their_trash_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let runs = Runs { tree: Folder::of(&Dir::open_root(temp.path()).unwrap()).unwrap(), storage: None };
        let mut made = Vec::new();
        for second in 0..i64::try_from(REMEMBERED).unwrap() + 4 {
            let at = Timestamp::from_second(second).unwrap();
            let (run, _journal) =
                runs.create(at, Begin { command: "gc", delete_untagged: false, quarantine: false }).unwrap();
            if second != 2 {
                run.remove_empty_trash().unwrap();
                run.note(&Event::Purged { at: at.to_string() }).unwrap();
            }
            made.push(run.id);
        }
        let occupied = temp.path().join(runs_path()).join(made[1].as_str()).join(TRASH).join("left");
        std::fs::create_dir_all(&occupied).unwrap();
        runs.forget_old().unwrap();
        let left: Vec<RunId> = runs.list().unwrap().into_iter().map(|run| run.id).collect();
        // The first and the fourth went: the second holds something, and the third is not finished.
        made.remove(3);
        made.remove(0);
        assert_eq!(left, made);
        assert!(occupied.is_dir());
    }

    #[test]
    fn a_run_is_no_path() {
        for (text, fine) in [
            ("20261120T233052Z-4711", true),
            ("20261120T233052Z-4711-1", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a\n", false),
        ] {
            assert_eq!(RunId::parse(text).is_some(), fine, "{text:?}");
        }
        let id = RunId::new(Timestamp::UNIX_EPOCH, 0);
        assert!(id.as_str().starts_with("19700101T000000Z-"));
        assert!(id.is_of_process(std::process::id()) && !id.is_of_process(std::process::id() + 1));
        assert!(RunId("20261120T233052Z-0004711-1".to_owned()).is_of_process(4711));
        assert_eq!(RunId::parse(id.as_str()), Some(id));
    }
}
