//! Patterns for names: globs for repositories, regular expressions for tags.
//!
//! Both have to match a whole name, never only a part of it: `v1` is not `rv1`, and `team/*` is not `team/app/cache`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use globset::{GlobBuilder, GlobMatcher};
use regex::bytes::{Regex, RegexBuilder};

use super::translate;
use crate::layout::shown;

/// A glob over repository names: `*` and `?` stay within a component, `**` goes over several, `{a,b}` and `[a-z]` as
/// in a shell.
#[derive(Clone, Debug)]
pub struct RepositoryPattern {
    matcher: GlobMatcher,
    text: Box<str>,
    used: Used,
}

/// A regular expression over whole tag names (the syntax of the `regex` crate, without Unicode classes: tag names are
/// ASCII).
#[derive(Clone, Debug)]
pub struct TagPattern {
    regex: Regex,
    text: Box<str>,
    used: Used,
}

/// Whether a pattern has ever matched anything: one that has not may be a mistake.
#[derive(Clone, Debug, Default)]
struct Used(Arc<AtomicBool>);

impl Used {
    fn note(&self, matches: bool) -> bool {
        // Written once: threads that only read do not get into each other's way.
        if matches && !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
        matches
    }
}

/// How much memory a compiled pattern may take, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

impl RepositoryPattern {
    /// Compiles a glob.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn parse(text: &str) -> Result<RepositoryPattern, String> {
        if text.is_empty() {
            return Err("an empty pattern matches no repository".to_owned());
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build().map_err(|error| {
            let why = shown(error.kind().to_string().as_bytes());
            format!("'{}' is no glob: {why}", shown(text.as_bytes()))
        })?;
        Ok(RepositoryPattern { matcher: glob.compile_matcher(), text: text.into(), used: Used::default() })
    }

    /// Whether it matches the whole name.
    pub fn matches(&self, repository: &str) -> bool {
        self.used.note(self.matcher.is_match(repository))
    }

    /// Whether it has ever matched anything.
    pub fn was_used(&self) -> bool {
        self.used.0.load(Ordering::Relaxed)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The glob that somebody may have meant who wrote a regular expression: `team/**` for `team/.*`.
    pub fn meant(&self) -> Option<String> {
        translate::to_glob(&self.text).filter(|glob| RepositoryPattern::parse(glob).is_ok())
    }
}

impl TagPattern {
    /// Compiles a regular expression. One that is empty is refused: it matches no tag, and most likely stands where a
    /// variable of a script was to be filled in.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn parse(text: &str) -> Result<TagPattern, String> {
        if text.is_empty() {
            return Err("an empty pattern matches no tag".to_owned());
        }
        TagPattern::compile(text).map_err(|why| {
            let meant = translate::to_regex(text).filter(|regex| TagPattern::compile(regex).is_ok());
            let meant = meant.map(|regex| format!("; if it is meant as a glob, write '{regex}'")).unwrap_or_default();
            format!("'{}' is no regular expression: {why}{meant}", shown(text.as_bytes()))
        })
    }

    fn compile(text: &str) -> Result<TagPattern, String> {
        let wrong = |error: regex::Error| {
            // The library draws the pattern with a caret below it; its last line says what is wrong.
            let error = error.to_string();
            error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
        };
        let compile = |pattern: &str| RegexBuilder::new(pattern).unicode(false).size_limit(SIZE_LIMIT).build();
        // By itself first, so that `a)(b` is wrong and does not close our own group.
        compile(text).map_err(wrong)?;
        let regex = compile(&format!("\\A(?:{text})\\z")).map_err(wrong)?;
        Ok(TagPattern { regex, text: text.into(), used: Used::default() })
    }

    /// Whether it matches the whole name.
    pub fn matches(&self, tag: &str) -> bool {
        self.used.note(self.regex.is_match(tag.as_bytes()))
    }

    /// Whether it has ever matched anything.
    pub fn was_used(&self) -> bool {
        self.used.0.load(Ordering::Relaxed)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The regular expression that somebody may have meant who wrote a glob: `release-.*` for `release-*`.
    pub fn meant(&self) -> Option<TagPattern> {
        TagPattern::compile(&translate::to_regex(&self.text)?).ok()
    }

    /// Whether it can hardly be meant as a regular expression: in one, `release-*` is `release` and any number of
    /// hyphens.
    pub fn looks_like_a_glob(&self) -> bool {
        translate::repeats_a_letter(&self.text) && translate::to_regex(&self.text).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (glob, matching, others) in [
            ("team/*", &["team/app", "team/.x"][..], &["team", "team/app/cache", "other/app", "xteam/app"][..]),
            ("team/**", &["team/app", "team/app/cache"], &["team", "teams/app"]),
            ("**", &["app", "team/app", "a/b/c"], &[]),
            ("**/cache", &["cache", "team/cache", "a/b/cache"], &["cache/a", "team/mycache"]),
            ("{app,team/db}", &["app", "team/db"], &["team/app", "db"]),
            ("app-[0-9]", &["app-1"], &["app-x", "app-10"]),
            ("app", &["app"], &["App", "app2", "team/app"]),
        ] {
            let pattern = RepositoryPattern::parse(glob).unwrap();
            matching.iter().for_each(|name| assert!(pattern.matches(name), "{glob} {name}"));
            others.iter().for_each(|name| assert!(!pattern.matches(name), "{glob} {name}"));
        }
        for wrong in ["", "[", "{a", "a\\"] {
            let error = RepositoryPattern::parse(wrong).unwrap_err();
            assert!(!error.contains('\n') && !error.is_empty(), "{wrong}: {error}");
        }
    }

    #[test]
    fn expressions_match_whole_names() {
        for (expression, matching, others) in [
            ("v1", &["v1"][..], &["rv1", "v1.2", "V1"][..]),
            ("a|ab", &["a", "ab"], &["abc", "xa"]),
            (r"v\d+\.\d+\.0", &["v1.2.0"], &["v1.2.3", "v1.2.0-rc"]),
            ("(?i)release-.*", &["release-1", "RELEASE-1"], &["release"]),
            ("^v1$", &["v1"], &["v12"]),
            (".*", &["", "x"], &[]),
        ] {
            let pattern = TagPattern::parse(expression).unwrap();
            matching.iter().for_each(|name| assert!(pattern.matches(name), "{expression} {name}"));
            others.iter().for_each(|name| assert!(!pattern.matches(name), "{expression} {name}"));
        }
        for wrong in ["(", "a)(b", "*", "[z-a]", "a{100}{100}{100}", r"\p{Greek}"] {
            let error = TagPattern::parse(wrong).unwrap_err();
            assert!(!error.contains('\n') && error.starts_with('\'') && error.len() < 200, "{wrong}: {error}");
        }
        assert_eq!(TagPattern::parse("").unwrap_err(), "an empty pattern matches no tag");
    }

    #[test]
    fn what_is_only_a_glob_is_offered_as_an_expression() {
        for (glob, expression) in [
            ("*", Some(".*")),
            ("*-rc?", Some(".*-rc.")),
            ("{v1,v2}.*", Some(r"(v1|v2)\..*")),
            ("(", None),
            ("a)(b", None),
            ("{a", None),
        ] {
            let error = TagPattern::parse(glob).unwrap_err();
            match expression {
                Some(it) => assert!(error.ends_with(&format!("; if it is meant as a glob, write '{it}'")), "{error}"),
                None => assert!(!error.contains("glob"), "{error}"),
            }
        }
    }

    #[test]
    fn what_may_have_been_meant() {
        for (tags, meant, looks_like_a_glob) in [
            ("release-*", Some("release-.*"), true),
            ("v1*", Some("v1.*"), true),
            ("v*.*", Some(r"v.*\..*"), true),
            ("v[0-9]*", Some("v[0-9].*"), false),
            ("v?", Some("v."), false),
            ("[!v]*", Some("[^v].*"), false),
            // Whoever writes these knows what they are.
            ("release-.*", None, false),
            (r"v\d*", None, false),
            ("(v1|v2)*", None, false),
            ("a+b*", None, false),
            // Nothing in them means anything in a glob.
            ("latest", None, false),
            ("v1.2", None, false),
        ] {
            let pattern = TagPattern::parse(tags).unwrap();
            let offered = pattern.meant();
            assert_eq!(offered.as_ref().map(TagPattern::as_str), meant, "{tags}");
            assert_eq!(pattern.looks_like_a_glob(), looks_like_a_glob, "{tags}");
        }
        for (repositories, meant) in [
            ("team/.*", Some("team/**")),
            (".*", Some("**")),
            ("^team/app$", Some("team/app")),
            ("team/app-.+", Some("team/app-*")),
            ("team/.*-api", Some("team/*-api")),
            (".*/cache", Some("**/cache")),
            (r"team\.x/.*", Some("team.x/**")),
            ("(base|team)/.*", Some("{base,team}/**")),
            ("team/*", None),
            ("team/app", None),
            ("team/{a,b}.*", None),
            (r"team/\w+", None),
        ] {
            assert_eq!(RepositoryPattern::parse(repositories).unwrap().meant().as_deref(), meant, "{repositories}");
        }
    }
}
