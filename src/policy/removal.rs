//! What goes because somebody named it: `regsweep rm`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::inventory::{Digests, LinkState, Repository, place_of};
use crate::layout::{RepositoryName, TagName, shown};
use crate::nearest::did_you_mean;

/// What somebody named to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The names.
    pub names: Vec<Name>,
    /// The name of a repository means those below it as well.
    pub is_recursive: bool,
}

/// A name: `repository`, `repository:tag` or `repository@digest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A whole repository.
    Repository(String),
    /// One tag.
    Tag(String, String),
    /// One manifest.
    Manifest(String, Digest),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Repository(name) => f.write_str(name),
            Name::Tag(name, tag) => write!(f, "{name}:{tag}"),
            Name::Manifest(name, digest) => write!(f, "{name}@{digest}"),
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let wrong = |what: &str| format!("'{}': {what}", shown(text.as_bytes()));
        let repository = |name: &str| match RepositoryName::parse(name.trim_end_matches('/')) {
            Ok(name) => Ok(name.to_string()),
            Err(_) => Err(wrong("write repository:tag, repository@sha256:... or repository")),
        };
        if let Some((name, digest)) = text.split_once('@') {
            let digest = Digest::parse(digest.as_bytes())
                .map_err(|_| wrong("a digest is written in full, sha256: and 64 hex digits"))?;
            return Ok(Name::Manifest(repository(name)?, digest));
        }
        match text.split_once(':') {
            Some((name, tag)) if TagName::parse(tag).is_ok() => Ok(Name::Tag(repository(name)?, tag.to_owned())),
            Some(_) => Err(wrong("no tag has such a name (write the name without the host of the registry)")),
            None => Ok(Name::Repository(repository(text)?)),
        }
    }
}

/// Tags, manifests and repositories that are there and were named to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Tags, by repository. Siblings that point at the same manifest stay.
    tags: BTreeMap<String, BTreeSet<String>>,
    /// Manifests, by repository. The tags that point at them go as well.
    manifests: BTreeMap<String, BTreeSet<Digest>>,
    /// Whole repositories.
    repositories: BTreeSet<String>,
}

impl Request {
    /// Looks up what was named. The repositories are sorted by name.
    ///
    /// # Errors
    /// A line for each name that is not there, or that cannot be removed.
    pub fn look_up(&self, repositories: &[Repository], digests: &Digests) -> Result<Removal, Vec<String>> {
        let mut removal = Removal::default();
        let mut wrong = Vec::new();
        for name in &self.names {
            let done = match name {
                Name::Repository(name) => self.look_up_repository(name, repositories, &mut removal),
                Name::Tag(name, tag) => find(repositories, name).and_then(|repository| {
                    let Some(found) = repository.tag(tag) else {
                        let near = did_you_mean(tag, repository.tags.iter().map(|tag| &*tag.name));
                        return Err(format!("{name} has no tag {tag}{near}"));
                    };
                    if found.removable.is_none() {
                        return Err(format!("{name}:{tag} lies behind a symbolic link, and nothing is removed there"));
                    }
                    removal.tags.entry(name.clone()).or_default().insert(tag.clone());
                    Ok(())
                }),
                Name::Manifest(name, digest) => find(repositories, name).and_then(|repository| {
                    let id = digests.id(digest);
                    let has_link = repository.has_revision_link(id);
                    if !has_link && !repository.tags.iter().any(|tag| tag.current == LinkState::Target(id)) {
                        let hex: Vec<String> = repository
                            .revisions
                            .iter()
                            .filter(|revision| revision.link != LinkState::Absent)
                            .map(|revision| digests.digest(revision.id).to_string())
                            .collect();
                        let near = did_you_mean(&digest.to_string(), hex.iter().map(String::as_str));
                        return Err(format!("{name} has no manifest {digest}{near}"));
                    }
                    removal.manifests.entry(name.clone()).or_default().insert(digest.clone());
                    Ok(())
                }),
            };
            wrong.extend(done.err());
        }
        if wrong.is_empty() { Ok(removal) } else { Err(wrong) }
    }

    fn look_up_repository(&self, name: &str, repositories: &[Repository], removal: &mut Removal) -> Result<(), String> {
        let is_below =
            |repository: &&Repository| repository.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        let below: Vec<&Repository> = repositories.iter().filter(is_below).collect();
        let mut found: Vec<&Repository> = Vec::new();
        match find(repositories, name) {
            Ok(repository) => found.push(repository),
            Err(_) if self.is_recursive && !below.is_empty() => {}
            Err(_) if !below.is_empty() => {
                let count = below.len();
                let what = if count == 1 { "one repository".to_owned() } else { format!("{count} repositories") };
                return Err(format!(
                    "{name} is no repository, but a namespace of {what}: --recursive removes all of it"
                ));
            }
            Err(why) => return Err(why),
        }
        if self.is_recursive {
            found.extend(below);
        }
        if let Some(linked) = found.iter().find(|repository| repository.removable.is_none()) {
            return Err(format!("{} lies behind a symbolic link, and nothing is removed there", linked.name));
        }
        removal.repositories.extend(found.into_iter().map(|repository| repository.name.to_string()));
        Ok(())
    }
}

fn find<'r>(repositories: &'r [Repository], name: &str) -> Result<&'r Repository, String> {
    let place = place_of(repositories, name).ok_or_else(|| {
        let near = did_you_mean(name, repositories.iter().map(|repository| &*repository.name));
        format!("there is no repository {name}{near}")
    })?;
    if repositories[place].removable.is_none() {
        return Err(format!("{name} lies behind a symbolic link, and nothing is removed there"));
    }
    Ok(&repositories[place])
}

impl Removal {
    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.manifests.is_empty() && self.repositories.is_empty()
    }

    /// Whether this tag was named, by itself or with its repository.
    pub fn names_tag(&self, repository: &str, tag: &str) -> bool {
        self.names_repository(repository) || self.tags.get(repository).is_some_and(|tags| tags.contains(tag))
    }

    /// Whether the whole repository was named.
    pub fn names_repository(&self, repository: &str) -> bool {
        self.repositories.contains(repository)
    }

    /// The repositories that were named whole.
    pub fn repositories(&self) -> impl Iterator<Item = &str> {
        self.repositories.iter().map(String::as_str)
    }

    /// The manifests that were named in a repository.
    pub fn manifests_of(&self, repository: &str) -> impl Iterator<Item = &Digest> {
        self.manifests.get(repository).into_iter().flatten()
    }

    /// The manifests that were named, each with its repository.
    pub fn manifests(&self) -> impl Iterator<Item = (&str, &Digest)> {
        self.manifests.iter().flat_map(|(name, digests)| digests.iter().map(move |digest| (&**name, digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn names() {
        let digest = Digest::of(Algorithm::Sha256, b"image");
        let tag = |name: &str, tag: &str| Ok(Name::Tag(name.to_owned(), tag.to_owned()));
        for (text, name) in [
            ("team/app:v1", tag("team/app", "v1")),
            ("app:latest", tag("app", "latest")),
            ("team/app", Ok(Name::Repository("team/app".to_owned()))),
            ("team/", Ok(Name::Repository("team".to_owned()))),
            (&format!("team/app@{digest}"), Ok(Name::Manifest("team/app".to_owned(), digest.clone()))),
        ] {
            assert_eq!(text.parse::<Name>(), name, "{text}");
        }
        for (text, why) in [
            ("", "write repository:tag"),
            ("/", "write repository:tag"),
            ("../x:v1", "write repository:tag"),
            ("_uploads", "write repository:tag"),
            ("a b", "write repository:tag"),
            ("app:", "no tag has such a name"),
            ("localhost:5000/app:v1", "without the host"),
            ("app@sha256:12", "written in full"),
            (&format!("app:v1@{digest}"), "write repository:tag"),
            ("app:v1\u{1b}[2J", "no tag has such a name"),
        ] {
            let error = text.parse::<Name>().unwrap_err();
            assert!(error.contains(why) && !error.contains('\u{1b}'), "{text:?}: {error}");
        }
    }
}
