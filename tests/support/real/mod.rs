//! A real registry to try things on: `docker-registry` on a free port of 127.0.0.1 with its storage in a temporary
//! folder, pushed to and pulled from with `skopeo` (which verifies every digest), and regsweep and the registry's own
//! collector beside it.
//!
//! Each registry, port and folder belongs to one test, so tests run side by side; what a test starts ends with it.
//! Where `docker-registry` or `skopeo` is missing a test fails and says what to install: it never skips.

pub(crate) mod disk;
mod http;
pub(crate) mod pull;
mod push;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{self, Run, finish, not_there};
use disk::v2_of;
use http::request;

/// The account of a registry that asks for one, and the bcrypt line of it that the registry reads.
pub(crate) const USER: &str = "operator";
pub(crate) const PASSWORD: &str = "s3cret-Pa55";
const HTPASSWD: &str = "operator:$2y$05$abcdefghijklmnopqrstuuaa.ADHinTr43GDnwh7WUO1YHHk1hS02\n";

/// A header by which a test knows its own registry, should another one answer on the port.
const MARK: &str = "X-Regsweep-Test";

/// What an operator changes in the registry's config to switch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Writable,
    ReadOnly,
}

/// A registry process and its storage, both gone when this is dropped.
pub(crate) struct RealRegistry {
    dir: TempDir,
    with_password: bool,
    /// The registry that this one is a pull-through cache of.
    upstream: Option<String>,
    port: u16,
    process: Option<Child>,
    next_name: AtomicUsize,
}

impl RealRegistry {
    /// A writable registry with nothing in it.
    pub(crate) fn start() -> RealRegistry {
        RealRegistry::start_where(false, None)
    }

    /// A writable registry that answers 401 to everybody but [`USER`] with [`PASSWORD`].
    pub(crate) fn start_with_password() -> RealRegistry {
        RealRegistry::start_where(true, None)
    }

    /// A pull-through cache of another registry.
    pub(crate) fn start_cache_of(upstream: &RealRegistry) -> RealRegistry {
        RealRegistry::start_where(false, Some(upstream.url()))
    }

    /// From its next start on it is a cache of this one, which may have another port since.
    pub(crate) fn is_cache_of(&mut self, upstream: &RealRegistry) {
        self.upstream = Some(upstream.url());
    }

    fn start_where(with_password: bool, upstream: Option<String>) -> RealRegistry {
        let dir = tempfile::Builder::new().prefix("regsweep-registry-").tempdir().unwrap();
        fs::create_dir(dir.path().join("storage")).unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let (port, next_name) = (free_port(), AtomicUsize::new(0));
        let mut registry = RealRegistry { dir, with_password, upstream, port, process: None, next_name };
        registry.restart(Mode::Writable);
        registry
    }

    /// Ends the registry and starts it again on the same storage, read-only or writable.
    pub(crate) fn restart(&mut self, mode: Mode) {
        self.stop();
        for _ in 0..20 {
            self.write_config(&self.config(), mode);
            if self.serve() {
                return;
            }
            self.port = free_port();
        }
        panic!("docker-registry found no free port in 20 attempts:\n{}", self.log());
    }

    /// One attempt. False where somebody else has taken the port in the meantime.
    fn serve(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let started_at = log.metadata().unwrap().len();
        let mut command = program("docker-registry", &self.home());
        command.arg("serve").arg(self.config()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| not_there(&command, &error));
        let process = self.process.insert(process);

        let patience = Instant::now() + Duration::from_secs(30);
        let mut pause = Duration::from_millis(5);
        while Instant::now() < patience {
            if let Some(status) = process.try_wait().unwrap() {
                let log = fs::read(self.dir.path().join("log")).unwrap();
                let log = String::from_utf8_lossy(&log[usize::try_from(started_at).unwrap()..]).into_owned();
                self.process = None;
                assert!(log.contains("address already in use"), "docker-registry ended with {status}:\n{log}");
                return false;
            }
            // Briefly: somebody who has taken the port may accept and never answer.
            let url = format!("http://127.0.0.1:{}/v2/", self.port);
            let answered = request("GET", &url, &[], None, Duration::from_secs(1));
            if answered.is_ok_and(|answer| answer.mark == self.dir.path().display().to_string()) {
                return true;
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        panic!("docker-registry did not answer within 30 s:\n{}", self.log());
    }

    /// Ends the registry for good. Whoever starts it from here on, with its config, does so at this port.
    pub(crate) fn leave_to_others(&mut self, port: u16) {
        self.stop();
        self.port = port;
        self.write_config(&self.config(), Mode::Writable);
    }

    /// Ends the registry; its storage stays.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Writes a config file for this storage and port.
    pub(crate) fn write_config(&self, file: &Path, mode: Mode) {
        let mut text = config_of(&self.root(), mode);
        writeln!(text, "http:").unwrap();
        writeln!(text, "  addr: {}", self.address()).unwrap();
        writeln!(text, "  secret: of a test").unwrap();
        writeln!(text, "  headers: {{{MARK}: [{:?}]}}", self.dir.path()).unwrap();
        if self.with_password {
            let passwords = self.dir.path().join("htpasswd");
            writeln!(text, "auth: {{htpasswd: {{realm: test, path: {passwords:?}}}}}").unwrap();
        }
        if let Some(upstream) = &self.upstream {
            writeln!(text, "proxy: {{remoteurl: {upstream:?}}}").unwrap();
        }
        fs::write(file, text).unwrap();
    }

    /// The storage root: the folder that holds `docker/registry/v2`.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    /// `docker/registry/v2` in it.
    pub(crate) fn v2(&self) -> PathBuf {
        v2_of(&self.root())
    }

    /// The folder of a repository.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        self.v2().join("repositories").join(name)
    }

    /// The config file that the registry was started with last.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config.yml")
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `http://user:password@127.0.0.1:PORT`.
    pub(crate) fn url_with_password(&self) -> String {
        format!("http://{USER}:{PASSWORD}@{}", self.address())
    }

    /// All that the registry has said since the test began.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A path in the test's folder, beside the storage, that nothing has used yet.
    pub(crate) fn fresh_path(&self, what: &str) -> PathBuf {
        self.dir.path().join(format!("{what}-{}", self.next_name.fetch_add(1, Ordering::Relaxed)))
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn skopeo(&self, arguments: &[&str]) -> Run {
        let home = self.home();
        let mut command = program("skopeo", &home);
        // skopeo keeps a cache of where it saw which blob; for root that would be one file for the whole machine.
        command.env("_CONTAINERS_ROOTLESS_UID", "65534").env("XDG_RUNTIME_DIR", &home).env("XDG_DATA_HOME", &home);
        command.args(["--insecure-policy", "--command-timeout", "60s", "--tmpdir"]).arg(&home).args(arguments);
        finish(command)
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        self.stop();
        let log = self.log();
        if std::thread::panicking() && !log.is_empty() {
            let mut tail: Vec<&str> = log.lines().rev().take(12).collect();
            tail.reverse();
            let tail: Vec<String> = tail.into_iter().map(|line| line.chars().skip(36).take(240).collect()).collect();
            eprintln!("--- the registry's last lines:\n{}", tail.join("\n"));
        }
    }
}

/// A port that was free a moment ago: whoever binds it has to be ready to find it taken.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The part of a registry's config that says where the storage is, and whether it is read-only.
pub(crate) fn config_of(root: &Path, mode: Mode) -> String {
    format!(
        "version: 0.1\n\
         log: {{level: info, accesslog: {{disabled: true}}}}\n\
         storage:\n  \
           filesystem: {{rootdirectory: {root:?}}}\n  \
           delete: {{enabled: true}}\n  \
           cache: {{blobdescriptor: inmemory}}\n  \
           maintenance:\n    \
             uploadpurging: {{enabled: false}}\n    \
             readonly: {{enabled: {}}}\n",
        mode == Mode::ReadOnly
    )
}

/// Runs regsweep in an empty environment.
pub(crate) fn regsweep<A: AsRef<OsStr>>(arguments: &[A]) -> Run {
    regsweep_where(&[], arguments)
}

/// Runs regsweep in an environment of these variables alone.
pub(crate) fn regsweep_where<A: AsRef<OsStr>>(environment: &[(&str, &str)], arguments: &[A]) -> Run {
    let mut command = process::regsweep(arguments);
    command.envs(environment.iter().copied());
    finish(command)
}

/// Runs the registry's own collector on a storage root that no registry serves.
pub(crate) fn stock_collector(root: &Path, flags: &[&str]) -> Run {
    let dir = tempfile::Builder::new().prefix("regsweep-stock-").tempdir().unwrap();
    let config = dir.path().join("config.yml");
    fs::write(&config, config_of(root, Mode::ReadOnly)).unwrap();
    let mut command = program("docker-registry", dir.path());
    command.arg("garbage-collect").args(flags).arg(&config);
    finish(command)
}

/// A command with nothing in its environment but where programs are and this home.
fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command.env_clear().env("PATH", path).env("HOME", home).current_dir(home);
    command
}
