//! See and decide: from an open registry to a plan. Nothing here changes anything; a dry run ends where this ends.

mod doubts;

use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use crate::age::YoungSince;
use crate::cache::{self, Eviction};
use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::halt::Halted;
use crate::interlock::brakes::{self, Brake, Percent};
use crate::inventory::{self, DigestId, Digests, Inventory, LinkState, Repository, Tag};
use crate::layout::{INDEX, LINK, REPOSITORIES, SIGNATURES, UPLOADS, UploadId, component, is_debris};
use crate::manifest::{self, Expect, Reading, Store};
use crate::mark::{self, Links, Marking, Wishes};
use crate::plan::{self, Basis, BlobTotals, CountAndBytes, Plan, Scope};
use crate::policy::protect::Unknown;
use crate::policy::{Evicted, Policy, Removal};
use crate::progress::{Meter, Phase, Watch};
use crate::registry::{Kind, Registry, Unreadable};

/// How old an upload has to be to go unless somebody says otherwise, in seconds: the default of the registry's own
/// upload purger, a week.
pub const UPLOADS_OLDER_THAN: i64 = 7 * 24 * 3600;

/// What the operator asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Which names are roots.
    pub policy: &'a Policy,
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
    /// How much of what may go does go.
    pub scope: Scope,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// Why what was named cannot go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistaken {
    /// Something is not there, or cannot be removed: a line for each.
    Unknown(Vec<String>),
    /// Something that stays needs it: a line for each.
    Needed(Vec<String>),
}

/// What a collection would free after what was named has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NextGc {
    /// All blobs that it would take.
    pub blobs: BlobTotals,
    /// Those of them that it would not have taken before.
    pub of_these_names: BlobTotals,
    /// All uploads that it would take.
    pub uploads: CountAndBytes,
}

impl NextGc {
    /// Bytes of blobs and uploads.
    pub fn bytes(&self) -> u64 {
        self.blobs.bytes + self.uploads.bytes
    }
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
    /// Why what was named cannot go; the plan is empty then.
    pub mistaken: Option<Mistaken>,
    /// What the next collection would free; `None` where nothing was named.
    pub next_gc: Option<NextGc>,
    /// What a pull-through cache is to be without; `None` where it was not to become smaller.
    pub eviction: Option<Eviction>,
    /// How long each phase took, in seconds.
    pub seconds: Vec<(Phase, f64)>,
}

/// Everything that is there, listed, and every manifest that anything names, read.
#[derive(Debug)]
pub struct Seen {
    /// What is there.
    pub inventory: Inventory,
    /// The manifests.
    pub store: Store,
}

impl Seen {
    /// Both.
    pub fn parts(&self) -> (&Inventory, &Store) {
        (&self.inventory, &self.store)
    }
}

/// Scans, marks and plans, in parallel on the current rayon pool.
///
/// # Errors
/// [`Halted`]: what was seen in part is never decided upon.
pub fn collect(
    registry: &Registry,
    options: Options<'_>,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<Collection, Halted> {
    Ok(collect_and(registry, options, findings, watch, drop)?.0)
}

/// [`collect`] for somebody who asks on: the manifests go to `then` once nothing here needs them. A collection drops
/// them, for they are most of what it remembers.
///
/// # Errors
/// As [`collect`].
pub fn collect_and<T>(
    registry: &Registry,
    options: Options<'_>,
    findings: &Findings,
    watch: &dyn Watch,
    then: impl FnOnce(Store) -> T,
) -> Result<(Collection, T), Halted> {
    let mut seconds = Vec::new();
    let mut began = Instant::now();
    let mut phase_ends = |phase| {
        seconds.push((phase, began.elapsed().as_secs_f64()));
        began = Instant::now();
    };

    let wants_times = options.young_since.is_some();
    let Seen { inventory, store } = see(registry, options.policy, wants_times, findings, &watch.begin(Phase::Scan))?;
    phase_ends(Phase::Scan);

    let meter = watch.begin(Phase::Mark);
    let Inventory { digests, repositories, .. } = &inventory;
    let links = TreeLinks { registry, digests };
    let young = options.young_since.map(|since| since.manifests(repositories, &store)).unwrap_or_default();
    let (held, unknown) = options.policy.protected.look_up(repositories, digests);
    report_unknown(&unknown, findings);
    let (removal, mut mistaken) = match options.policy.request.look_up(repositories, digests) {
        Ok(removal) => (removal, None),
        Err(wrong) => (Removal::default(), Some(Mistaken::Unknown(wrong))),
    };
    let nothing = Evicted::default();
    let mut wishes = Wishes {
        policy: options.policy,
        held: &held,
        removal: &removal,
        evicted: &nothing,
        young: &young,
        young_since: options.young_since.map(|since| since.0),
        now: options.now,
    };
    let schedule = options.policy.cache.map_or(Ok(None), |limits| cache::check(registry, &inventory, limits));
    let evicting = options.policy.cache.map(|limits| -> Result<_, Halted> {
        let hollow = cache::hollow(&inventory, &store, wishes);
        let wishes = Wishes { evicted: &hollow, ..wishes };
        // What there is to say is said about the cache as it will be.
        let marking = mark::mark(&inventory, &store, &links, wishes, &Findings::default(), &meter);
        // Of a part nothing is chosen.
        meter.check()?;
        // Without a schedule that can be used nothing goes, and that is said.
        let schedule = schedule.as_ref().ok().and_then(Option::as_ref);
        Ok(cache::evict(registry, (&inventory, &store), wishes, &marking, (limits, schedule), findings, &meter))
    });
    let (evicted, mut eviction) = evicting.transpose()?.unzip();
    if let Some(evicted) = &evicted {
        wishes.evicted = evicted;
    }
    let mut marking = mark::mark(&inventory, &store, &links, wishes, findings, &meter);
    let before = (!removal.is_empty()).then(|| {
        let nothing = Removal::default();
        // What there is to say was said about the tree as it will be.
        mark::mark(&inventory, &store, &links, Wishes { removal: &nothing, ..wishes }, &Findings::default(), &meter)
    });
    meter.check()?;
    let needed = who_needs(&removal, &inventory, &marking, &store);
    if !needed.is_empty() {
        mistaken = Some(Mistaken::Needed(needed));
    }
    let manifests = then(store);
    if let Some(retention) = &options.policy.retention {
        doubts::about_rules(retention, &inventory, &marking, findings);
    }
    phase_ends(Phase::Mark);

    let meter = watch.begin(Phase::Plan);
    let brake = brake(&inventory, &marking.all_unlistable(&inventory), options.last_repositories);
    let (schedule, brake) = match schedule {
        Ok(schedule) => (schedule, brake),
        Err(unusable) => (None, brake.or(Some(unusable))),
    };
    let mut young_blobs = 0;
    let mut next_gc = None;
    let (plan, exclusive_garbage_bytes) = match (&brake, &mistaken) {
        (Some(_), _) | (_, Some(_)) => (Plan::default(), vec![0; repositories.len()]),
        (None, None) => {
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
            let uploads: Vec<_> = repositories
                .par_iter()
                .map(|repository| {
                    let is_named = removal.names_repository(&repository.name);
                    uploads(registry, repository, is_named, options, findings)
                })
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
                uploads: &uploads,
                occupied: &occupied,
                policy: options.policy,
                removal: &removal,
                scope: options.scope,
                remove_empty_repositories: options.remove_empty_repositories,
            });
            let exclusive = plan::exclusive_garbage_bytes(&marking, repositories, &blobs);
            let left = repositories.iter().zip(&uploads).filter(|(seen, _)| !removal.names_repository(&seen.name));
            let left: Vec<u64> = left.flat_map(|(_, uploads)| uploads).map(|(_, bytes)| *bytes).collect();
            next_gc = before.map(|before| NextGc {
                uploads: CountAndBytes { count: left.len() as u64, bytes: left.iter().sum() },
                blobs: BlobTotals::of(blobs.iter().map(|blob| blob.size)),
                of_these_names: BlobTotals::of(
                    blobs.iter().filter(|blob| before.is_live(blob.id)).map(|blob| blob.size),
                ),
            });
            what_is_left(&removal, &plan, &inventory, findings);
            (plan, exclusive)
        }
    };
    if let Some(eviction) = &mut eviction {
        eviction.settle(&inventory, &marking, &plan, schedule.as_ref());
    }
    let brake = brake.or_else(|| {
        let allowed = options.max_delete?;
        brakes::check_share(plan.blobs.len(), digests.blobs().len(), allowed).err()
    });
    phase_ends(Phase::Plan);
    let collection = Collection {
        inventory,
        marking,
        plan,
        young_blobs,
        exclusive_garbage_bytes,
        brake,
        mistaken,
        next_gc,
        eviction,
        seconds,
    };
    // Blobs that nobody has looked at any more would only be missing from the plan. All the same.
    meter.check()?;
    Ok((collection, manifests))
}

/// Why a registry that looks like this is not to be touched, if it is not.
pub(crate) fn brake(inventory: &Inventory, unlistable: &[String], last_repositories: Option<u64>) -> Option<Brake> {
    brakes::check(brakes::Seen {
        blobs: inventory.digests.blobs().len(),
        repositories: inventory.repositories.len(),
        revisions: inventory.revisions(),
        has_repositories_folder: inventory.has_repositories_folder,
        unlistable,
        last_repositories,
    })
    .err()
}

/// Lists everything that is there, and reads what can decide: links and manifests. A manifest is read as soon as the
/// repository is known that names it, while others are still being listed.
///
/// Blobs come first, and are all listed before the first link is read: a blob that is pushed meanwhile is then not in
/// the table, and so can never be garbage.
///
/// `wants_times` says whether somebody will ask for [`manifest::Manifest::modified`].
///
/// # Errors
/// [`Halted`]: it is all, or nothing.
pub fn see(
    registry: &Registry,
    policy: &Policy,
    wants_times: bool,
    findings: &Findings,
    meter: &Meter,
) -> Result<Seen, Halted> {
    let blobs = inventory::list_blobs(registry, findings, meter);
    let manifests = Reading::new(registry, &blobs.digests, meter, wants_times);
    let listed = rayon::in_place_scope(|scope| {
        // What is protected may have no link in any repository, and is looked into all the same.
        let protected = policy.protected.digests().map(|digest| (blobs.digests.id(digest), Expect::Unknown));
        manifests.read_soon(scope, protected.collect());
        inventory::list_repositories(registry, &blobs.digests, findings, meter, |repository| {
            manifests.read_soon(scope, mark::manifests_to_read(repository, &blobs.digests));
        })
    });
    let store = manifests.into_store();
    meter.check()?;
    Ok(Seen { inventory: Inventory::new(blobs, listed), store })
}

/// Links in the tree, read when somebody asks for them.
#[derive(Debug)]
pub struct TreeLinks<'a> {
    /// Where they are.
    pub registry: &'a Registry,
    /// Numbers for what they name.
    pub digests: &'a Digests,
}

impl Links for TreeLinks<'_> {
    fn layer_link(&self, repository: &Repository, id: DigestId) -> LinkState {
        repository.read_layer_link(self.registry, self.digests, id)
    }

    fn signatures(&self, repository: &Repository, id: DigestId) -> Result<Vec<DigestId>, String> {
        let revision = repository.revision_folder(&self.digests.digest(id));
        manifest::signature_links(self.registry, self.digests, &revision).map_err(|unreadable| unreadable.to_string())
    }

    fn pointed_at(&self, repository: &Repository, tag: &Tag, digest: &Digest) -> Result<Option<i64>, String> {
        let mut link = repository.tag_folder(&tag.name);
        link.extend([INDEX, digest.algorithm().name(), &digest.hex(), LINK]);
        let stamp = self.registry.v2().stamp_of(&link).map_err(|unreadable| unreadable.cause.to_string())?;
        Ok(stamp.map(|stamp| stamp.modified().0))
    }
}

/// References that were to protect something, and name nothing here. In a list of what runs in a cluster most are from
/// other registries; where the repository is here, or nothing says that another registry was meant, something is wrong.
fn report_unknown(unknown: &[Unknown], findings: &Findings) {
    for Unknown { line, text, is_suspicious } in unknown {
        let severity = if *is_suspicious { Severity::Warning } else { Severity::Info };
        let message = format!("--protect names {text} (line {line}), which is not in this registry");
        findings.add(severity, FindingKind::UnknownReference, None, Path::new(REPOSITORIES), message);
    }
}

/// Manifests that were named and that something needs which stays, a line for each.
fn who_needs(removal: &Removal, inventory: &Inventory, marking: &Marking, store: &Store) -> Vec<String> {
    let line = |(name, digest): (&str, &Digest)| {
        let place = inventory::place_of(&inventory.repositories, name)?;
        let (repository, marked) = (&inventory.repositories[place], &marking.repositories[place]);
        let id = inventory.digests.id(digest);
        if !marked.is_live(id) {
            return None;
        }
        let lists_it = |&&parent: &&DigestId| store.manifest(parent).is_some_and(|it| it.children().contains(&id));
        let Some(&parent) = marked.manifests.iter().find(lists_it) else {
            return Some(format!("nobody knows what needs {name}@{digest}: something in this repository is damaged"));
        };
        let tags: Vec<&str> = repository
            .tags
            .iter()
            .filter(|tag| tag.current == LinkState::Target(parent))
            .map(|tag| &*tag.name)
            .collect();
        let tags = if tags.is_empty() { String::new() } else { format!(" ({name}:{})", tags.join(", :")) };
        let parent = inventory.digests.digest(parent);
        Some(format!("{name}@{digest} is a part of {parent}{tags}, which stays: remove that first"))
    };
    removal.manifests().filter_map(line).collect()
}

/// Says where a repository that was named does not go whole.
fn what_is_left(removal: &Removal, plan: &Plan, inventory: &Inventory, findings: &Findings) {
    for name in removal.repositories() {
        let Some(place) = inventory::place_of(&inventory.repositories, name) else { continue };
        if plan.repository(name).is_none_or(|going| !going.folder) {
            let message = "something in it is not known to the layout, or cannot be removed: its folder stays";
            let path = &inventory.repositories[place].path;
            findings.add(Severity::Warning, FindingKind::NotRemoved, Some(name), path, message);
        }
    }
}

/// Uploads that began too long ago, or all of a repository that goes whole, with the bytes in them.
fn uploads(
    registry: &Registry,
    repository: &Repository,
    is_named: bool,
    options: Options<'_>,
    findings: &Findings,
) -> Vec<(UploadId, u64)> {
    let mut stale = Vec::new();
    for upload in &repository.uploads {
        if !is_named && options.now.saturating_sub(upload.started) < options.uploads_older_than {
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
pub(crate) fn bytes_below(registry: &Registry, path: &Path, depth: u32) -> Result<u64, Unreadable> {
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
        let path = repository.revision_folder(&inventory.digests.digest(revision.id));
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
