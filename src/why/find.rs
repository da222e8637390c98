//! What a question names: looked up in what was seen, and before that where that is quick.

use std::path::Path;

use super::Knowledge;
use super::question::{Beginning, Question};
use crate::digest::Digest;
use crate::finding::Findings;
use crate::inventory::{self, BlobTable, DigestId, Digests, LinkState, Repository, Selection, place_of};
use crate::layout::REPOSITORIES;
use crate::manifest::Loaded;
use crate::nearest::did_you_mean;
use crate::progress::Meter;
use crate::registry::{Kind, Registry};

/// So many candidates are offered for a beginning that is not unique.
const OFFERED: usize = 5;
/// A digest of which so many digits are there may be the one that was meant.
const NEAR: usize = 6;
/// How many digits of a digest are shown in a list.
const DIGITS: usize = 12;

/// What a question names, by places in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A digest.
    Digest(DigestId),
    /// A digest in a repository.
    Manifest(usize, DigestId),
    /// A tag of a repository.
    Tag(usize, usize),
    /// A repository.
    Repository(usize),
}

/// It is not there, or it is not clear what is meant: one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotThere(String);

/// Looks whether the repository and the tag are there that a question names, before anything is scanned: a name that is
/// mistyped should not take as long as a collection. What cannot be read passes; the scan will say so.
///
/// # Errors
/// [`NotThere`].
pub fn look_before(registry: &Registry, question: &Question) -> Result<(), NotThere> {
    let (name, tag) = match question {
        Question::Digest(_) | Question::Repository(_, Some(_)) => return Ok(()),
        Question::Manifest(name, _) | Question::Repository(name, None) => (name, None),
        Question::Tag(name, tag) => (name, Some(tag)),
    };
    let folder = Path::new(REPOSITORIES).join(name);
    let is_gone = match registry.v2().look(&folder) {
        Ok(looked) => looked.is_none_or(|looked| !matches!(looked.kind, Kind::Directory | Kind::SymbolicLink)),
        Err(_) => false,
    };
    if is_gone {
        return Err(no_repository(name, &inventory::repository_names(registry)));
    }
    let Some(tag) = tag else { return Ok(()) };
    let (digests, findings) = (Digests::new(BlobTable::default()), Findings::default());
    let leads_to =
        |folder: &str| name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let selection = Selection { wants: &|it| it == name, leads_to: &leads_to, manifests_only: true };
    let listed = inventory::list_selected(registry, &digests, &findings, &Meter::new(), &selection, |_| {});
    match listed.repositories.first() {
        _ if !listed.unlistable.is_empty() => Ok(()),
        Some(repository) if repository.tag(tag).is_none() => Err(no_tag(repository, tag)),
        Some(_) => Ok(()),
        None => Err(no_repository(name, &inventory::repository_names(registry))),
    }
}

fn no_repository(name: &str, names: &[String]) -> NotThere {
    NotThere(format!("no repository is named {name}{}", did_you_mean(name, names.iter().map(String::as_str))))
}

fn no_tag(repository: &Repository, tag: &str) -> NotThere {
    let near = did_you_mean(tag, repository.tags.iter().map(|tag| &*tag.name));
    NotThere(format!("{} has no tag {tag}{near}", repository.name))
}

impl Knowledge<'_> {
    /// Looks up what a question names.
    ///
    /// # Errors
    /// [`NotThere`] if nothing is named so, or several things are.
    pub fn find(&self, question: &Question) -> Result<Found, NotThere> {
        let repositories = &self.collection.inventory.repositories;
        let place = |name: &str| {
            let names = || repositories.iter().map(|repository| repository.name.to_string()).collect::<Vec<_>>();
            place_of(repositories, name).ok_or_else(|| no_repository(name, &names()))
        };
        match question {
            Question::Digest(beginning) => self.find_digest(beginning).map(Found::Digest),
            Question::Repository(name, beginning) => match (place_of(repositories, name), beginning) {
                (Some(place), _) => Ok(Found::Repository(place)),
                (None, Some(beginning)) => self.find_digest(beginning).map(Found::Digest),
                (None, None) => place(name).map(Found::Repository),
            },
            Question::Tag(name, tag) => {
                let place = place(name)?;
                let repository = &repositories[place];
                let found = repository.tags.binary_search_by(|seen| (*seen.name).cmp(tag));
                found.map(|tag| Found::Tag(place, tag)).map_err(|_| no_tag(repository, tag))
            }
            Question::Manifest(name, beginning) => {
                let place = place(name)?;
                let repository = &repositories[place];
                let is_here = |id: &DigestId| {
                    let points_there = |state: &LinkState| *state == LinkState::Target(*id);
                    repository.revision(*id).is_some()
                        || repository.has_layer_link(*id)
                        || repository.tags.iter().any(|tag| {
                            points_there(&tag.current) || tag.history.iter().flatten().any(|former| former == id)
                        })
                };
                let all = self.beginning_with(beginning);
                let here: Vec<DigestId> = all.iter().copied().filter(is_here).collect();
                match here.as_slice() {
                    [one] => Ok(Found::Manifest(place, *one)),
                    [] if !all.is_empty() => Err(NotThere(format!(
                        "{name} has no {beginning}; it is elsewhere: ask for it without the repository"
                    ))),
                    [] => Err(NotThere(format!("{name} has no {beginning}{}", self.near(beginning)))),
                    several => Err(self.not_unique(beginning, several)),
                }
            }
        }
    }

    fn find_digest(&self, beginning: &Beginning) -> Result<DigestId, NotThere> {
        match self.beginning_with(beginning).as_slice() {
            [one] => Ok(*one),
            [] => Err(NotThere(format!("nothing here has the digest {beginning}{}", self.near(beginning)))),
            several => Err(self.not_unique(beginning, several)),
        }
    }

    /// Every digest that begins so and that a blob, a link or a manifest has, sorted.
    fn beginning_with(&self, beginning: &Beginning) -> Vec<DigestId> {
        let digests = &self.collection.inventory.digests;
        let found = beginning.ranges().flat_map(|(first, last)| digests.between(&first, &last));
        found.filter(|&id| digests.is_blob(id) || self.is_named_somewhere(id)).collect()
    }

    /// Whether a link or a manifest names it: numbers are also given to what somebody protects.
    fn is_named_somewhere(&self, id: DigestId) -> bool {
        let repositories = self.collection.inventory.repositories.iter();
        let mut is_linked = repositories.map(|repository| {
            let names = |state: &LinkState| *state == LinkState::Target(id);
            repository.revision(id).is_some()
                || repository.has_layer_link(id)
                || repository.odd_targets.contains(&id)
                || repository.revisions.iter().any(|revision| names(&revision.link))
                || repository
                    .tags
                    .iter()
                    .any(|tag| names(&tag.current) || tag.history.iter().flatten().any(|it| *it == id))
        });
        is_linked.any(|is_linked| is_linked) || !self.ancestry(id).down.is_empty() || self.is_a_subject(id)
    }

    fn is_a_subject(&self, id: DigestId) -> bool {
        self.store.manifests().any(|(_, manifest)| manifest.subject == Some(id))
    }

    /// What may have been meant: digests that begin with as many of these digits as one does.
    fn near(&self, beginning: &Beginning) -> String {
        if beginning.digits() <= NEAR || self.beginning_with(&beginning.cut(NEAR)).is_empty() {
            return String::new();
        }
        let lengths = (NEAR..beginning.digits()).rev();
        let near = lengths.map(|digits| self.beginning_with(&beginning.cut(digits))).find(|found| !found.is_empty());
        let near: Vec<String> =
            near.into_iter().flatten().take(3).map(|id| short(&self.digest(id)).to_owned()).collect();
        match near.as_slice() {
            [] => String::new(),
            [one] => format!(" (did you mean {one}?)"),
            [some @ .., last] => format!(" (did you mean {} or {last}?)", some.join(", ")),
        }
    }

    fn not_unique(&self, beginning: &Beginning, several: &[DigestId]) -> NotThere {
        let shown: Vec<String> = several
            .iter()
            .take(OFFERED)
            .map(|&id| format!("{} ({})", short(&self.digest(id)), self.sort_of(id)))
            .collect();
        let more = several.len().saturating_sub(OFFERED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let count = several.len();
        NotThere(format!("{count} digests begin with {beginning}: {}{more}", shown.join(", ")))
    }

    /// What a digest is, in a word, as far as that is known without reading anything.
    fn sort_of(&self, id: DigestId) -> &'static str {
        match self.store.get(id) {
            Some(Loaded::Manifest(manifest)) if manifest.is_index => "index",
            Some(Loaded::Manifest(_)) => "manifest",
            Some(Loaded::Damaged(_) | Loaded::Unreadable(_)) => "damaged manifest",
            Some(Loaded::Missing) => "missing manifest",
            Some(Loaded::Blob) | None if !self.collection.inventory.digests.is_blob(id) => "missing",
            Some(Loaded::Blob) | None => "blob",
        }
    }
}

/// The first digits of a digest, enough for a person.
fn short(digest: &Digest) -> String {
    let text = digest.to_string();
    let end = text.find(':').map_or(text.len(), |colon| colon + 1 + DIGITS);
    text[..end.min(text.len())].to_owned()
}
