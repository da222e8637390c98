//! The report: one value, and writers for it.
//!
//! The value is [`Report`], schema `regsweep.report/1`: fields are only ever added. It is serialised as it stands for
//! JSON; [`human`] writes it for a person. Both read the same plan, so they cannot disagree.

mod cache;
mod check;
pub mod html;
pub mod human;
pub mod log;
pub mod metrics;
pub mod page;
mod retention;

pub use cache::{CacheReport, EvictedReport, Kept, LastPull, ScheduleReport};
pub use check::{Afterwards, CheckReport, DataReport, LinkCounts, Pulls};
pub use retention::{Decisions, RetentionReport, RuleReport, TagReport};
use serde::{Serialize, Serializer};

use crate::collect::NextGc;
use crate::finding::{Finding, Severity};
use crate::interlock::evidence::ReadOnly;
use crate::inventory::Inventory;
use crate::plan::{Plan, Totals};
pub use crate::run::{Leftover, Outcome};

/// The schema of the report.
pub const SCHEMA: &str = "regsweep.report/1";

/// Which tool wrote the report.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Tool {
    /// This one.
    pub const THIS: Tool = Tool { name: "regsweep", version: env!("CARGO_PKG_VERSION") };
}

/// How much was looked at. All are counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scanned {
    /// Repositories.
    pub repositories: u64,
    /// Revisions that have a link.
    pub revisions: u64,
    /// Tags.
    pub tags: u64,
    /// Layer links.
    pub layer_links: u64,
    /// Uploads in progress.
    pub uploads: u64,
    /// Blobs.
    pub blobs: u64,
    /// Revisions that no tag leads to and that stay, because untagged manifests were not to go.
    pub untagged_revisions_kept: u64,
    /// Blobs that nothing needs and that stay, because they or links to them are too young.
    pub young_blobs_kept: u64,
}

impl Scanned {
    /// What a scan saw.
    pub fn of(inventory: &Inventory) -> Scanned {
        Scanned {
            repositories: inventory.repositories.len() as u64,
            revisions: inventory.revisions(),
            tags: inventory.tags(),
            layer_links: inventory.layer_links(),
            uploads: inventory.uploads(),
            blobs: inventory.digests.blobs().len() as u64,
            ..Scanned::default()
        }
    }
}

/// One repository.
#[derive(Clone, Debug, Serialize)]
pub struct RepositoryReport {
    /// Its name.
    pub name: String,
    /// How many tags it has.
    pub tags: u64,
    /// How many revisions it has.
    pub revisions: u64,
    /// How many revisions the plan takes, empty digest folders included.
    pub garbage_revisions: u64,
    /// Bytes of garbage blobs that no other repository has a link for.
    pub exclusive_garbage_bytes: u64,
    /// Whether everything in it was kept because something could not be understood.
    pub tainted: bool,
}

/// A phase, and how long it took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PhaseReport {
    /// Its name.
    pub name: &'static str,
    /// Seconds.
    pub seconds: f64,
}

/// Everything that a collection has to say.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Who wrote it.
    pub tool: Tool,
    /// The command: `gc`, `rm` or `check`.
    pub command: &'static str,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// Whether untagged manifests were to go.
    pub delete_untagged: bool,
    /// The `v2` folder.
    pub root: String,
    /// The run, if something was changed under its name.
    pub run: Option<String>,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339.
    pub finished_at: String,
    /// Whether the registry was proven read-only.
    pub read_only: ReadOnly,
    /// What was looked at.
    pub scanned: Scanned,
    /// What the plan names.
    pub garbage: Totals,
    /// What was really removed; all zero in a dry run.
    pub removed: Totals,
    /// Every repository, sorted by name.
    pub repositories: Vec<RepositoryReport>,
    /// Everything that the plan names, sorted.
    #[serde(rename = "actions", serialize_with = "actions")]
    pub plan: &'a Plan,
    /// What retention rules decided about each tag; `null` if there were none.
    pub retention: Option<RetentionReport<'a>>,
    /// What was decided about a pull-through cache; `null` where none was to become smaller.
    pub cache: Option<CacheReport<'a>>,
    /// What the next collection would free once what was named has gone; `null` if nothing was named.
    pub next_gc: Option<NextGc>,
    /// What a check found; `null` for other commands.
    pub check: Option<CheckReport<'a>>,
    /// What was found on the way, the gravest first.
    pub findings: Vec<Finding>,
    /// How many requests were in flight at a time, at most, until the trash was deleted.
    pub jobs: usize,
    /// How long each phase took.
    pub phases: Vec<PhaseReport>,
    /// How long the registry had to be read-only, in seconds; `null` if nothing was changed.
    pub window_seconds: Option<f64>,
    /// Whether what went is kept in the run's trash.
    pub quarantine: bool,
    /// Whether some of what was moved away could not be deleted in time and still takes its room.
    pub left_in_trash: bool,
    /// What earlier runs had left in their trash, and this one has deleted.
    pub earlier_trash: Vec<Leftover>,
    /// How it ended.
    pub outcome: Outcome,
    /// What to do next, a sentence each.
    pub advice: Vec<String>,
}

/// Written one by one: a list of them all would double the memory of a large plan.
fn actions<S: Serializer>(plan: &Plan, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(plan.actions())
}

impl Report<'_> {
    /// What became of that which went, in a word or two. What was put aside, or not deleted in time, is still on the
    /// disk.
    fn what_became(&self) -> &'static str {
        match (self.quarantine, self.left_in_trash) {
            (true, _) => "Put aside",
            (false, true) => "Moved away",
            (false, false) => "Freed",
        }
    }

    /// Whether damage was found that touches a tagged image, or that made the run keep more than it should.
    pub fn has_damage(&self) -> bool {
        self.repositories.iter().any(|repository| repository.tainted)
            || self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}
