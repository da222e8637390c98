//! What somebody asks about: a digest, the beginning of one, or a name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::digest::{Algorithm, Digest};
use crate::layout::{BLOBS, CURRENT, DATA, INDEX, Item, LINK, REPOSITORIES, RepositoryName, shown};
use crate::policy::Name;

/// Fewer digits name too much to be meant.
const LEAST_DIGITS: usize = 4;

/// What somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A digest, wherever it is.
    Digest(Beginning),
    /// A digest in a repository: `repository@sha256:...`.
    Manifest(String, Beginning),
    /// What a tag points at: `repository:tag`.
    Tag(String, String),
    /// A whole repository. If there is none of that name, and it is hex digits, the digest that begins with them.
    Repository(String, Option<Beginning>),
}

/// A digest, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// `None` where nothing but digits was written: any algorithm.
    algorithm: Option<Algorithm>,
    /// Lower-case hex digits, no more than a digest of that algorithm has.
    hex: Box<str>,
}

impl Beginning {
    /// The whole of a digest.
    fn of(digest: &Digest) -> Beginning {
        Beginning { algorithm: Some(digest.algorithm()), hex: digest.hex().into() }
    }

    fn parse(text: &str) -> Option<Result<Beginning, &'static str>> {
        let (algorithm, hex) = match text.split_once(':') {
            Some((name, hex)) => (Some(Algorithm::from_name(name.as_bytes())?), hex),
            None => (None, text),
        };
        if !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return None;
        }
        if hex.len() < LEAST_DIGITS {
            return Some(Err("write at least 4 digits of a digest"));
        }
        let most = if algorithm == Some(Algorithm::Sha256) { 64 } else { 128 };
        if hex.len() > most {
            return Some(Err("no digest has so many digits"));
        }
        Some(Ok(Beginning { algorithm, hex: hex.into() }))
    }

    /// The first and the last digest that begin so, for each algorithm that it may be of.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (Digest, Digest)> {
        let of = |algorithm: Algorithm| {
            let digits = if algorithm == Algorithm::Sha256 { 64 } else { 128 };
            let filled = |with: &str| {
                let missing = digits - self.hex.len().min(digits);
                Digest::from_hex(algorithm, format!("{}{}", self.hex, with.repeat(missing)).as_bytes()).ok()
            };
            Some((filled("0")?, filled("f")?))
        };
        let is_meant = |algorithm: &Algorithm| self.algorithm.is_none_or(|meant| meant == *algorithm);
        Algorithm::ALL.into_iter().filter(is_meant).filter_map(of).collect::<Vec<_>>().into_iter()
    }

    /// The same, cut to so many digits.
    pub(super) fn cut(&self, digits: usize) -> Beginning {
        Beginning { algorithm: self.algorithm, hex: self.hex.chars().take(digits).collect() }
    }

    /// How many digits there are.
    pub(super) fn digits(&self) -> usize {
        self.hex.len()
    }
}

impl fmt::Display for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(algorithm) = self.algorithm {
            write!(f, "{}:", algorithm.name())?;
        }
        f.write_str(&self.hex)
    }
}

/// What lies at this path in a registry's folders, as somebody has it from `find`, `ls` or a message: a blob's folder
/// or its `data`, the folder or the `link` of a layer, a revision or a tag, the folder of a repository. Wherever the
/// path begins; what stands before `blobs` or `repositories` is not looked at.
fn at_path(text: &str) -> Option<Question> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let within = parts.iter().rev().take_while(|part| [DATA, LINK, CURRENT, INDEX].contains(part)).count();
    let item_of = |parts: &[&str]| Item::at(&parts.iter().collect::<PathBuf>());
    // `sha256/ab/abcd...`, as somebody sees it who stands in `blobs`.
    if let [algorithm, shard, hex] = parts[..parts.len() - within]
        && let Some(Item::Blob(digest)) = item_of(&[BLOBS, algorithm, shard, hex])
    {
        return Some(Question::Digest(Beginning::of(&digest)));
    }
    let begins = (0..parts.len()).filter(|&at| [BLOBS, REPOSITORIES].contains(&parts[at]));
    for below in begins.map(|at| &parts[at..]) {
        let items = (0..=within).filter_map(|cut| item_of(&below[..below.len().checked_sub(cut)?]));
        for item in items {
            return Some(match item {
                Item::Blob(digest) => Question::Digest(Beginning::of(&digest)),
                Item::Tag(repository, tag) => Question::Tag(repository.to_string(), tag.to_string()),
                Item::TagHistory(repository, _, digest)
                | Item::Revision(repository, digest)
                | Item::LayerLink(repository, digest) => {
                    Question::Manifest(repository.to_string(), Beginning::of(&digest))
                }
                // Nothing leads to one.
                Item::Upload(..) => continue,
            });
        }
    }
    // By itself `repositories/team/web` may be a name.
    let above = parts.windows(2).position(|pair| pair == ["v2", REPOSITORIES])?;
    let name: Vec<&str> = parts[above + 2..].iter().copied().take_while(|part| !part.starts_with('_')).collect();
    let name = RepositoryName::parse(&name.join("/")).ok()?;
    Some(Question::Repository(name.to_string(), None))
}

impl FromStr for Question {
    type Err = String;

    /// Nothing is looked up. One line says what is wrong with it.
    fn from_str(text: &str) -> Result<Question, String> {
        if let Some(question) = at_path(text) {
            return Ok(question);
        }
        let wrong = |what: &str| format!("'{}': {what}", shown(text.as_bytes()));
        if let Some((repository, digest)) = text.split_once('@') {
            let Name::Repository(repository) = repository.parse::<Name>().map_err(|_| wrong(FORMS))? else {
                return Err(wrong(FORMS));
            };
            return match Beginning::parse(digest) {
                Some(Ok(beginning)) => Ok(Question::Manifest(repository, beginning)),
                Some(Err(why)) => Err(wrong(why)),
                None => Err(wrong("a digest is sha256: and lower-case hex digits, the first of them are enough")),
            };
        }
        match Beginning::parse(text) {
            // A repository may well be called cafe.
            Some(Ok(beginning)) if beginning.algorithm.is_none() => {
                Ok(Question::Repository(text.to_owned(), Some(beginning)))
            }
            Some(Ok(beginning)) => Ok(Question::Digest(beginning)),
            Some(Err(why)) if text.contains(':') => Err(wrong(why)),
            Some(Err(_)) | None => match text.parse::<Name>() {
                Ok(Name::Repository(name)) => Ok(Question::Repository(name, None)),
                Ok(Name::Tag(name, _)) if Algorithm::from_name(name.as_bytes()).is_some() => {
                    Err(wrong("a digest has lower-case hex digits"))
                }
                Ok(Name::Tag(name, tag)) => Ok(Question::Tag(name, tag)),
                Ok(Name::Manifest(..)) => Err(wrong(FORMS)),
                Err(why) if text.contains(':') && !text.contains('/') => Err(why),
                Err(_) => Err(wrong(FORMS)),
            },
        }
    }
}

const FORMS: &str =
    "write sha256:... or its first digits, repository:tag, repository@sha256:... or repository, without a host";

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(algorithm: Option<Algorithm>, hex: &str) -> Beginning {
        Beginning { algorithm, hex: hex.into() }
    }

    #[test]
    fn questions() {
        let sha256 = Some(Algorithm::Sha256);
        let whole = "ab".repeat(32);
        let repository = |name: &str| Question::Repository(name.to_owned(), None);
        for (text, question) in [
            ("team/app", repository("team/app")),
            ("team/", repository("team")),
            ("abc", repository("abc")),
            ("cafe", Question::Repository("cafe".to_owned(), Some(digits(None, "cafe")))),
            ("sha256:cafe", Question::Digest(digits(sha256, "cafe"))),
            (&format!("sha256:{whole}"), Question::Digest(digits(sha256, &whole))),
            ("sha512:0123", Question::Digest(digits(Some(Algorithm::Sha512), "0123"))),
            ("team/app:v1", Question::Tag("team/app".to_owned(), "v1".to_owned())),
            ("app@sha256:cafe", Question::Manifest("app".to_owned(), digits(sha256, "cafe"))),
            ("app@cafe", Question::Manifest("app".to_owned(), digits(None, "cafe"))),
        ] {
            assert_eq!(text.parse::<Question>(), Ok(question), "{text}");
        }
        for (text, why) in [
            ("", "write sha256:"),
            ("sha256:abc", "at least 4"),
            ("sha256:CAFE", "lower-case"),
            (&format!("sha256:{whole}0"), "so many digits"),
            ("app@sha256:abc", "at least 4"),
            ("app@sha256:CAFE", "lower-case"),
            ("app:v1@sha256:cafe", "write sha256:"),
            ("@sha256:cafe", "write sha256:"),
            ("localhost:5000/app:v1", "without a host"),
            ("../x", "write sha256:"),
            ("a\u{1b}[2J", "write sha256:"),
        ] {
            let error = text.parse::<Question>().unwrap_err();
            assert!(error.contains(why) && !error.contains('\u{1b}'), "{text:?}: {error}");
        }
    }

    /// Whatever path of the tree somebody has at hand.
    #[test]
    fn paths() {
        let hex = format!("ab{}", "c".repeat(62));
        let v2 = "/var/lib/registry/docker/registry/v2";
        let whole = || digits(Some(Algorithm::Sha256), &hex);
        let digest = Question::Digest(whole());
        let manifest = Question::Manifest("team/app".to_owned(), whole());
        let tag = Question::Tag("team/app".to_owned(), "v1".to_owned());
        let repository = Question::Repository("team/app".to_owned(), None);
        let app = "repositories/team/app";
        for (path, question) in [
            (format!("{v2}/blobs/sha256/ab/{hex}/data"), &digest),
            (format!("{v2}/blobs/sha256/ab/{hex}/"), &digest),
            (format!("blobs/sha256/ab/{hex}/data"), &digest),
            (format!("../v2/blobs/sha256/ab/{hex}"), &digest),
            (format!("sha256/ab/{hex}"), &digest),
            (format!("./sha256/ab/{hex}/data"), &digest),
            (format!("/srv/blobs/docker/registry/v2/blobs/sha256/ab/{hex}"), &digest),
            (format!("{v2}/{app}/_manifests/revisions/sha256/{hex}/link"), &manifest),
            (format!("{app}/_layers/sha256/{hex}/link"), &manifest),
            (format!("{app}/_manifests/tags/v1/index/sha256/{hex}/link"), &manifest),
            (format!("{app}/_manifests/tags/v1/current/link"), &tag),
            (format!("{v2}/{app}/_manifests/tags/v1"), &tag),
            (format!("{v2}/{app}"), &repository),
            (format!("{v2}/{app}/_manifests/tags/"), &repository),
            // Nothing leads to an upload.
            (format!("{v2}/{app}/_uploads/0123/data"), &repository),
        ] {
            assert_eq!(path.parse::<Question>().as_ref(), Ok(question), "{path}");
        }
        for path in [
            // Not the folder that this digest lies in.
            format!("{v2}/blobs/sha256/cc/{hex}/data"),
            format!("{v2}/blobs/sha256/ab/{}/data", &hex[..20]),
            format!("{v2}/repositories"),
        ] {
            path.parse::<Question>().expect_err(&path);
        }
        // A repository may well be called so.
        let named = Question::Repository("repositories/team".to_owned(), None);
        assert_eq!("repositories/team".parse(), Ok(named));
    }

    #[test]
    fn ranges_of_digests() {
        let of = |beginning: Beginning| -> Vec<String> {
            beginning.ranges().map(|(first, last)| format!("{first} {last}")).collect()
        };
        let sha256 = format!("sha256:cafe{} sha256:cafe{}", "0".repeat(60), "f".repeat(60));
        let sha512 = format!("sha512:cafe{} sha512:cafe{}", "0".repeat(124), "f".repeat(124));
        assert_eq!(of(digits(Some(Algorithm::Sha256), "cafe")), std::slice::from_ref(&sha256));
        assert_eq!(of(digits(None, "cafe")), [sha256, sha512]);
        // More digits than a sha256 has.
        assert_eq!(of(digits(None, &"a".repeat(100))).len(), 1);
    }
}
