//! Content digests: the name of every blob.
//!
//! The format is `<algorithm>:<lower-case hex>` (OCI image specification, *Descriptors*, "Digests"). Two algorithms
//! are registered there and written by registries: `sha256` and `sha512`. Everything else (`tarsum...`, upper-case hex,
//! a wrong length) is refused by the parser, so that no text from the disk can ever become a path that is not a
//! digest's own: a [`Digest`] is always safe to put into a path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 64 hex digits: what registries write by default.
    Sha256,
    /// SHA-512, 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// Both algorithms, in the order of their names on disk.
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    /// The name as it stands before the colon, and as a folder on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// The algorithm of that exact name, or `None`.
    pub fn from_name(name: &[u8]) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == name)
    }
}

/// A digest that has been checked: algorithm known, hex lower-case and of the right length.
///
/// It holds the bytes, not the text: 32 bytes a blob is what lets a scan of millions of blobs stay small. Its order is
/// the order of its text, so sorted digests are sorted output.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// The bytes of a SHA-256 digest.
    Sha256([u8; 32]),
    /// The bytes of a SHA-512 digest; boxed, because it is rare and would double the size of all others.
    Sha512(Box<[u8; 64]>),
}

/// Why a text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon between an algorithm and a hex part.
    #[error("not of the form <algorithm>:<hex>")]
    Form,
    /// The algorithm is neither sha256 nor sha512.
    #[error("the digest algorithm is neither sha256 nor sha512")]
    Algorithm,
    /// The hex part has the wrong length, or something other than lower-case hex digits in it.
    #[error("the hex part of the digest is not lower-case hex of the right length")]
    Hex,
}

impl Digest {
    /// Parses `<algorithm>:<hex>`.
    ///
    /// # Errors
    /// [`DigestError`] for anything that a registry would not have written itself.
    pub fn parse(text: &[u8]) -> Result<Digest, DigestError> {
        let colon = text.iter().position(|&byte| byte == b':').ok_or(DigestError::Form)?;
        let algorithm = Algorithm::from_name(&text[..colon]).ok_or(DigestError::Algorithm)?;
        Digest::from_hex(algorithm, &text[colon + 1..])
    }

    /// Makes a digest of the two parts that a path on disk keeps apart.
    ///
    /// # Errors
    /// [`DigestError::Hex`] if `hex` is not lower-case hex of the algorithm's length.
    pub fn from_hex(algorithm: Algorithm, hex: &[u8]) -> Result<Digest, DigestError> {
        match algorithm {
            Algorithm::Sha256 => Ok(Digest::Sha256(decoded(hex)?)),
            Algorithm::Sha512 => Ok(Digest::Sha512(Box::new(decoded(hex)?))),
        }
    }

    /// The digest of these bytes.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Digest {
        match algorithm {
            Algorithm::Sha256 => Digest::Sha256(sha2::Sha256::digest(content).into()),
            Algorithm::Sha512 => Digest::Sha512(Box::new(sha2::Sha512::digest(content).into())),
        }
    }

    /// Which algorithm made it.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Digest::Sha256(_) => Algorithm::Sha256,
            Digest::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The raw bytes: 32 or 64 of them.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Digest::Sha256(bytes) => bytes,
            Digest::Sha512(bytes) => bytes.as_slice(),
        }
    }

    /// The hex part of the text, lower-case.
    pub fn hex(&self) -> String {
        const_hex::encode(self.as_bytes())
    }

    /// The hex part of the text, lower-case, written into a place that the caller has for it: for paths, of which a run
    /// makes one a file.
    pub fn hex_in<'a>(&self, place: &'a mut HexPlace) -> &'a str {
        let place = &mut place.0[..self.as_bytes().len() * 2];
        // The place fits, and what is written is ASCII.
        let written = const_hex::encode_to_slice(self.as_bytes(), &mut *place).is_ok();
        debug_assert!(written, "{} digits have room in {}", self.as_bytes().len() * 2, place.len());
        std::str::from_utf8(place).unwrap_or_default()
    }

    /// Whether this is the other one with a few of its hex digits wrong, as a failing disk or memory makes it. Two
    /// digests of two things are never as alike.
    pub fn is_slip_of(&self, other: &Digest) -> bool {
        const MOST_DIGITS: usize = 8;
        if self.algorithm() != other.algorithm() {
            return false;
        }
        let differ = |a: u8, b: u8| usize::from((a ^ b) >> 4 != 0) + usize::from((a ^ b) & 15 != 0);
        let differing: usize = self.as_bytes().iter().zip(other.as_bytes()).map(|(&a, &b)| differ(a, b)).sum();
        (1..=MOST_DIGITS).contains(&differing)
    }

    /// Whether these bytes are what the digest names.
    pub fn matches(&self, content: &[u8]) -> bool {
        *self == Digest::of(self.algorithm(), content)
    }
}

/// Finds the digest of bytes that come piece by piece.
#[derive(Clone)]
pub struct Hasher(Hashing);

#[derive(Clone)]
enum Hashing {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Nothing has come yet.
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher(match algorithm {
            Algorithm::Sha256 => Hashing::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hashing::Sha512(sha2::Sha512::new()),
        })
    }

    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Hashing::Sha256(hasher) => hasher.update(piece),
            Hashing::Sha512(hasher) => hasher.update(piece),
        }
    }

    /// The digest of everything that came.
    pub fn finish(self) -> Digest {
        match self.0 {
            Hashing::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Hashing::Sha512(hasher) => Digest::Sha512(Box::new(hasher.finalize().into())),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// Exactly as many lower-case hex digits as the bytes need.
fn decoded<const N: usize>(hex: &[u8]) -> Result<[u8; N], DigestError> {
    if hex.len() != 2 * N {
        return Err(DigestError::Hex);
    }
    // The crate also accepts upper-case digits, and `0x` before fewer of them; the registry does not. All bytes are
    // looked at, without an end at the first bad one, so that the compiler can compare many at once.
    if hex.iter().fold(false, |found, byte| found | byte.is_ascii_uppercase()) {
        return Err(DigestError::Hex);
    }
    let mut bytes = [0; N];
    const_hex::decode_to_slice(hex, &mut bytes).map_err(|_| DigestError::Hex)?;
    Ok(bytes)
}

/// Room for the hex digits of any digest.
#[derive(Debug)]
pub struct HexPlace([u8; 128]);

impl HexPlace {
    /// An empty one.
    pub const fn new() -> HexPlace {
        HexPlace([0; 128])
    }
}

impl Default for HexPlace {
    fn default() -> HexPlace {
        HexPlace::new()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm().name())?;
        f.write_str(":")?;
        f.write_str(self.hex_in(&mut HexPlace::new()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        Digest::parse(text.as_bytes())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_goes_in_and_comes_out() {
        let a = "a".repeat(64);
        let b = "0b".repeat(64);
        for text in [format!("sha256:{a}"), format!("sha512:{b}")] {
            let digest = Digest::parse(text.as_bytes()).unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Digest>(&format!("\"{text}\"")).unwrap(), digest);
        }
    }

    #[test]
    fn what_the_registry_would_not_write_is_refused() {
        let hex = "a".repeat(64);
        for (text, error) in [
            (String::new(), DigestError::Form),
            (hex.clone(), DigestError::Form),
            (format!("sha256-{hex}"), DigestError::Form),
            (format!("SHA256:{hex}"), DigestError::Algorithm),
            (format!("md5:{hex}"), DigestError::Algorithm),
            (format!("tarsum.v1+sha256:{hex}"), DigestError::Algorithm),
            (format!("sha256:{}", "A".repeat(64)), DigestError::Hex),
            (format!("sha256:{}", "a".repeat(63)), DigestError::Hex),
            (format!("sha256:{}", "a".repeat(65)), DigestError::Hex),
            (format!("sha256:{}g", "a".repeat(63)), DigestError::Hex),
            (format!("sha512:{hex}"), DigestError::Hex),
            (format!("sha256:{hex}\n"), DigestError::Hex),
            (format!(" sha256:{hex}"), DigestError::Algorithm),
            ("sha256:../../etc".to_owned(), DigestError::Hex),
            ("sha256:".to_owned(), DigestError::Hex),
            (format!("sha256:0x{}", "a".repeat(62)), DigestError::Hex),
            (format!("sha256:0x{}", "a".repeat(64)), DigestError::Hex),
            (format!("sha512:0x{}", "a".repeat(128)), DigestError::Hex),
        ] {
            assert_eq!(Digest::parse(text.as_bytes()), Err(error), "{text:?}");
        }
    }

    #[test]
    fn known_answers() {
        let of_nothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), of_nothing);
        assert!(Digest::parse(of_nothing.as_bytes()).unwrap().matches(b""));
        assert!(!Digest::parse(of_nothing.as_bytes()).unwrap().matches(b"x"));
        assert!(Digest::of(Algorithm::Sha512, b"abc").to_string().starts_with("sha512:ddaf35a193617aba"));
    }

    #[test]
    fn the_order_is_that_of_the_text() {
        let mut digests: Vec<Digest> =
            ["1", "2", "3"].iter().flat_map(|t| Algorithm::ALL.map(|a| Digest::of(a, t.as_bytes()))).collect();
        let mut texts: Vec<String> = digests.iter().map(Digest::to_string).collect();
        digests.sort();
        texts.sort();
        assert_eq!(digests.iter().map(Digest::to_string).collect::<Vec<_>>(), texts);
    }
}
