//! A registry with something to collect, and everything that a window needs to switch it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use regsweep::interlock::probe::{ProbeAnswer, RegistryUrl, probe};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::recipe;
use crate::support::image::{Image, Layer, layer};
use crate::support::process::{Run, finish, holds_something, regsweep};
use crate::support::real::RealRegistry;
use crate::support::real::pull::Pulled;

/// The shells that the script runs under; the second with its own `flock`, `setsid`, `awk` and so on.
pub(crate) const SHELLS: [Shell; 2] = [Shell::Dash, Shell::Busybox];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Dash,
    Busybox,
}

/// So slow that there is time to do something in the middle.
pub(crate) const SLOWLY: &str = "--quiet --delete-untagged --jobs 1 --max-ops-per-second 60";

/// Starts the registry anew: `restart VALUE`, with what `REGISTRY_STORAGE_MAINTENANCE_READONLY` is to be, or nothing.
const RESTART: &str = r#"#!/bin/sh
echo "$*" >>SCENE/restarts
if [ -s SCENE/pid ]; then
    old=$(cat SCENE/pid)
    kill "$old"
    while [ -e "/proc/$old/exe" ]; do sleep 0.02; done
fi
[ ! -e SCENE/broken ] || exit 0
unset REGISTRY_STORAGE_MAINTENANCE_READONLY
[ -z "$1" ] || export REGISTRY_STORAGE_MAINTENANCE_READONLY="$1"
setsid docker-registry serve CONFIG >>SCENE/log 2>&1 </dev/null &
echo $! >SCENE/pid
"#;

/// ```text
/// team/app   v1 => image      old 0..8: untagged, each with a layer of its own
/// ```
pub(crate) struct Scene {
    pub(crate) registry: RealRegistry,
    pub(crate) folder: tempfile::TempDir,
    /// All that can be pulled by a tag.
    pub(crate) before: BTreeMap<String, Pulled>,
    /// What is in the settings if a test says nothing else.
    pub(crate) settings: BTreeMap<&'static str, String>,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let mut registry = RealRegistry::start();
        registry.push("team/app", "v1", &Image::oci("v1", "linux/amd64", &[layer("base", 4000), layer("v1", 3000)]));
        for number in 0..8 {
            registry.push_untagged("team/app", &old_image(number));
        }
        let before = registry.pull_all();
        registry.leave_to_others(port());
        let folder = tempfile::Builder::new().prefix("regsweep-recipe-").tempdir().unwrap();
        let at = folder.path().to_str().unwrap().to_owned();
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::create_dir(folder.path().join("busybox")).unwrap();
        for applet in applets() {
            symlink(BUSYBOX, folder.path().join("busybox").join(applet)).unwrap();
        }
        let settings = BTreeMap::from([
            ("STORAGE", registry.root().to_str().unwrap().to_owned()),
            ("URL", registry.url()),
            ("READ_ONLY", format!("{at}/bin/restart '{{\"enabled\":true}}'")),
            ("WRITABLE", format!("{at}/bin/restart ''")),
            ("GC_OPTIONS", "--quiet --delete-untagged".to_owned()),
            ("LOCK", format!("{at}/lock")),
            ("WAIT", "60s".to_owned()),
            ("MIN_FREE", "1".to_owned()),
            ("PAUSE", "0".to_owned()),
        ]);
        let scene = Scene { registry, folder, before, settings };
        scene.program("restart", RESTART);
        scene.restart("");
        scene.is_writable();
        scene
    }

    /// Starts the registry anew, by hand.
    pub(crate) fn restart(&self, read_only: &str) {
        assert!(Command::new(self.path("bin/restart")).arg(read_only).status().unwrap().success());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What somebody has written here, if anybody has.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Puts a program on the path of the window. `SCENE` and `CONFIG` in it are replaced.
    pub(crate) fn program(&self, name: &str, text: &str) {
        let text = text.replace("SCENE", self.folder.path().to_str().unwrap());
        let text = text.replace("CONFIG", self.registry.config().to_str().unwrap());
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The settings of a recipe, on this scene, and with untagged images to go: it has nothing else.
    pub(crate) fn untagged_too(settings: &str) -> String {
        let is = "GC_OPTIONS='--quiet ";
        assert_eq!(settings.matches(is).count(), 1, "{settings}");
        settings.replace(is, "GC_OPTIONS='--quiet --delete-untagged ")
    }

    /// The settings as a file, with these in the places of others.
    pub(crate) fn settings(&self, changed: &[(&'static str, &str)]) -> PathBuf {
        let mut settings = self.settings.clone();
        settings.extend(changed.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let quoted = |value: &str| format!("'{}'", value.replace('\'', "'\\''"));
        let lines: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
        let file = self.path("window.conf");
        fs::write(&file, lines.concat()).unwrap();
        file
    }

    /// The script with a file of settings, in an environment of its own.
    pub(crate) fn script(&self, shell: Shell, file: &Path, arguments: &[&str]) -> Command {
        let (mut command, tools) = match shell {
            Shell::Dash => (Command::new("dash"), None),
            Shell::Busybox => (busybox(), Some(self.path("busybox"))),
        };
        let regsweep = Path::new(env!("CARGO_BIN_EXE_regsweep")).parent().unwrap();
        let more = std::env::var_os("PATH").unwrap_or_default();
        let folders = [Some(self.path("bin")), tools, Some(regsweep.to_owned())].into_iter().flatten();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&more))).unwrap();
        command.env_clear().env("PATH", path).env("HOME", self.folder.path()).current_dir("/");
        command.arg(recipe("regsweep-window")).arg("--config").arg(file).args(arguments);
        command
    }

    /// A whole window with the settings as they are, under `dash`.
    pub(crate) fn window(&self, changed: &[(&'static str, &str)]) -> Command {
        self.script(Shell::Dash, &self.settings(changed), &[])
    }

    /// One command of the script.
    pub(crate) fn command(&self, command: &str, changed: &[(&'static str, &str)]) -> Run {
        finish(self.script(Shell::Dash, &self.settings(changed), &[command]))
    }

    /// What the running registry says of itself; waits until there is one.
    fn answer(&self) -> ProbeAnswer {
        let url: RegistryUrl = self.registry.url().parse().unwrap();
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            match probe(&url, None, Duration::from_secs(5)) {
                answer @ (ProbeAnswer::Writable | ProbeAnswer::ReadOnly) => return answer,
                other if Instant::now() > patience => panic!("{other:?}\n{}", self.text("log")),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    #[track_caller]
    pub(crate) fn is_writable(&self) {
        assert_eq!(self.answer(), ProbeAnswer::Writable, "restarts:\n{}", self.text("restarts"));
    }

    #[track_caller]
    pub(crate) fn is_read_only(&self) {
        assert_eq!(self.answer(), ProbeAnswer::ReadOnly, "restarts:\n{}", self.text("restarts"));
    }

    /// How often the registry was started, the first time aside.
    pub(crate) fn restarts(&self) -> usize {
        self.text("restarts").lines().count() - 1
    }

    /// Everything that a tag could deliver it still can.
    #[track_caller]
    pub(crate) fn lost_nothing(&self) {
        assert_eq!(self.registry.pull_all(), self.before);
    }

    /// The untagged images are gone, and can be pushed again and pulled: the registry does not believe that it has
    /// their layers.
    #[track_caller]
    pub(crate) fn is_collected(&self) {
        self.lost_nothing();
        for number in 0..8 {
            let image = old_image(number);
            assert!(!self.registry.has_manifest("team/app", &image.digest()), "old {number} is still there");
            self.registry.push("team/app", "again", &image);
            assert!(self.registry.pull("team/app", "again").unwrap().missing.is_empty());
        }
        self.registry.api_delete("team/app", &old_image(7).digest());
    }

    /// Runs that have something in their trash.
    pub(crate) fn trash(&self) -> Vec<Value> {
        let root = self.registry.root();
        let list = finish(regsweep(&["trash", "list", "--format", "json", root.to_str().unwrap()]));
        let list: Value = serde_json::from_slice(&list.exits(0).stdout).unwrap();
        list["runs"].as_array().unwrap_or_else(|| panic!("{list}")).clone()
    }

    /// Whether the collector has begun to move things.
    pub(crate) fn is_half_way(&self) -> bool {
        holds_something(&self.registry.v2().join("_regsweep/runs"))
    }

    /// The collector's process, as it has written it into its lock.
    pub(crate) fn collector(&self) -> Pid {
        let lock = fs::read(self.registry.v2().join("_regsweep/lock")).unwrap();
        let lock: Value = serde_json::from_slice(&lock).unwrap();
        Pid::from_raw(i32::try_from(lock["pid"].as_i64().unwrap()).unwrap()).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(pid) = self.text("pid").trim().parse().ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _gone = kill_process(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("--- restarts:\n{}", self.text("restarts"));
        }
    }
}

/// One of the images that go.
pub(crate) fn old_image(number: usize) -> Image {
    Image::oci(&format!("old {number}"), "linux/amd64", &[old_layer(number)])
}

fn old_layer(number: usize) -> Layer {
    layer(&format!("old {number}"), 20_000)
}

const BUSYBOX: &str = "/bin/busybox";

fn busybox() -> Command {
    let mut command = Command::new(BUSYBOX);
    command.arg("sh");
    command
}

/// Those of the programs that the script calls that this busybox has. Debian's has no `flock`, Alpine's has.
fn applets() -> Vec<&'static str> {
    assert!(Path::new(BUSYBOX).exists(), "busybox is missing: apt-get install busybox (Debian, Ubuntu)");
    let list = Command::new(BUSYBOX).arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let wanted = ["sh", "flock", "setsid", "awk", "df", "sed", "sleep", "rm", "cat", "cp", "mkdir", "date", "true"];
    let applets: Vec<_> = wanted.into_iter().filter(|name| list.lines().any(|line| line == *name)).collect();
    assert!(applets.len() >= wanted.len() - 1, "{applets:?}");
    applets
}

/// A port that nobody is given by chance: below those that the system gives out. The registry has to find it free again
/// each time that it is restarted.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 150).unwrap() * 100;
    (0..500)
        .map(|_| 11_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
