//! The script as a text.

use std::process::Command;

use crate::recipe;
use crate::support::process::{finish, not_there};

#[test]
fn shellcheck_has_nothing_to_say() {
    let mut command = Command::new("shellcheck");
    command
        .arg("--shell=sh")
        .arg("--enable=quote-safe-variables,check-unassigned-uppercase")
        .arg(recipe("regsweep-window"));
    if let Err(error) = Command::new("shellcheck").arg("--version").output() {
        not_there(&command, &error);
    }
    let run = finish(command);
    assert_eq!((run.code, run.said()), (0, String::new()));
}
