//! The table of blobs: every digest folder below `blobs`, sorted.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::digests::DigestId;
use super::repositories::Watched;
use super::{symbolic_link, unknown};
use crate::digest::{Algorithm, Digest};
use crate::finding::{FindingKind, Findings, Severity};
use crate::layout::{BLOBS, DATA, blob_dir, component, is_debris};
use crate::progress::Meter;
use crate::registry::{Dir, Kind, Looked, Registry, Stamp, Unreadable};

/// Every blob, as 32 or 64 bytes each, in the order of the digests.
///
/// It stays as it comes from the disk, one sorted list for each folder of two hex digits: putting them together would
/// take the memory of all of them once more.
#[derive(Debug)]
pub struct BlobTable {
    /// One for each first byte.
    sha256: Vec<Shard>,
    /// How many blobs the shards before each hold; all of them at the end.
    before: Vec<u32>,
    sha512: Vec<[u8; 64]>,
    /// Blobs that are reached through a symbolic link: marked like all others, never swept.
    linked: HashSet<DigestId>,
    /// Whether some folder of blobs could not be listed, so that "not in the table" does not mean "not there".
    incomplete: bool,
}

impl Default for BlobTable {
    fn default() -> BlobTable {
        BlobTable::from_digests(Vec::new())
    }
}

impl BlobTable {
    /// A table of just these digests.
    pub fn from_digests(digests: Vec<Digest>) -> BlobTable {
        let mut sha256: Vec<Vec<[u8; 32]>> = vec![Vec::new(); SHARDS];
        let mut sha512 = Vec::new();
        for digest in digests {
            match digest {
                Digest::Sha256(bytes) => sha256[usize::from(bytes[0])].push(bytes),
                Digest::Sha512(bytes) => sha512.push(*bytes),
            }
        }
        BlobTable::new(sha256.into_iter().map(Shard::new).collect(), sha512)
    }

    /// A table of these shards, one for each first byte in their order.
    fn new(sha256: Vec<Shard>, mut sha512: Vec<[u8; 64]>) -> BlobTable {
        debug_assert_eq!(sha256.len(), SHARDS);
        sha512.sort_unstable();
        sha512.dedup();
        let mut before = Vec::with_capacity(SHARDS + 1);
        let mut count = 0;
        before.push(count);
        for shard in &sha256 {
            count += u32::try_from(shard.digests.len()).unwrap_or(u32::MAX);
            before.push(count);
        }
        BlobTable { sha256, before, sha512, linked: HashSet::new(), incomplete: false }
    }

    fn count_of_sha256(&self) -> usize {
        self.before[SHARDS] as usize
    }

    /// How many blobs there are.
    pub fn len(&self) -> usize {
        self.count_of_sha256() + self.sha512.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The blob at this place, which has to be one of the table's.
    pub fn id_at(&self, place: u32) -> DigestId {
        DigestId::from_index(place as usize)
    }

    /// Every blob's number, in the order of the digests.
    pub fn ids(&self) -> impl Iterator<Item = DigestId> + use<> {
        (0..self.len()).map(DigestId::from_index)
    }

    /// The number of this blob, if it is in the table.
    pub fn find(&self, digest: &Digest) -> Option<DigestId> {
        let place = match digest {
            Digest::Sha256(bytes) => {
                let shard = usize::from(bytes[0]);
                self.before[shard] as usize + self.sha256[shard].find(bytes)?
            }
            Digest::Sha512(bytes) => self.count_of_sha256() + self.sha512.binary_search(bytes.as_ref()).ok()?,
        };
        Some(DigestId::from_index(place))
    }

    /// The digest of a blob's number.
    pub(super) fn digest(&self, id: DigestId) -> Digest {
        match id.index().checked_sub(self.count_of_sha256()) {
            None => {
                let shard = self.shard_of(id.index());
                Digest::Sha256(self.sha256[shard].digests[id.index() - self.before[shard] as usize])
            }
            Some(place) => Digest::Sha512(Box::new(self.sha512[place])),
        }
    }

    /// Whether this is the number of a blob with a SHA-256 digest.
    pub(super) fn is_sha256(&self, id: DigestId) -> bool {
        id.index() < self.count_of_sha256()
    }

    /// Whether it is reached through a symbolic link: then it is never swept.
    pub fn is_linked(&self, id: DigestId) -> bool {
        self.linked.contains(&id)
    }

    /// In which shard this place is: the last one that begins at or before it.
    fn shard_of(&self, place: usize) -> usize {
        self.before.partition_point(|&before| before as usize <= place) - 1
    }

    /// Whether a digest that is not in the table is known not to be in the store.
    pub fn is_complete(&self) -> bool {
        !self.incomplete
    }
}

/// How many folders of two hex digits there can be.
const SHARDS: usize = 256;

/// The SHA-256 digests that begin with the same byte, sorted, with an index to find one in.
///
/// Digests are as good as random, so the bits after the first byte say nearly where one is: they lead to a bucket of a
/// few digests. A search for each reference of each manifest would otherwise be a good part of a run. Where somebody
/// has chosen digests that all fall into one bucket, finding one is a binary search among them, and no slower.
#[derive(Debug, Default)]
struct Shard {
    digests: Vec<[u8; 32]>,
    /// Where each bucket begins; the end of the last one at the end.
    buckets: Vec<u32>,
    /// How many bits lead to a bucket.
    bits: u32,
}

impl Shard {
    /// How many digests are in a bucket, on average at least.
    const IN_A_BUCKET: usize = 2;

    fn new(mut digests: Vec<[u8; 32]>) -> Shard {
        digests.sort_unstable_by(compare);
        digests.dedup();
        digests.shrink_to_fit();
        let bits = (digests.len() / Self::IN_A_BUCKET).max(1).ilog2();
        let mut buckets = vec![0; (1 << bits) + 1];
        for digest in &digests {
            buckets[bucket(digest, bits) + 1] += 1;
        }
        let mut sum = 0;
        for bucket in &mut buckets {
            sum += *bucket;
            *bucket = sum;
        }
        Shard { digests, buckets, bits }
    }

    fn find(&self, digest: &[u8; 32]) -> Option<usize> {
        let bucket = bucket(digest, self.bits);
        let (start, end) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        Some(start + self.digests[start..end].binary_search_by(|other| compare(other, digest)).ok()?)
    }
}

/// The order of two digests that begin with the same byte. The bytes after it decide nearly always, and as numbers they
/// are compared at once.
fn compare(a: &[u8; 32], b: &[u8; 32]) -> Ordering {
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

/// The eight bytes after the first, as a number in their order.
fn key(digest: &[u8; 32]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[1..9]);
    u64::from_be_bytes(bytes)
}

/// The bucket of a digest: the upper bits of its key.
fn bucket(digest: &[u8; 32], bits: u32) -> usize {
    // A table has fewer buckets than 2^32, and no shift is as wide as the number.
    usize::try_from(key(digest).checked_shr(u64::BITS - bits).unwrap_or(0)).unwrap_or(0)
}

/// What one listing contributes; put into the table at the end, so that threads share nothing.
struct Part {
    digests: Listed,
    linked: bool,
    incomplete: bool,
}

/// The digests of one folder, which are all of one algorithm.
enum Listed {
    Sha256(u8, Shard),
    Sha512(Vec<[u8; 64]>),
}

/// Lists `blobs/<algorithm>/<shard>`, each folder once, in parallel.
pub(super) fn scan(registry: &Registry, findings: &Findings, meter: &Meter) -> (BlobTable, Vec<Watched>) {
    let mut shards = Vec::new();
    let mut folders = Vec::new();
    let mut incomplete = false;
    let blobs = Path::new(BLOBS);
    let listed = (|| {
        let linked = is_symbolic_link(registry.v2(), blobs, findings)?;
        let Some(dir) = registry.v2().open(blobs)? else { return Ok(()) };
        folders.push(Watched { path: blobs.to_owned(), stamp: dir.stamp()? });
        dir.for_each(|name, kind| match Algorithm::from_name(name) {
            Some(algorithm) if matches!(kind, Kind::Directory | Kind::SymbolicLink) => {
                match shards_of(&dir, algorithm, kind == Kind::SymbolicLink, findings, &mut folders) {
                    Ok(found) => {
                        let found = found.into_iter();
                        shards.extend(found.map(|(first, path, through)| (algorithm, first, path, through || linked)));
                    }
                    Err(unreadable) => {
                        incomplete = true;
                        unreadable_blobs(findings, &unreadable);
                    }
                }
            }
            _ => unknown(findings, None, &dir.path().join(component(name))),
        })
    })();
    if let Err(unreadable) = listed {
        incomplete = true;
        unreadable_blobs(findings, &unreadable);
    }
    meter.expect(shards.len() as u64);
    let parts: Vec<Part> = shards
        .into_par_iter()
        .filter(|_| !meter.is_halted())
        .map(|(algorithm, first, shard, linked)| {
            let part = list_shard(registry, algorithm, first, &shard, linked, findings);
            meter.add(1);
            part
        })
        .collect();

    let mut linked = Vec::new();
    let mut sha256: Vec<Shard> = Vec::new();
    sha256.resize_with(SHARDS, || Shard::new(Vec::new()));
    let mut sha512 = Vec::new();
    for part in parts {
        incomplete |= part.incomplete;
        match part.digests {
            Listed::Sha256(first, shard) => {
                if part.linked {
                    linked.extend(shard.digests.iter().copied().map(Digest::Sha256));
                }
                sha256[usize::from(first)] = shard;
            }
            Listed::Sha512(digests) => {
                if part.linked {
                    linked.extend(digests.iter().map(|&digest| Digest::Sha512(Box::new(digest))));
                }
                sha512.extend(digests);
            }
        }
    }
    let mut table = BlobTable::new(sha256, sha512);
    table.linked = linked.iter().filter_map(|digest| table.find(digest)).collect();
    table.incomplete = incomplete;
    (table, folders)
}

/// The shards of one algorithm: each one's first byte and path, and whether a symbolic link leads there.
fn shards_of(
    blobs: &Dir,
    algorithm: Algorithm,
    algorithm_linked: bool,
    findings: &Findings,
    folders: &mut Vec<Watched>,
) -> Result<Vec<(u8, PathBuf, bool)>, Unreadable> {
    if algorithm_linked {
        symbolic_link(findings, &blobs.path().join(algorithm.name()));
    }
    let Some(dir) = blobs.open(algorithm.name())? else { return Ok(Vec::new()) };
    folders.push(Watched { path: dir.path().to_owned(), stamp: dir.stamp()? });
    let mut shards = Vec::new();
    dir.for_each(|name, kind| {
        let path = dir.path().join(component(name));
        match (first_byte(name), kind) {
            (Some(first), Kind::Directory) => shards.push((first, path, algorithm_linked)),
            (Some(first), Kind::SymbolicLink) => {
                symbolic_link(findings, &path);
                shards.push((first, path, true));
            }
            _ => unknown(findings, None, &path),
        }
    })?;
    Ok(shards)
}

/// The byte that two lower-case hex digits name.
fn first_byte(name: &[u8]) -> Option<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    match name {
        &[upper, lower] => Some(digit(upper)? << 4 | digit(lower)?),
        _ => None,
    }
}

fn list_shard(
    registry: &Registry,
    algorithm: Algorithm,
    first: u8,
    shard: &Path,
    linked: bool,
    findings: &Findings,
) -> Part {
    let (mut sha256, mut sha512) = (Vec::new(), Vec::new());
    let (mut linked_blobs, mut incomplete) = (Vec::new(), false);
    let listed = (|| {
        let Some(dir) = registry.v2().open(shard)? else { return Ok(()) };
        if algorithm == Algorithm::Sha256 {
            // Only to make room: what a folder that cannot be looked at holds, its listing says.
            sha256.reserve_exact(dir.stamp().map_or(0, Stamp::folders_expected));
        }
        dir.for_each(|name, kind| match Digest::from_hex(algorithm, name) {
            Ok(digest) if kind == Kind::Directory && digest.as_bytes()[0] == first => match digest {
                Digest::Sha256(bytes) => sha256.push(bytes),
                Digest::Sha512(bytes) => sha512.push(*bytes),
            },
            Ok(digest) if kind == Kind::SymbolicLink && digest.as_bytes()[0] == first => linked_blobs.push(digest),
            _ if is_debris(name) => temporary(findings, &dir.path().join(component(name))),
            _ => unknown(findings, None, &dir.path().join(component(name))),
        })
    })();
    if let Err(unreadable) = listed {
        incomplete = true;
        unreadable_blobs(findings, &unreadable);
    }
    // A blob's own folder behind a symbolic link is not in the table: it is opened by name when a manifest is read,
    // and it is never swept, because what is not in the table cannot be garbage.
    for digest in linked_blobs {
        incomplete = true;
        symbolic_link(findings, &blob_dir(&digest));
    }
    let digests = match algorithm {
        Algorithm::Sha256 => Listed::Sha256(first, Shard::new(sha256)),
        Algorithm::Sha512 => Listed::Sha512(sha512),
    };
    Part { digests, linked, incomplete }
}

fn is_symbolic_link(v2: &Dir, path: &Path, findings: &Findings) -> Result<bool, Unreadable> {
    let is_link = v2.look(path)?.is_some_and(|looked| looked.kind == Kind::SymbolicLink);
    if is_link {
        symbolic_link(findings, path);
    }
    Ok(is_link)
}

fn temporary(findings: &Findings, path: &Path) {
    findings.add(Severity::Info, FindingKind::TemporaryFile, None, path, "left behind by a crash; kept");
}

fn unreadable_blobs(findings: &Findings, unreadable: &Unreadable) {
    let message = format!("cannot be listed ({}); the blobs in it are kept", unreadable.cause);
    findings.add(Severity::Error, FindingKind::Unreadable, None, &unreadable.path, message);
}

/// What a blob takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobSize {
    /// The size of its data in bytes.
    pub bytes: u64,
    /// What the data takes on the disk, in bytes.
    pub disk_bytes: u64,
}

/// A blob that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct SizedBlob {
    /// Which.
    pub id: DigestId,
    /// How large.
    pub size: BlobSize,
    /// When its data was last modified, in seconds since 1970.
    pub modified: i64,
    /// When somebody last read its data, as far as the volume keeps that, in seconds since 1970.
    pub accessed: i64,
}

/// What became of looking at a blob.
#[derive(Clone, Debug)]
pub enum LookedAt {
    /// It is a regular file.
    Sized(SizedBlob),
    /// Not even the folder that its folder is in is there any more.
    Gone,
    /// It is not what the layout says, or cannot be looked at: one clause that says what it is.
    Odd(String),
    /// It could not be looked at: it may be whole.
    Unreadable {
        /// What could not be opened or looked at, relative to the `v2` folder: the blob, or the folder that it is in.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl LookedAt {
    fn unreadable(unreadable: &Unreadable) -> LookedAt {
        LookedAt::Unreadable { path: unreadable.path.clone(), why: unreadable.cause.to_string() }
    }
}

impl BlobTable {
    /// Looks at the data of blobs that nothing references: how large are they, and are they what the layout says? Those
    /// that are not are noted and left out, and so are those behind a symbolic link: they are kept.
    ///
    /// A `stat` for each; nothing is opened.
    pub fn measure(
        &self,
        registry: &Registry,
        unreferenced: &[DigestId],
        findings: &Findings,
        meter: &Meter,
    ) -> Vec<SizedBlob> {
        let own: Vec<DigestId> = unreferenced.iter().copied().filter(|&id| !self.is_linked(id)).collect();
        let looked = self.look_at(registry, &own, meter);
        let sized = looked.into_iter().filter_map(|(id, looked)| match looked {
            LookedAt::Sized(sized) => Some(sized),
            // Gone since it was listed: nothing to free there.
            LookedAt::Gone => None,
            LookedAt::Odd(why) => {
                let path = blob_dir(&self.digest(id));
                let message = format!("no reference leads to it, and {why}; kept");
                findings.add(Severity::Warning, FindingKind::DamagedBlob, None, &path, message);
                None
            }
            LookedAt::Unreadable { path, why } => {
                let message = format!("cannot be looked at ({why}); what no reference leads to there is kept");
                findings.add(Severity::Error, FindingKind::Unreadable, None, &path, message);
                None
            }
        });
        sized.collect()
    }

    /// Looks at the data of blobs, in parallel on the current rayon pool: how large are they, and are they what the
    /// layout says? The answers are in the order of the question, which is best sorted: neighbours in the table are
    /// neighbours on the disk.
    ///
    /// A `stat` for each, which follows no symbolic link at the end; nothing is opened.
    pub fn look_at(&self, registry: &Registry, ids: &[DigestId], meter: &Meter) -> Vec<(DigestId, LookedAt)> {
        meter.expect(ids.len() as u64);
        // A run of one shard shares one open folder.
        let runs: Vec<&[DigestId]> =
            ids.chunk_by(|a, b| self.folder_of(*a) == self.folder_of(*b)).flat_map(|run| run.chunks(256)).collect();
        let runs = runs.into_par_iter().filter(|_| !meter.is_halted());
        runs.flat_map_iter(|run| self.look_at_run(registry, run, meter)).collect()
    }

    /// The folder that a blob lies in, by algorithm and first byte.
    pub(crate) fn folder_of(&self, id: DigestId) -> (Algorithm, usize) {
        match id.index().checked_sub(self.count_of_sha256()) {
            None => (Algorithm::Sha256, self.shard_of(id.index())),
            Some(place) => (Algorithm::Sha512, usize::from(self.sha512[place][0])),
        }
    }

    fn look_at_run(&self, registry: &Registry, run: &[DigestId], meter: &Meter) -> Vec<(DigestId, LookedAt)> {
        let Some(&first) = run.first() else { return Vec::new() };
        let shard_path = blob_dir(&self.digest(first)).parent().map(Path::to_owned).unwrap_or_default();
        let shard = registry.v2().open(&shard_path);
        let look = |id: DigestId| {
            let shard = match &shard {
                Ok(Some(shard)) => shard,
                Ok(None) => return LookedAt::Gone,
                Err(unreadable) => return LookedAt::unreadable(unreadable),
            };
            let hex = self.digest(id).hex();
            match shard.look(Path::new(&hex).join(DATA)) {
                Ok(Some(Looked { kind: Kind::File, bytes, disk_bytes, accessed, stamp })) => {
                    let size = BlobSize { bytes, disk_bytes };
                    LookedAt::Sized(SizedBlob { id, size, modified: stamp.modified().0, accessed })
                }
                Ok(Some(Looked { kind: Kind::Directory, .. })) => LookedAt::Odd("its 'data' is a folder".to_owned()),
                Ok(Some(Looked { kind: Kind::SymbolicLink, .. })) => {
                    LookedAt::Odd("its 'data' is a symbolic link".to_owned())
                }
                Ok(Some(_)) => LookedAt::Odd("its 'data' is no regular file".to_owned()),
                Ok(None) => LookedAt::Odd("its folder has no 'data' in it".to_owned()),
                Err(unreadable) => LookedAt::unreadable(&unreadable),
            }
        };
        let looked = run.iter().map(|&id| (id, look(id))).collect();
        meter.add(run.len() as u64);
        looked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests are found whatever they begin with: as many to a bucket as chance wants it, all in one, or none.
    #[test]
    fn every_digest_is_found_and_no_other() {
        let by_chance = |n: u32| Digest::of(Algorithm::Sha256, &n.to_le_bytes());
        let alike = |first: u8, n: u32| {
            let mut bytes = [first; 32];
            bytes[28..].copy_from_slice(&n.to_be_bytes());
            Digest::Sha256(bytes)
        };
        let long = |n: u32| Digest::of(Algorithm::Sha512, &n.to_le_bytes());
        let kinds: [&dyn Fn(u32) -> Digest; 4] = [&by_chance, &|n| alike(0, n), &|n| alike(255, n), &long];
        for count in [0, 1, 7, 3000] {
            let there: Vec<Digest> = kinds.iter().flat_map(|kind| (0..count).map(kind)).collect();
            let table = BlobTable::from_digests(there.iter().chain(&there).cloned().collect());
            assert_eq!(table.len(), there.len(), "each once");
            for digest in &there {
                let id = table.find(digest).unwrap();
                assert_eq!(table.digest(id), *digest);
                assert_eq!(table.is_sha256(id), digest.algorithm() == Algorithm::Sha256);
            }
            for digest in kinds.iter().flat_map(|kind| (count..count + 500).map(kind)) {
                assert_eq!(table.find(&digest), None);
            }
            let listed: Vec<Digest> = table.ids().map(|id| table.digest(id)).collect();
            assert!(listed.is_sorted(), "numbers are in the order of the digests");
        }
    }
}
