//! Which names are roots.
//!
//! Pure: it looks at what the scan saw of one repository and says what each tag is worth. What follows from that
//! (children, layers, referrers) is `mark`'s business.

mod duration;
pub mod eviction;
pub mod file;
mod pattern;
pub mod protect;
mod referrers;
mod removal;
pub mod retention;
mod size;
mod translate;

pub use duration::parse_duration;
pub use eviction::{Evicted, Limits};
pub use pattern::{RepositoryPattern, TagPattern};
pub use protect::{Held, Protected};
pub use referrers::{Agreement, KnownManifests, ReferrerKind, ReferrerTag, Subject};
pub use removal::{Name, Removal, Request};
pub use retention::{Because, Retention};
pub use size::parse_size;

use crate::inventory::{DigestId, Digests, LinkState, Repository, Tag};

/// What the operator asked for.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Untagged manifests go, unless a tagged index or a live subject keeps them. Otherwise every revision stays.
    pub delete_untagged: bool,
    /// Tags go whose revision link is gone, so that nobody can pull them.
    pub drop_dangling_tags: bool,
    /// Tags of referrers go whose subject was gone before. Otherwise they stay.
    pub prune_referrers: bool,
    /// Which tags stay. Without it all do.
    pub retention: Option<Retention>,
    /// What stays whatever else is asked for.
    pub protected: Protected,
    /// What goes because it was named.
    pub request: Request,
    /// How much of a pull-through cache stays; `None` for every other registry. What is missing in a cache is no
    /// damage: it is fetched again.
    pub cache: Option<Limits>,
}

impl Policy {
    /// Whether a tag may go that somebody could pull, or what belongs to such a tag. Otherwise every tag whose links
    /// are whole is a root.
    pub fn lets_names_go(&self) -> bool {
        self.delete_untagged
            || self.drop_dangling_tags
            || self.prune_referrers
            || self.retention.is_some()
            || self.cache.is_some()
            || !self.request.names.is_empty()
    }
}

/// Why a tag or a manifest is let go. Of several the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It was named to go.
    Named,
    /// Somebody took its image out by hand.
    ByHand,
    /// A retention rule let it go.
    Expired,
    /// It is in a pull-through cache, and was not pulled for so long that the cache is better off without it.
    Evicted,
    /// It names something that is gone.
    Dangling,
    /// No tag leads to it, and untagged manifests were to go.
    Untagged,
}

/// What was decided about a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagVerdict {
    /// Why it goes; `None` if it stays.
    pub goes: Option<Cause>,
    /// The retention rule that decided, by its place; `None` if none did.
    pub rule: Option<usize>,
    /// What decided.
    pub because: Because,
    /// Whether it has no place of its own among those that stay; see [`retention::Verdict`].
    pub is_tied: bool,
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

/// What a tag's current link would say if nothing had gone wrong with a few of its digits: an entry of its history that
/// it nearly names, and that has a revision link here; while it names nothing that is here.
pub fn meant_by(repository: &Repository, tag: &Tag, digests: &Digests) -> Option<DigestId> {
    let (LinkState::Target(target), Ok(history)) = (&tag.current, &tag.history) else { return None };
    if repository.has_revision_link(*target) || history.binary_search(target).is_ok() {
        return None;
    }
    let target = digests.digest(*target);
    let is_meant = |id: &&DigestId| repository.has_revision_link(**id) && target.is_slip_of(&digests.digest(**id));
    history.iter().find(is_meant).copied()
}

/// Judges one tag.
pub fn judge(repository: &Repository, tag: &Tag, digests: &Digests) -> TagFate {
    let is_removable = repository.removable.is_some() && tag.removable.is_some();
    let history = |why: Box<str>| match &tag.history {
        Ok(history) if !history.is_empty() => TagFate::History(history.clone(), why),
        _ => TagFate::Unknown(why),
    };
    match &tag.current {
        LinkState::Target(target) => {
            if repository.has_revision_link(*target) {
                return TagFate::Root(*target);
            }
            // Otherwise a single wrong digit would look like an image that somebody has taken out by hand.
            if let Some(meant) = meant_by(repository, tag, digests) {
                let (target, meant) = (digests.digest(*target), digests.digest(meant));
                return history(format!("it names {target}, which is nearly {meant} of its history").into());
            }
            match &tag.history {
                Ok(history) if history.binary_search(target).is_err() && is_removable => TagFate::Deleted(*target),
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::digest::{Algorithm, Digest};
    use crate::inventory::{BlobTable, Digests, Revision};
    use crate::layout::{RepositoryName, TagName};

    fn repository(revisions: &[(DigestId, LinkState)]) -> Repository {
        let mut revisions: Vec<Revision> = revisions
            .iter()
            .map(|(id, link)| Revision { id: *id, link: link.clone(), stamp: None, linked: false })
            .collect();
        revisions.sort_by_key(|revision| revision.id);
        Repository {
            name: "app".into(),
            removable: RepositoryName::parse("app").ok(),
            path: PathBuf::new(),
            revisions,
            tags: Vec::new(),
            layer_links: Vec::new(),
            odd_targets: Vec::new(),
            uploads: Vec::new(),
            has_unknown_entries: false,
            folders: Vec::new(),
        }
    }

    fn tag(current: LinkState, history: Result<Vec<DigestId>, Box<str>>) -> Tag {
        let removable = TagName::parse("v1").ok();
        Tag { name: "v1".into(), removable, current, stamp: None, history, history_linked: false }
    }

    #[test]
    fn what_a_tag_is_worth() {
        let digests = Digests::new(BlobTable::default());
        let [d, e] = ["d", "e"].map(|text| digests.id(&Digest::of(Algorithm::Sha256, text.as_bytes())));
        let right = digests.digest(d);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(right.as_bytes());
        bytes[9] ^= 0x10;
        let wrong = Digest::Sha256(bytes);
        let slip = digests.id(&wrong);
        let linked = repository(&[(d, LinkState::Target(d))]);
        let emptied = repository(&[(d, LinkState::Absent)]);
        let damaged = repository(&[(d, LinkState::Damaged("empty".into()))]);
        let unreadable = repository(&[(d, LinkState::Unreadable("EIO".into()))]);
        let bare = repository(&[]);
        let why = || Box::<str>::from("empty");
        let unlistable = || Err(Box::<str>::from("EIO"));
        for (name, repository, tag, fate) in [
            ("whole", &linked, tag(LinkState::Target(d), Ok(vec![d])), TagFate::Root(d)),
            ("whole, its index entry lost", &linked, tag(LinkState::Target(d), Ok(vec![])), TagFate::Root(d)),
            ("whole, its history unlistable", &linked, tag(LinkState::Target(d), unlistable()), TagFate::Root(d)),
            ("a damaged revision link is one", &damaged, tag(LinkState::Target(d), Ok(vec![])), TagFate::Root(d)),
            (
                "an unreadable revision link is one",
                &unreadable,
                tag(LinkState::Target(d), Ok(vec![])),
                TagFate::Root(d),
            ),
            ("no revision folder", &bare, tag(LinkState::Target(d), Ok(vec![d, e])), TagFate::Dangling(d)),
            ("an empty revision folder", &emptied, tag(LinkState::Target(d), Ok(vec![d])), TagFate::Dangling(d)),
            ("taken out by hand", &bare, tag(LinkState::Target(d), Ok(vec![e])), TagFate::Deleted(d)),
            ("taken out by hand, folder left", &emptied, tag(LinkState::Target(d), Ok(vec![])), TagFate::Deleted(d)),
            (
                "one digit is wrong",
                &linked,
                tag(LinkState::Target(slip), Ok(vec![d])),
                TagFate::History(vec![d], format!("it names {wrong}, which is nearly {right} of its history").into()),
            ),
            (
                "one digit is wrong, and what it was is gone",
                &bare,
                tag(LinkState::Target(slip), Ok(vec![d])),
                TagFate::Deleted(slip),
            ),
            ("unlistable is not gone", &bare, tag(LinkState::Target(d), unlistable()), TagFate::Dangling(d)),
            (
                "damaged, with a history",
                &linked,
                tag(LinkState::Damaged(why()), Ok(vec![d, e])),
                TagFate::History(vec![d, e], why()),
            ),
            ("damaged, no history", &linked, tag(LinkState::Damaged(why()), Ok(vec![])), TagFate::Unknown(why())),
            (
                "unreadable, history unlistable",
                &linked,
                tag(LinkState::Unreadable(why()), unlistable()),
                TagFate::Unknown(why()),
            ),
            ("cut off", &linked, tag(LinkState::Absent, Ok(vec![e])), TagFate::NoTarget(vec![e])),
            (
                "no link, history unlistable",
                &linked,
                tag(LinkState::Absent, unlistable()),
                TagFate::Unknown("EIO".into()),
            ),
        ] {
            assert_eq!(judge(repository, &tag, &digests), fate, "{name}");
        }
        // What cannot be removed is not let go.
        let behind_a_link = Tag { removable: None, ..tag(LinkState::Target(d), Ok(vec![e])) };
        assert_eq!(judge(&bare, &behind_a_link, &digests), TagFate::Dangling(d));
    }
}
