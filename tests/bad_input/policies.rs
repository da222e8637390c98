//! Policies and lists that are none: each is refused in one line that says where and what, before anything is looked
//! at.

use std::fs;
use std::path::Path;

use crate::support::process::{Run, finish, regsweep};
use crate::{small, wrong_usage};

fn gc(registry: &Path, flags: &[&str]) -> Run {
    finish(regsweep(&[&["gc"], flags, &[registry.to_str().unwrap()]].concat()))
}

#[test]
fn a_policy_with_a_mistake_is_refused_in_one_line() {
    let tree = small();
    let before = tree.fingerprint();
    let path = tree.beside().join("policy.yml");
    let name = path.to_str().unwrap();
    for (bytes, says) in [
        (&b"rules:\n  - keep: {lst: 1}\n"[..], &["line 2, column 12", "unknown key `lst`", "did you mean `last`?"][..]),
        (b"rules:\n  - keep: {last: x}\n", &["line 2, column 18", "`last` is a number such as 10"]),
        (b"rules:\n  - tags: ['(']\n    protect: true\n", &["line 2, column 12", "no regular expression"]),
        (b"rules: [{protect: true}]\n---\nrules: []\n", &["line 2, column 1", "a second document"]),
        (b"{", &["line ", "column "]),
        (b"", &["line 1, column 1", "nothing is in it"]),
        (b"\x1b[2Jx: 1\n", &["line "]),
        (b"rules:\n  - tags: \xff\n", &["line 2 is not UTF-8"]),
        (&[b' '; 2 << 20], &["larger than 1048576 bytes"]),
    ] {
        fs::write(&path, bytes).unwrap();
        let run = gc(&tree.root(), &["--registry-stopped", "--policy", name]);
        wrong_usage(&run, &[&["--policy", name], says].concat());
        assert!(!run.stderr.contains('\u{1b}'));
    }
    wrong_usage(&gc(&tree.root(), &["--policy", "/nowhere/policy.yml"]), &["/nowhere/policy.yml", "No such file"]);
    wrong_usage(&gc(&tree.root(), &["--policy", tree.root().to_str().unwrap()]), &["directory"]);
    wrong_usage(&gc(&tree.root(), &["--protect", "/nowhere/in-use"]), &["--protect /nowhere/in-use", "No such file"]);
    wrong_usage(&gc(&tree.root(), &["--repository", "team/*"]), &["--repository", "--keep-last"]);
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
}

#[test]
fn flags_with_a_mistake_are_wrong_usage() {
    let tree = small();
    for flags in [
        &["--keep-last", "-1"][..],
        &["--keep-last", "many"],
        &["--keep-last", ""],
        &["--keep-within", "30"],
        &["--keep-within", "6m"],
        &["--keep-within", "-1d"],
        &["--keep-tag", "("],
        &["--keep-tag-history", "some"],
        &["--keep-last", "1", "--repository", "["],
        &["--keep-last", "1", "--policy", "policy.yml"],
        &["--keep-tag", "x", "--policy", "policy.yml"],
        &["--repository", "x", "--policy", "policy.yml"],
    ] {
        let run = gc(&tree.root(), &[&["--dry-run"], flags].concat());
        run.exits(2);
        assert_eq!(run.text(), "", "{flags:?}");
        assert!(run.stderr.contains("error: ") && run.stderr.lines().count() < 12, "{flags:?}: {}", run.stderr);
    }
}

#[test]
fn rm_wants_names() {
    let tree = small();
    let before = tree.fingerprint();
    let root = tree.root();
    let root = root.to_str().unwrap();
    for arguments in [
        &["rm"][..],
        &["rm", root],
        &["rm", "--quarantine", root, "team/app:v1"],
        &["rm", root, "team/app:v1", ""],
        &["rm", root, "../../etc"],
        &["rm", root, "team/app@v1"],
        &["rm", root, "registry.example.com:5000/team/app:v1"],
    ] {
        let run = finish(regsweep(arguments));
        run.exits(2);
        assert_eq!(run.text(), "", "{arguments:?}");
    }
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
}
