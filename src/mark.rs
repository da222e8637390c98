//! Mark: what is live, in which repository, and what is tainted.
//!
//! # Referenced and expanded
//!
//! *Referenced* says that something needs a digest; *expanded* says that the manifest behind it has been looked into.
//! Every manifest was read once, by digest, into the [`Store`], however many repositories list it and whether or not
//! the repository at hand has a link for it. Marking only walks those results.
//!
//! # Twice
//!
//! Liveness is kept twice: for blobs over the whole registry, and for revision and layer links per repository. A child
//! of an index keeps its layers in the blob store for everybody, but a layer link lives only while a live manifest of
//! its own repository references it.
//!
//! # Taint
//!
//! Where a live manifest cannot be read, verified or understood, nobody knows what it needs. But the registry accepts a
//! manifest only when everything that it references is linked in the same repository; so keeping all layer links and
//! all revisions of that repository keeps whatever it needed. That is what *tainted* means. It lasts for the run.
//!
//! # What this part never does
//!
//! It removes nothing and reads nothing by itself: the few links whose content matters are asked for through
//! [`Links`].

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::finding::{FindingKind, Findings, Severity};
use crate::inventory::{DigestId, Digests, Inventory, LinkState, Repository};
use crate::layout::{LAYERS, MANIFESTS, REPOSITORIES, REVISIONS, TAGS};
use crate::manifest::{Expect, Loaded, Manifest, Store};
use crate::policy::{Policy, TagFate, judge};
use crate::progress::Meter;

/// Links whose content is only asked for where a path alone does not tell what they keep.
pub trait Links: Sync {
    /// What the layer link of this digest says.
    fn layer_link(&self, repository: &Repository, id: DigestId) -> LinkState;
    /// The signatures beside a schema 1 revision.
    ///
    /// # Errors
    /// One line that says why they cannot be listed.
    fn signatures(&self, repository: &Repository, id: DigestId) -> Result<Vec<DigestId>, String>;
}

/// What is live.
#[derive(Debug)]
pub struct Marking {
    /// One entry a repository, in the order of the inventory.
    pub repositories: Vec<RepositoryMarking>,
    live: Vec<AtomicU64>,
}

/// What is live in one repository.
#[derive(Debug, Default)]
pub struct RepositoryMarking {
    /// Manifests that a root reaches, sorted.
    pub manifests: Vec<DigestId>,
    /// Layer links that none of them needs, sorted.
    pub unneeded_links: Vec<DigestId>,
    /// How many revisions stay that no tag leads to.
    pub untagged_kept: u64,
    /// Whether everything in it is kept because something could not be understood.
    pub tainted: bool,
    /// A folder whose contents nobody knows, and which no taint makes up for: no blob is safe then.
    pub unlistable: Option<String>,
    /// Whether a live manifest could not be read.
    pub has_unreadable_manifest: bool,
}

impl RepositoryMarking {
    /// Whether a root of this repository reaches the manifest.
    pub fn is_live(&self, id: DigestId) -> bool {
        self.manifests.binary_search(&id).is_ok()
    }
}

impl Marking {
    fn new(blobs: usize) -> Marking {
        Marking { repositories: Vec::new(), live: (0..blobs.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether some repository needs this blob. `false` for a digest that is no blob.
    pub fn is_live(&self, id: DigestId) -> bool {
        let word = self.live.get(id.index() / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & (1 << (id.index() % 64)) != 0
    }

    /// Keeps these, and every layer link to them.
    pub fn keep_all(&mut self, digests: &Digests, kept: &HashSet<DigestId>) {
        kept.iter().for_each(|&id| self.keep(digests, id));
        for marked in &mut self.repositories {
            marked.unneeded_links.retain(|link| !kept.contains(link));
        }
    }

    fn keep(&self, digests: &Digests, id: DigestId) {
        if digests.is_blob(id) {
            self.live[id.index() / 64].fetch_or(1 << (id.index() % 64), Ordering::Relaxed);
        }
    }
}

/// Which digests of a repository have to be read as manifests before [`mark`] can walk: every revision and every tag's
/// target, and their histories where the target cannot be understood.
pub fn manifests_to_read(repository: &Repository) -> Vec<(DigestId, Expect)> {
    let certain = roots_of(repository).into_iter().map(|id| (id, Expect::Manifest));
    // What a link in an odd place names may be a manifest or a layer.
    let odd = repository.odd_targets.iter().map(|&id| (id, Expect::Unknown));
    let mut wanted: Vec<(DigestId, Expect)> = certain.chain(odd).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

fn roots_of(repository: &Repository) -> Vec<DigestId> {
    let mut wanted = Vec::with_capacity(repository.revisions.len());
    for revision in &repository.revisions {
        match revision.link {
            // An empty digest folder is no root; but a tag, an index or a taint may still lead to its digest.
            LinkState::Target(target) if target != revision.id => wanted.extend([revision.id, target]),
            _ => wanted.push(revision.id),
        }
    }
    for tag in &repository.tags {
        match judge(repository, tag) {
            TagFate::Root(id) | TagFate::Dangling(id) | TagFate::Deleted(id) => wanted.push(id),
            TagFate::History(ids, _) | TagFate::NoTarget(ids) => wanted.extend(ids),
            TagFate::Unknown(_) => {}
        }
    }
    wanted
}

/// Marks all repositories, in parallel on the current rayon pool. Manifests that are `young` are roots wherever they
/// have a revision link.
pub fn mark(
    inventory: &Inventory,
    store: &Store,
    links: &dyn Links,
    policy: Policy,
    young: &HashSet<DigestId>,
    findings: &Findings,
    meter: &Meter,
) -> Marking {
    let Inventory { digests, repositories, .. } = inventory;
    let walk = |policy| -> Marking {
        meter.expect(repositories.len() as u64);
        let mut marking = Marking::new(digests.blobs().len());
        let marked = repositories.par_iter().map(|repository| {
            let marked = Walk::new(digests, store, links, findings, repository).run(policy, young, &marking);
            meter.add(1);
            marked
        });
        let marked = marked.collect();
        marking.repositories = marked;
        marking
    };
    let marking = walk(policy);
    if !policy.delete_untagged || !marking.repositories.iter().any(|marked| marked.has_unreadable_manifest) {
        return marking;
    }
    // It may be a sparse index, and what that names may lie in another repository alone, untagged there.
    let message = "a manifest that is needed cannot be read, and may be an index of images in any repository: untagged \
                   manifests stay in this run";
    findings.add(Severity::Error, FindingKind::Unreadable, None, Path::new(REPOSITORIES), message);
    walk(Policy { delete_untagged: false })
}

/// The walk through one repository.
struct Walk<'a> {
    digests: &'a Digests,
    store: &'a Store,
    links: &'a dyn Links,
    findings: &'a Findings,
    repository: &'a Repository,
    /// Whether the roots that are being walked are tags: what is wrong then touches a tagged image.
    tagged: bool,
    manifests: HashSet<DigestId>,
    references: Vec<DigestId>,
    pending: Vec<DigestId>,
    /// Untagged manifests by their subject; empty where every revision is a root anyway.
    referrers: HashMap<DigestId, Vec<DigestId>>,
    taints: Vec<String>,
    unlistable: Option<String>,
    has_unreadable_manifest: bool,
}

impl<'a> Walk<'a> {
    fn new(
        digests: &'a Digests,
        store: &'a Store,
        links: &'a dyn Links,
        findings: &'a Findings,
        repository: &'a Repository,
    ) -> Walk<'a> {
        Walk {
            digests,
            store,
            links,
            findings,
            repository,
            tagged: true,
            manifests: HashSet::new(),
            references: Vec::new(),
            pending: Vec::new(),
            referrers: HashMap::new(),
            taints: Vec::new(),
            unlistable: None,
            has_unreadable_manifest: false,
        }
    }

    /// Marks what is live in `marking`, as far as that is for everybody, and gives back the rest.
    fn run(mut self, policy: Policy, young: &HashSet<DigestId>, marking: &Marking) -> RepositoryMarking {
        // Where nothing can be removed, nothing is let go: a revision link that stays keeps its image.
        let delete_untagged = policy.delete_untagged && self.repository.removable.is_some();
        if delete_untagged {
            for revision in self.repository.revisions.iter().filter(|revision| revision.link != LinkState::Absent) {
                if let Some(Manifest { subject: Some(subject), .. }) = self.store.manifest(revision.id) {
                    self.referrers.entry(*subject).or_default().push(revision.id);
                }
            }
        }
        self.tags();
        self.expand();

        let reached_by_tags = self.manifests.clone();
        self.tagged = false;
        for revision in &self.repository.revisions {
            let is_root = match &revision.link {
                LinkState::Absent => false,
                // What its link says cannot be understood, or what it names cannot be read: it may be needed.
                LinkState::Damaged(_) | LinkState::Unreadable(_) => true,
                LinkState::Target(target) => {
                    !delete_untagged
                        || revision.linked
                        || young.contains(&revision.id)
                        || self.is_unreadable(revision.id)
                        || self.is_unreadable(*target)
                }
            };
            if is_root {
                self.root(revision.id);
            }
        }
        for &id in &self.repository.odd_targets {
            self.refer(id);
            // One that cannot be read may be a manifest as well.
            if matches!(self.store.get(id), Some(Loaded::Manifest(_) | Loaded::Unreadable(_))) {
                self.root(id);
            }
        }
        self.expand();

        if !self.taints.is_empty() {
            self.keep_everything();
        }
        let tainted = !self.taints.is_empty();
        if tainted {
            self.taints.sort();
            self.taints.dedup();
            let first = self.taints.first().cloned().unwrap_or_default();
            let more = match self.taints.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let message = format!("all its revisions and layers are kept in this run: {first}{more}");
            self.find(Severity::Error, FindingKind::TaintedRepository, self.repository.path.clone(), message);
        }
        let unlistable = self.unlistable.take();
        let has_unreadable_manifest = self.has_unreadable_manifest;
        self.references.extend(&self.manifests);
        self.references.sort_unstable();
        self.references.dedup();
        self.references.iter().for_each(|&id| marking.keep(self.digests, id));
        let links = self.repository.layer_links.iter().copied();
        let unneeded_links = links.filter(|link| self.references.binary_search(link).is_err()).collect();
        let mut manifests: Vec<DigestId> = self.manifests.into_iter().collect();
        manifests.sort_unstable();
        let stays = |id: &DigestId| manifests.binary_search(id).is_ok() && !reached_by_tags.contains(id);
        let revisions = self.repository.revisions.iter().filter(|revision| revision.link != LinkState::Absent);
        let untagged_kept = revisions.filter(|revision| stays(&revision.id)).count() as u64;
        RepositoryMarking { untagged_kept, manifests, unneeded_links, tainted, unlistable, has_unreadable_manifest }
    }

    /// Judges the tags, and makes roots of what they keep.
    fn tags(&mut self) {
        let repository = self.repository;
        for tag in &repository.tags {
            // Made where there is something to say; there mostly is not.
            let path = || repository.path.join(MANIFESTS).join(TAGS).join(&*tag.name);
            let name = || format!("{}:{}", repository.name, tag.name);
            match judge(repository, tag) {
                TagFate::Root(id) => self.tag_root(id, name, path),
                TagFate::Dangling(id) => {
                    let message = format!(
                        "{} points at {}, whose revision link is gone: it cannot be pulled. Its image is kept; push it \
                         again, or remove the tag's folder to let it go",
                        name(),
                        self.digests.digest(id)
                    );
                    self.find(Severity::Warning, FindingKind::DanglingTag, path(), message);
                    self.tag_root(id, name, path);
                }
                TagFate::Deleted(_) => {}
                TagFate::History(ids, why) => {
                    let message = format!(
                        "the current link of {} cannot be used ({why}); all {} images that it ever pointed at are kept",
                        name(),
                        ids.len()
                    );
                    self.find(Severity::Error, FindingKind::DamagedLink, path(), message);
                    ids.into_iter().for_each(|id| self.root(id));
                }
                TagFate::Unknown(why) => {
                    let message = format!("neither the current link of {} nor its history can be used ({why})", name());
                    self.find(Severity::Error, FindingKind::DamagedLink, path(), message.clone());
                    self.taints.push(message);
                }
                TagFate::NoTarget(ids) => {
                    let message = format!("{} has no current link, as a push leaves it that was cut off; kept", name());
                    self.find(Severity::Warning, FindingKind::TagWithoutTarget, path(), message);
                    ids.into_iter().for_each(|id| self.root(id));
                }
            }
        }
    }

    fn tag_root(&mut self, id: DigestId, name: impl Fn() -> String, path: impl Fn() -> PathBuf) {
        if matches!(self.store.get(id), Some(Loaded::Missing)) {
            let message = format!("{} cannot be pulled: its manifest {} is missing", name(), self.digests.digest(id));
            self.find(Severity::Error, FindingKind::MissingManifest, path(), message.clone());
            self.taints.push(message);
        }
        self.root(id);
    }

    /// Makes a manifest live, unless it is already.
    fn root(&mut self, id: DigestId) {
        if self.manifests.insert(id) {
            self.pending.push(id);
        }
    }

    fn refer(&mut self, id: DigestId) {
        self.references.push(id);
    }

    /// What the revision link of a live manifest says, where this repository has one.
    fn check_revision_link(&mut self, id: DigestId) {
        let Some(revision) = self.repository.revision(id) else { return };
        match &revision.link {
            // The link may name another digest than its path: then both count.
            LinkState::Target(target) if *target != id => {
                let message = format!(
                    "the revision link of {} names {}; both are kept",
                    self.digests.digest(id),
                    self.digests.digest(*target)
                );
                self.find(self.severity(), FindingKind::DamagedLink, self.revision_path(id), message);
                self.root(*target);
            }
            LinkState::Damaged(why) => {
                let message = format!("the revision link of {} cannot be used: {why}", self.digests.digest(id));
                self.find(self.severity(), FindingKind::DamagedLink, self.revision_path(id), message.clone());
                self.taints.push(message);
            }
            LinkState::Unreadable(why) => {
                let message = format!("the revision link of {} cannot be read: {why}", self.digests.digest(id));
                self.find(Severity::Error, FindingKind::Unreadable, self.revision_path(id), message.clone());
                self.taints.push(message);
            }
            LinkState::Target(_) | LinkState::Absent => {}
        }
    }

    /// Follows references until nothing new turns up. A list and no recursion: depth is what a stranger decides.
    fn expand(&mut self) {
        while let Some(id) = self.pending.pop() {
            if let Some(referrers) = self.referrers.remove(&id) {
                for referrer in referrers {
                    self.root(referrer);
                }
            }
            self.check_revision_link(id);
            let store = self.store;
            match store.get(id) {
                Some(Loaded::Manifest(manifest)) => self.expand_manifest(id, manifest),
                Some(Loaded::Damaged(why)) => {
                    let message = format!("manifest {} cannot be used: {why}", self.digests.digest(id));
                    self.find(self.severity(), FindingKind::DamagedManifest, self.revision_path(id), message.clone());
                    self.taints.push(message);
                }
                Some(Loaded::Unreadable(why)) => {
                    self.has_unreadable_manifest = true;
                    let message = format!("manifest {} cannot be read: {why}", self.digests.digest(id));
                    self.find(Severity::Error, FindingKind::Unreadable, self.revision_path(id), message.clone());
                    self.taints.push(message);
                }
                // Nobody read it: that cannot be, and must not pass for "references nothing".
                None => self.taints.push(format!("manifest {} was not read", self.digests.digest(id))),
                Some(Loaded::Missing) => self.missing(id),
                Some(Loaded::Blob) => {}
            }
        }
    }

    fn expand_manifest(&mut self, id: DigestId, manifest: &Manifest) {
        self.references.extend(manifest.foreign().iter().chain(manifest.blobs()));
        for &blob in manifest.blobs() {
            self.follow_layer_link(id, blob);
        }
        // A child needs no link in this repository to be live.
        for &child in manifest.children() {
            self.root(child);
            // What nobody says to be a manifest may be a layer, and then the link says which blob it is.
            if self.repository.has_layer_link(child) {
                self.follow_layer_link(id, child);
            }
        }
        if manifest.has_signature_links && self.repository.revision(id).is_some() {
            match self.links.signatures(self.repository, id) {
                Ok(signatures) => self.references.extend(signatures),
                Err(why) => {
                    let message = format!("the signatures of {} cannot be listed: {why}", self.digests.digest(id));
                    self.find(Severity::Error, FindingKind::Unreadable, self.revision_path(id), message.clone());
                    self.taints.push(message);
                }
            }
        }
    }

    /// A manifest that is not in the store. As a child of an index that is legal (a sparse index), unless this
    /// repository has a link for it: then it was here, and nobody knows what it needs.
    fn missing(&mut self, id: DigestId) {
        let has_link = self.repository.revision(id).is_some_and(|revision| revision.link != LinkState::Absent);
        if !has_link {
            return;
        }
        let digest = self.digests.digest(id);
        if self.tagged {
            let message = format!("manifest {digest}, which a tag needs, is missing from the blob store");
            self.find(Severity::Error, FindingKind::MissingManifest, self.revision_path(id), message.clone());
            self.taints.push(message);
        } else {
            let message = format!("the manifest of the untagged revision {digest} is missing from the blob store");
            self.find(Severity::Warning, FindingKind::MissingManifest, self.revision_path(id), message);
        }
    }

    /// The path of a layer link tells which blob it serves, unless there is no such blob, or the name is of an
    /// algorithm under which registries also linked sha256 blobs: then the link is read, and both digests are kept.
    fn follow_layer_link(&mut self, manifest: DigestId, blob: DigestId) {
        if self.path_tells_the_blob(blob) {
            return;
        }
        let mut is_served = self.digests.is_blob(blob);
        if self.repository.has_layer_link(blob) {
            match self.links.layer_link(self.repository, blob) {
                LinkState::Target(target) => {
                    is_served |= self.digests.is_blob(target);
                    self.refer(target);
                }
                LinkState::Unreadable(why) => {
                    let digest = self.digests.digest(blob);
                    let message = format!("the layer link of {digest} cannot be read: {why}");
                    let path = self.repository.path.join(LAYERS);
                    self.find(Severity::Error, FindingKind::Unreadable, path, message.clone());
                    self.taints.push(message);
                }
                LinkState::Damaged(_) | LinkState::Absent => {}
            }
        }
        if !is_served && self.tagged && self.digests.blobs().is_complete() {
            let message = format!(
                "{}, which the tagged manifest {} needs, is missing from the blob store",
                self.digests.digest(blob),
                self.digests.digest(manifest)
            );
            self.find(Severity::Error, FindingKind::MissingBlob, self.revision_path(manifest), message);
        }
    }

    /// Taint: all revisions become roots, all layer links count as referenced.
    fn keep_everything(&mut self) {
        for revision in &self.repository.revisions {
            self.root(revision.id);
        }
        self.expand();
        for &link in &self.repository.layer_links {
            self.refer(link);
            if self.path_tells_the_blob(link) {
                continue;
            }
            match self.links.layer_link(self.repository, link) {
                LinkState::Target(target) => self.refer(target),
                // It may name any blob, and nothing else tells which.
                LinkState::Unreadable(why) => {
                    let digest = self.digests.digest(link);
                    self.unlistable = Some(format!("the layer link of {digest} in {}: {why}", self.repository.name));
                }
                LinkState::Damaged(_) | LinkState::Absent => {}
            }
        }
        // A signature has no layer link, and a manifest that cannot be understood does not say whether it has any.
        for revision in &self.repository.revisions {
            if self.store.manifest(revision.id).is_some_and(|manifest| !manifest.has_signature_links) {
                continue;
            }
            match self.links.signatures(self.repository, revision.id) {
                Ok(signatures) => self.references.extend(signatures),
                Err(why) => self.unlistable = Some(why),
            }
        }
        for tag in &self.repository.tags {
            self.references.extend(tag.history.iter().flatten());
            if let LinkState::Target(id) = tag.current {
                self.root(id);
            }
        }
        self.expand();
    }

    /// Whether the path of a layer link says by itself which blob it serves.
    fn path_tells_the_blob(&self, id: DigestId) -> bool {
        self.digests.is_sha256_blob(id)
    }

    fn is_unreadable(&self, id: DigestId) -> bool {
        matches!(self.store.get(id), Some(Loaded::Unreadable(_)))
    }

    fn severity(&self) -> Severity {
        if self.tagged { Severity::Error } else { Severity::Warning }
    }

    fn revision_path(&self, id: DigestId) -> PathBuf {
        let digest = self.digests.digest(id);
        self.repository.path.join(MANIFESTS).join(REVISIONS).join(digest.algorithm().name()).join(digest.hex())
    }

    fn find(&self, severity: Severity, kind: FindingKind, path: PathBuf, message: impl Into<String>) {
        self.findings.add(severity, kind, Some(&self.repository.name), &path, message);
    }
}
