//! Which names are roots.
//!
//! Pure: it looks at what the scan saw of one repository and says what each tag is worth. What follows from that
//! (children, layers, referrers) is `mark`'s business.

use crate::inventory::{DigestId, LinkState, Repository, Tag};

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Untagged manifests go, unless a tagged index or a live subject keeps them. Otherwise every revision stays.
    pub delete_untagged: bool,
}

/// What a tag is worth as a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFate {
    /// It keeps its target.
    Root(DigestId),
    /// It keeps its target, although the revision link is gone and so nobody can pull it.
    Dangling(DigestId),
    /// Somebody took the image out by hand: revision link and the tag's own index entry are gone. It keeps nothing,
    /// and its folder goes.
    Deleted(DigestId),
    /// Its current link cannot be understood: everything that it ever pointed at is kept.
    History(Vec<DigestId>, Box<str>),
    /// Its current link cannot be understood, and neither can its history: everything in the repository is kept.
    Unknown(Box<str>),
    /// It has no current link at all, as a push leaves it that was cut off. Its history is kept, if it has one.
    NoTarget(Vec<DigestId>),
}

/// Judges one tag.
pub fn judge(repository: &Repository, tag: &Tag) -> TagFate {
    let history = |why: Box<str>| match &tag.history {
        Ok(history) if !history.is_empty() => TagFate::History(history.clone(), why),
        _ => TagFate::Unknown(why),
    };
    match &tag.current {
        LinkState::Target(target) => {
            let has_revision_link =
                repository.revision(*target).is_some_and(|revision| revision.link != LinkState::Absent);
            if has_revision_link {
                return TagFate::Root(*target);
            }
            match &tag.history {
                Ok(history) if history.binary_search(target).is_err() => TagFate::Deleted(*target),
                // An index that cannot be listed may well hold the entry.
                _ => TagFate::Dangling(*target),
            }
        }
        LinkState::Absent => match &tag.history {
            Ok(history) => TagFate::NoTarget(history.clone()),
            Err(why) => TagFate::Unknown(why.clone()),
        },
        LinkState::Damaged(why) | LinkState::Unreadable(why) => history(why.clone()),
    }
}
