//! Manifests as they lie in the blob store: each read once, verified, and kept as small numbers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rayon::prelude::*;

use super::{Expect, MAX_MANIFEST_BYTES, Parsed, parse};
use crate::digest::{Algorithm, Digest};
use crate::inventory::{DigestId, Digests};
use crate::layout::{DATA, SIGNATURES, blob_dir};
use crate::progress::Meter;
use crate::registry::{Cause, Registry, Stamp, Unreadable};

/// What a manifest references, as numbers of [`Digests`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Entries that are, or may be, manifests themselves.
    pub children: Box<[DigestId]>,
    /// Configs, layers and other blobs.
    pub blobs: Box<[DigestId]>,
    /// Layers that the registry need not have.
    pub foreign: Box<[DigestId]>,
    /// What it is about.
    pub subject: Option<DigestId>,
    /// Whether signatures may lie beside its revision link.
    pub has_signature_links: bool,
    /// What its file was when it was read.
    pub stamp: Stamp,
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

/// All manifests that anything names.
#[derive(Debug, Default)]
pub struct Store {
    loaded: HashMap<DigestId, Loaded>,
}

impl Store {
    /// Reads these manifests and everything below them, each once, in parallel on the current rayon pool.
    ///
    /// What revisions and tags name is expected to be a manifest, whatever is there. Entries of indexes are as well
    /// where their media type says so; the others are looked at, and may turn out to be blobs.
    pub fn load(registry: &Registry, digests: &Digests, wanted: Vec<(DigestId, Expect)>, meter: &Meter) -> Store {
        let mut loaded: HashMap<DigestId, Loaded> = HashMap::new();
        let mut round: BTreeMap<DigestId, Expect> = BTreeMap::new();
        for (id, expect) in wanted {
            let entry = round.entry(id).or_insert(expect);
            *entry = (*entry).max(expect);
        }
        while !round.is_empty() {
            meter.expect(round.len() as u64);
            let read: Vec<Read> = round
                .into_par_iter()
                .map(|(id, expect)| {
                    let (loaded, below) = read(registry, digests, id, expect);
                    meter.add(1);
                    (id, loaded, below)
                })
                .collect();
            let mut next: BTreeMap<DigestId, Expect> = BTreeMap::new();
            let mut wanted = Vec::new();
            for (id, manifest, below) in read {
                loaded.insert(id, manifest);
                wanted.extend(below);
            }
            for (id, expect) in wanted {
                match loaded.get(&id) {
                    None => {
                        let entry = next.entry(id).or_insert(expect);
                        *entry = (*entry).max(expect);
                    }
                    // First taken for a mere blob, and now somebody says that it is a manifest: look closer.
                    Some(Loaded::Blob) if expect == Expect::Manifest => {
                        next.insert(id, expect);
                    }
                    Some(_) => {}
                }
            }
            round = next;
        }
        Store { loaded }
    }

    /// What became of this one; `None` if nothing named it as a manifest.
    pub fn get(&self, id: DigestId) -> Option<&Loaded> {
        self.loaded.get(&id)
    }

    /// The manifest of this digest, if it was read and is whole.
    pub fn manifest(&self, id: DigestId) -> Option<&Manifest> {
        match self.loaded.get(&id) {
            Some(Loaded::Manifest(manifest)) => Some(manifest),
            _ => None,
        }
    }
}

/// One manifest that was read, and the entries that want reading next.
type Read = (DigestId, Loaded, Vec<(DigestId, Expect)>);

fn read(registry: &Registry, digests: &Digests, id: DigestId, expect: Expect) -> (Loaded, Vec<(DigestId, Expect)>) {
    let digest = digests.digest(id);
    // Opened even where the table of blobs does not have it: the table may be incomplete, and a blob's folder may be
    // behind a symbolic link.
    let content = match registry.v2().read(blob_dir(&digest).join(DATA), MAX_MANIFEST_BYTES) {
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
        (Ok(parsed), _) => intern(digests, &parsed, content.stamp),
        (Err(why), Expect::Manifest) => (Loaded::Damaged(why.into()), Vec::new()),
        (Err(_), _) => (Loaded::Blob, Vec::new()),
    }
}

fn intern(digests: &Digests, parsed: &Parsed, stamp: Stamp) -> (Loaded, Vec<(DigestId, Expect)>) {
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
    let manifest = Manifest {
        children: children.into(),
        blobs: blobs.into(),
        foreign: foreign.into(),
        subject: parsed.subject.as_ref().map(|subject| digests.id(subject)),
        has_signature_links: parsed.has_signature_links,
        stamp,
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
