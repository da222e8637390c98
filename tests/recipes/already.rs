//! A registry that is not what a window expects it to be when it begins.

use std::path::Path;

use rustix::process::{Signal, kill_process};

use crate::scene::{SHELLS, SLOWLY, Scene, Shell};
use crate::support::process::finish;
use crate::support::real::RealRegistry;
use crate::trouble::wait_until;

const LEFT: &str = "regsweep-window: the registry was read-only before this window, and stays so. To make it writable: \
                    regsweep-window writable\n";

/// Somebody keeps the registry read-only for reasons of their own: it is collected, and stays as it is.
#[test]
fn a_registry_that_was_read_only_before_stays_so() {
    for shell in SHELLS {
        let scene = Scene::new();
        scene.restart("{\"enabled\":true}");
        scene.is_read_only();
        let restarts = scene.restarts();
        for _ in 0..2 {
            let run = finish(scene.script(shell, &scene.settings(&[]), &[]));
            assert_eq!((run.code, run.said()), (0, LEFT.to_owned()), "{shell:?}");
            scene.is_read_only();
        }
        assert_eq!(scene.restarts(), restarts, "{shell:?}: nobody has touched it");
        assert!(scene.trash().is_empty(), "{shell:?}");
        let run = scene.command("writable", &[]);
        assert_eq!((run.code, run.said()), (0, String::new()));
        scene.is_writable();
        scene.is_collected();
    }
}

#[test]
fn steps_leave_a_registry_read_only_that_was_so_before() {
    for (shell, keep, left) in [(Shell::Dash, "", 0), (Shell::Busybox, "7d", 1)] {
        let scene = Scene::new();
        scene.restart("{\"enabled\":true}");
        scene.is_read_only();
        let restarts = scene.restarts();
        for (step, said) in [("read-only", ""), ("collect", ""), ("close", LEFT), ("purge", "")] {
            let run = finish(scene.script(shell, &scene.settings(&[("KEEP", keep), ("WAIT", "1s")]), &[step]));
            assert_eq!((run.code, run.said()), (0, said.to_owned()), "{step}");
        }
        assert_eq!((scene.restarts(), scene.trash().len()), (restarts, left), "{keep}");
        scene.is_read_only();
    }
}

/// But what a window itself has left read-only, because it was killed, the next one makes writable again: it knows.
#[test]
fn a_registry_that_a_window_has_left_read_only_becomes_writable() {
    for shell in SHELLS {
        let scene = Scene::new();
        let file = scene.settings(&[("GC_OPTIONS", SLOWLY)]);
        let mut window = scene.script(shell, &file, &[]).stderr(std::process::Stdio::null()).spawn().unwrap();
        wait_until(|| scene.is_half_way());
        window.kill().unwrap();
        window.wait().unwrap();
        let collector = scene.collector();
        kill_process(collector, Signal::KILL).unwrap();
        wait_until(|| !Path::new(&format!("/proc/{}/exe", collector.as_raw_nonzero())).exists());
        scene.is_read_only();
        let run = finish(scene.script(shell, &scene.settings(&[]), &[]));
        assert_eq!((run.code, run.said()), (0, String::new()), "{shell:?}");
        scene.is_writable();
        assert!(scene.trash().is_empty());
        scene.is_collected();
    }
}

/// What cannot be asked could not be shown to be back: a password is missing, or the registry is down already.
#[test]
fn a_registry_that_does_not_answer_is_not_touched() {
    let scene = Scene::new();
    let locked = RealRegistry::start_with_password();
    for (url, said) in [
        (locked.url(), "  | regsweep: http://127.0.0.1:"),
        (locked.url(), " wants credentials: give user:password@ in the URL, or REGSWEEP_REGISTRY_AUTH\n"),
        ("http://127.0.0.1:1".to_owned(), " does not answer: nobody serves there\n"),
    ] {
        for command in [&[][..], &["read-only"]] {
            let run = finish(scene.script(Shell::Dash, &scene.settings(&[("URL", &url)]), command));
            assert_eq!((run.code, scene.restarts()), (4, 0), "{url} {command:?}: {}", run.said());
            assert!(run.stderr.contains("nothing was touched") && run.stderr.contains(said), "{}", run.stderr);
        }
    }
    // Nor by what comes after it.
    let run = scene.command("close", &[]);
    assert_eq!((run.code, run.said(), scene.restarts()), (0, String::new(), 0));
}
