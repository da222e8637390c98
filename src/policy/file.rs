//! A policy as it is written down: YAML, documented in `docs/retention.md`, with a schema in
//! `docs/policy.schema.json`.
//!
//! A policy decides what is lost, so nothing in it is passed over: an unknown key, a key twice, a rule that says
//! nothing, a second document are mistakes, each told with its line and column.

use super::duration::parse_duration;
use super::pattern::{RepositoryPattern, TagPattern};
use super::retention::{Count, Effect, History, Keep, Retention, Rule};
use crate::layout::is_unsafe_to_show;
use crate::nearest::nearest;
use crate::yaml::{self, Entry, Kind, Mapping, Origin, Scalar, Value};

/// How many tags stay in each repository if nobody says a number: a rule that is wrong leaves the newest.
pub const FLOOR: u64 = 1;

/// The keys of the file itself.
pub const KEYS: [&str; 3] = ["version", "floor", "rules"];
/// The keys of a rule.
pub const RULE_KEYS: [&str; 9] =
    ["name", "repositories", "except-repositories", "tags", "except-tags", "floor", "protect", "keep", "expire"];
/// The keys of `keep`.
pub const KEEP_KEYS: [&str; 9] =
    ["last", "hourly", "daily", "weekly", "monthly", "yearly", "within", "tags", "tag-history"];
/// The keys of `expire`.
pub const EXPIRE_KEYS: [&str; 1] = ["older-than"];

/// A mistake in a policy, with its place. Line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct PolicyError {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

type Result<T> = std::result::Result<T, PolicyError>;

/// Reads a policy.
///
/// # Errors
/// [`PolicyError`] for the first mistake.
pub fn parse(text: &str) -> Result<Retention> {
    let document = yaml::parse_only(text).map_err(|yaml::Problem { line, column, message }| PolicyError {
        line,
        column,
        message,
    })?;
    let start = Place { line: 1, column: 1 };
    let Some(document) = document else {
        return Err(start.says("nothing is in it; a policy begins with `rules:`"));
    };
    let root = Section::of(&document, "the policy", &KEYS, start)?;
    if let Some(version) = root.get("version") {
        let (scalar, place) = version.scalar()?;
        if scalar.as_text() != "1" {
            return Err(place.says(format!("version {} is not known; this is version 1", version.describe())));
        }
    }
    let floor = root.get("floor").map(|floor| floor.number()).transpose()?.unwrap_or(FLOOR);
    let Some(rules) = root.get("rules") else {
        return Err(start.says("no `rules` in it, so nothing would go"));
    };
    let Value::Sequence(items) = rules.value else {
        return Err(rules
            .place
            .says(format!("`rules` is a list of rules (each begins with `- `), not {}", rules.describe())));
    };
    if items.is_empty() {
        return Err(rules.place.says("`rules` is an empty list, so nothing would go"));
    }
    let rules: Vec<Rule> =
        items.iter().enumerate().map(|(nth, item)| rule(item, nth, rules.place)).collect::<Result<_>>()?;
    Ok(Retention { rules, floor })
}

fn rule(value: &Value, nth: usize, parent: Place) -> Result<Rule> {
    let section = Section::of(value, "a rule", &RULE_KEYS, parent)?;
    let name = match section.get("name") {
        Some(name) => name.name()?,
        None => format!("rule {}", nth + 1),
    };
    let effects: Vec<Field<'_>> = ["protect", "keep", "expire"].iter().filter_map(|key| section.get(key)).collect();
    let effect = match *effects.as_slice() {
        [] => return Err(section.place.says("a rule needs one of `keep`, `expire` and `protect`")),
        [field] => effect(&section, field)?,
        [_, ref second, ..] => {
            return Err(second.place.says("`keep`, `expire` and `protect` are three rules; a rule has one of them"));
        }
    };
    Ok(Rule {
        name: name.into(),
        repositories: section.patterns("repositories", RepositoryPattern::parse)?,
        except_repositories: section.patterns("except-repositories", RepositoryPattern::parse)?,
        tags: section.patterns("tags", TagPattern::parse)?,
        except_tags: section.patterns("except-tags", TagPattern::parse)?,
        floor: section.get("floor").map(|floor| floor.number()).transpose()?,
        effect,
    })
}

fn effect(section: &Section<'_>, field: Field<'_>) -> Result<Effect> {
    if section.get("protect").is_some() {
        let (scalar, place) = field.scalar()?;
        return match scalar.kind {
            Kind::Bool(true) => Ok(Effect::Protect),
            _ => Err(place.says("`protect` is `true`, or left out")),
        };
    }
    if section.get("expire").is_some() {
        let expire = Section::of(field.value, "`expire`", &EXPIRE_KEYS, field.place)?;
        let Some(age) = expire.get("older-than") else {
            return Err(field.place.says("`expire` needs `older-than`, such as `older-than: 30d`"));
        };
        return age.duration().map(Effect::Expire);
    }
    let keep = Section::of(field.value, "`keep`", &KEEP_KEYS, field.place)?;
    let count = |key| keep.get(key).map(|count| count.count()).transpose();
    let kept = Keep {
        last: count("last")?,
        hourly: count("hourly")?,
        daily: count("daily")?,
        weekly: count("weekly")?,
        monthly: count("monthly")?,
        yearly: count("yearly")?,
        within: keep.get("within").map(|within| within.duration()).transpose()?,
        tags: keep.patterns("tags", TagPattern::parse)?,
        history: keep.get("tag-history").map(|history| history.history()).transpose()?,
    };
    if !kept.selects_tags() && kept.history.is_none() {
        return Err(field.place.says(format!("`keep` says nothing; it has the keys {}", listed(&KEEP_KEYS))));
    }
    Ok(Effect::Keep(kept))
}

#[derive(Clone, Copy, Debug)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn says(self, message: impl Into<String>) -> PolicyError {
        PolicyError { line: self.line, column: self.column, message: message.into() }
    }

    /// Where a scalar stands; values that an alias brought in stand where they were written.
    fn of(scalar: &Scalar) -> Option<Place> {
        match scalar.origin {
            Origin::Place { line, column } => Some(Place { line, column }),
            Origin::Variable(_) => None,
        }
    }
}

/// A mapping whose keys are all known.
struct Section<'v> {
    mapping: &'v Mapping,
    place: Place,
}

impl<'v> Section<'v> {
    fn of(value: &'v Value, what: &str, keys: &[&str], parent: Place) -> Result<Section<'v>> {
        let Value::Mapping(mapping) = value else {
            return Err(parent.says(format!("{what} has the keys {}; this is {}", listed(keys), value.describe())));
        };
        for Entry { key, .. } in &mapping.entries {
            let name = key.as_text();
            if keys.contains(&name) {
                continue;
            }
            let offered = match nearest(name, keys.iter().copied()).first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", listed(keys)),
            };
            let message = format!("unknown key `{}` in {what}; {offered}", yaml::short(name));
            return Err(Place::of(key).unwrap_or(parent).says(message));
        }
        let first = mapping.entries.first().and_then(|entry| Place::of(&entry.key));
        Ok(Section { mapping, place: first.unwrap_or(parent) })
    }

    fn get(&self, key: &'v str) -> Option<Field<'v>> {
        let entry = self.mapping.entries.iter().find(|entry| entry.key.as_text() == key)?;
        Some(Field { key, value: &entry.value, place: Place::of(&entry.key).unwrap_or(self.place) })
    }

    /// A list of patterns, or a single one.
    fn patterns<T>(&self, key: &'v str, parse: fn(&str) -> std::result::Result<T, String>) -> Result<Vec<T>> {
        let Some(field) = self.get(key) else { return Ok(Vec::new()) };
        let items = match field.value {
            Value::Sequence(items) => items.iter().collect(),
            _ => vec![field.value],
        };
        if items.is_empty() {
            return Err(field.place.says(format!("`{key}` is an empty list; to mean all, leave it out")));
        }
        let pattern = |value: &'v Value| {
            let (scalar, place) = Field { value, ..field }.scalar()?;
            if scalar.kind == Kind::Null {
                return Err(place.says(format!("`{key}` has an empty entry")));
            }
            parse(scalar.as_text()).map_err(|why| place.says(why))
        };
        items.into_iter().map(pattern).collect()
    }
}

/// A key with its value.
#[derive(Clone, Copy)]
struct Field<'v> {
    key: &'v str,
    value: &'v Value,
    /// Where the key stands.
    place: Place,
}

impl<'v> Field<'v> {
    fn describe(&self) -> String {
        self.value.describe()
    }

    fn scalar(&self) -> Result<(&'v Scalar, Place)> {
        match self.value {
            Value::Scalar(scalar) => Ok((scalar, Place::of(scalar).unwrap_or(self.place))),
            _ => Err(self.place.says(format!("`{}` takes one value, not {}", self.key, self.describe()))),
        }
    }

    fn name(&self) -> Result<String> {
        let (scalar, place) = self.scalar()?;
        let name = scalar.as_text();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(is_unsafe_to_show) {
            return Err(place.says("`name` is a text of 1 to 100 characters on one line"));
        }
        Ok(name.to_owned())
    }

    fn number(&self) -> Result<u64> {
        let (scalar, place) = self.scalar()?;
        let text = scalar.as_text();
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| is_plain)
            .ok_or_else(|| place.says(format!("`{}` is a number such as 10, not {}", self.key, self.describe())))
    }

    fn count(&self) -> Result<Count> {
        let (scalar, place) = self.scalar()?;
        if scalar.as_text() == "unlimited" {
            return Ok(Count::Unlimited);
        }
        self.number().map(Count::Of).map_err(|_| {
            place.says(format!("`{}` is a number such as 10, or `unlimited`, not {}", self.key, self.describe()))
        })
    }

    fn duration(&self) -> Result<i64> {
        let (scalar, place) = self.scalar()?;
        parse_duration(scalar.as_text()).map_err(|why| place.says(format!("`{}`: {why}", self.key)))
    }

    fn history(&self) -> Result<History> {
        let (scalar, place) = self.scalar()?;
        parse_history(scalar.as_text()).map_err(|why| place.says(format!("`{}`: {why}", self.key)))
    }
}

/// How much of the history of a tag stays: a number of digests, or a duration.
///
/// # Errors
/// One line that says how to write it.
pub fn parse_history(text: &str) -> std::result::Result<History, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(History::Last).map_err(|_| format!("'{text}' is too large a number: write 10"));
    }
    parse_duration(text).map(History::Within).map_err(|why| {
        let has_unit = text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(char::is_alphabetic);
        if has_unit {
            return why;
        }
        format!("'{}' is neither a number of digests (3) nor a duration (30d)", crate::layout::shown(text.as_bytes()))
    })
}

fn listed(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
# What stays.
version: 1
floor: 2
rules:
  - name: releases
    repositories: [team/**, '{base,tools}/*']
    except-repositories: team/scratch
    tags: ['v\\d+.*']
    except-tags: ['.*-rc\\d+']
    floor: 3
    keep:
      last: 10
      hourly: 24
      daily: 7
      weekly: 4
      monthly: 12
      yearly: unlimited
      within: 30d
      tags: v1.0, 
      tag-history: 3
  - tags: pr-.*
    expire: {older-than: 14d}
  - name: in use
    tags: [latest, 1.10]
    protect: true
";

    #[test]
    fn a_whole_policy() {
        let policy = parse(WHOLE).unwrap();
        assert_eq!(policy.floor, 2);
        let names: Vec<&str> = policy.rules.iter().map(|rule| &*rule.name).collect();
        assert_eq!(names, ["releases", "rule 2", "in use"]);
        let [releases, pulls, in_use] = &policy.rules[..] else { panic!("three rules") };
        assert_eq!(releases.floor, Some(3));
        assert!(releases.is_about("team/a/b") && releases.is_about("tools/x") && !releases.is_about("team/scratch"));
        let Effect::Keep(keep) = &releases.effect else { panic!("{releases:?}") };
        assert_eq!(
            [keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly],
            [10, 24, 7, 4, 12].map(|count| Some(Count::Of(count)))
        );
        assert_eq!(keep.yearly, Some(Count::Unlimited));
        assert_eq!(keep.within, Some(30 * 86_400));
        assert_eq!(keep.history, Some(History::Last(3)));
        assert_eq!(keep.tags.len(), 1);
        assert!(matches!(pulls.effect, Effect::Expire(1_209_600)));
        assert!(matches!(in_use.effect, Effect::Protect));
        // A version is a text, whatever YAML takes it for.
        assert!(in_use.tags[1].matches("1.10") && !in_use.tags[1].matches("1.1"));
        assert_eq!(parse("rules: [{keep: {last: 1}}]").unwrap().floor, FLOOR);
    }

    #[test]
    fn every_mistake_has_its_place_and_a_way_out() {
        for (text, line, column, message) in [
            ("", 1, 1, "nothing is in it"),
            ("# nothing\n", 1, 1, "nothing is in it"),
            ("floor: 1\n", 1, 1, "no `rules` in it"),
            ("rules:\n", 1, 1, "`rules` is a list of rules"),
            ("rules: []\n", 1, 1, "an empty list"),
            ("- tags: x\n", 1, 1, "the policy has the keys"),
            ("version: 2\nrules: [{protect: true}]\n", 1, 10, "this is version 1"),
            ("floor: -1\nrules: [{protect: true}]\n", 1, 8, "`floor` is a number"),
            ("rule: []\n", 1, 1, "unknown key `rule` in the policy; did you mean `rules`?"),
            ("rules:\n  - tags: x\n", 2, 5, "a rule needs one of"),
            ("rules:\n  - x\n", 1, 1, "a rule has the keys"),
            ("rules:\n  - keep: {last: 1}\n    expire: {older-than: 1d}\n", 3, 5, "three rules"),
            ("rules:\n  - keep: {lst: 1}\n", 2, 12, "unknown key `lst` in `keep`; did you mean `last`?"),
            ("rules:\n  - keep: {keep-last: 1}\n", 2, 12, "did you mean `last`?"),
            ("rules:\n  - repository: x\n    protect: true\n", 2, 5, "did you mean `repositories`?"),
            ("rules:\n  - xyz: x\n    protect: true\n", 2, 5, "the keys here are `name`, "),
            ("rules:\n  - keep: {}\n", 2, 5, "`keep` says nothing"),
            ("rules:\n  - keep:\n", 2, 5, "`keep` has the keys"),
            ("rules:\n  - keep: {last: many}\n", 2, 18, "a number such as 10, or `unlimited`, not the string \"many\""),
            ("rules:\n  - keep: {last: 1.5}\n", 2, 18, "a number such as 10"),
            ("rules:\n  - keep: {last: 0x10}\n", 2, 18, "a number such as 10"),
            ("rules:\n  - keep: {last: 99999999999999999999}\n", 2, 18, "a number such as 10"),
            ("rules:\n  - keep: {last: [1]}\n", 2, 12, "`last` takes one value, not a list"),
            ("rules:\n  - keep: {within: 6m}\n", 2, 20, "months or minutes"),
            ("rules:\n  - keep: {within: 30}\n", 2, 20, "is no duration"),
            ("rules:\n  - keep: {tag-history: some}\n", 2, 25, "neither a number of digests (3) nor a duration"),
            ("rules:\n  - expire: {}\n", 2, 5, "needs `older-than`"),
            ("rules:\n  - expire: 30d\n", 2, 5, "`expire` has the keys `older-than`"),
            ("rules:\n  - expire: {older-then: 30d}\n", 2, 14, "did you mean `older-than`?"),
            ("rules:\n  - protect: false\n", 2, 14, "`protect` is `true`, or left out"),
            ("rules:\n  - protect: 'true'\n", 2, 14, "`protect` is `true`, or left out"),
            ("rules:\n  - tags: ['(']\n    protect: true\n", 2, 12, "is no regular expression"),
            ("rules:\n  - tags: []\n    protect: true\n", 2, 5, "an empty list; to mean all, leave it out"),
            ("rules:\n  - tags: [a, ]\n    protect: [true]\n", 3, 5, "`protect` takes one value"),
            ("rules:\n  - tags:\n    protect: true\n", 2, 9, "`tags` has an empty entry"),
            ("rules:\n  - repositories: '['\n    protect: true\n", 2, 19, "is no glob"),
            ("rules:\n  - name: ''\n    protect: true\n", 2, 11, "`name` is a text"),
            ("rules:\n  - protect: true\n    protect: true\n", 3, 5, "second time"),
            ("rules: [{protect: true}]\n---\nrules: []\n", 2, 1, "a second document"),
            ("rules: [\n", 0, 0, ""),
        ] {
            let error = parse(text).map(|_| ()).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            assert!(!error.to_string().contains('\n') && error.line >= 1 && error.column >= 1, "{text}: {error}");
            assert!(line == 0 || (error.line, error.column) == (line, column), "{text}: {error}");
        }
    }

    #[test]
    fn histories() {
        assert_eq!(parse_history("3"), Ok(History::Last(3)));
        assert_eq!(parse_history("30d"), Ok(History::Within(30 * 86_400)));
        for wrong in ["", "x", "-3", "3.5", "6m", "99999999999999999999"] {
            assert!(parse_history(wrong).is_err(), "{wrong}");
        }
    }
}
