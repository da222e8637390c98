//! Where the bytes are: what each repository, namespace and tag takes, and what its removal would free.
//!
//! Only data is made here, from a scan and a marking that somebody has made: `du` makes them for this alone, and
//! whoever has them already pays for one `stat` of each blob. Nothing is written, and no lock is taken.
//!
//! # Who a blob belongs to
//!
//! The *names* are the leaves of a tree: images by their tags, and for each repository all its untagged manifests
//! together (`reach.rs`). Above them are repositories, namespaces and the store (`tree.rs`). For each blob it is known
//! which names reach it, and so which node of the tree is the lowest that is above all of these (`ledger.rs`).
//!
//! - `total` of a node: the distinct blobs that its names reach;
//! - `exclusive`: those that no name outside of it reaches. They go with the next collection once it is removed;
//! - `shared`: the others, total minus exclusive;
//! - `common`: exclusive to this node and to none of its children, for several of them reach it;
//! - `untagged`: the part of exclusive that untagged manifests alone reach;
//! - `garbage`: what no name reaches, and what links of this repository alone still lead to. It is in none of the
//!   figures above.
//!
//! # Everything adds up
//!
//! Each blob is in one place: exclusive to one repository, common to a namespace or to the store, garbage, or kept for
//! [another reason](Usage::other). So the exclusive figures of all repositories, what namespaces and store have in
//! common, garbage and the others are all blobs, and these are what `du` says of the files. The same holds at each
//! depth of the tree, and inside a repository: the exclusive figures of images, `common`, `untagged` and `kept` are the
//! repository's own.
//!
//! # Damage
//!
//! A blob without data counts nothing and is a finding. What cannot be read makes the figures too small:
//! [`Usage::is_whole`] is then false. Where nobody knows what is needed no blob is garbage, here as in a collection:
//! what nothing that could be read leads to is [`Usage::unknown`]. In a tainted repository everything is kept, so
//! nothing there is exclusive to an image; [`freed_by`] knows what a removal would free all the same.

mod largest;
mod ledger;
mod names;
mod reach;
mod sizes;
mod tree;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

pub use largest::{BlobUsage, Largest, Need};
pub use names::{Asked, Selected, freed_by, select};
pub use sizes::YearMonth;

use crate::collect::{self, Seen, TreeLinks, bytes_below};
use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::halt::Halted;
use crate::interlock::brakes::Brake;
use crate::inventory::{DigestId, Inventory, Repository};
use crate::layout::{DATA, UPLOADS, blob_dir};
use crate::manifest::Store;
use crate::mark::{self, Marking, Wishes};
use crate::plan::{BlobTotals, CountAndBytes};
use crate::policy::{Evicted, Held, Policy, Removal};
use crate::progress::{Meter, Phase, Watch};
use crate::registry::Registry;
use ledger::Ledger;
use reach::{Reach, Walk};
use sizes::Sizes;
use tree::{Balance, STORE, Tree};

/// Where the bytes of a registry are.
#[derive(Debug)]
pub struct Usage {
    /// The store, and in it everything else.
    pub store: Node,
    /// All blobs.
    pub blobs: BlobTotals,
    /// Garbage to which links of several repositories lead, or none; what belongs to one is in that.
    pub garbage: BlobTotals,
    /// What is kept for another reason, and no name reaches: links in odd places, symbolic links, protection.
    pub other: BlobTotals,
    /// What nothing leads to that could be read, while [`Usage::brake`] says that this is not all there is.
    pub unknown: BlobTotals,
    /// Uploads in progress. They are no blobs, and in no other figure.
    pub uploads: CountAndBytes,
    /// When the blobs were pushed, the oldest first; months without any are left out.
    pub months: Vec<Month>,
    /// The largest blobs, the largest first; none where nobody wanted them.
    pub largest: Vec<BlobUsage>,
    /// Why a collection would refuse this registry, if it would.
    pub brake: Option<Brake>,
    /// How many blobs could not be looked at: what they take is in no figure.
    pub unmeasured: u64,
    /// Whether everything could be listed and looked at; if not, the figures are what there is at least.
    pub is_whole: bool,
    sizes: Sizes,
}

/// A node of the tree of names.
#[derive(Debug)]
pub struct Node {
    /// Its whole name, as it may be shown; empty for the store.
    pub name: Box<str>,
    /// The distinct blobs that it reaches.
    pub total: BlobTotals,
    /// Those of them that nothing outside of it reaches.
    pub exclusive: BlobTotals,
    /// Those of them that belong to none of its children, for several of these reach them. In a repository that are
    /// its images and its untagged manifests.
    pub common: BlobTotals,
    /// The part of `exclusive` that only untagged manifests reach.
    pub untagged: BlobTotals,
    /// What no name reaches, and what links of repositories in it still lead to, each blob of one repository only.
    pub garbage: BlobTotals,
    /// How many repositories are in it, a repository itself among them.
    pub repositories: u64,
    /// Namespaces and repositories in it, sorted by the components of their names. A repository that is a namespace as
    /// well is a child of that.
    pub children: Vec<Node>,
    /// What is in it, if it is a repository.
    pub repository: Option<Box<Contents>>,
}

/// What is in a repository.
#[derive(Debug, Default)]
pub struct Contents {
    /// The tags, sorted by name.
    pub tags: Vec<TagUsage>,
    /// What tags lead to, each once.
    pub images: Vec<ImageUsage>,
    /// How many manifests stay to which no tag leads, and which belong to none that a tag leads to.
    pub untagged_manifests: u64,
    /// The part of the repository's `exclusive` that only damage keeps.
    pub kept: BlobTotals,
    /// Whether everything is kept in it, because something could not be understood.
    pub is_tainted: bool,
    /// Uploads in progress.
    pub uploads: CountAndBytes,
}

/// A tag.
#[derive(Clone, Debug)]
pub struct TagUsage {
    /// Its name, as it may be shown.
    pub name: Arc<str>,
    /// Which of the images it leads to; `None` where it belongs to another image (a signature), or leads nowhere.
    pub image: Option<u32>,
    /// When it was pushed, in seconds since 1970.
    pub pushed: Option<i64>,
}

/// What one or several tags lead to, with all that goes with it: platforms, signatures, SBOMs.
#[derive(Clone, Debug)]
pub struct ImageUsage {
    /// The manifest; `None` for a tag whose link cannot be used.
    pub digest: Option<Digest>,
    /// The tags, by their places.
    pub tags: Vec<u32>,
    /// The distinct blobs that it reaches.
    pub total: BlobTotals,
    /// Those of them that nothing else reaches: what goes if all of its tags do.
    pub exclusive: BlobTotals,
}

/// What was pushed in a month. Each blob is in one of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    /// Which.
    pub month: YearMonth,
    /// Reached from one repository only, by a tag.
    pub exclusive: BlobTotals,
    /// Reached from several repositories, by a tag.
    pub shared: BlobTotals,
    /// Reached by untagged manifests only.
    pub untagged: BlobTotals,
    /// Reached by nothing.
    pub garbage: BlobTotals,
    /// Kept for another reason, or nobody knows.
    pub other: BlobTotals,
}

impl Node {
    /// What something outside of it reaches as well.
    pub fn shared(&self) -> BlobTotals {
        Balance { added: self.total, taken: self.exclusive }.left()
    }

    /// All nodes below it, and itself, before what is in it.
    pub fn walk(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        Box::new(std::iter::once(self).chain(self.children.iter().flat_map(Node::walk)))
    }
}

impl Contents {
    /// What a tag reaches, and what its removal would free: nothing while another tag leads to the same image.
    pub fn of_tag(&self, tag: &TagUsage) -> (BlobTotals, BlobTotals) {
        let Some(image) = tag.image.and_then(|image| self.images.get(image as usize)) else {
            return (BlobTotals::default(), BlobTotals::default());
        };
        (image.total, if image.tags.len() == 1 { image.exclusive } else { BlobTotals::default() })
    }

    /// When an image was pushed last, in seconds since 1970.
    pub fn pushed(&self, image: &ImageUsage) -> Option<i64> {
        image.tags.iter().filter_map(|&tag| self.tags.get(tag as usize)?.pushed).max()
    }
}

impl Usage {
    /// The images with the most exclusive bytes, each with its repository, the largest first; those that have none are
    /// left out.
    pub fn largest_images(&self, most: usize) -> Vec<(&Node, &Contents, &ImageUsage)> {
        let mut largest = Vec::new();
        for node in self.store.walk() {
            let Some(contents) = &node.repository else { continue };
            for image in contents.images.iter().filter(|image| image.exclusive.bytes > 0) {
                largest.push((node, &**contents, image));
            }
        }
        let key = |&(node, _, image): &(&Node, &Contents, &ImageUsage)| {
            (std::cmp::Reverse(image.exclusive.bytes), node.name.clone(), image.digest.clone())
        };
        if largest.len() > most {
            largest.select_nth_unstable_by_key(most, key);
            largest.truncate(most);
        }
        largest.sort_by_cached_key(key);
        largest
    }

    /// All garbage, whoever's it is.
    pub fn all_garbage(&self) -> BlobTotals {
        self.garbage + self.store.garbage
    }

    /// What several repositories reach, each blob once.
    pub fn shared_between_repositories(&self) -> BlobTotals {
        let spaces = self.store.walk().filter(|node| node.repository.is_none());
        spaces.fold(BlobTotals::default(), |sum, node| sum + node.common)
    }
}

/// How often somebody may push while this is looking before it takes what it has seen.
const TRIES: usize = 3;

/// Scans and marks as a collection without any option would, in parallel on the current rayon pool.
///
/// Blobs are listed first. So an image that is pushed meanwhile would lack what it brought with it: then all of it is
/// looked at again, up to twice.
///
/// # Errors
/// [`Halted`].
pub fn look(registry: &Registry, findings: &Findings, watch: &dyn Watch) -> Result<(Seen, Marking), Halted> {
    let policy = Policy::default();
    let mut tries = 0;
    loop {
        tries += 1;
        let said = Findings::default();
        let seen = collect::see(registry, &policy, false, &said, &watch.begin(Phase::Scan))?;
        let meter = watch.begin(Phase::Mark);
        let marking = mark(registry, &seen, &policy, &Removal::default(), &said, &meter);
        meter.check()?;
        if tries == TRIES || !has_grown(registry, &seen) {
            findings.take_all(said);
            return Ok((seen, marking));
        }
    }
}

fn mark(
    registry: &Registry,
    seen: &Seen,
    policy: &Policy,
    removal: &Removal,
    findings: &Findings,
    meter: &Meter,
) -> Marking {
    let Seen { inventory, store } = seen;
    let links = TreeLinks { registry, digests: &inventory.digests };
    let (held, young) = (Held::default(), HashSet::new());
    let now = inventory.began;
    let evicted = Evicted::default();
    let wishes = Wishes { policy, held: &held, removal, evicted: &evicted, young: &young, young_since: None, now };
    mark::mark(inventory, store, &links, wishes, findings, meter)
}

/// Whether a blob is here that an image needs, and that was not when the blobs were listed.
fn has_grown(registry: &Registry, seen: &Seen) -> bool {
    let Seen { inventory: Inventory { digests, repositories, .. }, store } = seen;
    // What lies behind a symbolic link, or in a folder that cannot be listed, is never in the table.
    if !digests.blobs().is_complete() {
        return false;
    }
    let is_there = |id: DigestId| {
        let data = blob_dir(&digests.digest(id)).join(DATA);
        matches!(registry.v2().look(data), Ok(Some(_)))
    };
    repositories.par_iter().any(|repository| {
        let revisions =
            repository.revisions.iter().filter_map(|revision| Some((revision.id, store.manifest(revision.id)?)));
        revisions.into_iter().any(|(id, manifest)| {
            let mut absent = std::iter::once(&id).chain(manifest.blobs()).filter(|id| !digests.is_blob(**id));
            absent.any(|&id| is_there(id))
        })
    })
}

/// Looks at every blob once, and works out whose it is, in parallel on the current rayon pool.
///
/// The inventory, the store and the marking are of one scan. Where a policy lets names go, these are no names here, and
/// what they alone reached is garbage. What the scan had to say is not said again; blobs that have no size are.
///
/// # Errors
/// [`Halted`].
pub fn measure(
    registry: &Registry,
    parts: (&Inventory, &Store),
    marking: &Marking,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<Usage, Halted> {
    measure_and_list(registry, parts, marking, Largest::default(), findings, watch)
}

/// [`measure`], and of the largest blobs who needs each of them.
///
/// # Errors
/// [`Halted`].
pub fn measure_and_list(
    registry: &Registry,
    (inventory, store): (&Inventory, &Store),
    marking: &Marking,
    largest: Largest,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<Usage, Halted> {
    let Inventory { digests, repositories, .. } = inventory;
    let meter = watch.begin(Phase::Measure);
    let sizes = Sizes::look(registry, digests.blobs(), &meter);
    meter.check()?;
    let size_of = |id: DigestId| sizes.one(id);
    let chosen = largest::choose(&sizes, digests.blobs().ids(), largest);
    let marked = repositories.par_iter().zip(&marking.repositories);
    let reaches: Vec<Reach> = marked
        .map(|(repository, marked)| {
            let links = TreeLinks { registry, digests };
            Walk::new(links, store, repository, (marking, marked), &size_of, &chosen).run()
        })
        .collect();
    let tree = Tree::of(repositories.iter().map(|repository| &*repository.name));
    let brake = brake(inventory, marking);
    let ledger = Ledger::new(inventory, marking, &tree, &reaches, &sizes, brake.is_none());
    let largest = largest.tell(&chosen, (inventory, marking), &reaches, (&ledger, &sizes), brake.is_none());
    sizes.report(digests, |id| ledger.is_tagged(id), findings);

    let uploads: Vec<CountAndBytes> =
        repositories.par_iter().map(|repository| uploads(registry, repository, findings)).collect();
    let unmeasured = sizes.unknown();
    let mut contents: Vec<Option<Box<Contents>>> = (0..repositories.len())
        .into_par_iter()
        .map(|place| {
            let contents = ledger.contents(inventory, marking, &reaches[place], place);
            Some(Box::new(Contents { uploads: uploads[place], ..contents }))
        })
        .collect();
    let all_uploads = uploads.iter().fold(CountAndBytes::default(), |sum, more| CountAndBytes {
        count: sum.count + more.count,
        bytes: sum.bytes + more.bytes,
    });
    let children = tree.children();
    let store = ledger.node(&tree, &children, STORE, &mut contents);
    let Ledger { garbage, other, unknown, months, .. } = ledger;
    let is_whole = unmeasured == 0 && brake.is_none() && digests.blobs().is_complete();
    let blobs = sizes.sum(digests.blobs().ids());
    let uploads = all_uploads;
    Ok(Usage { store, blobs, garbage, other, unknown, uploads, months, largest, brake, unmeasured, is_whole, sizes })
}

/// Why a collection would refuse.
fn brake(inventory: &Inventory, marking: &Marking) -> Option<Brake> {
    collect::brake(inventory, &marking.all_unlistable(inventory), None)
}

fn uploads(registry: &Registry, repository: &Repository, findings: &Findings) -> CountAndBytes {
    let mut sum = CountAndBytes::default();
    for upload in &repository.uploads {
        sum.count += 1;
        match bytes_below(registry, &repository.path.join(UPLOADS).join(upload.id.as_str()), 0) {
            Ok(bytes) => sum.bytes += bytes,
            Err(unreadable) => {
                let message =
                    format!("an upload that cannot be looked at ({}): its bytes are missing", unreadable.cause);
                let (name, path): (_, &Path) = (Some(&*repository.name), &unreadable.path);
                findings.add(Severity::Warning, FindingKind::Unreadable, name, path, message);
            }
        }
    }
    sum
}
