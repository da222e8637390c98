//! A journal that somebody has edited. Nothing is taken from it but how far the run came; so the worst that an edit
//! does is to make a run keep, put back or delete what lies in its own trash, and that is garbage.

use std::fs;
use std::path::Path;

use crate::support::fingerprint::{Fingerprint, fingerprint};
use crate::support::process::{Run, finish, regsweep};
use crate::support::scenario::gc;
use crate::support::tree::{Tree, write};
use crate::{assert_plain, edit_journal, name_of, quarantined, small, trash};

const RESTORED: &str = r#"{"event":"restored","at":"2026-01-01T00:00:00Z","items":3}"#;
const PURGED: &str = r#"{"event":"purged","at":"2026-01-01T00:00:00Z"}"#;
const PURGING: &str = r#"{"event":"purging","at":"2026-01-01T00:00:00Z"}"#;
const SWEPT: &str = concat!(
    r#"{"event":"swept","at":"2026-01-01T00:00:00Z","window_seconds":1,"quarantine":false,"#,
    r#""moved":18446744073709551615,"bytes":18446744073709551615}"#
);

fn replaced(run: &Path, from: &'static str, to: &'static str) {
    edit_journal(run, |line| Some(line.replace(from, to)));
}

fn without(run: &Path, event: &str) {
    let event = format!("\"event\":\"{event}\"");
    edit_journal(run, |line| (!line.contains(&event)).then(|| line.to_owned()));
}

fn with(run: &Path, line: &str) {
    let journal = run.join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, format!("{text}{line}\n")).unwrap();
}

/// The value of a key, wherever it stands, becomes another.
fn every(run: &Path, key: &str, value: &str) {
    let start = format!("\"{key}\":\"");
    edit_journal(run, |line| {
        let Some(at) = line.find(&start) else { return Some(line.to_owned()) };
        let from = at + start.len();
        let to = from + line[from..].find('"').unwrap();
        Some(format!("{}{value}{}", &line[..from], &line[to..]))
    });
}

/// What the run counts as then.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// One whose trash is kept.
    Kept,
    /// One that was cut off: the next `gc` puts it back.
    CutOff,
    /// One whose trash was to be deleted, and nobody has begun to.
    Unpurged,
    /// One whose trash is being deleted.
    HalfPurged,
    /// One of another version of regsweep.
    Foreign,
}
use Then::{CutOff, Foreign, HalfPurged, Kept, Unpurged};

/// What is done to a journal, and what the run counts as then.
type Edit = (&'static str, Then, fn(&Path));

const EDITS: &[Edit] = &[
    ("repositories with ..", Kept, |run| every(run, "repository", "../../../../outside")),
    ("digests with ..", Kept, |run| every(run, "digest", "sha256:../../../../outside")),
    ("names with ..", Kept, |run| every(run, "name", "../../../../../outside")),
    ("kept paths with ..", Kept, |run| {
        with(run, r#"{"event":"kept","path":"../../../../outside","why":"../../../../outside"}"#);
    }),
    ("another repository", Kept, |run| every(run, "repository", "team/other")),
    ("another digest", Kept, |run| {
        every(run, "digest", "sha256:abababababababababababababababababababababababababababababababab");
    }),
    ("another run", Kept, |run| every(run, "run", "../../../outside")),
    ("no plan", Kept, |run| without(run, "plan")),
    ("no mark", CutOff, |run| without(run, "swept")),
    ("a second mark that keeps nothing", Unpurged, |run| with(run, SWEPT)),
    ("a mark of another type", CutOff, |run| {
        without(run, "swept");
        with(run, r#"{"event":"swept","at":1,"window_seconds":"x","quarantine":"yes","moved":-1,"bytes":null}"#);
    }),
    ("quarantine turned round", Unpurged, |run| replaced(run, "\"quarantine\":true", "\"quarantine\":false")),
    ("restored added", CutOff, |run| with(run, RESTORED)),
    ("purging added", HalfPurged, |run| with(run, PURGING)),
    ("purged added", HalfPurged, |run| with(run, PURGED)),
    ("restored and purged added", HalfPurged, |run| {
        with(run, RESTORED);
        with(run, PURGED);
    }),
    ("begun in the future", Kept, |run| every(run, "at", "2999-12-31T23:59:59Z")),
    ("begun before the first year", Kept, |run| every(run, "at", "-009999-01-01T00:00:00Z")),
    ("begun at no time", Kept, |run| every(run, "at", "\\u001b[2J\\nFORGED\u{9b}31m\u{202e}")),
    ("no beginning", Kept, |run| without(run, "begin")),
    ("another command", Kept, |run| every(run, "command", "\\u001b[2J\\nFORGED\u{9b}31m\u{202e}")),
    ("the schema of another version", Foreign, |run| replaced(run, "regsweep.journal/1", "regsweep.journal/2")),
    ("a million lines", Kept, |run| {
        let journal = run.join("journal.jsonl");
        let text = fs::read_to_string(&journal).unwrap();
        fs::write(&journal, "{}\n".repeat(1_000_000) + &text).unwrap();
    }),
    ("not one line", CutOff, |run| fs::write(run.join("journal.jsonl"), [0xff; 100_000]).unwrap()),
];

/// Everything beside the registry's tree.
fn beside(tree: &Tree) -> Fingerprint {
    // The `v2` folder is away for a moment, so that no look at what is beside it goes into it.
    let (v2, away) = (tree.v2(), tree.beside().with_extension("v2"));
    fs::rename(&v2, &away).unwrap();
    let looked = fingerprint(tree.beside());
    fs::rename(&away, &v2).unwrap();
    looked.as_moved_back()
}

#[test]
fn edited_journals_lead_nowhere() {
    let (mut runs, mut refused) = (0, 0);
    for (what, then, edit) in EDITS {
        for command in ["trash restore", "gc", "trash purge"] {
            let case = format!("{what}: {command}");
            println!("{case}");
            let tree = small();
            let everything = tree.objects();
            let run = quarantined(&tree);
            edit(&run);
            write(&tree.beside().join("outside/data"), b"precious");
            write(&tree.root().join("outside/link"), b"precious");
            write(&tree.root().join("docker/registry/outside/link"), b"precious");
            let before = beside(&tree);
            let delivered = tree.deliverable(false);
            let left = tree.objects();

            // To list is the same before each.
            let lists: &[&[&str]] = if command == "gc" { &[&["list"], &["list", "--format", "json"]] } else { &[] };
            for flags in lists {
                let listed = trash(&tree, flags[0], &flags[1..]);
                listed.exits(0);
                assert_plain(&listed, &case);
            }
            let done: Run = match command {
                "gc" => gc(&tree, &["--registry-stopped"]),
                "trash restore" => trash(&tree, "restore", &["--registry-stopped", name_of(&run)]),
                _ => finish(regsweep(&["trash", "purge", tree.root().to_str().unwrap(), name_of(&run)])),
            };
            println!("    exit {} {}", done.code, done.stderr.lines().next().unwrap_or_default());
            assert_plain(&done, &case);
            assert_eq!(before.changes_to(&beside(&tree)), Vec::<String>::new(), "{case}: OUTSIDE WAS TOUCHED");
            let lost: Vec<_> = delivered.difference(&tree.deliverable(false)).cloned().collect();
            assert!(lost.is_empty(), "{case}: LOST {lost:#?}");
            let now = tree.objects();
            assert!(now.is_subset(&everything), "{case}: nothing appears that was not there");
            let code = match (command, *then) {
                ("gc", Foreign) => 4,
                ("gc", _) | ("trash restore", Kept | Unpurged) | ("trash purge", Kept | Unpurged | HalfPurged) => 0,
                // What is not kept is not for these commands to touch.
                _ => 2,
            };
            done.exits(code);
            if command == "trash restore" && matches!(then, Kept | Unpurged) {
                assert_eq!(now, everything, "{case}: what lies in the trash is back, whatever the journal says");
            } else if command != "gc" {
                assert_eq!(now, left, "{case}");
            }
            runs += 1 + lists.len();
            refused += usize::from(done.code != 0);
        }
    }
    println!("hostile: {} edits of a journal: {runs} runs, {refused} of them refused", EDITS.len());
}
