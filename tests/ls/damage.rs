//! Damage: shown as what it is, never as absence, and never in the way of what is whole.

use std::fs;

use serde_json::{Value, json};

use super::support::formats::{OCI_INDEX, OCI_MANIFEST};
use super::support::process::{Run, finish, regsweep_bound_by_permissions};
use super::support::tree::{Blob, Manifest, Tree};
use super::{column, ls, ls_for_people, repositories, row, rows};

/// Exit 3, and an error on standard error and in the document that says all of this.
#[track_caller]
fn says_damage(run: &Run, words: &[&str]) {
    run.exits(3);
    let document: Value = serde_json::from_slice(&run.stdout).unwrap();
    for word in words {
        let is_error = |finding: &Value| finding["severity"] == "error" && finding.to_string().contains(word);
        let findings = document["findings"].as_array().unwrap();
        assert!(findings.iter().any(is_error), "no error says {word}: {findings:#?}");
        assert!(run.stderr.contains(word), "no line says {word}: {}", run.stderr);
    }
}

/// ```text
/// app   whole     broken: one thing of it is
/// ```
#[test]
fn what_is_broken_is_said_and_the_rest_is_listed() {
    type Break = fn(&Tree, &Manifest);
    let broken_link = |tree: &Tree| tree.repository("app").current("broken");
    for (what, broken, kind, has_digest, says) in [
        ("flipped", (|tree, it| tree.flip(&tree.data(&it.digest))) as Break, "damaged", true, "does not match"),
        ("emptied", |tree, it| tree.truncate(&tree.data(&it.digest), 0), "damaged", true, "empty"),
        ("grown", |tree, it| tree.grow(&tree.data(&it.digest), 5 << 20), "damaged", true, "too large"),
        ("a pipe", |tree, it| tree.fifo(&tree.data(&it.digest)), "damaged", true, "not a regular file"),
        ("missing", |tree, it| tree.remove(&tree.blob(&it.digest)), "missing", true, "missing"),
        ("in a loop", |tree, it| drop(tree.unreadable(&tree.blob(&it.digest))), "unreadable", true, "cannot be read"),
    ] {
        let tree = Tree::new();
        let app = tree.repository("app");
        app.image("whole");
        let it = app.image_with_layers("broken", &["of its own"]);
        broken(&tree, &it);
        for arguments in [&["app"][..], &["app", "--tree", "--untagged"]] {
            let run = ls(&tree, arguments);
            says_damage(&run, &[&it.digest]);
            assert!(run.stderr.contains(says) || says == "does not match", "{what}: {}", run.stderr);
            let rows = rows(&run);
            assert_eq!(row(&rows, "broken")["kind"], kind, "{what}");
            assert_eq!(row(&rows, "broken")["bytes"], Value::Null, "{what}");
            assert_eq!(row(&rows, "broken")["digest"].is_string(), has_digest, "{what}");
            assert_eq!(row(&rows, "whole")["kind"], "image", "{what}");
            assert!(row(&rows, "whole")["bytes"].is_u64(), "{what}");
        }
        let run = ls(&tree, &[]);
        says_damage(&run, &[&it.digest]);
        let listed = &repositories(&run)[0];
        assert_eq!((&listed["tags"], &listed["whole"]), (&2.into(), &false.into()), "{what}: at least so many bytes");
        assert!(listed["bytes"].as_u64().unwrap() > 0, "{what}");
        let text = ls_for_people(&tree, &[]).exits(3).text();
        assert!(text.lines().last().unwrap().contains("  >"), "{what}: {text}");
        assert!(ls_for_people(&tree, &["app"]).exits(3).text().contains(kind), "{what}");
        assert!(broken_link(&tree).exists());
    }
}

#[test]
fn a_tag_whose_link_says_nothing() {
    type Break = fn(&Tree, &std::path::Path);
    for (what, broken, kind, code) in [
        ("emptied", (|tree, link| tree.truncate(link, 0)) as Break, "damaged", 3),
        ("no digest", |tree, link| tree.replace(link, b"v1"), "damaged", 3),
        ("in a loop", |tree, link| drop(tree.unreadable(link)), "unreadable", 3),
        // As a push leaves it that was cut off.
        ("not there", |tree, link| tree.remove(link), "missing", 0),
    ] {
        let tree = Tree::new();
        let app = tree.repository("app");
        app.image("whole");
        app.image("broken");
        broken(&tree, &app.current("broken"));
        let run = ls(&tree, &["app"]);
        run.exits(code);
        let rows = rows(&run);
        assert_eq!(column(&rows, "tag"), ["broken", "whole"], "{what}");
        assert_eq!(row(&rows, "broken")["kind"], kind, "{what}");
        assert_eq!(row(&rows, "broken")["digest"], Value::Null, "{what}");
        if code == 3 {
            says_damage(&run, &["app:broken"]);
        } else {
            assert_eq!(run.stderr, "", "{what}");
            assert!(ls(&tree, &["app", "-v"]).stderr.contains("no current link"), "{what}: with -v");
        }
    }
}

/// As in `gc`: nobody can pull it, and it is worth no alarm.
#[test]
fn untagged_damage_is_a_warning() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    let loose = app.untagged("loose");
    tree.flip(&tree.data(&loose.digest));
    let run = ls(&tree, &["app", "--untagged"]);
    run.exits(0);
    assert_eq!(run.stderr, "");
    assert_eq!(column(&rows(&run), "kind"), ["image", "damaged"]);
    assert_eq!(repositories(&run)[0]["whole"], false);
    assert!(ls(&tree, &["-v"]).exits(0).stderr.contains(&loose.digest));
}

/// A tag that cannot be pulled, because its revision link is gone: told, and no damage of the image. Without its
/// manifest as well it is damage; after somebody has taken the image out by hand it is none.
#[test]
fn a_tag_without_a_revision() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let [dangling, taken] = ["dangling", "taken"].map(|tag| app.image_with_layers(tag, &[tag]));
    tree.remove(&app.revision(&dangling.digest));
    app.delete_by_hand("taken", &taken);
    let run = ls(&tree, &["app", "-v"]);
    assert_eq!(column(&rows(run.exits(0)), "kind"), ["image", "image"]);
    for tag in ["app:dangling", "app:taken"] {
        assert!(run.stderr.contains(&format!("{tag} cannot be pulled")), "{}", run.stderr);
    }
    tree.remove(&tree.blob(&taken.digest));
    assert_eq!(column(&rows(ls(&tree, &["app"]).exits(0)), "kind"), ["image", "missing"]);
    tree.remove(&tree.blob(&dangling.digest));
    says_damage(&ls(&tree, &["app"]), &["app:dangling"]);
}

/// A child that was never pushed here is legal; one that was, and is lost, is damage.
#[test]
fn a_lost_child_is_damage_and_a_sparse_index_is_not() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let [lost, absent] = ["lost", "absent"].map(|words| Manifest::docker(words, &[words]));
    app.push(&lost);
    app.index("multi", &[&lost, &absent]);
    ls(&tree, &["app"]).exits(0);
    tree.remove(&tree.blob(&lost.digest));
    let run = ls(&tree, &["app", "--tree"]);
    says_damage(&run, &[&lost.digest]);
    assert!(!run.stderr.contains(&absent.digest), "{}", run.stderr);
    let rows = rows(&run);
    assert_eq!(column(rows[0]["children"].as_array().unwrap(), "kind"), ["missing", "missing"]);
    assert_eq!(rows[0]["bytes"], Value::Null);
}

/// One index only lists it, another that is read later says that it is a manifest: it is none, and so damaged.
#[test]
fn what_is_said_to_be_a_manifest_has_to_be_one() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let layer = app.stray_layer("layer");
    let says = Manifest::raw(
        json!({"manifests": [{"mediaType": OCI_MANIFEST, "digest": layer.digest, "size": layer.bytes.len()}]})
            .to_string(),
    );
    // Not as a revision: then it would be read first.
    tree.put(&Blob::new(says.bytes.clone()));
    let lists = json!({"manifests": [{"digest": layer.digest}, {"mediaType": OCI_INDEX, "digest": says.digest}]});
    app.push_tagged("v1", &Manifest::raw(lists.to_string()));
    let run = ls(&tree, &["app", "--tree"]);
    says_damage(&run, &[&layer.digest]);
    assert_eq!(column(rows(&run)[0]["children"].as_array().unwrap(), "kind"), ["damaged", "index"]);
}

/// Layers and uploads are nothing that is shown.
#[test]
fn what_is_not_shown_is_not_looked_at() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    app.upload("x", std::time::Duration::from_secs(1));
    let listed = repositories(ls(&tree, &["app"]).exits(0));
    let unreadable = ["_layers", "_uploads"].map(|folder| tree.unreadable(&app.folder().join(folder)));
    assert_eq!(repositories(ls(&tree, &["app"]).exits(0)), listed);
    for folder in unreadable {
        folder.mend();
    }
}

/// What cannot be listed is not empty: neither the number of tags, nor what a namespace holds, nor whether a repository
/// is there that somebody asks for.
#[test]
fn an_unreadable_folder_is_not_an_empty_one() {
    for (folder, tags, revisions, bytes) in [
        ("_manifests/tags", false, true, true),
        ("_manifests/revisions", true, false, true),
        ("_manifests/revisions/sha256", true, false, true),
        ("_manifests", false, false, false),
    ] {
        let tree = Tree::new();
        let app = tree.repository("app");
        app.image("v1");
        app.image("v2");
        tree.repository("db").image("v1");
        let unreadable = tree.unreadable(&app.folder().join(folder));
        let run = ls(&tree, &[]);
        says_damage(&run, &["repositories/app/_manifests"]);
        let listed = repositories(&run);
        assert_eq!(column(&listed, "name"), ["app", "db"], "{folder}");
        assert_eq!(listed[0]["tags"].is_u64(), tags, "{folder}");
        assert_eq!(listed[0]["revisions"].is_u64(), revisions, "{folder}");
        assert_eq!(listed[0]["untagged_revisions"], Value::Null, "{folder}");
        assert_eq!(listed[0]["bytes"].is_u64(), bytes, "{folder}");
        assert_eq!(listed[0]["whole"], false, "{folder}");
        let text = ls_for_people(&tree, &[]).exits(3).text();
        assert!(text.lines().nth(1).unwrap().contains('?'), "{folder}: {text}");
        for pattern in ["app", "app:v1"] {
            let text = ls_for_people(&tree, &[pattern]).exits(3).text();
            assert!(tags == text.contains("v1") && !text.contains("no tags"), "{folder}: {text}");
            // Nobody knows which of the revisions are untagged.
            let rows = rows(ls(&tree, &[pattern, "--untagged"]).exits(3));
            assert_eq!(column(&rows, "tag").contains(&"v1".to_owned()), tags, "{folder} {pattern}");
            assert!(rows.iter().all(|row| row["tag"].is_string()), "{folder} {pattern}: {rows:#?}");
        }
        unreadable.mend();
        ls(&tree, &[]).exits(0);
    }
}

#[test]
fn nobody_knows_what_an_unreadable_namespace_holds() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    tree.repository("db").image("v1");
    let unreadable = tree.unreadable(&tree.repositories().join("team"));
    for (arguments, names) in [(&[][..], &["db"][..]), (&["team/app"], &[]), (&["team"], &[]), (&["**:v1"], &["db"])] {
        let run = ls(&tree, arguments);
        says_damage(&run, &["repositories/team"]);
        assert_eq!(column(&repositories(&run), "name"), names, "{arguments:?}");
    }
    let run = ls_for_people(&tree, &["team/app"]);
    assert_eq!(run.exits(3).text(), "", "not 'no repositories'");
    assert!(!run.stderr.contains("no repository"), "nobody knows: {}", run.stderr);
    unreadable.mend();
    ls(&tree, &["team/app"]).exits(0);
}

/// Real permission bits, and the binary as a user whom they bind.
#[test]
fn no_permission_is_not_absence() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    tree.give_to_nobody();
    let root = tree.root();
    for path in [tree.data(&v1.digest), app.current("v1"), app.folder().join("_manifests/tags"), app.folder()] {
        tree.chmod(&path, 0);
        let arguments = ["ls", root.to_str().unwrap(), "team/app"];
        let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
        run.exits(3);
        assert!(run.stderr.contains("ermission denied"), "{}: {}", path.display(), run.stderr);
        tree.chmod(&path, if path.is_dir() || fs::metadata(&path).unwrap().is_dir() { 0o755 } else { 0o644 });
    }
}
