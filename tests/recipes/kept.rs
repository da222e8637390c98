//! Whose trash it is. A window deletes what it has put aside itself; what others have stays until they delete it.

use std::fs;

use serde_json::Value;

use crate::scene::{SHELLS, Scene, Shell};
use crate::support::process::{Run, finish, regsweep};

/// What a run by hand keeps, while the registry is read-only.
fn by_hand(scene: &Scene, words: &[&str]) -> Run {
    scene.restart("{\"enabled\":true}");
    scene.is_read_only();
    let (root, url) = (scene.registry.root(), scene.registry.url());
    let run = finish(regsweep(&[words, &["--registry", &url, root.to_str().unwrap()]].concat()));
    scene.restart("");
    scene.is_writable();
    run
}

/// A blob that nothing needs, and that is not what its name says.
fn plant(scene: &Scene, digit: char) {
    let folder = scene.registry.v2().join("blobs/sha256/ab").join(format!("ab{}", digit.to_string().repeat(62)));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("data"), "by hand").unwrap();
}

fn names(trash: &[Value]) -> Vec<&str> {
    trash.iter().map(|run| run["run"].as_str().unwrap()).collect()
}

/// Somebody has put things aside with `gc --quarantine`, and `check --repair` has what it mended.
#[test]
fn a_window_deletes_its_own_trash_and_no_other() {
    for shell in SHELLS {
        let scene = Scene::new();
        plant(&scene, '0');
        by_hand(&scene, &["gc", "--quiet", "--quarantine"]).exits(0);
        plant(&scene, '1');
        by_hand(&scene, &["check", "--quiet", "--repair", "--read-data"]);
        let before = scene.trash();
        let commands: Vec<&Value> = before.iter().map(|run| &run["command"]).collect();
        assert_eq!(commands, ["gc", "check"], "{before:?}");
        let run = finish(scene.script(shell, &scene.settings(&[]), &[]));
        assert_eq!((run.code, run.said()), (0, String::new()), "{shell:?}");
        assert_eq!(scene.trash(), before, "{shell:?}: what was kept by hand is gone for good");
        scene.is_collected();
    }
}

/// The same, one step at a time; and what was kept by hand meanwhile and afterwards.
#[test]
fn steps_delete_the_trash_of_their_window_and_no_other() {
    let scene = Scene::new();
    plant(&scene, '0');
    by_hand(&scene, &["gc", "--quiet", "--quarantine"]).exits(0);
    let before = scene.trash();
    assert_eq!(before.len(), 1);
    for step in ["read-only", "collect", "close", "purge"] {
        assert_eq!(scene.trash().len(), if step == "close" || step == "purge" { 2 } else { 1 }, "before {step}");
        let run = scene.command(step, &[]);
        assert_eq!((run.code, run.said()), (0, String::new()), "{step}");
    }
    assert_eq!(scene.trash(), before);
    for step in ["read-only", "collect", "close", "purge"] {
        if step == "close" {
            plant(&scene, '1');
            let (root, url) = (scene.registry.root(), scene.registry.url());
            let words = ["check", "--quiet", "--repair", "--read-data", "--registry", &url, root.to_str().unwrap()];
            finish(regsweep(&words));
        }
        scene.command(step, &[]).exits(0);
    }
    let trash = scene.trash();
    let commands: Vec<&Value> = trash.iter().map(|run| &run["command"]).collect();
    assert_eq!(commands, ["gc", "check"], "{trash:?}");
    plant(&scene, '2');
    by_hand(&scene, &["gc", "--quiet", "--quarantine"]).exits(0);
    let before = scene.trash();
    assert_eq!(before.len(), 3);
    let run = scene.command("purge", &[]);
    assert_eq!((run.code, run.said()), (0, String::new()));
    assert_eq!(scene.trash(), before);
    scene.is_collected();
}

/// Somebody lets the script switch the registry, and collects by hand.
#[test]
fn what_somebody_keeps_between_two_switches_stays() {
    let scene = Scene::new();
    scene.command("read-only", &[]).exits(0);
    let (root, url) = (scene.registry.root(), scene.registry.url());
    let words = ["gc", "--quiet", "--delete-untagged", "--quarantine", "--registry", &url, root.to_str().unwrap()];
    finish(regsweep(&words)).exits(0);
    let trash = scene.trash();
    let [name] = names(&trash)[..] else { panic!("{trash:?}") };
    let run = scene.command("writable", &[]);
    let told = format!("kept until you delete it: regsweep trash purge {} {name}\n", scene.settings["STORAGE"]);
    assert_eq!(run.exits(0).stderr, format!("regsweep-window: What was put aside is {told}"));
    scene.command("purge", &[]).exits(0);
    finish(scene.window(&[])).exits(0);
    assert_eq!(scene.trash(), trash);
    scene.is_collected();
}

/// Night one: the registry does not come back, and is told loudly that its trash is kept. Night two comes before anybody
/// has looked. So it is when somebody has made the registry writable in between, and has not restored anything yet.
#[test]
fn the_next_night_does_not_delete_what_may_have_to_be_restored() {
    for (is_mended, steps) in [(false, false), (true, false), (false, true), (true, true)] {
        let scene = Scene::new();
        let changed = [("WRITABLE", "echo no such unit; exit 5"), ("WAIT", "1s")];
        let run = if steps {
            scene.command("read-only", &changed).exits(0);
            scene.command("collect", &changed).exits(0);
            scene.command("close", &changed)
        } else {
            finish(scene.window(&changed))
        };
        assert_eq!(run.code, 1, "{}", run.said());
        assert!(run.stderr.contains("Nothing that was put aside is deleted"), "{}", run.stderr);
        let first = scene.trash();
        let [name] = names(&first)[..] else { panic!("{first:?}") };
        let told = format!("kept until you delete it: regsweep trash purge {} {name}\n", scene.settings["STORAGE"]);
        assert!(run.stderr.contains(&told), "{}", run.stderr);
        if is_mended {
            scene.command("writable", &[]).exits(0);
            scene.command("purge", &[]).exits(0);
            assert_eq!(scene.trash(), first);
        }
        plant(&scene, '0');
        let run = finish(scene.window(&[]));
        assert_eq!((run.code, run.said()), (0, String::new()), "{is_mended} {steps}");
        scene.is_writable();
        assert_eq!(scene.trash(), first, "deleted by the second night: {is_mended} {steps}");
        scene.is_collected();
    }
}

/// With KEEP the trash of all runs goes by its age; and of a registry that did not come back it is said how long it is
/// there.
#[test]
fn what_is_kept_for_a_time_says_how_long() {
    let scene = Scene::new();
    let run = finish(scene.window(&[("WRITABLE", "exit 5"), ("WAIT", "1s"), ("KEEP", "7d")]));
    assert_eq!(run.code, 1, "{}", run.said());
    assert!(run.stderr.contains("What was put aside is kept for 7d"), "{}", run.stderr);
    let run = finish(scene.window(&[("KEEP", "7d")]));
    assert_eq!((run.code, run.said(), scene.trash().len()), (0, String::new(), 1));
}

/// Nobody knows what a window has put aside if the trash could not be listed: it stays, and that is said.
#[test]
fn a_trash_that_cannot_be_listed_is_kept() {
    let scene = Scene::new();
    let real = env!("CARGO_BIN_EXE_regsweep");
    let fails = "[ \"$1 $2\" != 'trash list' ] || exit 1";
    scene.program("regsweep", &format!("#!/bin/sh\n{fails}\nexec {real} \"$@\"\n"));
    let run = finish(scene.window(&[]));
    assert_eq!(run.code, 1, "{}", run.said());
    assert!(run.stderr.contains("Nobody knows what was put aside: it is kept until you delete it"), "{}", run.stderr);
    assert_eq!(scene.trash().len(), 1);
    scene.is_writable();
}

/// A window is killed, and its collector goes on to its end. The next one does not know what that was: it says what is
/// kept.
#[test]
fn what_a_killed_window_has_put_aside_is_kept() {
    let scene = Scene::new();
    scene.command("read-only", &[]).exits(0);
    scene.command("collect", &[]).exits(0);
    let trash = scene.trash();
    let [name] = names(&trash)[..] else { panic!("{trash:?}") };
    let told = format!("kept until you delete it: regsweep trash purge {} {name}\n", scene.settings["STORAGE"]);
    let run = finish(scene.window(&[]));
    assert_eq!(run.exits(0).stderr, format!("regsweep-window: What was put aside is {told}"));
    scene.is_writable();
    assert_eq!(scene.trash(), trash);
    let run = finish(scene.window(&[]));
    assert_eq!((run.code, run.said()), (0, String::new()), "it is said once");
    assert_eq!(scene.trash(), trash);
    scene.is_collected();
}

/// The guard does not know how the collector has ended: it says what is kept.
#[test]
fn the_guard_deletes_nothing() {
    let scene = Scene::new();
    scene.command("read-only", &[]).exits(0);
    scene.command("collect", &[]).exits(0);
    let run = finish(scene.script(Shell::Busybox, &scene.settings(&[]), &["guard"]));
    let trash = scene.trash();
    let [name] = names(&trash)[..] else { panic!("{trash:?}") };
    assert!(
        run.exits(0).stderr.contains(&format!(
            "kept until you delete it: regsweep trash purge {} {name}\n",
            scene.settings["STORAGE"]
        ))
    );
    scene.is_writable();
    finish(scene.window(&[])).exits(0);
    assert_eq!(scene.trash(), trash);
}
