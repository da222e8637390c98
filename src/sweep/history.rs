//! The runs that were: `_regsweep/history.jsonl`, one JSON object a line, the newest last.
//!
//! It is there so that a run can be compared with the one before it: a volume that is mounted only in part looks like a
//! registry from which most repositories have been removed. For that the last *completed* collection counts, and no
//! other: one that was refused saw the very registry that it did not believe. And it is there so that somebody can look
//! up what ran, when, and how it ended.
//!
//! It is bounded. However many runs are refused, the last line of each command that completed stays. Nothing is lost if
//! the file is deleted but that comparison and the list.
//!
//! Lines of versions that remembered nothing but completed collections have fewer fields. To those versions in turn a
//! line that they must not compare with has to be none at all: it says nothing about how many repositories there were,
//! and without that they pass it over.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::disk::Folder;
use crate::layout::REGSWEEP;
use crate::plan::Totals;
use crate::registry::Registry;

/// The file's name, below `_regsweep`.
const HISTORY: &str = "history.jsonl";
/// Its name while it is written anew.
const NEW: &str = "history.jsonl.new";
/// How large it may get, in bytes, before old lines are dropped. A line has about 700.
const LARGE: usize = 128 * 1024;
/// How many lines are kept then, and how many bytes at most: there is to be room for as much again.
const KEPT: usize = 100;
const KEPT_BYTES: usize = LARGE / 2;
/// The most that is read, in bytes: nobody else's file must fill the memory.
const LIMIT: u64 = 4 * 1024 * 1024;
/// How many characters of a message are remembered.
const MESSAGE: usize = 300;

/// The word for a run that did all that it was to do.
pub const COMPLETE: &str = "complete";

/// A run that changed something, or was to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// [`Remembered::SCHEMA`].
    pub schema: String,
    /// When it began, RFC 3339.
    pub at: String,
    /// The run, if it had anything to move and came to its end.
    pub run: Option<String>,
    /// How many repositories are left of those that it saw; only of a collection that completed.
    pub repositories: Option<u64>,
    /// How many tags it saw; as above.
    pub tags: Option<u64>,
    /// How many blobs, before it removed any; as above.
    pub blobs: Option<u64>,
    /// The command: `gc`, `rm`, `check`, `trash restore` or `trash purge`; `None` in lines of old versions, which are
    /// of `gc` or `rm`.
    #[serde(default)]
    pub command: Option<String>,
    /// The tool and its version.
    #[serde(default)]
    pub tool: Option<String>,
    /// How long it took, in seconds.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// How long the registry had to be read-only, in seconds; `None` if nothing was moved.
    #[serde(default)]
    pub window_seconds: Option<f64>,
    /// How it ended: `complete`, `incomplete`, `refused`; `None` in lines of old versions, all of which completed.
    #[serde(default)]
    pub outcome: Option<String>,
    /// The exit code.
    #[serde(default)]
    pub exit_code: Option<u8>,
    /// What was removed.
    #[serde(default)]
    pub removed: Option<Totals>,
    /// How many things were removed, or put back.
    #[serde(default)]
    pub items: Option<u64>,
    /// The bytes of the blobs and uploads among them; `None` where nobody has counted them.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Whether what went is kept in the run's trash.
    #[serde(default)]
    pub quarantine: Option<bool>,
    /// Why it did not do what it was asked for.
    #[serde(default)]
    pub message: Option<String>,
}

impl Remembered {
    /// The schema of a line.
    pub const SCHEMA: &str = "regsweep.history/1";

    /// A run of a command that began at a time, RFC 3339, and of which nothing else is said yet.
    pub fn of(command: &str, at: String) -> Remembered {
        Remembered {
            schema: Remembered::SCHEMA.to_owned(),
            at,
            command: Some(command.to_owned()),
            tool: Some(concat!("regsweep ", env!("CARGO_PKG_VERSION")).to_owned()),
            ..Remembered::default()
        }
    }

    /// Remembers the beginning of a message: a line must not grow with what somebody has named.
    pub fn say(&mut self, message: Option<&str>) {
        self.message = message.map(|text| match text.char_indices().nth(MESSAGE) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.to_owned(),
        });
    }

    /// Whether it did all that it was to do. (Damage that it found on the way is another matter.)
    pub fn is_complete(&self) -> bool {
        self.outcome.as_deref().is_none_or(|outcome| outcome == COMPLETE)
    }

    /// What the next run is compared with, if this is one to compare with: a collection that came to its end, even if
    /// it could not remove everything.
    fn completed(&self) -> Option<Completed> {
        let collects = self.command.as_deref().is_none_or(|command| command == "gc" || command == "rm");
        // 5: stopped after the last rename, for only then it says how many there are.
        let has_ended_well = self.exit_code.is_none_or(|code| matches!(code, 0 | 3 | 5));
        let repositories = self.repositories.filter(|_| collects && has_ended_well)?;
        Some(Completed { repositories })
    }
}

/// What a collection that completed leaves to compare the next with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// How many repositories there were when it had ended.
    pub repositories: u64,
}

/// What a line is.
enum Line {
    Run(Box<Remembered>),
    /// A line that a crash has cut short, and empty ones.
    Torn,
    /// Somebody else's.
    Rubbish,
}

impl Line {
    fn of(line: &[u8]) -> Line {
        match serde_json::from_slice::<Remembered>(line) {
            Ok(run) if line.first() == Some(&b'{') => Line::Run(Box::new(run)),
            _ if is_beginning(line) => Line::Torn,
            _ => Line::Rubbish,
        }
    }
}

/// All runs that are remembered.
#[derive(Debug, Default)]
pub struct History {
    /// The runs, the oldest first.
    pub runs: Vec<Remembered>,
    /// How many lines cannot be understood. What a crash has cut short is none of them.
    pub not_understood: u64,
}

/// All runs that are remembered.
///
/// # Errors
/// Whatever the system says; a file that is not there is an empty one.
pub fn remembered(registry: &Registry) -> io::Result<History> {
    let mut history = History::default();
    let Some(folder) = Folder::of(registry.v2())?.open(std::path::Path::new(REGSWEEP))? else { return Ok(history) };
    for line in read(&folder)?.split(|&byte| byte == b'\n') {
        match Line::of(line) {
            Line::Run(run) => {
                // A run that came to its end may have been stopped at what was left to do after that.
                let is_same = |last: &Remembered| last.at == run.at && last.command == run.command;
                if history.runs.last().is_some_and(is_same) {
                    history.runs.pop();
                }
                history.runs.push(*run);
            }
            Line::Torn => {}
            Line::Rubbish => history.not_understood += 1,
        }
    }
    Ok(history)
}

/// The last completed collection; `None` if there was none.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::InvalidData`] if there is none in the file, and something in it that
/// cannot be understood: that is not the same as none.
pub fn last(registry: &Registry) -> io::Result<Option<Completed>> {
    let Some(folder) = Folder::of(registry.v2())?.open(std::path::Path::new(REGSWEEP))? else { return Ok(None) };
    let text = read(&folder)?;
    let mut has_rubbish = false;
    for line in text.split(|&byte| byte == b'\n').rev() {
        match Line::of(line) {
            Line::Run(run) => match run.completed() {
                None => {}
                completed => return Ok(completed),
            },
            Line::Torn => {}
            Line::Rubbish => has_rubbish = true,
        }
    }
    if has_rubbish {
        let what = "no line of it is one that a completed run has written, and some are none of regsweep's";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(None)
}

/// Adds a run. The caller holds the lock.
///
/// # Errors
/// Whatever the system says: then the next run compares itself with an older one.
pub fn record(registry: &Registry, run: &Remembered) -> io::Result<()> {
    add(registry, run, LARGE)
}

/// Adds a run whose lock has ended. Nothing is dropped for it, for another run may be at that: the file may get too
/// large by one line, until the next run.
///
/// # Errors
/// As [`record`].
pub fn record_late(registry: &Registry, run: &Remembered) -> io::Result<()> {
    add(registry, run, usize::MAX)
}

fn add(registry: &Registry, run: &Remembered, large: usize) -> io::Result<()> {
    let folder = Folder::of(registry.v2())?.make_private(REGSWEEP)?;
    let mut line = serde_json::to_vec(run)?;
    line.push(b'\n');
    let text = read(&folder)?;
    if text.len().saturating_add(line.len()) <= large {
        let mut file = folder.append(HISTORY)?;
        // A crash may have left half a line.
        if text.last().is_some_and(|&byte| byte != b'\n') {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        return file.sync();
    }
    let mut file = folder.append(NEW)?;
    file.truncate()?;
    for kept in worth_keeping(&text) {
        file.write_all(kept)?;
    }
    file.write_all(&line)?;
    file.sync()?;
    folder.replace(NEW, HISTORY)
}

/// The newest lines, and before them, however old they are, the last of each command that completed: nobody can push
/// out what the next run is compared with by running into a refusal a hundred times.
fn worth_keeping(text: &[u8]) -> Vec<&[u8]> {
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n")).collect();
    let mut first = lines.len();
    let mut bytes = 0;
    while first > 0 && lines.len() - first < KEPT && bytes + lines[first - 1].len() <= KEPT_BYTES {
        first -= 1;
        bytes += lines[first].len();
    }
    let mut kept = lines[first..].to_vec();
    let mut has_collection = false;
    let mut commands: Vec<String> = Vec::new();
    for (place, line) in lines.iter().enumerate().rev() {
        let Line::Run(run) = Line::of(line.trim_ascii_end()) else { continue };
        let is_new = run.command.as_ref().is_some_and(|command| !commands.contains(command) && commands.len() < 8);
        let is_worth_it = run.completed().is_some() && !has_collection || run.is_complete() && is_new;
        if !is_worth_it {
            continue;
        }
        has_collection |= run.completed().is_some();
        if run.is_complete() {
            commands.extend(run.command);
        }
        if place < first {
            kept.insert(0, line);
        }
    }
    kept
}

/// Whether this is what a crash leaves of one of our lines while it is written: the run that wrote it is not one to
/// compare with.
fn is_beginning(line: &[u8]) -> bool {
    let beginning = format!("{{\"schema\":\"{}\"", Remembered::SCHEMA);
    let beginning = &beginning.as_bytes()[..beginning.len().min(line.len())];
    let is_cut = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err_and(|error| error.is_eof());
    line.starts_with(beginning) && is_cut
}

fn read(folder: &Folder) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(file) = folder.read(HISTORY)? {
        file.take(LIMIT).read_to_end(&mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use std::path::PathBuf;

    use super::*;

    /// What versions wrote that remembered nothing but completed collections.
    const OLD: &str =
        r#"{"schema":"regsweep.history/1","at":"2026-01-01T00:00:00Z","run":null,"repositories":7,"tags":0,"blobs":0}"#;

    fn scene() -> (tempfile::TempDir, Registry, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("docker/registry/v2/_regsweep")).unwrap();
        let registry = Registry::open(temp.path()).unwrap();
        let path = registry.root().join(REGSWEEP).join(HISTORY);
        (temp, registry, path)
    }

    fn completed(repositories: u64) -> Remembered {
        let at = format!("2026-01-01T00:00:{:02}Z", repositories % 60);
        let counts = (Some(repositories), Some(0), Some(0));
        let outcome = Some(COMPLETE.to_owned());
        let (repositories, tags, blobs) = counts;
        Remembered { repositories, tags, blobs, outcome, exit_code: Some(0), ..Remembered::of("gc", at) }
    }

    fn refused(command: &str) -> Remembered {
        let outcome = Some("refused".to_owned());
        let at = "2026-01-02T00:00:00Z".to_owned();
        let mut run = Remembered { outcome, exit_code: Some(4), ..Remembered::of(command, at) };
        run.say(Some(&"because ".repeat(1000)));
        run
    }

    fn repositories(registry: &Registry) -> Option<u64> {
        last(registry).unwrap().map(|last| last.repositories)
    }

    #[test]
    fn the_last_run_is_remembered_and_old_ones_are_dropped() {
        let (_temp, registry, path) = scene();
        assert_eq!(last(&registry).unwrap(), None);
        let mut largest = 0;
        for number in 0..1500 {
            record(&registry, &completed(number)).unwrap();
            largest = largest.max(std::fs::metadata(&path).unwrap().len());
        }
        assert_eq!(repositories(&registry), Some(1499));
        assert!(largest <= LARGE as u64, "{largest}");
        let all = remembered(&registry).unwrap().runs;
        assert!(all.len() >= KEPT, "{}", all.len());
        assert_eq!(all.last(), Some(&completed(1499)));
    }

    /// Whatever comes after it, and however much of that.
    #[test]
    fn the_last_completed_run_of_each_command_stays() {
        let (_temp, registry, path) = scene();
        record(&registry, &completed(7)).unwrap();
        let purged = Remembered { outcome: Some(COMPLETE.to_owned()), ..Remembered::of("trash purge", String::new()) };
        record(&registry, &purged).unwrap();
        let stopped = Remembered {
            repositories: None,
            outcome: Some("incomplete".to_owned()),
            exit_code: Some(5),
            ..completed(1)
        };
        for number in 0..1500 {
            record(&registry, &if number % 2 == 0 { refused("gc") } else { stopped.clone() }).unwrap();
            assert_eq!(repositories(&registry), Some(7), "after {number}");
        }
        assert!(std::fs::metadata(&path).unwrap().len() <= LARGE as u64);
        let all = remembered(&registry).unwrap().runs;
        assert_eq!((&all[0], &all[1]), (&completed(7), &purged));
        assert_eq!(all.iter().filter(|run| run.is_complete()).count(), 2, "each of them once");
    }

    #[test]
    fn only_a_collection_that_completed_is_one_to_compare_with() {
        let (_temp, registry, path) = scene();
        std::fs::write(&path, format!("{OLD}\n")).unwrap();
        assert_eq!(repositories(&registry), Some(7), "a line of an old version");
        for other in [
            refused("gc"),
            Remembered { exit_code: Some(4), ..completed(3) },
            Remembered { exit_code: Some(5), repositories: None, ..completed(3) },
            Remembered { exit_code: Some(77), ..completed(3) },
            Remembered { command: Some("check".to_owned()), ..completed(3) },
        ] {
            record(&registry, &other).unwrap();
            assert_eq!(repositories(&registry), Some(7), "{other:?}");
        }
        record(&registry, &Remembered { command: Some("rm".to_owned()), ..completed(5) }).unwrap();
        assert_eq!(repositories(&registry), Some(5), "rm has taken the others");
        // All of it was moved; it had to end while it deleted its trash.
        record(&registry, &Remembered { exit_code: Some(5), ..completed(4) }).unwrap();
        assert_eq!(repositories(&registry), Some(4));
    }

    /// Versions that know nothing of refused runs take the last line that they can read.
    #[test]
    fn old_versions_pass_over_what_did_not_complete() {
        #[derive(Deserialize)]
        struct Old {
            #[expect(dead_code, reason = "what makes it a line of theirs")]
            repositories: u64,
        }
        let is_read = |run: &Remembered| serde_json::from_slice::<Old>(&serde_json::to_vec(run).unwrap()).is_ok();
        assert!(is_read(&completed(3)));
        assert!(!is_read(&refused("gc")));
    }

    #[test]
    fn half_a_line_is_passed_over_and_nothing_but_rubbish_is_an_error() {
        let (_temp, registry, path) = scene();
        record(&registry, &completed(7)).unwrap();
        // The first line, in whatever length a crash leaves it: without its end it is no run, and no reason to refuse,
        // whether or not another run has come since.
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let expected = (length == whole.len() - 1).then_some(7);
            assert_eq!(repositories(&registry), expected, "{length} bytes");
            record(&registry, &refused("gc")).unwrap();
            assert_eq!(repositories(&registry), expected, "{length} bytes, and a run that was refused");
        }
        std::fs::write(&path, &whole).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(&text.clone()[..20]);
        std::fs::write(&path, &text).unwrap();
        assert_eq!(repositories(&registry), Some(7));
        record(&registry, &completed(8)).unwrap();
        assert_eq!(repositories(&registry), Some(8));
        for rubbish in ["rubbish\n", "rubbish", "[]\n", "{}\n"] {
            std::fs::write(&path, rubbish).unwrap();
            assert_eq!(last(&registry).unwrap_err().kind(), io::ErrorKind::InvalidData, "{rubbish:?}");
            record(&registry, &refused("gc")).unwrap();
            assert_eq!(last(&registry).unwrap_err().kind(), io::ErrorKind::InvalidData, "{rubbish:?} is still there");
        }
        record(&registry, &completed(9)).unwrap();
        assert_eq!(repositories(&registry), Some(9));
    }
}
