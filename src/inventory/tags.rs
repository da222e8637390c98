//! Tags as they are read: the current link, and what the tag ever pointed at.

use std::path::Path;

use super::digests::{DigestId, Digests};
use super::repositories::{LinkState, Tag, read_link};
use super::unknown;
use crate::digest::{Algorithm, Digest, HexPlace};
use crate::finding::{FindingKind, Findings, Severity};
use crate::layout::{CURRENT, INDEX, LINK, TagName, component, shown};
use crate::registry::{Dir, Kind, Unreadable};

/// A tag that was read; none if it was deleted meanwhile.
pub(super) struct ReadTag {
    pub(super) tag: Option<Tag>,
    pub(super) has_unknown_entries: bool,
}

/// Reads the tags of one repository, many at once.
pub(super) struct TagReader<'a> {
    /// The folder of the tags.
    pub(super) dir: &'a Dir,
    pub(super) digests: &'a Digests,
    pub(super) findings: &'a Findings,
    /// The repository's name, as it may be shown.
    pub(super) repository: &'a str,
}

/// What a tag ever pointed at.
struct History {
    /// The digests, sorted.
    digests: Vec<DigestId>,
    /// Whether a symbolic link leads to some of them.
    linked: bool,
    has_unknown_entries: bool,
}

impl TagReader<'_> {
    /// Reads one.
    pub(super) fn read(&self, raw: &[u8], linked: bool) -> ReadTag {
        let name = shown(raw);
        let folder = component(raw);
        let (current, stamp) = read_link(self.dir, &folder.join(CURRENT).join(LINK), self.digests);
        let (history, history_linked, has_unknown_entries) = match self.history(folder, &current) {
            Ok(History { digests, linked, has_unknown_entries }) => (Ok(digests), linked, has_unknown_entries),
            Err(unreadable) => {
                let message = format!("cannot be listed ({}); its former targets are kept", unreadable.cause);
                self.note(Severity::Warning, FindingKind::Unreadable, &unreadable.path, message);
                (Err(unreadable.to_string().into()), false, false)
            }
        };
        // Deleted since it was listed: there is nothing to say about it, and it kept nothing.
        if current == LinkState::Absent
            && history.as_ref().is_ok_and(Vec::is_empty)
            && matches!(self.dir.look(folder), Ok(None))
        {
            return ReadTag { tag: None, has_unknown_entries };
        }
        let removable = if linked { None } else { TagName::parse(&name).ok() };
        if removable.is_none() {
            let message = "not a tag that a registry serves by itself; what it points at is kept, and so is it";
            self.note(Severity::Info, FindingKind::UnknownEntry, &self.dir.path().join(folder), message);
        }
        let name = removable.as_ref().map_or_else(|| name.into(), TagName::shared);
        let tag = Tag { name, removable, current, stamp, history, history_linked };
        ReadTag { tag: Some(tag), has_unknown_entries }
    }

    /// The digests that a tag ever pointed at.
    ///
    /// They are counted, so that a listing which gives less than is there is an error: a tag whose current target is not
    /// among them may have been taken out by hand, its history may be all that it has, and a rule may keep some of it.
    fn history(&self, tag: &Path, current: &LinkState) -> Result<History, Unreadable> {
        if let LinkState::Target(target) = current
            && self.has_only(tag, *target)?
        {
            return Ok(History { digests: vec![*target], linked: false, has_unknown_entries: false });
        }
        self.list_history(tag)
    }

    /// Whether the tag has never pointed at anything else, as most tags never have. Three looks tell that by the link
    /// counts: listing two folders would be three times as many calls. (On a file system that does not count, or where
    /// there is more in the folders than one other folder, the answer is no, and they are listed.)
    ///
    /// What is no folder has no part in a link count. It is nothing that a tag has ever pointed at, and here it stays.
    fn has_only(&self, tag: &Path, target: DigestId) -> Result<bool, Unreadable> {
        let digest = self.digests.digest(target);
        let holds_one_folder = |path: &Path| -> Result<bool, Unreadable> {
            Ok(self
                .dir
                .look(path)?
                .is_some_and(|looked| looked.kind == Kind::Directory && looked.stamp.folders() == Some(1)))
        };
        let mut path = tag.join(INDEX);
        if !holds_one_folder(&path)? {
            return Ok(false);
        }
        path.push(digest.algorithm().name());
        if !holds_one_folder(&path)? {
            return Ok(false);
        }
        path.push(digest.hex_in(&mut HexPlace::new()));
        Ok(self.dir.look(&path)?.is_some_and(|looked| looked.kind == Kind::Directory))
    }

    fn list_history(&self, tag: &Path) -> Result<History, Unreadable> {
        let mut history = History { digests: Vec::new(), linked: false, has_unknown_entries: false };
        let Some((index, linked)) = self.dir.open_noting_link(tag.join(INDEX))? else { return Ok(history) };
        history.linked = linked;
        let mut algorithms = Vec::new();
        index.for_each_of_all(index.stamp()?, |name, kind| match Algorithm::from_name(name) {
            Some(algorithm) if matches!(kind, Kind::Directory | Kind::SymbolicLink) => {
                history.linked |= kind == Kind::SymbolicLink;
                algorithms.push(algorithm);
            }
            _ => self.unknown(&mut history.has_unknown_entries, &index.path().join(component(name))),
        })?;
        for algorithm in algorithms {
            let Some(dir) = index.open(algorithm.name())? else { continue };
            dir.for_each_of_all(dir.stamp()?, |name, kind| match Digest::from_hex(algorithm, name) {
                Ok(digest) if matches!(kind, Kind::Directory | Kind::SymbolicLink) => {
                    history.digests.push(self.digests.id(&digest));
                }
                _ => self.unknown(&mut history.has_unknown_entries, &dir.path().join(component(name))),
            })?;
        }
        history.digests.sort_unstable();
        Ok(history)
    }

    fn unknown(&self, has_unknown_entries: &mut bool, path: &Path) {
        *has_unknown_entries = true;
        unknown(self.findings, Some(self.repository), path);
    }

    fn note(&self, severity: Severity, kind: FindingKind, path: &Path, message: impl Into<String>) {
        self.findings.add(severity, kind, Some(self.repository), path, message);
    }
}
