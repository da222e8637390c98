//! One repository, as it is listed: its figures, and a row for each tag and manifest.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::library::{Library, Loaded, Manifest};
use super::{Kind, ListedRepository, Request, Row, sort_rows, tree};
use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::inventory::{DigestId, LinkState, Repository, Revision, Tag};
use crate::layout::{CURRENT, LINK, MANIFESTS, REVISIONS, TAGS};
use crate::manifest::Form;
use crate::policy::{ReferrerKind, ReferrerTag, Subject, TagFate, judge};
use crate::registry::{FileStamp, Registry, Unreadable};

/// Every manifest that a repository names: revisions that have a link, and what tags point at.
pub(super) fn manifests(repository: &Repository) -> Vec<DigestId> {
    let targets = repository.tags.iter().filter_map(target);
    linked(repository).map(|revision| revision.id).chain(targets).collect()
}

/// The manifests of which rows will be made, but for what lies below them.
pub(super) fn shown(repository: &Repository, request: &Request) -> Vec<DigestId> {
    if request.tree || request.untagged {
        return manifests(repository);
    }
    let is_wanted = |tag: &&Tag| request.pattern.as_ref().is_none_or(|pattern| pattern.matches_tag(&tag.name));
    repository.tags.iter().filter(is_wanted).filter_map(target).collect()
}

pub(super) fn target(tag: &Tag) -> Option<DigestId> {
    match tag.current {
        LinkState::Target(id) => Some(id),
        LinkState::Absent | LinkState::Damaged(_) | LinkState::Unreadable(_) => None,
    }
}

fn linked(repository: &Repository) -> impl Iterator<Item = &Revision> {
    repository.linked_revisions()
}

/// The folder of a tag in a repository's folder.
pub(super) fn tag_path(repository: &Path, tag: &str) -> PathBuf {
    repository.join(MANIFESTS).join(TAGS).join(tag)
}

/// The link in a tag's folder that says what it points at.
pub(super) fn current_link(tag: &Path) -> PathBuf {
    tag.join(CURRENT).join(LINK)
}

/// The link of a revision in a repository's folder.
pub(super) fn revision_link(repository: &Path, digest: &Digest) -> PathBuf {
    revision_path(repository, digest).join(LINK)
}

fn revision_path(repository: &Path, digest: &Digest) -> PathBuf {
    repository.join(MANIFESTS).join(REVISIONS).join(digest.algorithm().name()).join(digest.hex())
}

/// What of a repository could not be listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    tags: bool,
    revisions: bool,
}

impl Gaps {
    /// By the paths that could not be listed anywhere.
    pub(super) fn of(repository: &Repository, unlistable: &[Unreadable]) -> Gaps {
        let manifests = repository.path.join(MANIFESTS);
        let has_gap = |part: &str| {
            let part = manifests.join(part);
            unlistable.iter().any(|it| it.path == manifests || it.path.starts_with(&part))
        };
        Gaps { tags: has_gap(TAGS), revisions: has_gap(REVISIONS) }
    }
}

/// Makes the rows of one repository.
pub(super) struct Book<'a> {
    registry: &'a Registry,
    pub(super) library: &'a Library<'a>,
    pub(super) repository: &'a Repository,
    gaps: Gaps,
    findings: &'a Findings,
    /// How many tags point at each manifest.
    tagged: HashMap<DigestId, u64>,
    /// What tags lead to, directly or through indexes.
    by_tags: HashSet<DigestId>,
    sizes: HashMap<DigestId, Option<u64>>,
    foreign: HashMap<DigestId, bool>,
}

/// Blobs with their sizes in bytes, and whether that is all of them.
#[derive(Debug, Default)]
struct Sum {
    blobs: HashMap<DigestId, u64>,
    is_partial: bool,
}

impl Sum {
    /// Of two sizes for one blob the greater counts, whoever says it first.
    fn add(&mut self, id: DigestId, bytes: Option<u64>) {
        let known = self.blobs.entry(id).or_default();
        *known = bytes.unwrap_or(0).max(*known);
        self.is_partial |= bytes.is_none();
    }

    fn total(&self) -> u64 {
        self.blobs.values().fold(0, |sum, &bytes| sum.saturating_add(bytes))
    }
}

impl<'a> Book<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        library: &'a Library<'a>,
        repository: &'a Repository,
        gaps: Gaps,
        findings: &'a Findings,
    ) -> Book<'a> {
        let mut tagged: HashMap<DigestId, u64> = HashMap::new();
        repository.tags.iter().filter_map(target).for_each(|id| *tagged.entry(id).or_default() += 1);
        let by_tags = library.reached(tagged.keys().copied());
        let (sizes, foreign) = (HashMap::new(), HashMap::new());
        Book { registry, library, repository, gaps, findings, tagged, by_tags, sizes, foreign }
    }

    /// The repository, with rows if they were asked for.
    pub(super) fn listed(mut self, request: &Request, has_manifests: bool) -> ListedRepository {
        self.report();
        let repository = self.repository;
        let revisions = linked(repository).count() as u64;
        let untagged = linked(repository).filter(|revision| !self.by_tags.contains(&revision.id)).count() as u64;
        let sum = self.sum(&manifests(repository));
        let mut listed = ListedRepository {
            name: repository.name.clone(),
            tags: (!self.gaps.tags).then_some(repository.tags.len() as u64),
            revisions: (!self.gaps.revisions).then_some(revisions),
            untagged_revisions: (!self.gaps.tags && !self.gaps.revisions).then_some(untagged),
            newest_push: repository.tags.iter().filter_map(|tag| time(tag.stamp)).max(),
            bytes: (!self.gaps.tags || !self.gaps.revisions).then(|| sum.total()),
            is_whole: !sum.is_partial && !self.gaps.tags && !self.gaps.revisions,
            manifests: Vec::new(),
            below: HashMap::new(),
            about_gone: Vec::new(),
        };
        if has_manifests {
            let is_wanted = |tag: &&Tag| request.pattern.as_ref().is_none_or(|pattern| pattern.matches_tag(&tag.name));
            let wanted: Vec<&Tag> = repository.tags.iter().filter(is_wanted).collect();
            if request.tree {
                tree::grow(&mut self, &wanted, request, &mut listed);
            } else {
                listed.manifests = wanted.into_iter().map(|tag| self.tag_row(tag)).collect();
                if request.untagged {
                    listed.manifests.extend(self.untagged().into_iter().map(|id| self.manifest_row(id)));
                }
                sort_rows(&mut listed.manifests, request);
            }
        }
        listed
    }

    /// Revisions that no tag leads to; none where nobody knows what tags there are.
    pub(super) fn untagged(&self) -> Vec<DigestId> {
        if self.gaps.tags {
            return Vec::new();
        }
        let ids = linked(self.repository).map(|revision| revision.id);
        ids.filter(|id| !self.by_tags.contains(id)).collect()
    }

    /// Everything that revisions and tags lead to, by their digests.
    pub(super) fn all(&self) -> Vec<DigestId> {
        let linked = linked(self.repository).map(|revision| revision.id);
        let mut all: Vec<DigestId> =
            self.library.reached(linked.chain(self.by_tags.iter().copied())).into_iter().collect();
        all.sort_by_cached_key(|&id| self.digest(id));
        all
    }

    /// What a tag says about another manifest, if its name and its target agree about that.
    pub(super) fn special(&self, tag: &Tag) -> Option<ReferrerTag> {
        let special = ReferrerTag::parse(&tag.name)?;
        special.agrees_with(target(tag)?, self.library.digests, self.library).then_some(special)
    }

    pub(super) fn tag_row(&mut self, tag: &Tag) -> Row {
        let mut row = match &tag.current {
            LinkState::Target(id) => {
                let mut row = self.row(*id);
                row.shared_with = row.shared_with.saturating_sub(1);
                row
            }
            LinkState::Absent => Row::of(Kind::Missing),
            LinkState::Damaged(_) => Row::of(Kind::Damaged),
            LinkState::Unreadable(_) => Row::of(Kind::Unreadable),
        };
        if let Some(special) = self.special(tag) {
            row.kind = match special.kind {
                ReferrerKind::Referrers => Kind::Referrers,
                ReferrerKind::Signature => Kind::Signature,
                ReferrerKind::Attestation => Kind::Attestation,
                ReferrerKind::Sbom => Kind::Sbom,
            };
            // It is no image, whatever its config says.
            (row.platforms, row.created) = (Vec::new(), None);
            if let (None, Subject::Whole(digest)) = (&row.subject, special.subject) {
                row.subject = Some(digest);
            }
        }
        row.tag = Some(tag.name.clone());
        row.pushed = time(tag.stamp);
        row
    }

    /// The row of a manifest for itself, whether or not a tag points at it.
    pub(super) fn manifest_row(&mut self, id: DigestId) -> Row {
        let mut row = self.row(id);
        row.pushed = self.repository.revision(id).and_then(|revision| time(revision.stamp));
        row
    }

    fn row(&mut self, id: DigestId) -> Row {
        let kind = match self.library.get(id) {
            Some(Loaded::Manifest(manifest)) => match manifest.form {
                Form::Image => Kind::Image,
                Form::Index => Kind::Index,
                Form::Artifact => Kind::Artifact,
                Form::Schema1 => Kind::Schema1,
                Form::Unknown => Kind::Unknown,
            },
            Some(Loaded::Missing) => Kind::Missing,
            Some(Loaded::Unreadable(_)) | None => Kind::Unreadable,
            Some(Loaded::Damaged(_) | Loaded::Blob) => Kind::Damaged,
        };
        let mut row = Row::of(kind);
        row.digest = Some(self.library.digests.digest(id));
        row.bytes = self.size(id);
        row.shared_with = self.tagged.get(&id).copied().unwrap_or(0);
        if let Some(manifest) = self.library.manifest(id) {
            row.media_type.clone_from(&manifest.media_type);
            row.artifact_type.clone_from(&manifest.artifact_type);
            row.subject = manifest.subject.map(|subject| self.library.digests.digest(subject));
            (row.platforms, row.created) = self.about(manifest);
        }
        row
    }

    /// For which platforms an image is, or the images of an index, and when the newest of them was built.
    fn about(&self, top: &Manifest) -> (Vec<Box<str>>, Option<Timestamp>) {
        let mut platforms: Vec<Box<str>> = Vec::new();
        let mut known = HashSet::new();
        let mut created = None;
        let mut seen = HashSet::new();
        let mut pending = vec![(Some(top), None)];
        while let Some((manifest, listed_as)) = pending.pop() {
            let config = manifest.and_then(|manifest| self.library.config_of(manifest));
            created = created.max(config.and_then(|config| config.created));
            let own = || config.and_then(|config| config.platform.as_ref());
            if let Some(platform) = listed_as.or_else(own)
                && known.insert(platform)
            {
                platforms.push(platform.clone());
            }
            // Turned round: what is listed first is taken first.
            let children = manifest.into_iter().flat_map(|manifest| manifest.children.iter().rev());
            for child in children.filter(|child| !child.is_attestation) {
                // It is for that platform whether or not it is here.
                let platform = child.platform.as_ref();
                if seen.insert((child.id, platform)) {
                    pending.push((self.library.manifest(child.id), platform));
                }
            }
        }
        (platforms, created)
    }

    /// The size of all that a manifest reaches; `None` if something of it could not be read.
    fn size(&mut self, id: DigestId) -> Option<u64> {
        if let Some(&known) = self.sizes.get(&id) {
            return known;
        }
        let sum = self.sum(&[id]);
        let is_here = self.library.manifest(id).is_some();
        let size = (is_here && !sum.is_partial).then(|| sum.total());
        self.sizes.insert(id, size);
        size
    }

    fn sum(&mut self, roots: &[DigestId]) -> Sum {
        let mut sum = Sum::default();
        for id in self.library.reached(roots.iter().copied()) {
            match self.library.get(id) {
                Some(Loaded::Manifest(manifest)) => self.add(id, manifest, &mut sum),
                // A child that was never pushed here is legal. What was here, nobody knows what it needs.
                Some(Loaded::Missing) => sum.is_partial |= self.is_linked(id) || self.tagged.contains_key(&id),
                Some(Loaded::Damaged(_) | Loaded::Unreadable(_)) | None => sum.is_partial = true,
                // Counted with the index that lists it.
                Some(Loaded::Blob) => {}
            }
        }
        sum
    }

    fn add(&mut self, id: DigestId, manifest: &Manifest, sum: &mut Sum) {
        sum.add(id, Some(manifest.bytes));
        for blob in &manifest.blobs {
            if !blob.is_foreign || self.holds_foreign(blob.id) {
                sum.add(blob.id, self.library.size(blob.id, blob.bytes));
            }
        }
        for child in &manifest.children {
            if matches!(self.library.get(child.id), Some(Loaded::Blob)) {
                sum.add(child.id, self.library.size(child.id, child.bytes));
            }
        }
    }

    /// Whether a layer that need not be here was pushed all the same.
    fn holds_foreign(&mut self, id: DigestId) -> bool {
        let (registry, library, repository) = (self.registry, self.library, self.repository);
        *self
            .foreign
            .entry(id)
            .or_insert_with(|| repository.read_layer_link(registry, library.digests, id) != LinkState::Absent)
    }

    fn is_linked(&self, id: DigestId) -> bool {
        self.repository.has_revision_link(id)
    }

    /// What is wrong here, as `gc` judges it.
    fn report(&self) {
        for tag in &self.repository.tags {
            let name = || format!("{}:{}", self.repository.name, tag.name);
            let (severity, kind, message) = match judge(self.repository, tag, self.library.digests) {
                TagFate::Root(id) | TagFate::Dangling(id) if self.is_missing(id) => (
                    Severity::Error,
                    FindingKind::MissingManifest,
                    format!("{} cannot be pulled: its manifest {} is missing", name(), self.digest(id)),
                ),
                TagFate::Root(_) => continue,
                // Where revisions could not be listed, nobody knows whether the link is there.
                TagFate::Dangling(_) | TagFate::Deleted(_) if self.gaps.revisions => continue,
                TagFate::Dangling(id) | TagFate::Deleted(id) => (
                    Severity::Warning,
                    FindingKind::DanglingTag,
                    format!("{} cannot be pulled: the revision link of {} is gone", name(), self.digest(id)),
                ),
                TagFate::History(_, why) | TagFate::Unknown(why) => (
                    Severity::Error,
                    FindingKind::DamagedLink,
                    format!("the current link of {} cannot be used ({why})", name()),
                ),
                TagFate::NoTarget(_) => (
                    Severity::Warning,
                    FindingKind::TagWithoutTarget,
                    format!("{} has no current link, as a push leaves it that was cut off", name()),
                ),
            };
            self.find(severity, kind, &tag_path(&self.repository.path, &tag.name), message);
        }
        for id in self.library.reached(manifests(self.repository)) {
            let digest = self.digest(id);
            let severity = if self.by_tags.contains(&id) { Severity::Error } else { Severity::Warning };
            let (severity, kind, message) = match self.library.get(id) {
                Some(Loaded::Damaged(why)) => {
                    (severity, FindingKind::DamagedManifest, format!("manifest {digest} cannot be used: {why}"))
                }
                Some(Loaded::Unreadable(why)) => {
                    (Severity::Error, FindingKind::Unreadable, format!("manifest {digest} cannot be read: {why}"))
                }
                // Of a tag's own it was said above.
                Some(Loaded::Missing) if self.is_linked(id) && !self.tagged.contains_key(&id) => (
                    severity,
                    FindingKind::MissingManifest,
                    format!("manifest {digest} is missing from the blob store"),
                ),
                _ => continue,
            };
            self.find(severity, kind, &revision_path(&self.repository.path, &digest), message);
        }
        for revision in linked(self.repository) {
            let digest = self.digest(revision.id);
            let is_tagged = self.by_tags.contains(&revision.id);
            let severity = if is_tagged { Severity::Error } else { Severity::Warning };
            let (severity, kind, why) = match &revision.link {
                LinkState::Damaged(why) => (severity, FindingKind::DamagedLink, format!("cannot be used: {why}")),
                LinkState::Unreadable(why) => {
                    (Severity::Error, FindingKind::Unreadable, format!("cannot be read: {why}"))
                }
                LinkState::Target(other) if *other != revision.id => {
                    (severity, FindingKind::DamagedLink, format!("names {}", self.digest(*other)))
                }
                LinkState::Target(_) | LinkState::Absent => continue,
            };
            let message = format!("the revision link of {digest} {why}");
            self.find(severity, kind, &revision_path(&self.repository.path, &digest), message);
        }
    }

    fn is_missing(&self, id: DigestId) -> bool {
        matches!(self.library.get(id), Some(Loaded::Missing))
    }

    pub(super) fn digest(&self, id: DigestId) -> Digest {
        self.library.digests.digest(id)
    }

    fn find(&self, severity: Severity, kind: FindingKind, path: &Path, message: String) {
        self.findings.add(severity, kind, Some(&self.repository.name), path, message);
    }
}

impl Row {
    /// A row of which nothing is known but its kind.
    fn of(kind: Kind) -> Row {
        Row {
            tag: None,
            digest: None,
            kind,
            media_type: None,
            artifact_type: None,
            platforms: Vec::new(),
            pushed: None,
            created: None,
            bytes: None,
            shared_with: 0,
            subject: None,
        }
    }
}

fn time(stamp: Option<FileStamp>) -> Option<Timestamp> {
    Timestamp::from_second(stamp?.modified()).ok()
}
