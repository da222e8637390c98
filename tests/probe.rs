//! The probe and the config against a real registry: Debian's `docker-registry` (2.8.2). A missing one is a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use regsweep::config::RegistryConfig;
use regsweep::interlock::probe::{Credentials, ProbeAnswer, RegistryUrl, probe};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A running registry with its own folder; dropping it stops it.
struct Registry {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
    config: RegistryConfig,
}

impl Registry {
    /// `PORT` and `FOLDER` in the text and in the values of the variables are replaced.
    fn start(text: &str, environment: &[(&str, &str)]) -> Self {
        for _attempt in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let fill = |text: &str| {
                text.replace("PORT", &port.to_string()).replace("FOLDER", &folder.path().display().to_string())
            };
            let environment: Vec<(String, String)> =
                environment.iter().map(|(name, value)| ((*name).to_owned(), fill(value))).collect();
            write(folder.path(), "config.yml", &fill(text));
            // `htpasswd -nbB user pass`: the registry takes bcrypt only.
            write(folder.path(), "htpasswd", "user:$2b$05$anjavv.UCLUS2XBvnPCGdelKZaEss0hUrF8zbWoyZ6B3L9aBLKlf2\n");
            let mut process = Command::new("docker-registry")
                .arg("serve")
                .arg(folder.path().join("config.yml"))
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap())
                .envs(environment.iter().map(|(name, value)| (name, value)))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("docker-registry must be installed: apt-get install docker-registry");
            for _ in 0..200 {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    let config = RegistryConfig::parse(fill(text).as_bytes(), &environment).unwrap();
                    return Self { process, folder, port, config };
                }
                // Somebody else may have taken the port in between.
                if process.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(25));
            }
            let _ignored = process.kill();
            let _ignored = process.wait();
        }
        panic!("docker-registry did not start with\n{text}");
    }

    /// What it answers at the address that its own config gives.
    fn ask(&self, credentials: Option<&str>) -> ProbeAnswer {
        let url: RegistryUrl = self.config.http_url.as_deref().unwrap().parse().unwrap();
        let credentials = credentials.map(|text| Credentials::parse(text).unwrap());
        probe(&url, credentials.as_ref(), TIMEOUT)
    }

    /// Whether it has written anything into its storage root.
    fn has_written(&self) -> bool {
        self.folder.path().join("root").exists()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ignored = self.process.kill();
        let _ignored = self.process.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own folder")]
fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

const WRITABLE: &str =
    "version: 0.1\nhttp: {addr: 127.0.0.1:PORT}\nstorage:\n  filesystem: {rootdirectory: FOLDER/root}\n";
const HTPASSWD: &str = "auth: {htpasswd: {realm: x, path: FOLDER/htpasswd}}\n";

fn read_only() -> String {
    format!("{WRITABLE}  maintenance: {{readonly: {{enabled: true}}}}\n")
}

#[test]
fn a_writable_and_a_read_only_registry_are_told_apart_and_nothing_is_left_behind() {
    let json = "{\"enabled\":true}";
    let section = "{\"readonly\":{\"enabled\":yes}}";
    let prefix = read_only().replace("PORT}", "PORT, prefix: /a/b/}");
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);
    let read_only = read_only();
    let table: &[Row<'_>] = &[
        (WRITABLE, &[], false),
        (&read_only, &[], true),
        (&prefix, &[], true),
        (WRITABLE, &[("REGISTRY_STORAGE_MAINTENANCE_READONLY", json)], true),
        (WRITABLE, &[("REGISTRY_STORAGE_MAINTENANCE", section)], true),
        (&read_only, &[("REGISTRY_STORAGE_MAINTENANCE", "{}")], false),
        (&read_only, &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: FOLDER/root}}")], false),
    ];
    for (text, environment, expected) in table {
        let registry = Registry::start(text, environment);
        let answer = registry.ask(None);
        assert_eq!(answer == ProbeAnswer::ReadOnly, *expected, "{text} {environment:?}: {answer:?}");
        assert_eq!(answer == ProbeAnswer::Writable, !*expected, "{text} {environment:?}: {answer:?}");
        // The config alone says the same as the registry that runs with it.
        assert_eq!(registry.config.read_only, *expected, "{text} {environment:?}");
        assert!(!registry.has_written(), "{text} {environment:?}");
    }
}

/// The command for scripts: it says what the registry is, and waits until it is what it should be.
#[test]
fn the_command_says_what_a_registry_is_and_waits_for_it() {
    let ask = |arguments: &[&str], auth: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
        command.env_clear().arg("probe").args(arguments);
        if let Some(auth) = auth {
            command.env("REGSWEEP_REGISTRY_AUTH", auth);
        }
        let done = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    };
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    for (text, is, is_not, told) in [
        (WRITABLE.to_owned(), "writable", "read-only", "is writable: it would take a push"),
        (read_only(), "read-only", "writable", "is read-only: it answers 405 to a push"),
    ] {
        let registry = Registry::start(&text, &[]);
        let url = url(registry.port);
        let line = format!("{url} {told}\n");
        assert_eq!(ask(&[&url], None), (0, line.clone(), String::new()));
        assert_eq!(ask(&[&url, "--expect", is, "--wait", "1h"], None), (0, line.clone(), String::new()));
        assert_eq!(ask(&[&url, "--expect", is, "--quiet"], None), (0, String::new(), String::new()));
        let wrong = (4, String::new(), format!("regsweep: {line}"));
        assert_eq!(ask(&[&url, "--expect", is_not], None), wrong);
        assert_eq!(ask(&[&url, "--expect", is_not, "--wait", "300ms"], None), wrong);
    }
    let registry = Registry::start(&format!("{WRITABLE}{HTPASSWD}"), &[]);
    let here = url(registry.port);
    assert_eq!(ask(&[&here], Some("user:pass")).0, 0);
    let (code, _, said) = ask(&[&here], Some("user:wrong"));
    assert!(code == 1 && said.contains("wants credentials") && !said.contains("wrong"), "{code} {said}");
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let (code, _, said) = ask(&[&url(port), "--expect", "read-only"], None);
    assert_eq!((code, said), (4, format!("regsweep: {} does not answer: nobody serves there\n", url(port))));
    assert_eq!(ask(&[&url(port)], None).0, 1);
    assert_eq!(ask(&["ftp://127.0.0.1"], None).0, 2);

    // It was not there when it was first asked.
    let folder = tempfile::tempdir().unwrap();
    let text = read_only().replace("PORT", &port.to_string()).replace("FOLDER", &folder.path().display().to_string());
    write(folder.path(), "config.yml", &text);
    let waiting = Command::new(env!("CARGO_BIN_EXE_regsweep"))
        .env_clear()
        .args(["probe", "--expect", "read-only", "--wait", "60s", &url(port)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut late = Command::new("docker-registry")
        .arg("serve")
        .arg(folder.path().join("config.yml"))
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let done = waiting.wait_with_output().unwrap();
    late.kill().unwrap();
    late.wait().unwrap();
    assert_eq!(
        (done.status.code(), done.stdout),
        (Some(0), format!("{} is read-only: it answers 405 to a push\n", url(port)).into())
    );
}

#[test]
fn a_registry_with_passwords() {
    for (text, right) in [
        (format!("{WRITABLE}{HTPASSWD}"), ProbeAnswer::Writable),
        (format!("{}{HTPASSWD}", read_only()), ProbeAnswer::ReadOnly),
    ] {
        let registry = Registry::start(&text, &[]);
        assert_eq!(registry.ask(None), ProbeAnswer::CredentialsNeeded);
        assert_eq!(registry.ask(Some("user:wrong")), ProbeAnswer::CredentialsNeeded);
        assert_eq!(registry.ask(Some("user:pass")), right);
        assert!(!registry.has_written());
    }
}

#[test]
fn a_registry_with_tls_whose_certificate_names_another_host() {
    let keys = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry.example.org"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(keys.path())
        .stderr(Stdio::null())
        .status()
        .expect("openssl must be installed");
    assert!(made.success());
    let tls = format!("PORT, tls: {{certificate: {0}/certificate.pem, key: {0}/key.pem}}}}", keys.path().display());
    let registry = Registry::start(&read_only().replace("PORT}", &tls), &[]);
    assert_eq!(registry.ask(None), ProbeAnswer::ReadOnly);
    // Asked as http, Go's server says 400. That must not pass for a registry that takes pushes.
    let answer = probe(&format!("http://127.0.0.1:{}", registry.port).parse().unwrap(), None, TIMEOUT);
    assert!(matches!(&answer, ProbeAnswer::Unclear(words) if words.contains("https")), "{answer:?}");
}

#[test]
fn a_pull_through_cache_answers_like_any_other_registry() {
    let upstream = Registry::start(WRITABLE, &[]);
    for (text, expected) in [(WRITABLE.to_owned(), ProbeAnswer::Writable), (read_only(), ProbeAnswer::ReadOnly)] {
        let text = format!("{text}proxy: {{remoteurl: 'http://127.0.0.1:{}'}}\n", upstream.port);
        let registry = Registry::start(&text, &[]);
        assert_eq!(registry.ask(None), expected);
        // So only the config (or scheduler-state.json) tells that it is one.
        assert!(registry.config.proxy_remote_url.is_some());
    }
}

#[test]
fn a_wrong_prefix_and_a_stopped_registry_prove_nothing() {
    let registry = Registry::start(&read_only(), &[]);
    let answer = probe(&format!("127.0.0.1:{}/other", registry.port).parse().unwrap(), None, TIMEOUT);
    assert!(matches!(&answer, ProbeAnswer::Unclear(words) if words.contains("prefix")), "{answer:?}");
    let url = registry.config.http_url.clone().unwrap();
    drop(registry);
    assert_eq!(probe(&url.parse().unwrap(), None, TIMEOUT), ProbeAnswer::NobodyServes);
}
