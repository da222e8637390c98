//! Tags that belong to another manifest: what is said about an image is pushed beside it, under a name that is made
//! from its digest.
//!
//! Two conventions are known:
//!
//! - the *referrers tag* of OCI 1.1, for registries without a referrers API (distribution specification, *Referrers Tag
//!   Schema*): `<algorithm>-<hex>`, the algorithm cut to 32 characters and the hex to 64. It points at an index that
//!   lists the referrers;
//! - the tags of cosign: `<algorithm>-<hex>.sig`, `.att` and `.sbom`. Each points at a manifest.
//!
//! A name alone proves nothing. Mirrors tag images by their own digest (`sha256-<hex>`, `sha256-<hex>.imgpkg`), so what
//! a tag points at has to agree as well: see [`ReferrerTag::agrees_with`].

use crate::digest::{Algorithm, Digest};
use crate::inventory::{DigestId, Digests};
use crate::manifest::Store;

/// What a tag says about its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferrerKind {
    /// The list of referrers (OCI 1.1).
    Referrers,
    /// A signature (cosign).
    Signature,
    /// An attestation (cosign).
    Attestation,
    /// A bill of materials (cosign).
    Sbom,
}

impl ReferrerKind {
    /// The field's own word for it.
    pub fn name(self) -> &'static str {
        match self {
            ReferrerKind::Referrers => "referrers",
            ReferrerKind::Signature => "signature",
            ReferrerKind::Attestation => "attestation",
            ReferrerKind::Sbom => "sbom",
        }
    }
}

/// A tag name that is made from a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrerTag {
    /// What it is about.
    pub subject: Subject,
    /// What it says about it.
    pub kind: ReferrerKind,
}

/// The digest in a tag's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All of it.
    Whole(Digest),
    /// The first 64 characters of a longer one.
    Cut(Algorithm, Box<str>),
}

impl Subject {
    /// What a tag's name has of a digest that is too long for it; `None` for one that is not: algorithm, and the first
    /// 64 characters.
    pub fn beginning_of(digest: &Digest) -> Option<(Algorithm, Box<str>)> {
        let hex = digest.hex();
        (hex.len() > HEX_IN_A_TAG).then(|| (digest.algorithm(), hex[..HEX_IN_A_TAG].into()))
    }

    /// Whether it names this digest.
    pub fn is(&self, digest: &Digest) -> bool {
        match self {
            Subject::Whole(whole) => whole == digest,
            Subject::Cut(algorithm, start) => digest.algorithm() == *algorithm && digest.hex().starts_with(&**start),
        }
    }
}

/// What has to be known of manifests that were read, to tell whether a tag's name keeps what it promises.
pub trait KnownManifests {
    /// Whether it was read and is whole.
    fn is_whole(&self, id: DigestId) -> bool;
    /// Whether it was looked for as a manifest, and is not in the blob store.
    fn is_missing(&self, id: DigestId) -> bool;
    /// What it is about; `None` also where it is not whole.
    fn subject(&self, id: DigestId) -> Option<DigestId>;
    /// What it lists, if it is an index that lists manifests and nothing else.
    fn listed(&self, id: DigestId) -> Option<impl Iterator<Item = DigestId>>;
}

impl KnownManifests for Store {
    fn is_whole(&self, id: DigestId) -> bool {
        self.manifest(id).is_some()
    }

    fn is_missing(&self, id: DigestId) -> bool {
        Store::is_missing(self, id)
    }

    fn subject(&self, id: DigestId) -> Option<DigestId> {
        self.manifest(id)?.subject
    }

    fn listed(&self, id: DigestId) -> Option<impl Iterator<Item = DigestId>> {
        let manifest = self.manifest(id)?;
        let is_list = manifest.is_index && manifest.blobs().is_empty();
        is_list.then(|| manifest.children().iter().copied())
    }
}

/// How many characters of a digest's hex a referrers tag holds.
const HEX_IN_A_TAG: usize = 64;

impl ReferrerTag {
    /// Reads a tag's name; `None` if it is made from no digest. Lower-case hex only, as digests are written.
    pub fn parse(tag: &str) -> Option<ReferrerTag> {
        let (algorithm, rest) = tag.split_once('-')?;
        let algorithm = Algorithm::from_name(algorithm.as_bytes())?;
        let (hex, kind) = match rest.split_once('.') {
            None => (rest, ReferrerKind::Referrers),
            Some((hex, "sig")) => (hex, ReferrerKind::Signature),
            Some((hex, "att")) => (hex, ReferrerKind::Attestation),
            Some((hex, "sbom")) => (hex, ReferrerKind::Sbom),
            Some(_) => return None,
        };
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let subject = match Digest::from_hex(algorithm, hex.as_bytes()) {
            Ok(digest) => Subject::Whole(digest),
            Err(_) if hex.len() == HEX_IN_A_TAG && is_hex(hex) => Subject::Cut(algorithm, hex.into()),
            Err(_) => return None,
        };
        Some(ReferrerTag { subject, kind })
    }

    /// Whether what the tag points at is what its name promises. Not so, and so a tag like any other:
    /// - a manifest that was not read, or is damaged: nobody knows what it is;
    /// - the subject itself: an image that is tagged by its own digest;
    /// - for a list of referrers, anything but an index of manifests each of which, as far as they are here, has that
    ///   subject.
    pub fn agrees_with(&self, target: DigestId, digests: &Digests, manifests: &impl KnownManifests) -> bool {
        self.agreement(target, digests, manifests) == Agreement::Yes
    }

    /// The same, and whether that can be told.
    pub fn agreement(&self, target: DigestId, digests: &Digests, manifests: &impl KnownManifests) -> Agreement {
        if !manifests.is_whole(target) || self.subject.is(&digests.digest(target)) {
            return Agreement::No;
        }
        if self.kind != ReferrerKind::Referrers {
            return Agreement::Yes;
        }
        let Some(children) = manifests.listed(target) else { return Agreement::No };
        let mut agreement = Agreement::Yes;
        for child in children {
            match manifests.subject(child) {
                Some(subject) if self.subject.is(&digests.digest(subject)) => {}
                Some(_) => return Agreement::No,
                None if manifests.is_whole(child) => return Agreement::No,
                None if manifests.is_missing(child) => {}
                None => agreement = Agreement::Unknown,
            }
        }
        agreement
    }
}

/// Whether a tag keeps what its name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// It does.
    Yes,
    /// It does not: it is a tag like any other.
    No,
    /// Something that would tell is damaged, or cannot be read.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_made_from_a_digest() {
        let digest = Digest::of(Algorithm::Sha256, b"image");
        let hex = digest.hex();
        let long = Digest::of(Algorithm::Sha512, b"image");
        let whole = |kind| Some(ReferrerTag { subject: Subject::Whole(digest.clone()), kind });
        let cut = Subject::Cut(Algorithm::Sha512, long.hex()[..64].into());
        for (tag, expected) in [
            (format!("sha256-{hex}"), whole(ReferrerKind::Referrers)),
            (format!("sha256-{hex}.sig"), whole(ReferrerKind::Signature)),
            (format!("sha256-{hex}.att"), whole(ReferrerKind::Attestation)),
            (format!("sha256-{hex}.sbom"), whole(ReferrerKind::Sbom)),
            (
                format!("sha512-{}", &long.hex()[..64]),
                Some(ReferrerTag { subject: cut.clone(), kind: ReferrerKind::Referrers }),
            ),
            (format!("sha256-{hex}.imgpkg"), None),
            (format!("sha256-{hex}.sig.sig"), None),
            (format!("sha256-{}", hex.to_uppercase()), None),
            (format!("sha256-{}", &hex[..63]), None),
            (format!("sha512-{}", &long.hex()[..63]), None),
            (format!("sha256:{hex}"), None),
            (format!("md5-{hex}"), None),
            (hex.clone(), None),
            ("sha256-".to_owned(), None),
            ("v1.2.3".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(ReferrerTag::parse(&tag), expected, "{tag}");
        }
        assert!(cut.is(&long) && !cut.is(&digest) && !cut.is(&Digest::of(Algorithm::Sha512, b"other")));
    }
}
