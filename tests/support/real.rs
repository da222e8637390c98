//! A real registry to try things on: `docker-registry` on a free port of 127.0.0.1 with its storage in a temporary
//! folder, pushed to and pulled from with `skopeo` (which verifies every digest), and regsweep and the registry's own
//! collector beside it.
//!
//! Each registry, port and folder belongs to one test, so tests run side by side; what a test starts ends with it.
//! Where `docker-registry` or `skopeo` is missing a test fails and says what to install: it never skips.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::image::{self, Image, hex_of};

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

/// An answer of the registry.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) location: String,
    pub(crate) mark: String,
    pub(crate) body: Vec<u8>,
}

/// One tag as it was pulled: what it points at, and every digest that came with it on all platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pulled {
    pub(crate) digest: String,
    pub(crate) contents: BTreeSet<String>,
    /// What the manifests name and the registry does not have: the gaps of a sparse index.
    pub(crate) missing: BTreeSet<String>,
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
        let process = program("docker-registry", &self.home())
            .arg("serve")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| not_there("docker-registry", &error));
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

    // ---- pushing

    /// Pushes an image with skopeo under a tag, byte for byte, all platforms; what skopeo has no notion of (an index
    /// in an index, a build cache) goes over the registry's HTTP API instead.
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &Image) {
        if skopeo_knows(image) {
            self.skopeo_push(repository, tag, image, &["--preserve-digests"]);
        } else {
            self.raw_push(repository, tag, image);
        }
        let now = self.digest_of(repository, tag);
        assert_eq!(now.as_deref(), Some(image.digest().as_str()), "{repository}:{tag} after its push");
    }

    /// Pushes with `skopeo --format v2s2`, which rewrites an OCI image as Docker schema 2, and an index as a manifest
    /// list. Says which digest the tag has then.
    pub(crate) fn push_as_docker(&self, repository: &str, tag: &str, image: &Image) -> String {
        self.skopeo_push(repository, tag, image, &["--format", "v2s2"]);
        self.digest_of(repository, tag).expect("it was just pushed")
    }

    /// Pushes an image that no tag names: by digest.
    pub(crate) fn push_untagged(&self, repository: &str, image: &Image) {
        self.raw_push(repository, &image.digest(), image);
    }

    fn skopeo_push(&self, repository: &str, tag: &str, image: &Image, flags: &[&str]) {
        let layout = self.fresh_path("layout");
        let from = if image.manifest.media_type.contains(".docker.") {
            image.write_dir(&layout);
            format!("dir:{}", layout.display())
        } else {
            image.write_layout(&layout, "it");
            format!("oci:{}:it", layout.display())
        };
        let to = format!("docker://{}/{repository}:{tag}", self.address());
        let mut arguments = vec!["copy", "--quiet", "--all", "--dest-tls-verify=false"];
        let account = format!("{USER}:{PASSWORD}");
        if self.with_password {
            arguments.extend(["--dest-creds", &account]);
        }
        arguments.extend(flags);
        arguments.extend([from.as_str(), to.as_str()]);
        self.skopeo(&arguments).success();
        fs::remove_dir_all(&layout).unwrap();
    }

    /// Pushes over HTTP: blobs first, then children, then the manifest; `reference` is a tag or a digest.
    pub(crate) fn raw_push(&self, repository: &str, reference: &str, image: &Image) {
        for blob in &image.blobs {
            self.upload(repository, &blob.bytes);
        }
        for child in &image.children {
            self.raw_push(repository, &child.digest(), child);
        }
        self.put_manifest(repository, reference, image).expect_status(201);
    }

    /// Puts a manifest alone and gives the registry's answer, whatever it is.
    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, image: &Image) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.request("PUT", &path, &[("Content-Type", &image.manifest.media_type)], Some(&image.manifest.bytes))
    }

    /// Uploads a blob that nothing refers to yet; gives its digest.
    pub(crate) fn upload(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = image::sha256(bytes);
        if self.request("HEAD", &format!("/v2/{repository}/blobs/{digest}"), &[], None).status == 200 {
            return digest;
        }
        let location = self.begin_upload(repository);
        let joint = if location.contains('?') { '&' } else { '?' };
        let octets = [("Content-Type", "application/octet-stream")];
        self.request("PUT", &format!("{location}{joint}digest={digest}"), &octets, Some(bytes)).expect_status(201);
        digest
    }

    /// Begins an upload, sends these bytes and never finishes; gives the upload's folder.
    pub(crate) fn abandon_upload(&self, repository: &str, bytes: &[u8]) -> PathBuf {
        let location = self.begin_upload(repository);
        let octets = [("Content-Type", "application/octet-stream")];
        self.request("PATCH", &location, &octets, Some(bytes)).expect_status(202);
        let id = location.split('?').next().unwrap().rsplit('/').next().unwrap();
        let folder = self.repository(repository).join("_uploads").join(id);
        assert!(folder.join("startedat").is_file(), "{} has no startedat", folder.display());
        folder
    }

    fn begin_upload(&self, repository: &str) -> String {
        let begun = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], Some(b""));
        begun.expect_status(202).location
    }

    // ---- deleting

    /// `DELETE` of a manifest by digest, as clients do it.
    pub(crate) fn api_delete(&self, repository: &str, digest: &str) {
        self.request("DELETE", &format!("/v2/{repository}/manifests/{digest}"), &[], None).expect_status(202);
    }

    /// Takes an image out on disk as many guides tell people to: the tag's index entry and the revision, nothing else.
    pub(crate) fn delete_by_hand(&self, repository: &str, tag: &str, digest: &str) {
        let manifests = self.repository(repository).join("_manifests");
        fs::remove_dir_all(manifests.join("tags").join(tag).join("index/sha256").join(hex_of(digest))).unwrap();
        fs::remove_dir_all(manifests.join("revisions/sha256").join(hex_of(digest))).unwrap();
    }

    // ---- pulling

    /// The digest that a tag has now, of the bytes that the registry serves; `None` where it answers 404.
    pub(crate) fn digest_of(&self, repository: &str, tag: &str) -> Option<String> {
        self.manifest(repository, tag).map(|answer| image::sha256(&answer.body))
    }

    /// Whether a manifest can be had by its digest.
    pub(crate) fn has_manifest(&self, repository: &str, digest: &str) -> bool {
        self.manifest(repository, digest).is_some()
    }

    fn manifest(&self, repository: &str, reference: &str) -> Option<Answer> {
        let accept =
            [image::OCI_MANIFEST, image::OCI_INDEX, image::OCI_ARTIFACT, image::DOCKER_MANIFEST, image::DOCKER_LIST]
                .join(", ");
        let path = format!("/v2/{repository}/manifests/{reference}");
        let answer = self.request("GET", &path, &[("Accept", &accept)], None);
        match answer.status {
            200 => Some(answer),
            404 => None,
            other => panic!("{path}: {other} {}", answer.text()),
        }
    }

    /// Names of all repositories that the storage has (the catalog of 2.8 lists only those with a `_layers` folder).
    pub(crate) fn repositories(&self) -> Vec<String> {
        let base = self.v2().join("repositories");
        let mut names = Vec::new();
        for entry in WalkDir::new(&base).sort_by_file_name() {
            let entry = entry.unwrap();
            if entry.file_name() == "_manifests" {
                let name = entry.path().parent().unwrap().strip_prefix(&base).unwrap();
                names.push(name.to_str().unwrap().to_owned());
            }
        }
        names
    }

    /// The tags that the registry lists for a repository.
    pub(crate) fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self.request("GET", &format!("/v2/{repository}/tags/list"), &[], None);
        if answer.status == 404 {
            return Vec::new();
        }
        let list = answer.expect_status(200).json();
        let mut tags: Vec<String> =
            list["tags"].as_array().into_iter().flatten().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    }

    /// Pulls every tag of every repository on all platforms and verifies all that comes: over HTTP, digest by digest,
    /// and with skopeo. The keys are `repository:tag`; a tag that the registry lists but answers 404 for is not in it.
    pub(crate) fn pull_all(&self) -> BTreeMap<String, Pulled> {
        let mut all = BTreeMap::new();
        for repository in self.repositories() {
            for tag in self.tags(&repository) {
                if let Some(pulled) = self.pull(&repository, &tag) {
                    all.insert(format!("{repository}:{tag}"), pulled);
                }
            }
        }
        all
    }

    /// Pulls one tag on all platforms, as [`RealRegistry::pull_all`] does.
    pub(crate) fn pull(&self, repository: &str, tag: &str) -> Option<Pulled> {
        let answer = self.manifest(repository, tag)?;
        let digest = image::sha256(&answer.body);
        let mut pulled = Pulled { digest: digest.clone(), contents: BTreeSet::new(), missing: BTreeSet::new() };
        let mut strange = false;
        self.pull_manifest(repository, &digest, answer, &mut pulled, 0, &mut strange);
        if !strange && pulled.missing.is_empty() {
            self.skopeo_pull(repository, tag, &pulled);
        }
        Some(pulled)
    }

    /// Follows one manifest. `strange` is set where there is something in it that skopeo has no notion of.
    fn pull_manifest(
        &self,
        repository: &str,
        digest: &str,
        answer: Answer,
        pulled: &mut Pulled,
        depth: usize,
        strange: &mut bool,
    ) {
        assert_eq!(image::sha256(&answer.body), digest, "{repository}: the manifest's bytes are not its digest's");
        pulled.contents.insert(digest.to_owned());
        let manifest = answer.json();
        let entries = ["manifests", "layers", "blobs"].iter().filter_map(|key| manifest[*key].as_array()).flatten();
        let descriptors: Vec<&Value> = manifest.get("config").into_iter().chain(entries).collect();
        let is_index = manifest.get("manifests").is_some();
        *strange |= depth > 0 && is_index;
        for descriptor in descriptors {
            let child = descriptor["digest"].as_str().unwrap();
            let media_type = descriptor["mediaType"].as_str().unwrap();
            if media_type.contains(".manifest.") || media_type.contains(".image.index.") {
                match self.manifest(repository, child) {
                    Some(answer) => self.pull_manifest(repository, child, answer, pulled, depth + 1, strange),
                    None => drop(pulled.missing.insert(child.to_owned())),
                }
                continue;
            }
            *strange |= is_index;
            let blob = self.request("GET", &format!("/v2/{repository}/blobs/{child}"), &[], None);
            if blob.status == 404 {
                pulled.missing.insert(child.to_owned());
                continue;
            }
            let bytes = blob.expect_status(200).body;
            assert_eq!(image::sha256(&bytes), child, "{repository}: the blob's bytes are not its digest's");
            pulled.contents.insert(child.to_owned());
        }
    }

    /// Pulls with skopeo into a `dir:` folder, which keeps every manifest as it came, and looks that all is there.
    fn skopeo_pull(&self, repository: &str, tag: &str, pulled: &Pulled) {
        let out = self.fresh_path("pulled");
        let from = format!("docker://{}/{repository}:{tag}", self.address());
        let to = format!("dir:{}", out.display());
        let mut arguments = vec!["copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false"];
        let account = format!("{USER}:{PASSWORD}");
        if self.with_password {
            arguments.extend(["--src-creds", &account]);
        }
        arguments.extend([from.as_str(), to.as_str()]);
        self.skopeo(&arguments).success();
        let got: BTreeSet<String> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name() != "version")
            .map(|entry| image::sha256(&fs::read(entry.path()).unwrap()))
            .collect();
        assert_eq!(got, pulled.contents, "{repository}:{tag}: what skopeo pulled, against what the manifests name");
        fs::remove_dir_all(&out).unwrap();
    }

    fn skopeo(&self, arguments: &[&str]) -> Ran {
        let home = self.home();
        let mut command = program("skopeo", &home);
        // skopeo keeps a cache of where it saw which blob; for root that would be one file for the whole machine.
        command.env("_CONTAINERS_ROOTLESS_UID", "65534").env("XDG_RUNTIME_DIR", &home).env("XDG_DATA_HOME", &home);
        command.args(["--insecure-policy", "--command-timeout", "60s", "--tmpdir"]).arg(&home).args(arguments);
        run(command, "skopeo")
    }

    /// Any request to the registry, with the account where it asks for one.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url()) };
        let account = base64(format!("{USER}:{PASSWORD}").as_bytes());
        let authorization = format!("Basic {account}");
        let mut headers = headers.to_vec();
        if self.with_password {
            headers.push(("Authorization", &authorization));
        }
        request(method, &url, &headers, body, Duration::from_secs(30))
            .unwrap_or_else(|error| panic!("{method} {url}: {error}\n{}", self.log()))
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

impl Answer {
    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// skopeo pushes images, and indexes of images.
fn skopeo_knows(image: &Image) -> bool {
    let plain = |image: &Image| image.manifest.media_type != image::OCI_ARTIFACT && !is_index(image);
    if is_index(image) { !image.children.is_empty() && image.children.iter().all(plain) } else { plain(image) }
}

fn is_index(image: &Image) -> bool {
    [image::OCI_INDEX, image::DOCKER_LIST].contains(&image.manifest.media_type.as_str())
}

fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
    patience: Duration,
) -> Result<Answer, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .proxy(None)
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = match body {
        Some(bytes) => agent.run(request.body(bytes)?)?,
        None => agent.run(request.body(())?)?,
    };
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    let (content_type, location, mark) = (header("Content-Type"), header("Location"), header(MARK));
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
    Ok(Answer { status, content_type, location, mark, body })
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain([&0, &0]).take(3).fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
        for position in 0..4 {
            let letter = char::from(LETTERS[group >> (18 - 6 * position) & 63]);
            text.push(if position > chunk.len() { '=' } else { letter });
        }
    }
    text
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

// ---- running programs

/// What a program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) name: &'static str,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Goes on only where the program ended with this exit status.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ran {
        assert_eq!(
            self.code,
            Some(code),
            "{}: the exit status\n--- stdout\n{}\n--- stderr\n{}",
            self.name,
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn success(self) -> Ran {
        self.expect(0)
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "{}: no JSON on stdout: {error}\n--- stdout\n{}\n--- stderr\n{}",
                self.name, self.stdout, self.stderr
            )
        })
    }

    /// All that the program said.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs regsweep in an empty environment.
pub(crate) fn regsweep<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Ran {
    regsweep_where(&[], arguments)
}

/// Runs regsweep in an environment of these variables alone.
pub(crate) fn regsweep_where<A: AsRef<std::ffi::OsStr>>(environment: &[(&str, &str)], arguments: &[A]) -> Ran {
    // Not `env!`: the example that captures the fixture uses this file too, and has no binary to run.
    let Some(binary) = option_env!("CARGO_BIN_EXE_regsweep") else { panic!("only tests know where regsweep is") };
    let mut command = Command::new(binary);
    command.env_clear().envs(environment.iter().copied()).args(arguments).stdin(Stdio::null());
    run(command, "regsweep")
}

/// Runs the registry's own collector on a storage root that no registry serves.
pub(crate) fn stock_collector(root: &Path, flags: &[&str]) -> Ran {
    let dir = tempfile::Builder::new().prefix("regsweep-stock-").tempdir().unwrap();
    let config = dir.path().join("config.yml");
    fs::write(&config, config_of(root, Mode::ReadOnly)).unwrap();
    let mut command = program("docker-registry", dir.path());
    command.arg("garbage-collect").args(flags).arg(&config);
    run(command, "docker-registry")
}

/// A command with nothing in its environment but where programs are and this home.
fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command.env_clear().env("PATH", path).env("HOME", home).current_dir(home);
    command
}

/// Runs a program to its end, or for two minutes: none of those here takes seconds, so one that does not end hangs.
fn run(mut command: Command, name: &'static str) -> Ran {
    // Files, not pipes: nobody has to read while the program writes.
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let mut process = command.spawn().unwrap_or_else(|error| not_there(name, &error));
    let patience = Instant::now() + Duration::from_secs(120);
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > patience {
            process.kill().unwrap();
            process.wait().unwrap();
            break None;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    let ran = Ran {
        name,
        code: status.and_then(|status| status.code()),
        stdout: text_of(&mut stdout),
        stderr: text_of(&mut stderr),
    };
    assert!(status.is_some(), "{name} has not ended within two minutes: {command:?}\n{}", ran.said());
    ran
}

fn text_of(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn not_there(name: &str, error: &std::io::Error) -> ! {
    assert_eq!(error.kind(), ErrorKind::NotFound, "{name} does not start: {error}");
    panic!(
        "{name} is not installed, and this test needs it: `apt-get install docker-registry skopeo` on Debian and \
         Ubuntu, or run ./scripts/test, which installs both"
    );
}

// ---- looking at trees

/// `docker/registry/v2` below a storage root.
pub(crate) fn v2_of(root: &Path) -> PathBuf {
    root.join("docker/registry/v2")
}

/// The digests of all blobs that are there: of `blobs/*/*/*/data`.
pub(crate) fn blobs_of(root: &Path) -> BTreeSet<String> {
    let mut digests = BTreeSet::new();
    for entry in WalkDir::new(v2_of(root).join("blobs")).min_depth(4).max_depth(4) {
        let entry = entry.unwrap();
        if entry.file_name() == "data" {
            let folder = entry.path().parent().unwrap();
            let algorithm = folder.parent().unwrap().parent().unwrap().file_name().unwrap();
            digests.insert(format!("{}:{}", algorithm.display(), folder.file_name().unwrap().display()));
        }
    }
    digests
}

/// The digests that have a layer link in a repository.
pub(crate) fn layer_links_of(root: &Path, repository: &str) -> BTreeSet<String> {
    links_of(&v2_of(root).join("repositories").join(repository).join("_layers"))
}

/// The digests that have a revision link in a repository.
pub(crate) fn revision_links_of(root: &Path, repository: &str) -> BTreeSet<String> {
    links_of(&v2_of(root).join("repositories").join(repository).join("_manifests/revisions"))
}

fn links_of(folder: &Path) -> BTreeSet<String> {
    WalkDir::new(folder)
        .into_iter()
        .filter(|entry| {
            !entry.as_ref().is_err_and(|error| error.io_error().is_some_and(|e| e.kind() == ErrorKind::NotFound))
        })
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() == "link")
        .map(|entry| {
            let folder = entry.path().parent().unwrap();
            let algorithm = folder.parent().unwrap().file_name().unwrap();
            format!("{}:{}", algorithm.display(), folder.file_name().unwrap().display())
        })
        .collect()
}

/// Copies a tree with all its times, links and owners.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.arg("-a").arg("--").arg(from).arg(to);
    run(command, "cp").success();
}

/// What there is to know about one file or folder without reading it, and a file's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    kind: &'static str,
    mode: u32,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    content: String,
}

/// Every path below a folder with all that a write would change. Times of access are left out: reading changes them.
pub(crate) fn fingerprint(folder: &Path) -> BTreeMap<PathBuf, Fingerprint> {
    let mut all = BTreeMap::new();
    for entry in WalkDir::new(folder) {
        let entry = entry.unwrap();
        let metadata = entry.path().symlink_metadata().unwrap();
        let file_type = metadata.file_type();
        let (kind, content) = if file_type.is_dir() {
            ("folder", String::new())
        } else if file_type.is_symlink() {
            ("symlink", fs::read_link(entry.path()).unwrap().display().to_string())
        } else {
            ("file", image::sha256(&fs::read(entry.path()).unwrap()))
        };
        let fingerprint = Fingerprint {
            kind,
            mode: metadata.mode(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            content,
        };
        all.insert(entry.path().strip_prefix(folder).unwrap().to_owned(), fingerprint);
    }
    all
}

/// The same without what moving things away and back leaves changed: times of change (a rename sets them), times of
/// the folders in which something moved, and regsweep's own folder. Files keep inode, mode, size, content and mtime.
pub(crate) fn as_moved_back(tree: &BTreeMap<PathBuf, Fingerprint>) -> BTreeMap<PathBuf, Fingerprint> {
    tree.iter()
        .filter(|(path, _)| !path.components().any(|part| part.as_os_str() == "_regsweep"))
        .map(|(path, fingerprint)| {
            let mut fingerprint = Fingerprint { changed: (0, 0), ..fingerprint.clone() };
            if fingerprint.kind == "folder" {
                (fingerprint.inode, fingerprint.size, fingerprint.modified) = (0, 0, (0, 0));
            }
            (path.clone(), fingerprint)
        })
        .collect()
}

/// Fails with the paths that differ, not with two dumps of everything.
#[track_caller]
pub(crate) fn assert_same_tree(before: &BTreeMap<PathBuf, Fingerprint>, after: &BTreeMap<PathBuf, Fingerprint>) {
    let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let mut differences = String::new();
    for path in paths {
        let (was, is) = (before.get(path), after.get(path));
        if was != is {
            writeln!(differences, "{}\n  before: {was:?}\n  after:  {is:?}", path.display()).unwrap();
        }
    }
    assert!(differences.is_empty(), "the tree has changed:\n{differences}");
}
