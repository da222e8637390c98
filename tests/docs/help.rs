//! The examples of the help, run on the machine that the documentation speaks of.

use crate::examples::Machine;
use crate::fail_if_any;
use crate::names::help;

/// The examples of a command, a line each; what goes on in a further line is part of the one before.
fn examples(command: &str) -> Vec<String> {
    let help = help(&command.split_whitespace().collect::<Vec<&str>>());
    let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{command} has no examples"));
    let mut lines: Vec<String> = Vec::new();
    for line in examples.lines().filter_map(|line| line.strip_prefix("    ")) {
        match lines.last_mut().filter(|before| before.ends_with('\\')) {
            Some(before) => before.push_str(&format!("\n{line}")),
            None => lines.push(line.to_owned()),
        }
    }
    assert!(!lines.is_empty(), "{command} has no examples");
    lines
}

/// Each example ends well, one after the other, on a machine whose user is at home there. Those of a line follow each
/// other on one machine; where they take up what a run has put aside, there has been such a run.
#[test]
fn every_example_of_the_help_can_be_run() {
    let mut failures = Vec::new();
    let mut ran = 0;
    for commands in [
        &["ls", "du", "why", "check", "probe", "runs", "completions", "man", "gc", ""][..],
        &["rm"],
        &["trash list", "trash purge"],
        &["trash restore"],
    ] {
        let mut machine = Machine::new();
        if commands[0].starts_with("trash") {
            machine.run("regsweep gc --quarantine --registry-stopped /var/lib/registry");
        }
        for command in commands {
            for example in examples(command) {
                let printed = machine.run(&format!("export HOME=$PWD; {example}\necho \"ended: $?\""));
                ran += 1;
                if !printed.ends_with("ended: 0\n") {
                    failures.push(format!("{example}\n{printed}"));
                }
            }
        }
    }
    assert!(ran > 20, "{ran} examples were found");
    fail_if_any(&failures);
}
