//! `regsweep check`: what a user lost is named, by tag and platform ([`lost`]); every file of a registry, broken in
//! every way, is either told or harmless, and mended where that is possible ([`every_file`]); what is mended and what
//! is left alone ([`repair`]); what it once got wrong ([`found`]); reading the data, all of it and in parts
//! ([`data`]); and what a person is told ([`told`]).

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod data;
mod every_file;
mod found;
mod lost;
mod repair;
mod told;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::process::{Run, finish, regsweep};
use support::tree::Tree;

/// `check --format json` of this tree.
fn check(tree: &Tree, flags: &[&str]) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["check", "--format", "json", root.to_str().unwrap()], flags].concat()))
}

/// The same, and what can be mended is.
fn repair(tree: &Tree, flags: &[&str]) -> Run {
    check(tree, &[&["--repair", "--registry-stopped"], flags].concat())
}

/// The images that cannot be pulled, such as `team/app:v3 (linux/arm64)`.
#[track_caller]
fn lost(run: &Run) -> BTreeSet<String> {
    let report = run.report();
    let images = report.0["check"]["lost"].as_array().unwrap_or_else(|| panic!("no images: {:#}", report.0));
    let name = |image: &Value| {
        let repository = image["repository"].as_str().unwrap();
        let name = match image["tag"].as_str() {
            Some(tag) => format!("{repository}:{tag}"),
            None => format!("{repository}@{}", image["digest"].as_str().unwrap()),
        };
        image["platform"].as_str().map_or(name.clone(), |platform| format!("{name} ({platform})"))
    };
    images.iter().map(name).collect()
}

/// What is wrong with each blob: its digest, the problem, and how many tags need it.
#[track_caller]
fn damaged(run: &Run) -> Vec<(String, String, u64)> {
    let report = run.report();
    let blobs = report.0["check"]["damaged"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    blobs.iter().map(|blob| (text(&blob["digest"]), text(&blob["problem"]), blob["tags"].as_u64().unwrap())).collect()
}

/// The links that are written, such as `layer_link team/app sha256:...`.
#[track_caller]
fn mends(run: &Run) -> BTreeSet<String> {
    let report = run.report();
    let mends = report.0["check"]["mends"].as_array().unwrap();
    let text = |mend: &Value| {
        let name = mend["name"].as_str().map(|name| format!(":{name}")).unwrap_or_default();
        format!("{} {}{name} {}", text_of(mend, "kind"), text_of(mend, "repository"), text_of(mend, "digest"))
    };
    mends.iter().map(text).collect()
}

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}
