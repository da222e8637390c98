//! Check: is everything there that the images need, and is it what it says it is?
//!
//! An fsck for registries. Every tag, revision, layer link and manifest is read and every reference followed; with
//! [`Request::data`] every blob is read as well and held against its digest. Nothing is changed here, and nothing has
//! to stand still: a registry may be written to meanwhile, and what a push adds between two looks is no damage.
//!
//! What is found is told by what a user lost: which tags, on which platforms, for want of what. What can be mended
//! without anybody's help is in [`Checked::repair`], as a plan; carrying it out is for [`sweep`](crate::sweep).
//!
//! This is not how the collector looks at a registry. That one asks what may go, and keeps whatever it cannot
//! understand; it never opens a layer link and never asks for the size of a layer that it keeps.

mod blobs;
mod data;
mod images;
mod links;
mod repair;
mod tell;

use std::path::PathBuf;

use rayon::prelude::*;

pub use blobs::{BlobState, BlobStates};
pub use data::{Read, Request as DataRequest, Subset};
pub use images::{Fault, Lack, Lost, Part, RepositoryImages};
pub use links::{RepositoryLinks, Wrong};
pub use repair::{MOST_ASIDE, Repair, Wishes};
pub use tell::{DamagedBlob, LostImage, Problem};

use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::halt::Halted;
use crate::inventory::{self, DigestId, Digests, Inventory, LinkState, Repository};
use crate::layout::blob_dir;
use crate::listing::library::{Library, Loaded};
use crate::progress::{Phase, Watch};
use crate::registry::Registry;
use images::Judge;

/// What is to be looked at, beyond the structure.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Blobs that are read whole; `None` if their names and sizes will do.
    pub data: Option<DataRequest>,
    /// What is to be mended; `None` if nothing is.
    pub repair: Option<Wishes>,
    /// Blobs of which somebody knows that they are not whole, because they were read before.
    pub known: Vec<(Digest, BlobState)>,
}

/// How much was looked at. All are counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tags that can be pulled, or not.
    pub tags: u64,
    /// Tags that cannot be pulled, wholly or for some platform.
    pub lost_tags: u64,
    /// Manifests with a revision link to which no tag leads.
    pub untagged: u64,
    /// Those of them that cannot be pulled.
    pub lost_untagged: u64,
    /// Manifests that were read.
    pub manifests: u64,
    /// Links that were read.
    pub links: u64,
    /// Links that do not say what their paths say.
    pub wrong_links: u64,
    /// Entries of indexes that were never pushed here.
    pub sparse: u64,
    /// Blobs that no manifest needs. Whether they may go is for the collector to say.
    pub unreferenced_blobs: u64,
    /// The sizes of those, in bytes.
    pub unreferenced_bytes: u64,
    /// The sizes of all blobs that were listed, in bytes.
    pub blob_bytes: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// What is there.
    pub inventory: Inventory,
    /// How much was looked at.
    pub counts: Counts,
    /// What cannot be pulled.
    pub lost: Vec<LostImage>,
    /// Blobs that are missing or not what they should be, those first that the most tags need.
    pub damaged: Vec<DamagedBlob>,
    /// What was read of the blobs; `None` if that was not asked for.
    pub data: Option<Read>,
    /// Blobs that were read, and are not whole or could not be read.
    pub known: Vec<(Digest, BlobState)>,
    /// What is to be mended; empty if that was not asked for.
    pub repair: Repair,
    /// How long each phase took, in seconds.
    pub seconds: Vec<(Phase, f64)>,
}

/// A copy of a blob that a run has put aside. Nobody has looked at its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashCopy {
    /// The run.
    pub run: String,
    /// Where its bytes are, relative to the `v2` folder.
    pub data: PathBuf,
}

/// The copies of a blob that lie in trashes, those of the newest run first.
pub type TrashOf<'a> = &'a (dyn Fn(&Digest) -> Vec<TrashCopy> + Sync);

/// Checks a registry, in parallel on the current rayon pool. Changes nothing.
///
/// What cannot be read is a finding, as an error where it touches something that a tag leads to. If the run is to end
/// while the data is read, what was read counts.
///
/// # Errors
/// [`Halted`], if it is to end before that.
pub fn check(
    registry: &Registry,
    request: &Request,
    trash: TrashOf<'_>,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<Checked, Halted> {
    let mut seconds = Vec::new();
    let mut began = std::time::Instant::now();
    let mut phase_ends = |phase| {
        seconds.push((phase, began.elapsed().as_secs_f64()));
        began = std::time::Instant::now();
    };
    let meter = watch.begin(Phase::Scan);
    let listed_blobs = inventory::list_blobs(registry, findings, &meter);
    let listed = inventory::list_repositories(registry, &listed_blobs.digests, findings, &meter, |_| {});
    let inventory = Inventory::new(listed_blobs, listed);
    let (digests, repositories) = (&inventory.digests, &inventory.repositories);
    let mut library = Library::new(registry, digests, &meter);
    library.read(repositories.iter().flat_map(manifests));
    meter.check()?;
    phase_ends(Phase::Scan);

    let meter = watch.begin(Phase::Check);
    let links: Vec<RepositoryLinks> =
        repositories.par_iter().map(|repository| links::read(registry, digests, repository, &meter)).collect();
    let named = named_blobs(&library, digests);
    let mut states = BlobStates::look(registry, digests, &named, &meter);
    meter.check()?;
    // As large as they are now, whatever comes to be known of them.
    let size = |states: &BlobStates, id| states.size(id).unwrap_or_default();
    let blob_bytes = digests.blobs().ids().map(|id| size(&states, id)).sum();
    phase_ends(Phase::Check);

    for (id, loaded) in library.all() {
        if let (Loaded::Damaged(why), true) = (loaded, digests.is_blob(id)) {
            states.note(id, BlobState::Damaged(why.clone()));
        }
    }
    for (digest, state) in &request.known {
        let id = digests.id(digest);
        if states.is_whole(id) {
            states.note(id, state.clone());
        }
    }
    let data = request.data.as_ref().map(|request| {
        let meter = watch.begin(Phase::Read);
        let read = data::read(registry, digests, &mut states, request, &meter);
        phase_ends(Phase::Read);
        read
    });

    let judge = Judge { registry, digests, library: &library, blobs: &states };
    let images: Vec<RepositoryImages> =
        repositories.par_iter().zip(&links).map(|(repository, links)| judge.images(repository, links)).collect();
    let telling =
        tell::Telling { registry, digests, repositories, images: &images, links: &links, states: &states, trash };
    let lost = telling.lost(findings);
    let damaged = telling.damaged(&library, findings);
    telling.links(findings);
    let repair = match &request.repair {
        Some(wishes) => repair::plan(judge, &inventory, &links, &images, wishes, findings),
        None => Repair::default(),
    };
    let unreferenced = unreferenced(&library, digests, repositories);
    let counts = Counts {
        tags: inventory.tags(),
        untagged: images.iter().map(|images| images.untagged).sum(),
        manifests: library.count(),
        links: links.iter().map(|links| links.read).sum(),
        sparse: images.iter().map(|images| images.sparse).sum(),
        unreferenced_blobs: unreferenced.len() as u64,
        unreferenced_bytes: unreferenced.into_iter().map(|id| size(&states, id)).sum(),
        blob_bytes,
        ..telling.counts()
    };
    drop(library);
    if let Some(DataRequest { subset: Subset::These(these), .. }) = &request.data {
        for digest in these.iter().filter(|digest| states.of(digests.id(digest)) == BlobState::Missing) {
            let message = format!("{digest} was to be read, and is not in the blob store");
            findings.add(Severity::Error, FindingKind::MissingBlob, None, &blob_dir(digest), message);
        }
    }
    let known = states.faulty().map(|(id, state)| (digests.digest(id), state.clone())).collect();
    Ok(Checked { inventory, counts, lost, damaged, data, known, repair, seconds })
}

/// The manifests that a repository names: revisions that have a link, what tags point at, and where a tag's link cannot
/// be used, what it pointed at before.
fn manifests(repository: &Repository) -> Vec<DigestId> {
    let mut wanted = Vec::with_capacity(repository.revisions.len());
    for revision in repository.linked_revisions() {
        wanted.push(revision.id);
        if let LinkState::Target(target) = revision.link {
            wanted.push(target);
        }
    }
    for tag in &repository.tags {
        match &tag.current {
            LinkState::Target(target) => wanted.push(*target),
            LinkState::Absent | LinkState::Damaged(_) | LinkState::Unreadable(_) => {
                wanted.extend(tag.history.iter().flatten());
            }
        }
    }
    wanted
}

/// Blobs that manifests name and that were not listed.
fn named_blobs(library: &Library<'_>, digests: &Digests) -> Vec<DigestId> {
    let mut named: Vec<DigestId> = Vec::new();
    for (_, loaded) in library.all() {
        if let Loaded::Manifest(manifest) = loaded {
            named.extend(manifest.blobs.iter().map(|blob| blob.id).filter(|&id| !digests.is_blob(id)));
        }
    }
    named
}

/// The blobs that no manifest needs which a revision or a tag leads to.
fn unreferenced(library: &Library<'_>, digests: &Digests, repositories: &[Repository]) -> Vec<DigestId> {
    let mut is_needed = vec![false; digests.blobs().len()];
    let mut need = |id: DigestId| {
        if let Some(is_needed) = is_needed.get_mut(id.index()) {
            *is_needed = true;
        }
    };
    for id in library.reached(repositories.iter().flat_map(manifests)) {
        need(id);
        if let Some(manifest) = library.manifest(id) {
            manifest.blobs.iter().for_each(|blob| need(blob.id));
        }
    }
    repositories.iter().flat_map(|repository| &repository.odd_targets).for_each(|&id| need(id));
    digests.blobs().ids().filter(|id| !is_needed[id.index()]).collect()
}
