//! The lines of cron.

use std::fs;

use crate::recipe;
use crate::scene::{Scene, Shell};
use crate::support::process::finish;

/// Each line is run, in the order of the file, on a registry that a window has left read-only when it died.
#[test]
fn the_lines_of_cron_run() {
    let scene = Scene::new();
    let text = fs::read_to_string(recipe("crontab")).unwrap();
    let mut commands = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.contains('=')) {
        let (when, command) = line.split_once(" root ").unwrap_or_else(|| panic!("no user in {line}"));
        let is_time = |word: &str| word.chars().all(|c| c.is_ascii_digit() || "*/,-".contains(c));
        assert!(when == "@reboot" || when.split(' ').filter(|word| is_time(word)).count() == 5, "{line}");
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words[0], "regsweep-window", "{line}");
        scene.command("read-only", &[]).exits(0);
        scene.is_read_only();
        finish(scene.script(Shell::Dash, &scene.settings(&[]), &words[1..])).exits(0);
        scene.is_writable();
        commands += 1;
    }
    assert_eq!(commands, 3);
    scene.is_collected();
}

/// The minutes in which a line of cron runs.
fn minutes(line: &str) -> Vec<u32> {
    let field = line.split(' ').next().unwrap();
    let (range, step) = field.split_once('/').unwrap_or((field, "1"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    (first.parse().unwrap()..=last.parse().unwrap()).step_by(step.parse().unwrap()).collect()
}

/// Both want the lock, and the guard would find a registry read-only that has not begun to collect.
#[test]
fn the_guard_does_not_look_in_the_minute_in_which_the_window_begins() {
    let text = fs::read_to_string(recipe("crontab")).unwrap();
    let line = |end: &str| text.lines().find(|line| line.ends_with(end)).unwrap();
    let begins = minutes(line(" root regsweep-window"));
    let looks = minutes(line(" root regsweep-window guard"));
    assert_eq!((begins.len(), looks.len()), (1, 6));
    assert!(looks.iter().all(|minute| minute.abs_diff(begins[0]) > 1), "{looks:?}");
    // The page shows the same lines.
    let page = fs::read_to_string(recipe("cron.md")).unwrap();
    for line in text.lines().filter(|line| line.contains(" root ")) {
        assert!(page.contains(line), "{line}");
    }
}
