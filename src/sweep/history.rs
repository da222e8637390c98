//! What completed runs saw: `_regsweep/history.jsonl`, one JSON object a line, the newest last.
//!
//! It is there so that a run can be compared with the one before it: a volume that is mounted only in part looks like a
//! registry from which most repositories have been removed. It is bounded, and nothing is lost if it is deleted but
//! that comparison.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::disk::Folder;
use crate::layout::REGSWEEP;
use crate::registry::Registry;

/// The file's name, below `_regsweep`.
const HISTORY: &str = "history.jsonl";
/// Its name while it is written anew.
const NEW: &str = "history.jsonl.new";
/// How large it may get, in bytes, before old lines are dropped. A line has about 200.
const LARGE: usize = 64 * 1024;
/// How many lines are kept then.
const KEPT: usize = 100;
/// The most that is read, in bytes: nobody else's file must fill the memory.
const LIMIT: u64 = 4 * 1024 * 1024;

/// A run that came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// [`Completed::SCHEMA`].
    pub schema: String,
    /// When it began, RFC 3339.
    pub at: String,
    /// The run, if it had anything to move.
    pub run: Option<String>,
    /// How many repositories it saw.
    pub repositories: u64,
    /// How many tags.
    pub tags: u64,
    /// How many blobs, before it removed any.
    pub blobs: u64,
}

impl Completed {
    /// The schema of a line.
    pub const SCHEMA: &str = "regsweep.history/1";
}

/// The last completed run; `None` if there was none.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::InvalidData`] if the file is there and not one line of it can be
/// understood: that is not the same as none.
pub fn last(registry: &Registry) -> io::Result<Option<Completed>> {
    let Some(folder) = Folder::of(registry.v2())?.open(std::path::Path::new(REGSWEEP))? else { return Ok(None) };
    let text = read(&folder)?;
    let last = text.split(|&byte| byte == b'\n').rev().find_map(|line| serde_json::from_slice(line).ok());
    match last {
        None if !text.is_empty() && !is_half_of_the_first(&text) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "no line of it is one that regsweep writes"))
        }
        last => Ok(last),
    }
}

/// Adds a completed run.
///
/// # Errors
/// Whatever the system says: then the next run compares itself with an older one.
pub fn record(registry: &Registry, completed: &Completed) -> io::Result<()> {
    let folder = Folder::of(registry.v2())?.make_private(REGSWEEP)?;
    let mut line = serde_json::to_vec(completed)?;
    line.push(b'\n');
    let text = read(&folder)?;
    if text.len() + line.len() <= LARGE {
        let mut file = folder.append(HISTORY)?;
        // A crash may have left half a line.
        if text.last().is_some_and(|&byte| byte != b'\n') {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        return file.sync();
    }
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n")).collect();
    let mut file = folder.append(NEW)?;
    file.truncate()?;
    for kept in &lines[lines.len().saturating_sub(KEPT)..] {
        file.write_all(kept)?;
    }
    file.write_all(&line)?;
    file.sync()?;
    folder.replace(NEW, HISTORY)
}

/// Whether this is what a crash leaves while the very first line is written: there was no completed run before it.
fn is_half_of_the_first(text: &[u8]) -> bool {
    let beginning = format!("{{\"schema\":\"{}\"", Completed::SCHEMA);
    let beginning = &beginning.as_bytes()[..beginning.len().min(text.len())];
    text.starts_with(beginning) && !text.contains(&b'\n')
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

    use super::*;

    fn completed(repositories: u64) -> Completed {
        let at = format!("2026-01-01T00:00:{:02}Z", repositories % 60);
        Completed { schema: Completed::SCHEMA.to_owned(), at, run: None, repositories, tags: 0, blobs: 0 }
    }

    #[test]
    fn the_last_run_is_remembered_and_old_ones_are_dropped() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("docker/registry/v2")).unwrap();
        let registry = Registry::open(temp.path()).unwrap();
        assert_eq!(last(&registry).unwrap(), None);
        let path = registry.root().join(REGSWEEP).join(HISTORY);
        let mut largest = 0;
        for number in 0..1500 {
            record(&registry, &completed(number)).unwrap();
            largest = largest.max(std::fs::metadata(&path).unwrap().len());
        }
        assert_eq!(last(&registry).unwrap(), Some(completed(1499)));
        assert!(largest <= LARGE as u64, "{largest}");
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines >= KEPT, "{lines}");
    }

    #[test]
    fn half_a_line_is_passed_over_and_nothing_but_rubbish_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("docker/registry/v2/_regsweep")).unwrap();
        let registry = Registry::open(temp.path()).unwrap();
        let path = registry.root().join(REGSWEEP).join(HISTORY);
        record(&registry, &completed(7)).unwrap();
        // The first line, in whatever length a crash leaves it: without its end it is no run, and no reason to refuse.
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let expected = (length == whole.len() - 1).then(|| completed(7));
            assert_eq!(last(&registry).unwrap(), expected, "{length} bytes");
        }
        std::fs::write(&path, &whole).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(&text.clone()[..20]);
        std::fs::write(&path, &text).unwrap();
        assert_eq!(last(&registry).unwrap(), Some(completed(7)));
        record(&registry, &completed(8)).unwrap();
        assert_eq!(last(&registry).unwrap(), Some(completed(8)));
        std::fs::write(&path, "rubbish\n").unwrap();
        assert_eq!(last(&registry).unwrap_err().kind(), io::ErrorKind::InvalidData);
        record(&registry, &completed(9)).unwrap();
        assert_eq!(last(&registry).unwrap(), Some(completed(9)));
    }
}
