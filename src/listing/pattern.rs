//! What somebody wants to see: `REPOSITORY` or `REPOSITORY:TAG`, both of which may be globs.

use globset::{GlobBuilder, GlobMatcher};

use crate::layout::shown;
use crate::policy::RepositoryPattern;

/// A pattern, compiled.
#[derive(Clone, Debug)]
pub struct Pattern {
    repository: RepositoryPattern,
    /// Whether the repository is named, and no glob.
    is_name: bool,
    tag: Option<TagGlob>,
}

/// A glob over whole tag names.
#[derive(Clone, Debug)]
struct TagGlob {
    matcher: GlobMatcher,
    text: Box<str>,
}

/// What makes a text a glob.
const GLOB: [char; 5] = ['*', '?', '[', '{', '\\'];

impl Pattern {
    /// Compiles a pattern. A slash at the end is let go: so ends what a shell completes.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let (repository, tag) = match text.split_once(':') {
            Some((repository, tag)) => (repository, Some(TagGlob::parse(tag)?)),
            None => (text, None),
        };
        let repository = repository.trim_end_matches('/');
        Ok(Pattern { repository: RepositoryPattern::parse(repository)?, is_name: !repository.contains(GLOB), tag })
    }

    /// The part before the colon, as it was written.
    pub fn repository(&self) -> &str {
        self.repository.as_str()
    }

    /// The part behind the colon, as it was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_ref().map(|tag| &*tag.text)
    }

    /// Whether the part before the colon is a name, and no glob.
    pub fn is_name(&self) -> bool {
        self.is_name
    }

    /// Whether it matches the repository of this name.
    pub fn matches_repository(&self, name: &str) -> bool {
        if self.is_name { name == self.repository() } else { self.repository.matches(name) }
    }

    /// Whether the repository of this name lies below the folder that is named.
    pub fn is_above(&self, name: &str) -> bool {
        let below = name.strip_prefix(self.repository()).unwrap_or_default();
        self.is_name && below.starts_with('/')
    }

    /// Whether a folder may be, or hold, a repository that matches; never no if it does.
    pub fn leads_to(&self, folder: &str) -> bool {
        // What comes before the first component with a glob in it.
        let fixed = self.repository().split('/').take_while(|part| !part.contains(GLOB));
        // Alternatives may hold slashes, and then parts of them look like components.
        let has_slash_in_braces = self.repository().find('{').is_some_and(|at| self.repository()[at..].contains('/'));
        has_slash_in_braces && !self.is_name || fixed.zip(folder.split('/')).all(|(fixed, part)| fixed == part)
    }

    /// Whether it matches this tag; without a part for tags it matches all.
    pub fn matches_tag(&self, tag: &str) -> bool {
        self.tag.as_ref().is_none_or(|glob| glob.matcher.is_match(tag))
    }
}

impl TagGlob {
    fn parse(text: &str) -> Result<TagGlob, String> {
        if text.is_empty() {
            return Err("an empty pattern matches no tag; leave out the colon to see all".to_owned());
        }
        let glob = GlobBuilder::new(text)
            .backslash_escape(true)
            .build()
            .map_err(|error| format!("'{}' is no glob: {}", shown(text.as_bytes()), error.kind()))?;
        Ok(TagGlob { matcher: glob.compile_matcher(), text: text.into() })
    }
}

impl std::str::FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        Pattern::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_and_tags() {
        for (text, name, tag, matching, others) in [
            ("team/app", true, None, &["team/app"][..], &["team", "team/app/cache", "team/apps"][..]),
            ("team/", true, None, &["team"], &["team/app"]),
            ("team/*", false, None, &["team/app"], &["team", "team/app/cache"]),
            ("app:v1", true, Some("v1"), &["app"], &["v1", "app:v1"]),
            ("**:*-rc?", false, Some("*-rc?"), &["app", "team/app"], &[]),
            ("{app,db}:{a,b}", false, Some("{a,b}"), &["app", "db"], &["web"]),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(pattern.is_name(), name, "{text}");
            assert_eq!(pattern.tag(), tag, "{text}");
            matching.iter().for_each(|name| assert!(pattern.matches_repository(name), "{text} {name}"));
            others.iter().for_each(|name| assert!(!pattern.matches_repository(name), "{text} {name}"));
        }
        for wrong in ["", "/", ":v1", "app:", "[", "app:[", "app:{a"] {
            let error = Pattern::parse(wrong).unwrap_err();
            assert!(!error.contains('\n') && !error.is_empty(), "{wrong}: {error}");
        }
    }

    #[test]
    fn globs_over_tags() {
        for (text, matching, others) in [
            ("a", &["v1", ""][..], &[][..]),
            ("a:v1", &["v1"], &["v10", "rv1", "V1"]),
            ("a:v*", &["v", "v1", "v1.2"], &["rv1"]),
            ("a:v?.[0-9]", &["v1.2"], &["v1.x", "v10.2"]),
            ("a:{latest,v[12]}", &["latest", "v1"], &["v3"]),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            matching.iter().for_each(|tag| assert!(pattern.matches_tag(tag), "{text} {tag}"));
            others.iter().for_each(|tag| assert!(!pattern.matches_tag(tag), "{text} {tag}"));
        }
    }

    #[test]
    fn folders_on_the_way() {
        for (text, on_the_way, others) in [
            ("team/app", &["team", "team/app", "team/app/x"][..], &["other", "team/ap", "teams"][..]),
            ("team/*/cache", &["team", "team/x", "team/x/y"], &["tea", "other/team"]),
            ("**/cache", &["a", "a/b"], &[]),
            ("t*", &["a", "team"], &[]),
            ("team/{a/b,c}", &["team", "other", "team/a"], &[]),
            ("{a,b}/c/d", &["a", "a/x"], &[]),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            on_the_way.iter().for_each(|folder| assert!(pattern.leads_to(folder), "{text} {folder}"));
            others.iter().for_each(|folder| assert!(!pattern.leads_to(folder), "{text} {folder}"));
        }
        let team = Pattern::parse("team").unwrap();
        for (name, is_below) in [("team/app", true), ("team/a/b", true), ("team", false), ("teams/app", false)] {
            assert_eq!(team.is_above(name), is_below, "{name}");
        }
        assert!(!Pattern::parse("te*").unwrap().is_above("te*/app"));
    }
}
