//! The table of blobs: every digest folder below `blobs`, sorted.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::digests::DigestId;
use super::repositories::Watched;
use super::{symbolic_link, unknown};
use crate::digest::{Algorithm, Digest};
use crate::finding::{FindingKind, Findings, Severity};
use crate::layout::{BLOBS, DATA, blob_dir, component, is_debris};
use crate::progress::Meter;
use crate::registry::{Dir, Kind, Looked, Registry, Stamp};

/// Every blob, as 32 or 64 bytes each, in the order of the digests.
#[derive(Debug, Default)]
pub struct BlobTable {
    sha256: Vec<[u8; 32]>,
    sha512: Vec<[u8; 64]>,
    /// Where the digests that begin with a byte start in `sha256`; one more at the end.
    starts: Vec<usize>,
    /// Blobs that are reached through a symbolic link: marked like all others, never swept.
    linked: HashSet<DigestId>,
    /// Whether some folder of blobs could not be listed, so that "not in the table" does not mean "not there".
    incomplete: bool,
}

impl BlobTable {
    /// A table of just these digests.
    pub fn from_digests(digests: Vec<Digest>) -> BlobTable {
        let mut table = BlobTable::default();
        for digest in digests {
            match digest {
                Digest::Sha256(bytes) => table.sha256.push(bytes),
                Digest::Sha512(bytes) => table.sha512.push(*bytes),
            }
        }
        table.finish();
        table
    }

    fn finish(&mut self) {
        self.sha256.par_sort_unstable();
        self.sha256.dedup();
        self.sha512.par_sort_unstable();
        self.sha512.dedup();
        self.starts =
            (0..=256usize).map(|first| self.sha256.partition_point(|bytes| usize::from(bytes[0]) < first)).collect();
    }

    /// How many blobs there are.
    pub fn len(&self) -> usize {
        self.sha256.len() + self.sha512.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every blob's number, in the order of the digests.
    pub fn ids(&self) -> impl Iterator<Item = DigestId> + use<> {
        (0..self.len()).map(DigestId::from_index)
    }

    /// The number of this blob, if it is in the table.
    pub fn find(&self, digest: &Digest) -> Option<DigestId> {
        let place = match digest {
            Digest::Sha256(bytes) => {
                let first = usize::from(bytes[0]);
                let (start, end) = (*self.starts.get(first)?, *self.starts.get(first + 1)?);
                start + self.sha256[start..end].binary_search(bytes).ok()?
            }
            Digest::Sha512(bytes) => self.sha256.len() + self.sha512.binary_search(bytes.as_ref()).ok()?,
        };
        Some(DigestId::from_index(place))
    }

    /// The digest of a blob's number.
    pub(super) fn digest(&self, id: DigestId) -> Digest {
        match id.index().checked_sub(self.sha256.len()) {
            None => Digest::Sha256(self.sha256[id.index()]),
            Some(place) => Digest::Sha512(Box::new(self.sha512[place])),
        }
    }

    /// Whether a digest that is not in the table is known not to be in the store.
    pub fn is_complete(&self) -> bool {
        !self.incomplete
    }
}

/// What one listing contributes; folded into the table at the end, so that threads share nothing.
#[derive(Default)]
struct Part {
    digests: Vec<Digest>,
    linked: bool,
    incomplete: bool,
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
                        shards.extend(found.into_iter().map(|(dir, through)| (algorithm, dir, through || linked)));
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
        .map(|(algorithm, shard, linked)| {
            let part = list_shard(registry, algorithm, &shard, linked, findings);
            meter.add(1);
            part
        })
        .collect();

    let mut linked = Vec::new();
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.digests.len()).sum());
    for part in parts {
        incomplete |= part.incomplete;
        if part.linked {
            linked.extend(part.digests.iter().cloned());
        }
        all.extend(part.digests);
    }
    let mut table = BlobTable::from_digests(all);
    table.linked = linked.iter().filter_map(|digest| table.find(digest)).collect();
    table.incomplete = incomplete;
    (table, folders)
}

/// The shards of one algorithm: their paths, and whether a symbolic link leads there.
fn shards_of(
    blobs: &Dir,
    algorithm: Algorithm,
    algorithm_linked: bool,
    findings: &Findings,
    folders: &mut Vec<Watched>,
) -> Result<Vec<(std::path::PathBuf, bool)>, crate::registry::Unreadable> {
    if algorithm_linked {
        symbolic_link(findings, &blobs.path().join(algorithm.name()));
    }
    let Some(dir) = blobs.open(algorithm.name())? else { return Ok(Vec::new()) };
    folders.push(Watched { path: dir.path().to_owned(), stamp: dir.stamp()? });
    let mut shards = Vec::new();
    dir.for_each(|name, kind| {
        let path = dir.path().join(component(name));
        let is_hex = name.len() == 2 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match kind {
            Kind::Directory if is_hex => shards.push((path, algorithm_linked)),
            Kind::SymbolicLink if is_hex => {
                symbolic_link(findings, &path);
                shards.push((path, true));
            }
            _ => unknown(findings, None, &path),
        }
    })?;
    Ok(shards)
}

fn list_shard(registry: &Registry, algorithm: Algorithm, shard: &Path, linked: bool, findings: &Findings) -> Part {
    let mut part = Part { linked, ..Part::default() };
    let mut linked_blobs = Vec::new();
    let prefix = shard.file_name().map(std::ffi::OsStr::as_encoded_bytes).unwrap_or_default();
    let listed = (|| {
        let Some(dir) = registry.v2().open(shard)? else { return Ok(()) };
        dir.for_each(|name, kind| match Digest::from_hex(algorithm, name) {
            Ok(digest) if kind == Kind::Directory && name.starts_with(prefix) => part.digests.push(digest),
            Ok(digest) if kind == Kind::SymbolicLink && name.starts_with(prefix) => linked_blobs.push(digest),
            _ if is_debris(name) => temporary(findings, &dir.path().join(component(name))),
            _ => unknown(findings, None, &dir.path().join(component(name))),
        })
    })();
    if let Err(unreadable) = listed {
        part.incomplete = true;
        unreadable_blobs(findings, &unreadable);
    }
    // A blob's own folder behind a symbolic link is not in the table: it is opened by name when a manifest is read,
    // and it is never swept, because what is not in the table cannot be garbage.
    for digest in linked_blobs {
        part.incomplete = true;
        symbolic_link(findings, &blob_dir(&digest));
    }
    part
}

fn is_symbolic_link(v2: &Dir, path: &Path, findings: &Findings) -> Result<bool, crate::registry::Unreadable> {
    let is_link = v2.look(path)?.is_some_and(|looked| looked.kind == Kind::SymbolicLink);
    if is_link {
        symbolic_link(findings, path);
    }
    Ok(is_link)
}

fn temporary(findings: &Findings, path: &Path) {
    findings.add(Severity::Info, FindingKind::TemporaryFile, None, path, "left behind by a crash; kept");
}

fn unreadable_blobs(findings: &Findings, unreadable: &crate::registry::Unreadable) {
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

/// A blob that nothing references, looked at.
#[derive(Clone, Copy, Debug)]
pub struct SizedBlob {
    /// Which.
    pub id: DigestId,
    /// How large.
    pub size: BlobSize,
    /// What its data was when it was looked at.
    pub stamp: Stamp,
}

impl BlobTable {
    /// Looks at the data of blobs that nothing references: how large are they, and are they what the layout says? Those
    /// that are not (no `data`, `data` that is a folder or a symbolic link, a blob behind a symbolic link) are noted
    /// and left out: they are kept.
    ///
    /// A `stat` for each; nothing is opened.
    pub fn measure(
        &self,
        registry: &Registry,
        unreferenced: &[DigestId],
        findings: &Findings,
        meter: &Meter,
    ) -> Vec<SizedBlob> {
        meter.expect(unreferenced.len() as u64);
        // Neighbours in the table are neighbours on the disk: a run of one shard shares one open folder.
        let runs: Vec<&[DigestId]> =
            unreferenced.chunk_by(|a, b| self.shard(*a) == self.shard(*b)).flat_map(|run| run.chunks(256)).collect();
        runs.into_par_iter().flat_map_iter(|run| self.measure_run(registry, run, findings, meter)).collect()
    }

    fn shard(&self, id: DigestId) -> (Algorithm, u8) {
        match id.index().checked_sub(self.sha256.len()) {
            None => (Algorithm::Sha256, self.sha256[id.index()][0]),
            Some(place) => (Algorithm::Sha512, self.sha512[place][0]),
        }
    }

    fn measure_run(&self, registry: &Registry, run: &[DigestId], findings: &Findings, meter: &Meter) -> Vec<SizedBlob> {
        let mut sized = Vec::with_capacity(run.len());
        let Some(&first) = run.first() else { return sized };
        let shard_path = blob_dir(&self.digest(first)).parent().map(Path::to_owned).unwrap_or_default();
        let shard = match registry.v2().open(&shard_path) {
            Ok(Some(shard)) => shard,
            // Gone since it was listed: nothing to free there.
            Ok(None) => return sized,
            Err(unreadable) => {
                unreadable_blobs(findings, &unreadable);
                return sized;
            }
        };
        for &id in run.iter().filter(|id| !self.linked.contains(id)) {
            let hex = self.digest(id).hex();
            let data = Path::new(&hex).join(DATA);
            let complaint = match shard.look(&data) {
                Ok(Some(Looked { kind: Kind::File, bytes, disk_bytes, stamp })) => {
                    sized.push(SizedBlob { id, size: BlobSize { bytes, disk_bytes }, stamp });
                    continue;
                }
                Ok(Some(Looked { kind: Kind::Directory, .. })) => "its 'data' is a folder; kept".to_owned(),
                Ok(Some(Looked { kind: Kind::SymbolicLink, .. })) => "its 'data' is a symbolic link; kept".to_owned(),
                Ok(Some(_)) => "its 'data' is no regular file; kept".to_owned(),
                Ok(None) => "a blob's folder without 'data' in it; kept".to_owned(),
                Err(unreadable) => format!("cannot be looked at ({}); kept", unreadable.cause),
            };
            findings.add(
                Severity::Warning,
                FindingKind::DamagedBlob,
                None,
                &shard.path().join(&hex),
                format!("no reference leads to it, and {complaint}"),
            );
        }
        meter.add(run.len() as u64);
        sized
    }
}
