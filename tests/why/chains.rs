//! Chains: which there are, in which order, and what their steps are called.

use serde_json::json;

use crate::support::formats::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::support::tree::{Blob, Manifest, Tree};
use crate::{lines, why, why_json};

/// ```text
/// team/app   v3 => index -> linux/amd64 image, linux/arm64 image
///            v1, latest => image            all of them on the layer "base"
/// team/job   main => image
/// ```
fn shared_base() -> (Tree, Blob) {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let amd = app.untagged_with_layers("amd", &["base", "amd"]);
    let arm = app.untagged_with_layers("arm", &["own", "more", "last", "base"]);
    app.index("v3", &[&amd, &arm]);
    let image = app.image("v1");
    app.tag("latest", &image);
    tree.repository("team/job").image("main");
    (tree, Blob::layer("base"))
}

#[test]
fn every_chain_the_shortest_first() {
    let (tree, base) = shared_base();
    let (document, code) = why_json(&tree, &[&base.digest]);
    assert_eq!(
        lines(&document),
        [
            "team/app:latest,v1 -> linux/amd64 image -> layer 1 of 2",
            "team/job:main -> linux/amd64 image -> layer 1 of 2",
            "team/app:v3 -> index -> linux/amd64 image -> layer 1 of 2",
            "team/app:v3 -> index -> linux/arm64 image -> layer 4 of 4",
        ]
    );
    assert_eq!(code, 0);
    assert_eq!((&document["state"], &document["what"]["kind"]), (&json!("needed"), &json!("layer")));
    assert_eq!((&document["linked_in"], &document["bytes"]), (&json!(2), &json!(base.bytes.len())));
    // A tag leads there more than once, and is one tag.
    assert_eq!((&document["chain_tags"], &document["chain_repositories"]), (&json!(4), &json!(2)));
}

#[test]
fn a_person_sees_ten_and_how_many_more() {
    let tree = Tree::new();
    for repository in ["team/a", "team/b", "team/c"] {
        let repository = tree.repository(repository);
        (1..=7).for_each(|tag| _ = repository.image(&format!("v{tag}")));
    }
    let base = Blob::layer("base");
    let run = why(&tree, &[&base.digest]);
    let text = run.exits(0).text();
    assert_eq!(text.lines().filter(|line| line.contains(" -> ")).count(), 10, "{text}");
    assert!(text.contains("and 11 more: 11 tags in 2 repositories (--all shows them)"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for flag in ["--all", "-v"] {
        let text = why(&tree, &[flag, &base.digest]).exits(0).text();
        assert_eq!(text.lines().filter(|line| line.contains(" -> ")).count(), 21, "{text}");
        assert!(!text.contains("more"), "{text}");
    }
}

#[test]
fn a_digest_that_is_named_twice_has_two_places() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (empty, other) = (Blob::new(b"{}".to_vec()), Blob::layer("other"));
    let descriptor = |blob: &Blob, kind: &str| json!({"mediaType": kind, "digest": blob.digest, "size": 1});
    let layers = [&other, &empty, &other, &empty];
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(&empty, OCI_CONFIG),
        "layers": layers.map(|layer| descriptor(layer, OCI_LAYER)),
    });
    let mut image = Manifest::raw(manifest.to_string());
    image.blobs = vec![empty.clone(), other];
    app.push_tagged("v1", &image);
    let (document, _) = why_json(&tree, &[&empty.digest]);
    // An empty document is config and layer of many an artifact: that it is a layer says more.
    assert_eq!(lines(&document), ["team/app:v1 -> image -> layer 2+4 of 4"]);
    let text = why(&tree, &[&empty.digest]).text();
    assert!(text.contains("layer 2 and 4 of 4"), "{text}");
    let (document, _) = why_json(&tree, &[&tree.repository("b").image("v1").blobs[0].digest]);
    assert_eq!(lines(&document), ["b:v1 -> linux/amd64 image -> config"]);
}

#[test]
fn the_layers_of_schema_1_are_counted_from_the_lowest() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.push_tagged("v1", &Manifest::schema1("old", &["a", "b", "c"]));
    // The format lists the newest first.
    let (document, _) = why_json(&tree, &[&Blob::layer("a").digest]);
    assert_eq!(lines(&document), ["team/app:v1 -> schema1 -> layer 3 of 3"]);
}

#[test]
fn a_signature_stays_because_its_subject_does() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    let signature = Manifest::referrer("signature", &image);
    app.push(&signature);
    let payload = &signature.blobs[1].digest;
    for flags in [&[][..], &["--delete-untagged"]] {
        let (document, _) = why_json(&tree, &[flags, &[payload]].concat());
        let lines = lines(&document);
        assert_eq!(lines, ["team/app:v1 -> linux/amd64 image -> subject artifact -> layer 1 of 1"], "{flags:?}");
    }
    let text = why(&tree, &[payload]).text();
    assert!(text.contains("-> subject of artifact manifest"), "{text}");
    // It keeps nothing itself.
    let (document, _) = why_json(&tree, &[&image.digest]);
    assert_eq!(lines(&document), ["team/app:v1 -> linux/amd64 image"]);
}

#[test]
fn an_untagged_index_is_a_root_and_its_images_are_none() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.untagged("image");
    app.push(&Manifest::index("untagged", &[&image]));
    let (document, _) = why_json(&tree, &[&image.digest]);
    assert_eq!(lines(&document), ["team/app (untagged) -> index -> linux/amd64 image"]);
    let (document, _) = why_json(&tree, &["-m", &image.digest]);
    assert_eq!((&document["state"], lines(&document).len()), (&json!("garbage"), 0));
}

#[test]
fn options_of_gc_decide_what_is_a_root() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let hour = std::time::Duration::from_secs(3600);
    let old = app.image_ago("v1", 20 * hour);
    let untagged = app.untagged("untagged");
    app.image_ago("v2", 10 * hour);
    let protect = tree.beside().join("protect");
    std::fs::write(&protect, format!("{}\n", untagged.digest)).unwrap();
    let protect = ["-m", "--protect", protect.to_str().unwrap()];
    for (flags, digest, expected) in [
        (&["--keep-last", "2"][..], &old.digest, &["team/app:v1 -> linux/amd64 image"][..]),
        (&["--keep-last", "1"], &old.digest, &[]),
        (&["-m", "--min-age", "1h"], &untagged.digest, &["team/app (young) -> linux/amd64 image"]),
        (&["-m"], &untagged.digest, &[]),
        (
            &protect,
            &untagged.digest,
            &["team/app (protected) -> linux/amd64 image", "- (protected) -> linux/amd64 image"],
        ),
    ] {
        let (document, code) = why_json(&tree, &[flags, &[digest]].concat());
        assert_eq!((lines(&document), code), (expected.iter().map(ToString::to_string).collect(), 0), "{flags:?}");
        assert_eq!(document["state"], if expected.is_empty() { "garbage" } else { "needed" }, "{flags:?}");
    }
    let (document, _) = why_json(&tree, &["--keep-last", "1", "team/app:v1"]);
    assert_eq!((&document["reason"], &document["tag"]["rule"]), (&json!("expired"), &json!("flags")));
    assert_eq!(document["since"], json!(null), "until now the tag keeps it");
    let (document, _) = why_json(&tree, &["--keep-last", "1", "team/app:v2"]);
    assert_eq!((&document["reason"], &document["tag"]["explanation"]), (&json!(null), &json!("flags: last 1")));
}

#[test]
fn indexes_that_are_nested_many_times_come_to_an_end() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.untagged("image");
    let mut level = [image.clone(), image.clone()];
    // Each lists both of the level below: twice as many ways with each.
    for depth in 0..40 {
        let index = |side: &str| {
            let entries = level.each_ref().map(|it| json!({"mediaType": OCI_INDEX, "digest": it.digest, "size": 1}));
            let index =
                json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": {"a": side}});
            Manifest::raw(index.to_string())
        };
        level = [index("left"), index("right")];
        level.iter().for_each(|index| app.push(index));
        if depth == 8 {
            app.tag("few", &level[0]);
        }
    }
    let (document, _) = why_json(&tree, &["-m", &image.digest]);
    assert_eq!((&document["chain_count"], &document["has_all_chains"]), (&json!(256), &json!(true)));
    app.tag("many", &level[0]);
    let text = why(&tree, &["-m", &image.digest]).exits(0).text();
    assert!(text.contains("team/app:few") && text.contains("more than anybody could count"), "{text}");
}
