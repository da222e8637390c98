//! Garbage: the reason, since when, and the traces of whatever led there.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::tree::{Manifest, Tree, set_time};
use crate::{why, why_json};

/// The traces of a document: kind, repository, tag, what it was.
fn traces(document: &Value) -> Vec<[String; 4]> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let part = |part: &Value| match part["places"].as_array() {
        Some(places) if !places.is_empty() => format!("{} {} of {}", text(&part["kind"]), places[0], part["of"]),
        Some(_) => text(&part["kind"]),
        None => "-".to_owned(),
    };
    let of = |it: &Value| [text(&it["kind"]), text(&it["repository"]), text(&it["tag"]), part(&it["part"])];
    document["traces"].as_array().unwrap().iter().map(of).collect()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn an_image_that_was_deleted_over_the_api_leaves_a_folder() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image_with_layers("v1", &["base", "own"]);
    app.delete_by_api(&image);
    fs::File::open(app.revision(&image.digest)).unwrap().set_modified(at(1_777_716_000)).unwrap();
    let own = &image.blobs[2].digest;
    set_time(&app.layer(own).join("link"), at(1_777_000_000));
    let (document, code) = why_json(&tree, &[own]);
    assert_eq!((&document["state"], &document["reason"]), (&json!("garbage"), &json!("unreferenced")));
    assert_eq!(code, 0, "garbage is no damage");
    assert_eq!(
        traces(&document),
        [
            ["deleted-revision", "team/app", "-", "layer 2 of 2"].map(str::to_owned),
            ["layer-link", "team/app", "-", "-"].map(str::to_owned)
        ]
    );
    assert_eq!(document["traces"][0]["at"], "2026-05-02T10:00:00Z");
    assert_eq!(document["traces"][1]["at"], "2026-04-24T03:06:40Z");
    assert_eq!(document["since"], "2026-05-02T10:00:00Z");
    assert_eq!(document["what"]["kind"], "layer", "the manifest is still in the store, and says so");
    let text = why(&tree, &[own]).text().replace("\n  ", " ");
    assert!(text.contains("it is layer 2 of 2 of team/app@"), "{text}");
    assert!(text.contains("whose revision link was taken out 2026-05-02 10:00"), "{text}");
}

#[test]
fn an_image_that_was_deleted_by_hand_leaves_a_history_and_blobs() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image_with_layers("v1", &["base", "own"]);
    let index = app.index("v1", &[&image]);
    app.image_with_layers("v1", &["other"]);
    set_time(&app.current("v1"), at(1_777_716_000));
    for manifest in [&image, &index] {
        tree.remove(&app.revision(&manifest.digest));
    }
    let (document, _) = why_json(&tree, &[&image.blobs[2].digest]);
    assert_eq!(document["state"], "garbage");
    let found = traces(&document);
    for expected in [
        ["tag-history", "team/app", "v1", "-"],
        ["unlinked-manifest", "-", "-", "layer 2 of 2"],
        ["unlinked-manifest", "-", "-", "-"],
    ] {
        assert!(found.contains(&expected.map(str::to_owned)), "{expected:?} in {found:?}");
    }
    assert_eq!(document["since"], "2026-05-02T10:00:00Z", "when the tag moved on");
}

#[test]
fn an_upload_without_a_manifest_leaves_nothing() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    let orphan = tree.orphan("orphan");
    let (document, _) = why_json(&tree, &[&orphan.digest]);
    assert_eq!((&document["state"], &document["since"]), (&json!("garbage"), &json!(null)));
    assert_eq!(traces(&document), Vec::<[String; 4]>::new());
    let text = why(&tree, &[&orphan.digest]).text().replace("\n  ", " ");
    assert!(text.contains("An upload whose manifest was never pushed looks like this."), "{text}");
    let text = why(&tree, &["--min-age", "1h", &orphan.digest]).text();
    assert!(text.contains("younger than --min-age"), "{text}");
}

#[test]
fn what_goes_in_one_repository_may_stay_for_another() {
    let tree = Tree::new();
    let (app, job) = (tree.repository("team/app"), tree.repository("team/job"));
    let image = Manifest::docker("image", &["base"]);
    app.push(&image);
    job.push_tagged("v1", &image);
    let here = format!("team/app@{}", image.digest);
    let (document, _) = why_json(&tree, &["-m", &here]);
    assert_eq!((&document["state"], &document["reason"]), (&json!("garbage"), &json!("untagged")));
    assert_eq!(document["chains"][0]["repository"], "team/job");
    let text = why(&tree, &["-m", &here]).text();
    assert!(text.contains("garbage in team/app (untagged)") && text.contains("Its blob stays"), "{text}");
    let (document, _) = why_json(&tree, &["-m", &image.digest]);
    assert_eq!(document["state"], "needed");
    assert_eq!(document["goes"][0]["repository"], "team/app");
}

#[test]
fn what_a_tag_pointed_at_before() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let before = app.image_with_layers("v1", &["old"]);
    let now = app.image_with_layers("v1", &["new"]);
    set_time(&app.current("v1"), at(1_777_716_000));
    let (document, _) = why_json(&tree, &["-m", &before.blobs[1].digest]);
    assert_eq!(
        traces(&document),
        [
            ["going-revision", "team/app", "-", "layer 1 of 1"].map(str::to_owned),
            ["tag-history", "team/app", "v1", "-"].map(str::to_owned),
            ["layer-link", "team/app", "-", "-"].map(str::to_owned),
        ]
    );
    assert_eq!(document["traces"][1]["now"], now.digest);
    assert_eq!(
        (&document["traces"][0]["reason"], &document["since"]),
        (&json!("untagged"), &json!("2026-05-02T10:00:00Z"))
    );
}
