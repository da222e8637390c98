//! The registry's tree: names to paths, and back.
//!
//! The whole layout, as CNCF *distribution* draws it in `registry/storage/paths.go`; everything is relative to the
//! `v2` folder:
//!
//! ```text
//! blobs/<algorithm>/<first 2 hex>/<hex>/data
//! repositories/<name>/
//!     _manifests/revisions/<algorithm>/<hex>/link
//!     _manifests/revisions/<algorithm>/<hex>/signatures/<algorithm>/<hex>/link     (schema 1)
//!     _manifests/tags/<tag>/current/link
//!     _manifests/tags/<tag>/index/<algorithm>/<hex>/link
//!     _layers/<algorithm>/<hex>/link
//!     _uploads/<uuid>/{data,startedat,hashstates/}
//! _regsweep/                                       ours: see the `sweep` module
//! ```
//!
//! What can be removed is an [`Item`]: it can only be built from checked names, and its path is always made here. So no
//! text that was read from the disk, from a journal or from a command line becomes a path by itself.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Algorithm, Digest, HexPlace};

/// The folder of all blobs.
pub const BLOBS: &str = "blobs";
/// The folder of all repositories.
pub const REPOSITORIES: &str = "repositories";
/// Manifests of a repository: revisions and tags.
pub const MANIFESTS: &str = "_manifests";
/// Layer links of a repository.
pub const LAYERS: &str = "_layers";
/// Uploads in progress of a repository.
pub const UPLOADS: &str = "_uploads";
/// Revision links, below [`MANIFESTS`].
pub const REVISIONS: &str = "revisions";
/// Tags, below [`MANIFESTS`].
pub const TAGS: &str = "tags";
/// The folder of a tag's current link.
pub const CURRENT: &str = "current";
/// The folder of a tag's history.
pub const INDEX: &str = "index";
/// Signature links of a schema 1 revision.
pub const SIGNATURES: &str = "signatures";
/// The file that holds a digest.
pub const LINK: &str = "link";
/// The file that holds a blob's bytes.
pub const DATA: &str = "data";
/// When an upload began.
pub const STARTED_AT: &str = "startedat";
/// The folder of regsweep itself, beside `blobs` and `repositories`.
pub const REGSWEEP: &str = "_regsweep";

/// A repository's name, such as `team/app`.
///
/// Always safe in a path: one or more components that begin with a letter or a digit and hold nothing but letters,
/// digits, `.`, `_` and `-`. That is wider than the grammar of the distribution specification (upper-case letters are
/// let through), so that an old tree is read rather than ignored, yet never wide enough to leave the tree.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

/// A tag's name, such as `v1.2`: letters, digits, `.`, `_`, `-`, at most 128 of them, not beginning with `.` or `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagName(Arc<str>);

/// An upload's name: a UUID in practice; letters, digits and `-` here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Arc<str>);

/// A name that is outside the grammar of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct NameError(&'static str);

fn is_name_component(text: &str) -> bool {
    text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl RepositoryName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] if it is outside the grammar above.
    pub fn parse(text: &str) -> Result<RepositoryName, NameError> {
        if text.len() <= 4096 && text.split('/').all(is_name_component) {
            Ok(RepositoryName(text.into()))
        } else {
            Err(NameError("repository name"))
        }
    }
}

impl TagName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] if it is outside the grammar of the distribution specification.
    pub fn parse(text: &str) -> Result<TagName, NameError> {
        let first_is_fine = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let rest_is_fine = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if first_is_fine && rest_is_fine && text.len() <= 128 {
            Ok(TagName(text.into()))
        } else {
            Err(NameError("tag name"))
        }
    }

    /// The name as text that is shared with this one, for where one is kept beside it.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl UploadId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] if anything but letters, digits and `-` is in it.
    pub fn parse(text: &str) -> Result<UploadId, NameError> {
        let fine = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if fine && (1..=128).contains(&text.len()) { Ok(UploadId(text.into())) } else { Err(NameError("upload id")) }
    }
}

macro_rules! name_traits {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
name_traits!(RepositoryName);
name_traits!(TagName);
name_traits!(UploadId);

/// One thing that can be removed, by what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A whole tag: its folder with `current` and `index`.
    Tag(RepositoryName, TagName),
    /// One former target of a tag: its folder below the tag's `index`.
    TagHistory(RepositoryName, TagName, Digest),
    /// A revision: the digest folder that holds the link.
    Revision(RepositoryName, Digest),
    /// A layer link: the digest folder that holds the link.
    LayerLink(RepositoryName, Digest),
    /// An upload in progress that nobody will finish: its folder.
    Upload(RepositoryName, UploadId),
    /// A blob: the digest folder that holds the data.
    Blob(Digest),
}

impl Item {
    /// Its folder, relative to the `v2` folder, and so relative to a run's trash as well.
    pub fn path(&self) -> PathBuf {
        match self {
            Item::Tag(repository, tag) => tags_dir(repository).join(tag.as_str()),
            Item::TagHistory(repository, tag, digest) => {
                let mut path = tags_dir(repository);
                path.extend([tag.as_str(), INDEX]);
                join_digest(path, digest)
            }
            Item::Revision(repository, digest) => {
                let mut path = repository_dir(repository);
                path.extend([MANIFESTS, REVISIONS]);
                join_digest(path, digest)
            }
            Item::LayerLink(repository, digest) => join_digest(repository_dir(repository).join(LAYERS), digest),
            Item::Upload(repository, upload) => repository_dir(repository).join(UPLOADS).join(upload.as_str()),
            Item::Blob(digest) => blob_dir(digest),
        }
    }

    /// What lies at this path: the inverse of [`Item::path`]. `None` for every path that no item has.
    pub fn at(path: &Path) -> Option<Item> {
        let mut parts = Vec::new();
        for component in path.components() {
            let Component::Normal(part) = component else { return None };
            parts.push(part.to_str()?);
        }
        match *parts.as_slice() {
            [BLOBS, algorithm, shard, hex] if hex.get(..2) == Some(shard) => {
                Some(Item::Blob(digest_of(algorithm, hex)?))
            }
            [REPOSITORIES, ref below @ ..] => {
                // The first component that begins with an underscore ends the repository's name.
                let end = below.iter().position(|part| part.starts_with('_'))?;
                let repository = RepositoryName::parse(&below[..end].join("/")).ok()?;
                match below[end..] {
                    [MANIFESTS, TAGS, tag] => Some(Item::Tag(repository, TagName::parse(tag).ok()?)),
                    [MANIFESTS, TAGS, tag, INDEX, algorithm, hex] => {
                        Some(Item::TagHistory(repository, TagName::parse(tag).ok()?, digest_of(algorithm, hex)?))
                    }
                    [MANIFESTS, REVISIONS, algorithm, hex] => {
                        Some(Item::Revision(repository, digest_of(algorithm, hex)?))
                    }
                    [LAYERS, algorithm, hex] => Some(Item::LayerLink(repository, digest_of(algorithm, hex)?)),
                    [UPLOADS, upload] => Some(Item::Upload(repository, UploadId::parse(upload).ok()?)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn digest_of(algorithm: &str, hex: &str) -> Option<Digest> {
    Digest::from_hex(Algorithm::from_name(algorithm.as_bytes())?, hex.as_bytes()).ok()
}

fn join_digest(mut path: PathBuf, digest: &Digest) -> PathBuf {
    path.push(digest.algorithm().name());
    path.push(digest.hex());
    path
}

fn tags_dir(repository: &RepositoryName) -> PathBuf {
    let mut path = repository_dir(repository);
    path.extend([MANIFESTS, TAGS]);
    path
}

/// A repository's folder, relative to `v2`.
pub fn repository_dir(repository: &RepositoryName) -> PathBuf {
    Path::new(REPOSITORIES).join(repository.as_str())
}

/// A blob's folder, relative to `v2`.
pub fn blob_dir(digest: &Digest) -> PathBuf {
    let mut place = HexPlace::new();
    let hex = digest.hex_in(&mut place);
    let mut path = PathBuf::with_capacity(BLOBS.len() + 24 + hex.len());
    path.extend([BLOBS, digest.algorithm().name(), &hex[..2], hex]);
    path
}

/// Whether a file of this name is what a crash or a network file system leaves behind: `<name>.<uuid>.tmp` of registry
/// 3.x, `.nfs*` of a file that was removed while open. Never a link, never data.
pub fn is_debris(name: &[u8]) -> bool {
    name.ends_with(b".tmp") || name.starts_with(b".nfs")
}

/// A name or path from the disk as it may be shown: control characters, invalid UTF-8 and terminal escapes are written
/// as escapes, so that no name can forge a line of output or drive a terminal.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_unsafe_to_show(character) {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Whether a terminal obeys this character, or whether it can make one text look like another: controls, bidirectional
/// controls, and other characters without a width.
pub(crate) fn is_unsafe_to_show(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{feff}')
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// [`shown`] for a path.
pub fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}

/// A directory entry's bytes as a path component.
pub fn component(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    #[test]
    fn every_item_has_one_path_and_comes_back_from_it() {
        let repository = RepositoryName::parse("team/app").unwrap();
        let tag = TagName::parse("v1.0").unwrap();
        let d = digest("x");
        let hex = d.hex();
        let r = "repositories/team/app";
        for (item, path) in [
            (Item::Blob(d.clone()), format!("blobs/sha256/{}/{hex}", &hex[..2])),
            (Item::Tag(repository.clone(), tag.clone()), format!("{r}/_manifests/tags/v1.0")),
            (
                Item::TagHistory(repository.clone(), tag, d.clone()),
                format!("{r}/_manifests/tags/v1.0/index/sha256/{hex}"),
            ),
            (Item::Revision(repository.clone(), d.clone()), format!("{r}/_manifests/revisions/sha256/{hex}")),
            (Item::LayerLink(repository.clone(), d), format!("{r}/_layers/sha256/{hex}")),
            (Item::Upload(repository, UploadId::parse("a-1").unwrap()), format!("{r}/_uploads/a-1")),
        ] {
            assert_eq!(item.path(), Path::new(&path));
            assert_eq!(Item::at(Path::new(&path)), Some(item), "{path}");
        }
    }

    #[test]
    fn paths_that_no_item_has() {
        let hex = "a".repeat(64);
        for path in [
            String::new(),
            "blobs".into(),
            "blobs/sha256/aa".into(),
            format!("blobs/sha256/ab/{hex}"),
            format!("blobs/md5/aa/{hex}"),
            format!("blobs/sha256/aa/{hex}/data"),
            format!("/blobs/sha256/aa/{hex}"),
            format!("../blobs/sha256/aa/{hex}"),
            format!("blobs/sha256/../sha256/aa/{hex}"),
            format!("repositories/_layers/sha256/{hex}"),
            format!("repositories/a/_other/sha256/{hex}"),
            format!("repositories/../a/_layers/sha256/{hex}"),
            format!("repositories/.snapshot/_layers/sha256/{hex}"),
            "repositories/a/_manifests/tags/..".into(),
            "repositories/a/_manifests/tags/-x".into(),
            "repositories/a/_uploads/a.b".into(),
            "_regsweep/lock".into(),
        ] {
            assert_eq!(Item::at(Path::new(&path)), None, "{path}");
        }
    }

    #[test]
    fn names() {
        for (text, fine) in [
            ("app", true),
            ("team/app", true),
            ("a/b/c/d/e", true),
            ("a__b/c-d.e", true),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            ("a/../b", false),
            ("a/.", false),
            ("a/_layers", false),
            (".snapshot", false),
            ("a\nb", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(RepositoryName::parse(text).is_ok(), fine, "{text:?}");
        }
        for (text, fine) in [("v1", true), ("_x", true), ("-x", false), (".x", false), ("", false), ("a/b", false)] {
            assert_eq!(TagName::parse(text).is_ok(), fine, "{text:?}");
        }
        assert!(TagName::parse(&"t".repeat(128)).is_ok());
        assert!(TagName::parse(&"t".repeat(129)).is_err());
    }

    #[test]
    fn names_are_shown_without_their_teeth() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            (b"a\nb", "a\\nb"),
            (b"\x1b[31mred", "\\u{1b}[31mred"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("grün".as_bytes(), "grün"),
            ("x\u{202e}y".as_bytes(), "x\\u{202e}y"),
            ("c1\u{9b}31m".as_bytes(), "c1\\u{9b}31m"),
            ("x\u{61c}y\u{2060}z".as_bytes(), "x\\u{61c}y\\u{2060}z"),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }

    #[test]
    fn debris() {
        for (name, is) in [("link.5c1.tmp", true), (".nfs0001", true), ("link", false), ("data", false), ("tmp", false)]
        {
            assert_eq!(is_debris(name.as_bytes()), is, "{name}");
        }
    }
}
