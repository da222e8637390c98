//! Bad input, as section 5 of the design lists it: what is no registry, what is damaged in odd ways, and names that
//! nobody should print. Nothing of it may end in a panic, a hang, a lost image or a line of somebody else's escape
//! sequences on the operator's terminal.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod arguments;
mod files;
mod names;
mod output;
mod plurals;
mod policies;

#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::path::Path;

use support::process::{Run, finish, regsweep};
use support::tree::Tree;

/// A tree with an image and something to collect.
fn small() -> Tree {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    tree.orphan("orphan");
    tree
}

/// Exit 2, nothing on standard output, and one line on standard error that says all of this.
fn wrong_usage(run: &Run, says: &[&str]) {
    run.exits(2);
    assert_eq!(run.text(), "", "nothing goes to standard output");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line, not {lines:#?}");
    for word in says {
        assert!(lines[0].contains(word), "the line does not say {word:?}: {}", lines[0]);
    }
}

fn gc_on(registry: &Path) -> Run {
    finish(regsweep(&[OsStr::new("gc"), OsStr::new("--dry-run"), registry.as_os_str()]))
}
