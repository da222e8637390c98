//! `docs/regsweep.schema.json`, held to what regsweep writes: every document, line and file is what the schema says
//! ([`outputs`] makes them, in every state that gives another shape), every field of the schema occurs in them
//! ([`walk`]), every word that it allows is one of the source ([`words`]), and it says enough ([`made`]).
//!
//! For its readers the schema allows fields that it does not name. Here it does not: [`Schema::strict`] closes it.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod damaged;
mod made;
mod outputs;
mod scenes;
#[path = "../support/mod.rs"]
mod support;
mod walk;
mod words;

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use outputs::outputs;

/// The schema, and a validator for it.
struct Schema {
    json: Value,
    validator: Validator,
}

impl Schema {
    /// As it is read by others.
    fn open() -> Schema {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/regsweep.schema.json");
        Schema::of(serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
    }

    /// Without room for fields that it does not name.
    fn strict() -> Schema {
        let mut json = Schema::open().json;
        let mut closed = 0;
        close(&mut json, &mut closed);
        assert!(closed > 40, "{closed} objects were closed");
        Schema::of(json)
    }

    fn of(json: Value) -> Schema {
        // Formats count: a time has to be one.
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        let validator = options.build(&json).unwrap_or_else(|error| panic!("it is no schema: {error}"));
        Schema { json, validator }
    }

    /// What is wrong with a document, a line each.
    fn faults(&self, document: &Value) -> Vec<String> {
        let error = |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
        self.validator.iter_errors(document).map(error).collect()
    }

    /// The definition or the part of one to which a reference leads.
    fn at(&self, reference: &str) -> &Value {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of the file"));
        self.json.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }
}

/// Whether it is the schema of an object whose fields are all named in it. (A condition has no type, and what is told
/// apart further, as the lines of a journal are, is closed there.)
fn names_its_fields(schema: &Value) -> bool {
    let has = |key: &str| schema.get(key).is_some();
    has("properties") && has("type") && !has("allOf")
}

fn close(schema: &mut Value, closed: &mut usize) {
    if names_its_fields(schema) {
        assert_eq!(schema.get("additionalProperties"), None, "fields are only ever added: {schema:#}");
        schema["additionalProperties"] = json!(false);
        *closed += 1;
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(|value| close(value, closed)),
        Value::Array(values) => values.iter_mut().for_each(|value| close(value, closed)),
        _ => {}
    }
}

fn fail_if_any(failures: &[String]) {
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn everything_that_is_written_is_what_the_schema_says() {
    let (open, strict) = (Schema::open(), Schema::strict());
    let mut failures = Vec::new();
    for output in outputs() {
        for (name, schema) in [("as it is", &open), ("closed", &strict)] {
            let faults = schema.faults(&output.json);
            let some: Vec<&String> = faults.iter().take(3).collect();
            failures.extend((!faults.is_empty()).then(|| format!("{}, schema {name}: {some:#?}", output.name)));
        }
    }
    fail_if_any(&failures);
}

/// A document with a fault in it is refused, so that a document which is not refused has none.
#[test]
fn what_is_wrong_is_refused() {
    type Break = fn(&mut Value);
    let (open, strict) = (Schema::open(), Schema::strict());
    let find = |schema: &str| outputs().iter().find(|it| it.json["schema"] == schema).unwrap().json.clone();
    let report = outputs().iter().find(|it| it.json["retention"].is_object()).unwrap().json.clone();
    let cases: [(&str, Value, Break, &str); 14] = [
        ("another schema", report.clone(), |it| it["schema"] = json!("regsweep.report/2"), ""),
        ("no schema", report.clone(), |it| drop(it.as_object_mut().unwrap().remove("schema")), ""),
        ("not an object", json!([]), |_| {}, ""),
        ("a field is gone", report.clone(), |it| drop(it.as_object_mut().unwrap().remove("advice")), "advice"),
        ("text for a number", report.clone(), |it| it["jobs"] = json!("4"), "/jobs"),
        ("less than nothing", report.clone(), |it| it["scanned"]["blobs"] = json!(-1), "/scanned/blobs"),
        ("half a byte", report.clone(), |it| it["garbage"]["blobs"]["bytes"] = json!(0.5), "/garbage/blobs/bytes"),
        ("no time", report.clone(), |it| it["started_at"] = json!("yesterdayZ"), "/started_at"),
        ("not in UTC", report.clone(), |it| it["started_at"] = json!("2026-01-01T00:00:00+01:00"), "/started_at"),
        ("a new word", report.clone(), |it| it["outcome"] = json!("done"), "/outcome"),
        ("a new word for a tag", report.clone(), |it| it["retention"]["tags"][0]["because"] = json!("x"), "/because"),
        ("no digest", report, |it| it["retention"]["tags"][0]["digest"] = json!("sha256:12"), "/digest"),
        ("a time that is null", find("regsweep.position/1"), |it| it["at"] = json!(null), "/at"),
        ("a state", find("regsweep.trash/1"), |it| it["runs"] = json!([{"state": "gone"}]), "/runs/0/state"),
    ];
    let mut failures = Vec::new();
    for (name, mut document, spoil, at) in cases {
        assert_eq!(open.faults(&document).is_empty(), name != "not an object", "{name}: whole before");
        spoil(&mut document);
        let faults = open.faults(&document);
        if !faults.iter().any(|fault| fault.contains(at)) {
            failures.push(format!("{name}: {faults:#?}"));
        }
    }
    // A field that is new: no fault for a reader, and one here, wherever it is.
    for output in outputs() {
        let mut document = output.json.clone();
        document["new"] = json!(1);
        let (faults, closed) = (open.faults(&document), strict.faults(&document));
        if !faults.is_empty() || !closed.iter().any(|fault| fault.contains("new")) {
            failures.push(format!("{} with a new field: {faults:#?}, closed {closed:#?}", output.name));
        }
    }
    fail_if_any(&failures);
}
