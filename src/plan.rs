//! The plan: what goes, each with its reason. Pure data.
//!
//! It is made from what was seen and what is live, and knows no file system. Everything in it is sorted, so that two
//! runs over the same tree have the same plan whatever the threads did; a dry run prints it, a sweep carries it out,
//! and nothing is ever removed that is not in it.

mod mend;
mod totals;

pub use mend::{Mend, MendedLink};
pub use totals::{BlobTotals, Count, CountAndBytes, Totals};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::inventory::{BlobSize, DigestId, Digests, LinkState, Repository, SizedBlob};
use crate::layout::{Item, RepositoryName, TagName, UploadId};
use crate::mark::Marking;
use crate::policy::{Cause, Policy, Removal, TagFate, judge};

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// No live manifest references it.
    Unreferenced,
    /// No tag, no tagged index and no live subject leads to it, and untagged manifests were to go.
    Untagged,
    /// Somebody named it to go; or took the image out by hand, and this is what is left of it.
    Deleted,
    /// A retention rule let it go.
    Expired,
    /// It is in a pull-through cache, and was not pulled for long.
    Evicted,
    /// An upload that nobody has finished for too long.
    Stale,
    /// It names a revision that is gone.
    Dangling,
    /// Nothing is left in it.
    Empty,
    /// It is not what its digest names, and in the way of a push that would bring it anew.
    Damaged,
}

impl Reason {
    /// The word for it, as in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Unreferenced => "unreferenced",
            Reason::Untagged => "untagged",
            Reason::Deleted => "deleted",
            Reason::Expired => "expired",
            Reason::Evicted => "evicted",
            Reason::Stale => "stale",
            Reason::Dangling => "dangling",
            Reason::Empty => "empty",
            Reason::Damaged => "damaged",
        }
    }
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Reason {
        match cause {
            Cause::Named | Cause::ByHand => Reason::Deleted,
            Cause::Expired => Reason::Expired,
            Cause::Evicted => Reason::Evicted,
            Cause::Dangling => Reason::Dangling,
            Cause::Untagged => Reason::Untagged,
        }
    }
}

/// What kind of thing an action removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// A tag.
    Tag,
    /// A former target of a tag.
    TagHistory,
    /// A revision link, or the empty folder of one.
    Revision,
    /// A layer link.
    LayerLink,
    /// An upload.
    Upload,
    /// A blob.
    Blob,
    /// A repository's empty folders.
    Repository,
}

/// What goes from one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryPlan {
    /// Which repository.
    pub name: RepositoryName,
    /// Tags that go whole.
    pub tags: Vec<(TagName, Reason)>,
    /// Former targets of tags that stay.
    pub tag_history: Vec<(TagName, Digest, Reason)>,
    /// Revisions.
    pub revisions: Vec<(Digest, Reason)>,
    /// Layer links.
    pub layer_links: Vec<Digest>,
    /// Uploads, with the bytes in them.
    pub uploads: Vec<(UploadId, u64)>,
    /// Whether nothing is left of it then, and its empty folders go as well.
    pub folder: bool,
    /// Whether somebody named the whole repository to go.
    pub is_named: bool,
}

impl RepositoryPlan {
    /// Nothing goes from this one.
    pub(crate) const fn of(name: RepositoryName) -> Self {
        Self {
            name,
            tags: Vec::new(),
            tag_history: Vec::new(),
            revisions: Vec::new(),
            layer_links: Vec::new(),
            uploads: Vec::new(),
            folder: false,
            is_named: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.tags.is_empty()
            && self.tag_history.is_empty()
            && self.revisions.is_empty()
            && self.layer_links.is_empty()
            && self.uploads.is_empty()
            && !self.folder
    }
}

/// A blob that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPlan {
    /// Which.
    pub digest: Digest,
    /// What that frees.
    pub size: BlobSize,
    /// Why.
    pub reason: Reason,
}

/// Everything that goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Per repository, sorted by name; only those of which something goes.
    pub repositories: Vec<RepositoryPlan>,
    /// The blobs, sorted by digest.
    pub blobs: Vec<BlobPlan>,
    /// Links that are written when the rest is done, sorted.
    pub mends: Vec<Mend>,
}

/// One thing that goes, as it is shown and written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action<'a> {
    /// What kind of thing.
    pub kind: ActionKind,
    /// Where, unless it is a blob.
    pub repository: Option<&'a RepositoryName>,
    /// Its digest, if it has one.
    pub digest: Option<&'a Digest>,
    /// Its name: a tag's, or an upload's.
    pub name: Option<&'a str>,
    /// What it frees, in bytes; only blobs and uploads have any to speak of.
    pub bytes: Option<u64>,
    /// What it frees on the disk, in bytes, where that was looked at anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Why.
    pub reason: Reason,
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// All digests.
    pub digests: &'a Digests,
    /// What was seen.
    pub repositories: &'a [Repository],
    /// What is live.
    pub marking: &'a Marking,
    /// Blobs that nothing keeps alive, with their sizes, sorted.
    pub blobs: &'a [SizedBlob],
    /// Uploads of each repository that go, with the bytes in them, in the order of the repositories.
    pub uploads: &'a [Vec<(UploadId, u64)>],
    /// Empty digest folders of revisions that hold something unknown, and so stay.
    pub occupied: &'a [Vec<DigestId>],
    /// What the operator asked for.
    pub policy: &'a Policy,
    /// What was named to go.
    pub removal: &'a Removal,
    /// How much of it goes.
    pub scope: Scope,
    /// Whether repositories of which nothing is left go as well.
    pub remove_empty_repositories: bool,
}

/// How much of what may go does go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    #[default]
    Everything,
    /// The names that somebody gave, and the revisions that they led to. What those leave behind is for the next
    /// collection.
    Named,
}

impl Plan {
    /// Decides what goes.
    pub fn new(basis: Basis<'_>) -> Plan {
        let mut repositories: Vec<RepositoryPlan> = (0..basis.repositories.len())
            .into_par_iter()
            .filter_map(|place| plan_repository(&basis, place))
            .filter(|plan| !plan.is_empty())
            .collect();
        repositories.sort_by(|a, b| a.name.cmp(&b.name));
        let blobs = if basis.scope == Scope::Named { &[] } else { basis.blobs };
        let planned = |blob: &SizedBlob| BlobPlan {
            digest: basis.digests.digest(blob.id),
            size: blob.size,
            reason: Reason::Unreferenced,
        };
        Plan { repositories, blobs: blobs.iter().map(planned).collect(), mends: Vec::new() }
    }

    /// What goes from this repository; `None` if nothing does.
    pub fn repository(&self, name: &str) -> Option<&RepositoryPlan> {
        let place = self.repositories.binary_search_by(|plan| plan.name.as_str().cmp(name)).ok()?;
        Some(&self.repositories[place])
    }

    /// Whether nothing goes, and nothing is written.
    pub fn is_empty(&self) -> bool {
        self.takes_nothing() && self.mends.is_empty()
    }

    /// Whether nothing goes.
    pub fn takes_nothing(&self) -> bool {
        self.repositories.is_empty() && self.blobs.is_empty()
    }

    /// Counts by kind.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for repository in &self.repositories {
            totals.tags.count += repository.tags.len() as u64;
            totals.tag_history.count += repository.tag_history.len() as u64;
            totals.revisions.count += repository.revisions.len() as u64;
            totals.layer_links.count += repository.layer_links.len() as u64;
            totals.uploads.count += repository.uploads.len() as u64;
            totals.uploads.bytes += repository.uploads.iter().map(|(_, bytes)| bytes).sum::<u64>();
            totals.repositories.count += u64::from(repository.folder);
        }
        totals.blobs = BlobTotals::of(self.blobs.iter().map(|blob| blob.size));
        totals
    }

    /// Every action, sorted: by kind, in the order in which a sweep takes them, then by name.
    pub fn actions(&self) -> impl Iterator<Item = Action<'_>> {
        let of = |each: fn(&RepositoryPlan) -> Vec<Action<'_>>| self.repositories.iter().flat_map(each);
        let blobs = self.blobs.iter().map(|blob| Action {
            kind: ActionKind::Blob,
            repository: None,
            digest: Some(&blob.digest),
            name: None,
            bytes: Some(blob.size.bytes),
            disk_bytes: Some(blob.size.disk_bytes),
            reason: blob.reason,
        });
        of(tag_actions)
            .chain(of(history_actions))
            .chain(of(revision_actions))
            .chain(of(layer_link_actions))
            .chain(of(upload_actions))
            .chain(blobs)
            .chain(of(folder_actions))
    }
}

impl Action<'_> {
    /// The thing itself; `None` for a repository's empty folders, which are no single thing.
    pub fn item(&self) -> Option<Item> {
        if self.kind == ActionKind::Blob {
            return self.digest.cloned().map(Item::Blob);
        }
        let repository = self.repository?.clone();
        let tag = || self.name.and_then(|name| TagName::parse(name).ok());
        match self.kind {
            ActionKind::Tag => Some(Item::Tag(repository, tag()?)),
            ActionKind::TagHistory => Some(Item::TagHistory(repository, tag()?, self.digest?.clone())),
            ActionKind::Revision => Some(Item::Revision(repository, self.digest?.clone())),
            ActionKind::LayerLink => Some(Item::LayerLink(repository, self.digest?.clone())),
            ActionKind::Upload => Some(Item::Upload(repository, UploadId::parse(self.name?).ok()?)),
            ActionKind::Blob | ActionKind::Repository => None,
        }
    }
}

fn action<'a>(plan: &'a RepositoryPlan, kind: ActionKind, reason: Reason) -> Action<'a> {
    Action { kind, repository: Some(&plan.name), digest: None, name: None, bytes: None, disk_bytes: None, reason }
}

fn tag_actions(plan: &RepositoryPlan) -> Vec<Action<'_>> {
    plan.tags
        .iter()
        .map(|(tag, reason)| Action { name: Some(tag.as_str()), ..action(plan, ActionKind::Tag, *reason) })
        .collect()
}

fn history_actions(plan: &RepositoryPlan) -> Vec<Action<'_>> {
    plan.tag_history
        .iter()
        .map(|(tag, digest, reason)| Action {
            name: Some(tag.as_str()),
            digest: Some(digest),
            ..action(plan, ActionKind::TagHistory, *reason)
        })
        .collect()
}

fn revision_actions(plan: &RepositoryPlan) -> Vec<Action<'_>> {
    plan.revisions
        .iter()
        .map(|(digest, reason)| Action { digest: Some(digest), ..action(plan, ActionKind::Revision, *reason) })
        .collect()
}

fn layer_link_actions(plan: &RepositoryPlan) -> Vec<Action<'_>> {
    plan.layer_links
        .iter()
        .map(|digest| Action { digest: Some(digest), ..action(plan, ActionKind::LayerLink, Reason::Unreferenced) })
        .collect()
}

fn upload_actions(plan: &RepositoryPlan) -> Vec<Action<'_>> {
    plan.uploads
        .iter()
        .map(|(upload, bytes)| Action {
            name: Some(upload.as_str()),
            bytes: Some(*bytes),
            ..action(plan, ActionKind::Upload, if plan.is_named { Reason::Deleted } else { Reason::Stale })
        })
        .collect()
}

fn folder_actions(plan: &RepositoryPlan) -> Vec<Action<'_>> {
    let reason = if plan.is_named { Reason::Deleted } else { Reason::Empty };
    let each = || action(plan, ActionKind::Repository, reason);
    plan.folder.then(each).into_iter().collect()
}

fn plan_repository(basis: &Basis<'_>, place: usize) -> Option<RepositoryPlan> {
    let repository = &basis.repositories[place];
    let marking = &basis.marking.repositories[place];
    let mut plan = RepositoryPlan::of(repository.removable.clone()?);
    plan.is_named = basis.removal.names_repository(&repository.name);
    let has_all = basis.scope == Scope::Everything || plan.is_named;
    if has_all {
        plan.uploads.clone_from(&basis.uploads[place]);
    }
    let named = repository.tags.iter().enumerate().filter_map(|(place, tag)| {
        let (name, cause) = (tag.removable.clone()?, marking.tag_goes(place)?);
        (has_all || cause == Cause::Named).then(|| (name, Reason::from(cause)))
    });
    plan.tags.extend(named);
    // Nobody knows what is needed in a tainted repository; nobody needs an upload that is stale.
    if marking.tainted {
        return Some(plan);
    }
    let digest = |id| basis.digests.digest(id);

    for revision in repository.revisions.iter().filter(|revision| !revision.linked && !marking.is_live(revision.id)) {
        let cause = marking.let_go(revision.id);
        if !has_all && cause != Some(Cause::Named) {
            continue;
        }
        let reason = match (&revision.link, cause) {
            (LinkState::Absent, _) if basis.occupied[place].contains(&revision.id) => continue,
            (LinkState::Absent, _) => Reason::Empty,
            (LinkState::Target(_), Some(cause)) => Reason::from(cause),
            (LinkState::Target(_), None) if basis.policy.delete_untagged => Reason::Untagged,
            // Every revision that has a link is a root by default; a damaged link is one unless all of it was named.
            (LinkState::Damaged(_) | LinkState::Unreadable(_), Some(Cause::Named)) => Reason::Deleted,
            (LinkState::Target(_) | LinkState::Damaged(_) | LinkState::Unreadable(_), _) => continue,
        };
        plan.revisions.push((digest(revision.id), reason));
    }
    plan.revisions.sort();

    for (tag_place, tag) in repository.tags.iter().enumerate() {
        let Some(name) = &tag.removable else { continue };
        if marking.tag_goes(tag_place).is_some() {
            continue;
        }
        // Judged again: to remember what mark has found would take more memory than that takes time.
        // What is live in this repository stays in the history as well; the current target always is.
        let (TagFate::Root(_) | TagFate::Dangling(_), Ok(history), false) =
            (judge(repository, tag, basis.digests), &tag.history, tag.history_linked)
        else {
            continue;
        };
        for &former in history.iter().filter(|&&former| !marking.is_live(former)) {
            let reason = match repository.revision(former).map(|revision| &revision.link) {
                None | Some(LinkState::Absent) if !has_all => continue,
                None | Some(LinkState::Absent) => Reason::Dangling,
                Some(_) => {
                    let digest = digest(former);
                    let Ok(place) = plan.revisions.binary_search_by(|(revision, _)| revision.cmp(&digest)) else {
                        continue;
                    };
                    plan.revisions[place].1
                }
            };
            plan.tag_history.push((name.clone(), digest(former), reason));
        }
    }
    plan.tag_history.sort();

    if !has_all {
        return Some(plan);
    }
    plan.layer_links = marking.unneeded_links.iter().map(|&link| digest(link)).collect();
    plan.layer_links.sort();

    plan.folder = (basis.remove_empty_repositories || plan.is_named)
        && !repository.has_unknown_entries
        && repository.odd_targets.is_empty()
        && plan.tags.len() == repository.tags.len()
        && plan.revisions.len() == repository.revisions.len()
        && plan.layer_links.len() == repository.layer_links.len()
        && plan.uploads.len() == repository.uploads.len();
    Some(plan)
}

/// How many bytes of garbage blobs each repository has to itself: blobs that go, and that no other repository has a
/// link or a revision for. In the order of the inventory. A blob that no repository has a link for is nobody's.
pub fn exclusive_garbage_bytes(marking: &Marking, repositories: &[Repository], blobs: &[SizedBlob]) -> Vec<u64> {
    #[derive(Clone, Copy, PartialEq)]
    enum Owner {
        Nobody,
        One(u32),
        Several,
    }
    let mut owners = vec![Owner::Nobody; blobs.len()];
    for (place, repository) in repositories.iter().enumerate() {
        let me = Owner::One(u32::try_from(place).unwrap_or(u32::MAX));
        let named = repository.layer_links.iter().copied().chain(repository.revisions.iter().map(|r| r.id));
        // Most are live, and that is cheap to know.
        for id in named.filter(|id| !marking.is_live(*id)) {
            if let Ok(found) = blobs.binary_search_by_key(&id, |blob| blob.id) {
                owners[found] = match owners[found] {
                    Owner::Nobody => me,
                    owner if owner == me => me,
                    _ => Owner::Several,
                };
            }
        }
    }
    let mut bytes = vec![0; repositories.len()];
    for (owner, blob) in owners.iter().zip(blobs) {
        if let Owner::One(place) = owner {
            bytes[*place as usize] += blob.size.bytes;
        }
    }
    bytes
}
