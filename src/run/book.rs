//! What is remembered of a run, for [`crate::sweep::remembered`].

use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;

use super::{Ended, Outcome};
use crate::collect::Collection;
use crate::exit::Exit;
use crate::finding::{FindingKind, Findings, Severity};
use crate::layout::REGSWEEP;
use crate::registry::Registry;
use crate::sweep::{self, Remembered};

/// Where runs are remembered.
pub(super) struct Book<'a> {
    pub(super) registry: &'a Registry,
    pub(super) command: &'static str,
    pub(super) at: Timestamp,
    pub(super) window_began: Instant,
    pub(super) quarantine: bool,
    pub(super) findings: &'a Findings,
}

impl Book<'_> {
    pub(super) fn line(&self) -> Remembered {
        Remembered { quarantine: Some(self.quarantine), ..Remembered::of(self.command, self.at.to_string()) }
    }

    /// Remembers a run, before its lock ends. The next is compared with it if it came to its end.
    pub(super) fn note(&self, collection: Option<&Collection>, ended: &Ended) {
        let complaint = ended.complaint.as_ref();
        let mut line = self.line();
        let is_tainted = |collection: &Collection| collection.marking.repositories.iter().any(|it| it.tainted);
        let has_damage = collection.is_some_and(is_tainted) || self.findings.has(Severity::Error);
        let done = if has_damage { Exit::Damage } else { Exit::Done };
        let exit = complaint.map_or(done, |complaint| complaint.how.exit());
        line.exit_code = Some(exit.code());
        line.seconds = Some(self.window_began.elapsed().as_secs_f64());
        tell_what_was_done(&mut line, ended);
        // What came after the last rename is no reason to compare the next with an older one.
        let is_complete = ended.swept.as_ref().is_some_and(|swept| swept.is_complete);
        let came_to_its_end = complaint.is_none() || is_complete;
        if let Some(Collection { inventory, .. }) = collection.filter(|_| came_to_its_end) {
            // Those that this run has taken away are not missing from the next.
            let gone = ended.removed.repositories.count;
            line.repositories = Some((inventory.repositories.len() as u64).saturating_sub(gone));
            line.tags = Some(inventory.tags());
            line.blobs = Some(inventory.digests.blobs().len() as u64);
        }
        if let Err(error) = sweep::record(self.registry, &line) {
            let message = match complaint {
                None => format!("this run cannot be remembered ({error}); the next is compared with an older one"),
                Some(_) => format!("this run cannot be remembered ({error})"),
            };
            self.findings.add(Severity::Warning, FindingKind::Volume, None, Path::new(REGSWEEP), message);
        }
    }
}

pub(super) fn tell_what_was_done(line: &mut Remembered, ended: &Ended) {
    let swept = ended.swept.as_ref();
    line.run = swept.and_then(|swept| swept.run.as_ref()).map(ToString::to_string);
    line.window_seconds = swept.map(|swept| swept.window_seconds);
    line.outcome = Some(Outcome::of(ended.complaint.as_ref(), swept).name().to_owned());
    line.items = Some(ended.removed.things());
    line.bytes = Some(ended.removed.bytes());
    line.removed = Some(ended.removed);
    line.say(ended.complaint.as_ref().map(|complaint| &*complaint.text));
}
