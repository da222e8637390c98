//! What can be asked about, and what is said where nothing is meant or several things are.

use serde_json::json;

use crate::support::fingerprint::Fingerprint;
use crate::support::tree::{Blob, Manifest, Tree};
use crate::{lines, why, why_json};

#[test]
fn the_first_digits_are_enough() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    let hex = &image.digest["sha256:".len()..];
    for asked in [&hex[..8], &image.digest[..15], hex, &format!("team/app@{}", &hex[..8])] {
        let (document, code) = why_json(&tree, &[asked]);
        assert_eq!((&document["digest"], code), (&json!(image.digest), 0), "{asked}");
    }
    let sha512 = Blob::sha512(b"long".to_vec());
    tree.put(&sha512);
    let (document, _) = why_json(&tree, &[&sha512.digest[..20]]);
    assert_eq!(document["digest"], sha512.digest);
}

/// Whatever `find` or a message has given somebody.
#[test]
fn a_path_is_what_lies_there() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    let layer = image.blob_digests()[2];
    let beside = |path: &std::path::Path| path.strip_prefix(tree.v2()).unwrap().to_str().unwrap().to_owned();
    let blob = beside(&tree.data(layer));
    for (asked, digest) in [
        (tree.data(layer).to_str().unwrap(), layer),
        (&*blob, layer),
        (blob.trim_start_matches("blobs/").trim_end_matches("/data"), layer),
        (&*beside(&app.layer(layer)), layer),
        (app.revision(&image.digest).join("link").to_str().unwrap(), &*image.digest),
    ] {
        let (document, code) = why_json(&tree, &[asked]);
        assert_eq!((&document["digest"], &document["state"], code), (&json!(digest), &json!("needed"), 0), "{asked}");
    }
    for asked in [app.current("v1"), app.tag_folder("v1")] {
        let (document, _) = why_json(&tree, &[asked.to_str().unwrap()]);
        assert_eq!((&document["tag"]["name"], &document["digest"]), (&json!("v1"), &json!(image.digest)));
    }
    let (document, _) = why_json(&tree, &[app.folder().to_str().unwrap()]);
    assert_eq!(document["repository"]["name"], "team/app");
    // A path of somewhere else is told to be wrong.
    why(&tree, &["/etc/passwd"]).exits(2);
    let gone = blob.replace(&layer[7..], &format!("{}{}", &layer[7..9], "0".repeat(62)));
    let run = why(&tree, &[&gone]);
    run.exits(1);
    assert!(run.stderr.contains("nothing here has the digest"), "{}", run.stderr);
}

#[test]
fn digits_that_are_not_unique() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    // Two that begin with the same four digits: there are as many as one likes.
    let mut known = std::collections::HashMap::new();
    let pair = (0..).find_map(|number: u32| {
        let blob = Blob::new(number.to_string().into_bytes());
        let digits = blob.digest["sha256:".len()..][..4].to_owned();
        known.insert(digits.clone(), blob.clone()).map(|other| (digits, other, blob))
    });
    let (digits, one, other) = pair.unwrap();
    tree.put(&one);
    tree.put(&other);
    let run = why(&tree, &[&digits]);
    run.exits(1);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    for blob in [&one, &other] {
        assert!(run.stderr.contains(&format!("{} (blob)", &blob.digest[..19])), "{}", run.stderr);
    }
    assert_eq!(why_json(&tree, &[&one.digest]).1, 0);
}

#[test]
fn what_is_not_there() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1.2");
    let nearly = format!("{}{}", &image.digest[..20], "0".repeat(51));
    for (asked, said) in [
        ("team/ap", "no repository is named team/ap (did you mean team/app?)"),
        ("team/ap:v1.2", "no repository is named team/ap (did you mean team/app?)"),
        ("team/app:v1.3", "team/app has no tag v1.3 (did you mean v1.2?)"),
        ("sha256:00000000000000", "nothing here has the digest sha256:00000000000000"),
        (&nearly, &format!("(did you mean {}?)", &image.digest[..19])),
        ("team/app@00000000000000", "team/app has no 00000000000000"),
    ] {
        let run = why(&tree, &[asked]);
        run.exits(1);
        assert!(run.stderr.contains(said), "{asked}: {}", run.stderr);
        assert_eq!((run.stderr.lines().count(), run.text()), (1, String::new()), "{asked}");
    }
    for wrong in ["sha256:abc", "a/../b", "app:v1@sha256:0123", "localhost:5000/app:v1", ""] {
        why(&tree, &[wrong]).exits(2);
    }
}

#[test]
fn a_repository_may_be_called_like_a_digest() {
    let tree = Tree::new();
    tree.repository("cafe").image("v1");
    let (document, _) = why_json(&tree, &["cafe"]);
    assert_eq!(document["repository"]["name"], "cafe");
    assert_eq!(why(&tree, &["sha256:cafe"]).code, 1);
}

#[test]
fn a_repository_in_counts() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    app.tag("v2", &image);
    let child = app.untagged("child");
    app.push(&Manifest::index("untagged", &[&child]));
    tree.repository("team/job").image("v1");
    let (document, code) = why_json(&tree, &["team/app"]);
    let summary = &document["repository"];
    assert_eq!((&summary["tags"], &summary["revisions"], code), (&json!(2), &json!(3), 0));
    // The index, and what is below it.
    assert_eq!((&summary["tags_kept"], &summary["untagged_kept"]), (&json!({"tag": 2}), &json!({"untagged": 2})));
    // Only the base layer.
    assert_eq!((&summary["shared"], &summary["shared_with"]), (&json!(1), &json!(1)));
    let (document, _) = why_json(&tree, &["-m", "team/app"]);
    let summary = &document["repository"];
    assert_eq!((&summary["revisions_going"], &summary["untagged_kept"]), (&json!({"untagged": 2}), &json!({})));
    assert_eq!(lines(&document), Vec::<String>::new());
}

#[test]
fn nothing_is_changed() {
    let tree = Tree::new();
    let image = tree.repository("team/app").image("v1");
    let before: Fingerprint = tree.fingerprint();
    why(&tree, &["-m", "--keep-last", "1", &image.digest]).exits(0);
    why(&tree, &["team/app"]).exits(0);
    assert_eq!(tree.fingerprint(), before);
}
