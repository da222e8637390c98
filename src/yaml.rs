//! YAML as distribution reads it: the first document of a text, as a small tree of values.
//!
//! Distribution decodes its config with the Go library `yaml.v2`, whose plain scalars follow YAML 1.1 (`yes`, `on`
//! and `y` are booleans) and whose string fields take the raw text of any scalar (`version: 0.10` is not `0.1`). A
//! decoder into ready-made types loses both facts, so this module builds its tree from parser events and keeps for
//! each scalar its text, what `yaml.v2` takes it for, and where it stands.
//!
//! Two things are refused here that `yaml.v2` accepts: the same key twice in one mapping, and a key that a later `<<`
//! overrides. There the library lets the last one win, which is an accident that no operator relies on knowingly; a
//! text that can be read in two ways must not prove that a registry is read-only.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::layout::is_unsafe_to_show;

/// How many values a text may hold once its aliases are expanded. A registry's config has a few hundred. So this bounds
/// the memory as well: each holds no more than [`TEXT_OF_A_VALUE`] bytes of text, or it counts more often.
const MAX_VALUES: usize = 50_000;

/// How many bytes of text count as one more value.
const TEXT_OF_A_VALUE: usize = 64;

/// Where a value was written: a place in a text, line and column from 1, or an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Place { line: usize, column: usize },
    Variable(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Place { line, .. } => write!(f, "line {line}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// What `yaml.v2` takes a scalar for when nothing says which type is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Text,
    /// A number, a date, binary: whatever it is, it is neither a boolean nor a string.
    Other,
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
}

impl Scalar {
    fn count(&self) -> usize {
        1 + self.text.len() / TEXT_OF_A_VALUE
    }

    /// The value of a field of type string: null is empty, everything else its text as written.
    pub(crate) fn as_text(&self) -> &str {
        if self.kind == Kind::Null { "" } else { &self.text }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Value>),
    /// A mapping from a text. In Go it is a `map[interface{}]interface{}`, and environment variables do not reach
    /// into it.
    Mapping(Mapping),
    /// A mapping that an environment variable with a longer name made on its way down: `map[string]interface{}` in
    /// Go.
    Created(std::collections::BTreeMap<String, Value>),
}

/// Key, value, and whether the key was brought in by a merge key (`<<`).
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Scalar,
    pub(crate) value: Value,
    merged: bool,
}

/// A mapping with scalar keys, each of them once, in the order of the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapping {
    pub(crate) entries: Vec<Entry>,
}

impl Mapping {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.key.as_text() == key).map(|entry| &entry.value)
    }
}

impl Value {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(Scalar { kind: Kind::Null, .. }))
    }

    /// What it is, in the words of an error message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Scalar(Scalar { kind: Kind::Null, .. }) => "nothing".to_owned(),
            Self::Scalar(Scalar { kind: Kind::Text, text, .. }) => format!("the string \"{}\"", short(text)),
            Self::Scalar(Scalar { text, .. }) => format!("`{}`", short(text)),
            Self::Sequence(_) => "a list".to_owned(),
            Self::Mapping(_) | Self::Created(_) => "a mapping".to_owned(),
        }
    }

    /// How many values this is; what a copy of it costs.
    fn count(&self) -> usize {
        match self {
            Self::Scalar(scalar) => scalar.count(),
            Self::Sequence(values) => 1 + values.iter().map(Self::count).sum::<usize>(),
            Self::Mapping(mapping) => {
                1 + mapping.entries.iter().map(|entry| entry.key.count() + entry.value.count()).sum::<usize>()
            }
            Self::Created(map) => 1 + map.values().map(Self::count).sum::<usize>(),
        }
    }
}

/// At most 60 characters of a text, on one line, and none that drives a terminal or turns the line around.
pub(crate) fn short(text: &str) -> String {
    let plain = |c: char| if is_unsafe_to_show(c) { ' ' } else { c };
    let mut line: String = text.chars().map(plain).take(60).collect();
    if text.chars().nth(60).is_some() {
        line.push_str("...");
    }
    line
}

/// A text that is no YAML, or YAML that can be read in two ways. Line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl Problem {
    fn new(mark: &Marker, message: impl Into<String>) -> Self {
        Self { line: mark.line(), column: mark.col() + 1, message: message.into() }
    }
}

impl From<&ScanError> for Problem {
    fn from(error: &ScanError) -> Self {
        Problem::new(error.marker(), short(error.to_string().split(" at char ").next().unwrap_or("not YAML")))
    }
}

/// The first document of a text; `None` if there is none. Later documents are not looked at (`yaml.v2` does not
/// either).
///
/// `variable` is the environment variable that the text comes from, if it is not the config file.
pub(crate) fn parse(text: &str, variable: Option<&str>) -> Result<Option<Value>, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { events: Parser::new_from_str(text), variable, anchors: HashMap::new(), values: 0 };
    loop {
        match builder.next()? {
            (Event::DocumentStart(..), _) => break,
            (Event::StreamEnd, _) => return Ok(None),
            _ => {}
        }
    }
    let (event, span) = builder.next()?;
    if matches!(event, Event::DocumentEnd) {
        return Ok(None);
    }
    let value = builder.value(event, &span)?;
    match builder.next()? {
        (Event::DocumentEnd | Event::StreamEnd, _) => Ok(Some(value)),
        (_, span) => Err(Problem::new(&span.start, "something follows the document's only value")),
    }
}

/// The only document of a text; `None` if there is none.
///
/// A second one is a mistake: whoever wrote it would take it for something that counts.
pub(crate) fn parse_only(text: &str) -> Result<Option<Value>, Problem> {
    let document = parse(text, None)?;
    let mut documents = 0;
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents > 1 {
                    return Err(Problem::new(&span.start, "a second document begins here; one is all that counts"));
                }
            }
            Ok(_) => {}
            Err(error) => return Err(Problem::from(&error)),
        }
    }
    Ok(document)
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    variable: Option<&'a str>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl<'a> Builder<'a> {
    /// The next event. The parser is built without its comment events.
    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        loop {
            match self.events.next() {
                Some(Ok((Event::StreamStart, _))) => {}
                Some(Ok(pair)) => return Ok(pair),
                Some(Err(error)) => return Err(Problem::from(&error)),
                None => {
                    return Err(Problem { line: 1, column: 1, message: "the text ends early".to_owned() });
                }
            }
        }
    }

    /// The value that begins with this event. Depth is bounded by the parser (255 levels of each style).
    fn value(&mut self, event: Event<'a>, span: &Span) -> Result<Value, Problem> {
        self.charge(1, span)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let origin = match self.variable {
                    Some(name) => Origin::Variable(name.to_owned()),
                    None => Origin::Place { line: span.start.line(), column: span.start.col() + 1 },
                };
                let kind =
                    resolve(&text, style, tag.as_deref()).map_err(|message| Problem::new(&span.start, message))?;
                (anchor, Value::Scalar(Scalar { text: text.into_owned(), kind, origin }))
            }
            Event::SequenceStart(_, anchor, _) => (anchor, Value::Sequence(self.sequence()?)),
            Event::MappingStart(_, anchor, _) => (anchor, Value::Mapping(self.mapping()?)),
            Event::Alias(id) => {
                // An anchor is entered when its value is complete, so a value that contains itself is not found here.
                let Some(value) = self.anchors.get(&id).cloned() else {
                    return Err(Problem::new(&span.start, "an alias to something that is not complete yet"));
                };
                self.charge(value.count(), span)?;
                return Ok(value);
            }
            _ => return Err(Problem::new(&span.start, "a value was expected")),
        };
        if anchor != 0 {
            // What is kept for aliases is a copy: anchors around anchors would keep the innermost once for each.
            self.charge(value.count(), span)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn charge(&mut self, values: usize, span: &Span) -> Result<(), Problem> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(Problem::new(&span.start, format!("more than {MAX_VALUES} values, counting aliases")));
        }
        Ok(())
    }

    fn sequence(&mut self) -> Result<Vec<Value>, Problem> {
        let mut values = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(values),
                (event, span) => values.push(self.value(event, &span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Mapping, Problem> {
        let mut mapping = Mapping::default();
        let mut merged_once = false;
        loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(mapping);
            }
            let is_merge = is_merge_key(&event);
            let key = self.value(event, &key_span)?;
            let (event, span) = self.next()?;
            let value = self.value(event, &span)?;
            let problem = |message: String| Problem::new(&key_span.start, message);
            let Value::Scalar(key) = key else {
                return Err(problem("a key that is a list or a mapping".to_owned()));
            };
            if is_merge {
                if std::mem::replace(&mut merged_once, true) {
                    return Err(problem("the key << twice in one mapping".to_owned()));
                }
                merge(&mut mapping, value).map_err(problem)?;
                continue;
            }
            match mapping.entries.iter_mut().find(|entry| entry.key.as_text() == key.as_text()) {
                None => mapping.entries.push(Entry { key, value, merged: false }),
                // Everybody agrees on this one: what is written out wins over what an earlier << brought in.
                Some(entry) if entry.merged => *entry = Entry { key, value, merged: false },
                Some(_) => {
                    let name = short(key.as_text());
                    return Err(problem(format!("the key `{name}` for the second time in one mapping")));
                }
            }
        }
    }
}

/// Merges what stands behind `<<` into a mapping. Of several sources the first that has a key wins.
///
/// A key that is there already is refused: docker-registry 2.8.2 lets a later `<<` override it, the YAML merge type
/// does not, so what it means depends on the reader.
fn merge(mapping: &mut Mapping, value: Value) -> Result<(), String> {
    let sources = match value {
        Value::Mapping(source) => vec![source],
        Value::Sequence(values) => values
            .into_iter()
            .map(|value| match value {
                Value::Mapping(source) => Ok(source),
                other => Err(format!("<< takes mappings, not {}", other.describe())),
            })
            .collect::<Result<_, _>>()?,
        other => return Err(format!("<< takes a mapping, not {}", other.describe())),
    };
    for entry in sources.into_iter().flat_map(|source| source.entries) {
        let name = entry.key.as_text();
        match mapping.entries.iter().find(|known| known.key.as_text() == name) {
            None => mapping.entries.push(Entry { merged: true, ..entry }),
            Some(known) if known.merged => {}
            Some(_) => {
                return Err(format!("the key `{}` before a << that brings it too; put << first", short(name)));
            }
        }
    }
    Ok(())
}

fn is_merge_key(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, style, _, tag) if text == "<<" => match core_tag(tag.as_deref()) {
            Some("merge") => true,
            _ => tag.is_none() && *style == ScalarStyle::Plain,
        },
        _ => false,
    }
}

/// `bool` for `!!bool` or `tag:yaml.org,2002:bool`; `None` for no tag and for all others.
fn core_tag(tag: Option<&Tag>) -> Option<&str> {
    const PREFIX: &str = "tag:yaml.org,2002:";
    let tag = tag?;
    match (tag.handle(), tag.suffix()) {
        ("!!" | PREFIX, suffix) => Some(suffix),
        ("" | "!", suffix) => suffix.strip_prefix(PREFIX),
        _ => None,
    }
}

/// What `yaml.v2` (resolve.go, decode.go) takes a scalar for.
///
/// Seen with docker-registry 2.8.2, which starts only if `enabled` comes out as a boolean: `true`, `yes`, `on`, `y`,
/// `Y`, `True`, `TRUE`, `On`, `ON`, `!!bool true`, `!!bool 'true'` and `!!bool yes` do; `tRue`, `yEs`, `oN`,
/// `'true'`, `"true"`, `1`, `~`, nothing, `!!str true` and `!bool true` make it panic.
fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Kind, String> {
    let plain = match (core_tag(tag), tag) {
        (Some("str"), _) => return Ok(Kind::Text),
        (Some("bool"), _) => {
            let kind = plain_kind(text);
            return match kind {
                Kind::Bool(_) => Ok(kind),
                _ => Err(format!("`{}` is no boolean", short(text))),
            };
        }
        (Some("null"), _) => return Ok(Kind::Null),
        (Some(_), _) => return Ok(Kind::Other),
        (None, Some(_)) => false,
        (None, None) => style == ScalarStyle::Plain,
    };
    Ok(if plain { plain_kind(text) } else { Kind::Text })
}

fn plain_kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Kind::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Kind::Bool(false),
        _ if looks_numeric(text) => Kind::Other,
        _ => Kind::Text,
    }
}

/// Whether a plain scalar may come out as a number or a date. Too many rather than too few: it decides whether a path
/// or a duration (`168h` is none of these) that was not quoted is taken as it stands.
fn looks_numeric(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = rest.strip_prefix('.').unwrap_or(rest);
    let lower = digits.to_ascii_lowercase();
    let number = digits.starts_with(|c: char| c.is_ascii_digit())
        && lower
            .chars()
            .all(|c| c.is_ascii_hexdigit() || matches!(c, 'x' | 'o' | '_' | '+' | '-' | '.' | ':' | 't' | 'z' | ' '));
    number || lower == "inf" || lower == "nan"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        match parse(&format!("a: {text}\n"), None) {
            Ok(Some(Value::Mapping(mapping))) => match mapping.get("a") {
                Some(Value::Scalar(scalar)) => scalar.kind,
                other => panic!("{text}: {other:?}"),
            },
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn scalars_are_taken_for_what_yaml_v2_takes_them_for() {
        let table: &[(Kind, &[&str])] = &[
            (Kind::Bool(true), &["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"]),
            (Kind::Bool(true), &["!!bool true", "!!bool 'true'", "!!bool yes", "!<tag:yaml.org,2002:bool> true"]),
            (Kind::Bool(false), &["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"]),
            (Kind::Null, &["", "~", "null", "Null", "NULL", "# comment"]),
            (
                Kind::Text,
                &["tRue", "yEs", "oN", "'true'", "\"true\"", "!!str true", "!bool true", "|\n  true", "! true"],
            ),
            (
                Kind::Text,
                &[
                    "/var/lib/registry",
                    ":5000",
                    "0/x",
                    "data",
                    "./data",
                    "...x",
                    "168h",
                    "2Gi",
                    "http://127.0.0.1:5000",
                ],
            ),
            (Kind::Other, &["1", "010", "0.1", "-5", "+.5", ".inf", "-.NaN", "1_000", "2020-01-01", "!!int 1"]),
        ];
        for (expected, texts) in table {
            for text in *texts {
                assert_eq!(kind(text), *expected, "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_yaml_or_ambiguous_is_refused_with_its_place() {
        let table = [
            ("a: 1\na: 2\n", 2, "second time"),
            ("a: 1\n'a': 2\n", 2, "second time"),
            ("x:\n  - {a: 1, b: 2, a: 1}\n", 2, "second time"),
            ("m: &m {a: 1}\nx: {a: 2, <<: *m}\n", 2, "put << first"),
            ("m: &m {a: 1}\nx: {<<: *m, b: 1, <<: *m}\n", 2, "<< twice"),
            ("x: {<<: 5}\n", 1, "<< takes a mapping"),
            ("x: {<<: [5]}\n", 1, "<< takes mappings"),
            ("a: &a [*a]\n", 1, "not complete"),
            ("? [a]\n: 1\n", 1, "a key that is a list"),
            ("a: !!bool 5\n", 1, "no boolean"),
            ("a: {b: 1\n", 0, ""),
            ("a:\n\tb: 1\n", 0, ""),
            ("a: *nowhere\n", 0, ""),
            ("a: b: c\n", 0, ""),
        ];
        for (text, line, message) in table {
            let Err(problem) = parse(text, None) else { panic!("accepted: {text}") };
            assert!(problem.message.contains(message), "{text}: {problem:?}");
            assert!(!problem.message.contains('\n'), "{text}: {problem:?}");
            assert!(line == 0 || problem.line == line, "{text}: {problem:?}");
            assert!(problem.line >= 1 && problem.column >= 1, "{text}: {problem:?}");
        }
    }

    #[test]
    fn aliases_cannot_multiply_without_end() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            let alias = format!("*a{}", i - 1);
            text.push_str(&format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 10].join(", ")));
        }
        // One value, but a long one; and anchors that are never used, around many values.
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(30_000), ["*a"; 10_000].join(", "));
        let around = format!("a: {}{}{}\n", "&a [".repeat(200), ["x"; 10_000].join(", "), "]".repeat(200));
        let key = format!("a: &a {{{}: 1}}\nb: [{}]\n", "x".repeat(1000), ["*a"; 10_000].join(", "));
        for text in [text, long, around, key] {
            let Err(problem) = parse(&text, None) else { panic!("accepted: {}", short(&text)) };
            assert!(problem.message.contains("counting aliases"), "{problem:?}");
        }
        // A long text by itself, and a copy or two of it, cost what they are.
        let text = format!("a: &a {}\nb: [*a, *a]\n", "x".repeat(500_000));
        assert!(parse(&text, None).is_ok());
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
            assert!(parse(&text, None).is_err());
        }
    }

    #[test]
    fn only_the_first_document_counts() {
        for text in
            ["a: 1\n---\na: 2\n", "---\na: 1\n...\n", "\u{feff}a: 1\n", "# c\n%YAML 1.1\n---\na: 1\n", "a: 1\r\n"]
        {
            let Ok(Some(Value::Mapping(mapping))) = parse(text, None) else { panic!("{text}") };
            assert!(matches!(mapping.get("a"), Some(Value::Scalar(scalar)) if scalar.text == "1"), "{text}");
        }
        for text in ["", "# nothing\n", "\n\n"] {
            assert!(matches!(parse(text, None), Ok(None)), "{text}");
        }
    }
}
