//! See and decide: from an open registry to a plan. Nothing here changes anything; a dry run ends where this ends.

use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;

use crate::age::YoungSince;
use crate::finding::{FindingKind, Findings, Severity};
use crate::interlock::brakes::{self, Brake, Percent};
use crate::inventory::{self, DigestId, Inventory, LinkState, Repository};
use crate::layout::{LINK, MANIFESTS, REVISIONS, SIGNATURES, UPLOADS, UploadId, component, is_debris};
use crate::manifest::{self, Reading, Store};
use crate::mark::{self, Links, Marking};
use crate::plan::{self, Basis, Plan};
use crate::policy::Policy;
use crate::progress::{Meter, Phase, Watch};
use crate::registry::{Kind, Registry, Unreadable};

/// What the operator asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which names are roots.
    pub policy: Policy,
    /// Uploads go that began this many seconds ago, or earlier.
    pub uploads_older_than: i64,
    /// Repositories of which nothing is left go as well.
    pub remove_empty_repositories: bool,
    /// What is newer stays, whatever it is.
    pub young_since: Option<YoungSince>,
    /// If more of the blobs would go than this, nothing goes.
    pub max_delete: Option<Percent>,
    /// How many repositories the last completed run saw: if fewer than half of them are left, nothing goes.
    pub last_repositories: Option<u64>,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// What was seen, and what follows from it.
#[derive(Debug)]
pub struct Collection {
    /// What is there.
    pub inventory: Inventory,
    /// What is live.
    pub marking: Marking,
    /// What goes; what would go, if it is too much. Empty if any other brake stops the run.
    pub plan: Plan,
    /// How many blobs stay only because they are too young.
    pub young_blobs: u64,
    /// Garbage bytes that each repository has to itself, in the order of the inventory.
    pub exclusive_garbage_bytes: Vec<u64>,
    /// Why nothing may be removed, although the registry may be read-only.
    pub brake: Option<Brake>,
    /// How long each phase took, in seconds.
    pub seconds: Vec<(Phase, f64)>,
}

/// Scans, marks and plans, in parallel on the current rayon pool.
pub fn collect(registry: &Registry, options: Options, findings: &Findings, watch: &dyn Watch) -> Collection {
    let mut seconds = Vec::new();
    let mut began = Instant::now();
    let mut phase_ends = |phase| {
        seconds.push((phase, began.elapsed().as_secs_f64()));
        began = Instant::now();
    };

    let (inventory, store) = scan(registry, options.young_since.is_some(), findings, &watch.begin(Phase::Scan));
    phase_ends(Phase::Scan);

    let meter = watch.begin(Phase::Mark);
    let Inventory { digests, repositories, .. } = &inventory;
    let links = TreeLinks { registry, inventory: &inventory };
    let young = options.young_since.map(|since| since.manifests(repositories, &store)).unwrap_or_default();
    let mut marking = mark::mark(&inventory, &store, &links, options.policy, &young, findings, &meter);
    drop(store);
    phase_ends(Phase::Mark);

    let meter = watch.begin(Phase::Plan);
    let hidden = marking.repositories.iter().filter_map(|marked| marked.unlistable.clone());
    let unlistable: Vec<String> = inventory.unlistable.iter().map(ToString::to_string).chain(hidden).collect();
    let brake = brakes::check(brakes::Seen {
        blobs: digests.blobs().len(),
        repositories: repositories.len(),
        revisions: inventory.revisions(),
        has_repositories_folder: inventory.has_repositories_folder,
        unlistable: &unlistable,
        last_repositories: options.last_repositories,
    })
    .err();
    let mut young_blobs = 0;
    let (plan, exclusive_garbage_bytes) = match brake {
        Some(_) => (Plan::default(), vec![0; repositories.len()]),
        None => {
            let unreferenced: Vec<DigestId> = digests.blobs().ids().filter(|&id| !marking.is_live(id)).collect();
            let mut blobs = digests.blobs().measure(registry, &unreferenced, findings, &meter);
            if let Some(since) = options.young_since {
                let mut young = young;
                young.extend(since.layers(registry, &inventory, &marking, findings));
                young.extend(since.blobs(&blobs));
                marking.keep_all(digests, &young);
                let unreferenced = blobs.len();
                blobs.retain(|blob| !young.contains(&blob.id));
                young_blobs = (unreferenced - blobs.len()) as u64;
            }
            let stale_uploads: Vec<_> = repositories
                .par_iter()
                .map(|repository| stale_uploads(registry, repository, options, findings))
                .collect();
            let occupied: Vec<_> = repositories
                .par_iter()
                .map(|repository| occupied(registry, &inventory, repository, findings))
                .collect();
            let plan = Plan::new(Basis {
                digests,
                repositories,
                marking: &marking,
                blobs: &blobs,
                stale_uploads: &stale_uploads,
                occupied: &occupied,
                policy: options.policy,
                remove_empty_repositories: options.remove_empty_repositories,
            });
            let exclusive = plan::exclusive_garbage_bytes(&marking, repositories, &blobs);
            (plan, exclusive)
        }
    };
    let brake = brake.or_else(|| {
        let allowed = options.max_delete?;
        brakes::check_share(plan.blobs.len(), digests.blobs().len(), allowed).err()
    });
    phase_ends(Phase::Plan);
    Collection { inventory, marking, plan, young_blobs, exclusive_garbage_bytes, brake, seconds }
}

/// Lists everything that is there, and reads what can decide: links and manifests. A manifest is read as soon as the
/// repository is known that names it, while others are still being listed.
///
/// Blobs come first, and are all listed before the first link is read: a blob that is pushed meanwhile is then not in
/// the table, and so can never be garbage.
fn scan(registry: &Registry, wants_times: bool, findings: &Findings, meter: &Meter) -> (Inventory, Store) {
    let blobs = inventory::list_blobs(registry, findings, meter);
    let manifests = Reading::new(registry, &blobs.digests, meter, wants_times);
    let listed = rayon::in_place_scope(|scope| {
        inventory::list_repositories(registry, &blobs.digests, findings, meter, |repository| {
            manifests.read_soon(scope, mark::manifests_to_read(repository));
        })
    });
    let store = manifests.into_store();
    (Inventory::new(blobs, listed), store)
}

/// Links in the tree.
struct TreeLinks<'a> {
    registry: &'a Registry,
    inventory: &'a Inventory,
}

impl Links for TreeLinks<'_> {
    fn layer_link(&self, repository: &Repository, id: DigestId) -> LinkState {
        repository.read_layer_link(self.registry, &self.inventory.digests, id)
    }

    fn signatures(&self, repository: &Repository, id: DigestId) -> Result<Vec<DigestId>, String> {
        let digests = &self.inventory.digests;
        let digest = digests.digest(id);
        let revisions = repository.path.join(MANIFESTS).join(REVISIONS);
        let revision = revisions.join(digest.algorithm().name()).join(digest.hex());
        manifest::signature_links(self.registry, digests, &revision).map_err(|unreadable| unreadable.to_string())
    }
}

/// Uploads that began too long ago, with the bytes in them.
fn stale_uploads(
    registry: &Registry,
    repository: &Repository,
    options: Options,
    findings: &Findings,
) -> Vec<(UploadId, u64)> {
    let mut stale = Vec::new();
    for upload in &repository.uploads {
        if options.now.saturating_sub(upload.started) < options.uploads_older_than {
            continue;
        }
        let path = repository.path.join(UPLOADS).join(upload.id.as_str());
        match bytes_below(registry, &path, 0) {
            Ok(bytes) => stale.push((upload.id.clone(), bytes)),
            Err(unreadable) => {
                let message = format!("a stale upload that cannot be looked at ({}); kept", unreadable.cause);
                let name = Some(&*repository.name);
                findings.add(Severity::Warning, FindingKind::Unreadable, name, &unreadable.path, message);
            }
        }
    }
    stale
}

/// The sizes of all files below a folder. An upload holds `data`, `startedat`, and `hashstates/<algorithm>/<offset>`.
fn bytes_below(registry: &Registry, path: &Path, depth: u32) -> Result<u64, Unreadable> {
    const DEEPEST: u32 = 8;
    let Some(dir) = registry.v2().open(path)? else { return Ok(0) };
    let mut names = Vec::new();
    dir.for_each(|name, kind| names.push((name.to_owned(), kind)))?;
    let mut bytes = 0;
    for (name, kind) in names {
        let name = component(&name);
        match kind {
            Kind::Directory if depth < DEEPEST => bytes += bytes_below(registry, &path.join(name), depth + 1)?,
            Kind::File => bytes += dir.look(name)?.map_or(0, |looked| looked.bytes),
            _ => {}
        }
    }
    Ok(bytes)
}

/// Digest folders of removed revisions that are not empty: debris and signatures may go with them, anything else may
/// not.
fn occupied(registry: &Registry, inventory: &Inventory, repository: &Repository, findings: &Findings) -> Vec<DigestId> {
    let mut occupied = Vec::new();
    for revision in repository.revisions.iter().filter(|revision| revision.link == LinkState::Absent) {
        let digest = inventory.digests.digest(revision.id);
        let revisions = repository.path.join(MANIFESTS).join(REVISIONS);
        let path = revisions.join(digest.algorithm().name()).join(digest.hex());
        let mut strange = None;
        let listed = registry.v2().open(&path).and_then(|dir| match dir {
            Some(dir) => dir.for_each(|name, _| {
                let is_known = is_debris(name) || name == SIGNATURES.as_bytes() || name == LINK.as_bytes();
                if !is_known {
                    strange = Some(path.join(component(name)));
                }
            }),
            None => Ok(()),
        });
        let (severity, message, path) = match (listed, strange) {
            (Ok(()), None) => continue,
            (Ok(()), Some(path)) => (Severity::Info, "not part of a registry's layout; kept".to_owned(), path),
            (Err(error), _) => (Severity::Warning, format!("cannot be listed ({}); kept", error.cause), error.path),
        };
        let kind = if severity == Severity::Info { FindingKind::UnknownEntry } else { FindingKind::Unreadable };
        findings.add(severity, kind, Some(&repository.name), &path, message);
        occupied.push(revision.id);
    }
    occupied
}
