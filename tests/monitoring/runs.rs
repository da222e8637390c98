//! `regsweep runs`.

use std::fs;

use serde_json::Value;

use crate::support::process::{finish, regsweep, regsweep_bound_by_permissions};
use crate::support::scenario::gc;
use crate::support::tree::{Tree, everything};
use crate::{STOPPED, run};

fn listed(tree: &Tree) -> Value {
    run(tree, &["runs", "--format", "json"]).exits(0);
    run(tree, &["runs", "--format", "json"]).report().0
}

fn journal(tree: &Tree, name: &str) -> std::path::PathBuf {
    tree.regsweep().join("runs").join(name).join("journal.jsonl")
}

/// Without its last line: the mark.
fn cut_off(tree: &Tree, name: &str) {
    let text = fs::read_to_string(journal(tree, name)).unwrap();
    let (before, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(journal(tree, name), format!("{before}\n")).unwrap();
}

#[test]
fn nothing_ran_on_a_new_registry() {
    let tree = everything();
    let before = tree.fingerprint();
    let ended = run(&tree, &["runs"]);
    assert_eq!((ended.code, ended.said().as_str()), (0, "no run is remembered\n"));
    assert_eq!(listed(&tree)["runs"], Value::Array(Vec::new()));
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new(), "and it leaves nothing behind");
}

#[test]
fn the_table_fits_and_says_what_can_be_restored() {
    let tree = everything();
    gc(&tree, &[STOPPED, "--max-delete", "0"]).exits(4);
    let kept = gc(&tree, &[STOPPED, "--quarantine"]).report().run().to_owned();
    let ended = run(&tree, &["runs"]);
    ended.exits(0);
    let text = ended.text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with("  ")).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[1].contains("refused") && rows[2].contains("done"), "the newest last: {text}");
    assert!(text.contains("which is more than --max-delete"), "{text}");
    assert!(text.contains(&format!("  kept as run {kept}")), "{text}");
    let one = run(&tree, &["runs", "--last", "1"]).text();
    assert!(!one.contains("refused") && one.contains("done"), "{one}");
    run(&tree, &["trash", "purge"]).exits(0);
    assert!(!run(&tree, &["runs"]).text().contains("kept as"), "and no longer when it cannot");
}

/// Somebody has edited the history: a row is a row.
#[test]
fn the_table_keeps_its_columns_whatever_the_history_says() {
    let tree = everything();
    fs::create_dir_all(tree.regsweep()).unwrap();
    let line = |day: u8, seconds: f64, count: u64| {
        let line = serde_json::json!({"schema": "regsweep.history/1", "at": format!("2026-01-0{day}T00:00:00Z"),
            "command": "gc", "seconds": seconds, "window_seconds": seconds, "items": count, "bytes": count,
            "outcome": "complete", "exit_code": 0});
        format!("{line}\n")
    };
    let lines = [line(1, 1e300, u64::MAX), line(2, 999.4 * 60.0, 99_999_999), line(3, 90_000.0, 100_000_000)];
    fs::write(tree.regsweep().join("history.jsonl"), lines.concat()).unwrap();
    let ended = run(&tree, &["runs"]);
    ended.exits(0);
    let text = ended.text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|row| row.split_whitespace().skip(4).collect()).collect();
    let wanted = [
        &["?", "16.00", "EiB", "?", "?"][..],
        &["99,999,999", "95.37", "MiB", "999", "min", "999", "min"],
        &["?", "95.37", "MiB", "25", "h", "25", "h"],
    ];
    assert_eq!(rows, wanted, "{text}");
}

/// Somebody has edited journals: two runs that say that they hold all the bytes there can be.
#[test]
fn sums_of_what_journals_say_end_in_no_panic() {
    let tree = everything();
    for orphan in ["one", "two"] {
        tree.orphan(orphan);
        let name = gc(&tree, &["--quarantine", STOPPED]).report().run().to_owned();
        let text = fs::read_to_string(journal(&tree, &name)).unwrap();
        let (before, after) = text.rsplit_once("\"bytes\":").unwrap();
        let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        fs::write(journal(&tree, &name), format!("{before}\"bytes\":{}{rest}", u64::MAX)).unwrap();
    }
    let metrics = tree.beside().join("gc.prom");
    run(&tree, &["gc", "--dry-run", "-q", "--metrics", metrics.to_str().unwrap()]).exits(0);
    assert!(fs::read_to_string(&metrics).unwrap().contains("regsweep_trash_bytes"));
    run(&tree, &["trash", "list"]).exits(0);
    let purged = run(&tree, &["trash", "purge"]);
    purged.exits(0);
    assert_eq!(purged.text().matches("16.00 EiB").count(), 2, "{}", purged.text());
    assert_eq!(listed(&tree)["runs"].as_array().unwrap().last().unwrap()["bytes"], u64::MAX);
}

/// A run that was killed has no line, and only its folder tells of it; the next run puts back what it had moved.
#[test]
fn a_run_that_was_cut_off_is_listed() {
    let tree = everything();
    let first = gc(&tree, &[STOPPED, "--quarantine"]).report().run().to_owned();
    cut_off(&tree, &first);
    fs::remove_file(tree.regsweep().join("history.jsonl")).unwrap();
    let listed_first = listed(&tree);
    let runs = listed_first["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((&runs[0]["fate"], &runs[0]["command"]), (&"cut-off".into(), &"gc".into()));
    let text = run(&tree, &["runs"]).text();
    let row = text.lines().nth(1).unwrap();
    assert!(row.contains(" cut off ") && text.contains("the next gc puts back"), "{text}");
    gc(&tree, &[STOPPED]).exits(0);
    let after = listed(&tree);
    let fates: Vec<&Value> = after["runs"].as_array().unwrap().iter().map(|run| &run["fate"]).collect();
    assert_eq!(fates, ["restored", "purged"]);
}

/// A run that failed has not written its name, and yet the list has it once: its folder is of that time.
#[test]
fn a_run_that_did_not_come_to_its_end_is_listed_once() {
    let tree = everything();
    let name = gc(&tree, &[STOPPED, "--quarantine"]).report().run().to_owned();
    cut_off(&tree, &name);
    let history = tree.regsweep().join("history.jsonl");
    let mut line: Value = serde_json::from_str(&fs::read_to_string(&history).unwrap()).unwrap();
    line["run"] = Value::Null;
    line["repositories"] = Value::Null;
    line["exit_code"] = 1.into();
    line["outcome"] = "incomplete".into();
    fs::write(&history, format!("{line}\n")).unwrap();
    let listed = listed(&tree);
    let runs = listed["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{listed:#}");
    assert_eq!((&runs[0]["run"], &runs[0]["fate"]), (&name.as_str().into(), &"cut-off".into()));
    assert_eq!(runs[0]["exit_code"], 1);
}

#[test]
fn it_works_while_a_run_is_at_work_and_where_nothing_can_be_written() {
    let tree = everything();
    let name = gc(&tree, &[STOPPED, "--quarantine"]).report().run().to_owned();
    cut_off(&tree, &name);
    let lock = fs::File::options().append(true).open(tree.regsweep().join("lock")).unwrap();
    let holder: Value = serde_json::from_str(&fs::read_to_string(tree.regsweep().join("lock")).unwrap()).unwrap();
    lock.lock().unwrap();
    let at_work = listed(&tree);
    assert_eq!(at_work["at_work"]["pid"], holder["pid"]);
    // The folder is of the process that the lock file names.
    let is_its_own = name.split('-').nth(1).unwrap().parse::<u64>().ok() == holder["pid"].as_u64();
    assert!(is_its_own);
    assert_eq!(at_work["runs"][0]["fate"], "at-work");
    assert!(run(&tree, &["runs"]).text().contains("at work now: process "));
    // Another process holds it: then this one was cut off.
    let other = holder["pid"].as_u64().unwrap() + 1;
    fs::write(tree.regsweep().join("lock"), holder.to_string().replace(&holder["pid"].to_string(), &other.to_string()))
        .unwrap();
    assert_eq!(listed(&tree)["runs"][0]["fate"], "cut-off");
    drop(lock);
    tree.give_to_nobody();
    let folders: Vec<_> = walkdir::WalkDir::new(tree.root())
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_dir())
        .collect();
    folders.iter().for_each(|folder| tree.chmod(folder.path(), 0o555));
    let ended = finish(regsweep_bound_by_permissions(&tree, &["runs", tree.root().to_str().unwrap()]));
    folders.iter().for_each(|folder| tree.chmod(folder.path(), 0o755));
    ended.exits(0);
    assert!(ended.text().contains("cut off") || ended.text().contains("done"), "{}", ended.said());
}

/// What cannot be read is not the same as no run.
#[test]
fn what_cannot_be_read_is_told() {
    let tree = everything();
    gc(&tree, &[STOPPED]).exits(0);
    let history = tree.regsweep().join("history.jsonl");
    let text = fs::read_to_string(&history).unwrap();
    fs::write(&history, format!("rubbish\n{text}")).unwrap();
    let ended = run(&tree, &["runs"]);
    ended.exits(3);
    assert!(ended.stderr.contains("1 line of _regsweep/history.jsonl cannot be understood"), "{}", ended.stderr);
    assert!(ended.text().contains("done"), "and the rest is listed");
    let broken = tree.unreadable(&history);
    run(&tree, &["runs"]).exits(1);
    broken.mend();
}

/// Somebody has edited the history.
#[test]
fn hostile_lines_cannot_drive_a_terminal_or_forge_a_row() {
    let tree = everything();
    gc(&tree, &[STOPPED, "--quarantine"]).exits(0);
    let history = tree.regsweep().join("history.jsonl");
    let line: Value = serde_json::from_str(&fs::read_to_string(&history).unwrap()).unwrap();
    for field in ["command", "tool", "outcome", "message", "run", "at"] {
        let mut odd = line.clone();
        odd[field] = "x\u{1b}[2J\n2026-01-01 00:00  gc             done".into();
        odd["seconds"] = (-1e300).into();
        fs::write(&history, format!("{odd}\n")).unwrap();
        let ended = run(&tree, &["runs"]);
        ended.exits(0);
        assert!(!ended.said().contains('\u{1b}'), "{field}: {:?}", ended.said());
        assert!(!ended.text().lines().any(|line| line.starts_with("2026-01-01 00:00")), "{field}: {}", ended.text());
        let json = finish(regsweep(&["runs", "--format", "json", tree.root().to_str().unwrap()]));
        assert!(!json.said().contains("\\u001b"), "{field}: {}", json.said());
    }
}
