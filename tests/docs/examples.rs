//! The examples.
//!
//! Every block that is marked `console` is run: each line that begins with `$ ` by `sh`, with regsweep on the path, in
//! an environment that holds nothing else; what it prints, on both streams, must be what the block shows. Each section
//! (`## `) has a machine of its own, with a fresh copy of `fixtures/sample-registry`, and its commands follow each
//! other there. The documentation speaks of a machine that is laid out like this:
//!
//! | in the documentation | here |
//! |---|---|
//! | `/var/lib/registry` | the copy of `fixtures/sample-registry` |
//! | `/etc/docker/registry/config.yml` | a config that names it, in read-only mode, at port 5000 |
//! | `/etc/regsweep` | a folder with `policy.yml` in it, the one that retention.md shows |
//! | `/srv/registry` and other places of [`FURTHER`] | further copies and empty folders, for scripts that name them |
//! | `/home/me/regsweep` | the current folder: a checkout, with `fixtures/sample-registry` in it |
//! | `127.0.0.1:5000` | answers like a registry in read-only mode |
//! | `127.0.0.1:5001` | answers like a registry that takes pushes |
//! | `cargo run --release --` | regsweep |
//! | `20260315T021501Z-0004711` | the machine's first run; `...502Z` the second |
//!
//! The paths and ports that stand for these have the same length, so that lines break where the reader's break. Times
//! differ from run to run: where there is one, words are compared and not lines.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use walkdir::WalkDir;

use crate::scripts::{blocks_of, recipes};
use crate::{Page, fail_if_any, page, pages, repository};

const STORAGE: &str = "/var/lib/registry";
const CONFIG: &str = "/etc/docker/registry";
const POLICIES: &str = "/etc/regsweep";
const CHECKOUT: &str = "/home/me/regsweep";
/// Where scripts also look for a registry (`true`), or write to.
pub(crate) const FURTHER: [(&str, bool); 4] = [
    ("/srv/registry", true),
    ("/var/opt/gitlab/gitlab-rails/shared/registry", true),
    ("/var/log/regsweep", false),
    ("/var/lib/node_exporter", false),
];
const READ_ONLY: &str = "127.0.0.1:5000";
const WRITABLE: &str = "127.0.0.1:5001";

const CONFIG_TEXT: &str = "version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/registry
  maintenance:
    readonly:
      enabled: true
http:
  addr: 127.0.0.1:5000
";

/// What stands here for what the documentation speaks of.
pub(crate) struct Machine {
    names: Vec<(&'static str, String)>,
    checkout: PathBuf,
    /// The runs that its commands have named, the first first.
    runs: Vec<String>,
    status: i32,
    folders: Vec<TempDir>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let folders = [STORAGE, CONFIG, POLICIES, CHECKOUT].map(folder_for);
        let [storage, config, policies, checkout] = folders.each_ref().map(|folder| folder.path().to_path_buf());
        let fixture = repository().join("fixtures/sample-registry");
        copy(&fixture, &storage);
        push_at_fixed_times(&storage);
        copy(&fixture, &checkout.join("fixtures/sample-registry"));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let names = vec![
            (STORAGE, text(&storage)),
            (CONFIG, text(&config)),
            (POLICIES, text(&policies)),
            (CHECKOUT, text(&checkout)),
            (READ_ONLY, answering("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "")),
            (WRITABLE, answering("400 Bad Request", "", r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#)),
        ];
        for (documented, real) in &names {
            assert_eq!(documented.len(), real.len(), "{documented} and {real} break lines at the same place");
        }
        let machine = Machine { names, checkout, runs: Vec::new(), status: 0, folders: folders.into() };
        fs::write(config.join("config.yml"), machine.real(CONFIG_TEXT)).unwrap();
        fs::write(policies.join("policy.yml"), documented_policy()).unwrap();
        machine
    }

    /// Makes those places of [`FURTHER`] that the text names.
    pub(crate) fn with_places_of(mut self, text: &str) -> Self {
        for (documented, is_registry) in FURTHER.into_iter().filter(|(documented, _)| text.contains(documented)) {
            let folder = folder_for(documented);
            if is_registry {
                copy(&repository().join("fixtures/sample-registry"), folder.path());
            }
            self.names.push((documented, folder.path().to_str().unwrap().to_owned()));
            self.folders.push(folder);
        }
        self
    }

    /// The folders that stand for documented ones.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(TempDir::path)
    }

    pub(crate) fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// From the documentation's names to this machine's.
    pub(crate) fn real(&self, text: &str) -> String {
        let mut text = text.replace("cargo run --release -- ", "regsweep ");
        for (documented, real) in &self.names {
            text = text.replace(documented, real);
        }
        for (place, run) in self.runs.iter().enumerate() {
            text = text.replace(&documented_run(place), run);
        }
        text
    }

    /// And back.
    fn documented(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (documented, real) in &self.names {
            text = text.replace(real, documented);
        }
        let mut shown = String::new();
        let mut rest = text.as_str();
        while let Some(character) = rest.chars().next() {
            let length = run_id(rest).unwrap_or(0);
            if length == 0 {
                shown.push(character);
                rest = &rest[character.len_utf8()..];
                continue;
            }
            let (run, after) = rest.split_at(length);
            let place = self.runs.iter().position(|known| known == run).unwrap_or_else(|| {
                self.runs.push(run.to_owned());
                self.runs.len() - 1
            });
            shown.push_str(&documented_run(place));
            rest = after;
        }
        shown
    }

    /// Runs one command as a reader would, and gives what they would see.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let script = format!("exec 2>&1; (exit {}); {}", self.status, self.real(command));
        let binaries = Path::new(env!("CARGO_BIN_EXE_regsweep")).parent().unwrap();
        let output = Command::new("/bin/sh")
            .args(["-c", &script])
            .env_clear()
            .env("PATH", format!("{}:{}:/usr/local/bin:/usr/bin:/bin", binaries.display(), recipes().display()))
            .env("LC_ALL", "C")
            .current_dir(&self.checkout)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        self.status = output.status.code().unwrap_or(-1);
        self.documented(&String::from_utf8(output.stdout).expect("output is UTF-8"))
    }
}

/// A temporary folder whose path has as many letters as the documented one.
fn folder_for(documented: &str) -> TempDir {
    let stem = "regsweep-of-the-documentation-whatever-its-length";
    let random = 4;
    let prefix = &stem[..documented.len() - "/tmp/".len() - random];
    tempfile::Builder::new().prefix(prefix).rand_bytes(random).tempdir_in("/tmp").unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).unwrap();
        } else if entry.file_name() != ".gitattributes" {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// A push every twenty days, tag after tag by its path, and the last on the first of March 2026; all else a year
/// before.
fn push_at_fixed_times(storage: &Path) {
    let links = WalkDir::new(storage).into_iter().map(|entry| entry.unwrap().into_path());
    let (mut links, blobs): (Vec<PathBuf>, Vec<PathBuf>) =
        links.filter(|path| path.is_file()).partition(|path| path.ends_with("link"));
    links.sort();
    let set = |link: &Path, at| fs::File::options().append(true).open(link).unwrap().set_modified(at).unwrap();
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_323_200);
    let day = Duration::from_secs(86_400);
    let (tags, others): (Vec<&PathBuf>, Vec<&PathBuf>) = links.iter().partition(|path| path.ends_with("current/link"));
    others.into_iter().chain(&blobs).for_each(|file| set(file, last - 365 * day));
    for (before, link) in tags.iter().rev().enumerate() {
        set(link, last - 20 * day * u32::try_from(before).unwrap());
    }
}

/// The policy that `docs/retention.md` shows.
fn documented_policy() -> String {
    let text = page("docs/retention.md").text;
    let (_, policy) = text.split_once("```yaml\n").expect("a policy in docs/retention.md");
    policy.split_once("```").unwrap().0.to_owned()
}

/// Something that answers every push as a registry does; its address. (What real registries answer is in
/// `tests/probe.rs`.) It lives as long as the tests.
fn answering(status: &str, headers: &str, body: &str) -> String {
    let listener = (6000..=9999).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).expect("a free port");
    let address = listener.local_addr().unwrap().to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n{headers}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            // Whoever hangs up early has seen enough.
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    address
}

fn documented_run(place: usize) -> String {
    format!("20260315T02150{}Z-0004711", place + 1)
}

/// How long the name of a run is that the text begins with: `20260315T021501Z-0004711`, `20260315T021501Z-0004711-1`.
fn run_id(text: &str) -> Option<usize> {
    let fixed = matches(text, "00000000T000000Z-0")?;
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let end = fixed + digits(fixed);
    let more = if text[end..].starts_with('-') { digits(end + 1) } else { 0 };
    Some(if more > 0 { end + 1 + more } else { end })
}

/// The length of the pattern, if the text begins with it; `0` stands for any digit.
fn matches(text: &str, pattern: &str) -> Option<usize> {
    let fits = |(t, p): (u8, u8)| if p == b'0' { t.is_ascii_digit() } else { t == p };
    (text.len() >= pattern.len() && text.bytes().zip(pattern.bytes()).all(fits)).then_some(pattern.len())
}

/// The text without what differs from run to run: times, how long things took, and which process it was.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let before = settled.chars().next_back();
        let begins_number = character.is_ascii_digit() && !before.is_some_and(|c| c.is_alphanumeric() || c == '.');
        if !begins_number {
            settled.push(character);
            rest = &rest[character.len_utf8()..];
        } else if let Some(length) = matches(rest, "0000-00-00T00:00:00") {
            let fraction = rest[length..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
            settled.push_str("TIME");
            rest = &rest[length + fraction..];
        } else {
            let length = rest.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'-')).count();
            let (number, after) = rest.split_at(length);
            let unit = [" ms", " s", " min"].into_iter().find(|unit| {
                after.starts_with(unit) && !after[unit.len()..].starts_with(|c: char| c.is_alphanumeric())
            });
            let varies = ["seconds\":", "seconds\": ", "\"pid\":", "process "].iter().any(|it| settled.ends_with(it));
            match unit {
                Some(unit) => {
                    settled.push_str("SOME TIME");
                    rest = &after[unit.len()..];
                }
                None => {
                    settled.push_str(if varies { "0" } else { number });
                    rest = after;
                }
            }
        }
    }
    for (mark, end) in [("process 0 on ", ','), ("\"host\":\"", '"')] {
        if let Some((head, tail)) = settled.clone().split_once(mark)
            && let Some((_, tail)) = tail.split_once(end)
        {
            settled = format!("{head}{mark}HOST{end}{tail}");
        }
    }
    settled
}

/// Whether what was printed is what the page shows.
fn agrees(shown: &str, printed: &str) -> bool {
    let (settled_shown, settled_printed) = (settled(shown), settled(printed));
    let varies = settled_printed != printed || printed.contains(&documented_run(0)[..12]);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    settled_shown == settled_printed || varies && words(&settled_shown) == words(&settled_printed)
}

/// What trying out a page's examples gave.
#[derive(Default)]
struct Tried {
    commands: usize,
    failures: Vec<String>,
    /// The page with the blocks as they should be.
    blessed: String,
}

fn try_out(page: &Page) -> Tried {
    let mut tried = Tried::default();
    let mut machine: Option<Machine> = None;
    let mut lines = page.text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        tried.blessed.push_str(line);
        tried.blessed.push('\n');
        if line.starts_with("## ") {
            machine = None;
        }
        if !line.starts_with("```") {
            continue;
        }
        let block: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        if line == "```console" {
            run_block(page, &block, machine.get_or_insert_with(Machine::new), &mut tried);
        } else {
            block.iter().for_each(|(_, line)| tried.blessed.extend([line, "\n"]));
        }
        tried.blessed.push_str("```\n");
    }
    tried
}

fn run_block(page: &Page, block: &[(usize, &str)], machine: &mut Machine, tried: &mut Tried) {
    let mut lines = block.iter().peekable();
    while let Some(&(number, line)) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else {
            tried.failures.push(format!("{}:{}: a block that does not begin with a command", page.name, number + 1));
            return;
        };
        let mut command = command.to_owned();
        tried.blessed.extend([line, "\n"]);
        while command.ends_with('\\') {
            let (_, line) = lines.next().expect("a command that goes on has a next line");
            command = format!("{command}\n{line}");
            tried.blessed.extend([line, "\n"]);
        }
        let mut shown = String::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.starts_with("$ ")) {
            shown.push_str(line.trim_end());
            shown.push('\n');
        }
        let printed: String = machine.run(&command).lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        tried.commands += 1;
        if agrees(&shown, &printed) {
            tried.blessed.push_str(&shown);
        } else {
            tried.blessed.push_str(&printed);
            let place = format!("{}:{}", page.name, number + 1);
            tried
                .failures
                .push(format!("{place}: $ {command}\n--- the page shows\n{shown}--- this was printed\n{printed}"));
        }
    }
}

#[test]
fn the_examples_do_what_they_show() {
    let path = std::env::var("PATH").unwrap_or_default();
    let has_jq = std::env::split_paths(&path).any(|folder| folder.join("jq").exists());
    assert!(has_jq, "jq is missing: apt-get install jq (Debian, Ubuntu); the documentation has examples with it");
    let blesses = std::env::var_os("REGSWEEP_BLESS").is_some();
    let mut failures = Vec::new();
    let pages = pages();
    let tried: Vec<Tried> = std::thread::scope(|scope| {
        let running: Vec<_> = pages.iter().map(|page| scope.spawn(|| try_out(page))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (page, tried) in pages.iter().zip(tried) {
        let has_none = ["SUMMARY", "architecture", "benchmarks", "traps"].map(|name| format!("docs/{name}.md"));
        if page.name == "README.md" || page.name.starts_with("docs/") && !has_none.contains(&page.name) {
            let others = blocks_of(page, |language| !["text", "rust"].contains(&language));
            assert!(tried.commands > 0 || !others.is_empty(), "{} has examples", page.name);
        }
        if blesses && tried.blessed != page.text {
            fs::write(&page.path, &tried.blessed).unwrap();
            println!("{}: {} examples rewritten", page.name, tried.failures.len());
        }
        if !blesses {
            failures.extend(tried.failures);
        }
    }
    if !failures.is_empty() {
        failures.push("REGSWEEP_BLESS=1 cargo test --test docs writes what was printed into the pages.".to_owned());
    }
    fail_if_any(&failures);
}

#[test]
fn what_differs_from_run_to_run_is_told_apart() {
    for (text, expected) in [
        ("75 blobs in 2 ms", "75 blobs in SOME TIME"),
        ("for 1.5 s, then", "for SOME TIME, then"),
        ("3 min", "SOME TIME"),
        ("at 2026-11-21 14:05 and 2024-05-17", "at 2026-11-21 14:05 and 2024-05-17"),
        ("3 mint, 2 squares", "3 mint, 2 squares"),
        ("55.72 KiB", "55.72 KiB"),
        ("\"at\":\"2026-11-21T00:31:13.902963488Z\"", "\"at\":\"TIMEZ\""),
        ("\"window_seconds\":4.5e-2,\"x\":7", "\"window_seconds\":0,\"x\":7"),
        ("process 4711 on vm, since", "process 0 on HOST, since"),
        ("sha256:0a1", "sha256:0a1"),
    ] {
        assert_eq!(settled(text), expected);
    }
    assert!(agrees("a\nb in 1 ms\n", "a b\nin 22 ms\n"), "lines may break elsewhere where a time is");
    assert!(!agrees("a b\n", "a\nb\n"), "and nowhere else");
    assert!(!agrees("5 blobs in 1 ms\n", "6 blobs in 1 ms\n"));
    assert_eq!(run_id("20261121T003113Z-28017 x"), Some(22));
    assert_eq!(run_id("20261121T003113Z-28017-2/trash"), Some(24));
    assert_eq!(run_id("20261121T003113Z"), None);
}
