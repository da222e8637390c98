//! The images of a cache, repository by repository: what may be let go as a whole, and what stays whatever happens.
//!
//! An image is a manifest that no other one lists and that is about no other one, with all tags that point at it and
//! everything that it reaches: children, layers, and what refers to it. Two tags of one manifest are one image: to let
//! one of them go would free nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::schedule::Schedule;
use crate::inventory::{DigestId, Digests, LinkState, Repository, Tag};
use crate::layout::{LAYERS, LINK};
use crate::manifest::{Loaded, Manifest, Store};
use crate::mark::{Marking, Wishes};
use crate::policy::{Agreement, Evicted, ReferrerTag, Subject, TagFate, judge};
use crate::registry::Registry;

/// What is known when images are looked for.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) digests: &'a Digests,
    pub(super) repositories: &'a [Repository],
    pub(super) store: &'a Store,
    /// What is live as long as nothing is evicted.
    pub(super) marking: &'a Marking,
    pub(super) wishes: Wishes<'a>,
    pub(super) origin: Origin<'a>,
    /// For the links of layers, which the scan does not look at.
    pub(super) registry: &'a Registry,
}

/// Which images are taken for fetched ones.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// All of them: somebody says so.
    Any,
    /// Those that the registry has noted; none where it notes nothing.
    Noted(Option<&'a Schedule>),
}

/// Why an image stays whatever the limits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stays {
    /// Somebody asked for it.
    Protected,
    /// It is too young.
    Young,
    /// It cannot be removed, or something about it cannot be understood.
    Irremovable,
    /// The registry has not noted that it was fetched: it may have been pushed here, and then it is nowhere else.
    Unscheduled,
}

/// An image.
#[derive(Debug)]
pub(super) struct Image {
    /// Its repository, by its place.
    pub(super) repository: usize,
    pub(super) manifest: DigestId,
    /// Its tags, by their places.
    pub(super) tags: Vec<usize>,
    /// Everything that it reaches and that is a blob, sorted.
    pub(super) blobs: Vec<u32>,
    pub(super) stays: Option<Stays>,
    /// When its links were last written, in seconds since 1970: a cache writes a tag's link anew whenever somebody asks
    /// for the tag, and a revision's when it fetches the manifest.
    pub(super) linked: i64,
}

/// What a repository holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) images: Vec<Image>,
    /// Blobs that something needs which is no image that may go; not sorted.
    pub(super) needed: Vec<u32>,
}

/// Tags that name what is not here, neither the manifest's blob nor anything that it needs: a cache notes what a tag
/// points at before it fetches that. There is nothing to lose, and left alone they would taint their repositories.
pub(super) fn hollow(digests: &Digests, repositories: &[Repository], store: &Store, wishes: Wishes<'_>) -> Evicted {
    let mut evicted = Evicted::default();
    if !digests.blobs().is_complete() {
        return evicted;
    }
    for repository in repositories.iter().filter(|repository| repository.removable.is_some()) {
        for (place, tag) in repository.tags.iter().enumerate() {
            let (TagFate::Root(target) | TagFate::Dangling(target)) = judge(repository, tag, digests) else { continue };
            let is_held = wishes.held.digests.contains(&target);
            let is_plain = match repository.revision(target).map(|revision| (&revision.link, revision.linked)) {
                None | Some((LinkState::Absent, _)) => true,
                Some((link, linked)) => *link == LinkState::Target(target) && !linked,
            };
            let has_reason = is_held || stays(repository, tag, wishes).is_some();
            if is_plain && !has_reason && !digests.is_blob(target) && store.is_missing(target) {
                evicted.add(&repository.name, &[place], target);
            }
        }
    }
    evicted
}

/// Why a tag stays, as far as that can be seen without looking behind it.
fn stays(repository: &Repository, tag: &Tag, wishes: Wishes<'_>) -> Option<Stays> {
    let Some(stamp) = tag.stamp.filter(|_| tag.removable.is_some() && tag.history.is_ok() && !tag.history_linked)
    else {
        return Some(Stays::Irremovable);
    };
    if wishes.held.has_tag(&repository.name, &tag.name) {
        return Some(Stays::Protected);
    }
    wishes.young_since.filter(|since| stamp.modified() > *since).map(|_| Stays::Young)
}

/// The images of one repository.
pub(super) fn of(seen: Seen<'_>, place: usize) -> Found {
    let repository = &seen.repositories[place];
    let marked = &seen.marking.repositories[place];
    let mut look = Look { seen, repository, below: HashMap::new(), found: Found::default() };
    if repository.removable.is_none() || marked.tainted {
        look.need(marked.manifests.iter().chain(&repository.layer_links).copied());
        return look.found;
    }
    look.sort(place);
    look.found
}

struct Look<'a> {
    seen: Seen<'a>,
    repository: &'a Repository,
    /// What goes with a manifest beside what it references: what is about it.
    below: HashMap<DigestId, Vec<DigestId>>,
    found: Found,
}

impl Look<'_> {
    fn is_live(&self, place: usize, id: DigestId) -> bool {
        self.seen.marking.repositories[place].is_live(id)
    }

    /// Finds out which manifests are images, and which only parts of some.
    fn sort(&mut self, place: usize) {
        let Seen { digests, marking, store, wishes, .. } = self.seen;
        let (repository, marked) = (self.repository, &marking.repositories[place]);
        let mut parts: HashSet<DigestId> = HashSet::new();
        for &id in &marked.manifests {
            parts.extend(store.manifest(id).into_iter().flat_map(Manifest::children));
        }
        let mut fixed: HashSet<DigestId> = repository.odd_targets.iter().copied().collect();
        let mut tagged: BTreeMap<DigestId, (Vec<usize>, Option<Stays>)> = BTreeMap::new();
        for (tag_place, tag) in repository.tags.iter().enumerate() {
            if marked.tag_goes(tag_place).is_some() {
                continue;
            }
            match judge(repository, tag, digests) {
                TagFate::Root(target) | TagFate::Dangling(target) => {
                    let reason = stays(repository, tag, wishes);
                    if let Some(subject) = self.subject_of(place, tag, target) {
                        self.below.entry(subject).or_default().push(target);
                        parts.insert(target);
                        // It stays by itself, and what it is about with it: that may be what it was protected for.
                        if reason.is_some() {
                            fixed.insert(subject);
                        }
                        continue;
                    }
                    let (tags, stays) = tagged.entry(target).or_default();
                    tags.push(tag_place);
                    *stays = (*stays).or(reason);
                }
                TagFate::Deleted(target) => _ = fixed.insert(target),
                TagFate::History(ids, _) | TagFate::NoTarget(ids) => fixed.extend(ids),
                TagFate::Unknown(_) => {}
            }
        }
        let mut untagged = Vec::new();
        for revision in repository.revisions.iter().filter(|revision| revision.link != LinkState::Absent) {
            if revision.link != LinkState::Target(revision.id) || revision.linked {
                fixed.insert(revision.id);
                if let LinkState::Target(target) = revision.link {
                    fixed.insert(target);
                }
            }
            if !self.is_live(place, revision.id) {
                continue;
            }
            let subject = store.manifest(revision.id).and_then(|manifest| manifest.subject);
            match subject.filter(|&subject| subject != revision.id && self.is_live(place, subject)) {
                Some(subject) => {
                    self.below.entry(subject).or_default().push(revision.id);
                    parts.insert(revision.id);
                }
                None => untagged.push(revision.id),
            }
        }
        // What a tag points at is an image of its own, whatever else lists it.
        let untagged = untagged.into_iter().filter(|id| !tagged.contains_key(id) && !parts.contains(id));
        let untagged: Vec<DigestId> = untagged.collect();
        tagged.extend(untagged.into_iter().map(|id| (id, Default::default())));
        let mut reached: HashSet<DigestId> = HashSet::new();
        for (manifest, (tags, stays)) in tagged {
            let reach = self.reach(manifest);
            let is_fixed = fixed.contains(&manifest) || !can_be_understood(store, &reach);
            let is_held = reach.iter().any(|id| wishes.held.digests.contains(id));
            let is_young = reach.iter().any(|id| wishes.young.contains(id));
            let stays = stays
                .or(is_held.then_some(Stays::Protected))
                .or(is_young.then_some(Stays::Young))
                .or(is_fixed.then_some(Stays::Irremovable))
                .or_else(|| (!self.is_fetched(manifest, &reach)).then_some(Stays::Unscheduled));
            let pushed = tags.iter().filter_map(|&tag| repository.tags[tag].stamp);
            let fetched = repository.revision(manifest).and_then(|revision| revision.stamp);
            let linked = pushed.chain(fetched).map(|stamp| stamp.modified()).max().unwrap_or(i64::MIN);
            let blobs = self.blobs(&reach);
            reached.extend(&reach);
            if stays.is_some() {
                self.found.needed.extend(&blobs);
            }
            self.found.images.push(Image { repository: place, manifest, tags, blobs, stays, linked });
        }
        // What is live for another reason than any image: links in odd places, histories, what cannot be removed.
        let rest: Vec<DigestId> = marked.manifests.iter().copied().filter(|id| !reached.contains(id)).collect();
        self.need(rest.into_iter().chain(fixed));
    }

    /// The live manifest of this repository that a tag belongs to by its name, if it does.
    fn subject_of(&self, place: usize, tag: &Tag, target: DigestId) -> Option<DigestId> {
        let Seen { digests, store, marking, .. } = self.seen;
        let referrer = ReferrerTag::parse(&tag.name)?;
        if referrer.agreement(target, digests, store) != Agreement::Yes {
            return None;
        }
        let manifests = &marking.repositories[place].manifests;
        let found = match &referrer.subject {
            Subject::Whole(subject) => Some(digests.id(subject)).filter(|&id| self.is_live(place, id)),
            cut @ Subject::Cut(..) => manifests.iter().copied().find(|&id| cut.is(&digests.digest(id))),
        };
        found.filter(|&id| id != target)
    }

    /// Whether everything that makes this image one was fetched, as far as the registry has noted it.
    ///
    /// Each manifest in it with a link here has to be noted: a signature that was pushed would go with an image that
    /// was fetched. Layers need not be: who has the manifest upstream has them, and a cache does not note those that it
    /// finds here. Only where the image's own link is gone there is nothing else to go by. After it has expired, its
    /// layers have too; one that lost its link otherwise still has them, and can be mended.
    fn is_fetched(&self, manifest: DigestId, reach: &[DigestId]) -> bool {
        let Seen { digests, origin, .. } = self.seen;
        let schedule = match origin {
            Origin::Any => return true,
            Origin::Noted(schedule) => schedule,
        };
        let name = &self.repository.name;
        let is_linked = |id: DigestId| self.repository.revision(id).is_some_and(|it| it.link != LinkState::Absent);
        let mut manifests = reach.iter().filter(|&&id| is_linked(id)).map(|&id| digests.digest(id));
        let is_noted = |digest| schedule.is_some_and(|schedule| schedule.has_manifest(name, &digest));
        let mut layers = reach.iter().filter(|&&id| self.repository.layer_links.binary_search(&id).is_ok());
        let is_layer_fetched = |&id: &DigestId| {
            let is_noted = schedule.is_some_and(|schedule| schedule.has_layer(name, &digests.digest(id)));
            is_noted || !digests.is_blob(id) || self.has_no_layer_link(id)
        };
        manifests.all(is_noted) && (is_linked(manifest) || layers.all(is_layer_fetched))
    }

    /// Whether what is left of a layer's link is an empty folder. What cannot be looked at is a link.
    fn has_no_layer_link(&self, layer: DigestId) -> bool {
        let digest = self.seen.digests.digest(layer);
        let folder = self.repository.path.join(LAYERS).join(digest.algorithm().name()).join(digest.hex());
        matches!(self.seen.registry.v2().look(folder.join(LINK)), Ok(None))
    }

    /// Everything that a manifest reaches, itself included.
    fn reach(&self, manifest: DigestId) -> Vec<DigestId> {
        let (mut seen, mut pending) = (HashSet::new(), vec![manifest]);
        while let Some(id) = pending.pop() {
            if seen.insert(id) {
                if let Some(manifest) = self.seen.store.manifest(id) {
                    pending.extend(manifest.children().iter().chain(manifest.blobs()).chain(manifest.foreign()));
                }
                pending.extend(self.below.get(&id).into_iter().flatten());
            }
        }
        seen.into_iter().collect()
    }

    fn blobs(&self, ids: &[DigestId]) -> Vec<u32> {
        numbers(self.seen.digests, ids.iter().copied())
    }

    fn need(&mut self, ids: impl Iterator<Item = DigestId>) {
        for id in ids {
            let blobs = self.blobs(&self.reach(id));
            self.found.needed.extend(blobs);
        }
    }
}

/// The places of those that are blobs, sorted.
pub(super) fn numbers(digests: &Digests, ids: impl Iterator<Item = DigestId>) -> Vec<u32> {
    let blobs = ids.filter(|&id| digests.is_blob(id)).filter_map(|id| u32::try_from(id.index()).ok());
    let mut blobs: Vec<u32> = blobs.collect();
    blobs.sort_unstable();
    blobs
}

fn can_be_understood(store: &Store, reach: &[DigestId]) -> bool {
    !reach.iter().any(|&id| matches!(store.get(id), Some(Loaded::Unreadable(_) | Loaded::Damaged(_))))
}
