//! Quarantine and trash, and the runs that were cut off: rolled back before their mark, finished after it (T22).

use std::collections::BTreeSet;
use std::fs;

use crate::support::formats::halves;
use crate::support::process::{Run, finish, regsweep};
use crate::support::report::Report;
use crate::support::scenario::{collect, gc, refuses};
use crate::support::tree::{Manifest, Tree};
use crate::{HOUR, everything};

fn trash(arguments: &[&str], tree: &Tree) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["trash", arguments[0], root.to_str().unwrap()], &arguments[1..]].concat()))
}

/// `gc -m --quarantine`, and the report of it.
fn quarantine(tree: &Tree) -> Report {
    let run = gc(tree, &["-m", "--registry-stopped", "--quarantine"]);
    run.exits(0);
    let report = run.report();
    assert!(report.count("removed", "blobs") > 0);
    report
}

fn trash_folder(tree: &Tree, report: &Report) -> std::path::PathBuf {
    tree.regsweep().join("runs").join(report.run()).join("trash")
}

/// The trash mirrors the tree, as section 3 draws it.
#[test]
fn quarantine_puts_everything_aside_under_its_own_name() {
    let tree = everything();
    let plain = everything();
    let expected = collect(&plain, &["-m"]);
    let before = tree.fingerprint();
    let report = quarantine(&tree);
    assert_eq!(report.actions_of("blob"), expected.real.actions_of("blob"));
    assert_eq!(tree.objects(), plain.objects(), "with and without quarantine the tree ends the same");
    let trash = trash_folder(&tree, &report);
    for object in report.actions_of("blob") {
        let hex = &object["blob sha256:".len()..];
        if object.starts_with("blob sha256:") {
            assert!(trash.join("blobs/sha256").join(&hex[..2]).join(hex).join("data").is_file(), "{object}");
        }
    }
    for object in report.actions_of("layer_link") {
        let (repository, digest) = object.split_once(" layer ").unwrap();
        let (algorithm, hex) = halves(digest);
        let folder = trash.join("repositories").join(repository).join("_layers").join(algorithm).join(hex);
        assert!(folder.is_dir(), "{object}");
    }
    // Renamed, not copied: the files that went are the files in the trash, inode by inode.
    let after = tree.fingerprint();
    let went: BTreeSet<u64> = before.files().inodes().difference(&after.files().inodes()).copied().collect();
    let aside = after.below(&format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run())).inodes();
    assert_eq!(aside, went, "every file that went is in the trash, and nothing else is");
}

#[test]
fn trash_restore_gives_back_the_same_tree() {
    let tree = everything();
    let (before, objects) = (tree.fingerprint(), tree.objects());
    let report = quarantine(&tree);
    assert_ne!(tree.objects(), objects);

    let listed = trash(&["list"], &tree);
    listed.exits(0);
    assert!(listed.text().contains(report.run()), "the run is listed: {}", listed.text());

    // It changes the volume, so it needs the proof.
    let quarantined = tree.fingerprint();
    trash(&["restore", report.run()], &tree).exits(4);
    assert_eq!(quarantined.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new());

    trash(&["restore", "--registry-stopped", report.run()], &tree).exits(0);
    assert_eq!(tree.objects(), objects, "every object is back");
    let changes = before.files().changes_to(&tree.fingerprint().files());
    assert_eq!(changes, Vec::<String>::new(), "names, contents, sizes, times and inodes are as they were");

    // And it is garbage again, all of it.
    assert_eq!(gc(&tree, &["-d", "-m"]).report().actions(), report.actions());
}

/// What the registry wrote anew meanwhile is not overwritten by what comes back.
#[test]
fn trash_restore_leaves_what_was_pushed_again() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let report = quarantine(&tree);
    app.push(&old);
    app.tag("again", &old);
    let pushed = tree.fingerprint().files();
    trash(&["restore", "--registry-stopped", report.run()], &tree).exits(0);
    assert_eq!(pushed.changes_to(&tree.fingerprint().files()), Vec::<String>::new(), "what was pushed is untouched");
    collect(&tree, &["-m"]).exits(0).removes(&[]).keeps(&app.objects_of(&old));
}

/// A repository that went whole, and was made anew by a push before it came back: both are there then.
#[test]
fn trash_restore_puts_a_whole_repository_back_beside_what_was_pushed_there() {
    for pushed_again in [false, true] {
        let tree = Tree::new();
        tree.repository("keep").image("v1");
        let app = tree.repository("team/app");
        let old = app.untagged("old");
        app.upload("stale", 400 * HOUR);
        let (before, objects) = (tree.fingerprint(), tree.objects());
        let run = gc(&tree, &["-m", "--registry-stopped", "--quarantine", "--remove-empty-repositories"]);
        run.exits(0);
        assert!(!app.folder().exists());
        let new = Manifest::docker("new", &["new"]);
        if pushed_again {
            app.push_tagged("v1", &new);
        }
        let pushed = tree.deliverable(false);
        trash(&["restore", "--registry-stopped", run.report().run()], &tree).exits(0);
        assert!(objects.is_subset(&tree.objects()), "all that went is back");
        let changes = before.files().changes_to(&tree.fingerprint().files());
        let changes: Vec<_> = changes.iter().filter(|change| !change.ends_with(": new")).collect();
        assert!(changes.is_empty(), "as it was: {changes:#?}");
        assert_eq!(tree.deliverable(false), pushed, "what was pushed is untouched");
        assert!(tree.objects().contains(&app.revision_object(&old.digest)));
    }
}

#[test]
fn trash_purge_frees_the_bytes_for_good() {
    let tree = everything();
    let report = quarantine(&tree);
    let trash_path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    let aside = tree.fingerprint().bytes_below(&trash_path);
    assert!(aside >= report.bytes("removed", "blobs"), "{aside} bytes put aside");
    let objects = tree.objects();

    // Not old enough: stays.
    trash(&["purge", "--older-than", "1h"], &tree).exits(0);
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), aside);

    trash(&["purge"], &tree).exits(0);
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), 0, "the bytes are free");
    assert_eq!(tree.objects(), objects);
    let restored = trash(&["restore", "--registry-stopped", report.run()], &tree);
    assert_ne!(restored.code, 0, "there is nothing to restore");
    assert_eq!(tree.objects(), objects);
}

/// A quarantined run is finished: the next run neither rolls it back nor deletes its trash.
#[test]
fn a_quarantined_run_is_left_alone_by_the_next() {
    let tree = everything();
    let report = quarantine(&tree);
    let path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    let aside = tree.fingerprint().bytes_below(&path);
    let objects = tree.objects();
    let second = gc(&tree, &["-m", "--registry-stopped"]);
    assert_eq!(second.report().actions(), Vec::new());
    assert_eq!(tree.objects(), objects);
    assert_eq!(tree.fingerprint().bytes_below(&path), aside, "what was put aside is still there");
}

/// A quarantined run whose journal is cut, as by a crash: what a run leaves that died before its mark `swept`, or
/// after it.
fn cut_off(tree: &Tree, report: &Report, keep_the_mark: bool) {
    let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let is_mark = |line: &&str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("each line of the journal is JSON");
        value
            .as_object()
            .is_some_and(|members| members.contains_key("swept") || members.values().any(|it| it == "swept"))
    };
    let mark = lines.iter().position(is_mark).unwrap_or_else(|| panic!("no mark in\n{text}"));
    let kept = &lines[..if keep_the_mark { mark + 1 } else { mark }];
    fs::write(&journal, kept.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn a_run_cut_off_before_its_mark_is_rolled_back_by_the_next() {
    let tree = everything();
    let (before, objects) = (tree.fingerprint(), tree.objects());
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);

    // A dry run says so and changes nothing, not even that.
    let cut = tree.fingerprint();
    let dry = gc(&tree, &["--dry-run", "-m"]);
    assert!([0, 3].contains(&dry.code), "exit {}: {}", dry.code, dry.stderr);
    assert_eq!(cut.changes_to(&tree.fingerprint()), Vec::<String>::new());

    // Without --delete-untagged the next run wants less than the one that was cut off: what that one had moved and
    // this one does not want is back.
    let next = gc(&tree, &["--registry-stopped"]);
    next.exits(0);
    let wanted: BTreeSet<String> = next.report().actions().into_iter().map(|action| action.object).collect();
    let left = tree.objects();
    for object in &objects {
        let named = wanted.contains(object) || object.match_indices(' ').any(|(at, _)| wanted.contains(&object[..at]));
        assert_eq!(left.contains(object), !named, "{}", tree.explain(object));
    }
    // What came back is what it was, to the inode.
    let changes = before.files().changes_to(&tree.fingerprint().files());
    assert!(changes.iter().all(|change| change.ends_with(": gone")), "{changes:#?}");
    let trash_path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), 0, "nothing stays behind in the old run's trash");
}

/// Rolled back and swept again, the end is the same as of a run that nothing disturbed.
#[test]
fn a_run_cut_off_before_its_mark_converges_to_the_same_end() {
    let undisturbed = everything();
    collect(&undisturbed, &["-m"]);
    let tree = everything();
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);
    let next = gc(&tree, &["-m", "--registry-stopped"]);
    next.exits(0);
    assert_eq!(next.report().actions(), report.actions(), "rolled back, all of it is found again");
    assert_eq!(tree.objects(), undisturbed.objects());
    assert_eq!(gc(&tree, &["-m", "--registry-stopped"]).report().actions(), Vec::new());
}

/// Cut off half-way through the renames: some are in the trash, some are not. Half of what was moved is moved back
/// here, so the journal names more than the trash holds.
#[test]
fn a_run_cut_off_between_two_renames_is_rolled_back_too() {
    let tree = everything();
    let (before, objects) = (tree.fingerprint(), tree.objects());
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);
    let aside = trash_folder(&tree, &report);
    for object in report.actions_of("blob").iter().filter(|object| object.starts_with("blob sha256:")) {
        let digest = &object["blob ".len()..];
        let hex = &digest["sha256:".len()..];
        let home = tree.blob(digest);
        fs::create_dir_all(home.parent().unwrap()).unwrap();
        fs::rename(aside.join("blobs/sha256").join(&hex[..2]).join(hex), home).unwrap();
    }
    let next = gc(&tree, &["--registry-stopped", "--uploads-older-than", "9999h"]);
    next.exits(0);
    let delivered = tree.deliverable(true);
    let lost: Vec<_> = objects.difference(&tree.objects()).cloned().collect();
    let wanted: BTreeSet<String> = next.report().actions().into_iter().map(|action| action.object).collect();
    for object in lost {
        let named = wanted.contains(&object) || object.match_indices(' ').any(|(at, _)| wanted.contains(&object[..at]));
        assert!(named, "lost: {}", tree.explain(&object));
    }
    assert!(!delivered.is_empty());
    let changes = before.files().changes_to(&tree.fingerprint().files());
    assert!(changes.iter().all(|change| change.ends_with(": gone")), "{changes:#?}");
}

/// A run cut off before its mark, and then the registry was started and somebody pushed one of the removed images
/// again: what was pushed stays as it is, the copy in the trash goes.
#[test]
fn rolling_back_leaves_what_was_pushed_again() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);
    app.push(&old);
    app.tag("again", &old);
    let pushed = tree.fingerprint().files();
    let run = gc(&tree, &["-m", "--registry-stopped"]);
    run.exits(0);
    assert_eq!(run.report().actions(), Vec::new(), "all of it is in use again");
    assert_eq!(pushed.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    let trash_path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), 0);
}

/// After the mark there is no way back: the next run finishes the deletion. A plain run's journal, not a quarantined
/// one's, is what such a crash leaves, so the words that ask for quarantine are taken out of it.
#[test]
fn a_run_cut_off_after_its_mark_is_rolled_forward_by_the_next() {
    let tree = everything();
    let report = quarantine(&tree);
    let objects = tree.objects();
    cut_off(&tree, &report, true);
    let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    assert!(text.contains("\"quarantine\":true"), "the journal says that the run was to keep its trash: {text}");
    fs::write(&journal, text.replace("\"quarantine\":true", "\"quarantine\":false")).unwrap();
    let next = gc(&tree, &["-m", "--registry-stopped"]);
    next.exits(0);
    assert_eq!(next.report().actions(), Vec::new(), "all of it had been swept");
    assert_eq!(tree.objects(), objects);
    let trash_path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), 0, "the trash is deleted");
}

/// A purge that was cut off is finished by the next one, by name or with all others; and nobody can restore half of it.
#[test]
fn t27_a_purge_that_was_cut_off_is_finished_by_the_next_purge() {
    for by_name in [true, false] {
        let tree = everything();
        let report = quarantine(&tree);
        let objects = tree.objects();
        let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
        let mut text = fs::read_to_string(&journal).unwrap();
        text.push_str("{\"event\":\"purging\",\"at\":\"2026-01-01T00:00:00Z\"}\n");
        fs::write(&journal, text).unwrap();
        let refused = trash(&["restore", "--registry-stopped", report.run()], &tree);
        refused.exits(2);
        assert!(refused.stderr.contains("is deleted already: it cannot be restored"), "{}", refused.stderr);
        assert!(trash(&["list"], &tree).text().contains("half-purged"));
        let names = if by_name { vec!["purge", report.run()] } else { vec!["purge"] };
        trash(&names, &tree).exits(0);
        let path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
        assert_eq!(tree.fingerprint().bytes_below(&path), 0);
        assert!(trash(&["list"], &tree).text().contains("the trash is empty"));
        assert_eq!(tree.objects(), objects);
    }
}

/// Nobody knows what the lines of another version's journal mean: nothing is put back, deleted or swept because of
/// them.
#[test]
fn t27_a_run_of_another_version_is_left_alone() {
    for (keep_the_mark, flags) in [(false, &["-m"][..]), (true, &["-m"]), (true, &[])] {
        let tree = everything();
        let report = quarantine(&tree);
        cut_off(&tree, &report, keep_the_mark);
        tree.orphan("new garbage");
        let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
        let text = fs::read_to_string(&journal).unwrap();
        fs::write(&journal, text.replace("regsweep.journal/1", "regsweep.journal/2")).unwrap();
        let before = tree.fingerprint().files();
        let refused = refuses(&tree, flags);
        assert!(refused.says("was made by another version of regsweep"), "{}", refused.stderr);
        let dry = gc(&tree, &[&["--dry-run"], flags].concat());
        assert!(dry.report().has("warning", "a sweep would be refused: run"), "{}", dry.text());
        assert!(trash(&["list"], &tree).text().contains("made by another version"));
        trash(&["restore", "--registry-stopped", report.run()], &tree).exits(2);
        trash(&["purge", report.run()], &tree).exits(2);
        assert!(trash(&["purge"], &tree).text().contains("nothing to purge"));
        let path = |files: crate::support::fingerprint::Fingerprint| files.below("docker/registry/v2/blobs");
        assert_eq!(path(before).changes_to(&path(tree.fingerprint().files())), Vec::<String>::new());
        let aside = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
        assert!(tree.fingerprint().bytes_below(&aside) > 0);
    }
}

/// A journal whose last line is half a line, as a crash in the middle of a write leaves it.
#[test]
fn a_torn_last_line_of_the_journal_is_no_obstacle() {
    let tree = everything();
    let objects = tree.objects();
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);
    let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
    let length = fs::metadata(&journal).unwrap().len();
    tree.truncate(&journal, length - 3);
    let next = gc(&tree, &["-m", "--registry-stopped"]);
    next.exits(0);
    assert_eq!(next.report().actions(), report.actions(), "rolled back, all of it is found again");
    let left = tree.objects();
    assert!(left.len() < objects.len());
}

/// The lock is let go at the end, and the trash commands take it too.
#[test]
fn t22_restore_refuses_while_a_run_holds_the_lock() {
    let tree = everything();
    let report = quarantine(&tree);
    let lock = fs::File::options().write(true).open(tree.regsweep().join("lock")).unwrap();
    lock.try_lock().expect("a finished run holds no lock");
    let before = tree.fingerprint().files();
    trash(&["restore", "--registry-stopped", report.run()], &tree).exits(4);
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
}
