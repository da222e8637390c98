//! The schema itself: that it says what each field is, promises no less than is kept, and stays open.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Schema, fail_if_any};

/// Fields that are not always there: what was not asked for, makes no sense for this one, or is not in the lines of
/// older versions.
const NOT_ALWAYS_THERE: [&str; 36] = [
    "action/disk_bytes",
    "history/bytes",
    "history/command",
    "history/exit_code",
    "history/items",
    "history/message",
    "history/outcome",
    "history/quarantine",
    "history/removed",
    "history/seconds",
    "history/tool",
    "history/window_seconds",
    "journal_plan/disk_bytes",
    "list_repository/manifests",
    "log/blobs",
    "log/bytes",
    "log/command",
    "log/done",
    "log/dry_run",
    "log/errors",
    "log/exit_code",
    "log/expected",
    "log/finding",
    "log/path",
    "log/phase",
    "log/registry",
    "log/repository",
    "log/run",
    "log/seconds",
    "log/unit",
    "log/warnings",
    "log/window_seconds",
    "row/children",
    "row/referrers",
    "usage_repository/tags",
    "usage_tag/repository",
];

fn each(value: &Value, at: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(at, value);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| each(value, &format!("{at}/{key}"), visit)),
        Value::Array(values) => values.iter().for_each(|value| each(value, at, visit)),
        _ => {}
    }
}

#[test]
fn the_schema_describes_and_requires_every_field() {
    let schema = Schema::open();
    assert!(jsonschema::meta::is_valid(&schema.json), "{:?}", jsonschema::meta::validate(&schema.json));
    assert_eq!(schema.json["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema.json["$id"], "regsweep.schema.json", "a relative name: it is wherever it was put");
    let mut failures = Vec::new();
    let text = |of: &Value, key: &str| of[key].as_str().is_some_and(|text| !text.is_empty());
    let definitions = schema.json["$defs"].as_object().unwrap();
    for (name, definition) in definitions {
        failures.extend((!text(definition, "title")).then(|| format!("{name} has no title")));
        let Some(fields) = definition.get("properties").and_then(Value::as_object) else { continue };
        let required: BTreeSet<&str> =
            definition["required"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        for (field, of) in fields {
            let place = format!("{name}/{field}");
            failures.extend((!text(of, "description")).then(|| format!("{place} has no description")));
            let is_always_there = !NOT_ALWAYS_THERE.contains(&&*place);
            if required.contains(&**field) != is_always_there {
                failures.push(format!("{place}: always there, {is_always_there}; required, {}", !is_always_there));
            }
        }
        let unknown = required.iter().filter(|field| !fields.contains_key(**field));
        failures.extend(unknown.map(|field| format!("{name} requires {field}, which it does not describe")));
    }
    let mut led_to = BTreeSet::new();
    each(&schema.json, "", &mut |at, value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            schema.at(reference);
            led_to.insert(reference.split('/').nth(2).unwrap().to_owned());
        }
        let closes = ["additionalProperties", "unevaluatedProperties"].map(|key| value.get(key) == Some(&false.into()));
        failures.extend(closes.contains(&true).then(|| format!("{at}: fields are only ever added")));
    });
    let unused = definitions.keys().filter(|name| !led_to.contains(*name));
    failures.extend(unused.map(|name| format!("nothing leads to {name}")));
    fail_if_any(&failures);
}
