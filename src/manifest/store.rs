//! Manifests as they lie in the blob store: each read once, verified, and kept as small numbers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rayon::Scope;

use super::{Expect, MAX_MANIFEST_BYTES, Parsed, parse};
use crate::digest::{Algorithm, Digest, HexPlace};
use crate::inventory::{DigestId, Digests};
use crate::layout::{DATA, SIGNATURES, blob_dir};
use crate::progress::Meter;
use crate::registry::{Cause, Content, Dir, Registry, Unreadable};

/// What a manifest references, as numbers of [`Digests`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Children, then blobs, then foreign layers: one piece of memory for each manifest, and not three.
    references: Box<[DigestId]>,
    /// Where the children end and the blobs begin, and where those end.
    ends: (u32, u32),
    /// What it is about.
    pub subject: Option<DigestId>,
    /// Whether signatures may lie beside its revision link.
    pub has_signature_links: bool,
    /// Whether it is an index: it lists manifests, and nothing else.
    pub is_index: bool,
    /// When its file was last modified, in seconds since 1970; 0 where times were not wanted.
    pub modified: i64,
}

impl Manifest {
    /// Entries that are, or may be, manifests themselves.
    pub fn children(&self) -> &[DigestId] {
        &self.references[..self.ends.0 as usize]
    }

    /// Configs, layers and other blobs.
    pub fn blobs(&self) -> &[DigestId] {
        &self.references[self.ends.0 as usize..self.ends.1 as usize]
    }

    /// Layers that the registry need not have.
    pub fn foreign(&self) -> &[DigestId] {
        &self.references[self.ends.1 as usize..]
    }
}

/// What became of reading a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It was read, and its bytes match its digest.
    Manifest(Manifest),
    /// It is not in the blob store.
    Missing,
    /// It was read whole, and is not what its digest names, or not a manifest.
    Damaged(Box<str>),
    /// It could not be read: it may be whole.
    Unreadable(Box<str>),
    /// Nobody said that it is a manifest, and it is none: a blob like any other.
    Blob,
}

/// All manifests that anything names, read.
#[derive(Debug, Default)]
pub struct Store {
    parts: Vec<Part>,
}

/// Some of the manifests.
#[derive(Debug, Default)]
struct Part {
    /// Where each one is in `entries`. A map of those themselves would be half empty, and they are large.
    places: HashMap<DigestId, u32>,
    entries: Vec<Entry>,
}

impl Part {
    fn get(&self, id: DigestId) -> Option<&Entry> {
        self.entries.get(*self.places.get(&id)? as usize)
    }

    fn get_mut(&mut self, id: DigestId) -> Option<&mut Entry> {
        self.entries.get_mut(*self.places.get(&id)? as usize)
    }
}

impl Store {
    /// What became of this one; `None` if nothing named it as a manifest.
    pub fn get(&self, id: DigestId) -> Option<&Loaded> {
        self.parts.get(id.index() % PARTS)?.get(id)?.loaded.as_ref()
    }

    /// The manifest of this digest, if it was read and is whole.
    pub fn manifest(&self, id: DigestId) -> Option<&Manifest> {
        match self.get(id) {
            Some(Loaded::Manifest(manifest)) => Some(manifest),
            _ => None,
        }
    }

    /// Every manifest that was read and is whole, in no order.
    pub fn manifests(&self) -> impl Iterator<Item = (DigestId, &Manifest)> {
        let entries = self.parts.iter().flat_map(|part| part.places.keys());
        entries.filter_map(|&id| Some((id, self.manifest(id)?)))
    }

    /// Whether it was looked for as a manifest, and is not in the blob store.
    pub fn is_missing(&self, id: DigestId) -> bool {
        matches!(self.get(id), Some(Loaded::Missing))
    }
}

/// Manifests that are being read, by many threads at once, while folders are still being listed.
#[derive(Debug)]
pub struct Reading<'a> {
    registry: &'a Registry,
    digests: &'a Digests,
    meter: &'a Meter,
    wants_times: bool,
    /// By number, spread over several locks so that threads do not wait for each other.
    parts: Vec<Mutex<Part>>,
    /// The folders that the blobs' folders are in, each opened when something in it is read for the first time: so the
    /// system does not walk down the whole path for each manifest, and on a network volume asks less often. `None`
    /// where that did not work. Empty where a process may not have so many handles.
    folders: Vec<OnceLock<Option<Dir>>>,
}

/// A digest that was named as a manifest.
#[derive(Debug)]
struct Entry {
    /// The most that anybody has said of it.
    expect: Expect,
    /// `None` while it is being read.
    loaded: Option<Loaded>,
}

/// In how many parts manifests are kept.
const PARTS: usize = 64;
/// How many manifests one thread reads after another: few enough that all threads have work where a repository is
/// large, and enough that handing them out costs nothing.
const AT_ONCE: usize = 16;
/// In how many folders the SHA-256 blobs are.
const FOLDERS: usize = 256;
/// How many open files a process has to be allowed for one handle a folder: those, and four times as many for all else.
/// Most systems allow 1,024 at least.
const ENOUGH_HANDLES: u64 = 1024;

impl<'a> Reading<'a> {
    /// Nothing is read yet. `wants_times` says whether somebody will ask for [`Manifest::modified`].
    pub fn new(registry: &'a Registry, digests: &'a Digests, meter: &'a Meter, wants_times: bool) -> Reading<'a> {
        let may_hold = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let folders = if may_hold >= ENOUGH_HANDLES { FOLDERS } else { 0 };
        Reading {
            registry,
            digests,
            meter,
            wants_times,
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            folders: (0..folders).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Reads these manifests and everything below them, each once, whoever asks for it. The work is handed to the
    /// scope, and done when that ends.
    ///
    /// What revisions and tags name is expected to be a manifest, whatever is there. Entries of indexes are as well
    /// where their media type says so; the others are looked at, and may turn out to be blobs.
    pub fn read_soon<'scope>(&'scope self, scope: &Scope<'scope>, mut wanted: Vec<(DigestId, Expect)>) {
        wanted.retain(|&(id, expect)| self.claim(id, expect));
        self.meter.expect(wanted.len() as u64);
        while !wanted.is_empty() {
            let some = wanted.split_off(wanted.len().saturating_sub(AT_ONCE));
            scope.spawn(move |scope| {
                let mut below = Vec::new();
                for (id, expect) in some {
                    if self.meter.is_halted() {
                        return;
                    }
                    below.extend(self.read(id, expect));
                    self.meter.add(1);
                }
                if !below.is_empty() {
                    self.read_soon(scope, below);
                }
            });
        }
    }

    /// Ends the reading. Where the meter says that the work is to end, not everything was read.
    pub fn into_store(self) -> Store {
        let parts = self.parts.into_iter();
        Store { parts: parts.map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner)).collect() }
    }

    /// Whether whoever asks has to read this one, because nobody has or is at it.
    fn claim(&self, id: DigestId, expect: Expect) -> bool {
        let mut part = self.part(id);
        let Some(entry) = part.get_mut(id) else {
            // More than 4 billion manifests do not fit into the memory of any machine.
            let place = u32::try_from(part.entries.len()).unwrap_or(u32::MAX);
            part.places.insert(id, place);
            part.entries.push(Entry { expect, loaded: None });
            return true;
        };
        if entry.expect >= expect {
            return false;
        }
        entry.expect = expect;
        // First taken for a mere blob, and now somebody says that it is a manifest: look closer. Whoever is still at it
        // will see that by itself.
        entry.loaded.take_if(|loaded| *loaded == Loaded::Blob).is_some()
    }

    /// Reads one that was claimed, and gives back what wants to be read next.
    fn read(&self, id: DigestId, mut expect: Expect) -> Vec<(DigestId, Expect)> {
        loop {
            let (loaded, below) = self.load(id, expect);
            let mut part = self.part(id);
            let Some(entry) = part.get_mut(id) else { return below };
            if loaded != Loaded::Blob || entry.expect == expect {
                entry.loaded = Some(loaded);
                return below;
            }
            // While it was being read, somebody has said that it is a manifest.
            expect = entry.expect;
        }
    }

    fn part(&self, id: DigestId) -> MutexGuard<'_, Part> {
        self.parts[id.index() % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, id: DigestId, expect: Expect) -> (Loaded, Vec<(DigestId, Expect)>) {
        let digest = self.digests.digest(id);
        if let Some(loaded) = self.load_whole(&digest) {
            return loaded;
        }
        let content = match self.content(&digest) {
            Ok(Some(content)) => content,
            Ok(None) => return (Loaded::Missing, Vec::new()),
            Err(Unreadable { cause: cause @ Cause::TooLarge { .. }, .. }) => {
                let loaded = match expect {
                    Expect::Manifest => Loaded::Damaged(format!("too large for a manifest: {cause}").into()),
                    _ => Loaded::Blob,
                };
                return (loaded, Vec::new());
            }
            // It is known what it is, and that will not be another thing tomorrow.
            Err(Unreadable { cause: cause @ Cause::NotAFile, .. }) => {
                return (Loaded::Damaged(cause.to_string().into()), Vec::new());
            }
            Err(unreadable) => return (Loaded::Unreadable(unreadable.cause.to_string().into()), Vec::new()),
        };
        let parsed = if digest.matches(&content.bytes) {
            parse(&content.bytes).map_err(|error| error.to_string())
        } else if content.bytes.is_empty() {
            Err("empty".to_owned())
        } else {
            Err("its bytes do not match its digest".to_owned())
        };
        match (parsed, expect) {
            (Ok(parsed), _) => intern(self.digests, &parsed, content.stamp.modified().0),
            (Err(why), Expect::Manifest) => (Loaded::Damaged(why.into()), Vec::new()),
            (Err(_), _) => (Loaded::Blob, Vec::new()),
        }
    }

    /// The fast way: a manifest whose bytes match its digest is whole, and nothing else has to be asked about it. Where
    /// that is not so, for whatever reason, or where its time is wanted, it is read and judged with all care.
    fn load_whole(&self, digest: &Digest) -> Option<(Loaded, Vec<(DigestId, Expect)>)> {
        if self.wants_times {
            return None;
        }
        let folder = self.folder_of(digest)?;
        let data = Path::new(digest.hex_in(&mut HexPlace::new())).join(DATA);
        folder.read_if_whole(data, |bytes| {
            let parsed = if digest.matches(bytes) { parse(bytes).ok()? } else { return None };
            Some(intern(self.digests, &parsed, 0))
        })
    }

    /// A blob's bytes. Looked for even where the table of blobs does not have it: the table may be incomplete, and a
    /// blob's folder may be behind a symbolic link.
    fn content(&self, digest: &Digest) -> Result<Option<Content>, Unreadable> {
        if let Some(folder) = self.folder_of(digest) {
            let data = Path::new(digest.hex_in(&mut HexPlace::new())).join(DATA);
            return folder.read(data, MAX_MANIFEST_BYTES);
        }
        let path = blob_dir(digest).join(DATA);
        self.registry.v2().read(path, MAX_MANIFEST_BYTES)
    }

    /// The folder that a blob's folder is in, if it is held open. Why it cannot be opened is said where the blob is
    /// looked for by its whole path.
    fn folder_of(&self, digest: &Digest) -> Option<&Dir> {
        let Digest::Sha256(bytes) = digest else { return None };
        let open = || self.registry.v2().open(blob_dir(digest).parent()?).ok().flatten();
        self.folders.get(usize::from(bytes[0]))?.get_or_init(open).as_ref()
    }
}

fn intern(digests: &Digests, parsed: &Parsed, modified: i64) -> (Loaded, Vec<(DigestId, Expect)>) {
    let mut below = Vec::new();
    let (mut children, mut blobs, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    for reference in &parsed.references {
        let id = digests.id(&reference.digest);
        match reference.expect {
            Expect::Blob => blobs.push(id),
            Expect::ForeignBlob => foreign.push(id),
            expect @ (Expect::Manifest | Expect::Unknown) => {
                children.push(id);
                below.push((id, expect));
            }
        }
    }
    // No manifest of 4 MiB has as many.
    let end = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let manifest = Manifest {
        ends: (end(children.len()), end(children.len() + blobs.len())),
        references: [children, blobs, foreign].concat().into(),
        subject: parsed.subject.as_ref().map(|subject| digests.id(subject)),
        has_signature_links: parsed.has_signature_links,
        is_index: parsed.is_index,
        modified,
    };
    (Loaded::Manifest(manifest), below)
}

/// The digests of the signature links beside a schema 1 revision (`signatures/<algorithm>/<hex>/link`).
///
/// # Errors
/// [`Unreadable`] if the folder is there and cannot be listed.
pub(crate) fn signature_links(
    registry: &Registry,
    digests: &Digests,
    revision: &Path,
) -> Result<Vec<DigestId>, Unreadable> {
    let mut found = Vec::new();
    for algorithm in Algorithm::ALL {
        let Some(dir) = registry.v2().open(revision.join(SIGNATURES).join(algorithm.name()))? else { continue };
        dir.for_each_of_all(dir.stamp()?, |name, _| {
            found.extend(Digest::from_hex(algorithm, name).ok().map(|digest| digests.id(&digest)));
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use super::*;
    use crate::inventory::BlobTable;
    use crate::seam::{Answer, Interceptor, Kind, Operation, Seam};

    /// Says that something is a manifest, at the moment at which it is opened.
    struct Sayer {
        reading: OnceLock<&'static Reading<'static>>,
        id: DigestId,
    }

    impl Interceptor for Sayer {
        fn before(&self, operation: &Operation<'_>) -> Answer {
            if operation.kind == Kind::OpenFile {
                let is_mine = self.reading.get().unwrap().claim(self.id, Expect::Manifest);
                assert!(!is_mine, "somebody is at it already");
            }
            Answer::Go
        }
    }

    fn leaked<T>(value: T) -> &'static T {
        Box::leak(Box::new(value))
    }

    /// Whatever the order in which things are said of a digest, the one that looks closest counts in the end: also what
    /// is said while it is being read.
    #[test]
    fn the_closest_look_at_a_digest_counts() {
        let temp = tempfile::tempdir().unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"a layer");
        let v2 = temp.path().join("docker/registry/v2");
        std::fs::create_dir_all(v2.join(blob_dir(&digest))).unwrap();
        std::fs::create_dir(v2.join("repositories")).unwrap();
        std::fs::write(v2.join(blob_dir(&digest)).join(DATA), "a layer").unwrap();
        let digests = leaked(Digests::new(BlobTable::from_digests(vec![digest.clone()])));
        let id = digests.id(&digest);
        let read = |is_interrupted: bool, wants_times: bool, said: &[Expect]| {
            let sayer = leaked(Sayer { reading: OnceLock::new(), id });
            let seam = if is_interrupted { Seam::intercepted_by(sayer) } else { Seam::default() };
            let registry = leaked(Registry::open_with(temp.path(), seam).unwrap());
            let reading = leaked(Reading::new(registry, digests, leaked(Meter::new()), wants_times));
            assert!(sayer.reading.set(reading).is_ok());
            for &expect in said {
                if reading.claim(id, expect) {
                    assert_eq!(reading.read(id, expect), []);
                }
            }
            reading.part(id).get_mut(id).unwrap().loaded.take().unwrap()
        };
        use Expect::{Manifest, Unknown};
        for (is_interrupted, said, is_damaged) in [
            (false, &[Unknown, Unknown][..], false),
            (false, &[Unknown, Manifest], true),
            (false, &[Manifest, Unknown], true),
            (true, &[Unknown], true),
        ] {
            for wants_times in [false, true] {
                let loaded = read(is_interrupted, wants_times, said);
                assert_eq!(matches!(loaded, Loaded::Damaged(_)), is_damaged, "{is_interrupted} {said:?}: {loaded:?}");
                assert_eq!(loaded == Loaded::Blob, !is_damaged);
            }
        }
    }
}
