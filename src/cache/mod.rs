//! Pull-through caches: which images a cache is better off without.
//!
//! # What a cache is
//!
//! A registry with `proxy.remoteurl` keeps what somebody has pulled through it. Nothing in it is the only copy: what is
//! missing is fetched again. So it may lack anything (layers that no client asked for, children of an index for other
//! platforms, manifests that have expired), and that is no damage. `docs/caches.md` has what was found out about it.
//!
//! # When an image was last pulled
//!
//! - The link of a tag is written anew whenever somebody asks for the tag and the upstream answers, whatever the volume
//!   is mounted with. So its time is that of the last pull by tag.
//! - A pull by digest writes nothing. Where the volume keeps access times, layers and configs tell: of those that an
//!   image needs, the ones that the fewest other images need. What is read as a manifest never counts, because regsweep
//!   and the registry's own collector read all of those.
//! - The newest of these counts, and of the times at which the manifest and those blobs were fetched.
//!
//! # What was fetched
//!
//! The registry notes each manifest that it fetches, and forgets the note when it lets go of it. What has no such note
//! ([`schedule`]) may have been pushed before this was a cache, and then nobody can fetch it again: it stays, unless
//! somebody says that everything here was fetched.
//!
//! # What goes
//!
//! [`choose`](crate::policy::eviction::choose) decides that by images; [`mark`](crate::mark) then walks once more
//! without their tags and manifests. What is still live then stays: a wrong choice can let go of what could have stayed
//! longer, and of nothing that something needs which stays.

mod images;
pub mod schedule;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rayon::prelude::*;

use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::interlock::brakes::Brake;
use crate::inventory::{DigestId, Inventory, LookedAt};
use crate::layout::{BLOBS, REPOSITORIES, shown_path};
use crate::manifest::Store;
use crate::mark::{Marking, Wishes};
use crate::plan::Plan;
use crate::policy::eviction::{Candidate, choose};
use crate::policy::{Evicted, Limits};
use crate::progress::Meter;
use crate::registry::{AccessTimes, Registry};
use images::{Image, Origin, Stays};
use schedule::{MAX_STATE_BYTES, STATE, Schedule};

/// How much later than its access time something may have been read, on a volume that notes the first reading of a day.
const A_DAY: i64 = 24 * 3600;
/// How much later than the state something may have been stored: a cache writes its state every five seconds.
const LATE: i64 = 600;

/// What told when an image was last pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldBy {
    /// Somebody read its layers or its config.
    AccessTime,
    /// Somebody asked for its tag, or the cache fetched it.
    PushTime,
}

/// An image that is let go.
#[derive(Clone, Debug)]
pub struct EvictedImage {
    /// Its repository, as it may be shown.
    pub repository: Box<str>,
    /// Its tags.
    pub tags: Vec<Arc<str>>,
    /// Its manifest.
    pub manifest: Digest,
    /// When it was last pulled, in seconds since 1970.
    pub pulled: i64,
    /// What told that.
    pub told_by: ToldBy,
    /// All bytes that it needs, whoever else does.
    pub bytes: u64,
    /// Where its repository is in the inventory.
    place: usize,
    /// Where its first tag is in the repository.
    first_tag: Option<usize>,
}

/// What was decided about a cache.
#[derive(Clone, Debug)]
pub struct Eviction {
    /// What was asked for.
    pub limits: Limits,
    /// What the volume keeps.
    pub access_times: AccessTimes,
    /// How many images there were, those that go included.
    pub images: u64,
    /// Those that go, in the order in which they were chosen.
    pub evicted: Vec<EvictedImage>,
    /// Tags that go because what they name is not here.
    pub hollow_tags: u64,
    /// How many images stay because they are protected.
    pub protected: u64,
    /// How many stay because they are too young.
    pub young: u64,
    /// How many stay because they cannot be removed or understood.
    pub irremovable: u64,
    /// How many stay because nothing shows that they were fetched.
    pub unscheduled: u64,
    /// Bytes of all blobs that those need, each once.
    pub unscheduled_bytes: u64,
    /// How many repositories stay whole because something in them cannot be understood.
    pub tainted_repositories: u64,
    /// Bytes of all blobs.
    pub bytes_before: u64,
    /// Bytes of the blobs that stay.
    pub bytes_after: u64,
    /// How many entries of the registry's schedule there are, and how many of them go with what they name; `None` where
    /// the registry has none.
    pub schedule: Option<(u64, u64)>,
}

impl Eviction {
    /// Whether more stays than was asked for.
    pub fn is_too_large(&self) -> bool {
        self.limits.max_bytes.is_some_and(|most| self.bytes_after > most)
    }
}

/// Why nothing may be evicted here.
///
/// # Errors
/// The [`Brake`]: a state that cannot be read, or one of a cache that is none any more.
pub fn check(registry: &Registry, inventory: &Inventory, limits: Limits) -> Result<Option<Schedule>, Brake> {
    let Some(root) = registry.storage_root_with(STATE) else { return Ok(None) };
    let failed = |why: String| Brake::NoSchedule { why };
    let folder = registry.open_above(root).map_err(|error| failed(error.to_string()))?;
    let read = folder.read(STATE, MAX_STATE_BYTES).map_err(|unreadable| failed(unreadable.cause.to_string()))?;
    let Some(state) = read else { return Ok(None) };
    let schedule = Schedule::parse(&state.bytes).map_err(failed)?;
    let written = state.stamp.modified().0;
    if !limits.is_configured {
        let stored = inventory.repositories.iter().filter_map(|repository| {
            let stamps = repository.revisions.iter().filter_map(|revision| revision.stamp);
            Some((stamps.map(|stamp| stamp.modified()).max()?, &repository.name))
        });
        if let Some((stored, name)) = stored.max().filter(|(stored, _)| *stored > written.saturating_add(LATE)) {
            let (state, stored) = (shown(written), shown(stored));
            return Err(Brake::NoCacheAnyMore { state, name: name.to_string(), stored });
        }
    }
    Ok(Some(schedule))
}

/// A time, RFC 3339. What a file system says and no calendar has becomes the nearest that one has.
pub fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds.max(0)).unwrap_or(Timestamp::MAX).to_string()
}

/// What goes before anything is chosen: tags that name what is not here.
pub fn hollow(inventory: &Inventory, store: &Store, wishes: Wishes<'_>) -> Evicted {
    images::hollow(&inventory.digests, &inventory.repositories, store, wishes)
}

/// What is known of each blob.
#[derive(Clone, Copy, Debug, Default)]
struct Blob {
    bytes: u64,
    accessed: i64,
    modified: i64,
    /// How many manifests lead to it, of those that are images.
    users: u32,
}

/// Chooses which images go, of those that the schedule says were fetched. `marking` is what is live without what the
/// wishes let go already. Of what may have been pushed nothing goes, and a finding says how much that is.
pub fn evict(
    registry: &Registry,
    (inventory, store): (&Inventory, &Store),
    wishes: Wishes<'_>,
    marking: &Marking,
    (limits, schedule): (Limits, Option<&Schedule>),
    findings: &Findings,
    meter: &Meter,
) -> (Evicted, Eviction) {
    let Inventory { digests, repositories, .. } = inventory;
    let access_times = registry.access_times();
    let mut blobs = look_at_all(registry, inventory, findings, meter);
    let origin = if limits.takes_unscheduled { Origin::Any } else { Origin::Noted(schedule) };
    let seen = images::Seen { digests, repositories, store, marking, wishes, origin, registry };
    let found: Vec<images::Found> = (0..repositories.len()).into_par_iter().map(|at| images::of(seen, at)).collect();
    let mut needed: HashSet<u32> = found.iter().flat_map(|found| &found.needed).copied().collect();
    needed.extend(images::numbers(digests, protected(store, wishes).into_iter()));
    let mut images: Vec<Image> = found.into_iter().flat_map(|found| found.images).collect();
    images.sort_by_cached_key(|image| (image.repository, digests.digest(image.manifest)));
    count_users(&images, &mut blobs);

    let is_read_by_us = |blob: u32| store.get(id_of(inventory, blob)).is_some();
    let times: Vec<LastPull> =
        images.par_iter().map(|image| last_pull(image, &blobs, &access_times, is_read_by_us)).collect();
    let is_young = |image: &Image| {
        // What was fetched just now may be a part of a pull that goes on.
        let fetched = image.blobs.iter().map(|&blob| &blobs[blob as usize]).filter(|blob| blob.users == 1);
        wishes.young_since.is_some_and(|since| fetched.map(|blob| blob.modified).any(|at| at > since))
    };
    for image in images.iter_mut().filter(|image| image.stays.is_none()) {
        if is_young(image) {
            image.stays = Some(Stays::Young);
            needed.extend(&image.blobs);
        }
    }
    // While a manifest cannot be read, it may be an index of any of them.
    if marking.repositories.iter().any(|marked| marked.has_unreadable_manifest) {
        images.iter_mut().for_each(|image| image.stays = image.stays.or(Some(Stays::Irremovable)));
    }
    let places: Vec<usize> = (0..images.len()).filter(|&place| images[place].stays.is_none()).collect();
    let candidates: Vec<Candidate<'_>> = places
        .iter()
        .map(|&place| {
            let LastPull { at, at_the_latest, .. } = times[place];
            Candidate { pulled: at, pulled_at_the_latest: at_the_latest, blobs: &images[place].blobs }
        })
        .collect();
    let sizes: Vec<u64> = blobs.iter().map(|blob| blob.bytes).collect();
    let live = digests.blobs().ids().filter(|&id| marking.is_live(id)).map(|id| sizes[id.index()]).sum();
    let choice = choose(&candidates, &sizes, live, |blob| needed.contains(&blob), limits, wishes.now);

    let unscheduled: Vec<usize> =
        (0..images.len()).filter(|&place| images[place].stays == Some(Stays::Unscheduled)).collect();
    let theirs: HashSet<u32> = unscheduled.iter().flat_map(|&place| &images[place].blobs).copied().collect();
    let unscheduled_bytes = theirs.iter().map(|&blob| sizes[blob as usize]).sum();
    if !unscheduled.is_empty() {
        let is_too_old = |place: &usize| limits.is_too_old(times[*place].at_the_latest, wishes.now);
        let is_missed = limits.max_bytes.is_some_and(|most| choice.bytes > most) || unscheduled.iter().any(is_too_old);
        let severity = if is_missed { Severity::Warning } else { Severity::Info };
        let message = unscheduled_message(unscheduled.len(), unscheduled_bytes, schedule.is_some());
        findings.add(severity, FindingKind::Unscheduled, None, Path::new(REPOSITORIES), message);
    }

    let mut evicted = wishes.evicted.clone();
    let chosen = choice.evicted.iter().map(|&candidate| places[candidate]);
    let chosen: Vec<EvictedImage> = chosen
        .map(|place| {
            let image = &images[place];
            let repository = &repositories[image.repository];
            evicted.add(&repository.name, &image.tags, image.manifest);
            EvictedImage {
                repository: repository.name.clone(),
                tags: image.tags.iter().map(|&tag| repository.tags[tag].name.clone()).collect(),
                manifest: digests.digest(image.manifest),
                pulled: times[place].at,
                told_by: times[place].told_by,
                bytes: image.blobs.iter().map(|&blob| sizes[blob as usize]).sum(),
                place: image.repository,
                first_tag: image.tags.first().copied(),
            }
        })
        .collect();
    let stay = |why: Stays| images.iter().filter(|image| image.stays == Some(why)).count() as u64;
    let bytes_before = sizes.iter().sum();
    let eviction = Eviction {
        limits,
        access_times,
        images: images.len() as u64,
        evicted: chosen,
        hollow_tags: marking.repositories.iter().map(|marked| marked.evicted_tags() as u64).sum(),
        protected: stay(Stays::Protected),
        young: stay(Stays::Young),
        irremovable: stay(Stays::Irremovable),
        unscheduled: unscheduled.len() as u64,
        unscheduled_bytes,
        tainted_repositories: marking.repositories.iter().filter(|marked| marked.tainted).count() as u64,
        bytes_before,
        bytes_after: bytes_before,
        schedule: None,
    };
    (evicted, eviction)
}

/// Why images stay of which nobody knows where they are from.
fn unscheduled_message(images: usize, bytes: u64, has_schedule: bool) -> String {
    let (images, are) = match images {
        1 => ("1 image".to_owned(), "is"),
        many => (format!("{many} images"), "are"),
    };
    let noted = if has_schedule {
        format!("{images} ({bytes} bytes) {are} not in {STATE}")
    } else {
        format!("there is no {STATE}, so that nothing tells where {images} ({bytes} bytes) {are} from")
    };
    format!(
        "{noted}; what was pushed before this was a cache can be fetched from nowhere, so nothing of that goes. If \
         all of it was fetched, --cache-unscheduled evicts it too"
    )
}

impl Eviction {
    /// What came of it: of what was chosen only that counts which goes, now that it was marked and planned without it.
    pub fn settle(&mut self, inventory: &Inventory, marking: &Marking, plan: &Plan, schedule: Option<&Schedule>) {
        self.evicted.retain(|image| match image.first_tag {
            Some(tag) => marking.repositories[image.place].tag_goes(tag).is_some(),
            None => !marking.repositories[image.place].is_live(inventory.digests.id(&image.manifest)),
        });
        let freed: u64 = plan.blobs.iter().map(|blob| blob.size.bytes).sum();
        self.bytes_after = self.bytes_before.saturating_sub(freed);
        self.schedule = schedule.map(|schedule| (schedule.len() as u64, schedule.taken_by(plan).len() as u64));
    }
}

/// Everything that is protected by its digest, wherever it is, with everything below it.
fn protected(store: &Store, wishes: Wishes<'_>) -> HashSet<DigestId> {
    let (mut kept, mut pending): (HashSet<DigestId>, Vec<DigestId>) =
        (HashSet::new(), wishes.held.digests.iter().copied().collect());
    while let Some(id) = pending.pop() {
        if kept.insert(id)
            && let Some(manifest) = store.manifest(id)
        {
            pending.extend(manifest.children().iter().chain(manifest.blobs()).chain(manifest.foreign()));
        }
    }
    kept
}

fn id_of(inventory: &Inventory, blob: u32) -> DigestId {
    inventory.digests.blobs().id_at(blob)
}

/// Size and times of all blobs, by their places. What cannot be looked at takes nothing, and frees nothing.
fn look_at_all(registry: &Registry, inventory: &Inventory, findings: &Findings, meter: &Meter) -> Vec<Blob> {
    let table = inventory.digests.blobs();
    let ids: Vec<DigestId> = table.ids().collect();
    let mut blobs = vec![Blob::default(); ids.len()];
    let mut first = None;
    for (id, looked) in table.look_at(registry, &ids, meter) {
        match looked {
            LookedAt::Sized(sized) => {
                let (bytes, accessed, modified) = (sized.size.bytes, sized.accessed, sized.modified);
                blobs[id.index()] = Blob { bytes, accessed, modified, users: 0 };
            }
            LookedAt::Unreadable { path, why } => _ = first.get_or_insert((path, why)),
            LookedAt::Gone | LookedAt::Odd(_) => {}
        }
    }
    if let Some((path, why)) = first {
        let message = format!(
            "some blobs cannot be looked at, the first is {} ({why}); nobody knows how large the cache is",
            shown_path(&path)
        );
        findings.add(Severity::Warning, FindingKind::Unreadable, None, Path::new(BLOBS), message);
    }
    blobs
}

/// Counts how many manifests need each blob. An image that two repositories have is one user.
fn count_users(images: &[Image], blobs: &mut [Blob]) {
    let mut by_manifest: Vec<&Image> = images.iter().collect();
    by_manifest.sort_by_key(|image| image.manifest);
    let mut last: Vec<Option<DigestId>> = vec![None; blobs.len()];
    for image in by_manifest {
        for &blob in &image.blobs {
            let last = &mut last[blob as usize];
            if *last != Some(image.manifest) {
                *last = Some(image.manifest);
                blobs[blob as usize].users += 1;
            }
        }
    }
}

/// When an image was last pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastPull {
    /// When, as far as anybody noted it.
    at: i64,
    /// When at the latest.
    at_the_latest: i64,
    /// What told that.
    told_by: ToldBy,
}

fn last_pull(
    image: &Image,
    blobs: &[Blob],
    access_times: &AccessTimes,
    is_read_by_us: impl Fn(u32) -> bool,
) -> LastPull {
    let own = image.blobs.iter().filter(|&&blob| !is_read_by_us(blob)).map(|&blob| blobs[blob as usize]);
    let fewest = own.clone().map(|blob| blob.users).min().unwrap_or(0);
    let own = own.filter(|blob| blob.users == fewest);
    let pushed = own.clone().map(|blob| blob.modified).max().unwrap_or(i64::MIN).max(image.linked);
    let slack = match access_times {
        AccessTimes::NotKept(_) => return LastPull { at: pushed, at_the_latest: pushed, told_by: ToldBy::PushTime },
        AccessTimes::Exact => 0,
        AccessTimes::Daily => A_DAY,
    };
    // The first reading after the file was written is noted in any case.
    let accessed = own.filter(|blob| blob.accessed > blob.modified).map(|blob| blob.accessed).max();
    let at_the_latest = pushed.max(accessed.unwrap_or(i64::MIN).saturating_add(slack));
    match accessed.filter(|accessed| *accessed > pushed) {
        Some(at) => LastPull { at, at_the_latest, told_by: ToldBy::AccessTime },
        None => LastPull { at: pushed, at_the_latest, told_by: ToldBy::PushTime },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    /// The newest of everything that tells it; of blobs those that the fewest images need, and none that we read.
    #[test]
    fn when_an_image_was_last_pulled() {
        let blob = |accessed, modified, users| Blob { bytes: 1, accessed, modified, users };
        let (kept, daily) = (AccessTimes::Exact, AccessTimes::Daily);
        let none = AccessTimes::NotKept("noatime".to_owned());
        // The first is the manifest, which somebody has just read.
        let manifest = blob(900 * HOUR, 10 * HOUR, 1);
        for (name, blobs, linked, times, at, at_the_latest, told_by) in [
            ("fetched, and no more", vec![blob(10, 11, 1)], 5, &kept, 11, 11, ToldBy::PushTime),
            ("asked for by tag", vec![blob(10, 11, 1)], 50, &kept, 50, 50, ToldBy::PushTime),
            ("read", vec![blob(90, 11, 1)], 50, &kept, 90, 90, ToldBy::AccessTime),
            ("read, and nobody notes it", vec![blob(90, 11, 1)], 50, &none, 50, 50, ToldBy::PushTime),
            ("a base that others read", vec![blob(90, 11, 2), blob(10, 11, 1)], 5, &kept, 11, 11, ToldBy::PushTime),
            ("all is shared", vec![blob(90, 11, 3), blob(80, 11, 2)], 5, &kept, 80, 80, ToldBy::AccessTime),
            ("read on that day", vec![blob(90, 11, 1)], 50, &daily, 90, 90 + A_DAY, ToldBy::AccessTime),
            ("asked for later that day", vec![blob(90, 11, 1)], 95, &daily, 95, 90 + A_DAY, ToldBy::PushTime),
            ("never read", vec![blob(10, 11, 1)], 5, &daily, 11, 11, ToldBy::PushTime),
            ("only a manifest", vec![], 5, &kept, 5, 5, ToldBy::PushTime),
        ] {
            let all: Vec<Blob> = [manifest].into_iter().chain(blobs).collect();
            let id = crate::inventory::BlobTable::default().id_at(0);
            let image = Image {
                repository: 0,
                manifest: id,
                tags: Vec::new(),
                blobs: (0..u32::try_from(all.len()).unwrap()).collect(),
                stays: None,
                linked,
            };
            let pulled = last_pull(&image, &all, times, |blob| blob == 0);
            assert_eq!(pulled, LastPull { at, at_the_latest, told_by }, "{name}");
        }
    }
}
