//! What somebody names, and what its removal would free.
//!
//! What goes with a name is decided where `rm` decides it: in [`mark`](mod@crate::mark), with the same wishes. So the two
//! say the same, whatever is damaged, protected by a link in an odd place, or part of something else.

use std::collections::BTreeSet;

use super::{Usage, mark};
use crate::collect::Seen;
use crate::finding::Findings;
use crate::inventory::Repository;
use crate::layout::shown;
use crate::listing::Pattern;
use crate::mark::Marking;
use crate::nearest::did_you_mean;
use crate::plan::BlobTotals;
use crate::policy::{Name, Policy, Request};
use crate::progress::{Phase, Watch};
use crate::registry::Registry;

/// Something that somebody named.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Repository, namespace or tag, where the names may be globs.
    pub pattern: Pattern,
    /// Whether everything below a repository is meant as well.
    pub is_recursive: bool,
}

/// What a name turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selected {
    /// Everything below a folder, and itself if it is a repository.
    Namespace(String),
    /// One repository.
    Repository(String),
    /// A tag of a repository.
    Tag(String, String),
}

/// Looks up what was named, each thing once, sorted.
///
/// A name without a glob is the repository of that name; where there is none, or what is below it was asked for as
/// well, it is the namespace.
///
/// # Errors
/// One line that says what is not there, and what may have been meant.
pub fn select(asked: &[Asked], repositories: &[Repository]) -> Result<Vec<Selected>, String> {
    let mut selected = BTreeSet::new();
    for Asked { pattern, is_recursive } in asked {
        let matching = || repositories.iter().filter(|it| pattern.matches_repository(&it.name));
        let name = |repository: &Repository| repository.name.to_string();
        if pattern.tag().is_some() {
            let mut found = false;
            for repository in matching() {
                for tag in repository.tags.iter().filter(|tag| pattern.matches_tag(&tag.name)) {
                    found = true;
                    selected.insert(Selected::Tag(name(repository), tag.name.to_string()));
                }
            }
            if !found && matching().next().is_some() {
                return Err(no_tag(pattern, &matching().collect::<Vec<_>>()));
            }
            if !found {
                return Err(pattern.no_repository(repositories.iter().map(|it| &*it.name)));
            }
            continue;
        }
        let is_namespace = pattern.is_name()
            && (*is_recursive || matching().next().is_none())
            && repositories.iter().any(|repository| pattern.is_above(&repository.name));
        if is_namespace {
            selected.insert(Selected::Namespace(pattern.repository().to_owned()));
            continue;
        }
        let mut found = false;
        for repository in matching() {
            found = true;
            selected.insert(Selected::Repository(name(repository)));
        }
        if !found {
            return Err(pattern.no_repository(repositories.iter().map(|it| &*it.name)));
        }
    }
    Ok(selected.into_iter().collect())
}

fn no_tag(pattern: &Pattern, repositories: &[&Repository]) -> String {
    let tag = pattern.tag().unwrap_or_default();
    let wanted = shown(tag.as_bytes());
    match repositories {
        [one] => {
            let near = did_you_mean(tag, one.tags.iter().map(|tag| &*tag.name));
            format!("{} has no tag that matches {wanted}{near}", one.name)
        }
        several => format!("none of the {} repositories that match has a tag that matches {wanted}", several.len()),
    }
}

impl Usage {
    /// What is not live any more in `after` and was before, as far as a collection takes it.
    fn freed(&self, seen: &Seen, before: &Marking, after: &Marking) -> BlobTotals {
        let blobs = seen.inventory.digests.blobs();
        let goes = |id: &_| before.is_live(*id) && !after.is_live(*id) && !blobs.is_linked(*id);
        self.sizes.sum(blobs.ids().filter(goes))
    }
}

/// What the next collection would free if all of these were removed, beside what it would free anyway: what
/// `rm --dry-run` says. More than the exclusive figures together, where only these share something.
///
/// # Errors
/// Why `rm` would refuse, a line for each reason.
pub fn freed_by(
    registry: &Registry,
    seen: &Seen,
    marking: &Marking,
    usage: &Usage,
    selected: &[Selected],
    watch: &dyn Watch,
) -> Result<BlobTotals, Vec<String>> {
    if selected.is_empty() {
        return Ok(BlobTotals::default());
    }
    let repositories = &seen.inventory.repositories;
    let mut names = Vec::new();
    for it in selected {
        match it {
            Selected::Repository(name) => names.push(Name::Repository(name.clone())),
            Selected::Tag(name, tag) => names.push(Name::Tag(name.clone(), tag.clone())),
            Selected::Namespace(space) => {
                let is_in =
                    |name: &str| name.strip_prefix(&**space).is_some_and(|it| it.is_empty() || it.starts_with('/'));
                let inside = repositories.iter().filter(|repository| is_in(&repository.name));
                names.extend(inside.map(|repository| Name::Repository(repository.name.to_string())));
            }
        }
    }
    let policy = Policy { request: Request { names, is_recursive: false }, ..Policy::default() };
    let removal = policy.request.look_up(repositories, &seen.inventory.digests)?;
    // What there is to say was said about the tree as it is.
    let said = Findings::default();
    let after = mark(registry, seen, &policy, &removal, &said, &watch.begin(Phase::Mark));
    if let Some(brake) = super::brake(&seen.inventory, &after) {
        return Err(vec![brake.to_string()]);
    }
    Ok(usage.freed(seen, marking, &after))
}
