//! A window from its beginning to its end.

use std::fs;
use std::path::Path;

use crate::recipe;
use crate::scene::{SHELLS, Scene, Shell};
use crate::support::process::{finish, regsweep};

#[test]
fn a_window_collects_and_says_nothing() {
    for shell in SHELLS {
        let scene = Scene::new();
        let report = scene.path("report.json");
        let file = scene.settings(&[("REPORT", report.to_str().unwrap())]);
        let run = finish(scene.script(shell, &file, &[]));
        assert_eq!((run.code, run.said()), (0, String::new()), "{shell:?}");
        scene.is_writable();
        assert_eq!(scene.text("restarts"), "\n{\"enabled\":true}\n\n", "{shell:?}: read-only once, and writable once");
        assert!(scene.trash().is_empty(), "{shell:?}");
        assert!(
            scene.text("report.json").contains("\"outcome\":\"complete\""),
            "{shell:?}: {}",
            scene.text("report.json")
        );
        scene.is_collected();
        assert!(!scene.path("lock.said").exists(), "{shell:?}: nothing is left behind");
    }
}

/// What was removed must be known to the registry as removed: a restart that is none leaves it believing that it has
/// the layers. This is what `is_collected` would see, so that the test above can fail.
#[test]
fn without_a_restart_the_registry_believes_in_layers_that_are_gone() {
    let scene = Scene::new();
    let image = crate::scene::old_image(0);
    let layer = image.blobs[1].digest();
    let has_it = || scene.registry.request("HEAD", &format!("/v2/team/app/blobs/{layer}"), &[], None).status;
    assert_eq!(has_it(), 200, "asked once, it is remembered");
    let root = scene.registry.root();
    finish(regsweep(&["gc", "-mq", "--registry-stopped", root.to_str().unwrap()])).exits(0);
    assert_eq!(has_it(), 200, "believed, and gone");
    let run = finish(scene.window(&[]));
    assert_eq!((run.code, run.said()), (0, String::new()));
    assert_eq!(has_it(), 404, "forgotten");
}

#[test]
fn what_goes_is_kept_as_long_as_it_was_said() {
    let scene = Scene::new();
    let run = finish(scene.window(&[("KEEP", "7d")]));
    assert_eq!((run.code, run.said()), (0, String::new()));
    let trash = scene.trash();
    assert_eq!((trash.len(), &trash[0]["state"]), (1, &"kept".into()), "{trash:?}");
    scene.is_writable();
    let run = finish(scene.window(&[("KEEP", "0s")]));
    assert_eq!((run.code, run.said()), (0, String::new()));
    assert!(scene.trash().is_empty());
}

/// Quotes, patterns and several words are what they are for regsweep, and no file of the folder gets between.
#[test]
fn options_are_read_as_the_shell_reads_them() {
    let scene = Scene::new();
    let run = finish(
        scene.window(&[("GC_OPTIONS", "--quiet --repository 'team/*' --keep-tag '^v[0-9]$|^a b$' --keep-last 1")]),
    );
    assert_eq!((run.code, run.said()), (0, String::new()));
    scene.lost_nothing();
    let run = finish(scene.window(&[("GC_OPTIONS", "--quiet --repository * --keep-last 1")]));
    assert_eq!((run.code, run.said()), (0, String::new()));
}

/// One step at a time, as systemd takes them.
#[test]
fn steps_by_themselves() {
    let scene = Scene::new();
    let step = |command: &str| {
        let run = scene.command(command, &[]);
        assert_eq!((run.code, run.said()), (0, String::new()), "{command}");
    };
    step("read-only");
    scene.is_read_only();
    step("read-only");
    step("collect");
    let run = scene.command("purge", &[("WAIT", "0s")]);
    assert_eq!(run.code, 4, "{}", run.said());
    assert!(run.stderr.contains("the registry is not writable: the trash is kept"), "{}", run.stderr);
    assert_eq!(scene.trash().len(), 1);
    step("close");
    step("close");
    scene.is_writable();
    step("purge");
    assert!(scene.trash().is_empty());
    scene.is_collected();
}

/// Whatever is wrong with the settings is told before the registry is touched.
#[test]
fn wrong_settings_touch_nothing() {
    let scene = Scene::new();
    let nowhere = scene.path("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for (setting, value, said) in [
        ("STORAGE", "", "STORAGE is not set"),
        ("STORAGE", nowhere, "is it mounted?"),
        ("READ_ONLY", "", "READ_ONLY is not set"),
        ("WRITABLE", "", "WRITABLE is not set"),
        ("GC_OPTIONS", "--no-such-thing", "GC_OPTIONS"),
        ("GC_OPTIONS", "--min-age soon", "GC_OPTIONS"),
        // Each is right, and they exclude each other; and what gc would only find out when it begins.
        ("GC_OPTIONS", "--quiet --verbose", "GC_OPTIONS"),
        ("GC_OPTIONS", "--quiet --policy /nowhere/at/all.yaml", "/nowhere/at/all.yaml: No such file"),
        ("GC_OPTIONS", "--time-limit 1h --verbose --report /tmp/a --quiet", "cannot be used with"),
        ("GC_OPTIONS", "--quiet --metrics=/nowhere/at/all.prom", "no folder"),
        ("GC_OPTIONS", "--quiet --html /nowhere/at/all.html", "no folder"),
        ("CONFIG", "/nowhere/config.yml", "/nowhere/config.yml"),
        ("URL", "ftp://127.0.0.1", "URL"),
        ("MIN_FREE", "1G", "MIN_FREE"),
        ("REPORT", "/nowhere/at/all.json", "no folder"),
        ("LOCK", "/nowhere/at/all", "cannot write"),
    ] {
        let run = finish(scene.window(&[(setting, value)]));
        assert_eq!(run.code, 2, "{setting}={value}: {}", run.said());
        assert!(run.stderr.contains(said), "{setting}={value}: {}", run.stderr);
    }
    let inside = scene.registry.v2().join("report.json");
    let run = finish(scene.window(&[("REPORT", inside.to_str().unwrap())]));
    assert_eq!(run.code, 2, "{}", run.said());
    for arguments in [&["--config", nowhere][..], &["readonly"], &["read-only", "writable"], &["--config"]] {
        let run = finish(scene.script(Shell::Dash, &scene.settings(&[]), arguments));
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.said());
    }
    let file = scene.settings(&[]);
    fs::write(&file, "STORAGE='an end is missing\n").unwrap();
    assert_ne!(finish(scene.script(Shell::Dash, &file, &[])).code, 0);
    assert_eq!(scene.restarts(), 0);
    scene.is_writable();
}

#[test]
fn help_names_every_setting() {
    let run = finish(Scene::new().script(Shell::Dash, Path::new("/dev/null"), &["--help"]));
    let help = run.exits(0).text();
    assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    let script = fs::read_to_string(recipe("regsweep-window")).unwrap();
    let defaults = script.lines().filter(|line| line.starts_with(": \"${") && !line.contains("file:"));
    let names: Vec<&str> =
        defaults.flat_map(|line| line.split("${").skip(1)).map(|part| part.split([':', '=']).next().unwrap()).collect();
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        assert!(help.contains(&format!("\n  {name} ")), "{name} is not in\n{help}");
    }
}
