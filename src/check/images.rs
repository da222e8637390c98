//! Which images cannot be pulled, and for want of what.
//!
//! Judged as a client would meet it: a manifest is served by a repository that has a revision link for it, a layer by
//! one that has a layer link for it; what is served must be there, whole, and as large as the manifest says.
//!
//! A registry may be written to meanwhile. Blobs were listed first and layer links last, so what a push adds between is
//! there when it is looked for; and what seems to be missing is looked for once more before anything is said.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::blobs::{BlobState, BlobStates};
use super::links::{self, RepositoryLinks, Wrong};
use crate::digest::Algorithm;
use crate::inventory::{DigestId, Digests, LinkState, Repository, Tag, read_link};
use crate::listing::library::{Child, Library, Loaded, Manifest};
use crate::manifest::Expect;
use crate::policy::{TagFate, judge};
use crate::registry::Registry;
use crate::words::counted;

/// What a lost thing was to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A manifest, or an index.
    Manifest,
    /// The config of an image.
    Config,
    /// A layer, or another blob.
    Layer,
}

impl Part {
    /// The field's own word.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Manifest => "manifest",
            Part::Config => "config",
            Part::Layer => "layer",
        }
    }
}

/// Why something that an image needs is not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not in the blob store.
    Missing,
    /// It is there, and is not what its digest names, or cannot be understood.
    Damaged(Box<str>),
    /// It is there, and has another size than the manifest says.
    Size {
        /// Its size in bytes.
        is: u64,
        /// What the manifest says.
        should_be: u64,
    },
    /// It could not be read.
    Unreadable(Box<str>),
    /// The repository's link to it is wrong, or gone.
    Link(Wrong),
}

/// Something that an image lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What it is to the image.
    pub part: Part,
    /// Which.
    pub id: DigestId,
    /// Why.
    pub fault: Fault,
}

impl Lack {
    /// One clause, such as `layer sha256:... is missing`.
    pub fn text(&self, digests: &Digests) -> String {
        let (part, digest) = (self.part.name(), digests.digest(self.id));
        match &self.fault {
            Fault::Missing => format!("{part} {digest} is missing"),
            Fault::Damaged(why) => format!("{part} {digest} is damaged ({why})"),
            Fault::Size { is, should_be } => {
                format!("{part} {digest} has {} and should have {should_be}", counted(*is, "byte", "bytes"))
            }
            Fault::Unreadable(why) => format!("{part} {digest} cannot be read ({why})"),
            Fault::Link(wrong) => {
                let link = if self.part == Part::Manifest { "revision link" } else { "layer link" };
                format!("the {link} of {part} {digest} {}", wrong.text(digests))
            }
        }
    }
}

/// A name that cannot be pulled, or one of its platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The place of the tag; `None` for a manifest to which no tag leads.
    pub tag: Option<usize>,
    /// The manifest that the name leads to; `None` where the tag does not say.
    pub target: Option<DigestId>,
    /// The platform that is lost, where it is not all of it.
    pub platform: Option<Box<str>>,
    /// Why the tag leads nowhere.
    pub tag_fault: Option<Box<str>>,
    /// What it lacks.
    pub lacks: Vec<Lack>,
}

/// What became of the images of a repository.
#[derive(Debug, Default)]
pub struct RepositoryImages {
    /// What cannot be pulled, tags first, in their order.
    pub lost: Vec<Lost>,
    /// Tags that were taken out by hand, by their place: gone on purpose, and not yet tidied up.
    pub taken_out: Vec<usize>,
    /// Tags that a push has left half-written, by their place.
    pub half_pushed: Vec<usize>,
    /// How many manifests have a revision link and no tag that leads to them.
    pub untagged: u64,
    /// Entries of indexes that were never pushed here, as an index may have.
    pub sparse: u64,
}

/// Everything that judging needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    pub(super) registry: &'a Registry,
    pub(super) digests: &'a Digests,
    pub(super) library: &'a Library<'a>,
    pub(super) blobs: &'a BlobStates,
}

/// The judging of one repository.
struct Session<'a> {
    judge: Judge<'a>,
    repository: &'a Repository,
    links: &'a RepositoryLinks,
    /// What manifests lack by themselves, without what they list. Those that lack nothing share one empty list.
    own: HashMap<DigestId, Arc<[Lack]>>,
    nothing: Arc<[Lack]>,
    reached: HashSet<DigestId>,
    /// Manifests in which, and below which, nothing is lost.
    clean: HashSet<DigestId>,
    sparse: HashSet<DigestId>,
    answer: RepositoryImages,
}

impl<'a> Judge<'a> {
    pub(super) fn images(self, repository: &'a Repository, links: &'a RepositoryLinks) -> RepositoryImages {
        let mut session = Session {
            judge: self,
            repository,
            links,
            own: HashMap::new(),
            nothing: Arc::from([]),
            reached: HashSet::new(),
            clean: HashSet::new(),
            sparse: HashSet::new(),
            answer: RepositoryImages::default(),
        };
        for (place, tag) in repository.tags.iter().enumerate() {
            session.tag(place, tag);
        }
        session.untagged();
        session.answer.sparse = session.sparse.len() as u64;
        session.answer
    }

    /// Whether a repository has a link for a manifest and all that it needs, but for what it lists.
    pub(super) fn has_all_links(self, repository: &Repository, manifest: &Manifest) -> bool {
        let needed = manifest.blobs.iter().filter(|blob| !blob.is_foreign);
        let listed = manifest.children.iter();
        let is_linked = |id| repository.has_layer_link(id);
        let has_revision = |id| repository.has_revision_link(id);
        (manifest.blobs.iter().any(|blob| !blob.is_foreign) || !manifest.children.is_empty())
            && needed.map(|blob| blob.id).all(is_linked)
            && listed.map(|child| child.id).all(|id| has_revision(id) || is_linked(id))
    }
}

impl Session<'_> {
    fn tag(&mut self, place: usize, tag: &Tag) {
        let fate = judge(self.repository, tag, self.judge.digests);
        let tag_fault = match fate {
            TagFate::Root(id) | TagFate::Dangling(id) => {
                let lost = self.lost_below(Some(place), id);
                if lost.is_empty() || self.is_as_it_was(tag) {
                    self.answer.lost.extend(lost);
                }
                return;
            }
            TagFate::Deleted(_) => {
                if self.is_as_it_was(tag) {
                    self.answer.taken_out.push(place);
                }
                return;
            }
            TagFate::NoTarget(_) => {
                if self.is_as_it_was(tag) {
                    self.answer.half_pushed.push(place);
                }
                return;
            }
            TagFate::History(_, why) | TagFate::Unknown(why) => why,
        };
        if self.is_as_it_was(tag) {
            let why = format!("its current link cannot be used ({tag_fault})");
            let tag_fault = Some(why.into());
            self.answer.lost.push(Lost {
                tag: Some(place),
                target: None,
                platform: None,
                tag_fault,
                lacks: Vec::new(),
            });
        }
    }

    fn untagged(&mut self) {
        let revisions = self.repository.linked_revisions();
        let untagged: Vec<DigestId> =
            revisions.map(|revision| revision.id).filter(|id| !self.reached.contains(id)).collect();
        self.answer.untagged = untagged.len() as u64;
        for id in untagged {
            let lost = self.lost_below(None, id);
            // Deleted meanwhile: then nobody has lost it.
            if !lost.is_empty() && self.revision_now(id) != LinkState::Absent {
                self.answer.lost.extend(lost);
            }
        }
    }

    /// Whether the tag's current link still is what it was when it was read: a registry may have written it since, and
    /// one of 2.8 empties a link before it writes it.
    fn is_as_it_was(&self, tag: &Tag) -> bool {
        if tag.removable.is_none() {
            return true;
        }
        let path = links::current_link(self.repository, &tag.name);
        read_link(self.judge.registry.v2(), &path, self.judge.digests) == (tag.current.clone(), tag.stamp)
    }

    /// What is lost of an image: all of it, or some of its platforms.
    ///
    /// What a stranger's index lists may be listed by any number of others, for any number of platforms. So each is
    /// looked into once for an image, and for no other image again if nothing is lost in it.
    fn lost_below(&mut self, tag: Option<usize>, top: DigestId) -> Vec<Lost> {
        let mut lost: Vec<Lost> = Vec::new();
        // By platform: an index may list any number of them.
        let mut places: HashMap<Option<Box<str>>, usize> = HashMap::new();
        // In the order in which the index lists them; a list and no recursion.
        let mut pending: Vec<(DigestId, Option<Box<str>>)> = vec![(top, None)];
        let mut seen: HashSet<DigestId> = HashSet::new();
        while let Some((id, platform)) = pending.pop() {
            if self.clean.contains(&id) {
                continue;
            }
            let is_first = seen.insert(id);
            if is_first && tag.is_some() {
                self.reached.insert(id);
            }
            if id != top && (self.sparse.contains(&id) || !self.is_expected_here(id)) {
                self.sparse.insert(id);
                continue;
            }
            let own = self.own(id, id == top);
            if !own.is_empty() {
                let place = *places.entry(platform.clone()).or_insert_with(|| {
                    let platform = platform.clone();
                    lost.push(Lost { tag, target: Some(top), platform, tag_fault: None, lacks: Vec::new() });
                    lost.len() - 1
                });
                // Twice for one platform is once.
                if is_first || lost[place].lacks.is_empty() {
                    lost[place].lacks.extend(own.iter().cloned());
                }
            }
            let library = self.judge.library;
            let Some(manifest) = library.manifest(id).filter(|_| is_first) else { continue };
            for child in manifest.children.iter().rev() {
                if matches!(library.get(child.id), Some(Loaded::Blob)) || self.is_lost_layer(child) {
                    continue;
                }
                let label = if child.is_attestation { Some("attestation".into()) } else { child.platform.clone() };
                pending.push((child.id, label.or_else(|| platform.clone())));
            }
        }
        if lost.is_empty() {
            // All that was seen was looked into, down to the last; but what an index need not have, a tag must.
            self.clean.extend(seen.into_iter().filter(|id| !self.sparse.contains(id)));
        }
        lost
    }

    /// Whether an entry of an index is a layer that was here once.
    fn is_lost_layer(&self, child: &Child) -> bool {
        child.expect == Expect::Unknown
            && matches!(self.judge.library.get(child.id), Some(Loaded::Missing | Loaded::Damaged(_)))
            && self.repository.has_layer_link(child.id)
    }

    /// Whether an entry of an index was pushed here. If its revision link is gone, the links of all that it needs tell.
    /// A deletion over the API leaves it so as well; but then the index cannot be pulled whole all the same.
    fn is_expected_here(&self, id: DigestId) -> bool {
        if self.has_revision(id) {
            return true;
        }
        // It is somewhere, and nobody knows what it needs: then it is told.
        if matches!(self.judge.library.get(id), Some(Loaded::Damaged(_) | Loaded::Unreadable(_))) {
            return true;
        }
        self.judge.library.manifest(id).is_some_and(|it| self.judge.has_all_links(self.repository, it))
    }

    fn has_revision(&self, id: DigestId) -> bool {
        self.repository.has_revision_link(id) || self.revision_now(id) != LinkState::Absent
    }

    /// What a revision link says now; for one that was not there when the repository was listed.
    fn revision_now(&self, id: DigestId) -> LinkState {
        let Judge { registry, digests, .. } = self.judge;
        read_link(registry.v2(), &links::revision_link(self.repository, digests, id), digests).0
    }

    /// What a manifest lacks by itself. An image that a tag names must have its link, whoever else lists it.
    fn own(&mut self, id: DigestId, is_top: bool) -> Arc<[Lack]> {
        if let Some(known) = self.own.get(&id) {
            return Arc::clone(known);
        }
        let mut lacks = Vec::new();
        let mut lack = |part, id, fault| lacks.push(Lack { part, id, fault });
        let Judge { digests, library, .. } = self.judge;
        let link = match self.repository.revision(id).map(|revision| revision.link.clone()) {
            Some(LinkState::Absent) | None => self.revision_now(id),
            Some(link) => link,
        };
        if let Some(wrong) = Wrong::of(digests, id, link) {
            lack(Part::Manifest, id, Fault::Link(wrong));
        }
        match library.get(id) {
            Some(Loaded::Manifest(manifest)) => {
                for blob in manifest.blobs.iter().filter(|blob| !blob.is_foreign) {
                    let part = if manifest.config == Some(blob.id) { Part::Config } else { Part::Layer };
                    self.blob(part, blob.id, blob.bytes, &mut lack);
                }
                for child in &manifest.children {
                    match library.get(child.id) {
                        Some(Loaded::Blob) => self.blob(Part::Layer, child.id, child.bytes, &mut lack),
                        Some(Loaded::Manifest(it)) => {
                            if let Some(should_be) = child.bytes.filter(|&should_be| should_be != it.bytes) {
                                lack(Part::Manifest, child.id, Fault::Size { is: it.bytes, should_be });
                            }
                        }
                        // An index may list layers, as a build cache does; one that was linked here was here.
                        Some(Loaded::Missing | Loaded::Damaged(_)) if self.is_lost_layer(child) => {
                            self.blob(Part::Layer, child.id, child.bytes, &mut lack);
                        }
                        _ => {}
                    }
                }
            }
            Some(Loaded::Missing) | None => lack(Part::Manifest, id, Fault::Missing),
            Some(Loaded::Damaged(why)) => lack(Part::Manifest, id, Fault::Damaged(why.clone())),
            Some(Loaded::Unreadable(why)) => lack(Part::Manifest, id, Fault::Unreadable(why.clone())),
            // An entry of an index that is no manifest is a blob like any other, and is judged there.
            Some(Loaded::Blob) if is_top => lack(Part::Manifest, id, Fault::Damaged("not a manifest".into())),
            Some(Loaded::Blob) => {}
        }
        let own = if lacks.is_empty() { Arc::clone(&self.nothing) } else { lacks.into() };
        self.own.insert(id, Arc::clone(&own));
        own
    }

    fn blob(&self, part: Part, id: DigestId, should_be: Option<u64>, lack: &mut impl FnMut(Part, DigestId, Fault)) {
        let mut state = self.judge.blobs.of(id);
        if state == BlobState::Missing
            && let Some(alias) = self.alias(id)
        {
            state = self.judge.blobs.of(alias);
        }
        match state {
            BlobState::Whole(is) => match should_be {
                Some(should_be) if should_be != is => lack(part, id, Fault::Size { is, should_be }),
                _ => {}
            },
            BlobState::Missing => lack(part, id, Fault::Missing),
            BlobState::Damaged(why) => lack(part, id, Fault::Damaged(why)),
            BlobState::Unreadable(why) => lack(part, id, Fault::Unreadable(why)),
        }
        if let Some(wrong) = self.layer_link(id) {
            lack(part, id, Fault::Link(wrong));
        }
    }

    /// The blob that is served under a sha512 name: registries have linked those under their sha256 names.
    fn alias(&self, id: DigestId) -> Option<DigestId> {
        let Judge { registry, digests, .. } = self.judge;
        if digests.digest(id).algorithm() == Algorithm::Sha256 {
            return None;
        }
        match self.repository.read_layer_link(registry, digests, id) {
            LinkState::Target(target) => (target != id).then_some(target),
            LinkState::Absent | LinkState::Damaged(_) | LinkState::Unreadable(_) => None,
        }
    }

    /// What is wrong with a layer link. One that was not listed may have been pushed since.
    fn layer_link(&self, id: DigestId) -> Option<Wrong> {
        if let Some(wrong) = self.links.layers.get(&id) {
            return Some(wrong.clone());
        }
        if self.repository.has_layer_link(id) {
            return None;
        }
        let Judge { registry, digests, .. } = self.judge;
        let path = links::layer_link(self.repository, digests, id);
        Wrong::of(digests, id, read_link(registry.v2(), &path, digests).0)
    }
}
