//! Somebody hostile on the volume: who can write to the registry's files, swap folders while a run is at work, and has
//! read the source. What they can do to their own registry they can do with `rm`. What they must not get is a run that
//! does it elsewhere: nothing outside the `v2` folder is ever touched, memory and time stay bounded, every run ends
//! with an exit code and a line that says why, and no name that they invent reaches a terminal raw.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod configs;
mod digests;
mod journal;
mod large;
mod names;
mod own;
mod swap;

#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::process::{Run, finish, finish_watched, regsweep};
use support::scenario::gc;
use support::tree::Tree;

/// Numbers that look like chance and are the same in every run (xorshift64*).
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % end
    }
}

/// Characters that a terminal obeys, or that make one text look like another: none of them may be printed.
fn is_raw(character: char) -> bool {
    // The bidirectional controls of Unicode (Bidi_Control), the line and paragraph separators, and a byte order mark.
    let turns_text = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    character != '\n' && character.is_control() || turns_text
}

/// Whatever was printed can be shown on any terminal, and no line of it was written by somebody else.
#[track_caller]
pub(crate) fn assert_plain(run: &Run, what: &str) {
    for said in [run.text(), run.stderr.clone()] {
        let raw: Vec<char> = said.chars().filter(|&character| is_raw(character)).collect();
        assert!(raw.is_empty(), "{what}: printed raw: {raw:?}\n{said:?}");
        // Deeper in, text is broken into lines, and no line of a report begins there.
        let is_forged = |line: &&str| line.trim_start_matches(' ').starts_with("FORGED") && !line.starts_with("    ");
        let forged = said.lines().find(is_forged);
        assert_eq!(forged, None, "{what}: a name has made a line of its own\n{said}");
    }
}

/// A run that did not do what it was asked for says why in one line.
#[track_caller]
pub(crate) fn assert_one_line(run: &Run, what: &str) {
    assert!(run.stderr.starts_with("regsweep: "), "{what}: exit {}, and it says {:?}", run.code, run.stderr);
    let mut lines: Vec<&str> = run.stderr.lines().collect();
    // The last says how it ended, of a run that came to a report.
    if lines.len() > 1 && lines.last().is_some_and(|last| last.ends_with(&format!(" (exit code {})", run.code))) {
        lines.pop();
    }
    assert!(lines.len() == 1 || run.code == 1, "{what}: one line, not {lines:#?}");
}

/// `trash` with these arguments behind REGISTRY.
pub(crate) fn trash<S: AsRef<OsStr>>(tree: &Tree, command: &str, arguments: &[S]) -> Run {
    let root = tree.root();
    let mut all: Vec<&OsStr> = vec![OsStr::new("trash"), OsStr::new(command), root.as_os_str()];
    all.extend(arguments.iter().map(AsRef::as_ref));
    finish(regsweep(&all))
}

/// `gc -m --quarantine`; returns the run's folder.
pub(crate) fn quarantined(tree: &Tree) -> PathBuf {
    let run = gc(tree, &["-m", "--registry-stopped", "--quarantine"]);
    run.exits(0);
    tree.regsweep().join("runs").join(run.report().run())
}

/// The name of a run by its folder.
pub(crate) fn name_of(run: &Path) -> &str {
    run.file_name().unwrap().to_str().unwrap()
}

/// Takes the mark out of a journal: what a crash before it leaves.
pub(crate) fn cut_off(run: &Path) {
    edit_journal(run, |line| (!line.contains("\"event\":\"swept\"")).then(|| line.to_owned()));
}

/// Changes a journal line by line.
pub(crate) fn edit_journal(run: &Path, edit: impl Fn(&str) -> Option<String>) {
    let journal = run.join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.lines().filter_map(|line| edit(line).map(|line| line + "\n")).collect::<String>())
        .unwrap();
}

/// A small tree in which everything that can go goes, and `v1` of each repository stays.
pub(crate) fn small() -> Tree {
    let tree = Tree::new();
    for name in ["team/app", "team/web"] {
        let repository = tree.repository(name);
        repository.image_with_layers("v1", &["base", name]);
        repository.untagged(&format!("old of {name}"));
        repository.stray_layer(&format!("stray of {name}"));
        repository.upload("stale", std::time::Duration::from_secs(9_000_000));
    }
    tree.orphan("orphan");
    tree
}

/// Private memory that a run may take, in bytes: beyond it an allocation fails, and the run with it. A plain run of a
/// small tree takes half of it, most of that stacks of threads which never use theirs.
const MEMORY: u64 = 300 << 20;
/// The most that it may really use, in bytes. A plain run uses a tenth.
const RESIDENT: u64 = 150 << 20;

/// A run under a limit of memory, and the most that it was seen to use.
pub(crate) fn measured(arguments: &[&OsStr]) -> (Run, u64) {
    let inner = regsweep(arguments);
    let mut command = Command::new("prlimit");
    command.arg(format!("--data={MEMORY}")).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    let mut peak = 0;
    let run = finish_watched(command, |pid| peak = peak.max(resident(pid)));
    assert!(peak < RESIDENT, "it took {} MB: {arguments:?}", peak >> 20);
    (run, peak)
}

/// The most memory that a process has had so far, in bytes; 0 where it has ended.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or_default() * 1024
}
