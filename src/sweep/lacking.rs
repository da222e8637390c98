//! What an image lacks that a run has put aside: blobs and links that later runs have taken.
//!
//! A run takes what nothing needed *then*. A layer that its image shared with another stays behind, and goes with that
//! other one in a later run. Who puts the first run back gets an image that cannot be pulled; so this is looked at
//! before anything is put back. It only reads.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{RunId, Runs};
use crate::digest::{Algorithm, Digest};
use crate::layout::{DATA, Item, LINK, MANIFESTS, REPOSITORIES, REVISIONS, RepositoryName, blob_dir, component};
use crate::manifest::{Expect, MAX_MANIFEST_BYTES, parse};
use crate::registry::{Cause, Kind, Registry, Unreadable};

/// An image that was put aside, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lacking {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its manifest.
    pub manifest: Digest,
    /// The first thing that is neither in the registry nor in the run's trash.
    pub lacks: Digest,
}

/// Every image in the trash of a run that could not be pulled if it were put back now, sorted.
///
/// # Errors
/// [`Unreadable`] if something cannot be looked at: it may be there.
pub fn lacking(registry: &Registry, run: &RunId) -> Result<Vec<Lacking>, Unreadable> {
    let trash = Runs::trash_of(run);
    let looker = Looker { registry, trash: &trash };
    let mut revisions = Vec::new();
    looker.revisions_below(&mut PathBuf::from(REPOSITORIES), 0, &mut revisions)?;
    let found: Result<Vec<Option<Lacking>>, Unreadable> =
        revisions.into_par_iter().map(|(repository, manifest)| looker.look(repository, manifest)).collect();
    let mut lacking: Vec<Lacking> = found?.into_iter().flatten().collect();
    lacking.sort();
    Ok(lacking)
}

/// How deep repositories may lie in each other.
const DEEPEST: u32 = 64;

struct Looker<'a> {
    registry: &'a Registry,
    trash: &'a Path,
}

impl Looker<'_> {
    /// The revisions in the trash, below a folder of repositories.
    fn revisions_below(
        &self,
        path: &mut PathBuf,
        depth: u32,
        found: &mut Vec<(RepositoryName, Digest)>,
    ) -> Result<(), Unreadable> {
        let Some(dir) = self.registry.v2().open(self.trash.join(&*path))? else { return Ok(()) };
        let mut names = Vec::new();
        dir.for_each(|name, kind| {
            if kind == Kind::Directory && !name.starts_with(b"_") {
                names.push(name.to_owned());
            }
        })?;
        let below = path.strip_prefix(REPOSITORIES).ok().and_then(Path::to_str).unwrap_or_default();
        if let Ok(repository) = RepositoryName::parse(below) {
            for algorithm in Algorithm::ALL {
                let folder = self.trash.join(&*path).join(MANIFESTS).join(REVISIONS).join(algorithm.name());
                let Some(dir) = self.registry.v2().open(folder)? else { continue };
                let mut digests = Vec::new();
                dir.for_each(|name, _| digests.extend(Digest::from_hex(algorithm, name).ok()))?;
                for digest in digests {
                    // An empty folder of a revision is nothing that could be pulled.
                    if dir.look(Path::new(&digest.hex()).join(LINK))?.is_some() {
                        found.push((repository.clone(), digest));
                    }
                }
            }
        }
        for name in names.into_iter().filter(|_| depth < DEEPEST) {
            path.push(component(&name));
            self.revisions_below(path, depth + 1, found)?;
            path.pop();
        }
        Ok(())
    }

    /// What this image lacks; `None` if nothing.
    fn look(&self, repository: RepositoryName, manifest: Digest) -> Result<Option<Lacking>, Unreadable> {
        let lacks = |lacks: Digest, manifest: Digest, repository: RepositoryName| {
            Ok(Some(Lacking { repository, manifest, lacks }))
        };
        let data = blob_dir(&manifest).join(DATA);
        let mut content = None;
        for path in [data.clone(), self.trash.join(&data)] {
            match self.registry.v2().read(&path, MAX_MANIFEST_BYTES) {
                Ok(None) => {}
                Ok(found) => content = found,
                // It is there, and what it is was known when it was put aside.
                Err(Unreadable { cause: Cause::TooLarge { .. } | Cause::NotAFile, .. }) => return Ok(None),
                Err(unreadable) => return Err(unreadable),
            }
        }
        let Some(content) = content else { return lacks(manifest.clone(), manifest, repository) };
        // Damaged before, and damaged after.
        let Ok(parsed) = parse(&content.bytes) else { return Ok(None) };
        for reference in parsed.references.into_iter().filter(|reference| reference.expect == Expect::Blob) {
            let link = Item::LayerLink(repository.clone(), reference.digest.clone()).path();
            if !self.is_there(&blob_dir(&reference.digest))? || !self.is_there(&link)? {
                return lacks(reference.digest, manifest, repository);
            }
        }
        Ok(None)
    }

    /// Whether this is in the registry or in the trash.
    fn is_there(&self, path: &Path) -> Result<bool, Unreadable> {
        let v2 = self.registry.v2();
        Ok(v2.look(path)?.is_some() || v2.look(self.trash.join(path))?.is_some())
    }
}
