//! Standard error: JSON for log collectors, one line at the end, and nothing where nothing is wrong.

use std::fs;

use serde_json::Value;

use crate::support::process::{Run, finish, regsweep};
use crate::support::tree::{Tree, everything};
use crate::{STOPPED, run};

/// The lines of standard error, each one JSON object.
#[track_caller]
fn lines(run: &Run) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    run.stderr.lines().map(line).collect()
}

/// With an empty current link, which taints.
fn damaged() -> Tree {
    let tree = everything();
    tree.truncate(&tree.repository("team/app").current("v1"), 0);
    tree
}

#[test]
fn every_line_is_json_and_the_last_sums_up() {
    let tree = damaged();
    let json = ["--log-format", "json"];
    for (words, code, entries) in [
        (&["gc", "-d"][..], 3, &["progress", "finding", "summary"][..]),
        (&["gc"], 4, &["error", "summary"]),
        (&["gc", STOPPED], 3, &["progress", "swept", "finding", "summary"]),
        (&["gc", STOPPED, "-q", "--max-delete", "0", "-m"], 4, &["finding", "error", "summary"]),
        (&["check"], 3, &["progress", "finding", "summary"]),
        (&["ls", "--sort", "wrong"], 2, &["error"]),
        (&["trash", "restore"], 2, &["error"]),
    ] {
        let ended = run(&tree, &[words, &json].concat());
        ended.exits(code);
        let lines = lines(&ended);
        for entry in entries {
            assert!(lines.iter().any(|line| line["entry"] == *entry), "{words:?}: no {entry} in {lines:#?}");
        }
        for line in &lines {
            assert!(entries.contains(&line["entry"].as_str().unwrap()), "{words:?}: {line}");
            assert_eq!(line["schema"], "regsweep.log/1");
            assert!(!line["message"].as_str().unwrap().starts_with("regsweep:"), "{line}");
        }
        let last = lines.last().unwrap();
        if entries.contains(&"summary") {
            assert_eq!((&last["entry"], &last["exit_code"]), (&"summary".into(), &code.into()), "{words:?}");
            assert_eq!(last["registry"].as_str(), tree.root().to_str());
        }
    }
}

#[test]
fn wrong_usage_is_told_as_it_was_asked_for() {
    for words in [&["gc", "--log-format", "json", "--nope"][..], &["--log-format=json", "nope"]] {
        let ended = finish(regsweep(words));
        ended.exits(2);
        assert!(lines(&ended)[0]["message"].as_str().unwrap().contains("nope"), "{}", ended.stderr);
    }
    let help = finish(regsweep(&["gc", "--log-format", "json", "--help"]));
    help.exits(0);
    assert!(help.text().contains("Usage:"), "help is help");
}

#[test]
fn findings_are_told_with_what_they_are_about() {
    let tree = damaged();
    let ended = run(&tree, &["gc", "-d", "--log-format", "json"]);
    let report = run(&tree, &["gc", "-d", "--format", "json"]).report();
    let found: Vec<Value> = lines(&ended).into_iter().filter(|line| line["entry"] == "finding").collect();
    let expected: Vec<&Value> = report.findings().iter().filter(|it| it["severity"] != "info").collect();
    assert_eq!(found.len(), expected.len());
    for (line, finding) in found.iter().zip(expected) {
        let told = [&line["level"], &line["finding"], &line["repository"], &line["path"], &line["message"]];
        let kept = ["severity", "kind", "repository", "path", "message"].map(|key| &finding[key]);
        assert_eq!(told, kept);
    }
}

/// What cron mails: nothing in a good night, and in a bad one what was wrong, with one line that says how it ended.
#[test]
fn quiet_says_nothing_unless_something_is_wrong() {
    let silent = |tree: &Tree, words: &[&str]| {
        let ended = run(tree, words);
        assert_eq!((ended.code, ended.said().as_str()), (0, ""), "{words:?}");
    };
    let tree = everything();
    for words in [
        &["gc", "-q", "-d"][..],
        &["gc", "-q", STOPPED],
        &["gc", "-q", STOPPED, "-m", "--quarantine"],
        &["check", "-q"],
        &["check", "-q", "--read-data", "--position", "/dev/null"],
        &["gc", "-q", "-d", "--log-format", "json"],
    ] {
        silent(&tree, words);
    }
    // A pull-through cache is checked every night, and everybody knows that it is one.
    fs::write(tree.root().join("scheduler-state.json"), "{}").unwrap();
    silent(&tree, &["check", "-q"]);
    let lost = tree.repository("team/app").image_with_layers("lost", &["lost"]);
    tree.remove(&tree.blob(&lost.blobs[1].digest));
    for (words, code, says) in [
        (&["check", "-q"][..], 3, "this is a pull-through cache"),
        (&["gc", "-q"], 4, "does not touch"),
        (&["gc", "-q", STOPPED, "/nowhere"], 2, "unexpected argument"),
    ] {
        let ended = run(&tree, words);
        ended.exits(code);
        assert!(ended.stderr.contains(says), "{words:?}: {}", ended.stderr);
        assert_eq!(ended.text(), "");
        if code != 2 {
            let last = ended.stderr.lines().last().unwrap();
            let begins = format!("regsweep: {} ", words[0]);
            let ends = format!("(exit code {code})");
            assert!(last.starts_with(&begins) && last.ends_with(&ends), "{words:?}: {last}");
        }
    }
}

#[test]
fn the_last_line_says_how_it_ended() {
    let tree = everything();
    let last = |words: &[&str]| run(&tree, words).stderr.lines().last().unwrap_or_default().to_owned();
    let is = |line: &str, begins: &str, has: &[&str]| {
        assert!(line.starts_with(begins) && has.iter().all(|part| line.contains(part)), "{line}");
    };
    is(&last(&["gc", STOPPED]), "regsweep: gc done in ", &[": freed ", " blobs), window "]);
    is(&last(&["gc", STOPPED, "-m", "--quarantine"]), "regsweep: gc done in ", &[": put aside "]);
    is(&last(&["gc"]), "regsweep: gc refused after ", &["nothing was touched", "(exit code 4)"]);
    is(&last(&["check"]), "regsweep: check done in ", &["tags can be pulled"]);
    // A dry run's report is all that it is about, and an error that comes before any report says it all.
    assert_eq!(last(&["gc", "-d"]), "");
    let error = finish(regsweep(&["gc", "/nowhere"]));
    assert_eq!(error.stderr.lines().count(), 1, "{}", error.stderr);
}
