//! What cannot be pulled is named by what a user calls it, with what it lacks.

use std::fs;

use super::support::process::regsweep_bound_by_permissions;
use super::support::tree::{Manifest, Tree, everything, write};
use super::{check, damaged, finish, lost, names};

#[test]
fn a_whole_registry_has_nothing_to_say() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (amd64, arm64) = (Manifest::docker("amd64", &["base", "a"]), Manifest::docker("arm64", &["base", "b"]));
    app.push(&amd64);
    app.push(&arm64);
    app.index("v1", &[&amd64, &arm64]);
    app.image("v2");
    app.untagged("old");
    // Nothing of this is damage: garbage, a sparse index, a deletion, an upload.
    tree.orphan("orphan");
    let elsewhere = Manifest::docker("elsewhere", &["c"]);
    app.index("sparse", &[&amd64, &elsewhere]);
    let deleted = app.image("deleted");
    app.delete_by_api(&deleted);
    app.upload("b0b0", std::time::Duration::from_secs(9));
    let run = check(&tree, &["--read-data"]);
    run.exits(0);
    let report = run.report();
    assert_eq!(lost(&run), names([]));
    assert!(report.complaints().is_empty(), "{:#?}", report.complaints());
    assert_eq!(report.0["check"]["sparse"], 1);
    assert_eq!(report.0["check"]["tags"], serde_json::json!({ "checked": 3, "lost": 0 }));
    let fingerprint = tree.fingerprint();
    check(&tree, &["--read-data", "--repair", "--dry-run"]).exits(0);
    assert_eq!(tree.fingerprint(), fingerprint, "nothing is written");
}

/// ```text
/// team/app   v1 => INDEX -> amd64 -> base, a
///                        -> arm64 -> base, b      one thing is broken
///            v2 => M -> base, c
/// ```
#[test]
fn each_loss_is_told_by_tag_and_platform() {
    let layer = |words: &str| super::support::tree::Blob::layer(words).digest;
    let (base, a, b) = (layer("base"), layer("a"), layer("b"));
    let (amd64, arm64) = (Manifest::docker("amd64", &["base", "a"]), Manifest::docker("arm64", &["base", "b"]));
    let build = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.push(&amd64);
        app.push(&arm64);
        let index = app.index("v1", &[&amd64, &arm64]);
        let image = app.image_with_layers("v2", &["base", "c"]);
        (tree, index, image)
    };
    let platforms: Vec<String> = {
        let (tree, ..) = build();
        tree.remove(&tree.blob(&base));
        lost(&check(&tree, &[])).into_iter().collect()
    };
    // The platforms are those of the index.
    let [first, second, v2] = platforms.as_slice() else { panic!("{platforms:?}") };
    assert!(first.starts_with("team/app:v1 (linux/") && second.starts_with("team/app:v1 (linux/"), "{platforms:?}");
    assert_eq!(v2, "team/app:v2");
    let (of_amd64, of_arm64) = if first.contains("amd64") { (first, second) } else { (second, first) };

    type Break<'a> = &'a dyn Fn(&Tree, &Manifest, &Manifest);
    let all = [first.as_str(), second, v2];
    for (what, broken, lose, problem, says) in [
        (
            "the base layer",
            (&|tree: &Tree, _: &Manifest, _: &Manifest| tree.remove(&tree.blob(&base))) as Break<'_>,
            &all[..],
            "missing",
            "is missing",
        ),
        ("its data", &|tree, _, _| tree.remove(&tree.data(&base)), &all, "missing", "is missing"),
        ("its size", &|tree, _, _| tree.truncate(&tree.data(&base), 7), &all, "size", "has 7 bytes and should have"),
        ("a layer of one", &|tree, _, _| tree.remove(&tree.blob(&a)), &[of_amd64], "missing", "layer sha256:"),
        (
            "a config",
            &|tree, _, _| tree.remove(&tree.blob(amd64.blob_digests()[0])),
            &[of_amd64],
            "missing",
            "config sha",
        ),
        ("a child", &|tree, _, _| tree.remove(&tree.blob(&arm64.digest)), &[of_arm64], "missing", "manifest sha256:"),
        ("a flipped child", &|tree, _, _| tree.flip(&tree.data(&arm64.digest)), &[of_arm64], "damaged", "do not match"),
        ("an index", &|tree, index, _| tree.remove(&tree.blob(&index.digest)), &["team/app:v1"], "missing", "manifest"),
        ("an emptied manifest", &|tree, _, it| tree.truncate(&tree.data(&it.digest), 0), &[v2], "damaged", "(empty)"),
        ("a loop", &|tree, _, _| drop(tree.unreadable(&tree.blob(&b))), &[of_arm64], "unreadable", "cannot be read"),
    ] {
        let (tree, index, image) = build();
        broken(&tree, &index, &image);
        let run = check(&tree, &[]);
        run.exits(3);
        let lose: std::collections::BTreeSet<String> = lose.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(lost(&run), lose, "{what}");
        let report = run.report();
        let tags = lose.iter().map(|name| name.split(' ').next()).collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(damaged(&run).len(), 1, "{what}: {:?}", damaged(&run));
        assert_eq!((&*damaged(&run)[0].1, damaged(&run)[0].2), (problem, tags as u64), "{what}");
        assert!(report.has("error", says), "{what}: {:#?}", report.findings());
        for name in &lose {
            assert!(report.has("error", &format!("{name} cannot be pulled: ")), "{what}: {:#?}", report.findings());
        }
        assert_eq!(report.0["check"]["tags"], serde_json::json!({ "checked": 2, "lost": tags }), "{what}");
    }

    // Links: the blobs are all there, and nobody gets them.
    for (what, broken, lose, says) in [
        (
            "a layer link",
            (&|tree: &Tree, _: &Manifest, _: &Manifest| {
                tree.remove(&tree.repository("team/app").layer(&b).join("link"));
            }) as Break<'_>,
            of_arm64,
            "the layer link of layer sha256:",
        ),
        ("its folder", &|tree, _, _| tree.remove(&tree.repository("team/app").layer(&b)), of_arm64, "is gone"),
        (
            "another's link",
            &|tree, _, _| write(&tree.repository("team/app").layer(&b).join("link"), a.as_bytes()),
            of_arm64,
            "names sha256:",
        ),
        (
            "an empty revision link",
            &|tree, _, it| tree.truncate(&tree.repository("team/app").revision(&it.digest).join("link"), 0),
            v2,
            "cannot be used (empty)",
        ),
        (
            "a child's revision link",
            &|tree, _, _| tree.remove(&tree.repository("team/app").revision(&arm64.digest)),
            of_arm64,
            "the revision link of manifest sha256:",
        ),
        (
            "a tag's revision link",
            &|tree, _, it| tree.remove(&tree.repository("team/app").revision(&it.digest)),
            v2,
            "is gone",
        ),
        ("a current link", &|tree, _, _| tree.truncate(&tree.repository("team/app").current("v2"), 0), v2, "(empty)"),
    ] {
        let (tree, index, image) = build();
        broken(&tree, &index, &image);
        let run = check(&tree, &[]);
        run.exits(3);
        assert_eq!(lost(&run), names([lose.as_str()]), "{what}");
        assert!(damaged(&run).is_empty(), "{what}: {:?}", damaged(&run));
        assert!(run.report().has("error", says), "{what}: {:#?}", run.report().findings());
    }
}

/// Damage that no tag leads to is told, and is no reason to be woken up.
#[test]
fn what_no_tag_leads_to_is_a_warning() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("whole");
    let untagged = app.untagged("old");
    tree.remove(&tree.blob(untagged.blob_digests()[1]));
    let run = check(&tree, &[]);
    run.exits(0);
    assert_eq!(lost(&run), names([&format!("app@{}", untagged.digest)]));
    assert!(
        run.report().has("warning", "to which no tag leads, cannot be pulled: layer"),
        "{:#?}",
        run.report().findings()
    );
    assert_eq!(run.report().0["check"]["untagged"], serde_json::json!({ "checked": 1, "lost": 1 }));

    // A link that nobody needs now, and a blob of which nobody knows.
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("whole");
    let stray = app.stray_layer("stray");
    tree.truncate(&app.layer(&stray.digest).join("link"), 3);
    let orphan = tree.orphan("orphan");
    tree.flip(&tree.data(&orphan.digest));
    let hollow = tree.orphan("hollow").digest;
    tree.remove(&tree.data(&hollow));
    let run = check(&tree, &["--read-data"]);
    run.exits(0);
    assert!(run.report().has("warning", "has a folder, and no 'data' in it; nothing needs it now"));
    assert!(run.report().has("warning", "the layer link cannot be used"), "{:#?}", run.report().findings());
    assert!(run.report().has("warning", "nothing needs it now"), "{:#?}", run.report().findings());
    let mut both = [(orphan.digest, "damaged".to_owned(), 0), (hollow, "missing".to_owned(), 0)];
    both.sort();
    assert_eq!(damaged(&run), both);
}

/// A push that is being written is no damage, and neither is one that was cut off.
#[test]
fn half_a_push_is_no_loss() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("whole");
    let image = app.image("pushed");
    tree.remove(&app.current("pushed"));
    let run = check(&tree, &[]);
    run.exits(0);
    assert_eq!(lost(&run), names([]));
    assert!(run.report().has("warning", "app:pushed has no current link"), "{:#?}", run.report().findings());
    // Taken out by hand, as guides tell people to: on purpose, and gc tidies up.
    app.tag("pushed", &image);
    app.delete_by_hand("pushed", &image);
    let run = check(&tree, &[]);
    run.exits(0);
    assert!(run.report().has("warning", "was taken out by hand"), "{:#?}", run.report().findings());
}

/// Where something cannot be listed or read nobody knows, and it is not said to be gone.
#[test]
fn what_cannot_be_read_is_not_gone() {
    for part in ["_layers/sha256", "_manifests/revisions/sha256", "_manifests/tags"] {
        let tree = Tree::new();
        let app = tree.repository("app");
        app.image("v1");
        app.image("v2");
        tree.give_to_nobody();
        let folder = app.folder().join(part);
        tree.chmod(&folder, 0);
        let root = tree.root();
        let arguments = ["check", "--format", "json", root.to_str().unwrap()];
        let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
        tree.chmod(&folder, 0o755);
        run.exits(3);
        let report = run.report();
        assert!(report.has("error", "cannot be listed"), "{part}: {:#?}", report.findings());
        assert!(
            !report.has_finding("is gone") && !report.has_finding("is missing"),
            "{part}: {:#?}",
            report.findings()
        );
    }
}

/// What is missing here may lie in the trash of a run that kept it.
#[test]
fn what_lies_in_a_trash_is_found_there() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    let image = app.image("v2");
    let run = finish(super::regsweep(&[
        "rm",
        "--format",
        "json",
        "--registry-stopped",
        "--collect",
        "--quarantine",
        tree.root().to_str().unwrap(),
        "app:v2",
    ]));
    run.exits(0);
    let id = run.report().run().to_owned();
    // Somebody has put the links back by hand, and not the blobs.
    app.link_revision(&image.digest);
    app.tag("v2", &image);
    let run = check(&tree, &[]);
    run.exits(3);
    assert_eq!(lost(&run), names(["app:v2"]));
    let hint = format!("It lies in the trash of run {id}: trash restore brings it back");
    assert!(run.report().has("error", &hint), "{:#?}", run.report().findings());
    assert!(fs::metadata(tree.regsweep()).unwrap().is_dir());
}

/// Everything that registries write is understood: nothing of it is damage.
#[test]
fn every_kind_of_image_is_whole() {
    let tree = everything();
    let before = check(&tree, &["--read-data"]);
    let report = before.report();
    let whole = tree.deliverable(false);
    for image in lost(&before) {
        // What the tree has broken on purpose cannot be got by a client either.
        let name = image.split(' ').next().unwrap();
        assert!(
            !whole.iter().any(|fact| fact.starts_with(&format!("{name} gets manifest"))),
            "{image}: {:#?}",
            report.findings()
        );
    }
}

/// ```text
/// app   a => INDEX -> here, elsewhere (was never pushed)     the index is whole
///       b => elsewhere                                       this tag is not
///       c => INDEX of INDEX
/// ```
#[test]
fn what_an_index_need_not_have_a_tag_must() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let (here, elsewhere) = (Manifest::docker("here", &["base"]), Manifest::docker("elsewhere", &["x"]));
    app.push(&here);
    let index = app.index("a", &[&here, &elsewhere]);
    app.tag("b", &elsewhere);
    app.index("c", &[&index]);
    let run = check(&tree, &[]);
    run.exits(3);
    assert_eq!(lost(&run), names(["app:b"]));
    assert_eq!(run.report().0["check"]["sparse"], 1);
    // What several tags lead to is lost for each of them.
    tree.remove(&tree.blob(here.blob_digests()[0]));
    let told: Vec<String> = lost(&check(&tree, &[])).into_iter().collect();
    assert_eq!(told, ["app:a (linux/amd64)", "app:b", "app:c (linux/amd64)"]);
}

/// ```text
/// app   t1..t200 => INDEX -> 400 platforms of one INDEX -> 400 manifests that were never pushed
/// ```
#[test]
fn an_index_of_indexes_is_looked_into_once() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let never: Vec<Manifest> = (0..400).map(|n| Manifest::docker(&format!("never {n}"), &[])).collect();
    let inner = Manifest::index("inner", &never.iter().collect::<Vec<_>>());
    app.push(&inner);
    let outer: Vec<serde_json::Value> = (0..400)
        .map(|n| {
            serde_json::json!({"mediaType": "application/vnd.oci.image.index.v1+json", "size": inner.bytes.len(),
                "digest": inner.digest, "platform": {"os": "linux", "architecture": format!("a{n}")}})
        })
        .collect();
    let outer = serde_json::json!({"schemaVersion": 2, "manifests": outer,
        "mediaType": "application/vnd.oci.image.index.v1+json"});
    let outer = Manifest::raw(outer.to_string());
    app.push(&outer);
    (0..200).for_each(|n| app.tag(&format!("t{n}"), &outer));
    // 400 x 400 x 200 looks would take minutes; the test for a hang is that it ends.
    check(&tree, &[]).exits(0);
    // Where something is lost each platform is named once for each tag.
    tree.remove(&tree.blob(&inner.digest));
    let run = check(&tree, &[]);
    run.exits(3);
    assert_eq!(lost(&run).len(), 400 * 200);
}
