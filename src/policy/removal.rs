//! What goes because somebody named it: `regsweep rm`.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;

/// Tags, manifests and repositories that were named to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Tags, by repository. Siblings that point at the same manifest stay.
    pub tags: BTreeMap<String, BTreeSet<String>>,
    /// Manifests, by repository. The tags that point at them go as well.
    pub manifests: BTreeMap<String, BTreeSet<Digest>>,
    /// Whole repositories.
    pub repositories: BTreeSet<String>,
}

impl Removal {
    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.manifests.is_empty() && self.repositories.is_empty()
    }

    /// Whether this tag was named, by itself or with its repository.
    pub fn names_tag(&self, repository: &str, tag: &str) -> bool {
        self.names_repository(repository) || self.tags.get(repository).is_some_and(|tags| tags.contains(tag))
    }

    /// Whether the whole repository was named.
    pub fn names_repository(&self, repository: &str) -> bool {
        self.repositories.contains(repository)
    }

    /// The manifests that were named in a repository.
    pub fn manifests_of(&self, repository: &str) -> impl Iterator<Item = &Digest> {
        self.manifests.get(repository).into_iter().flatten()
    }

    /// Whether anything of this repository was named.
    pub fn touches(&self, repository: &str) -> bool {
        self.names_repository(repository)
            || self.tags.contains_key(repository)
            || self.manifests.contains_key(repository)
    }
}
