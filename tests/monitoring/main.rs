//! What a run tells those who do not sit beside it: metrics ([`metrics`]), alerts and the dashboard that read them
//! ([`alerts`]), the history ([`runs`], [`history`]), and standard error ([`log`]).

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod alerts;
mod ends;
mod history;
mod log;
mod metrics;
mod prom;
mod runs;
#[path = "../support/mod.rs"]
mod support;

use support::process::{Run, finish, regsweep};
use support::tree::Tree;

const STOPPED: &str = "--registry-stopped";

/// A command on this tree, REGISTRY last.
fn run(tree: &Tree, words: &[&str]) -> Run {
    let root = tree.root();
    finish(regsweep(&[words, &[root.to_str().unwrap()]].concat()))
}

fn fail_if_any(failures: &[String]) {
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}
