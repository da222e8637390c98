//! `regsweep du`: on random registries everything adds up, and what removing names would free is what `rm --dry-run`
//! says ([`properties`]); trees whose truth is known ([`figures`]); damage that must not look like absence
//! ([`damage`]); what a person, a program and a spreadsheet see ([`output`]).

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[allow(dead_code, reason = "the oracle uses all of it")]
#[path = "../oracle/built.rs"]
mod built;
mod damage;
mod figures;
mod output;
mod properties;
#[allow(dead_code, reason = "the oracle uses all of it")]
#[path = "../oracle/world.rs"]
mod world;

#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use support::process::{Run, finish, regsweep};
use support::tree::Tree;

/// `du --format json` of this tree.
fn du(tree: &Tree, arguments: &[&str]) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["du", "--format", "json", root.to_str().unwrap()], arguments].concat()))
}

/// The same for a person.
fn du_for_people(tree: &Tree, arguments: &[&str]) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["du", root.to_str().unwrap()], arguments].concat()))
}

/// The one JSON document.
#[track_caller]
fn usage(run: &Run) -> Value {
    let document: Value = serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|error| panic!("not one JSON document ({error}): {}{}", run.text(), run.stderr));
    assert_eq!(document["schema"], "regsweep.usage/1");
    document
}

/// The only one of this name.
#[track_caller]
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found: Vec<&Value> = list.as_array().unwrap().iter().filter(|it| it["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name} is there once: {list:#}");
    found[0]
}

/// Bytes of a figure.
#[track_caller]
fn bytes(figure: &Value) -> u64 {
    figure["bytes"].as_u64().unwrap_or_else(|| panic!("no bytes: {figure}"))
}
