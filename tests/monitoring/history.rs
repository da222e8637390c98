//! `_regsweep/history.jsonl`: every run that had the lock is in it, and says what the process did.

use std::fs;

use serde_json::Value;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::gc;
use crate::support::tree::{Tree, everything};
use crate::{STOPPED, run};

fn lines(tree: &Tree) -> Vec<Value> {
    let path = tree.regsweep().join("history.jsonl");
    let text = if path.exists() { fs::read_to_string(path).unwrap() } else { String::new() };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_run_that_had_the_lock_leaves_a_line_that_is_true() {
    let tree = everything();
    let root = tree.root();
    let root = root.to_str().unwrap();
    let mut seen = 0;
    let mut expect = |words: &[&str], names: &[&str], command: Option<&str>, outcome: &str| -> Value {
        let ended = finish(regsweep(&[words, &[root], names].concat()));
        let all = lines(&tree);
        let new = &all[seen..];
        seen = all.len();
        let Some(command) = command else {
            assert_eq!(new, [] as [Value; 0], "{words:?} leaves no line");
            return Value::Null;
        };
        assert_eq!(new.len(), 1, "{words:?}: {new:#?}\n{}", ended.said());
        let line = &new[0];
        assert_eq!((&line["command"], &line["outcome"]), (&command.into(), &outcome.into()), "{words:?}");
        assert_eq!(line["exit_code"], ended.code, "{words:?}: {}", ended.said());
        assert!(line["seconds"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(line["message"].is_null(), outcome == "complete", "{line}");
        assert_eq!(
            line["repositories"].is_number(),
            outcome == "complete" && ["gc", "rm"].contains(&command),
            "{line}"
        );
        line.clone()
    };
    expect(&["gc", "-d"], &[], None, "");
    expect(&["gc"], &[], None, "");
    expect(&["check"], &[], None, "");
    expect(&["gc", STOPPED, "--max-delete", "0"], &[], Some("gc"), "refused");
    let kept = expect(&["gc", STOPPED, "--quarantine"], &[], Some("gc"), "complete");
    assert!(kept["items"].as_u64().unwrap() > 5 && kept["bytes"].as_u64().unwrap() > 100, "{kept}");
    assert!(kept["window_seconds"].as_f64().unwrap() <= kept["seconds"].as_f64().unwrap(), "{kept}");
    let name = kept["run"].as_str().unwrap().to_owned();
    let back = expect(&["trash", "restore", STOPPED], &[&name], Some("trash restore"), "complete");
    assert_eq!(back["items"], kept["items"]);
    expect(&["trash", "restore", STOPPED], &[&name], None, "");
    let kept = expect(&["gc", STOPPED, "--quarantine"], &[], Some("gc"), "complete");
    let purged = expect(&["trash", "purge"], &[], Some("trash purge"), "complete");
    assert_eq!((&purged["items"], &purged["bytes"]), (&kept["items"], &kept["bytes"]));
    expect(&["rm", STOPPED], &["team/app:nothing"], Some("rm"), "refused");
    let tag = expect(&["rm", STOPPED], &["team/app:v1"], Some("rm"), "complete");
    assert_eq!(tag["removed"]["tags"]["count"], 1);
    let app = tree.repository("team/app");
    tree.truncate(&app.revision(&app.image("fresh").digest).join("link"), 0);
    expect(&["gc", STOPPED], &[], Some("gc"), "complete");
    expect(&["check", "--repair", STOPPED], &[], Some("check"), "complete");
    // Somebody else's run, of another version: it cannot be cleared up after that.
    let foreign = tree.regsweep().join("runs/20260101T000000Z-0000001");
    fs::create_dir_all(foreign.join("trash")).unwrap();
    let begin = r#"{"event":"begin","schema":"regsweep.journal/9","run":"x","tool":"y","at":"2026-01-01T00:00:00Z","delete_untagged":false,"quarantine":false}"#;
    fs::write(foreign.join("journal.jsonl"), format!("{begin}\n")).unwrap();
    expect(&["gc", STOPPED], &[], Some("gc"), "refused");
    expect(&["check", "--repair", STOPPED], &[], Some("check"), "refused");
}

/// Six repositories; four are not mounted. Nights go by in which every run is refused, as it should be, and each leaves
/// a line in a file that keeps a hundred or so.
#[test]
fn no_number_of_refused_runs_makes_the_brake_forget() {
    let tree = Tree::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        tree.repository(name).image("v1");
    }
    tree.orphan("garbage");
    gc(&tree, &[STOPPED]).exits(0);
    for name in ["a", "b", "c", "d"] {
        tree.remove(&tree.repository(name).folder());
    }
    gc(&tree, &[STOPPED]).exits(4);
    let history = tree.regsweep().join("history.jsonl");
    let text = fs::read_to_string(&history).unwrap();
    let (first, refused) = text.trim_end().split_once('\n').unwrap();
    // What a thousand nights would leave, as far as the bound allows, without waiting for them.
    let nights = (100 * 1024) / (refused.len() + 1);
    fs::write(&history, format!("{first}\n{}", format!("{refused}\n").repeat(nights))).unwrap();
    for night in 0..60 {
        let ended = gc(&tree, &[STOPPED]);
        assert_eq!(ended.code, 4, "night {night}: {}", ended.stderr);
    }
    let left = lines(&tree);
    assert!(left.len() < nights, "the bound was reached: {} lines of {nights}", left.len());
    assert_eq!(left[0]["repositories"], 6, "and this is what the brake goes by");
}

/// Nobody was refused for it before, and nobody is now: the first run ever is cut off while it writes its line, and the
/// second is refused for another reason.
#[test]
fn half_a_line_is_no_reason_to_refuse() {
    let tree = everything();
    gc(&tree, &[STOPPED]).exits(0);
    let history = tree.regsweep().join("history.jsonl");
    let whole = fs::read(&history).unwrap();
    fs::write(&history, &whole[..whole.len() / 2]).unwrap();
    gc(&tree, &[STOPPED, "-m", "--max-delete", "0"]).exits(4);
    gc(&tree, &[STOPPED]).exits(0);
    let text = run(&tree, &["runs"]);
    text.exits(0);
    assert_eq!(text.stderr, "");
}
