//! What somebody wants to see: `REPOSITORY` or `REPOSITORY:TAG`, both of which may be globs.

use globset::{GlobBuilder, GlobMatcher};

use crate::layout::shown;
use crate::nearest::did_you_mean;
use crate::policy::RepositoryPattern;

/// A pattern, compiled.
#[derive(Clone, Debug)]
pub struct Pattern {
    repository: RepositoryPattern,
    /// Whether the repository is named, and no glob.
    is_name: bool,
    way: Way,
    tag: Option<TagGlob>,
}

/// What the folders on the way to a repository have to match, one after the other.
#[derive(Clone, Debug)]
struct Way {
    parts: Vec<GlobMatcher>,
    /// Whether what comes after these may be anything.
    is_open: bool,
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
        let is_name = !repository.contains(GLOB);
        Ok(Pattern { repository: RepositoryPattern::parse(repository)?, is_name, way: Way::to(repository), tag })
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

    /// That no repository matches, and which of these may have been meant: one line.
    pub fn no_repository<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> String {
        let wanted = shown(self.repository().as_bytes());
        if self.is_name {
            format!("no repository is named {wanted}{}", did_you_mean(self.repository(), names))
        } else {
            format!("no repository matches {wanted}")
        }
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

    /// Whether a folder may be, or hold, a repository that matches or lies below the folder that is named; never no if
    /// it does.
    pub fn leads_to(&self, folder: &str) -> bool {
        let Way { parts, is_open } = &self.way;
        let is_beyond = folder.split('/').count() > parts.len();
        (!is_beyond || *is_open || self.is_name)
            && parts.iter().zip(folder.split('/')).all(|(part, name)| part.is_match(name))
    }

    /// Whether it matches this tag; without a part for tags it matches all.
    pub fn matches_tag(&self, tag: &str) -> bool {
        self.tag.as_ref().is_none_or(|glob| glob.matcher.is_match(tag))
    }
}

impl Way {
    fn to(repository: &str) -> Way {
        let mut way = Way { parts: Vec::new(), is_open: false };
        for part in repository.split('/') {
            // Braces and brackets may hold slashes; then a part of them is no glob by itself.
            let glob = GlobBuilder::new(part).backslash_escape(true).build();
            match glob {
                Ok(glob) if !part.contains("**") => way.parts.push(glob.compile_matcher()),
                Ok(_) | Err(_) => {
                    way.is_open = true;
                    break;
                }
            }
        }
        way
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
            ("team/*/cache", &["team", "team/x", "team/x/cache"], &["tea", "other/team", "team/x/y", "team/x/cache/y"]),
            ("team/a*", &["team", "team/app"], &["team/web", "team/app/cache"]),
            ("team/a*/**", &["team", "team/app", "team/app/cache/x"], &["team/web"]),
            ("**/cache", &["a", "a/b"], &[]),
            ("t*", &["team"], &["a", "team/app"]),
            ("{a,b}/c", &["a", "b/c"], &["c", "a/d"]),
            ("team/{a/b,c}", &["team", "team/a", "team/a/b", "team/c"], &["other"]),
            ("{a/b,c}/d", &["a", "a/b", "c/d"], &[]),
            ("[a/b]c", &["ac"], &[]),
            ("a\\*", &["a*"], &["ab"]),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            on_the_way.iter().for_each(|folder| assert!(pattern.leads_to(folder), "{text} {folder}"));
            others.iter().for_each(|folder| assert!(!pattern.leads_to(folder), "{text} {folder}"));
        }
        // Whatever matches is found.
        let names = ["ac", "a/b/d", "team/app", "team/a/b", "team/x/cache", "a/b/cache", "cache", "b/c"];
        for text in ["**", "*", "**/cache", "team/**", "team/*", "{a/b,c}/d", "team/{a/b,c}", "[ab]c", "*/*/*", "?c"] {
            let pattern = Pattern::parse(text).unwrap();
            for name in names.iter().filter(|name| pattern.matches_repository(name)) {
                let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
                ends.for_each(|end| assert!(pattern.leads_to(&name[..end]), "{text} {name}"));
            }
        }
        let team = Pattern::parse("team").unwrap();
        for (name, is_below) in [("team/app", true), ("team/a/b", true), ("team", false), ("teams/app", false)] {
            assert_eq!(team.is_above(name), is_below, "{name}");
        }
        assert!(!Pattern::parse("te*").unwrap().is_above("te*/app"));
    }
}
