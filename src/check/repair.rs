//! What can be mended without anybody's help, and what cannot and why. Pure decisions, but for looks at single files.
//!
//! A link is written only where it is certain what it has to say: its path says so, and what it would lead to is there
//! and whole. A blob is put aside only after it was read twice and had the same wrong digest both times; what is put
//! aside stays in the run's trash. Dangling names are dropped only when somebody asks for it. Nothing is touched in a
//! repository of which a part could not be listed, and nothing behind a symbolic link.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rayon::prelude::*;

use super::blobs::BlobState;
use super::data;
use super::images::{Fault, Judge, Part, RepositoryImages};
use super::links::{RepositoryLinks, Wrong, current_link, history_link, layer_link, revision_link};
use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::interlock::brakes::{self, Percent};
use crate::inventory::{DigestId, Inventory, LinkState, LookedAt, Repository, Tag};
use crate::layout::{BLOBS, REPOSITORIES, RepositoryName, TagName, blob_dir};
use crate::listing::library::Loaded;
use crate::plan::{BlobPlan, Mend, MendedLink, Plan, Reason, RepositoryPlan};
use crate::policy::{TagFate, judge, meant_by};
use crate::progress::Meter;
use crate::words::counted;

/// What somebody asked for, beyond what is mended anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wishes {
    /// Tags go whose manifest is lost.
    pub drop_dangling_tags: bool,
    /// Revision links go whose manifest is lost, unless something that stays leads there.
    pub drop_dangling_revisions: bool,
    /// If more of the blobs would be put aside than this, none is; [`MOST_ASIDE`] if nobody says it.
    pub max_aside: Option<Percent>,
}

/// How much of a store may be put aside or dropped without anybody saying so, in percent. Where more is wrong it is not
/// single files that are damaged: what the volume gives is wrong, and tomorrow it may be right again.
pub const MOST_ASIDE: f64 = 10.0;
/// So many may be, however few there are.
const ALWAYS_ASIDE: usize = 10;

/// What is to be mended.
#[derive(Debug, Default)]
pub struct Repair {
    /// What goes into the trash, and which links are written.
    pub plan: Plan,
    /// How much of what is wrong stays as it is.
    pub unmended: u64,
}

/// How far the time of a tag's current link may lie from that of the entry in its history that was written with it, in
/// seconds. A push writes the two within moments; copies that were made without their times may lie anywhere.
const WRITTEN_TOGETHER: i64 = 60;

/// Decides what is mended, and notes why the rest is not.
pub(super) fn plan(
    judge: Judge<'_>,
    inventory: &Inventory,
    links: &[RepositoryLinks],
    images: &[RepositoryImages],
    wishes: &Wishes,
    findings: &Findings,
) -> Repair {
    let mut repair = Repair::default();
    for ((repository, links), images) in inventory.repositories.iter().zip(links).zip(images) {
        let mut mender = Mender {
            judge,
            repository,
            links,
            images,
            wishes: *wishes,
            findings,
            mends: BTreeMap::new(),
            unmended: 0,
            is_complete: judge.digests.blobs().is_complete(),
        };
        let is_whole = !inventory.unlistable.iter().any(|it| it.path.starts_with(&repository.path));
        match repository.removable.clone() {
            _ if !mender.has_anything_to_mend() => {}
            Some(name) if is_whole => {
                let going = mender.mend(&name);
                repair.plan.mends.extend(mender.mends.into_values());
                if !going.tags.is_empty() || !going.revisions.is_empty() {
                    repair.plan.repositories.push(going);
                }
            }
            Some(_) => mender.leave(&repository.path, "part of this repository cannot be listed"),
            None => mender.leave(&repository.path, "a symbolic link leads here, or no registry serves this name"),
        }
        repair.unmended += mender.unmended;
    }
    repair.plan.mends.sort();
    repair.plan.repositories.sort_by(|a, b| a.name.cmp(&b.name));
    put_aside(judge, inventory, images, findings, &mut repair);
    let allowed = Allowed(wishes.max_aside);
    let (aside, blobs) = (repair.plan.blobs.len(), judge.digests.blobs().len());
    if let Some(more_than) = allowed.is_exceeded_by(aside, blobs) {
        repair.plan.blobs.clear();
        repair.unmended += aside as u64;
        let blobs = counted(blobs as u64, "blob", "blobs");
        let are = if aside == 1 { "is not what its digest names" } else { "are not what their digests name" };
        let message = format!(
            "not mended: {aside} of {blobs} {are}, more than {more_than}, and none is put aside: look at the volume \
             first. --max-delete says how many may be"
        );
        findings.add(Severity::Error, FindingKind::NotMended, None, Path::new(BLOBS), message);
    }
    let sum = |of: fn(&RepositoryPlan) -> usize| repair.plan.repositories.iter().map(of).sum::<usize>();
    let (tags, revisions) = (sum(|going| going.tags.len()), sum(|going| going.revisions.len()));
    let all = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let more_than = (allowed.is_exceeded_by(tags, all(inventory.tags())))
        .or_else(|| allowed.is_exceeded_by(revisions, all(inventory.revisions())));
    if let Some(more_than) = more_than {
        repair.plan.repositories.clear();
        repair.unmended += (tags + revisions) as u64;
        let tags = counted(tags as u64, "tag", "tags");
        let revisions = counted(revisions as u64, "revision", "revisions");
        let message = format!(
            "not mended: {tags} and {revisions} lead to manifests that are missing, more than {more_than}, and none is \
             dropped: is the whole volume mounted? --max-delete says how many may be"
        );
        findings.add(Severity::Error, FindingKind::NotMended, None, Path::new(REPOSITORIES), message);
    }
    repair
}

/// How many of many may go.
struct Allowed(Option<Percent>);

impl Allowed {
    /// What is allowed, if these are more.
    fn is_exceeded_by(&self, going: usize, of: usize) -> Option<Percent> {
        let allowed = self.0.or_else(|| Percent::new(MOST_ASIDE))?;
        let is_few = self.0.is_none() && going <= ALWAYS_ASIDE;
        (!is_few && brakes::check_share(going, of, allowed).is_err()).then_some(allowed)
    }
}

struct Mender<'a> {
    judge: Judge<'a>,
    repository: &'a Repository,
    links: &'a RepositoryLinks,
    images: &'a RepositoryImages,
    wishes: Wishes,
    findings: &'a Findings,
    mends: BTreeMap<(MendedLink, DigestId), Mend>,
    unmended: u64,
    /// Whether a blob that was not listed is known not to be there.
    is_complete: bool,
}

impl Mender<'_> {
    fn has_anything_to_mend(&self) -> bool {
        let RepositoryLinks { layers, history, .. } = self.links;
        let is_damaged = |link: &LinkState| matches!(link, LinkState::Damaged(_));
        !self.images.lost.is_empty()
            || !self.images.half_pushed.is_empty()
            || layers.values().any(|wrong| *wrong != Wrong::Absent)
            || !history.is_empty()
            || self.repository.revisions.iter().any(|revision| is_damaged(&revision.link))
    }

    fn mend(&mut self, name: &RepositoryName) -> RepositoryPlan {
        for lost in &self.images.lost {
            for lack in &lost.lacks {
                if let Fault::Link(wrong) = &lack.fault {
                    let link = if lack.part == Part::Manifest { MendedLink::Revision } else { MendedLink::LayerLink };
                    self.link(name, link, lack.id, wrong);
                }
            }
        }
        for (&id, wrong) in self.links.layers.iter().filter(|(_, wrong)| **wrong != Wrong::Absent) {
            self.link(name, MendedLink::LayerLink, id, wrong);
        }
        for revision in &self.repository.revisions {
            if let LinkState::Damaged(why) = &revision.link {
                self.link(name, MendedLink::Revision, revision.id, &Wrong::Damaged(why.clone()));
            }
        }
        for (place, id, wrong) in self.links.history.iter().filter(|(_, _, wrong)| *wrong != Wrong::Absent) {
            if let Some(tag) = &self.repository.tags[*place].removable {
                self.link(name, MendedLink::TagHistory(tag.clone()), *id, wrong);
            }
        }
        for tag in &self.repository.tags {
            if let Some(meant) = meant_by(self.repository, tag, self.judge.digests) {
                self.slip(name, tag, meant);
            } else if matches!(tag.current, LinkState::Damaged(_) | LinkState::Absent) {
                self.tag(name, tag);
            }
        }
        let mut going = RepositoryPlan::of(name.clone());
        self.drop_tags(&mut going);
        self.drop_revisions(&mut going);
        // Nothing is written into what goes: half a tag would be left of it.
        let goes = |tag: &TagName| going.tags.binary_search_by(|(name, _)| name.cmp(tag)).is_ok();
        self.mends.retain(|(link, _), _| match link {
            MendedLink::TagHistory(tag) | MendedLink::Tag(tag) => !goes(tag),
            MendedLink::LayerLink | MendedLink::Revision => true,
        });
        going
    }

    /// A link whose path says what it has to say.
    fn link(&mut self, name: &RepositoryName, link: MendedLink, id: DigestId, wrong: &Wrong) {
        let key = (link.clone(), id);
        if self.mends.contains_key(&key) {
            return;
        }
        let Judge { digests, library, blobs, .. } = self.judge;
        let path = match &link {
            MendedLink::LayerLink => layer_link(self.repository, digests, id),
            MendedLink::Revision => revision_link(self.repository, digests, id),
            MendedLink::TagHistory(tag) | MendedLink::Tag(tag) => {
                history_link(self.repository, tag.as_str(), digests, id)
            }
        };
        let is_linked_folder = link == MendedLink::Revision
            && self.repository.revision(id).is_some_and(|revision| revision.linked)
            || self.repository.odd_targets.contains(&id);
        if is_linked_folder {
            return self.leave(&path, "a symbolic link leads here");
        }
        let mut instead_of = None;
        let was = match wrong {
            Wrong::Absent => "gone".to_owned(),
            Wrong::Damaged(why) => why.to_string(),
            Wrong::Names(other) if self.is_nowhere(*other) => {
                let other = instead_of.insert(digests.digest(*other));
                format!("named {other}, which is nowhere")
            }
            Wrong::Names(_) => return self.leave(&path, "it names another blob that is there; look at both"),
            Wrong::Unreadable(_) => return self.leave(&path, "nobody knows what it says; see to the volume first"),
        };
        let is_there = match link {
            MendedLink::Revision => library.manifest(id).is_some(),
            // Either may be a manifest or a layer; that its bytes are whole is for those who need it.
            _ => blobs.is_whole(id),
        };
        if !is_there {
            return self.leave(&path, "what it would lead to is not there, or is damaged");
        }
        let digest = digests.digest(id);
        self.mends.insert(key, Mend { link, repository: name.clone(), digest, was, instead_of });
    }

    /// Whether a digest is known not to be in the store.
    fn is_nowhere(&self, id: DigestId) -> bool {
        let Judge { registry, digests, .. } = self.judge;
        self.is_complete
            && !digests.is_blob(id)
            && matches!(registry.v2().look(blob_dir(&digests.digest(id))), Ok(None))
    }

    /// A tag whose current link cannot be used: what did it point at last? A push writes the entry of the history just
    /// before the current link, also where the tag had pointed there before.
    fn tag(&mut self, name: &RepositoryName, tag: &Tag) {
        let Judge { registry, digests, library, .. } = self.judge;
        let path = current_link(self.repository, &tag.name);
        let Some(tag_name) = tag.removable.clone().filter(|_| !tag.history_linked) else {
            return self.leave(&path, "a symbolic link leads here, or no registry serves this name");
        };
        let Ok(history) = &tag.history else { return self.leave(&path, "its history cannot be listed") };
        let mut times = Vec::new();
        for &id in history {
            match registry.v2().stamp_of(history_link(self.repository, &tag.name, digests, id)) {
                Ok(Some(stamp)) => times.push((stamp.modified(), id)),
                // A push that was cut off may have left it so: then this is what the tag points at.
                Ok(None) => return self.leave(&path, "an entry of its history has no link; push it again"),
                Err(_) => return self.leave(&path, "its history cannot be read"),
            }
        }
        times.sort_unstable();
        let Some(&(newest, id)) = times.last() else { return self.leave(&path, "it has no history") };
        // What the system says of the current link, or of its folder where there is none.
        let written = match registry.v2().stamp_of(&path) {
            Ok(None) => registry.v2().stamp_of(path.parent().unwrap_or(Path::new(""))).ok().flatten(),
            stamp => stamp.ok().flatten(),
        };
        let is_of_that_push = written.is_some_and(|stamp| (stamp.modified().0 - newest.0).abs() <= WRITTEN_TOGETHER);
        // A copy that was made without its times has them all within moments, in whatever order.
        let is_alone = times.len() < 2 || newest.0 - times[times.len() - 2].0.0 > WRITTEN_TOGETHER;
        if !is_of_that_push || !is_alone {
            let why = match times.len() {
                1 => "the one entry of its history was not written together with it".to_owned(),
                count => format!("it has pointed at {count} manifests, and their times do not tell at which last"),
            };
            return self.leave(&path, &format!("{why}; write the right digest into it, or push it again"));
        }
        let has_link = self.repository.revision(id).is_some_and(|it| it.link == LinkState::Target(id))
            || self.mends.contains_key(&(MendedLink::Revision, id));
        if !has_link || library.manifest(id).is_none() {
            let why = format!("{}, at which it pointed last, is not here any more", digests.digest(id));
            return self.leave(&path, &why);
        }
        let was = match &tag.current {
            LinkState::Damaged(why) => why.to_string(),
            _ => "gone".to_owned(),
        };
        let link = MendedLink::Tag(tag_name);
        let digest = digests.digest(id);
        let mend = Mend { link: link.clone(), repository: name.clone(), digest, was, instead_of: None };
        self.mends.insert((link, id), mend);
    }

    /// A tag whose current link has a few wrong digits, and which it meant is known.
    fn slip(&mut self, name: &RepositoryName, tag: &Tag, meant: DigestId) {
        let (LinkState::Target(target), Some(name_of_tag)) = (&tag.current, tag.removable.clone()) else { return };
        if self.judge.library.manifest(meant).is_none() {
            let path = current_link(self.repository, &tag.name);
            return self.leave(&path, "the manifest that it meant is missing or damaged; push it again");
        }
        let (target, digest) = (self.judge.digests.digest(*target), self.judge.digests.digest(meant));
        let link = MendedLink::Tag(name_of_tag);
        let was = format!("named {target}, which is nowhere");
        let mend = Mend { link: link.clone(), repository: name.clone(), digest, was, instead_of: Some(target) };
        self.mends.insert((link, meant), mend);
    }

    /// Tags whose manifest is lost: nobody can pull them, and nothing here can mend them.
    fn drop_tags(&mut self, going: &mut RepositoryPlan) {
        for tag in &self.repository.tags {
            let target = match judge(self.repository, tag, self.judge.digests) {
                TagFate::Root(id) | TagFate::Dangling(id) if self.is_lost(id) => id,
                _ => continue,
            };
            let Some(name) = tag.removable.clone().filter(|_| self.wishes.drop_dangling_tags) else {
                let why = match self.judge.library.get(target) {
                    Some(Loaded::Missing) => {
                        "its manifest is missing; push it again, or let it go with \
                                              --drop-dangling-tags"
                    }
                    _ => "its manifest cannot be linked again; push it again, or let it go with --drop-dangling-tags",
                };
                self.leave(&self.repository.tag_folder(&tag.name), why);
                continue;
            };
            going.tags.push((name, Reason::Dangling));
        }
        going.tags.sort();
    }

    /// Revision links whose manifest is lost. One that something leads to which stays says what is lost, and stays.
    fn drop_revisions(&mut self, going: &mut RepositoryPlan) {
        let going_tags: HashSet<&TagName> = going.tags.iter().map(|(name, _)| name).collect();
        let stays = |tag: &Tag| tag.removable.as_ref().is_none_or(|name| !going_tags.contains(name));
        let mut needed: HashSet<DigestId> = HashSet::new();
        for tag in self.repository.tags.iter().filter(|tag| stays(tag)) {
            match &tag.current {
                LinkState::Target(target) => _ = needed.insert(*target),
                _ => needed.extend(tag.history.iter().flatten()),
            }
        }
        let roots = self.repository.revisions.iter().map(|revision| revision.id);
        let listed = roots.filter_map(|id| self.judge.library.manifest(id)).flat_map(|it| &it.children);
        needed.extend(listed.map(|child| child.id));
        for revision in &self.repository.revisions {
            if revision.link != LinkState::Target(revision.id) || !self.is_lost(revision.id) {
                continue;
            }
            let path = revision_link(self.repository, self.judge.digests, revision.id);
            if !self.wishes.drop_dangling_revisions {
                self.leave(&path, "its manifest is missing; let it go with --drop-dangling-revisions");
            } else if revision.linked {
                self.leave(&path, "a symbolic link leads here");
            } else if needed.contains(&revision.id) {
                self.leave(&path, "its manifest is missing, and a tag or an index that stays leads to it");
            } else {
                going.revisions.push((self.judge.digests.digest(revision.id), Reason::Dangling));
            }
        }
        going.revisions.sort();
    }

    /// Whether a manifest is known not to be in the blob store.
    fn is_lost(&self, id: DigestId) -> bool {
        matches!(self.judge.library.get(id), Some(Loaded::Missing)) && self.is_nowhere(id)
    }

    fn leave(&mut self, path: &Path, why: &str) {
        self.unmended += 1;
        let message = format!("not mended: {why}");
        self.findings.add(Severity::Info, FindingKind::NotMended, Some(&self.repository.name), path, message);
    }
}

/// Blobs that are not what their digests name. They are in the way: a registry takes what is there for what is pushed.
fn put_aside(
    judge: Judge<'_>,
    inventory: &Inventory,
    images: &[RepositoryImages],
    findings: &Findings,
    repair: &mut Repair,
) {
    let Judge { registry, digests, library, blobs } = judge;
    let sizes = images.iter().flat_map(|images| &images.lost).flat_map(|lost| &lost.lacks);
    let suspects = sizes.filter(|lack| matches!(lack.fault, Fault::Size { .. } | Fault::Damaged(_))).map(|it| it.id);
    let faulty = blobs.faulty().filter(|(_, state)| matches!(state, BlobState::Damaged(_))).map(|(id, _)| id);
    let manifests = library.all().filter(|(_, loaded)| matches!(loaded, Loaded::Damaged(_))).map(|(id, _)| id);
    let mut suspects: Vec<(Digest, DigestId)> =
        suspects.chain(faulty).chain(manifests).map(|id| (digests.digest(id), id)).collect();
    suspects.sort_unstable();
    suspects.dedup();
    let examined: Vec<BlobState> = suspects.par_iter().map(|(digest, _)| data::examine(registry, digest)).collect();
    // As long as a damaged manifest lies where it is, a collection keeps whatever it may need. Of a tagged one it does
    // so also when it is missing.
    let is_linked = |id| inventory.repositories.iter().any(|repository| repository.has_revision_link(id));
    let is_manifest = |id| matches!(library.get(id), Some(Loaded::Damaged(_)));
    let tagged: HashSet<DigestId> = images
        .iter()
        .flat_map(|images| images.lost.iter().filter(|lost| lost.tag.is_some()))
        .flat_map(|lost| lost.lacks.iter().map(|lack| lack.id))
        .collect();
    for ((digest, id), state) in suspects.into_iter().zip(examined) {
        let why = match state {
            BlobState::Damaged(_) if is_manifest(id) && !(tagged.contains(&id) && is_linked(id)) => {
                "no tag leads to this manifest by a link, and gc keeps what it may need as long as it is here; rm \
                 takes it out"
                    .to_owned()
            }
            BlobState::Damaged(_) if !digests.is_blob(id) || digests.blobs().is_linked(id) => {
                "a symbolic link leads here".to_owned()
            }
            BlobState::Damaged(_) => match digests.blobs().look_at(registry, &[id], &Meter::new()).pop() {
                Some((_, LookedAt::Sized(sized))) => {
                    repair.plan.blobs.push(BlobPlan { digest, size: sized.size, reason: Reason::Damaged });
                    continue;
                }
                _ => "it cannot be looked at".to_owned(),
            },
            BlobState::Whole(_) => {
                "it is what its digest names, and what a manifest says of it is wrong; push that image anew from where \
                 it was built"
                    .to_owned()
            }
            BlobState::Missing => continue,
            BlobState::Unreadable(why) => format!("it cannot be read ({why})"),
        };
        repair.unmended += 1;
        let message = format!("not mended: {why}");
        findings.add(Severity::Info, FindingKind::NotMended, None, &blob_dir(&digest), message);
    }
}
