//! The plan: what goes, each with its reason. Pure data.
//!
//! It is made from what was seen and what is live, and knows no file system. Everything in it is sorted, so that two
//! runs over the same tree have the same plan whatever the threads did; a dry run prints it, a sweep carries it out,
//! and nothing is ever removed that is not in it.

use std::ops::Add;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::digest::Digest;
use crate::inventory::{BlobSize, DigestId, Digests, LinkState, Repository, SizedBlob};
use crate::layout::{CURRENT, Item, RepositoryName, TagName, UploadId};
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

/// Which link is written. In the order in which they are: what a link leads to comes before the link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MendedLink {
    /// A layer link.
    LayerLink,
    /// A revision link.
    Revision,
    /// The link of a former target of a tag.
    TagHistory(TagName),
    /// The current link of a tag.
    Tag(TagName),
}

/// A link that is written, because it is known what it has to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mend {
    /// Which link.
    pub link: MendedLink,
    /// In which repository.
    pub repository: RepositoryName,
    /// What it will name.
    pub digest: Digest,
    /// What it was before, in a few words.
    pub was: String,
    /// What it names instead, if that is a digest.
    pub instead_of: Option<Digest>,
}

impl Mend {
    /// The folder that holds the link, relative to the `v2` folder.
    pub fn folder(&self) -> PathBuf {
        let (repository, digest) = (self.repository.clone(), self.digest.clone());
        match &self.link {
            MendedLink::LayerLink => Item::LayerLink(repository, digest).path(),
            MendedLink::Revision => Item::Revision(repository, digest).path(),
            MendedLink::TagHistory(tag) => Item::TagHistory(repository, tag.clone(), digest).path(),
            MendedLink::Tag(tag) => Item::Tag(repository, tag.clone()).path().join(CURRENT),
        }
    }

    /// The folder of the tag, where it is one's.
    pub fn tag_folder(&self) -> Option<PathBuf> {
        Some(Item::Tag(self.repository.clone(), self.tag()?.clone()).path())
    }

    /// What kind of link it is, as it stands in the report.
    pub fn kind(&self) -> ActionKind {
        match &self.link {
            MendedLink::LayerLink => ActionKind::LayerLink,
            MendedLink::Revision => ActionKind::Revision,
            MendedLink::TagHistory(_) => ActionKind::TagHistory,
            MendedLink::Tag(_) => ActionKind::Tag,
        }
    }

    /// The tag, where it is one's.
    pub fn tag(&self) -> Option<&TagName> {
        match &self.link {
            MendedLink::TagHistory(tag) | MendedLink::Tag(tag) => Some(tag),
            MendedLink::LayerLink | MendedLink::Revision => None,
        }
    }
}

impl Serialize for Mend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Mend", 5)?;
        fields.serialize_field("kind", &self.kind())?;
        fields.serialize_field("repository", &self.repository)?;
        fields.serialize_field("name", &self.tag())?;
        fields.serialize_field("digest", &self.digest)?;
        fields.serialize_field("was", &self.was)?;
        fields.end()
    }
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

/// How many of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub count: u64,
}

/// How many of a kind, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CountAndBytes {
    /// How many.
    pub count: u64,
    /// Their sizes, in bytes.
    pub bytes: u64,
}

/// How many blobs, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlobTotals {
    /// How many.
    pub count: u64,
    /// Their sizes, in bytes.
    pub bytes: u64,
    /// What they take on the disk, in bytes.
    pub disk_bytes: u64,
}

impl BlobTotals {
    /// Sums them up.
    pub fn of(sizes: impl Iterator<Item = BlobSize>) -> BlobTotals {
        sizes.fold(BlobTotals::default(), |mut totals, size| {
            totals.count += 1;
            totals.bytes += size.bytes;
            totals.disk_bytes += size.disk_bytes;
            totals
        })
    }
}

impl Add for BlobTotals {
    type Output = BlobTotals;

    fn add(self, more: BlobTotals) -> BlobTotals {
        BlobTotals {
            count: self.count + more.count,
            bytes: self.bytes + more.bytes,
            disk_bytes: self.disk_bytes + more.disk_bytes,
        }
    }
}

/// Counts by kind: of what a plan names, or of what was really removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Blobs.
    pub blobs: BlobTotals,
    /// Revisions.
    pub revisions: Count,
    /// Tags.
    pub tags: Count,
    /// Former targets of tags.
    pub tag_history: Count,
    /// Layer links.
    pub layer_links: Count,
    /// Uploads.
    pub uploads: CountAndBytes,
    /// Repositories.
    pub repositories: Count,
}

impl Add for Totals {
    type Output = Totals;

    fn add(mut self, more: Totals) -> Totals {
        self.blobs.count += more.blobs.count;
        self.blobs.bytes += more.blobs.bytes;
        self.blobs.disk_bytes += more.blobs.disk_bytes;
        self.revisions.count += more.revisions.count;
        self.tags.count += more.tags.count;
        self.tag_history.count += more.tag_history.count;
        self.layer_links.count += more.layer_links.count;
        self.uploads.count += more.uploads.count;
        self.uploads.bytes += more.uploads.bytes;
        self.repositories.count += more.repositories.count;
        self
    }
}

impl Totals {
    /// Whether it is nothing at all.
    pub fn is_nothing(&self) -> bool {
        *self == Totals::default()
    }

    /// Bytes of blobs and uploads.
    pub fn bytes(&self) -> u64 {
        self.blobs.bytes + self.uploads.bytes
    }
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
