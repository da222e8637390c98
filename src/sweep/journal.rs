//! A run's journal: what it was going to do, and how far it came. One JSON object a line.
//!
//! The plan is in it, and on the disk, before the first rename. The mark *swept* says that every rename is on the disk
//! too: without it the next run puts everything back, with it the next run finishes the deleting. Nothing else is ever
//! decided by a journal; in particular no path is taken from it, so somebody who edits one cannot make a run touch
//! anything outside the tree.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};

use super::disk::{Folder, OurFile};
use crate::digest::Digest;
use crate::layout::RepositoryName;
use crate::plan::{Action, ActionKind, Mend, Plan};

/// The file's name in the run's folder.
pub(super) const JOURNAL: &str = "journal.jsonl";

/// The length of a line that is read, in bytes. Ours have a few hundred, or a few thousand with the longest name that a
/// repository can have; a longer one is none of ours, and must not fill the memory.
pub(super) const MAX_LINE: u64 = 64 * 1024;

/// How the lines of the plan begin, and the one behind them.
const PLAN: &[u8] = br#"{"event":"plan"#;
/// How a line begins that names something which goes.
const TAKEN: &[u8] = br#"{"event":"plan","#;

/// The schema of the lines.
pub(super) const SCHEMA: &str = "regsweep.journal/1";

/// A line that says how far a run came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run began.
    Begin {
        /// `regsweep.journal/1`.
        schema: String,
        /// The run's name.
        run: String,
        /// The tool and its version.
        tool: String,
        /// When, RFC 3339.
        at: String,
        /// Whether untagged manifests go.
        delete_untagged: bool,
        /// Whether the trash is to be kept.
        quarantine: bool,
        /// The command: `gc`, `rm` or `check`.
        #[serde(default)]
        command: Option<String>,
    },
    /// The plan is written; so many actions stand above this line.
    Planned {
        /// How many.
        actions: u64,
    },
    /// Something that the plan names was not removed.
    Kept {
        /// Its path, relative to the `v2` folder.
        path: String,
        /// Why.
        why: String,
    },
    /// All renames are done and on the disk. Nothing is put back any more.
    Swept {
        /// When, RFC 3339.
        at: String,
        /// How long the registry had to be read-only, in seconds.
        window_seconds: f64,
        /// Whether the trash is kept.
        quarantine: bool,
        /// How many things were moved.
        moved: u64,
        /// The bytes of the blobs among them.
        bytes: u64,
        /// Why the run ended before all of the plan was carried out; nothing if it was.
        #[serde(default)]
        stopped: Option<String>,
    },
    /// From here on a trash that was to be deleted is being put back: what is not back yet, if this is cut off, is kept.
    Restoring {
        /// When, RFC 3339.
        at: String,
    },
    /// From here on the trash is being deleted. It cannot be restored any more.
    Purging {
        /// When, RFC 3339.
        at: String,
    },
    /// The trash was deleted.
    Purged {
        /// When, RFC 3339.
        at: String,
    },
    /// Everything was put back.
    Restored {
        /// When, RFC 3339.
        at: String,
        /// How many things were put back.
        items: u64,
    },
}

/// How far a run came, by its journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// When it began.
    pub began: Option<String>,
    /// The command that made it.
    pub command: Option<String>,
    /// What was moved, in how many pieces and bytes; `None` without the mark.
    pub swept: Option<(u64, u64)>,
    /// Whether its trash was to be kept.
    pub quarantine: bool,
    /// Whether somebody has begun to delete its trash.
    pub purging: bool,
    /// Whether somebody has begun to put back a trash that was to be deleted.
    pub restoring: bool,
    /// Whether its trash was deleted.
    pub purged: bool,
    /// Whether everything was put back.
    pub restored: bool,
    /// Whether it says that it is of another schema than this version writes: then nobody here knows what its lines
    /// mean.
    pub foreign: bool,
}

/// A journal that is being written.
#[derive(Debug)]
pub(super) struct Journal {
    out: BufWriter<OurFile>,
}

impl Journal {
    /// Opens a run's journal for appending. Where a crash has left half a line, it is ended first: what is written next
    /// would be a part of it otherwise.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn open(run: &Folder) -> io::Result<Journal> {
        let file = run.append(JOURNAL)?;
        let is_torn = file.last_byte()?.is_some_and(|last| last != b'\n');
        let mut out = BufWriter::with_capacity(256 * 1024, file);
        if is_torn {
            out.write_all(b"\n")?;
        }
        Ok(Journal { out })
    }

    /// Writes a line. It is only certain to be on the disk after [`Journal::sync`].
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn write(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, event)?;
        self.out.write_all(b"\n")
    }

    /// Writes the whole plan.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn write_plan(&mut self, plan: &Plan) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            event: &'static str,
            #[serde(flatten)]
            action: Action<'a>,
        }
        #[derive(Serialize)]
        struct MendLine<'a> {
            event: &'static str,
            #[serde(flatten)]
            mend: &'a Mend,
        }
        let mut actions = 0;
        for mend in &plan.mends {
            serde_json::to_writer(&mut self.out, &MendLine { event: "plan-mend", mend })?;
            self.out.write_all(b"\n")?;
            actions += 1;
        }
        for action in plan.actions() {
            serde_json::to_writer(&mut self.out, &Line { event: "plan", action })?;
            self.out.write_all(b"\n")?;
            actions += 1;
        }
        self.write(&Event::Planned { actions })
    }

    /// Writes a line that belongs to the plan, as it is.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.out.write_all(line)?;
        self.out.write_all(b"\n")
    }

    /// Throws away what is not written yet: there is no room for it, and dropping it would try again.
    pub(super) fn abandon(self) {
        // The file itself is closed; that cannot fail in a way that matters to a journal that is removed next.
        drop(self.out.into_parts());
    }

    /// Waits until all lines are on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync()
    }
}

/// Reads how far a run came. Lines that cannot be read are passed over: a run that was cut off leaves half a line, and
/// then the mark is missing, which is the careful answer.
///
/// # Errors
/// Whatever the system says while reading; a journal that is not there is an empty one.
pub(super) fn progress(run: &Folder) -> io::Result<Progress> {
    match run.read(JOURNAL)? {
        Some(file) => progress_of(file),
        None => Ok(Progress::default()),
    }
}

/// Which of these revisions the plan of a run names, by repository and digest. Reads all of the plan.
///
/// # Errors
/// Whatever the system says while reading.
pub(super) fn revisions_taken(
    run: &Folder,
    wanted: &HashSet<(RepositoryName, Digest)>,
) -> io::Result<HashSet<(RepositoryName, Digest)>> {
    #[derive(Deserialize)]
    struct Line {
        kind: ActionKind,
        repository: Option<RepositoryName>,
        digest: Option<Digest>,
    }
    let mut taken = HashSet::new();
    let Some(file) = run.read(JOURNAL)? else { return Ok(taken) };
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        // Other lines, and half a line that a crash left, name nothing that went.
        let planned = if line.starts_with(TAKEN) { serde_json::from_slice(&line).ok() } else { None };
        if let Some(Line { kind: ActionKind::Revision, repository: Some(repository), digest: Some(digest) }) = planned {
            let revision = (repository, digest);
            if wanted.contains(&revision) {
                taken.insert(revision);
            }
        }
    }
    Ok(taken)
}

/// The same for a journal that is not in a run's folder: how far the run came by these lines.
///
/// A plan is as long as the garbage was, and thirty runs keep theirs; the next run, whose registry is read-only
/// meanwhile, asks all of them. So only the two ends are read: the line that the run began with, and from the end back
/// to a line of the plan, for nothing but the plan stands between the two.
///
/// # Errors
/// Whatever reading says; no content is an error.
pub fn progress_of(mut journal: impl Read + Seek) -> io::Result<Progress> {
    let mut progress = Progress::default();
    let behind = end_of_plan(&mut journal)?;
    journal.rewind()?;
    if behind > 0 {
        read_line(&mut BufReader::new(&mut journal), &mut progress)?;
        journal.seek(SeekFrom::Start(behind))?;
    }
    let mut rest = BufReader::new(journal);
    while read_line(&mut rest, &mut progress)? {}
    Ok(progress)
}

/// Where a line of the plan begins close to the end of a journal, in bytes: between the journal's first line and that
/// one stands nothing but the plan. 0 if there is none.
fn end_of_plan(journal: &mut (impl Read + Seek)) -> io::Result<u64> {
    let length = journal.seek(SeekFrom::End(0))?;
    let mut from_end = MAX_LINE;
    while from_end < length {
        let within = journal.seek(SeekFrom::Start(length - from_end))?;
        let mut reader = BufReader::new(&mut *journal);
        let place = within + reader.skip_until(b'\n')? as u64;
        let mut begins = Vec::with_capacity(PLAN.len());
        reader.take(PLAN.len() as u64).read_to_end(&mut begins)?;
        if begins == PLAN {
            return Ok(place);
        }
        from_end *= 8;
    }
    Ok(0)
}

/// Reads one line, and what it says about how far the run came; false if there is none any more.
fn read_line(reader: &mut impl BufRead, progress: &mut Progress) -> io::Result<bool> {
    let mut line = Vec::new();
    if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(false);
    }
    if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
        // The rest of it is no line either, whatever it says.
        reader.skip_until(b'\n')?;
        return Ok(true);
    }
    // serde would read an array as well, its elements as the fields in their order.
    if line.first() != Some(&b'{') {
        return Ok(true);
    }
    match serde_json::from_slice(&line) {
        Ok(Event::Begin { at, schema, command, .. }) => {
            progress.began = Some(at);
            progress.command = command;
            progress.foreign |= schema != SCHEMA;
        }
        Ok(Event::Swept { quarantine, moved, bytes, .. }) => {
            progress.swept = Some((moved, bytes));
            progress.quarantine = quarantine;
        }
        Ok(Event::Restoring { .. }) => progress.restoring = true,
        Ok(Event::Purging { .. }) => progress.purging = true,
        Ok(Event::Purged { .. }) => progress.purged = true,
        Ok(Event::Restored { .. }) => progress.restored = true,
        Ok(Event::Planned { .. } | Event::Kept { .. }) | Err(_) => {}
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const SWEPT: &str = r#"{"event":"swept","at":"x","window_seconds":1.5,"quarantine":true,"moved":3,"bytes":70}"#;

    #[test]
    fn how_far_a_run_came() {
        let cases = [
            (String::new(), Progress::default()),
            (
                format!("{{\"event\":\"plan\",\"kind\":\"blob\"}}\n{SWEPT}\n"),
                Progress { swept: Some((3, 70)), quarantine: true, ..Progress::default() },
            ),
            // Half a line is no mark.
            (SWEPT[..SWEPT.len() - 1].to_owned(), Progress::default()),
            (
                format!("garbage\n\u{0}\n{SWEPT}\n{{\"event\":\"purged\",\"at\":\"y\"}}\n"),
                Progress { swept: Some((3, 70)), quarantine: true, purged: true, ..Progress::default() },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(progress_of(Cursor::new(&text)).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn only_a_whole_line_of_ours_is_a_mark() {
        for text in [
            // The end of a line that is too long to be read at once.
            format!("{}{SWEPT}\n", " ".repeat(MAX_LINE as usize)),
            format!("{}{SWEPT}\n", "x".repeat(3 * MAX_LINE as usize)),
            "[\"swept\",\"x\",1.5,true,3,70]\n".to_owned(),
            format!("{{\"event\":\"kept\",\"path\":\"x\",\"why\":\"y\",\"x\":{SWEPT}}}\n"),
        ] {
            assert_eq!(progress_of(Cursor::new(&text)).unwrap(), Progress::default(), "{}", &text[text.len() - 60..]);
            let heard = format!("{text}{SWEPT}\n");
            assert_eq!(progress_of(Cursor::new(&heard)).unwrap().swept, Some((3, 70)), "the line behind it");
        }
    }

    /// Counts what is read.
    struct Counted(Cursor<Vec<u8>>, u64);

    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1 += read as u64;
            Ok(read)
        }
    }

    impl Seek for Counted {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    /// What is said behind a long plan is heard wherever the piece that is read from the end happens to begin, and the
    /// plan is not read for it.
    #[test]
    fn a_long_plan_is_passed_over() {
        const BEGIN: &str = r#"{"event":"begin","schema":"s","run":"r","tool":"t","at":"then","delete_untagged":true,"quarantine":true}"#;
        let plan = "{\"event\":\"plan\",\"kind\":\"blob\"}\n".repeat(1 << 18);
        let purged = "{\"event\":\"purged\",\"at\":\"y\"}\n";
        let expected = Progress {
            began: Some("then".to_owned()),
            swept: Some((3, 70)),
            quarantine: true,
            purged: true,
            foreign: true,
            ..Progress::default()
        };
        let kept = |count: usize| "{\"event\":\"kept\",\"path\":\"p\",\"why\":\"w\"}\n".repeat(count);
        for (filling, most) in (0..80).map(|length| (" ".repeat(length) + "\n", 12)).chain([(kept(20_000), 80)]) {
            for room in [0, MAX_LINE as usize - SWEPT.len() - purged.len() - 60] {
                let filling = format!("{}\n{filling}", "x".repeat(room));
                let text =
                    format!("{BEGIN}\n{plan}{{\"event\":\"planned\",\"actions\":9}}\n{SWEPT}\n{filling}{purged}");
                let mut counted = Counted(Cursor::new(text.into_bytes()), 0);
                assert_eq!(progress_of(&mut counted).unwrap(), expected, "{} behind the mark", filling.len());
                assert!(counted.1 < most * MAX_LINE, "{} bytes were read", counted.1);
            }
        }
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let endless = [vec![b'x'; 1 << 20], b"\n".to_vec()].concat();
        assert_eq!(progress_of(Cursor::new(endless)).unwrap(), Progress::default());
    }

    #[test]
    fn half_a_line_does_not_swallow_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::of(&crate::registry::Dir::open_root(temp.path()).unwrap()).unwrap();
        for (torn, swept) in [(SWEPT, true), (&SWEPT[..SWEPT.len() - 2], false), ("", false)] {
            let mut file = folder.append(JOURNAL).unwrap();
            file.truncate().unwrap();
            file.write_all(torn.as_bytes()).unwrap();
            for _ in 0..2 {
                let mut journal = Journal::open(&folder).unwrap();
                journal.write(&Event::Purged { at: "y".to_owned() }).unwrap();
                journal.sync().unwrap();
            }
            let progress = progress(&folder).unwrap();
            assert_eq!((progress.swept.is_some(), progress.purged), (swept, true), "{torn:?}");
            assert_eq!(progress_of(folder.read(JOURNAL).unwrap().unwrap()).unwrap(), progress);
        }
    }
}
