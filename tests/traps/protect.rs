//! What is in use is never collected: `--protect` (T36).

use std::fs;
use std::time::Duration;

use crate::support::process::{finish_reading, regsweep};
use crate::support::scenario::{collect, gc, gc_arguments, select};
use crate::support::tree::{Manifest, Tree, blob_object};
use crate::{HOUR, and};

/// Flags that protect what these lines name.
fn protecting<'a>(tree: &Tree, lines: &[&str], flags: &[&'a str]) -> Vec<&'a str> {
    let path = tree.beside().join("in-use");
    fs::write(&path, lines.join("\n")).unwrap();
    let path: &'static str = Box::leak(path.to_str().unwrap().to_owned().into_boxed_str());
    [&["--protect", path], flags].concat()
}

fn days(count: u32) -> Duration {
    HOUR * 24 * count
}

/// ```text
/// team/app   v1, v2, v3, v4       v4 is the newest; v1 and v2 run somewhere
/// ```
#[test]
fn t36_what_runs_stays_whatever_the_rules_say() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let [v1, v2, v3, v4] = [1, 2, 3, 4].map(|n| app.image_ago(&format!("v{n}"), days(10 - n)));
    let lines = ["registry.example.com:5000/team/app:v1", &format!("docker-pullable://reg/team/app@{}", v2.digest)];
    let run = select(&tree, &protecting(&tree, &lines, &["--keep-last", "1", "-m"]));
    for image in [&v1, &v2, &v4] {
        run.keeps(&app.objects_of(image));
    }
    run.exits(0).because(&app.revision_object(&v3.digest), &["expired"]).without_complaint();
    assert_eq!(run.real.actions_of("tag").len(), 1);
    assert_eq!(run.verdict("team/app", "v1"), (None, "protected"));
    assert_eq!(run.verdict("team/app", "v2"), (None, "protected"));
}

/// Runtimes name an image by its digest, by that of a platform, or by that of its config.
///
/// ```text
/// team/app   old => INDEX -> amd64 -> config           any of them keeps the tag, and with it the image
///                   loose -> config                    untagged: the manifest stays
/// ```
#[test]
fn t36_a_digest_protects_whatever_leads_to_it() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let amd64 = Manifest::docker("amd64", &["amd64"]);
        app.push(&amd64);
        let index = Manifest::index("old", &[&amd64]);
        app.push_tagged_ago("old", &index, days(2));
        app.image("new");
        let loose = app.untagged("loose");
        (tree, index, amd64, loose)
    };
    let (_, index, amd64, loose) = make();
    for digest in [&index.digest, &amd64.digest, &amd64.blobs[0].digest] {
        let (tree, ..) = make();
        let app = tree.repository("team/app");
        let run = select(&tree, &protecting(&tree, &[digest], &["--keep-last", "1", "-m"]));
        run.exits(0).removes(&app.objects_of(&loose)).keeps(&[app.tag_object("old")]);
    }
    for digest in [&loose.digest, &loose.blobs[0].digest] {
        let (tree, ..) = make();
        let app = tree.repository("team/app");
        let run = collect(&tree, &protecting(&tree, &[digest], &["-m"]));
        run.exits(0).removes(&[]).keeps(&app.objects_of(&loose)).without_complaint();
    }
}

/// Nobody has a link for it any more, and somebody runs it: the blobs stay, so that it can be pushed again or mended.
#[test]
fn t36_what_runs_and_was_deleted_keeps_its_blobs() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v2");
    let v1 = app.image_with_layers("v1", &["only v1"]);
    app.delete_by_api(&v1);
    let layer_links = v1.blobs.iter().map(|blob| app.layer_object(&blob.digest));
    let run = collect(&tree, &protecting(&tree, &[&v1.digest], &["-m"]));
    run.exits(0).removes(&and(vec![app.revision_object(&v1.digest)], layer_links)).without_complaint();
}

/// A layer that is named stays where it is, with every link to it.
#[test]
fn t36_a_layer_that_is_named_stays_with_its_links() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let stray = app.stray_layer("stray");
    let other = app.stray_layer("other");
    let run = collect(&tree, &protecting(&tree, &[&stray.digest], &["-m"]));
    run.exits(0).removes(&[app.layer_object(&other.digest), blob_object(&other.digest)]);
    run.keeps(&[app.layer_object(&stray.digest), blob_object(&stray.digest)]);
}

#[test]
fn t36_a_tag_that_was_taken_out_by_hand_stays_if_it_runs() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    app.delete_by_hand("v1", &v1);
    let run = collect(&tree, &protecting(&tree, &["team/app:v1"], &["-m", "--drop-dangling-tags"]));
    run.exits(0).keeps(&[app.tag_object("v1")]).removes(&[]);
    assert!(run.real.has("warning", "cannot be pulled"));
}

#[test]
fn t36_a_signature_that_is_protected_stays_without_its_image() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let old = app.image_ago("old", days(2));
    app.image("new");
    let (tag, signature) = app.cosign(&old, "sig");
    let name = format!("team/app:{tag}");
    let run = select(&tree, &protecting(&tree, &[&name], &["--keep-last", "1"]));
    run.exits(0).keeps(&[app.tag_object(&tag)]).keeps(&app.objects_of(&signature));
    assert_eq!(run.verdict("team/app", &tag), (None, "protected"));
}

/// What names nothing here is told; loudly where it looks like a mistake.
#[test]
fn t36_unknown_references_are_told() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    let unknown = Manifest::docker("unknown", &["unknown"]).digest;
    let lines = [
        "# what runs",
        "mirror.example.org/library/nginx:1.25",
        "reg.example.com/team/app:v9",
        "team/ap:v1",
        &format!("reg.example.com/team/app@{unknown}"),
        "reg.example.com/team/app:v1",
        "mirror.example.org/library/nginx:1.25",
    ];
    let report = gc(&tree, &[&["--dry-run"][..], &protecting(&tree, &lines, &[])].concat()).report();
    let told: Vec<(&str, &str)> = report
        .findings()
        .iter()
        .filter(|finding| finding["kind"] == "unknown-reference")
        .map(|finding| (finding["severity"].as_str().unwrap(), finding["message"].as_str().unwrap()))
        .collect();
    assert_eq!(told.len(), 4, "{told:?}");
    for (severity, name) in [
        ("info", "mirror.example.org/library/nginx:1.25 (line 2)"),
        ("warning", "team/app:v9 (line 3)"),
        ("warning", "team/ap:v1 (line 4)"),
        ("warning", &format!("{unknown} (line 5)")),
    ] {
        assert!(told.iter().any(|(how, text)| *how == severity && text.contains(name)), "{name}: {told:?}");
    }
}

/// The command before the pipe has failed: an empty list would protect nothing.
#[test]
fn t51_an_empty_list_of_what_runs_is_no_list() {
    let tree = Tree::new();
    tree.repository("team/app").image_ago("v1", days(2));
    tree.repository("team/app").image("v2");
    let before = tree.fingerprint();
    let flags = ["--registry-stopped", "--keep-last", "1", "--protect", "-"];
    for (text, why) in [
        ("", "nothing is named there"),
        ("\n# nothing runs\n", "nothing is named there"),
        ("Error from server (Forbidden): pods is forbidden\n", "line 1: '(Forbidden):' is neither"),
    ] {
        let run = finish_reading(regsweep(&gc_arguments(&tree.root(), &flags)), text);
        run.exits(2);
        assert!(run.stderr.contains("--protect -: ") && run.stderr.contains(why), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
    // Standard input that names something is read like a file.
    let flags = ["--dry-run", "--keep-last", "1", "--protect", "-"];
    let run = finish_reading(regsweep(&gc_arguments(&tree.root(), &flags)), "reg/team/app:v1 reg/team/app:v2");
    run.exits(0);
    assert_eq!(run.report().actions(), []);
}
