//! `regsweep ls`, against trees whose truth is known: figures and rows ([`figures`]), what a pattern names
//! ([`patterns`]), trees of indexes and referrers ([`trees`]), damage that must not look like absence ([`damage`]), and
//! registries that are read-only, locked or being written to ([`running`]).

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod damage;
mod figures;
mod patterns;
mod running;
mod trees;

#[path = "../support/mod.rs"]
mod support;

use std::fs::{File, FileTimes};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use support::formats::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use support::process::{Run, finish, regsweep};
use support::tree::{Blob, Manifest, Tree};

/// `ls --format json` of this tree.
fn ls(tree: &Tree, arguments: &[&str]) -> Run {
    let root = tree.root();
    let head = ["ls", "--format", "json", root.to_str().unwrap()];
    finish(regsweep(&[&head[..], arguments].concat()))
}

/// The same for a person.
fn ls_for_people(tree: &Tree, arguments: &[&str]) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["ls", root.to_str().unwrap()], arguments].concat()))
}

/// The repositories of the one JSON document.
#[track_caller]
fn repositories(run: &Run) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|error| panic!("not one JSON document ({error}): {}{}", run.text(), run.stderr));
    assert_eq!(document["schema"], "regsweep.list/1");
    document["repositories"].as_array().unwrap().clone()
}

/// The rows of the only repository.
#[track_caller]
fn rows(run: &Run) -> Vec<Value> {
    let repositories = repositories(run);
    assert_eq!(repositories.len(), 1, "{repositories:#?}");
    repositories[0]["manifests"].as_array().unwrap_or_else(|| panic!("no rows: {:#}", repositories[0])).clone()
}

/// The row of a tag.
#[track_caller]
fn row<'a>(rows: &'a [Value], tag: &str) -> &'a Value {
    let found: Vec<&Value> = rows.iter().filter(|row| row["tag"] == tag).collect();
    assert_eq!(found.len(), 1, "{tag} is there once: {rows:#?}");
    found[0]
}

/// What each row says in one field, as text; `-` for null.
fn column(rows: &[Value], field: &str) -> Vec<String> {
    let text = |row: &Value| match &row[field] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    rows.iter().map(text).collect()
}

/// Makes a file look as if it was written then, in seconds since 1970.
fn set_time(path: &Path, seconds: u64) {
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds));
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

/// An OCI manifest of these blobs and with these fields beside the usual ones; the first blob is its config.
fn oci_manifest(blobs: Vec<Blob>, config_type: &str, more: &Value) -> Manifest {
    let descriptor =
        |blob: &Blob, kind: &str| json!({"mediaType": kind, "digest": blob.digest, "size": blob.bytes.len()});
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(&blobs[0], config_type),
        "layers": blobs[1..].iter().map(|layer| descriptor(layer, OCI_LAYER)).collect::<Vec<_>>(),
    });
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut raw = Manifest::raw(serde_json::to_vec(&manifest).unwrap());
    raw.blobs = blobs;
    raw
}

/// An OCI image with this config.
fn image_of(config: &Value, layers: &[&str]) -> Manifest {
    let mut blobs = vec![Blob::new(config.to_string().into_bytes())];
    blobs.extend(layers.iter().map(|words| Blob::layer(words)));
    oci_manifest(blobs, OCI_CONFIG, &json!({}))
}

/// An OCI image for a platform, built at that time.
fn image(platform: &str, created: &str) -> Manifest {
    let (os, architecture) = platform.split_once('/').unwrap();
    image_of(&json!({"os": os, "architecture": architecture, "created": created}), &["base", platform])
}

/// Something that is about a manifest.
fn about(subject: &Manifest, artifact_type: &str) -> Manifest {
    let blobs = vec![Blob::new(b"{}".to_vec()), Blob::layer(&format!("{artifact_type} of {}", subject.digest))];
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": subject.digest, "size": subject.bytes.len()});
    let more = json!({"artifactType": artifact_type, "subject": subject});
    oci_manifest(blobs, "application/vnd.oci.empty.v1+json", &more)
}

/// An OCI index of entries: a manifest, and what is said of it beside its descriptor.
fn index_of(entries: &[(&Manifest, Value)], more: &Value) -> Manifest {
    let entry = |(manifest, more): &(&Manifest, Value)| {
        let mut entry = json!({"mediaType": OCI_MANIFEST, "digest": manifest.digest, "size": manifest.bytes.len()});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let manifests: Vec<Value> = entries.iter().map(entry).collect();
    let mut index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    index.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Manifest::raw(serde_json::to_vec(&index).unwrap())
}

/// `{"platform": ...}` of `os/architecture`.
fn on(platform: &str) -> Value {
    let (os, architecture) = platform.split_once('/').unwrap();
    json!({"platform": {"os": os, "architecture": architecture}})
}

/// The tag by which cosign and OCI 1.1 clients say something about a manifest: `sha256-<hex><suffix>`.
fn tag_about(subject: &Manifest, suffix: &str) -> String {
    format!("{}{suffix}", subject.digest.replace(':', "-"))
}
