//! A run as a whole: the dry run, what it promises of the real one, and one run at a time (T22, T25, T26).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::everything;
use crate::support::process::{Run, bound_by_permissions, finish, regsweep, regsweep_bound_by_permissions};
use crate::support::scenario::{collect, gc, gc_arguments, refuses};
use crate::support::tree::Tree;

#[test]
fn t25_a_dry_run_changes_nothing_whatever_it_is_asked() {
    let tree = everything();
    let before = tree.fingerprint();
    for flags in [
        &["--dry-run"][..],
        &["-d", "-m"],
        &["-d", "-m", "-v"],
        &["-d", "-q"],
        &["-d", "-m", "--quarantine"],
        &["-d", "--jobs", "1"],
        &["-d", "-m", "--registry-stopped"],
        &["-d", "-m", "--remove-empty-repositories", "--uploads-older-than", "0s"],
    ] {
        let run = gc(&tree, flags);
        assert_eq!(run.code, 0, "{flags:?}: {}", run.stderr);
        assert!(!run.report().actions().is_empty());
        let changes = before.changes_to(&tree.fingerprint());
        assert_eq!(changes, Vec::<String>::new(), "{flags:?} changed something");
        let human = finish(regsweep(&[&["gc"], flags, &[tree.root().to_str().unwrap()]].concat()));
        assert_eq!(human.code, 0, "{flags:?}, human: {}", human.stderr);
        assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new(), "{flags:?} for people");
    }
    // Without --dry-run and without proof, likewise.
    let run = gc(&tree, &["-m"]);
    run.exits(4);
    assert_eq!(run.report().outcome(), "refused");
    assert_eq!(run.report().0["read_only"]["proven"], false);
    assert_eq!(before.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new(), "refused: untouched");
}

/// Runs it where the storage root is read-only: on a read-only bind mount in a mount namespace of its own, where that
/// can be had, else on a tree without a writable folder as a user whom that binds. Either way the stage is checked
/// before the play: `probe` fails the test where a file can still be made.
fn on_a_read_only_volume(tree: &Tree, arguments: &[String]) -> Run {
    const SCRIPT: &str = r#"
        mount -o bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 97
        if touch "$1/probe" 2>/dev/null; then exit 98; fi
        shift; exec "$@""#;
    let root = tree.root();
    let mut command = std::process::Command::new("unshare");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]).arg(&root);
    command.arg(env!("CARGO_BIN_EXE_regsweep")).args(arguments);
    let can_mount = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"])
        .arg(&root)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    if can_mount {
        println!("on a read-only bind mount");
        return finish(command);
    }
    println!("no mounts here: on a tree without a writable folder, as a user whom that binds");
    let folders: Vec<_> = walkdir::WalkDir::new(&root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_dir())
        .collect();
    tree.give_to_nobody();
    let change = |mode| folders.iter().for_each(|folder| tree.chmod(folder.path(), mode));
    change(0o555);
    let probe = bound_by_permissions(tree, Path::new("/usr/bin/touch"), &[root.join("probe")]).status().unwrap();
    assert!(!probe.success(), "a file could be made: this would have tested nothing");
    let run = finish(regsweep_bound_by_permissions(tree, arguments));
    change(0o755);
    run
}

#[test]
fn t25_a_dry_run_works_on_a_read_only_mount() {
    let tree = everything();
    let expected = gc(&tree, &["--dry-run", "-m"]).report();
    for flags in [&["--dry-run", "-m"][..], &["--dry-run", "-m", "-v"]] {
        let before = tree.fingerprint();
        let run = on_a_read_only_volume(&tree, &gc_arguments(&tree.root(), flags));
        run.exits(0);
        assert_eq!(run.report().actions(), expected.actions());
        assert_eq!(before.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    }
}

#[test]
fn t25_a_real_run_on_a_read_only_mount_fails_and_says_so() {
    let tree = everything();
    let before = tree.fingerprint();
    let run = on_a_read_only_volume(&tree, &gc_arguments(&tree.root(), &["--registry-stopped", "-m"]));
    assert!([1, 4].contains(&run.code), "exit {}: {}", run.code, run.stderr);
    // A script that reads the report learns it there.
    assert_ne!(run.report().outcome(), "complete");
    let said = format!("{}\n{}", run.stderr, run.text());
    assert!(said.contains("ead-only file system") || said.contains("ermission denied"), "it says why: {said}");
    assert_eq!(before.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new());
}

#[test]
fn t26_the_real_run_does_what_the_dry_run_named() {
    for flags in [&[][..], &["-m"], &["-m", "--remove-empty-repositories", "--uploads-older-than", "1m"]] {
        let tree = everything();
        // The rest is in `collect`: equal actions, nothing unnamed gone, nothing named left, balanced books.
        let run = collect(&tree, flags);
        run.exits(0);
        let kinds: BTreeSet<String> = run.real.actions().into_iter().map(|action| action.kind).collect();
        for kind in ["blob", "revision", "tag", "layer_link", "upload"] {
            assert!(kinds.contains(kind), "the scenario has a {kind} to remove: {kinds:?}");
        }
    }
}

/// The same tree, the same report, whatever the threads did.
#[test]
fn t26_two_dry_runs_say_the_same_whatever_the_threads_did() {
    let tree = everything();
    let said = |jobs: &str| {
        let report = gc(&tree, &["-d", "-m", "--jobs", jobs]).report();
        (report.0["actions"].clone(), report.0["findings"].clone(), report.0["repositories"].clone())
    };
    let first = said("1");
    for jobs in ["2", "8", "1", "8"] {
        assert_eq!(said(jobs), first, "with {jobs} jobs");
    }
    let actions = first.0.as_array().unwrap();
    assert!(!actions.is_empty());
}

#[test]
fn t22_a_second_run_refuses_while_the_first_holds_the_lock() {
    let tree = everything();
    fs::create_dir_all(tree.regsweep()).unwrap();
    let lock = fs::File::create(tree.regsweep().join("lock")).unwrap();
    lock.lock().unwrap();
    let refused = refuses(&tree, &["-m"]);
    assert!(refused.says("lock") || refused.says("nother"), "{}", refused.stderr);
    // A lock file that nobody holds, left by a run that was killed, is no obstacle.
    drop(lock);
    gc(&tree, &["-m", "--registry-stopped"]).exits(0);
}

/// One value, two writers: what people read on standard error, a reader of the report must find there as well.
#[test]
fn a_refused_report_says_why() {
    let locked = everything();
    fs::create_dir_all(locked.regsweep()).unwrap();
    let lock = fs::File::create(locked.regsweep().join("lock")).unwrap();
    lock.lock().unwrap();
    let no_repositories = Tree::new();
    no_repositories.orphan("somebody's layer");
    let unlistable = everything();
    let broken = unlistable.unreadable(&unlistable.repository("old").folder().join("_layers"));
    for (tree, word) in [(&locked, "lock"), (&no_repositories, "repositories"), (&unlistable, "_layers")] {
        let refused = refuses(tree, &[]);
        assert!(refused.report.reasons().contains(word), "nothing says {word:?} in {}", refused.report.0);
    }
    broken.mend();
}
