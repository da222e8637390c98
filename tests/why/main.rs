//! `regsweep why`: held against `gc` on random registries ([`oracle`]), and in scenarios: chains ([`chains`]), garbage
//! and its traces ([`garbage`]), names and beginnings of digests ([`names`]), and damage ([`damage`]).

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[allow(dead_code, reason = "the oracle's own tests use all of it")]
#[path = "../oracle/built.rs"]
mod built;
mod chains;
mod damage;
mod garbage;
mod names;
mod oracle;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "the oracle's own tests use all of it")]
#[path = "../oracle/world.rs"]
mod world;

use serde_json::Value;
use support::process::{Run, finish, regsweep};
use support::tree::Tree;

/// `why` for a person.
fn why(tree: &Tree, arguments: &[&str]) -> Run {
    let root = tree.root();
    let (flags, name) = arguments.split_at(arguments.len() - 1);
    finish(regsweep(&[&["why"], flags, &[root.to_str().unwrap()], name].concat()))
}

/// The one JSON document of `why`, and the exit code.
#[track_caller]
fn why_json(tree: &Tree, arguments: &[&str]) -> (Value, i32) {
    let run = why(tree, &[&["--format", "json"], arguments].concat());
    let document: Value = serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|error| panic!("not one JSON document ({error}): {}{}", run.text(), run.stderr));
    assert_eq!(document["schema"], "regsweep.why/1");
    (document, run.code)
}

/// The chains of a document, a line each: the root, then what each step is.
#[track_caller]
fn lines(document: &Value) -> Vec<String> {
    let chains = document["chains"].as_array().unwrap();
    assert_eq!(document["chain_count"], chains.len());
    let step = |step: &Value| {
        let platform = step["platform"].as_str().map(|it| format!("{it} ")).unwrap_or_default();
        let places: Vec<String> = step["places"].as_array().unwrap().iter().map(ToString::to_string).collect();
        let of = step["of"].as_u64().map(|of| format!(" {} of {of}", places.join("+"))).unwrap_or_default();
        let via = match step["via"].as_str().unwrap() {
            "root" | "reference" => String::new(),
            via => format!("{via} "),
        };
        format!("{via}{platform}{}{of}", step["kind"].as_str().unwrap())
    };
    let line = |chain: &Value| {
        let tags: Vec<&str> = chain["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let steps: Vec<String> = chain["steps"].as_array().unwrap().iter().map(step).collect();
        let (name, kind) = (chain["repository"].as_str().unwrap_or("-"), chain["kind"].as_str().unwrap());
        let begin = if kind == "tag" { format!("{name}:{}", tags.join(",")) } else { format!("{name} ({kind})") };
        format!("{begin} -> {}", steps.join(" -> "))
    };
    chains.iter().map(line).collect()
}
