//! What an image lacks that a run has put aside: blobs and links that later runs have taken.
//!
//! A run takes what nothing needed *then*. A layer that its image shared with another stays behind, and goes with that
//! other one in a later run. Who puts the first run back gets an image that cannot be pulled; so this is looked at
//! before anything is put back. It only reads.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::journal::revisions_taken;
use super::{Run, RunId, Runs};
use crate::digest::{Algorithm, Digest};
use crate::layout::{
    CURRENT, DATA, Item, LINK, MANIFESTS, REPOSITORIES, REVISIONS, RepositoryName, TAGS, blob_dir, component,
};
use crate::manifest::{Expect, MAX_MANIFEST_BYTES, Reference, parse};
use crate::registry::{Cause, Kind, MAX_LINK_BYTES, Registry, Unreadable};

/// An image that was put aside, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lacking {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its manifest.
    pub manifest: Digest,
    /// The first thing that is neither in the registry nor in the run's trash.
    pub lacks: Digest,
    /// The run whose trash holds that, if it can be restored.
    pub lies_in: Option<RunId>,
}

/// Why it cannot be said what an image lacks: something cannot be looked at, and may be there.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    /// Something in the registry or in the trash.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The journals of other runs.
    #[error("the journals of other runs cannot be read")]
    Journals(#[from] io::Error),
}

/// Every image in the trash of a run, and every one that only its tag there leads to, that could not be pulled if the
/// run were put back now, sorted. Of the first it is said where what it lacks lies, if that can be restored.
///
/// A part of an index that is neither in the registry nor in the trash is missed only if another run names it in its
/// plan: an index may have been sparse all along. So is what a tag points at: it may have led nowhere.
///
/// # Errors
/// [`Unseen`].
pub fn lacking(registry: &Registry, runs: &Runs, run: &RunId) -> Result<Vec<Lacking>, Unseen> {
    let trash = Runs::trash_of(run);
    let looker = Looker { registry, trash: &trash };
    let mut images = Vec::new();
    looker.images_below(&mut PathBuf::from(REPOSITORIES), 0, &mut images)?;
    images.sort();
    images.dedup();
    let found: Result<Vec<Looked>, Unreadable> =
        images.into_par_iter().map(|(repository, manifest)| looker.look(repository, manifest)).collect();
    let mut lacking = Vec::new();
    let mut absent = Vec::new();
    for Looked { lacks, children } in found? {
        lacking.extend(lacks);
        absent.extend(children);
    }
    if !absent.is_empty() {
        let wanted: HashSet<(RepositoryName, Digest)> =
            absent.iter().map(|it: &Lacking| (it.repository.clone(), it.lacks.clone())).collect();
        let mut taken = HashSet::new();
        for other in runs.list()?.iter().filter(|other| other.id != *run) {
            taken.extend(revisions_taken(&other.folder, &wanted)?);
        }
        absent.retain(|it| taken.contains(&(it.repository.clone(), it.lacks.clone())));
        lacking.extend(absent);
    }
    lacking.sort();
    lacking.dedup();
    let others: Vec<Run> =
        runs.list()?.into_iter().filter(|other| other.id != *run && other.can_be_restored()).collect();
    if let Some(first) = lacking.first_mut() {
        first.lies_in = holder(registry, &others, first)?;
    }
    Ok(lacking)
}

/// The newest of these runs whose trash holds what an image lacks.
fn holder(registry: &Registry, runs: &[Run], lacking: &Lacking) -> Result<Option<RunId>, Unreadable> {
    let (repository, digest) = (&lacking.repository, &lacking.lacks);
    let places = [
        blob_dir(digest),
        Item::LayerLink(repository.clone(), digest.clone()).path(),
        Item::Revision(repository.clone(), digest.clone()).path(),
    ];
    for run in runs.iter().rev() {
        for place in &places {
            if registry.v2().look(Runs::trash_of(&run.id).join(place))?.is_some() {
                return Ok(Some(run.id.clone()));
            }
        }
    }
    Ok(None)
}

/// What was seen of an image.
#[derive(Debug, Default)]
struct Looked {
    /// What it lacks for certain.
    lacks: Option<Lacking>,
    /// Parts of it that are not there, and may never have been.
    children: Vec<Lacking>,
}

/// How deep repositories may lie in each other.
const DEEPEST: u32 = 64;

struct Looker<'a> {
    registry: &'a Registry,
    trash: &'a Path,
}

impl Looker<'_> {
    /// The revisions in the trash, and what the tags there point at, below a folder of repositories.
    fn images_below(
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
        if let Ok(repository) = RepositoryName::parse(below)
            && let Some(tags) = self.registry.v2().open(self.trash.join(&*path).join(MANIFESTS).join(TAGS))?
        {
            let mut names = Vec::new();
            tags.for_each(|name, _| names.push(name.to_owned()))?;
            for name in names {
                let link = component(&name).join(CURRENT).join(LINK);
                let target = tags.read(&link, MAX_LINK_BYTES)?.and_then(|link| Digest::parse(&link.bytes).ok());
                found.extend(target.map(|target| (repository.clone(), target)));
            }
        }
        for name in names.into_iter().filter(|_| depth < DEEPEST) {
            path.push(component(&name));
            self.images_below(path, depth + 1, found)?;
            path.pop();
        }
        Ok(())
    }

    /// What this image lacks.
    fn look(&self, repository: RepositoryName, manifest: Digest) -> Result<Looked, Unreadable> {
        let lacking = |lacks: Digest| Lacking {
            repository: repository.clone(),
            manifest: manifest.clone(),
            lacks,
            lies_in: None,
        };
        let lacks = |digest: Digest| Ok(Looked { lacks: Some(lacking(digest)), ..Looked::default() });
        let data = blob_dir(&manifest).join(DATA);
        let mut content = None;
        for path in [data.clone(), self.trash.join(&data)] {
            match self.registry.v2().read(&path, MAX_MANIFEST_BYTES) {
                Ok(None) => {}
                Ok(found) => content = found,
                // It is there, and what it is was known when it was put aside.
                Err(Unreadable { cause: Cause::TooLarge { .. } | Cause::NotAFile, .. }) => return Ok(Looked::default()),
                Err(unreadable) => return Err(unreadable),
            }
        }
        // A tag may have led nowhere before it was put aside.
        let link = Item::Revision(repository.clone(), manifest.clone()).path().join(LINK);
        if !self.is_there(&link)? {
            return Ok(Looked { children: vec![lacking(manifest.clone())], ..Looked::default() });
        }
        let Some(content) = content else { return lacks(manifest.clone()) };
        // Damaged before, and damaged after.
        let Ok(parsed) = parse(&content.bytes) else { return Ok(Looked::default()) };
        let mut looked = Looked::default();
        for Reference { digest, expect } in parsed.references {
            let is_whole = match expect {
                Expect::Blob => self.has_blob(&repository, &digest)?,
                Expect::Manifest => {
                    let revision = Item::Revision(repository.clone(), digest.clone()).path().join(LINK);
                    if !self.is_there(&blob_dir(&digest))? || !self.is_there(&revision)? {
                        looked.children.push(lacking(digest.clone()));
                    }
                    true
                }
                Expect::Unknown | Expect::ForeignBlob => true,
            };
            if !is_whole {
                return lacks(digest);
            }
        }
        Ok(looked)
    }

    /// Whether a repository can serve a blob: by its link there, which may name the same content by another algorithm.
    fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Unreadable> {
        let link = Item::LayerLink(repository.clone(), digest.clone()).path().join(LINK);
        for path in [link.clone(), self.trash.join(&link)] {
            let Some(content) = self.registry.v2().read(&path, MAX_LINK_BYTES)? else { continue };
            let target = Digest::parse(&content.bytes).unwrap_or_else(|_| digest.clone());
            return Ok(self.is_there(&blob_dir(digest))? || self.is_there(&blob_dir(&target))?);
        }
        Ok(false)
    }

    /// Whether this is in the registry or in the trash.
    fn is_there(&self, path: &Path) -> Result<bool, Unreadable> {
        let v2 = self.registry.v2();
        Ok(v2.look(path)?.is_some() || v2.look(self.trash.join(path))?.is_some())
    }
}
