//! Why a sweep ends before its end.

use std::io;
use std::path::PathBuf;

use crate::halt::Cause;
use crate::layout::shown_path;
use crate::plan::Totals;
use crate::words::counted;

/// Why a sweep ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// It was to end before it began.
    #[error("{cause}; {}", untouched(removed))]
    Halted {
        /// Why.
        cause: Cause,
        /// What was deleted to make room on a full volume; most often nothing.
        removed: Box<Totals>,
    },
    /// Somebody has written to the registry before anything was moved.
    #[error("{what}; {}", untouched(removed))]
    Changed {
        /// What has changed.
        what: String,
        /// What was deleted to make room on a full volume; most often nothing.
        removed: Box<Totals>,
    },
    /// Not everything can be moved into a trash that is to be kept; nothing was touched.
    #[error(
        "--quarantine is impossible: {} is another mount than {}, so nothing in it can be moved into the trash. Without \
         --quarantine it is deleted directly",
        shown_path(path),
        shown_path(root)
    )]
    OtherMount {
        /// The folder, relative to the `v2` folder.
        path: PathBuf,
        /// The `v2` folder.
        root: PathBuf,
    },
    /// Somebody has written to the registry while things went; they were put back.
    #[error("{what}; everything that this run had moved was put back ({})", things(*items))]
    ChangedMeanwhile {
        /// What has changed.
        what: String,
        /// How many things were put back.
        items: u64,
    },
    /// Somebody has written to the registry while things went, and some of those were deleted directly.
    #[error(
        "{what}. What this run had moved was put back ({}); what it had to delete directly is gone ({}: nothing needed \
         that when it was looked at)",
        things(*items),
        things(*gone)
    )]
    ChangedTooLate {
        /// What has changed.
        what: String,
        /// How many things were put back.
        items: u64,
        /// How many things are gone.
        gone: u64,
        /// What is gone, by kind.
        removed: Box<Totals>,
    },
    /// Putting back did not work either.
    #[error(
        "{what}; putting back what this run had moved failed for {}: {why}. The next run tries again",
        shown_path(path)
    )]
    NotPutBack {
        /// What went wrong first.
        what: String,
        /// The first thing that is not back.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It cannot be made certain that what is gone stays gone.
    #[error("{what}")]
    NotCommitted {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
        /// What was deleted directly, by kind.
        removed: Box<Totals>,
    },
    /// The journal or the trash cannot be written.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What a run that has not begun has done to the registry.
fn untouched(removed: &Totals) -> String {
    match removed.things() {
        0 => "nothing was touched".to_owned(),
        count => format!(
            "{} gone to make room on the full volume, to which no link led; nothing else was touched",
            counted(count, "blob is", "blobs are")
        ),
    }
}

fn things(count: u64) -> String {
    counted(count, "thing", "things")
}
