//! Counts, sizes, times and kinds.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::support::formats::is_digest;
use super::support::tree::{Blob, Manifest, Tree, everything};
use super::{column, image, image_of, index_of, ls, oci_manifest, on, repositories, row, rows, set_time, tag_about};

/// Everything that a manifest names, itself included, by looking for digests anywhere in its JSON but in `subject`, and
/// into everything that is JSON.
fn needed(tree: &Tree, digest: &str, into: &mut BTreeSet<String>) {
    fn digests(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) if is_digest(text) => into.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| digests(value, into)),
            Value::Object(map) => {
                map.iter().filter(|(key, _)| *key != "subject").for_each(|(_, value)| digests(value, into));
            }
            _ => {}
        }
    }
    let Ok(bytes) = fs::read(tree.data(digest)) else { return };
    if !into.insert(digest.to_owned()) {
        return;
    }
    let Ok(value @ Value::Object(_)) = serde_json::from_slice(&bytes) else { return };
    // A config names layers by what they are unpacked.
    if value.get("rootfs").is_none() {
        let mut named = Vec::new();
        digests(&value, &mut named);
        named.iter().for_each(|digest| needed(tree, digest, into));
    }
}

/// The bytes that these digests take in the blob store, each once.
fn bytes_on_disk(tree: &Tree, digests: &[String]) -> u64 {
    let mut all = BTreeSet::new();
    digests.iter().for_each(|digest| needed(tree, digest, &mut all));
    all.iter().map(|digest| fs::metadata(tree.data(digest)).unwrap().len()).sum()
}

/// The links below a folder of a repository: what they say.
fn links(folder: &std::path::Path, name: &str) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    let links = entries.filter(|entry| entry.path().ends_with(name) && !entry.path().ends_with("index/link"));
    links.map(|entry| fs::read_to_string(entry.path()).unwrap()).collect()
}

/// Every kind of manifest, shared layers, deleted images, schema 1 (which gives no sizes): counts and sizes are those
/// of the files on the disk.
#[test]
fn repositories_have_the_counts_and_sizes_of_the_disk() {
    let tree = everything();
    let listed = repositories(ls(&tree, &[]).exits(0));
    assert_eq!(column(&listed, "name"), ["old", "team/app", "team/app/nested"]);
    for repository in listed {
        let folder = tree.repositories().join(repository["name"].as_str().unwrap()).join("_manifests");
        let (revisions, tags) = (links(&folder.join("revisions"), "link"), links(&folder.join("tags"), "current/link"));
        assert!(revisions.len() > 2 && !tags.is_empty());
        assert_eq!(repository["revisions"], revisions.len());
        assert_eq!(repository["tags"], tags.len());
        assert_eq!(repository["bytes"], bytes_on_disk(&tree, &[revisions.clone(), tags.clone()].concat()));
        assert_eq!(repository["whole"], true);
        assert_eq!(repository.get("manifests"), None, "tags were not asked for");
        let mut reached = BTreeSet::new();
        tags.iter().for_each(|tag| needed(&tree, tag, &mut reached));
        let untagged = revisions.iter().filter(|revision| !reached.contains(*revision)).count();
        assert_eq!(repository["untagged_revisions"], untagged, "{}", repository["name"]);
    }
}

/// The same for each tag and each untagged manifest.
#[test]
fn rows_have_the_sizes_of_the_disk() {
    let tree = everything();
    let mut seen = 0;
    for name in ["old", "team/app", "team/app/nested"] {
        for row in rows(ls(&tree, &[name, "--untagged"]).exits(0)) {
            let digest = row["digest"].as_str().unwrap();
            assert_eq!(row["bytes"], bytes_on_disk(&tree, &[digest.to_owned()]), "{row:#}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}

/// ```text
/// app   old => a (pushed 1000 s, built 2020)    new, latest => b (pushed 3000 and 2000 s, built 2021)
/// ```
#[test]
fn a_tag_says_all_that_is_known_of_it() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let (a, b) = (image("linux/amd64", "2020-01-02T03:04:05Z"), image("windows/arm64", "2021-06-01T02:00:00+02:00"));
    app.push_tagged("old", &a);
    app.push_tagged("new", &b);
    app.tag("latest", &b);
    for (tag, time) in [("old", 1000), ("new", 3000), ("latest", 2000)] {
        set_time(&app.current(tag), time);
    }
    let rows = rows(ls(&tree, &["app"]).exits(0));
    assert_eq!(column(&rows, "tag"), ["latest", "new", "old"]);
    assert_eq!(
        *row(&rows, "new"),
        json!({
            "tag": "new", "digest": b.digest, "kind": "image",
            "media_type": "application/vnd.oci.image.manifest.v1+json", "artifact_type": null,
            "platforms": ["windows/arm64"],
            "pushed_at": "1970-01-01T00:50:00Z", "created_at": "2021-06-01T00:00:00Z",
            "bytes": bytes_on_disk(&tree, std::slice::from_ref(&b.digest)), "shared_with": 1, "subject": null,
        })
    );
    assert_eq!(column(&rows, "shared_with"), ["1", "1", "0"]);
    assert_eq!(row(&rows, "latest")["pushed_at"], "1970-01-01T00:33:20Z");
    assert_eq!(row(&rows, "old")["created_at"], "2020-01-02T03:04:05Z");
    assert_eq!(repositories(&ls(&tree, &[]))[0]["newest_push"], "1970-01-01T00:50:00Z");
}

#[test]
fn what_a_config_does_not_say_is_null() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.push_tagged("silent", &image_of(&json!({}), &["a"]));
    app.push_tagged("odd", &image_of(&json!({"created": "yesterday", "os": 7, "architecture": "arm64"}), &["a"]));
    let damaged = image("linux/amd64", "2020-01-01T00:00:00Z");
    app.push_tagged("damaged", &damaged);
    tree.flip(&tree.data(&damaged.blobs[0].digest));
    let missing = image("linux/arm", "2020-01-01T00:00:00Z");
    app.push_tagged("missing", &missing);
    tree.remove(&tree.blob(&missing.blobs[0].digest));
    let rows = rows(ls(&tree, &["app"]).exits(0));
    assert_eq!(column(&rows, "tag"), ["damaged", "missing", "odd", "silent"]);
    assert_eq!(column(&rows, "created_at"), ["-"; 4]);
    assert_eq!(column(&rows, "platforms"), ["[]", "[]", r#"["unknown/arm64"]"#, "[]"]);
    assert_eq!(column(&rows, "kind"), ["image"; 4], "a lost config is no damage of the manifest");
}

#[test]
fn what_everything_is_called() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let v1 = app.image("v1");
    let empty = || vec![Blob::new(b"{}".to_vec()), Blob::layer("payload")];
    app.push_tagged("oci", &Manifest::oci("oci", &["a"]));
    app.push_tagged("untyped", &Manifest::untyped("untyped", &["a"]));
    app.index("index", &[&v1]);
    app.push_tagged("list", &Manifest::list("list", &[&v1]));
    app.push_tagged("chart", &oci_manifest(empty(), "application/vnd.cncf.helm.config.v1+json", &json!({})));
    app.push_tagged("sbom", &oci_manifest(empty(), "text/plain", &json!({"artifactType": "text/spdx"})));
    app.push_tagged("artifact", &Manifest::artifact("artifact", &["a"]));
    app.push_tagged("schema1", &Manifest::schema1("schema1", &["a"]));
    app.push_tagged("unknown", &Manifest::unknown("unknown", &["a"]));
    let cosigned = Manifest::oci("signature", &["signature"]);
    [".sig", ".att", ".sbom"].iter().for_each(|suffix| app.push_tagged(&tag_about(&v1, suffix), &cosigned));
    let referrer = super::about(&v1, "text/spdx");
    app.push(&referrer);
    app.push_tagged(&tag_about(&v1, ""), &index_of(&[(&referrer, json!({}))], &json!({})));
    // A mirror's: the image itself, by its own digest.
    let mirrored = app.image("mirrored");
    app.tag(&tag_about(&mirrored, ""), &mirrored);

    let rows = rows(ls(&tree, &["app"]).exits(0));
    for (tag, kind, artifact_type) in [
        ("v1", "image", None),
        ("oci", "image", None),
        ("untyped", "image", None),
        ("index", "index", None),
        ("list", "index", None),
        ("chart", "artifact", Some("application/vnd.cncf.helm.config.v1+json")),
        ("sbom", "artifact", Some("text/spdx")),
        ("artifact", "artifact", Some("application/vnd.test.artifact")),
        ("schema1", "schema1", None),
        ("unknown", "unknown", None),
        (&tag_about(&v1, ".sig"), "signature", None),
        (&tag_about(&v1, ".att"), "attestation", None),
        (&tag_about(&v1, ".sbom"), "sbom", None),
        (&tag_about(&v1, ""), "referrers", None),
        (&tag_about(&mirrored, ""), "image", None),
    ] {
        let row = row(&rows, tag);
        assert_eq!(row["kind"], kind, "{tag}");
        assert_eq!(row["artifact_type"].as_str(), artifact_type, "{tag}");
        let is_about = matches!(kind, "signature" | "attestation" | "sbom" | "referrers");
        assert_eq!(row["subject"].as_str(), is_about.then_some(v1.digest.as_str()), "{tag}");
        assert!(!is_about || row["platforms"] == json!([]), "{tag} is no image");
    }
}

/// ```text
/// multi => INDEX -> amd64, arm64/v8 (built last), provenance    nested -> INDEX -> s390x (not pushed here)
/// ```
#[test]
fn an_index_is_for_the_platforms_of_its_children() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let (amd64, arm64) = (image("linux/amd64", "2020-01-01T00:00:00Z"), image("linux/arm64", "2022-01-01T00:00:00Z"));
    let provenance = image("unknown/unknown", "2024-01-01T00:00:00Z");
    let mark = json!({
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    });
    let s390x = image("linux/s390x", "2023-01-01T00:00:00Z");
    let inner = index_of(&[(&s390x, on("linux/s390x")), (&amd64, on("linux/amd64"))], &json!({}));
    let variant = json!({"platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}});
    let multi =
        index_of(&[(&amd64, json!({})), (&arm64, variant), (&provenance, mark), (&inner, json!({}))], &json!({}));
    [&amd64, &arm64, &provenance, &inner].iter().for_each(|child| app.push(child));
    app.push_tagged("multi", &multi);
    let rows = rows(ls(&tree, &["app", "--tree"]).exits(0));
    let of_provenance = &rows[0]["children"][2];
    assert_eq!((&of_provenance["kind"], &of_provenance["created_at"]), (&json!("attestation"), &Value::Null));
    assert_eq!(rows[0]["platforms"], json!(["linux/amd64", "linux/arm64/v8", "linux/s390x"]));
    assert_eq!(rows[0]["created_at"], "2022-01-01T00:00:00Z", "the newest that is here, and no provenance");
    assert_eq!(
        rows[0]["bytes"],
        bytes_on_disk(&tree, std::slice::from_ref(&multi.digest)),
        "a sparse index is no damage"
    );
}

/// An index of layers, and of something that may be a manifest and is none.
#[test]
fn a_build_cache_has_a_size_and_no_children() {
    let tree = Tree::new();
    let ci = tree.repository("ci");
    let [layer, config] = [ci.stray_layer("layer"), ci.stray_layer("config")];
    let sizes = [&layer, &config].map(|blob| blob.bytes.len() as u64);
    let cache = Manifest::buildkit_cache(&[(&layer.digest, sizes[0]), (&config.digest, sizes[1])]);
    ci.push_tagged("cache", &cache);
    let rows = rows(ls(&tree, &["ci", "--tree"]).exits(0));
    assert_eq!(
        (&rows[0]["kind"], &rows[0]["children"], &rows[0]["platforms"]),
        (&json!("index"), &json!([]), &json!([]))
    );
    assert_eq!(rows[0]["bytes"], cache.bytes.len() as u64 + sizes[0] + sizes[1]);
}

/// Layers that the registry need not have count where they were pushed.
#[test]
fn foreign_layers_count_where_they_were_pushed() {
    let tree = Tree::new();
    let windows = |words: &str| {
        let blobs = vec![Blob::new(json!({"words": words}).to_string().into_bytes())];
        let layer = Blob::layer("windows base");
        let more = json!({"layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": layer.digest,
            "size": layer.bytes.len(), "urls": ["https://example.com/base"],
        }]});
        (oci_manifest(blobs, "application/vnd.docker.container.image.v1+json", &more), layer)
    };
    let app = tree.repository("app");
    let (absent, layer) = windows("absent");
    app.push_tagged("absent", &absent);
    let own = (absent.bytes.len() + absent.blobs[0].bytes.len()) as u64;
    assert_eq!(rows(&ls(&tree, &["app"]))[0]["bytes"], own);
    tree.put(&layer);
    app.link_layer(&layer.digest);
    assert_eq!(rows(&ls(&tree, &["app"]))[0]["bytes"], own + layer.bytes.len() as u64);
}

/// ```text
/// app   multi => INDEX -> child     loose    loose INDEX -> inner     deleted (by the API)
/// ```
#[test]
fn untagged_is_what_no_tag_leads_to() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let [child, inner] = ["child", "inner"].map(|words| Manifest::docker(words, &[words]));
    app.push(&child);
    app.push(&inner);
    app.index("multi", &[&child]);
    let loose = app.untagged("loose");
    let loose_index = Manifest::index("loose", &[&inner]);
    app.push(&loose_index);
    let deleted = app.image("deleted");
    app.delete_by_api(&deleted);
    set_time(&app.revision(&loose.digest).join("link"), 1000);

    let run = ls(&tree, &["app", "--untagged"]);
    assert_eq!(repositories(&run)[0]["untagged_revisions"], 3);
    let rows = rows(&run);
    assert_eq!(column(&rows, "tag"), ["multi", "-", "-", "-"]);
    let mut expected = [&loose, &inner, &loose_index].map(|manifest| manifest.digest.clone());
    expected.sort();
    assert_eq!(column(&rows[1..], "digest"), expected);
    let of_loose = rows.iter().find(|row| row["digest"] == loose.digest.as_str()).unwrap();
    assert_eq!(of_loose["pushed_at"], "1970-01-01T00:16:40Z", "when the revision was linked");
    assert_eq!(column(&super::rows(&ls(&tree, &["app"])), "tag"), ["multi"]);
}

/// ```text
/// app: a (small, pushed second), b (large, first), c (middle, third)     db: larger than app, pushed before it
/// ```
#[test]
fn sorted_by_name_time_and_size() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let layers = ["layer one", "layer two", "layer three"];
    for (tag, count, time) in [("a", 1, 2000), ("b", 3, 1000), ("c", 2, 3000)] {
        app.image_with_layers(tag, &layers[..count]);
        set_time(&app.current(tag), time);
    }
    let db = tree.repository("db");
    db.image_with_layers("big", &["layer one", "layer two", "layer three", "layer four", "layer five", "six"]);
    set_time(&db.current("big"), 2500);
    tree.repository("empty").upload("x", std::time::Duration::from_secs(1));
    for (flags, tags, names) in [
        (&[][..], ["a", "b", "c"], ["app", "db", "empty"]),
        (&["--sort", "name", "-r"], ["c", "b", "a"], ["empty", "db", "app"]),
        (&["--sort", "pushed"], ["c", "a", "b"], ["app", "db", "empty"]),
        (&["--sort", "pushed", "--reverse"], ["b", "a", "c"], ["empty", "db", "app"]),
        (&["--sort", "size"], ["b", "c", "a"], ["db", "app", "empty"]),
        (&["--sort", "size", "-r"], ["a", "c", "b"], ["empty", "app", "db"]),
    ] {
        assert_eq!(column(&rows(&ls(&tree, &[&["app"], flags].concat())), "tag"), tags, "{flags:?}");
        assert_eq!(column(&repositories(&ls(&tree, flags)), "name"), names, "{flags:?}");
    }
}

/// The same text in every run, whatever the threads do.
#[test]
fn every_run_prints_the_same() {
    let tree = everything();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    for n in 0..20 {
        app.push(&super::about(&v1, &format!("text/{n}")));
        app.untagged(&format!("loose {n}"));
    }
    for flags in [&["--untagged"][..], &["--untagged", "--tree"], &["--untagged", "--tree", "--sort", "size"]] {
        let first = ls(&tree, flags).exits(0).text();
        for _ in 0..8 {
            assert_eq!(ls(&tree, flags).text(), first);
        }
    }
}
