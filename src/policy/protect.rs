//! What is in use, and so stays whatever else is asked for: digests and image references, as `kubectl` and container
//! runtimes print them.
//!
//! A reference names its image as its user sees it: with the host of the registry before the name, and perhaps with a
//! path that a proxy takes away (`registry.example.com/mirror/team/app`). Nobody knows here which that is. So every end
//! of a name counts (`team/app` and `app` as well), and what is found under any of them is protected.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::digest::Digest;
use crate::inventory::{DigestId, Digests, LinkState, Repository, place_of};
use crate::layout::{TagName, shown};

/// Digests and references that were given to protect what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    line: usize,
    text: String,
    /// The names that the repository may have here, the longest first; none for a digest alone.
    names: Vec<String>,
    /// Whether the longest name begins with a host.
    has_host: bool,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// Neither a digest nor a reference.
    #[error("line {line}: '{text}' is neither a digest nor an image reference (host/name:tag, name@sha256:...)")]
    NoReference {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// Nothing at all is named.
    #[error(
        "nothing is named there, and so nothing would be protected. Did the command fail that was to write it? To \
         protect nothing, leave --protect out"
    )]
    Empty,
}

/// What a [`Protected`] comes to in a registry.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Tags, by repository.
    tags: HashMap<String, HashSet<String>>,
    /// Digests, wherever they are.
    pub digests: HashSet<DigestId>,
}

impl Held {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.digests.is_empty()
    }

    /// Whether this tag is held by its name.
    pub fn has_tag(&self, repository: &str, tag: &str) -> bool {
        self.tags.get(repository).is_some_and(|tags| tags.contains(tag))
    }
}

/// A reference that names nothing in this registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its line, from 1.
    pub line: usize,
    /// As it was written.
    pub text: String,
    /// Whether the repository is here, and only the tag or digest is not; or whether nothing says that another
    /// registry was meant.
    pub is_suspicious: bool,
}

impl Protected {
    /// Reads digests and references, one a line; white space separates as well, so that what `kubectl` prints on one
    /// line is read too. A `#` begins a comment at the beginning of a line. `docker://` and such before a reference
    /// are left out.
    ///
    /// # Errors
    /// [`ProtectError`]. A line that nobody understands may be one that protects something.
    pub fn parse(text: &str) -> Result<Protected, ProtectError> {
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
            for word in line.split_whitespace() {
                let entry = Entry::parse(at + 1, word)
                    .ok_or_else(|| ProtectError::NoReference { line: at + 1, text: shortened(word) })?;
                entries.push(entry);
            }
        }
        if entries.is_empty() { Err(ProtectError::Empty) } else { Ok(Protected { entries }) }
    }

    /// The digests that are named, wherever they may be.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().filter_map(|entry| entry.digest.as_ref())
    }

    /// Looks up what is named. The repositories are sorted by name.
    pub fn look_up(&self, repositories: &[Repository], digests: &Digests) -> (Held, Vec<Unknown>) {
        let mut held = Held::default();
        if self.entries.is_empty() {
            return (held, Vec::new());
        }
        let mut unknown = BTreeMap::new();
        let known: HashSet<DigestId> = repositories
            .iter()
            .flat_map(|repository| &repository.revisions)
            .filter(|revision| revision.link != LinkState::Absent)
            .map(|revision| revision.id)
            .collect();
        for entry in &self.entries {
            let mut is_known = false;
            if let Some(digest) = &entry.digest {
                let id = digests.id(digest);
                held.digests.insert(id);
                is_known |= known.contains(&id) || digests.is_blob(id);
            }
            let mut has_repository = false;
            for (parts, name) in entry.names.iter().enumerate() {
                let Some(place) = place_of(repositories, name) else { continue };
                // Without its host it is the name of a repository; what is shorter may be so by chance.
                has_repository |= parts <= usize::from(entry.has_host);
                let Some(tag) = &entry.tag else { continue };
                if repositories[place].tag(tag).is_some() {
                    held.tags.entry(name.clone()).or_default().insert(tag.clone());
                    is_known = true;
                }
            }
            if !is_known {
                let is_suspicious = has_repository || !entry.has_host;
                let Entry { line, text, .. } = entry.clone();
                // What runs in fifty pods is unknown once.
                unknown.entry(text.clone()).or_insert(Unknown { line, text, is_suspicious });
            }
        }
        let mut unknown: Vec<Unknown> = unknown.into_values().collect();
        unknown.sort_by_key(|unknown| unknown.line);
        (held, unknown)
    }
}

impl Entry {
    fn parse(line: usize, word: &str) -> Option<Entry> {
        let text = shortened(word);
        // `docker-pullable://`, `docker://`, `containerd://`: the runtime that runs it.
        let reference = word.split_once("://").map_or(word, |(_, reference)| reference);
        if let Ok(digest) = Digest::parse(reference.as_bytes()) {
            return Some(Entry { line, text, names: Vec::new(), has_host: false, tag: None, digest: Some(digest) });
        }
        // Almost a digest: cut off, as `docker ps` prints it, or in capitals. It would be taken for a name, and protect
        // nothing.
        let is_hex = |text: &str| text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_cut = reference.split_once(':').is_some_and(|(algorithm, hex)| {
            ["sha256", "sha512"].contains(&&*algorithm.to_ascii_lowercase()) && !hex.contains('/')
        });
        if is_hex(reference) || is_cut {
            return None;
        }
        let (named, digest) = match reference.split_once('@') {
            Some((named, digest)) => (named, Some(Digest::parse(digest.as_bytes()).ok()?)),
            None => (reference, None),
        };
        // A colon after the last slash begins the tag; one before it belongs to the host's port.
        let (name, tag) = match named.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (named, None),
        };
        if tag.is_some_and(|tag| TagName::parse(tag).is_err()) {
            return None;
        }
        // Without a tag and a digest, `latest` is meant.
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        let has_host = name.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost");
        let ends = name.match_indices('/').map(|(slash, _)| &name[slash + 1..]);
        let names: Vec<String> = std::iter::once(name).chain(ends).map(str::to_owned).collect();
        let is_name = |name: &str| {
            let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            name.split('/').all(|part| !part.is_empty() && part.bytes().all(is_fine))
        };
        // The host may have a port, or be an address of IPv6.
        names.get(usize::from(has_host)).is_some_and(|name| is_name(name)).then_some(())?;
        Some(Entry { line, text, names, has_host, tag, digest })
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    shown(text.chars().take(MOST).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn references_as_runtimes_print_them() {
        let digest = Digest::of(Algorithm::Sha256, b"image");
        for (word, names, tag, has_digest) in [
            (digest.to_string(), "", None, true),
            (format!("docker://{digest}"), "", None, true),
            ("team/app:v1".to_owned(), "team/app app", Some("v1"), false),
            ("app".to_owned(), "app", Some("latest"), false),
            ("reg.example.com/team/app:v1".to_owned(), "reg.example.com/team/app team/app app", Some("v1"), false),
            ("reg:5000/app".to_owned(), "reg:5000/app app", Some("latest"), false),
            ("localhost/team/app:v1".to_owned(), "localhost/team/app team/app app", Some("v1"), false),
            ("[::1]:5000/app:v1".to_owned(), "[::1]:5000/app app", Some("v1"), false),
            (format!("reg.io/team/app@{digest}"), "reg.io/team/app team/app app", None, true),
            (format!("team/app:v1@{digest}"), "team/app app", Some("v1"), true),
            (format!("docker-pullable://reg.io/app@{digest}"), "reg.io/app app", None, true),
        ] {
            let entry = Entry::parse(1, &word).unwrap_or_else(|| panic!("{word}"));
            assert_eq!(entry.names.join(" "), names, "{word}");
            assert_eq!(entry.tag.as_deref(), tag, "{word}");
            assert_eq!(entry.digest.is_some(), has_digest, "{word}");
        }
        for word in
            ["team/app:v1@sha256:12", "a//b", "/a", "a/", "app:", "app:-x", "a b:c@", "{\"items\":", "error:", ":v1"]
        {
            assert!(Protected::parse(word).is_err(), "{word}");
        }
    }

    #[test]
    fn lists_as_people_pipe_them() {
        let list = Protected::parse("# pods\n\nteam/app:v1 team/app:v2\r\n\tapp\n  # more\n").unwrap();
        let lines: Vec<_> = list.entries.iter().map(|entry| (entry.line, entry.text.as_str())).collect();
        assert_eq!(lines, [(3, "team/app:v1"), (3, "team/app:v2"), (4, "app")]);
        assert_eq!(Protected::parse("a:b\nc:!\n"), Err(ProtectError::NoReference { line: 2, text: "c:!".to_owned() }));
        for nothing in ["", "\n\n", "# nothing\n"] {
            assert_eq!(Protected::parse(nothing), Err(ProtectError::Empty), "{nothing:?}");
        }
    }
}
