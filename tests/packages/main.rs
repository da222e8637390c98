//! What a package holds beside the program: the help ([`help`]), the manual ([`manual`]), completions
//! ([`completions`]); and what makes the packages, held against the tree ([`files`]).

#![allow(clippy::disallowed_methods, reason = "tests write files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod completions;
mod files;
mod help;
mod manual;

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a program of this machine makes of it; it has to be there (`scripts/test` installs it).
fn output_of(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{program}: {error}; see scripts/test"))
}

/// What regsweep prints, in an environment that holds nothing else.
fn regsweep(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    let output = output_of(command.env_clear().env("SOURCE_DATE_EPOCH", "1790000000").args(arguments));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every command that there is, as the words that call it, from the lists in the help: `["trash", "restore"]`. The
/// first is regsweep itself.
fn commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut at = 0;
    while let Some(words) = all.get(at).cloned() {
        let help = help_of(&words, "-h");
        let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        for line in lines.filter_map(|line| line.strip_prefix("  ")) {
            let name = line.split(' ').next().unwrap();
            if !name.is_empty() && name != "help" {
                all.push(words.iter().cloned().chain([name.to_owned()]).collect());
            }
        }
        at += 1;
    }
    assert!(all.len() > 10, "commands are missing: {all:?}");
    all
}

fn help_of(words: &[String], flag: &str) -> String {
    let arguments: Vec<&str> = words.iter().map(String::as_str).chain([flag]).collect();
    regsweep(&arguments)
}

/// The flags that a help lists, `-q` and `--quiet`, from the lines that begin with one: further in than the text of a
/// command, less far than that of an option, either of which may break a line before a flag.
fn flags(help: &str) -> Vec<String> {
    let heads = help.lines().map(|line| (line.len() - line.trim_start().len(), line.trim_start()));
    let lines = heads.filter(|(inset, line)| [2, 6].contains(inset) && line.starts_with('-')).map(|(_, line)| line);
    let words = lines.flat_map(|line| {
        let mut words = line.split([' ', ',']).filter(|word| !word.is_empty());
        let first = words.next().filter(|word| word.len() > 1);
        let second = words.next().filter(|word| word.starts_with("--"));
        first.into_iter().chain(second).map(str::to_owned).collect::<Vec<_>>()
    });
    let flags: Vec<String> =
        words.filter(|word| word[1..].starts_with(|c: char| c == '-' || c.is_alphabetic())).collect();
    assert!(flags.iter().any(|flag| flag == "--help"), "{help}");
    flags
}
