//! What is mended, what is left alone and why, and what is put aside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, SystemTime};

use super::support::process::regsweep_bound_by_permissions;
use super::support::scenario::restore;
use super::support::tree::set_time;
use super::support::tree::{Blob, Manifest, Tree, write};
use super::{check, damaged, finish, lost, mends, names, regsweep, repair};

const MINUTE: Duration = Duration::from_secs(60);

fn read(path: &std::path::Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// ```text
/// app   v1 => M -> config, base, own     every link to it is empty, malformed or gone
/// ```
#[test]
fn links_are_written_again() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let [config, base, own] = image.blob_digests()[..] else { panic!("three blobs") };
    let whole = tree.deliverable(true);
    tree.truncate(&app.layer(config).join("link"), 0);
    write(&app.layer(base).join("link"), b"sha256:half");
    tree.remove(&app.layer(own));
    tree.truncate(&app.revision(&image.digest).join("link"), 0);
    tree.truncate(&app.history("v1", &image.digest).join("link"), 9);
    tree.truncate(&app.current("v1"), 0);
    let expected = names([
        &format!("layer_link app {config}"),
        &format!("layer_link app {base}"),
        &format!("layer_link app {own}"),
        &format!("revision app {}", image.digest),
        &format!("tag_history app:v1 {}", image.digest),
        &format!("tag app:v1 {}", image.digest),
    ]);
    // The current link and the entry of the history were written by one push.
    let then = SystemTime::now() - MINUTE * 90;
    set_time(&app.history("v1", &image.digest).join("link"), then);
    set_time(&app.current("v1"), then + Duration::from_secs(1));

    let fingerprint = tree.fingerprint();
    let run = check(&tree, &["--repair", "--dry-run"]);
    run.exits(3);
    assert_eq!(mends(&run), expected);
    assert_eq!(tree.fingerprint(), fingerprint, "a dry run writes nothing");
    // Without evidence nothing is touched.
    let run = check(&tree, &["--repair"]);
    run.exits(4);
    assert_eq!(tree.fingerprint(), fingerprint);

    let run = repair(&tree, &[]);
    run.exits(0);
    assert_eq!(mends(&run), expected);
    let report = run.report();
    assert_eq!((&report.0["check"]["mended"], &report.0["check"]["unmended"]), (&6.into(), &0.into()));
    assert_eq!(report.0["check"]["afterwards"]["lost_tags"], 0);
    assert_eq!(report.0["check"]["tags"]["lost"], 1, "what was found is told");
    assert_eq!(tree.deliverable(true), whole);
    // No newline, as the registry writes it.
    assert_eq!(read(&app.current("v1")), image.digest);
    // What was there before stands in the journal.
    let journal = read(&tree.regsweep().join("runs").join(report.run()).join("journal.jsonl"));
    assert_eq!(journal.lines().filter(|line| line.contains(r#""event":"plan-mend""#)).count(), 6, "{journal}");
    assert!(journal.contains(r#""was":"empty""#), "{journal}");
    // Nothing was moved, so nothing is kept, and the next run has nothing to do.
    let listed = finish(regsweep(&["trash", "list", tree.root().to_str().unwrap()]));
    assert_eq!(listed.text(), "the trash is empty\n");
    let again = repair(&tree, &[]);
    again.exits(0);
    assert_eq!(mends(&again), names([]));
    check(&tree, &["--read-data"]).exits(0);
}

/// Whoever runs this, the registry has to be able to read what it writes, and to write there.
#[test]
fn what_is_written_belongs_to_the_registry() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    tree.remove(&app.layer(image.blob_digests()[1]));
    tree.truncate(&app.revision(&image.digest).join("link"), 0);
    tree.give_to_nobody();
    tree.chmod(app.layer(image.blob_digests()[1]).parent().unwrap(), 0o2775);
    repair(&tree, &[]).exits(0);
    let beside = fs::metadata(app.folder()).unwrap();
    for path in [app.layer(image.blob_digests()[1]).join("link"), app.revision(&image.digest).join("link")] {
        let written = fs::metadata(&path).unwrap();
        assert_eq!((written.uid(), written.gid()), (beside.uid(), beside.gid()), "{}", path.display());
        assert_eq!(written.permissions().mode() & 0o444, 0o444, "{}", path.display());
        assert_eq!(written.permissions().mode() & 0o111, 0, "{}", path.display());
    }
}

/// In doubt a link is left as it is, and it is said why.
#[test]
fn what_is_not_certain_is_left_alone() {
    type Break<'a> = &'a dyn Fn(&Tree, &Manifest, &Manifest);
    let stray = Blob::layer("stray").digest;
    let cases: [(&str, Break<'_>, &str); 9] = [
        (
            "a link that names another blob which is there",
            &|tree, a, _| write(&tree.repository("app").layer(a.blob_digests()[2]).join("link"), stray.as_bytes()),
            "it names another blob that is there; look at both",
        ),
        (
            "a link to a blob that is gone",
            &|tree, a, _| {
                let app = tree.repository("app");
                tree.remove(&tree.blob(a.blob_digests()[2]));
                tree.truncate(&app.layer(a.blob_digests()[2]).join("link"), 0);
            },
            "what it would lead to is not there",
        ),
        (
            "a revision link to a manifest that is damaged",
            &|tree, a, _| {
                tree.truncate(&tree.data(&a.digest), 5);
                tree.truncate(&tree.repository("app").revision(&a.digest).join("link"), 0);
            },
            "what it would lead to is not there, or is damaged",
        ),
        (
            "a tag that has pointed at two manifests, with times that say nothing",
            &|tree, a, b| {
                let app = tree.repository("app");
                app.tag("v1", b);
                let then = SystemTime::now() - MINUTE;
                set_time(&app.history("v1", &a.digest).join("link"), then);
                set_time(&app.history("v1", &b.digest).join("link"), then);
                write(&app.current("v1"), b"");
            },
            "their times do not tell at which last",
        ),
        (
            "a tag whose link was written long after its history, as a copy does",
            &|tree, a, b| {
                let app = tree.repository("app");
                app.tag("v1", b);
                set_time(&app.history("v1", &a.digest).join("link"), SystemTime::now() - MINUTE * 90);
                set_time(&app.history("v1", &b.digest).join("link"), SystemTime::now() - MINUTE * 80);
                write(&app.current("v1"), b"");
            },
            "their times do not tell at which last",
        ),
        (
            "a tag whose last manifest was deleted",
            &|tree, a, b| {
                let app = tree.repository("app");
                app.tag("v1", b);
                set_time(&app.history("v1", &a.digest).join("link"), SystemTime::now() - MINUTE * 90);
                write(&app.current("v1"), b"");
                tree.remove(&app.revision(&b.digest).join("link"));
            },
            "at which it pointed last, is not here any more",
        ),
        (
            "a tag whose one entry is much older than its link: the entry of the last push may be lost",
            &|tree, a, _| {
                let app = tree.repository("app");
                set_time(&app.history("v1", &a.digest).join("link"), SystemTime::now() - MINUTE * 90);
                write(&app.current("v1"), b"");
            },
            "the one entry of its history was not written together with it",
        ),
        (
            "a tag without a history",
            &|tree, a, _| {
                let app = tree.repository("app");
                tree.remove(&app.history("v1", &a.digest));
                write(&app.current("v1"), b"");
            },
            "it has no history",
        ),
        (
            "a tag whose manifest is lost",
            &|tree, a, _| tree.remove(&tree.blob(&a.digest)),
            "let it go with --drop-dangling-tags",
        ),
    ];
    for (what, broken, why) in cases {
        let tree = Tree::new();
        let app = tree.repository("app");
        let a = app.image("v1");
        let b = app.untagged("b");
        app.stray_layer("stray");
        broken(&tree, &a, &b);
        let fingerprint = tree.fingerprint();
        let deliverable = tree.deliverable(true);
        let dry = check(&tree, &["--repair", "--dry-run"]);
        assert_eq!(mends(&dry), names([]), "{what}");
        assert_eq!(tree.fingerprint(), fingerprint, "{what}");
        let run = repair(&tree, &[]);
        assert!(
            run.report().has("info", &format!("not mended: {why}")) || run.report().has_finding(why),
            "{what}: {:#?}",
            run.report().findings()
        );
        assert!(run.report().0["check"]["unmended"].as_u64().unwrap() > 0, "{what}");
        assert!(tree.deliverable(true).is_superset(&deliverable), "{what}");
        assert_eq!(lost(&run), lost(&dry), "{what}");
    }
}

/// A tag that has pointed at several manifests points again at the last of them.
#[test]
fn a_tag_points_again_at_what_it_pointed_at_last() {
    for is_gone in [false, true] {
        let tree = Tree::new();
        let app = tree.repository("app");
        let old = app.image("v1");
        let new = Manifest::docker("new", &["base", "new"]);
        app.push_tagged("v1", &new);
        // Back to the old one: the registry writes that entry again.
        app.tag("v1", &old);
        let then = SystemTime::now() - MINUTE * 60;
        set_time(&app.history("v1", &new.digest).join("link"), then - MINUTE * 3);
        set_time(&app.history("v1", &old.digest).join("link"), then);
        if is_gone {
            tree.remove(&app.current("v1"));
            tree.set_age(app.current("v1").parent().unwrap(), MINUTE * 60 - Duration::from_secs(2));
        } else {
            tree.truncate(&app.current("v1"), 0);
            set_time(&app.current("v1"), then + Duration::from_secs(2));
        }
        let run = repair(&tree, &[]);
        run.exits(0);
        assert_eq!(mends(&run), names([&format!("tag app:v1 {}", old.digest)]), "gone: {is_gone}");
        assert_eq!(read(&app.current("v1")), old.digest);
    }
}

/// A manifest is linked again only where everything says that it was here: a platform that was never pushed to this
/// repository is none of its business, wherever else it lies.
#[test]
fn a_sparse_index_stays_sparse() {
    let tree = Tree::new();
    let (app, other) = (tree.repository("app"), tree.repository("other"));
    let (here, elsewhere) = (Manifest::docker("here", &["base", "x"]), Manifest::docker("elsewhere", &["base", "y"]));
    app.push(&here);
    other.push_tagged("v1", &elsewhere);
    app.index("v1", &[&here, &elsewhere]);
    let run = repair(&tree, &[]);
    run.exits(0);
    assert_eq!((mends(&run), lost(&run)), (names([]), names([])));
    assert!(!app.revision(&elsewhere.digest).exists());
}

/// A damaged blob is put aside, so that a push can bring it anew; it is in the trash, and comes back if it was wrong.
#[test]
fn a_damaged_blob_is_put_aside() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    app.image("v2");
    let layer = image.blob_digests()[2].to_owned();
    let orphan = tree.orphan("orphan").digest;
    tree.flip(&tree.data(&layer));
    tree.flip(&tree.data(&orphan));
    let flipped = fs::read(tree.data(&layer)).unwrap();
    // Its size is right: only reading tells.
    let run = repair(&tree, &[]);
    run.exits(0);
    assert_eq!(run.report().actions().len(), 0);

    let run = repair(&tree, &["--read-data"]);
    run.exits(3);
    let report = run.report();
    let gone: BTreeSet<String> = report.garbage_blobs();
    assert_eq!(gone.len(), 2, "{:#?}", report.0["actions"]);
    assert!(report.0["actions"].as_array().unwrap().iter().all(|action| action["reason"] == "damaged"));
    assert_eq!(report.count("removed", "blobs"), 2);
    assert!(!tree.blob(&layer).exists() && !tree.blob(&orphan).exists());
    assert_eq!(lost(&run), names(["app:v1"]));
    assert!(
        report.0["advice"].to_string().contains("restart the registry before anybody pushes"),
        "{}",
        report.0["advice"]
    );
    // Now it is missing, and nothing is left to put aside.
    let after = check(&tree, &["--read-data"]);
    assert_eq!(damaged(&after), [(layer.clone(), "missing".to_owned(), 1)]);
    // The copy in the trash is as damaged as it was, and no help.
    assert!(after.report().has("error", "To mend it, push that image again"), "{:#?}", after.report().findings());
    let back = restore(&tree, report.run(), &[]);
    back.exits(0);
    assert_eq!(fs::read(tree.data(&layer)).unwrap(), flipped, "byte for byte");
}

/// Whoever reads at night and mends by day does not read everything again: the blobs that are damaged are named.
#[test]
fn only_the_blobs_that_are_named_are_read_again() {
    let tree = Tree::new();
    let image = tree.repository("app").image("v1");
    let layer = image.blob_digests()[2];
    tree.flip(&tree.data(layer));
    let night = check(&tree, &["--read-data"]);
    night.exits(3);
    let advice = night.report().0["advice"].to_string();
    assert!(advice.contains(&format!("check --repair --dry-run --read-blob {layer} ")), "{advice}");
    let run = repair(&tree, &["--read-blob", layer]);
    run.exits(3);
    assert_eq!(run.report().0["check"]["data"]["blobs"], 1);
    assert!(!tree.blob(layer).exists());
}

/// A blob that is shorter than its manifest says is read, and put aside if it is damaged; one that is whole stays,
/// whatever a manifest says.
#[test]
fn a_size_alone_puts_nothing_aside() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let short = app.image("short");
    app.image("whole");
    let layer = short.blob_digests()[2].to_owned();
    tree.truncate(&tree.data(&layer), 11);
    let lying = Blob::layer("lying").digest;
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{lying}","size":3}},"layers":[]}}"#
    );
    app.push_tagged("lying", &Manifest::raw(text));
    tree.put(&Blob::layer("lying"));
    app.link_layer(&lying);
    let run = repair(&tree, &[]);
    run.exits(3);
    assert_eq!(lost(&run), names(["app:short", "app:lying"]));
    assert_eq!(run.report().garbage_blobs().len(), 1);
    assert!(!tree.blob(&layer).exists());
    assert!(tree.blob(&lying).exists());
    assert!(run.report().has("info", "it is what its digest names, and what a manifest says of it is wrong"));
}

/// Where much is wrong at once it is not single files: a volume that gives nonsense today may be right tomorrow.
#[test]
fn too_much_damage_is_left_where_it_is() {
    let tree = Tree::new();
    tree.repository("app").image("v1");
    let orphans: Vec<String> = (0..11).map(|n| tree.orphan(&format!("orphan {n}")).digest).collect();
    orphans.iter().for_each(|digest| tree.flip(&tree.data(digest)));
    let run = repair(&tree, &["--read-data"]);
    run.exits(3);
    assert!(run.report().has("error", "look at the volume first"), "{:#?}", run.report().findings());
    assert!(orphans.iter().all(|digest| tree.blob(digest).exists()));
    let run = repair(&tree, &["--read-data", "--max-delete", "100"]);
    run.exits(0);
    assert!(orphans.iter().all(|digest| !tree.blob(digest).exists()));
    // Few are few, however small the store; and one may be too many for somebody.
    let tree = Tree::new();
    tree.repository("app").image("v1");
    let orphan = tree.orphan("orphan").digest;
    tree.flip(&tree.data(&orphan));
    repair(&tree, &["--read-data", "--max-delete", "1"]).exits(3);
    assert!(tree.blob(&orphan).exists());
    repair(&tree, &["--read-data"]).exits(0);
    assert!(!tree.blob(&orphan).exists());
}

/// ```text
/// app   lost => M (its blob is gone)      index => I -> M (the same)
///       v2                                untagged N (its blob is gone)
/// ```
#[test]
fn dangling_names_go_when_they_are_asked_to() {
    let build = |with_index: bool| {
        let tree = Tree::new();
        let app = tree.repository("app");
        let lost = app.image("lost");
        app.image("v2");
        let untagged = app.untagged("n");
        if with_index {
            app.index("index", &[&lost]);
        }
        tree.remove(&tree.blob(&lost.digest));
        tree.remove(&tree.blob(&untagged.digest));
        (tree, lost.digest, untagged.digest)
    };
    let (tree, _, _) = build(true);
    let run = repair(&tree, &[]);
    run.exits(3);
    assert_eq!(run.report().actions().len(), 0, "nothing goes unasked");
    for (flags, tags, revisions) in [
        (&["--drop-dangling-tags"][..], 1, 0),
        (&["--drop-dangling-revisions"], 0, 1),
        (&["--drop-dangling-tags", "--drop-dangling-revisions"], 1, 1),
    ] {
        let (tree, lost_digest, untagged) = build(true);
        let run = repair(&tree, flags);
        run.exits(3);
        let report = run.report();
        assert_eq!(
            (report.count("removed", "tags"), report.count("removed", "revisions")),
            (tags, revisions),
            "{flags:?}"
        );
        let app = tree.repository("app");
        assert_eq!(app.tag_folder("lost").exists(), tags == 0, "{flags:?}");
        assert_eq!(app.revision(&untagged).exists(), revisions == 0, "{flags:?}");
        assert!(app.revision(&lost_digest).exists(), "{flags:?}: an index that stays leads to it");
        assert!(app.tag_folder("v2").exists() && app.tag_folder("index").exists());
        // Told that it cannot be pulled then: that is why it went.
        restore(&tree, report.run(), &[]).exits(4);
        restore(&tree, report.run(), &["--allow-missing"]).exits(0);
        assert!(app.tag_folder("lost").exists() && app.revision(&untagged).exists(), "{flags:?}: all is back");
    }
    // Once nothing leads to it any more it goes as well.
    let (tree, lost_digest, _) = build(false);
    let run = repair(&tree, &["--drop-dangling-tags", "--drop-dangling-revisions"]);
    run.exits(0);
    assert!(!tree.repository("app").revision(&lost_digest).exists());
    assert_eq!(lost(&check(&tree, &[])), names([]));
}

/// Nothing is written through a symbolic link, and nothing in a repository that could not be listed whole.
#[test]
fn nothing_is_written_where_it_may_not_be() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let folder = app.layer(image.blob_digests()[1]);
    let outside = tree.beside().join("outside");
    fs::rename(&folder, &outside).unwrap();
    fs::write(outside.join("link"), "").unwrap();
    tree.symlink(&outside, &folder);
    let run = repair(&tree, &[]);
    run.exits(3);
    assert_eq!(read(&outside.join("link")), "");
    assert_eq!(mends(&run), names([]));
    assert!(run.report().has("info", "not mended: a symbolic link leads here"), "{:#?}", run.report().findings());

    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    tree.truncate(&app.layer(image.blob_digests()[1]).join("link"), 0);
    tree.give_to_nobody();
    let (tags, root) = (app.folder().join("_manifests/tags"), tree.root());
    tree.chmod(&tags, 0);
    let arguments = ["check", "--format", "json", "--repair", "--registry-stopped", root.to_str().unwrap()];
    let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
    tree.chmod(&tags, 0o755);
    run.exits(3);
    assert_eq!(mends(&run), names([]));
    assert!(run.report().has("info", "part of this repository cannot be listed"), "{:#?}", run.report().findings());
}
