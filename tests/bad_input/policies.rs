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
        (b"rules:\n  - tags: '*'\n    protect: true\n", &["line 2, column 11", "as a glob, write '.*'"]),
        (b"rules:\n  - except-tags: ['']\n    protect: true\n", &["line 2, column 19", "matches no tag"]),
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
    wrong_usage(&gc(&tree.root(), &["--except-tag", "latest"]), &["--except-tag", "--keep-last"]);
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
}

#[test]
fn flags_with_a_mistake_are_wrong_usage() {
    let tree = small();
    for (flags, says) in [
        (
            &["--keep-last", "-1"][..],
            "'-1' for '--keep-last <N>': write how many tags are to stay, a number such as 10",
        ),
        (
            &["--keep-last", "three"],
            "'three' for '--keep-last <N>': write how many tags are to stay, a number such as 10",
        ),
        (&["--keep-last", "3.5"], "a number such as 10"),
        (&["--keep-last", "+3"], "a number such as 10"),
        (&["--keep-last", ""], "a number such as 10"),
        (&["--keep-last", "--delete-untagged"], "a number such as 10"),
        (&["--keep-last", "99999999999999999999"], "so many tags cannot be counted; write a number such as 10"),
        (&["--keep-within", "30"], "'30' is no duration, for want of a unit: write 30h, 30d, 30w, 30mo or 30y"),
        (&["--keep-within", "6m"], "'6m' may mean months or minutes: write mo or min, as in 6mo or 6min"),
        (&["--keep-within", "-1d"], "'-1d' is no duration, as it is negative: write 1d"),
        (&["--keep-within", "--delete-untagged"], "is no duration: write 30d, 12h, 6mo, 1y or 1w2d"),
        (&["--keep-within", ""], "is no duration: write 30d, 12h, 6mo, 1y or 1w2d"),
        (&["--keep-within", "99999999999999999999d"], "is too long a duration: the longest is 19998y"),
        (&["--keep-tag", "("], "'(' is no regular expression: unclosed group"),
        (&["--keep-tag", "*"], "; if it is meant as a glob, write '.*'"),
        (&["--keep-tag", "{a,b}-*"], "; if it is meant as a glob, write '(a|b)-.*'"),
        (&["--keep-tag", ""], "an empty pattern matches no tag"),
        (&["--keep-last", "1", "--except-tag", ""], "an empty pattern matches no tag"),
        (&["--keep-tag-history", "some"], "'some' is neither a number of digests (3) nor a duration (30d)"),
        (&["--keep-tag-history", "-3"], "'-3' is neither a number of digests (3) nor a duration (30d)"),
        (&["--keep-tag-history", ""], "'' is neither a number of digests (3) nor a duration (30d)"),
        (&["--keep-tag-history", "3.5"], "'3.5' is neither a number of digests (3) nor a duration (30d)"),
        (&["--keep-tag-history", "99999999999999999999"], "is too large a number: write 10"),
        (&["--keep-tag-history", "99999999999999999999d"], "is too long a duration: the longest is 19998y"),
        (&["--keep-last", "1", "--repository", "["], "is no glob"),
        (&["--keep-last", "1", "--repository", ""], "an empty pattern matches no repository"),
        (&["--keep-last", "1", "--policy", "policy.yml"], "cannot be used with"),
        (&["--keep-tag", "x", "--policy", "policy.yml"], "cannot be used with"),
        (&["--except-tag", "x", "--policy", "policy.yml"], "cannot be used with"),
        (&["--repository", "x", "--policy", "policy.yml"], "cannot be used with"),
        (&["--policy", ""], "a value is required for '--policy <FILE>'"),
    ] {
        let run = gc(&tree.root(), &[&["--dry-run"], flags].concat());
        run.exits(2);
        assert_eq!(run.text(), "", "{flags:?}");
        let first = run.stderr.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: ") && first.contains(says), "{flags:?}: {}", run.stderr);
        assert!(run.stderr.lines().count() < 12, "{flags:?}: {}", run.stderr);
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
