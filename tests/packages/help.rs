//! The help at a glance: `-h` has a line for each option.

use crate::{commands, flags, help_of};

/// Groups of options, in the order that every command keeps. A new one has its place here.
const GROUPS: [&str; 10] = [
    "Options:",
    "Reading the data:",
    "Mending:",
    "What goes:",
    "Brakes:",
    "Time and load:",
    "Retention:",
    "Pull-through caches:",
    "Evidence that the registry is read-only:",
    "Output:",
];

#[test]
fn the_short_help_has_a_line_for_each_option() {
    for words in commands() {
        let help = help_of(&words, "-h");
        println!("{help}");
        let (usage, _) = help.split_once("\nExit codes:").unwrap_or((&help, ""));
        let listed = usage.lines().skip_while(|line| !line.ends_with(':') || line.starts_with("Usage"));
        for line in listed.clone() {
            // What goes on in a second line is indented further.
            assert!(line.is_empty() || line.ends_with(':') || line.starts_with("  "), "{words:?}: {line}");
            assert!(!line.starts_with("         "), "{words:?}: needs a second line: {line}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{words:?}: wider than 80 columns");
        let options = listed.filter(|line| line.trim_start().starts_with('-')).count();
        let long: Vec<String> = flags(&help).into_iter().filter(|flag| flag.starts_with("--")).collect();
        assert_eq!(options, long.len(), "{words:?}: {long:?}");
        assert!(help.lines().count() < 70, "{words:?}: nobody reads that");
    }
}

#[test]
fn the_long_help_names_the_same_options() {
    for words in commands() {
        assert_eq!(flags(&help_of(&words, "--help")), flags(&help_of(&words, "-h")), "{words:?}");
    }
}

#[test]
fn options_stand_in_groups_in_one_order() {
    let mut seen = 0;
    for words in commands() {
        let help = help_of(&words, "-h");
        let heads = help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' '));
        let heads = heads.filter(|line| !["Commands:", "Arguments:", "Exit codes:"].contains(line));
        let places: Vec<usize> = heads
            .map(|head| GROUPS.iter().position(|known| *known == head).unwrap_or_else(|| panic!("{words:?}: {head}")))
            .collect();
        assert!(places.is_sorted(), "{words:?}: {help}");
        seen = seen.max(places.len());
    }
    assert!(seen >= 5, "groups of options were not found");
}

/// They are run in `tests/docs/help.rs`.
#[test]
fn every_long_help_ends_with_examples() {
    for words in commands() {
        let help = help_of(&words, "--help");
        if words == ["trash"] {
            continue; // Its three commands have them.
        }
        let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{words:?} has no examples"));
        assert!(examples.lines().any(|line| line.starts_with("    regsweep ")), "{words:?}: {examples}");
        assert!(!examples.contains("\nOptions:"), "{words:?}: examples come last");
    }
}
