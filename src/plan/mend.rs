//! Links that are written, because it is known what they have to say.

use std::path::PathBuf;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::ActionKind;
use crate::digest::Digest;
use crate::layout::{CURRENT, Item, RepositoryName, TagName};

/// Which link is written. In the order in which they are: what a link leads to comes before the link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MendedLink {
    /// A layer link.
    LayerLink,
    /// A revision link.
    Revision,
    /// The link of a former target of a tag.
    TagHistory(TagName),
    /// The current link of a tag.
    Tag(TagName),
}

/// A link that is written, because it is known what it has to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mend {
    /// Which link.
    pub link: MendedLink,
    /// In which repository.
    pub repository: RepositoryName,
    /// What it will name.
    pub digest: Digest,
    /// What it was before, in a few words.
    pub was: String,
    /// What it names instead, if that is a digest.
    pub instead_of: Option<Digest>,
}

impl Mend {
    /// The folder that holds the link, relative to the `v2` folder.
    pub fn folder(&self) -> PathBuf {
        let (repository, digest) = (self.repository.clone(), self.digest.clone());
        match &self.link {
            MendedLink::LayerLink => Item::LayerLink(repository, digest).path(),
            MendedLink::Revision => Item::Revision(repository, digest).path(),
            MendedLink::TagHistory(tag) => Item::TagHistory(repository, tag.clone(), digest).path(),
            MendedLink::Tag(tag) => Item::Tag(repository, tag.clone()).path().join(CURRENT),
        }
    }

    /// The folder of the tag, where it is one's.
    pub fn tag_folder(&self) -> Option<PathBuf> {
        Some(Item::Tag(self.repository.clone(), self.tag()?.clone()).path())
    }

    /// What kind of link it is, as it stands in the report.
    pub fn kind(&self) -> ActionKind {
        match &self.link {
            MendedLink::LayerLink => ActionKind::LayerLink,
            MendedLink::Revision => ActionKind::Revision,
            MendedLink::TagHistory(_) => ActionKind::TagHistory,
            MendedLink::Tag(_) => ActionKind::Tag,
        }
    }

    /// The tag, where it is one's.
    pub fn tag(&self) -> Option<&TagName> {
        match &self.link {
            MendedLink::TagHistory(tag) | MendedLink::Tag(tag) => Some(tag),
            MendedLink::LayerLink | MendedLink::Revision => None,
        }
    }
}

impl Serialize for Mend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Mend", 5)?;
        fields.serialize_field("kind", &self.kind())?;
        fields.serialize_field("repository", &self.repository)?;
        fields.serialize_field("name", &self.tag())?;
        fields.serialize_field("digest", &self.digest)?;
        fields.serialize_field("was", &self.was)?;
        fields.end()
    }
}
