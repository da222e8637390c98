//! Words of which a field has one: those of the source, all of them and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use crate::support::source::variants;
use crate::{Schema, fail_if_any};

type Words = BTreeSet<String>;

fn source(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// What stands in quotes behind this, wherever it is in the text.
fn quoted_after(text: &str, before: &str) -> Words {
    text.split(before).skip(1).filter_map(|rest| rest.split_once('"')).map(|(word, _)| word.to_owned()).collect()
}

/// The variants as they are written in JSON.
fn kebab(file: &str, name: &str) -> Words {
    variants(file, name).into_iter().collect()
}

fn snake(file: &str, name: &str) -> Words {
    variants(file, name).into_iter().map(|word| word.replace('-', "_")).collect()
}

fn without(mut words: Words, word: &str) -> Words {
    assert!(words.remove(word), "there is no {word} to leave out");
    words
}

fn with(mut words: Words, more: &[&str]) -> Words {
    words.extend(more.iter().map(|&word| word.to_owned()));
    words
}

/// What the text of the sources says about each list of words, by the place of the list.
fn known() -> BTreeMap<&'static str, Words> {
    let commands = ["gc", "rm", "check"].map(|name| source(&format!("src/cli/{name}.rs"))).concat();
    let describe = source("src/why/describe.rs");
    let what = [
        quoted_after(&describe, "What::plain(\""),
        quoted_after(describe.split_once("fn kind_of(").unwrap().1, " => \""),
        quoted_after(&source("src/why/mod.rs"), "What { kind: \""),
    ];
    // Listed for itself; the lines of the plan have another type.
    let events = with(kebab("src/sweep/journal.rs", "Event"), &["plan", "plan-mend", "plan-entry"]);
    BTreeMap::from([
        ("severity", kebab("src/finding.rs", "Severity")),
        ("finding_kind", kebab("src/finding.rs", "FindingKind")),
        ("reason", kebab("src/plan.rs", "Reason")),
        ("action_kind", snake("src/plan.rs", "ActionKind")),
        ("report/command", quoted_after(&commands, "command: \"")),
        ("journal_begin/command", quoted_after(&commands, "command: \"")),
        ("trash_run/command", with(quoted_after(&commands, "command: \""), &["null"])),
        // Where a repository lay there is nothing in it.
        ("trash_content/kind", without(snake("src/plan.rs", "ActionKind"), "repository")),
        ("report/outcome", kebab("src/run/ended.rs", "Outcome")),
        ("evidence/kind", kebab("src/interlock/evidence.rs", "EvidenceKind")),
        // Putting back is no part of a run that is reported, and neither is measuring.
        ("phase/name", without(without(kebab("src/progress.rs", "Phase"), "restore"), "measure")),
        ("because", kebab("src/policy/retention.rs", "Because")),
        ("last_pull", kebab("src/report/cache.rs", "LastPull")),
        ("damaged/part", with(kebab("src/check/images.rs", "Part"), &["null"])),
        ("damaged/problem", kebab("src/check/tell.rs", "Problem")),
        ("usage_blob/need", kebab("src/usage/largest.rs", "Need")),
        ("mend/kind", snake("src/plan/mend.rs", "MendedLink")),
        ("manifest_kind", kebab("src/listing/mod.rs", "Kind")),
        ("why_state", kebab("src/why/mod.rs", "State")),
        ("why_kept", kebab("src/why/mod.rs", "Kept")),
        ("what_kind", what.into_iter().flatten().collect()),
        ("root_kind", kebab("src/why/roots.rs", "RootKind")),
        ("step/via", kebab("src/why/graph.rs", "Edge")),
        ("trace/kind", kebab("src/why/traces.rs", "TraceKind")),
        // A run of which nothing is left is not listed.
        ("trash_run/state", without(kebab("src/sweep/runs.rs", "State"), "finished")),
        ("journal/event", events),
        ("history/outcome", kebab("src/run/ended.rs", "Outcome")),
        ("past_run/outcome", with(kebab("src/run/ended.rs", "Outcome"), &["null"])),
        ("past_run/fate", with(kebab("src/sweep/past.rs", "Fate"), &["null"])),
        ("log/entry", kebab("src/report/log.rs", "Entry")),
        ("log/phase", kebab("src/progress.rs", "Phase")),
        ("log/unit", ["things", "bytes"].map(str::to_owned).into()),
    ])
}

/// Every list of words of the definitions, by its place.
fn lists(schema: &Schema) -> BTreeMap<String, Words> {
    let words = |list: &Value| -> Words {
        let word = |word: &Value| word.as_str().map_or_else(|| word.to_string(), str::to_owned);
        list.as_array().unwrap().iter().map(word).collect()
    };
    let mut lists = BTreeMap::new();
    for (name, definition) in schema.json["$defs"].as_object().unwrap() {
        lists.extend(definition.get("enum").map(|list| (name.clone(), words(list))));
        for (field, of) in definition.get("properties").and_then(Value::as_object).into_iter().flatten() {
            lists.extend(of.get("enum").map(|list| (format!("{name}/{field}"), words(list))));
        }
    }
    lists
}

#[test]
fn every_word_of_the_schema_is_one_of_the_source() {
    let (known, listed) = (known(), lists(&Schema::open()));
    let mut failures = Vec::new();
    for (place, words) in &listed {
        let Some(known) = known.get(&**place) else {
            failures.push(format!("{place}: nothing tells which words there are"));
            continue;
        };
        failures.extend(words.difference(known).map(|word| format!("{place}: the source has no {word}")));
        failures.extend(known.difference(words).map(|word| format!("{place}: the schema has no {word}")));
    }
    let lost = known.keys().filter(|place| !listed.contains_key(**place));
    failures.extend(lost.map(|place| format!("{place} has no list of words")));
    fail_if_any(&failures);
}

/// Each schema that the source names is in the family, and the other way round.
#[test]
fn the_family_is_that_of_the_source() {
    let mut named = Words::new();
    for entry in WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let entry = entry.unwrap();
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            let words = quoted_after(&fs::read_to_string(entry.path()).unwrap(), "\"regsweep.");
            named.extend(words.into_iter().filter(|word| word.contains('/')).map(|word| format!("regsweep.{word}")));
        }
    }
    let schema = Schema::open();
    let definitions = schema.json["$defs"].as_object().unwrap();
    let name = |definition: &Value| Some(definition.pointer("/properties/schema/const")?.as_str()?.to_owned());
    let described: Words = definitions.values().filter_map(name).collect();
    assert_eq!(described, named);
    // A journal is known by its events: only its first line has a schema.
    let listed = schema.json["else"]["properties"]["schema"]["enum"].as_array().unwrap();
    let listed: Words = listed.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, without(described, "regsweep.journal/1"));
    let told_apart = schema.json["allOf"].as_array().unwrap();
    let names = told_apart.iter().filter_map(|part| part["if"]["properties"]["schema"]["const"].as_str());
    assert_eq!(names.map(str::to_owned).collect::<Words>(), listed);
}
