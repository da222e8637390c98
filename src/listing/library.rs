//! The manifests that a listing shows, and what has to be known about them: each read once, verified, in parallel.
//!
//! `manifest::Store` is the collector's own and leaves out all that is only worth showing; here that is kept, for the
//! repositories that somebody has asked for.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use crate::digest::Digest;
use crate::inventory::{DigestId, Digests};
use crate::layout::{DATA, blob_dir};
use crate::manifest::{
    BlobDetails, ChildDetails, Config, Expect, Form, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, config, details,
};
use crate::policy::KnownManifests;
use crate::progress::Meter;
use crate::registry::{Cause, Content, Registry, Unreadable};

/// A manifest, its digests as small numbers.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Its own size in bytes.
    pub(crate) bytes: u64,
    pub(crate) form: Form,
    pub(crate) media_type: Option<Box<str>>,
    pub(crate) artifact_type: Option<Box<str>>,
    pub(crate) config: Option<DigestId>,
    pub(crate) blobs: Vec<Blob>,
    pub(crate) children: Vec<Child>,
    pub(crate) subject: Option<DigestId>,
}

/// A blob that a manifest names.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) id: DigestId,
    /// As the manifest gives it.
    pub(crate) bytes: Option<u64>,
    pub(crate) is_foreign: bool,
}

/// An entry of an index.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) id: DigestId,
    pub(crate) expect: Expect,
    /// As the index gives it.
    pub(crate) bytes: Option<u64>,
    pub(crate) platform: Option<Box<str>>,
    pub(crate) is_attestation: bool,
}

/// What became of reading one.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// Its bytes match its digest.
    Manifest(Box<Manifest>),
    /// It is not in the blob store.
    Missing,
    /// It was read whole, and is not what its digest names, or not a manifest.
    Damaged(Box<str>),
    /// It could not be read: it may be whole.
    Unreadable(Box<str>),
    /// Nobody said that it is a manifest, and it is none.
    Blob,
}

/// Everything that was read.
#[derive(Debug)]
pub(crate) struct Library<'a> {
    registry: &'a Registry,
    pub(crate) digests: &'a Digests,
    meter: &'a Meter,
    manifests: HashMap<DigestId, Loaded>,
    configs: HashMap<DigestId, Config>,
    /// Sizes of blobs of which no manifest says them; `None` where nobody knows.
    measured: HashMap<DigestId, Option<u64>>,
}

impl<'a> Library<'a> {
    /// Nothing is read yet.
    pub(crate) fn new(registry: &'a Registry, digests: &'a Digests, meter: &'a Meter) -> Library<'a> {
        Library {
            registry,
            digests,
            meter,
            manifests: HashMap::new(),
            configs: HashMap::new(),
            measured: HashMap::new(),
        }
    }

    /// Reads these manifests and all below them, each once; what was read before is not read again.
    ///
    /// One level of indexes after the other, not down each of them: how deep they go is what a stranger decides.
    pub(crate) fn read(&mut self, roots: impl IntoIterator<Item = DigestId>) {
        let mut level: Vec<(DigestId, Expect)> = roots.into_iter().map(|id| (id, Expect::Manifest)).collect();
        loop {
            // What was taken for a mere blob, and somebody says now that it is a manifest, is looked at more closely.
            level.retain(|(id, expect)| match self.manifests.get(id) {
                None => true,
                Some(Loaded::Blob) => *expect == Expect::Manifest,
                Some(_) => false,
            });
            level.sort_unstable_by(|a, b| b.cmp(a));
            level.dedup_by_key(|(id, _)| *id);
            if level.is_empty() {
                break;
            }
            self.meter.expect(level.len() as u64);
            let wanted = level.par_iter().filter(|_| !self.meter.is_halted());
            let loaded: Vec<(DigestId, Loaded)> = wanted.map(|&(id, expect)| (id, self.load(id, expect))).collect();
            level.clear();
            for (id, loaded) in loaded {
                if let Loaded::Manifest(manifest) = &loaded {
                    level.extend(manifest.children.iter().map(|child| (child.id, child.expect)));
                }
                self.manifests.insert(id, loaded);
            }
        }
        self.measure();
    }

    /// Reads the configs of these images, where they can be read. One that is damaged has nothing to say.
    pub(crate) fn read_configs(&mut self, images: &HashSet<DigestId>) {
        let mut wanted: Vec<DigestId> = images
            .iter()
            .filter_map(|&id| self.manifest(id)?.config)
            .filter(|id| !self.configs.contains_key(id))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        self.meter.expect(wanted.len() as u64);
        let read: Vec<(DigestId, Config)> =
            wanted.into_par_iter().map(|id| (id, self.load_config(id).unwrap_or_default())).collect();
        self.configs.extend(read);
    }

    /// Asks for the size of each blob of which nobody says it. There are none but in Docker's schema 1.
    fn measure(&mut self) {
        let mut unknown = HashSet::new();
        for manifest in self.manifests.values() {
            let Loaded::Manifest(manifest) = manifest else { continue };
            let blobs = manifest.blobs.iter().filter(|blob| blob.bytes.is_none()).map(|blob| blob.id);
            let is_blob = |child: &&Child| matches!(self.manifests.get(&child.id), Some(Loaded::Blob));
            let children = manifest.children.iter().filter(is_blob).filter(|child| child.bytes.is_none());
            unknown.extend(blobs.chain(children.map(|child| child.id)));
        }
        unknown.retain(|id| !self.measured.contains_key(id));
        let measured: Vec<(DigestId, Option<u64>)> = unknown
            .into_par_iter()
            .map(|id| {
                let path = blob_dir(&self.digests.digest(id)).join(DATA);
                // What is not there takes no room.
                (id, self.registry.v2().look(path).ok().map(|looked| looked.map_or(0, |looked| looked.bytes)))
            })
            .collect();
        self.measured.extend(measured);
    }

    /// What became of this one; `None` if nobody asked for it.
    pub(crate) fn get(&self, id: DigestId) -> Option<&Loaded> {
        self.manifests.get(&id)
    }

    /// Everything that was read, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (DigestId, &Loaded)> {
        self.manifests.iter().map(|(id, loaded)| (*id, loaded))
    }

    /// How many manifests are whole.
    pub(crate) fn count(&self) -> u64 {
        self.manifests.values().filter(|loaded| matches!(loaded, Loaded::Manifest(_))).count() as u64
    }

    /// The manifest of this digest, if it is whole.
    pub(crate) fn manifest(&self, id: DigestId) -> Option<&Manifest> {
        match self.get(id) {
            Some(Loaded::Manifest(manifest)) => Some(manifest),
            _ => None,
        }
    }

    /// What the config of this image says; nothing where it was not read or cannot be.
    pub(crate) fn config_of(&self, image: &Manifest) -> Option<&Config> {
        self.configs.get(&image.config?)
    }

    /// The size of a blob that is given like this; `None` where nobody knows.
    pub(crate) fn size(&self, id: DigestId, given: Option<u64>) -> Option<u64> {
        given.or_else(|| self.measured.get(&id).copied().flatten())
    }

    /// Everything that these reach by the lists of indexes, themselves included. A list and no recursion.
    pub(crate) fn reached(&self, roots: impl IntoIterator<Item = DigestId>) -> HashSet<DigestId> {
        let mut pending: Vec<DigestId> = roots.into_iter().collect();
        let mut reached = HashSet::new();
        while let Some(id) = pending.pop() {
            if reached.insert(id)
                && let Some(manifest) = self.manifest(id)
            {
                pending.extend(manifest.children.iter().map(|child| child.id));
            }
        }
        reached
    }

    fn load(&self, id: DigestId, expect: Expect) -> Loaded {
        self.meter.add(1);
        let digest = self.digests.digest(id);
        let content = match self.content(&digest, MAX_MANIFEST_BYTES) {
            Ok(Some(content)) => content,
            Ok(None) => return Loaded::Missing,
            Err(Unreadable { cause: Cause::TooLarge { .. }, .. }) if expect != Expect::Manifest => return Loaded::Blob,
            Err(Unreadable { cause: cause @ Cause::TooLarge { .. }, .. }) => {
                return Loaded::Damaged(format!("too large for a manifest: {cause}").into());
            }
            Err(Unreadable { cause: cause @ Cause::NotAFile, .. }) => return Loaded::Damaged(cause.to_string().into()),
            Err(unreadable) => return Loaded::Unreadable(unreadable.cause.to_string().into()),
        };
        let read = if content.bytes.is_empty() {
            Err("empty".to_owned())
        } else if digest.matches(&content.bytes) {
            details(&content.bytes).map_err(|error| error.to_string())
        } else {
            Err("its bytes do not match its digest".to_owned())
        };
        match read {
            Ok(details) => {
                let blob = |BlobDetails { digest, bytes, is_foreign }| Blob {
                    id: self.digests.id(&digest),
                    bytes,
                    is_foreign,
                };
                let child = |ChildDetails { digest, expect, bytes, platform, is_attestation }| Child {
                    id: self.digests.id(&digest),
                    expect,
                    bytes,
                    platform,
                    is_attestation,
                };
                Loaded::Manifest(Box::new(Manifest {
                    bytes: content.bytes.len() as u64,
                    form: details.form,
                    media_type: details.media_type,
                    artifact_type: details.artifact_type,
                    config: details.config.map(|digest| self.digests.id(&digest)),
                    blobs: details.blobs.into_iter().map(blob).collect(),
                    children: details.children.into_iter().map(child).collect(),
                    subject: details.subject.map(|digest| self.digests.id(&digest)),
                }))
            }
            // Whatever it was to be, it is not what its digest names.
            Err(why) if expect == Expect::Manifest || !digest.matches(&content.bytes) => Loaded::Damaged(why.into()),
            Err(_) => Loaded::Blob,
        }
    }

    fn load_config(&self, id: DigestId) -> Option<Config> {
        self.meter.add(1);
        let digest = self.digests.digest(id);
        let content = self.content(&digest, MAX_CONFIG_BYTES).ok().flatten()?;
        digest.matches(&content.bytes).then(|| config(&content.bytes))?
    }

    fn content(&self, digest: &Digest, limit: u64) -> Result<Option<Content>, Unreadable> {
        self.registry.v2().read(blob_dir(digest).join(DATA), limit)
    }
}

impl KnownManifests for Library<'_> {
    fn is_whole(&self, id: DigestId) -> bool {
        self.manifest(id).is_some()
    }

    fn is_missing(&self, id: DigestId) -> bool {
        matches!(self.get(id), Some(Loaded::Missing))
    }

    fn subject(&self, id: DigestId) -> Option<DigestId> {
        self.manifest(id)?.subject
    }

    fn listed(&self, id: DigestId) -> Option<impl Iterator<Item = DigestId>> {
        let manifest = self.manifest(id)?;
        let is_list = manifest.form == Form::Index && manifest.blobs.is_empty();
        is_list.then(|| manifest.children.iter().map(|child| child.id))
    }
}
