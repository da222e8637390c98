//! Every way in which a run can end, and the metrics that it leaves.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::prom::Series;
use crate::support::process::{finish, regsweep};
use crate::support::tree::{Tree, everything, write};
use crate::{STOPPED, run};

/// A run that has ended.
pub(crate) struct End {
    pub(crate) name: &'static str,
    pub(crate) series: Series,
    /// What the run printed, where it came to a report.
    pub(crate) report: Option<Value>,
}

/// Runs a command with `--metrics`, and reads what it wrote.
#[track_caller]
pub(crate) fn end(tree: &Tree, name: &'static str, words: &[&str], code: i32) -> End {
    end_of(tree, name, words, &tree.root(), &[], code)
}

#[track_caller]
fn end_of(tree: &Tree, name: &'static str, words: &[&str], registry: &Path, names: &[&str], code: i32) -> End {
    let path = tree.beside().join("metrics.prom");
    let flags = ["--format", "json", "--metrics", path.to_str().unwrap(), registry.to_str().unwrap()];
    let run = finish(regsweep(&[words, &flags, names].concat()));
    run.exits(code);
    let series = Series::read(&path);
    assert_eq!(series.one("regsweep_exit_code"), f64::from(code), "{name}");
    let report = serde_json::from_slice(&run.stdout).ok();
    End { name, series, report }
}

/// Every kind of end.
pub(crate) fn all() -> Vec<End> {
    let tree = everything();
    let mut ends = vec![
        end(&tree, "dry run", &["gc", "-d", "-m"], 0),
        end(&tree, "not proven", &["gc"], 4),
        end(&tree, "brake", &["gc", STOPPED, "--max-delete", "1"], 4),
        end(&tree, "done", &["gc", STOPPED, "--quarantine"], 0),
        end(&tree, "sizes known", &["gc", STOPPED, "-m", "--html", "/dev/null"], 0),
        end(&tree, "checked", &["check"], 0),
        end(&tree, "data read", &["check", "--read-data", "--position", &position(&tree)], 0),
        end_of(&tree, "named", &["rm", STOPPED], &tree.root(), &["team/app:v1"], 0),
        end_of(&tree, "named, not there", &["rm", STOPPED], &tree.root(), &["team/app:nothing"], 1),
        end_of(&tree, "not mounted", &["gc", STOPPED], &tree.root().join("not/there"), &[], 2),
        end(&tree, "wrong flags", &["check", "--time-limit", "1h"], 2),
        end(&tree, "a report that cannot be written", &["gc", STOPPED, "--report", "/nowhere/report.json"], 1),
    ];
    let lock = fs::File::options().append(true).open(tree.regsweep().join("lock")).unwrap();
    lock.lock().unwrap();
    ends.push(end(&tree, "locked", &["gc", STOPPED], 4));
    drop(lock);
    let app = tree.repository("team/app");
    let lost = app.image_with_layers("lost", &["lost"]);
    tree.remove(&tree.blob(&lost.blobs[1].digest));
    tree.replace(&app.current("lost"), b"");
    tree.replace(&app.revision(&lost.digest).join("link"), b"");
    ends.push(end(&tree, "damage", &["gc", STOPPED, "-m"], 3));
    ends.push(end(&tree, "lost", &["check"], 3));
    ends.push(end(&tree, "mended", &["check", "--repair", STOPPED], 3));
    // A folder in place of the runs: the journal cannot be written.
    let tree = everything();
    write(&tree.regsweep().join("runs"), b"no folder");
    ends.push(end(&tree, "failed", &["gc", STOPPED], 1));
    ends
}

fn position(tree: &Tree) -> String {
    tree.beside().join("position.json").to_str().unwrap().to_owned()
}

/// A tree on which a run has succeeded, and what its metrics said.
pub(crate) fn succeeded() -> (Tree, Series) {
    let tree = everything();
    let done = end(&tree, "done", &["gc", STOPPED], 0);
    assert!(run(&tree, &["runs"]).text().contains("done"));
    (tree, done.series)
}
