//! The walk through one repository: from its roots to everything that they reach.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::names::Names;
use super::{Links, Marking, Pass, RepositoryMarking, Wishes};
use crate::finding::{FindingKind, Findings, Severity};
use crate::inventory::{DigestId, Digests, LinkState, Repository};
use crate::layout::LAYERS;
use crate::manifest::{Loaded, Manifest, Store};
use crate::policy::Cause;

/// The walk through one repository.
pub(super) struct Walk<'a> {
    pub(super) digests: &'a Digests,
    pub(super) store: &'a Store,
    pub(super) links: &'a dyn Links,
    pub(super) findings: &'a Findings,
    pub(super) repository: &'a Repository,
    pub(super) wishes: Wishes<'a>,
    pub(super) pass: Pass<'a>,
    /// Whether the roots that are being walked are tags: what is wrong then touches a tagged image.
    pub(super) tagged: bool,
    /// What is live.
    pub(super) manifests: HashSet<DigestId>,
    references: Vec<DigestId>,
    pending: Vec<DigestId>,
    /// Manifests by what they are about, until that is live; empty where every revision and every tag is a root anyway.
    pub(super) referrers: HashMap<DigestId, Vec<DigestId>>,
    pub(super) taints: Vec<String>,
    unlistable: Option<String>,
    has_unreadable_manifest: bool,
    /// Whether a tagged image lacks a blob: it cannot be pulled.
    lacks_a_blob: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        digests: &'a Digests,
        store: &'a Store,
        links: &'a dyn Links,
        findings: &'a Findings,
        repository: &'a Repository,
        wishes: Wishes<'a>,
        pass: Pass<'a>,
    ) -> Walk<'a> {
        Walk {
            digests,
            store,
            links,
            findings,
            repository,
            wishes,
            pass,
            tagged: true,
            manifests: HashSet::new(),
            references: Vec::new(),
            pending: Vec::new(),
            referrers: HashMap::new(),
            taints: Vec::new(),
            unlistable: None,
            has_unreadable_manifest: false,
            lacks_a_blob: false,
        }
    }

    /// Marks what is live in `marking`, as far as that is for everybody, and gives back the rest.
    pub(super) fn run(mut self, marking: &Marking) -> RepositoryMarking {
        if self.names_may_go() {
            let named = self.wishes.removal.manifests_of(&self.repository.name);
            let named: HashSet<DigestId> = named.map(|digest| self.digests.id(digest)).collect();
            let revisions = self.repository.revisions.iter();
            for revision in revisions.filter(|it| it.link != LinkState::Absent && !named.contains(&it.id)) {
                // The link may name another digest than its path: then either may be about something.
                let target = if let LinkState::Target(target) = revision.link { target } else { revision.id };
                for id in [revision.id, target] {
                    if let Some(Manifest { subject: Some(subject), .. }) = self.store.manifest(id) {
                        self.referrers.entry(*subject).or_default().push(revision.id);
                    }
                }
            }
        }
        let mut names = self.tags();
        self.expand();

        let reached_by_tags = self.manifests.clone();
        self.tagged = false;
        let let_go = self.let_go(&mut names);
        self.untagged_roots(&let_go);
        for &id in &self.repository.odd_targets {
            self.refer(id);
            // One that cannot be read may be a manifest as well.
            if matches!(self.store.get(id), Some(Loaded::Manifest(_) | Loaded::Unreadable(_))) {
                self.root(id);
            }
        }
        self.expand();
        self.settle(&mut names, &let_go);

        if self.lacks_a_blob && names.lets_tags_expire() {
            let message = "an image that stays lacks a layer or its config, so no rule lets a tag go here";
            self.taints.push(message.to_owned());
        }
        let tainted = !self.taints.is_empty();
        if tainted {
            self.keep_everything(&names);
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
        let Names { tags_gone, verdicts, subjects_gone, judged_by_time, tags_of_the_future, .. } =
            names.decided(tainted);
        let unlistable = self.unlistable.take();
        let has_unreadable_manifest = self.has_unreadable_manifest;
        self.references.extend(&self.manifests);
        self.references.sort_unstable();
        self.references.dedup();
        self.references.iter().for_each(|&id| marking.keep(self.digests, id));
        let links = self.repository.layer_links.iter().copied();
        let unneeded_links = links.filter(|link| self.references.binary_search(link).is_err()).collect();
        let mut let_go: Vec<(DigestId, Cause)> =
            let_go.into_iter().filter(|(id, _)| !self.manifests.contains(id)).collect();
        let_go.sort_unstable();
        let mut manifests: Vec<DigestId> = self.manifests.into_iter().collect();
        manifests.sort_unstable();
        let stays = |id: &DigestId| manifests.binary_search(id).is_ok() && !reached_by_tags.contains(id);
        let revisions = self.repository.linked_revisions();
        let untagged_kept = revisions.filter(|revision| stays(&revision.id)).count() as u64;
        RepositoryMarking {
            untagged_kept,
            manifests,
            unneeded_links,
            tainted,
            unlistable,
            has_unreadable_manifest,
            tags_gone,
            verdicts,
            let_go,
            subjects_gone,
            judged_by_time,
            tags_of_the_future,
        }
    }

    /// Makes roots of revisions that no tag leads to.
    fn untagged_roots(&mut self, let_go: &HashMap<DigestId, Cause>) {
        let repository = self.repository;
        let goes_whole = self.is_named_whole();
        // Where nothing can be removed, nothing is let go: a revision link that stays keeps its image.
        let untagged_go = self.wishes.policy.delete_untagged && self.names_may_go();
        for revision in &repository.revisions {
            let is_root = match &revision.link {
                LinkState::Absent => false,
                // What lies behind a symbolic link stays, whoever wants it gone.
                _ if goes_whole && !revision.linked => false,
                // What its link says cannot be understood, or what it names cannot be read: it may be needed.
                LinkState::Damaged(_) | LinkState::Unreadable(_) => true,
                LinkState::Target(target) => {
                    !(untagged_go || let_go.contains_key(&revision.id))
                        || revision.linked
                        || self.wishes.young.contains(&revision.id)
                        || self.is_held(revision.id)
                        || self.is_held(*target)
                        || self.is_unreadable(revision.id)
                        || self.is_unreadable(*target)
                }
            };
            if is_root {
                self.root(revision.id);
            }
        }
    }

    /// Makes a manifest live, unless it is already.
    pub(super) fn root(&mut self, id: DigestId) {
        if self.manifests.insert(id) {
            self.pending.push(id);
        }
    }

    /// Looks again into what was live already, now that it is known that tags lead there: damage below a tag is another
    /// matter than damage below none.
    pub(super) fn expand_as_tagged(&mut self, mut roots: Vec<DigestId>) {
        let (mut seen, was_tagged) = (HashSet::new(), self.tagged);
        while let Some(id) = roots.pop() {
            if seen.insert(id) {
                self.pending.push(id);
                roots.extend(self.store.manifest(id).into_iter().flat_map(Manifest::children));
            }
        }
        self.tagged = true;
        self.expand();
        self.tagged = was_tagged;
    }

    pub(super) fn refer(&mut self, id: DigestId) {
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
    pub(super) fn expand(&mut self) {
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
        let has_link = self.repository.has_revision_link(id);
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
        // A cache has only what somebody asked for, and fetches the rest.
        let is_cache = self.wishes.policy.cache.is_some();
        if !is_served && self.tagged && !is_cache && self.digests.blobs().is_complete() {
            let message = format!(
                "{}, which the tagged manifest {} needs, is missing from the blob store",
                self.digests.digest(blob),
                self.digests.digest(manifest)
            );
            self.find(Severity::Error, FindingKind::MissingBlob, self.revision_path(manifest), message);
            self.lacks_a_blob = true;
        }
    }

    /// Taint: all revisions become roots, all layer links count as referenced.
    fn keep_everything(&mut self, names: &Names) {
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
        let named = names.named();
        for (place, tag) in self.repository.tags.iter().enumerate() {
            if named.contains(&place) {
                continue;
            }
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

    pub(super) fn is_unreadable(&self, id: DigestId) -> bool {
        matches!(self.store.get(id), Some(Loaded::Unreadable(_)))
    }

    fn severity(&self) -> Severity {
        if self.tagged { Severity::Error } else { Severity::Warning }
    }

    fn revision_path(&self, id: DigestId) -> PathBuf {
        self.repository.revision_folder(&self.digests.digest(id))
    }

    pub(super) fn find(&self, severity: Severity, kind: FindingKind, path: PathBuf, message: impl Into<String>) {
        self.findings.add(severity, kind, Some(&self.repository.name), &path, message);
    }
}
