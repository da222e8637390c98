//! Which fields of the schema occur, and as what.
//!
//! A document is followed along the schema, and at every field it is noted whether it is there, and of which type its
//! value is. A field that never occurs, that is never `null` although it may be, or that is always there although it
//! need not be, is a promise that nobody has tried.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{Schema, fail_if_any, names_its_fields, outputs};

/// The types in which each field was seen, by its place in the schema; `absent` where it was not there.
type Seen = BTreeMap<String, BTreeSet<&'static str>>;

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn list<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether the condition of an `if` holds: fields that have to be there, and what they have to say.
fn holds(condition: &Value, value: &Value) -> bool {
    let is_there = |name: &Value| value.get(name.as_str().unwrap()).is_some();
    let says = |(name, schema): (&String, &Value)| value.get(name).is_none_or(|it| *it == schema["const"]);
    list(condition, "required").iter().all(is_there)
        && condition.get("properties").and_then(Value::as_object).is_none_or(|fields| fields.iter().all(says))
}

fn follow(all: &Schema, schema: &Value, place: &str, value: &Value, seen: &mut Seen) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        follow(all, all.at(reference), reference, value, seen);
    }
    for either in list(schema, "anyOf").iter().filter(|either| either.get("$ref").is_some() && !value.is_null()) {
        follow(all, either, place, value, seen);
    }
    let conditions = list(schema, "allOf").iter().chain(schema.get("if").map(|_| schema));
    for part in conditions.filter(|part| holds(&part["if"], value)) {
        follow(all, &part["then"], place, value, seen);
    }
    if names_its_fields(schema) && value.is_object() {
        for (name, field) in schema["properties"].as_object().unwrap() {
            let place = format!("{place}/{name}");
            let found = value.get(name);
            seen.entry(place.clone()).or_default().insert(found.map_or("absent", type_of));
            if let Some(found) = found {
                follow(all, field, &place, found, seen);
            }
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        let place = format!("{place}[]");
        for item in values {
            seen.entry(place.clone()).or_default().insert(type_of(item));
            follow(all, items, &place, item, seen);
        }
    }
}

/// The types that a value may have.
fn types(all: &Schema, schema: &Value) -> BTreeSet<&'static str> {
    let name = |name: &Value| match name.as_str().unwrap() {
        "null" => "null",
        "boolean" => "boolean",
        "integer" | "number" => "number",
        "string" => "string",
        "array" => "array",
        "object" => "object",
        other => panic!("no type: {other}"),
    };
    let mut types = BTreeSet::new();
    match schema.get("type") {
        Some(Value::Array(several)) => types.extend(several.iter().map(name)),
        Some(one) => drop(types.insert(name(one))),
        None => {}
    }
    types.extend(schema.get("const").map(type_of));
    types.extend(list(schema, "enum").iter().map(type_of));
    types.extend(list(schema, "anyOf").iter().flat_map(|either| self::types(all, either)));
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        types.extend(self::types(all, all.at(reference)));
    }
    types
}

#[test]
fn every_field_of_the_schema_occurs_in_every_type_that_it_may_have() {
    let schema = Schema::open();
    let mut seen = Seen::new();
    for output in outputs() {
        follow(&schema, &schema.json, "#", &output.json, &mut seen);
    }
    let mut failures = Vec::new();
    let mut fields = 0;
    for (name, definition) in schema.json["$defs"].as_object().unwrap() {
        for (field, of) in definition.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if !names_its_fields(definition) {
                continue;
            }
            fields += 1;
            let place = format!("#/$defs/{name}/{field}");
            let mut expected = types(&schema, of);
            assert!(!expected.is_empty(), "{place} has no type");
            if !list(definition, "required").iter().any(|required| required == field) {
                expected.insert("absent");
            }
            let found = seen.get(&place).cloned().unwrap_or_default();
            for never in expected.difference(&found) {
                failures.push(format!("{name}/{field} is never {never}; it is {found:?}"));
            }
            if of.get("items").is_some() && !seen.contains_key(&format!("{place}[]")) {
                failures.push(format!("{name}/{field} is always empty"));
            }
        }
    }
    assert!(fields > 250, "{fields} fields were found: the search is broken");
    fail_if_any(&failures);
}
