//! The units. There is no systemd here that could start them: their commands are run in the order that it would, with a
//! stand-in for `systemctl` that knows of drop-ins; and its own tool reads the units.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Signal, kill_process};

use crate::recipe;
use crate::scene::{SLOWLY, Scene, Shell};
use crate::support::process::{Run, finish, finish_watched, not_there};

/// Drop-ins count from the next `daemon-reload` on, as with the real one.
const SYSTEMCTL: &str = r#"#!/bin/sh
folder=SCENE/run/docker-registry.service.d
case $* in
    daemon-reload)
        : >SCENE/environment
        [ ! -d "$folder" ] || cat "$folder"/*.conf 2>/dev/null |
            sed -n "s/^Environment='REGISTRY_STORAGE_MAINTENANCE_READONLY=\(.*\)'$/\1/p" >SCENE/environment
        ;;
    "restart docker-registry")
        [ ! -e SCENE/refuses ] || [ ! -s SCENE/environment ] || { echo "Job failed" >&2; exit 1; }
        exec restart "$(cat SCENE/environment)"
        ;;
    *) echo "what is $*?" >&2; exit 64 ;;
esac
"#;

struct Service {
    scene: Scene,
    settings: PathBuf,
}

impl Service {
    fn new(gc_options: Option<&str>) -> Service {
        let scene = Scene::new();
        scene.program("systemctl", SYSTEMCTL);
        let mut text = Scene::untagged_too(&fs::read_to_string(recipe("systemd/window.conf")).unwrap());
        let at = scene.folder.path().to_str().unwrap();
        for (documented, real) in [
            ("/var/lib/docker-registry", scene.settings["STORAGE"].as_str()),
            ("/etc/docker/registry/config.yml", scene.registry.config().to_str().unwrap()),
            ("http://127.0.0.1:5000", &scene.settings["URL"]),
            ("/run/systemd/system", &format!("{at}/run")),
            ("/etc/regsweep/read-only.conf", recipe("systemd/read-only.conf").to_str().unwrap()),
            ("/var/log/regsweep", at),
        ] {
            assert!(text.contains(documented), "{documented} is not in\n{text}");
            text = text.replace(documented, real);
        }
        text.push_str(&format!("LOCK={at}/lock\nMIN_FREE=1\nPAUSE=0\n"));
        if let Some(options) = gc_options {
            text.push_str(&format!("GC_OPTIONS='{options}'\n"));
        }
        let settings = scene.path("systemd.conf");
        fs::write(&settings, text).unwrap();
        Service { scene, settings }
    }

    /// A command of the unit, without what systemd means by the signs before it.
    fn command(&self, line: &str) -> Command {
        let words: Vec<&str> = line.trim_start_matches('+').split(' ').collect();
        assert_eq!(words[0], "/usr/bin/regsweep-window");
        self.scene.script(Shell::Dash, &self.settings, &words[1..])
    }

    /// What systemd does with a service of this kind: the commands before it, itself, and whatever becomes of them, the
    /// commands after it, each list up to the first that fails.
    fn start(&self, main: impl Fn(Command) -> (String, Run)) -> Vec<Run> {
        let mut runs = Vec::new();
        let (mut result, mut status) = ("success", None);
        for line in values("ExecStartPre") {
            runs.push(finish(self.command(&line)));
            if runs.last().unwrap().code != 0 {
                result = "exit-code";
            }
        }
        if result == "success" {
            let (main_status, run) = main(self.command(&values("ExecStart")[0]));
            if main_status != "0" {
                result = "exit-code";
            }
            status = Some(main_status);
            runs.push(run);
        }
        for line in values("ExecStopPost") {
            let mut command = self.command(&line);
            command.env("SERVICE_RESULT", result);
            if let Some(status) = &status {
                command.env("EXIT_STATUS", status);
            }
            runs.push(finish(command));
            if runs.last().unwrap().code != 0 {
                break;
            }
        }
        runs
    }

    #[track_caller]
    fn runs_well(&self) {
        for run in self.start(|command| ("0".to_owned(), finish(command))) {
            assert_eq!((run.code, run.said()), (0, String::new()));
        }
        self.scene.is_writable();
    }
}

/// The values of a setting of the service, in their order.
fn values(key: &str) -> Vec<String> {
    let unit = fs::read_to_string(recipe("systemd/regsweep.service")).unwrap();
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn the_service_is_a_window() {
    let service = Service::new(None);
    service.runs_well();
    assert_eq!(service.scene.text("restarts"), "\n{\"enabled\":true}\n\n");
    assert_eq!(service.scene.trash().len(), 1, "kept for a week");
    assert!(!service.scene.path("run/docker-registry.service.d/read-only.conf").exists());
    service.scene.is_collected();
}

/// `TimeoutStartSec`, `systemctl stop`, and what kills without asking.
#[test]
fn a_service_that_is_ended_leaves_a_writable_registry() {
    for (signal, code, status) in [(Signal::TERM, 5, "5"), (Signal::KILL, 137, "KILL")] {
        let service = Service::new(Some(SLOWLY));
        let runs = service.start(|command| {
            // So that a death by a signal is an exit code, as for the other tests.
            let mut shell = Command::new("sh");
            shell.args(["-c", "\"$@\" & wait $!; exit $?", "sh"]).arg(command.get_program()).args(command.get_args());
            shell.env_clear().envs(command.get_envs().map(|(name, value)| (name, value.unwrap())));
            let is_sent = std::cell::Cell::new(false);
            let run = finish_watched(shell, |_| {
                if !is_sent.get() && service.scene.is_half_way() {
                    is_sent.set(true);
                    kill_process(service.scene.collector(), signal).unwrap();
                }
            });
            (status.to_owned(), run)
        });
        assert_eq!(runs.iter().map(|run| run.code).collect::<Vec<_>>(), [0, code, 0, 0], "{runs:?}");
        service.scene.is_writable();
        service.scene.lost_nothing();
        assert!(!service.scene.trash().is_empty());
        service.runs_well();
        service.scene.is_collected();
    }
}

#[test]
fn a_registry_that_cannot_be_switched_is_writable() {
    let service = Service::new(None);
    fs::write(service.scene.path("refuses"), "").unwrap();
    let runs = service.start(|_| panic!("what comes first has failed"));
    assert_eq!(runs.iter().map(|run| run.code).collect::<Vec<_>>(), [1, 0, 0], "{runs:?}");
    assert!(runs[0].stderr.contains("  | Job failed"), "{}", runs[0].stderr);
    service.scene.is_writable();
    assert!(!service.scene.registry.v2().join("_regsweep").exists(), "nothing was touched");
}

/// What is wrong with the settings is found out before the registry is touched, and then nothing has to be mended: not
/// even by what systemd runs afterwards in any case.
#[test]
fn wrong_settings_do_not_restart_the_registry() {
    for options in ["--quiet --no-such-thing", "--quiet --verbose", "--quiet --policy /nowhere/at/all.yaml"] {
        let service = Service::new(Some(options));
        let runs = service.start(|_| panic!("what comes first has failed"));
        assert_eq!(runs.iter().map(|run| run.code).collect::<Vec<_>>(), [2, 0, 0], "{runs:?}");
        assert_eq!(service.scene.restarts(), 0, "{options}");
        service.scene.is_writable();
    }
}

/// Somebody keeps the registry read-only, by the same drop-in or in its config.
#[test]
fn a_service_leaves_a_registry_read_only_that_was_so_before() {
    let service = Service::new(None);
    service.scene.restart("{\"enabled\":true}");
    service.scene.is_read_only();
    let restarts = service.scene.restarts();
    let runs = service.start(|command| ("0".to_owned(), finish(command)));
    assert_eq!(runs.iter().map(|run| run.code).collect::<Vec<_>>(), [0, 0, 0, 0], "{runs:?}");
    assert!(runs[2].stderr.contains("was read-only before this window, and stays so"), "{runs:?}");
    assert_eq!(service.scene.restarts(), restarts);
    service.scene.is_read_only();
}

/// What failed or was refused may need its trash, and no later window deletes it either.
#[test]
fn the_trash_is_deleted_after_a_run_that_came_to_its_end() {
    let cases = [
        ("exit-code", Some("4"), 1),
        ("exit-code", Some("1"), 1),
        ("signal", Some("KILL"), 1),
        ("timeout", None, 1),
        ("success", Some("0"), 0),
        ("exit-code", Some("3"), 0),
        ("exit-code", Some("5"), 0),
    ];
    for (result, status, left) in cases {
        let scene = Scene::new();
        let settings = scene.settings(&[]);
        let step = |command: &str| {
            let mut command = scene.script(Shell::Dash, &settings, &[command]);
            command.env("SERVICE_RESULT", result);
            if let Some(status) = status {
                command.env("EXIT_STATUS", status);
            }
            let run = finish(command);
            assert_eq!(run.code, 0, "{result} {status:?}: {}", run.said());
            run.said()
        };
        scene.command("read-only", &[]).exits(0);
        scene.command("collect", &[]).exits(0);
        let said = step("close") + &step("purge");
        assert_eq!(said.contains("kept until you delete it: regsweep trash purge "), left == 1, "{said}");
        assert_eq!((said.is_empty(), scene.trash().len()), (left == 0, left), "{result} {status:?}: {said}");
        finish(scene.window(&[])).exits(0);
        assert_eq!(scene.trash().len(), left, "{result} {status:?}");
    }
}

/// The units where systemd's own tool can read them, with the script where it is here.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["regsweep.service", "regsweep.timer"] {
        let text = fs::read_to_string(recipe("systemd").join(name)).unwrap();
        let text = text.replace("/usr/bin/regsweep-window", recipe("regsweep-window").to_str().unwrap());
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn analyze(arguments: &[&str]) -> Run {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).env("SYSTEMD_COLORS", "0").env("LC_ALL", "C");
    if let Err(error) = Command::new("systemd-analyze").arg("--version").output() {
        not_there(&command, &error);
    }
    finish(command)
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = units();
    for name in ["regsweep.service", "regsweep.timer"] {
        let run = analyze(&["verify", folder.path().join(name).to_str().unwrap()]);
        assert_eq!((run.code, run.said()), (0, String::new()), "{name}");
    }
    // What is misspelt it would tell.
    let service = folder.path().join("regsweep.service");
    let text = fs::read_to_string(&service).unwrap();
    fs::write(&service, text.replace("ProtectHome=", "ProtectHomes=")).unwrap();
    let run = analyze(&["verify", service.to_str().unwrap()]);
    assert!(run.said().contains("ProtectHomes"), "{}", run.said());
}

/// How far the service is shut in, by systemd's own count. The figure in the documentation is that of one version of
/// systemd; others count other things.
#[test]
fn the_service_is_shut_in_as_far_as_the_documentation_says() {
    let folder = units();
    let service = folder.path().join("regsweep.service");
    let run = analyze(&["security", "--offline=true", "--no-pager", service.to_str().unwrap()]);
    let said = run.said();
    let (_, figure) =
        said.split_once("Overall exposure level for regsweep.service: ").unwrap_or_else(|| panic!("{said}"));
    let figure: f64 = figure.split(' ').next().unwrap().parse().unwrap();
    assert!(figure < 2.0, "{said}");
    let version = analyze(&["--version"]).text();
    let page = fs::read_to_string(recipe("systemd.md")).unwrap();
    let page: Vec<&str> = page.split_whitespace().collect();
    let page = page.join(" ");
    let (_, quoted) = page.split_once("an exposure of ").expect("the page says how far");
    let (quoted, by) = quoted.split_once(" by systemd ").expect("and by which version");
    if version.starts_with(&format!("systemd {} ", by.split(|c: char| !c.is_ascii_digit()).next().unwrap())) {
        assert_eq!(quoted, figure.to_string(), "{said}");
    }
}

/// The collector needs no system call that the filter does not let through.
#[test]
fn the_filter_lets_through_what_the_collector_needs() {
    let scene = Scene::new();
    scene.restart("{\"enabled\":true}");
    scene.is_read_only();
    let traced = scene.path("traced");
    let script = scene.script(Shell::Dash, &scene.settings(&[]), &["collect"]);
    let mut command = Command::new("strace");
    command.args(["--follow-forks", "--output"]).arg(&traced).arg(script.get_program()).args(script.get_args());
    command.env_clear().envs(script.get_envs().map(|(name, value)| (name, value.unwrap())));
    finish(command).exits(0);
    let mut used: Vec<String> = fs::read_to_string(&traced)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        .collect();
    used.sort();
    used.dedup();
    assert!(used.len() > 30 && used.contains(&"renameat".to_owned()), "{used:?}");
    let filters = values("SystemCallFilter");
    let [allowed, denied] = filters.as_slice() else { panic!("{filters:?}") };
    let allowed = calls_of(allowed);
    let denied: Vec<String> = denied.trim_start_matches('~').split(' ').flat_map(calls_of).collect();
    let stopped: Vec<&String> = used.iter().filter(|name| !allowed.contains(name) || denied.contains(name)).collect();
    assert!(stopped.is_empty(), "{stopped:?}");
}

/// The system calls of a set, with those of the sets in it.
fn calls_of(set: &str) -> Vec<String> {
    let text = analyze(&["syscall-filter", set]).text();
    let entries = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    entries.flat_map(|entry| if entry.starts_with('@') { calls_of(entry) } else { vec![entry.to_owned()] }).collect()
}
