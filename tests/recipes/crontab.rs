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
        scene.restart("{\"enabled\":true}");
        scene.is_read_only();
        finish(scene.script(Shell::Dash, &scene.settings(&[]), &words[1..])).exits(0);
        scene.is_writable();
        commands += 1;
    }
    assert_eq!(commands, 3);
    scene.is_collected();
}
