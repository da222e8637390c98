//! What was found on the way: damage, oddities, things that were kept.
//!
//! A finding is data, one value for a person and for JSON. It never changes what a run does: the decision is taken
//! where the thing was seen, and the finding says so. Paths and names in it have been through [`crate::layout::shown`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::layout::shown_path;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A tagged image is damaged, or the run keeps more than it should because something could not be read.
    Error,
    /// Something is wrong, and no tagged image is touched by it.
    Warning,
    /// Worth knowing.
    Info,
}

/// What kind of finding it is; in the report as kebab-case text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A file or folder that the layout does not know. It is kept.
    UnknownEntry,
    /// A temporary file that a crash left behind. It is kept.
    TemporaryFile,
    /// A symbolic link: followed for marking, nothing is deleted through it.
    SymbolicLink,
    /// A blob folder without a regular `data` file of its own. It is kept.
    DamagedBlob,
    /// A link file that is empty, malformed, or names another digest than its path.
    DamagedLink,
    /// Something that could not be read. It counts as present.
    Unreadable,
    /// A manifest whose bytes do not match its digest, or cannot be understood.
    DamagedManifest,
    /// A manifest that a revision or tag names, and that is not in the blob store.
    MissingManifest,
    /// A config or layer that a tagged manifest references, and that is not in the blob store.
    MissingBlob,
    /// An image, or one of its platforms, that a client would not get whole.
    CannotBePulled,
    /// A tag whose revision link is gone.
    DanglingTag,
    /// A tag without a current target.
    TagWithoutTarget,
    /// All links and revisions of this repository were kept, because part of it could not be understood.
    TaintedRepository,
    /// A reference that was to protect something, and names nothing in this registry.
    UnknownReference,
    /// Something may be wrong with retention rules, or with the times that they go by.
    Retention,
    /// Images in a cache of which nothing shows that they were fetched. They are kept.
    Unscheduled,
    /// Another run is at work, or was cut off.
    UnfinishedRun,
    /// Why nothing was touched.
    Refused,
    /// Why the run ended before its end.
    Stopped,
    /// Something that the plan names was not removed.
    NotRemoved,
    /// Something that is wrong was not mended, and why.
    NotMended,
    /// The same file system does not hold everything, or does not do what was asked of it.
    Volume,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub kind: FindingKind,
    /// The repository, where it is about one.
    pub repository: Option<String>,
    /// The path, relative to the `v2` folder.
    pub path: String,
    /// One sentence for a person.
    pub message: String,
}

/// How many findings of one severity and kind are kept: somebody may have unpacked a million files into the tree, and
/// nobody reads the second ten thousand.
const MANY: usize = 10_000;

/// Findings of one severity and kind: the first of them in their order, so that it does not matter which thread came
/// first, and how many came in all.
#[derive(Debug, Default)]
struct Kept {
    first: BTreeSet<Finding>,
    added: u64,
}

impl Kept {
    fn add(&mut self, finding: Finding) {
        if self.first.contains(&finding) {
            return;
        }
        self.added += 1;
        self.first.insert(finding);
        if self.first.len() > MANY {
            self.first.pop_last();
        }
    }
}

/// Findings as they come in from many threads. Sorted when they are taken out, so that the same tree gives the same
/// text whatever the threads did. At most 10,000 of each severity and kind are kept; one more says how many were left
/// out.
#[derive(Debug, Default)]
pub struct Findings {
    all: Mutex<BTreeMap<(Severity, FindingKind), Kept>>,
}

impl Findings {
    /// Notes one.
    pub fn add(
        &self,
        severity: Severity,
        kind: FindingKind,
        repository: Option<&str>,
        path: &Path,
        message: impl Into<String>,
    ) {
        let finding = Finding {
            severity,
            kind,
            repository: repository.map(str::to_owned),
            path: shown_path(path),
            message: message.into(),
        };
        self.lock().entry((severity, kind)).or_default().add(finding);
    }

    /// Takes over what others have noted.
    pub fn take_all(&self, others: Findings) {
        let others = others.all.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.lock();
        for (key, kept) in others {
            let into = all.entry(key).or_default();
            // Those that were left out there are left out here.
            into.added += kept.added - kept.first.len() as u64;
            kept.first.into_iter().for_each(|finding| into.add(finding));
        }
    }

    /// Whether there is any of this severity.
    pub fn has(&self, severity: Severity) -> bool {
        self.lock().keys().any(|(of, _)| *of == severity)
    }

    /// All findings, the gravest first, each once.
    pub fn into_sorted(self) -> Vec<Finding> {
        let all = self.all.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut sorted = Vec::new();
        for ((severity, kind), kept) in all {
            // Each that was left out and came twice counts twice.
            let left_out = kept.added.saturating_sub(kept.first.len() as u64);
            sorted.extend(kept.first);
            if left_out > 0 {
                let message = format!("up to {left_out} more of this kind were found, and are left out here");
                sorted.push(Finding { severity, kind, repository: None, path: ".".to_owned(), message });
            }
        }
        sorted
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Severity, FindingKind), Kept>> {
        // A panic while adding cannot leave the map half-changed in a way that matters to a list of findings.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_come_first_and_each_comes_once() {
        let findings = Findings::default();
        findings.add(Severity::Info, FindingKind::UnknownEntry, None, Path::new("b"), "x");
        findings.add(Severity::Error, FindingKind::DamagedLink, Some("app"), Path::new("z"), "y");
        findings.add(Severity::Info, FindingKind::UnknownEntry, None, Path::new("a"), "x");
        findings.add(Severity::Info, FindingKind::UnknownEntry, None, Path::new("b"), "x");
        let paths: Vec<String> = findings.into_sorted().into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["z", "a", "b"]);
    }

    #[test]
    fn names_on_the_wire() {
        assert_eq!(serde_json::to_string(&FindingKind::MissingManifest).unwrap(), "\"missing-manifest\"");
        assert_eq!(serde_json::to_string(&Severity::Warning).unwrap(), "\"warning\"");
    }

    #[test]
    fn a_million_findings_do_not_fill_the_memory() {
        let findings = Findings::default();
        for number in (0..MANY + 500).rev() {
            findings.add(
                Severity::Info,
                FindingKind::UnknownEntry,
                None,
                &Path::new("x").join(number.to_string()),
                "?",
            );
        }
        findings.add(Severity::Error, FindingKind::MissingBlob, None, Path::new("y"), "!");
        let sorted = findings.into_sorted();
        assert_eq!(sorted.len(), MANY + 2);
        assert_eq!(sorted[0].kind, FindingKind::MissingBlob);
        assert_eq!(sorted[1].path, "x/0");
        assert_eq!(sorted[MANY + 1].message, "up to 500 more of this kind were found, and are left out here");
    }
}
