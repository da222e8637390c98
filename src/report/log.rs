//! What goes to standard error, for a log collector: one JSON object a line, schema `regsweep.log/1`.

use serde::Serialize;

use crate::finding::{FindingKind, Severity};

/// The schema of a line.
pub const SCHEMA: &str = "regsweep.log/1";

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// Something that is said in passing.
    Note,
    /// How far the work is.
    Progress,
    /// The last rename is done: the registry may be written to again.
    Swept,
    /// Something that was found.
    Finding,
    /// Something did not work, or is refused.
    Error,
    /// How it ended; the last line.
    Summary,
}

/// A line. What does not belong to its entry is left out.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// When, RFC 3339.
    pub time: String,
    /// How much it matters.
    pub level: Severity,
    /// What it is about.
    pub entry: Entry,
    /// What a person would have read.
    pub message: &'a str,
    /// The figures and names in it.
    #[serde(flatten)]
    pub fields: Fields<'a>,
}

/// What a line says beside its message.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Fields<'a> {
    /// Nothing.
    None {},
    /// Of [`Entry::Progress`].
    Progress {
        /// The phase.
        phase: &'static str,
        /// How much is done.
        done: u64,
        /// How much there is to do, as far as is known.
        expected: u64,
        /// What is counted: `things` or `bytes`.
        unit: &'static str,
        /// How long the phase has taken, in seconds.
        seconds: f64,
    },
    /// Of [`Entry::Swept`].
    Swept {
        /// How long the registry had to be read-only, in seconds.
        window_seconds: f64,
    },
    /// Of [`Entry::Finding`].
    Finding {
        /// What it is.
        finding: FindingKind,
        /// The repository, where it is about one.
        repository: Option<&'a str>,
        /// The path, relative to the `v2` folder.
        path: &'a str,
    },
    /// Of [`Entry::Summary`].
    Summary(Box<Summary<'a>>),
}

/// How a command ended.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'a> {
    /// The command.
    pub command: &'static str,
    /// REGISTRY, as the metrics name it.
    pub registry: &'a str,
    /// The run, if something was changed under its name.
    pub run: Option<&'a str>,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// The exit code.
    pub exit_code: u8,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How long the registry had to be read-only, in seconds; `None` if nothing was moved.
    pub window_seconds: Option<f64>,
    /// How many blobs went, or would go.
    pub blobs: u64,
    /// Bytes of the blobs and uploads that went, or would go.
    pub bytes: u64,
    /// How many findings are errors.
    pub errors: u64,
    /// How many are warnings.
    pub warnings: u64,
}
