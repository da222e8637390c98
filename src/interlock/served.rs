//! Does the registry that answers serve the folder that is to be collected?
//!
//! One that is read-only proves nothing about another one's storage, and between two addresses lies one wrong digit. So
//! it is asked for images that lie on disk: `HEAD /v2/<name>/manifests/<tag>` (distribution spec, "Pulling manifests"),
//! whose answer has the digest in `Docker-Content-Digest`. It serves another storage if it clearly says otherwise than
//! the link of one of these tags: it takes no pushes, so nothing moves between looking and asking. That others are the
//! same proves nothing, for many registries hold the same base images. Where there is no tag to ask for, or no clear answer,
//! nothing is said.
//!
//! A copy of this storage, or a mirror of it, cannot be told from it.

use std::path::Path;

use crate::digest::Digest;
use crate::layout::{
    CURRENT, DATA, Item, LINK, MANIFESTS, REPOSITORIES, RepositoryName, TAGS, TagName, component, repository_dir,
};
use crate::registry::{Kind, MAX_LINK_BYTES, Registry, Unreadable};

/// How many images are asked for at most.
const ASKED: usize = 4;
/// How many folders are listed at most to find them, however large the registry is: this is inside the window.
const FOLDERS: usize = 200;
/// How many tags of a repository are looked at.
const TAGS_LOOKED_AT: usize = 4;
/// How many repositories with images are enough to choose from.
const ENOUGH: usize = 8;

/// An image on disk that a registry which serves it can deliver by its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDisk {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its tag.
    pub tag: TagName,
    /// What the tag points at.
    pub digest: Digest,
    modified: i64,
}

impl OnDisk {
    /// An image that nobody knows the age of.
    #[cfg(test)]
    pub(super) fn new(repository: RepositoryName, tag: TagName, digest: Digest) -> OnDisk {
        OnDisk { repository, tag, digest, modified: 0 }
    }
}

/// Images of the first repositories that are found: the newest of each, and then, if more may be asked for, the next of
/// each. Four of one repository would say less: that is most likely to be the one which another registry has as well.
/// What cannot be read is passed over: it is no image to ask for.
pub fn on_disk(registry: &Registry) -> Vec<OnDisk> {
    let mut found: Vec<Vec<OnDisk>> = Vec::new();
    let (mut pending, mut opened) = (vec![String::new()], 0);
    while let Some(name) = pending.pop() {
        opened += 1;
        if opened > FOLDERS || found.len() >= ENOUGH {
            break;
        }
        // A folder that cannot be listed is for the scan to say.
        let Ok(below) = names_in(registry, &Path::new(REPOSITORIES).join(&name)) else { continue };
        if below.iter().any(|name| name == MANIFESTS)
            && let Ok(repository) = RepositoryName::parse(&name)
        {
            let images = images_of(registry, &repository);
            found.extend((!images.is_empty()).then_some(images));
        }
        // Names that begin so are never repositories, but parts of one.
        let is_name = |name: &&String| !name.starts_with('_');
        let path = |below: &String| if name.is_empty() { below.clone() } else { format!("{name}/{below}") };
        pending.extend(below.iter().filter(is_name).map(path));
    }
    let ranked = found.into_iter().flat_map(|images| images.into_iter().enumerate());
    let mut ranked: Vec<(usize, OnDisk)> = ranked.collect();
    ranked.sort_by(|(rank, a), (other, b)| {
        let newest = b.modified.cmp(&a.modified);
        rank.cmp(other).then(newest).then_with(|| a.repository.as_str().cmp(b.repository.as_str()))
    });
    ranked.into_iter().take(ASKED).map(|(_, image)| image).collect()
}

/// The newest first.
fn images_of(registry: &Registry, repository: &RepositoryName) -> Vec<OnDisk> {
    let tags = repository_dir(repository).join(MANIFESTS).join(TAGS);
    let names = names_in(registry, &tags).unwrap_or_default();
    let images = names.into_iter().take(TAGS_LOOKED_AT).filter_map(|name| {
        let tag = TagName::parse(&name).ok()?;
        let link = tags.join(&name).join(CURRENT).join(LINK);
        let content = registry.v2().read(&link, MAX_LINK_BYTES).ok()??;
        let digest = Digest::parse(&content.bytes).ok()?;
        let is_there = |path: &Path| matches!(registry.v2().look(path), Ok(Some(looked)) if looked.kind == Kind::File);
        let revision = Item::Revision(repository.clone(), digest.clone()).path().join(LINK);
        let can_be_pulled = is_there(&revision) && is_there(&Item::Blob(digest.clone()).path().join(DATA));
        let modified = content.stamp.modified().0;
        can_be_pulled.then(|| OnDisk { repository: repository.clone(), tag, digest, modified })
    });
    let mut images: Vec<OnDisk> = images.collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.modified));
    images
}

fn names_in(registry: &Registry, path: &Path) -> Result<Vec<String>, Unreadable> {
    let mut names = Vec::new();
    if let Some(dir) = registry.v2().open(path)? {
        dir.for_each(|name, kind| {
            if matches!(kind, Kind::Directory | Kind::SymbolicLink)
                && let Some(name) = component(name).to_str()
            {
                names.push(name.to_owned());
            }
        })?;
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
