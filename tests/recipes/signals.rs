//! The window is over, or somebody wants it to be.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::scene::{SHELLS, SLOWLY, Scene};
use crate::support::process::{finish, finish_watched, signalled};

/// The collector is told once, finishes what is in hand, and the registry is writable again.
#[test]
fn a_signal_ends_the_window_in_order() {
    for (shell, signal) in SHELLS.iter().flat_map(|shell| [(shell, Signal::TERM), (shell, Signal::HUP)]) {
        let scene = Scene::new();
        let slow = scene.script(*shell, &scene.settings(&[("GC_OPTIONS", SLOWLY)]), &[]);
        let run = signalled(slow, &[(signal, &|| scene.is_half_way())]);
        assert_eq!(run.code, 5, "{shell:?} {signal:?}: {}", run.said());
        assert!(run.stderr.contains("regsweep: SIGTERM: finishing what is in hand"), "{}", run.stderr);
        assert!(run.stderr.contains("regsweep: stopped by SIGTERM"), "it was not left at once: {}", run.stderr);
        assert!(run.stderr.contains("the registry is writable again, the next window goes on"), "{}", run.stderr);
        scene.is_writable();
        scene.lost_nothing();
        finish(scene.script(*shell, &scene.settings(&[]), &[])).exits(0);
        scene.is_collected();
    }
}

/// A terminal that is closed tells everybody at once, and so does `timeout`: the collector hears it only once.
#[test]
fn a_signal_to_the_whole_group_is_heard_once() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let scene = Scene::new();
        let mut slow = scene.window(&[("GC_OPTIONS", SLOWLY)]);
        slow.process_group(0);
        let mut is_sent = false;
        let run = finish_watched(slow, |process| {
            if !is_sent && scene.is_half_way() {
                is_sent = true;
                kill_process_group(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), signal).unwrap();
            }
        });
        assert_eq!(run.code, 5, "{signal:?}: {}", run.said());
        assert!(run.stderr.contains("regsweep: stopped by SIGTERM"), "it was not left at once: {}", run.stderr);
        scene.is_writable();
        scene.lost_nothing();
    }
}

/// While the registry is being switched nothing is cut off: the signal is heeded afterwards.
#[test]
fn a_signal_while_the_registry_is_switched_waits() {
    let scene = Scene::new();
    let slowly = format!("touch {0}/begun; sleep 1; {1}", scene.folder.path().display(), scene.settings["READ_ONLY"]);
    let begun = scene.path("begun");
    let run = signalled(scene.window(&[("READ_ONLY", &slowly)]), &[(Signal::TERM, &|| begun.exists())]);
    assert_eq!(run.code, 5, "{}", run.said());
    assert_eq!(scene.text("restarts"), "\n{\"enabled\":true}\n\n");
    assert!(scene.trash().is_empty() && !scene.registry.v2().join("_regsweep").exists(), "nothing was collected");
    scene.is_writable();

    let slowly = format!("touch {0}/ends; sleep 1; {1}", scene.folder.path().display(), scene.settings["WRITABLE"]);
    let ends = scene.path("ends");
    let run = signalled(scene.window(&[("WRITABLE", &slowly)]), &[(Signal::TERM, &|| ends.exists())]);
    assert_eq!(run.code, 5, "{}", run.said());
    scene.is_writable();
    assert_eq!(scene.trash().len(), 1, "what is left to delete is left to the next window");
    let run = finish(scene.window(&[]));
    assert_eq!((run.code, run.said(), scene.trash().len()), (0, String::new(), 0), "which deletes it");
}

/// The registry is back, and what is left is only space.
#[test]
fn a_signal_while_the_trash_is_deleted_leaves_it_to_the_next_window() {
    let scene = Scene::new();
    // The real one, and slow where it deletes.
    let real = env!("CARGO_BIN_EXE_regsweep");
    let slowly = "[ \"$1 $2\" != 'trash purge' ] || { : >SCENE/purges; set -- \"$@\" --max-ops-per-second 20; }";
    scene.program("regsweep", &format!("#!/bin/sh\n{slowly}\nexec {real} \"$@\"\n"));
    let (purges, lock) = (scene.path("purges"), scene.registry.v2().join("_regsweep/lock"));
    let is_purging = || purges.exists() && is_locked(&lock);
    let run = signalled(scene.window(&[]), &[(Signal::TERM, &is_purging)]);
    assert_eq!(run.code, 5, "{}", run.said());
    assert!(run.stderr.contains("the trash that is left is deleted by the next window"), "{}", run.stderr);
    scene.is_writable();
    assert_eq!(scene.trash().len(), 1);
    fs::remove_file(scene.path("bin/regsweep")).unwrap();
    finish(scene.window(&[])).exits(0);
    assert!(scene.trash().is_empty());
    scene.is_collected();
}

fn is_locked(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| file.try_lock_shared().is_err())
}

/// The run outlasts the window: it ends by itself, in order.
#[test]
fn a_window_that_is_over_ends() {
    let scene = Scene::new();
    let run = finish(scene.window(&[("GC_OPTIONS", &format!("{SLOWLY} --time-limit 1s"))]));
    assert_eq!(run.code, 5, "{}", run.said());
    assert!(run.stderr.contains("its time was up"), "{}", run.stderr);
    scene.is_writable();
    scene.lost_nothing();
    finish(scene.window(&[])).exits(0);
    scene.is_collected();
}

/// Whoever reads what is said may go away: the registry becomes writable all the same.
#[test]
fn a_closed_pipe_does_not_leave_it_read_only() {
    let scene = Scene::new();
    let mut command = scene.window(&[("GC_OPTIONS", "--delete-untagged"), ("MIN_FREE", "99999999999")]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    drop(command);
    child.wait().unwrap();
    assert_eq!(scene.restarts(), 2);
    scene.is_writable();
    scene.is_collected();
}
