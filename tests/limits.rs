//! Time limits, signals, and how much of the machine is taken, as somebody meets them who runs the program. What a run
//! does when it is asked to end at any of its calls is in `tests/crash/halts.rs`.
//!
//! To have a run go on long enough for a signal, it is slowed down by its own option: `--max-ops-per-second`.

#![allow(clippy::disallowed_methods, reason = "tests build trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/mod.rs"]
mod support;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::ToSpan as _;
use rustix::process::Signal;
use serde_json::Value;
use support::process::{finish, finish_watched, holds_something, regsweep, signalled};
use support::tree::Tree;

const TOO_OLD: Duration = Duration::from_secs(9_000_000);

/// ```text
/// team/app    v1 => M      old 0..9: untagged, three layers each      orphan 0..9      stale upload
/// ```
fn tree() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    for number in 0..10 {
        app.untagged(&format!("old {number}"));
        tree.orphan(&format!("orphan {number}"));
    }
    app.upload("stale", TOO_OLD);
    tree
}

fn gc(tree: &Tree, flags: &[&str]) -> Command {
    let root = tree.root();
    regsweep(&[&["gc", "--delete-untagged", "--registry-stopped", root.to_str().unwrap()], flags].concat())
}

/// Everything went that goes, and nothing else.
fn is_collected(tree: &Tree, before: &Tree) {
    assert_eq!(finish(gc(before, &["-q"])).code, 0);
    assert_eq!(tree.objects(), before.objects());
}

fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn without_time_nothing_is_done() {
    let tree = tree();
    let before = tree.objects();
    let file = tree.beside().join("report.json");
    // The time of day that was half a day ago has passed; one that is half an hour away has not.
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let clock = |away: i64| now.checked_add(away.minutes()).unwrap().strftime("%H:%M").to_string();
    let passed = clock(-60);
    for limit in [["--time-limit", "0s"], ["--until", &passed]] {
        let done = finish(gc(&tree, &[&limit[..], &["--report", file.to_str().unwrap()]].concat()));
        assert_eq!((done.code, &*done.stdout), (5, &b""[..]), "{limit:?}: {done:?}");
        let said = "regsweep: stopped because its time was up before everything was seen; nothing was touched\n";
        let last = done.stderr.strip_prefix(said).unwrap_or_else(|| panic!("{limit:?}: {}", done.stderr));
        assert!(
            last.starts_with("regsweep: gc stopped early after ") && last.lines().count() == 1,
            "{limit:?}: {last}"
        );
        let report = report(&file);
        assert_eq!((&report["outcome"], &report["run"]), (&"incomplete".into(), &Value::Null));
        assert_eq!(tree.objects(), before, "{limit:?}");
        let dry = finish(gc(&tree, &[&limit[..], &["--dry-run"]].concat()));
        assert!(dry.code == 5 && dry.stderr.starts_with(said), "{limit:?}: {dry:?}");
    }
    let soon = clock(30);
    assert_eq!(finish(gc(&tree, &["--until", &soon, "--time-limit", "1h", "-q"])).code, 0);
    is_collected(&tree, &self::tree());
}

#[test]
fn the_first_signal_has_it_finish_what_is_in_hand() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let tree = tree();
        let file = tree.beside().join("report.json");
        let runs = tree.regsweep().join("runs");
        let before = tree.objects();
        let flags = ["--max-ops-per-second", "150", "--jobs", "1", "--report", file.to_str().unwrap()];
        let done = signalled(gc(&tree, &flags), &[(signal, &|| holds_something(&runs))]);
        assert_eq!(done.code, 5, "{done:?}");
        let name = [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::HUP, "SIGHUP")];
        let name = name.iter().find(|(number, _)| *number == signal).unwrap().1;
        let said = format!("regsweep: {name}: finishing what is in hand; a second signal leaves at once\n");
        assert!(done.stderr.contains(&said), "{}", done.stderr);
        assert!(done.stderr.contains(&format!("regsweep: stopped by {name}")), "{}", done.stderr);
        let report = report(&file);
        assert_eq!(report["outcome"], "incomplete");
        assert_eq!(report["left_in_trash"], true, "there was no time to delete it");
        let left = tree.objects();
        assert!(left.len() < before.len(), "what was in hand is gone");
        let human = String::from_utf8(done.stdout).unwrap();
        assert!(human.contains("stopped before the end; what was done is consistent"), "{human}");
        assert!(human.contains("Moved away"), "not freed yet: {human}");
        assert!(!done.stderr.contains("freed"), "not freed yet: {}", done.stderr);
        // What went stays gone.
        let again = finish(gc(&tree, &["--format", "json"]));
        assert_eq!(again.code, 0, "{again:?}");
        let again: Value = serde_json::from_slice(&again.stdout).unwrap();
        // And what it had left is deleted, and said to be.
        let earlier = &again["earlier_trash"][0];
        assert_eq!((&earlier["run"], &earlier["is_left"]), (&report["run"], &false.into()));
        let removed = &report["removed"];
        let bytes = removed["blobs"]["bytes"].as_u64().unwrap() + removed["uploads"]["bytes"].as_u64().unwrap();
        assert_eq!(earlier["bytes"].as_u64(), Some(bytes));
        is_collected(&tree, &self::tree());
    }
}

/// Whoever stops a run because it takes the wrong things gets them back: nothing of it is deleted yet.
#[test]
fn what_a_stopped_run_has_moved_can_be_restored() {
    let tree = tree();
    let runs = tree.regsweep().join("runs");
    let before = tree.objects();
    let slow = ["--max-ops-per-second", "150", "--jobs", "1"];
    let done = signalled(gc(&tree, &slow), &[(Signal::TERM, &|| holds_something(&runs))]);
    assert_eq!(done.code, 5, "{done:?}");
    let root = tree.root();
    let root = root.to_str().unwrap();
    let human = String::from_utf8(done.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let command = format!("regsweep trash restore --registry-stopped {root} ");
    assert!(human.contains(&command) && human.contains("the next run deletes it"), "{human}");
    let dry = finish(regsweep(&["gc", "--dry-run", root]));
    assert!(dry.text().contains("has left all that it moved away in its trash"), "{}", dry.text());
    let listed = finish(regsweep(&["trash", "list", root]));
    assert!(listed.text().contains("unpurged"), "{}", listed.text());
    assert_ne!(tree.objects(), before);
    assert_eq!(finish(regsweep(&["trash", "restore", "--registry-stopped", root, "latest"])).code, 0);
    assert_eq!(tree.objects(), before);
}

#[test]
fn the_second_signal_leaves_at_once() {
    let tree = tree();
    let lock = tree.regsweep().join("lock");
    let error = tree.beside().join("stderr");
    let before = tree.objects();
    // At this pace it would take minutes to finish even what is in hand.
    let root = tree.root();
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().arg("-c").arg("exec \"$@\" 2> \"$0\"").arg(&error);
    shell.arg(env!("CARGO_BIN_EXE_regsweep")).args(["gc", "--registry-stopped", "--max-ops-per-second", "2"]).arg(root);
    let was_told = || fs::read_to_string(&error).is_ok_and(|said| said.contains("finishing what is in hand"));
    let done = signalled(shell, &[(Signal::INT, &|| lock.exists()), (Signal::TERM, &was_told)]);
    assert_eq!(done.code, 5);
    let said = fs::read_to_string(&error).unwrap();
    assert!(!said.contains("nothing was touched"), "it did not wait for its own end: {said}");
    assert_eq!(tree.objects(), before);
    assert_eq!(finish(gc(&tree, &["-q"])).code, 0);
    is_collected(&tree, &self::tree());
}

/// As `nohup` does, and as the shell does for what a script runs in the background.
#[test]
fn a_signal_that_is_ignored_stays_so() {
    let tree = tree();
    let lock = tree.regsweep().join("lock");
    let root = tree.root();
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().arg("-c").arg("trap '' INT HUP; exec \"$@\"").arg("sh").arg(env!("CARGO_BIN_EXE_regsweep"));
    shell.args(["gc", "-mq", "--registry-stopped", "--max-ops-per-second", "500"]).arg(root);
    let done = signalled(shell, &[(Signal::INT, &|| lock.exists()), (Signal::HUP, &|| true)]);
    assert_eq!((done.code, &*done.stderr), (0, ""));
    is_collected(&tree, &self::tree());
}

#[test]
fn deleting_a_trash_ends_as_well() {
    let tree = tree();
    assert_eq!(finish(gc(&tree, &["-q", "--quarantine"])).code, 0);
    let root = tree.root();
    let purge = |flags: &[&str]| finish(regsweep(&[&["trash", "purge", root.to_str().unwrap()], flags].concat()));
    let done = purge(&["--time-limit", "0s"]);
    assert_eq!(done.code, 5, "{done:?}");
    assert!(done.stderr.contains("what is left is deleted when this is run again"), "{}", done.stderr);
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(told.contains(": 0 things deleted of ") && !told.contains('B'), "nothing is free yet: {told}");
    let runs = tree.regsweep().join("runs");
    assert!(holds_something(&runs));
    assert_eq!(purge(&[]).code, 0);
    assert!(!holds_something(&runs));
}

/// What was read counts, and where it goes on is remembered.
#[test]
fn reading_data_ends_as_well() {
    let tree = tree();
    let position = tree.beside().join("position");
    let root = tree.root();
    let check = |flags: &[&str]| {
        let read =
            ["check", "--read-data-subset", "100%", "--position", position.to_str().unwrap(), "--format", "json"];
        regsweep(&[&read[..], flags, &[root.to_str().unwrap()]].concat())
    };
    let blobs = tree.objects().iter().filter(|object| object.starts_with("blobs/")).count();
    let file = tree.beside().join("report.json");
    let slow = ["--max-ops-per-second", "300", "--jobs", "1", "--report", file.to_str().unwrap()];
    // Five requests a blob, and looking at everything is most of the rest: somewhere in it it is asked.
    let reads = Cell::new(0_u32);
    let is_time = || {
        reads.set(reads.get() + 1);
        reads.get() > 150
    };
    let done = signalled(check(&slow), &[(Signal::TERM, &is_time)]);
    assert_eq!(done.code, 5, "{done:?}");
    assert!(done.stderr.contains("regsweep: stopped by SIGTERM"), "{}", done.stderr);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["outcome"], "incomplete");
    if let Some(read) = report["check"]["data"]["blobs"].as_u64() {
        assert!((read as usize) < blobs && position.exists(), "{read} of {blobs}");
    }
    let whole = finish(check(&[]));
    assert_eq!(whole.code, 0, "{whole:?}");
}

#[test]
fn low_priority_is_that_of_every_thread() {
    let tree = tree();
    let lock = tree.regsweep().join("lock");
    let mut seen = None;
    let done = finish_watched(gc(&tree, &["-q", "--low-priority", "--max-ops-per-second", "300"]), |process| {
        if seen.is_none() && lock.exists() {
            let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
            seen = Some(tasks.map(|task| priority(&task.unwrap().path())).collect::<Vec<_>>());
        }
    });
    assert_eq!((done.code, &*done.stderr), (0, ""));
    let seen = seen.expect("it was looked at while it ran");
    assert!(
        seen.len() > 4 && seen.iter().flatten().all(|(nice, disk)| (&**nice, &**disk) == ("19", "idle")),
        "{seen:?}"
    );
    is_collected(&tree, &self::tree());
}

/// The processor's and the disk's; nothing if the thread has ended meanwhile.
fn priority(task: &Path) -> Option<(String, String)> {
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // Behind the name, which may hold anything, it is the 17th field.
    let nice = stat.rsplit_once(") ")?.1.split(' ').nth(16)?.to_owned();
    let disk =
        Command::new("ionice").arg("-p").arg(task.file_name()?).output().ok().filter(|done| done.status.success())?;
    Some((nice, String::from_utf8(disk.stdout).unwrap().trim().to_owned()))
}
