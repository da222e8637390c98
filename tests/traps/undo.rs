//! `trash list`, `restore` and `purge` for whoever has to undo something in a hurry.

use std::fs;

use serde_json::Value;

use crate::everything;
use crate::support::process::{Run, finish, regsweep};
use crate::support::scenario::gc;
use crate::support::tree::Tree;

fn trash(arguments: &[&str], tree: &Tree) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["trash", arguments[0], root.to_str().unwrap()], &arguments[1..]].concat()))
}

/// `gc --quarantine` of something that was not there before; its name.
fn quarantine(tree: &Tree, flags: &[&str], garbage: &str) -> String {
    tree.orphan(garbage);
    let run = gc(tree, &[&["--registry-stopped", "--quarantine"], flags].concat());
    run.exits(0);
    run.report().run().to_owned()
}

fn listed(tree: &Tree, flags: &[&str]) -> Vec<Value> {
    let run = trash(&[&["list", "--format", "json"], flags].concat(), tree);
    run.exits(0);
    let list: Value = serde_json::from_slice(&run.stdout).unwrap();
    list["runs"].as_array().unwrap().clone()
}

/// Gives a run another name, as if it had been made at another time.
fn renamed(tree: &Tree, run: &str, name: &str) -> String {
    let runs = tree.regsweep().join("runs");
    fs::rename(runs.join(run), runs.join(name)).unwrap();
    name.to_owned()
}

fn says(run: &Run, code: i32, words: &str) {
    run.exits(code);
    let said = run.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(words), "{words:?} is not in {said}");
}

/// The list has a head, says which command it was, and with -v what lies there; the contents are what the report named.
#[test]
fn the_list_says_what_lies_in_a_trash() {
    let tree = everything();
    let run = gc(&tree, &["-m", "--registry-stopped", "--quarantine"]);
    run.exits(0);
    let report = run.report();
    let text = trash(&["list"], &tree).text();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["RUN", "COMMAND", "STATE", "THINGS", "BYTES"]
    );
    let line = lines.next().unwrap();
    assert!(line.starts_with(report.run()) && line.contains(" gc ") && line.contains(" kept "), "{line}");
    assert_eq!(lines.next(), None);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    let of = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let names = |things: &[Value]| {
        let name = |it: &Value| ["kind", "repository", "name", "digest"].map(|field| of(it, field));
        let mut names: Vec<[String; 4]> = things.iter().map(name).collect();
        names.sort();
        names
    };
    let [run] = &*listed(&tree, &["-v"]) else { panic!("one run") };
    let contents = run["contents"].as_array().unwrap();
    let report: Value = serde_json::from_slice(&report_bytes(&tree)).unwrap();
    assert!(contents.len() > 20 && contents.len() as u64 == run["items"].as_u64().unwrap(), "{}", contents.len());
    assert_eq!(names(contents), names(report["actions"].as_array().unwrap()));
    let text = trash(&["list", "-v"], &tree).text();
    assert_eq!(text.lines().count(), 2 + contents.len(), "a line each");
    assert_eq!(listed(&tree, &[])[0]["contents"], Value::Null);
}

/// The same collection once more, on a copy that nothing was taken from.
fn report_bytes(tree: &Tree) -> Vec<u8> {
    let root = tree.root();
    let root = root.to_str().unwrap();
    finish(regsweep(&["trash", "restore", "--registry-stopped", root, "latest"])).exits(0);
    let again = finish(regsweep(&["gc", "-m", "--registry-stopped", "--quarantine", "--format", "json", root]));
    again.exits(0);
    again.stdout
}

#[test]
fn a_run_is_named_by_its_beginning_or_as_the_latest() {
    let tree = everything();
    let names: Vec<String> = ["20260101T000000Z-0000001", "20260101T000000Z-0000002", "20260315T000000Z-0000003"]
        .iter()
        .map(|name| renamed(&tree, &quarantine(&tree, &[], name), name))
        .collect();
    let only = |flags: &[&str]| {
        let of = |run: &Value| run["run"].as_str().unwrap().to_owned();
        listed(&tree, flags).iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(only(&[]), names);
    assert_eq!(only(&["latest"]), names[2..]);
    assert_eq!(only(&["20260315"]), names[2..]);
    assert_eq!(only(&["20260101T000000Z-0000002", "latest", "20260315T0"]), names[1..], "each once");
    for command in ["list", "restore", "purge"] {
        says(
            &trash(&[command, "20260101"], &tree),
            2,
            "several runs begin with '20260101': 20260101T000000Z-0000001, ",
        );
        says(&trash(&[command, "2026031"], &tree), 2, "'2026031' is too little of a run's name");
        says(&trash(&[command, "20260401"], &tree), 2, "no run '20260401' has anything in its trash");
    }
    // Nothing was touched by any of it.
    assert_eq!(only(&[]), names);
    trash(&["purge", "20260101T000000Z-0000001"], &tree).exits(0);
    trash(&["restore", "--registry-stopped", "latest"], &tree).exits(0);
    assert_eq!(only(&[]), names[1..2]);
    // A part that two had is one's alone now.
    trash(&["restore", "--registry-stopped", "20260101"], &tree).exits(0);
    says(
        &trash(&["restore", "--registry-stopped", "latest"], &tree),
        2,
        "no run has anything in its trash that will do",
    );
}

/// Without a name the error has the runs, the newest first.
#[test]
fn restore_without_a_run_names_them() {
    let tree = everything();
    says(&trash(&["restore", "--registry-stopped"], &tree), 2, "None has anything in its trash that can be restored");
    let first = renamed(&tree, &quarantine(&tree, &[], "first"), "20260101T000000Z-0000001");
    let second = quarantine(&tree, &["-m"], "second");
    let refused = trash(&["restore"], &tree);
    says(&refused, 2, "which run? `latest`, or one of these:");
    let place =
        |name: &str| refused.stderr.find(&format!("{name} (gc, ")).unwrap_or_else(|| panic!("{}", refused.stderr));
    assert!(place(&second) < place(&first), "{}", refused.stderr);
}

#[test]
fn a_dry_run_of_the_trash_changes_nothing() {
    let tree = everything();
    let app = tree.repository("team/removed");
    app.image("v1");
    let root = tree.root();
    let named = ["rm", "--registry-stopped", root.to_str().unwrap(), "team/removed:v1"];
    finish(regsweep(&named)).exits(0);
    let before = tree.fingerprint();
    // Nothing shows that the registry is read-only, and nothing has to.
    let would = trash(&["restore", "--dry-run", "latest"], &tree);
    would.exits(0);
    assert!(would.text().starts_with("tag team/removed:v1\ndry run: "), "{}", would.text());
    assert!(would.text().contains("1 tag among them, would be put back from run"), "{}", would.text());
    let would = trash(&["purge", "-d"], &tree);
    would.exits(0);
    assert!(would.text().starts_with("would be deleted: ") && would.text().contains("(rm, "), "{}", would.text());
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new(), "not even a line in the history");
}

/// A purge that finds nothing leaves no line in the list of runs.
#[test]
fn a_purge_of_nothing_is_not_remembered() {
    let tree = everything();
    let before = tree.fingerprint();
    assert_eq!(trash(&["purge"], &tree).text(), "nothing to purge\n");
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
    quarantine(&tree, &[], "garbage");
    let before = tree.fingerprint();
    assert_eq!(trash(&["purge", "--older-than", "1d"], &tree).text(), "nothing to purge\n");
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
    trash(&["purge"], &tree).exits(0);
    let runs = finish(regsweep(&["runs", tree.root().to_str().unwrap()])).text();
    assert_eq!(runs.matches("trash purge").count(), 1 + runs.matches("trash restore, trash purge").count(), "{runs}");
}

/// What a refused restore lacks lies in the trash of a later run: the message has its name, and that one first will do.
#[test]
fn a_refused_restore_names_the_run_that_has_what_it_lacks() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("stays");
    let (old, _new) = (app.image_with_layers("old", &["shared", "a"]), app.image_with_layers("new", &["shared", "b"]));
    let before = tree.objects();
    let root = tree.root();
    let root = root.to_str().unwrap();
    let removed = |name: &str| {
        let run = finish(regsweep(&[
            "rm",
            "--collect",
            "--quarantine",
            "--registry-stopped",
            root,
            name,
            "--format",
            "json",
        ]));
        run.exits(0);
        run.report().run().to_owned()
    };
    let first = removed("team/app:old");
    let first = renamed(&tree, &first, "20260101T000000Z-0000001");
    let second = removed("team/app:new");
    for flags in [&["--registry-stopped"][..], &["--dry-run"]] {
        let refused = trash(&[&["restore", &*first], flags].concat(), &tree);
        says(&refused, 4, &format!("which lies in the trash of run {second}: restore that one first"));
        assert!(refused.stderr.contains(&old.digest), "{}", refused.stderr);
    }
    trash(&["restore", "--registry-stopped", &second], &tree).exits(0);
    trash(&["restore", "--registry-stopped", &first], &tree).exits(0);
    assert_eq!(tree.objects(), before);
}

/// Who asks for a tag that a run has put aside is told where it is; and no longer, when it cannot come back.
#[test]
fn what_lies_in_a_trash_is_not_simply_gone() {
    let tree = everything();
    let app = tree.repository("team/removed");
    app.image("v1");
    let root = tree.root();
    let root = root.to_str().unwrap();
    finish(regsweep(&["rm", "--registry-stopped", "-q", root, "team/removed:v1"])).exits(0);
    let run = listed(&tree, &[])[0]["run"].as_str().unwrap().to_owned();
    let hint = format!("; it lies in the trash of run {run}, and `trash restore` brings that back");
    for command in ["why", "ls"] {
        says(&finish(regsweep(&[command, root, "team/removed:v1"])), 1, &hint);
        let other = finish(regsweep(&[command, root, "team/removed:v2"]));
        other.exits(1);
        assert!(!other.stderr.contains("trash"), "{}", other.stderr);
    }
    trash(&["purge"], &tree).exits(0);
    for command in ["why", "ls"] {
        let gone = finish(regsweep(&[command, root, "team/removed:v1"]));
        gone.exits(1);
        assert!(!gone.stderr.contains("trash"), "{}", gone.stderr);
    }
}
