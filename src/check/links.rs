//! Links, read one by one: does each say what its path says?
//!
//! The collector never opens most of them, because their paths tell. The registry does, for every pull: a layer link
//! that is empty or names something else makes an image that nobody can pull, whatever lies in the blob store.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::digest::Algorithm;
use crate::inventory::{DigestId, Digests, LinkState, Repository, Tag, read_link};
use crate::layout::{CURRENT, INDEX, LAYERS, LINK, TagName};
use crate::progress::Meter;
use crate::registry::Registry;

/// What is wrong with a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its folder is there, and the link is not.
    Absent,
    /// It is empty, or what it says is no digest.
    Damaged(Box<str>),
    /// It names another digest than its path.
    Names(DigestId),
    /// It could not be read: it may be right.
    Unreadable(Box<str>),
}

impl Wrong {
    /// What is wrong, if anything is. Under the name of a sha512 digest registries have linked sha256 blobs as well.
    pub(super) fn of(digests: &Digests, id: DigestId, state: LinkState) -> Option<Wrong> {
        match state {
            LinkState::Target(target) if target == id => None,
            LinkState::Target(target) => {
                let is_alias = digests.digest(id).algorithm() != Algorithm::Sha256
                    && digests.digest(target).algorithm() == Algorithm::Sha256;
                (!is_alias).then_some(Wrong::Names(target))
            }
            LinkState::Absent => Some(Wrong::Absent),
            LinkState::Damaged(why) => Some(Wrong::Damaged(why)),
            LinkState::Unreadable(why) => Some(Wrong::Unreadable(why)),
        }
    }

    /// What it is, as a clause after "the link of ...".
    pub fn text(&self, digests: &Digests) -> String {
        match self {
            Wrong::Absent => "is gone".to_owned(),
            Wrong::Damaged(why) => format!("cannot be used ({why})"),
            Wrong::Names(other) => format!("names {}", digests.digest(*other)),
            Wrong::Unreadable(why) => format!("cannot be read ({why})"),
        }
    }
}

/// The links of a repository that are not as they should be.
#[derive(Debug, Default)]
pub struct RepositoryLinks {
    /// Layer links that are wrong. One whose folder is empty is here as well; one without a folder is not.
    pub layers: HashMap<DigestId, Wrong>,
    /// Entries of tag histories that are wrong: the place of the tag, and the digest.
    pub history: Vec<(usize, DigestId, Wrong)>,
    /// How many links were read.
    pub read: u64,
}

/// Reads the layer links and the tag histories of a repository, in parallel on the current rayon pool. Revision links
/// and current links were read when it was listed.
pub(super) fn read(registry: &Registry, digests: &Digests, repository: &Repository, meter: &Meter) -> RepositoryLinks {
    let v2 = registry.v2();
    let mut links = RepositoryLinks::default();
    for algorithm in Algorithm::ALL {
        let ids: Vec<DigestId> =
            repository.layer_links.iter().copied().filter(|&id| digests.digest(id).algorithm() == algorithm).collect();
        if ids.is_empty() {
            continue;
        }
        meter.expect(ids.len() as u64);
        let path = repository.path.join(LAYERS).join(algorithm.name());
        let dir = v2.open(&path);
        let wrong = ids.par_iter().filter(|_| !meter.is_halted()).filter_map(|&id| {
            let state = match &dir {
                Ok(Some(dir)) => read_link(dir, &Path::new(&digests.digest(id).hex()).join(LINK), digests).0,
                Ok(None) => LinkState::Absent,
                Err(unreadable) => LinkState::Unreadable(unreadable.cause.to_string().into()),
            };
            meter.add(1);
            Some((id, Wrong::of(digests, id, state)?))
        });
        links.layers.par_extend(wrong);
        links.read += ids.len() as u64;
    }
    let entries: Vec<(usize, &Tag, DigestId)> = repository
        .tags
        .iter()
        .enumerate()
        // A name that had to be escaped to be shown is no path.
        .filter(|(_, tag)| TagName::parse(&tag.name).is_ok())
        .flat_map(|(place, tag)| tag.history.iter().flatten().map(move |&id| (place, tag, id)))
        .collect();
    meter.expect(entries.len() as u64);
    links.read += entries.len() as u64 + (repository.revision_links() + repository.tags.len()) as u64;
    links.history = entries
        .into_par_iter()
        .filter(|_| !meter.is_halted())
        .filter_map(|(place, tag, id)| {
            let (state, _) = read_link(v2, &history_link(repository, &tag.name, digests, id), digests);
            meter.add(1);
            Some((place, id, Wrong::of(digests, id, state)?))
        })
        .collect();
    links
}

/// The path of a tag's current link.
pub(super) fn current_link(repository: &Repository, tag: &str) -> PathBuf {
    repository.tag_folder(tag).join(CURRENT).join(LINK)
}

/// The path of an entry of a tag's history.
pub(super) fn history_link(repository: &Repository, tag: &str, digests: &Digests, id: DigestId) -> PathBuf {
    let digest = digests.digest(id);
    let mut path = repository.tag_folder(tag);
    path.extend([INDEX, digest.algorithm().name(), &digest.hex(), LINK]);
    path
}

/// The path of a layer link.
pub(super) fn layer_link(repository: &Repository, digests: &Digests, id: DigestId) -> PathBuf {
    repository.layer_link(&digests.digest(id))
}

/// The path of a revision link.
pub(super) fn revision_link(repository: &Repository, digests: &Digests, id: DigestId) -> PathBuf {
    repository.revision_folder(&digests.digest(id)).join(LINK)
}
