//! What goes wrong: the registry does not do as it is told, the collector dies, somebody else is at work.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::scene::{SHELLS, SLOWLY, Scene, Shell};
use crate::support::fingerprint::{assert_same_tree, fingerprint};
use crate::support::process::{Run, finish, finish_watched, regsweep};

/// Runs it, and once what is asked for has come, does something.
fn finish_and(command: Command, is_time: impl Fn() -> bool, act: impl FnOnce(u32)) -> Run {
    let mut act = Some(act);
    let run = finish_watched(command, |process| {
        if act.is_some() && is_time() {
            act.take().unwrap()(process);
        }
    });
    assert!(act.is_none(), "it ended before: {run:?}");
    run
}

#[test]
fn a_registry_that_stays_writable_is_not_touched() {
    for shell in SHELLS {
        let scene = Scene::new();
        let before = fingerprint(&scene.registry.v2());
        let run = finish(scene.script(shell, &scene.settings(&[("READ_ONLY", "true"), ("WAIT", "1s")]), &[]));
        assert_eq!(run.code, 4, "{shell:?}: {}", run.said());
        assert!(run.stderr.contains("the registry is not read-only after 1s"), "{}", run.stderr);
        assert!(run.stderr.contains("is writable: it would take a push"), "what it answers is told: {}", run.stderr);
        assert_same_tree(&before, &fingerprint(&scene.registry.v2()));
        assert_eq!(scene.text("restarts"), "\n\n", "made writable all the same");
        scene.is_writable();
    }
}

#[test]
fn a_command_that_fails_half_way_is_undone() {
    let scene = Scene::new();
    let before = fingerprint(&scene.registry.v2());
    let read_only = format!("{}; echo 'and then: no'; exit 7", scene.settings["READ_ONLY"]);
    let run = finish(scene.window(&[("READ_ONLY", &read_only)]));
    assert_eq!(run.code, 1, "{}", run.said());
    assert_eq!(run.stderr, "regsweep-window: READ_ONLY failed (exit code 7)\n  | and then: no\n");
    assert_same_tree(&before, &fingerprint(&scene.registry.v2()));
    scene.is_writable();
}

/// Killed in the middle: the registry is writable again, and the next window puts everything in order and goes on.
#[test]
fn a_collector_that_is_killed_leaves_a_writable_registry() {
    for shell in SHELLS {
        let scene = Scene::new();
        let slow = scene.script(shell, &scene.settings(&[("GC_OPTIONS", SLOWLY)]), &[]);
        let kill = |_| kill_process(scene.collector(), Signal::KILL).unwrap();
        let run = finish_and(slow, || scene.is_half_way(), kill);
        assert_eq!(run.code, 1, "{shell:?}: {}", run.said());
        assert!(run.stderr.contains("was killed (exit code 137)"), "{shell:?}: {}", run.stderr);
        scene.is_writable();
        assert!(!scene.trash().is_empty(), "{shell:?}: what it had moved is still there");
        scene.lost_nothing();
        let run = finish(scene.script(shell, &scene.settings(&[]), &[]));
        assert_eq!((run.code, run.said()), (0, String::new()), "{shell:?}");
        assert!(scene.trash().is_empty());
        scene.is_collected();
    }
}

/// What is to make the registry writable.
type Writable<'a> = &'a dyn Fn(&Scene) -> String;

/// It is told loudly, and nothing that could be needed is deleted: everything can be put back.
#[test]
fn a_registry_that_does_not_come_back_keeps_its_trash() {
    let broken =
        |scene: &Scene| format!("touch {}/broken; {}", scene.folder.path().display(), scene.settings["WRITABLE"]);
    let cases: [(&str, Writable<'_>, &str); 3] = [
        ("fails", &|_| "echo no such unit; exit 5".to_owned(), "  | no such unit\n"),
        ("does nothing", &|_| "true".to_owned(), "is read-only: it answers 405 to a push"),
        ("starts nothing", &broken, "the registry is not writable after 1s"),
    ];
    for (name, command, said) in cases {
        let scene = Scene::new();
        let before = fingerprint(&scene.registry.v2().join("blobs")).files();
        let run = finish(scene.window(&[("WRITABLE", &command(&scene)), ("WAIT", "1s")]));
        assert_eq!(run.code, 1, "{name}: {}", run.said());
        assert!(run.stderr.contains("DID NOT COME BACK"), "{name}: {}", run.stderr);
        assert_eq!(run.stderr.matches(said).count(), 3, "{name}: tried three times: {}", run.stderr);
        let trash = scene.trash();
        assert_eq!(trash.len(), 1, "{name}: {trash:?}");
        // A person at night: either back to what was, ...
        let (root, id) = (scene.registry.root(), trash[0]["run"].as_str().unwrap());
        finish(regsweep(&["trash", "restore", "--registry-stopped", root.to_str().unwrap(), id])).exits(0);
        let after = fingerprint(&scene.registry.v2().join("blobs")).files();
        assert_eq!(before.changes_to(&after), Vec::<String>::new(), "{name}");
        // ... or on, with what was wrong mended.
        drop(fs::remove_file(scene.path("broken")));
        let run = scene.command("writable", &[]);
        assert_eq!((run.code, run.said()), (0, String::new()), "{name}");
        scene.is_writable();
        scene.lost_nothing();
    }
}

/// A second window ends at once, and does not make the registry writable under the first.
#[test]
fn two_windows_at_once() {
    for shell in SHELLS {
        let scene = Scene::new();
        let file = scene.settings(&[("GC_OPTIONS", SLOWLY)]);
        let first = scene.script(shell, &file, &[]);
        let others = |_| {
            for (command, code) in [(&[][..], 4), (&["writable"], 4), (&["read-only"], 4), (&["guard"], 0)] {
                let run = finish(scene.script(shell, &file, command));
                assert_eq!(run.code, code, "{shell:?} {command:?}: {}", run.said());
                assert_eq!(run.stderr.contains("window is open"), code == 4, "{command:?}: {}", run.stderr);
            }
            assert_eq!(scene.restarts(), 1, "{shell:?}: by the first alone");
            scene.is_read_only();
        };
        let run = finish_and(first, || scene.is_half_way(), others);
        assert_eq!((run.code, run.said()), (0, String::new()), "{shell:?}");
        scene.is_writable();
        scene.is_collected();
    }
}

/// Somebody collects by hand, without any window.
#[test]
fn a_run_by_hand_is_left_alone() {
    let scene = Scene::new();
    scene.restart("{\"enabled\":true}");
    let (root, url) = (scene.registry.root(), scene.registry.url());
    let words: Vec<&str> = SLOWLY.split(' ').collect();
    scene.is_read_only();
    let by_hand = regsweep(&[&["gc", "--registry", &url], &*words, &[root.to_str().unwrap()]].concat());
    let restarts = scene.restarts();
    let window = |_| {
        for command in [&[][..], &["read-only"], &["writable"]] {
            let run = finish(scene.script(Shell::Dash, &scene.settings(&[]), command));
            assert_eq!(run.code, 4, "{command:?}: {}", run.said());
            assert!(run.stderr.contains("regsweep is at work on"), "{command:?}: {}", run.stderr);
        }
        let run = scene.command("guard", &[]);
        assert_eq!((run.code, run.said()), (0, String::new()));
    };
    let run = finish_and(by_hand, || scene.is_half_way(), window);
    assert_eq!(run.code, 0, "{}", run.said());
    assert_eq!(scene.restarts(), restarts);
    scene.is_read_only();
}

/// The script itself is killed, which nothing can catch. The collector goes on, and holds the lock as long as it runs;
/// then the guard opens the registry.
#[test]
fn a_window_that_is_killed_is_closed_by_the_guard() {
    let scene = Scene::new();
    let mut window = scene.window(&[("GC_OPTIONS", SLOWLY)]).stderr(Stdio::null()).spawn().unwrap();
    wait_until(|| scene.is_half_way());
    window.kill().unwrap();
    window.wait().unwrap();
    let collector = scene.collector();
    let run = scene.command("writable", &[]);
    assert_eq!(run.code, 4, "{}", run.said());
    assert!(run.stderr.contains("a window is open"), "the collector holds its lock: {}", run.stderr);
    let run = scene.command("guard", &[]);
    assert_eq!((run.code, run.said()), (0, String::new()));
    scene.is_read_only();
    kill_process(collector, Signal::TERM).unwrap();
    wait_until(|| !Path::new(&format!("/proc/{}/exe", collector.as_raw_nonzero())).exists());
    let run = scene.command("guard", &[]);
    assert_eq!(run.code, 0, "{}", run.said());
    assert!(run.stderr.contains("read-only and nobody collects"), "{}", run.stderr);
    scene.is_writable();
    scene.lost_nothing();
    finish(scene.window(&[])).exits(0);
    scene.is_collected();
}

#[test]
fn the_guard_asks_who_collects_elsewhere() {
    let scene = Scene::new();
    let guard = |busy: &str| scene.command("guard", &[("BUSY", busy)]);
    let run = guard("echo asked >>/nowhere/at/all");
    assert_eq!((run.code, run.said()), (0, String::new()), "a registry that is writable needs no guard");
    scene.restart("{\"enabled\":true}");
    scene.is_read_only();
    let restarts = scene.restarts();
    let run = guard("echo regsweep-29376195-x7k2p");
    assert_eq!((run.code, run.said()), (0, String::new()));
    let run = guard("echo cannot list pods >&2; exit 1");
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("BUSY failed"), "{}", run.stderr);
    assert_eq!(scene.restarts(), restarts);
    scene.is_read_only();
    guard("true").exits(0);
    scene.is_writable();
    // A registry that is down is for somebody else.
    fs::write(scene.path("broken"), "").unwrap();
    scene.restart("");
    let run = guard("true");
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("neither writable nor read-only"), "{}", run.stderr);
}

pub(crate) fn wait_until(is_time: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_time() {
        assert!(Instant::now() < patience, "it did not come");
        sleep(Duration::from_millis(5));
    }
}
