//! What the scenario tests share: the tree builder, and the binary run in a cleared environment.
//!
//! [`collect`] is the heart of most scenarios. It does a dry run and a real run with the same flags and holds both to
//! what every run owes, whatever the scenario: the dry run changes nothing; the real run removes exactly what the dry
//! run named, nothing unnamed, each with a reason; the books balance; nothing that a client could get is lost; a
//! second run finds nothing more. The test itself then only says what goes in its scenario.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

pub(crate) mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use tree::{NOBODY, Tree};

/// Long enough for a debug build on a busy machine, short enough to call it a hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// regsweep in an empty environment, in a folder that is not the tree's.
pub(crate) fn regsweep<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_regsweep")), arguments)
}

fn clean<S: AsRef<OsStr>>(mut command: Command, arguments: &[S]) -> Command {
    command.env_clear().current_dir("/").args(arguments);
    command
}

/// regsweep as a user whom permission bits bind; where the tests run as root, a copy of it that this user can reach.
pub(crate) fn regsweep_bound_by_permissions<S: AsRef<OsStr>>(tree: &Tree, arguments: &[S]) -> Command {
    if rustix::process::geteuid().is_root() {
        bound_by_permissions(tree, &copy_of_the_binary(tree), arguments)
    } else {
        regsweep(arguments)
    }
}

/// A program as a user whom permission bits bind: where the tests run as root, the user that owns nothing, by `setpriv`
/// (which must be there: without it these tests fail, they do not pass in silence). Give the tree to that user first.
pub(crate) fn bound_by_permissions<S: AsRef<OsStr>>(tree: &Tree, program: &Path, arguments: &[S]) -> Command {
    if !rustix::process::geteuid().is_root() {
        return clean(Command::new(program), arguments);
    }
    assert_eq!(fs::metadata(tree.root()).unwrap().uid(), NOBODY, "the tree is given to nobody first");
    let mut command = Command::new("/usr/bin/setpriv");
    command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups").arg(program);
    clean(command, arguments)
}

fn copy_of_the_binary(tree: &Tree) -> PathBuf {
    let binary = tree.beside().join("regsweep-copy");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_regsweep"), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    }
    binary
}

/// What a run of the binary gave back.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs it to its end. A run that hangs or panics fails the test here, whatever it was about.
pub(crate) fn finish(mut command: Command) -> Run {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = drain(child.stdout.take().unwrap());
    let stderr = drain(child.stderr.take().unwrap());
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("still running after {DEADLINE:?}: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let stdout = stdout.join().unwrap();
    let stderr = String::from_utf8(stderr.join().unwrap()).expect("standard error is UTF-8");
    let code = status.code().unwrap_or_else(|| panic!("ended by a signal, {status}: {command:?}\n{stderr}"));
    assert_no_panic(&stderr);
    assert_no_panic(&String::from_utf8_lossy(&stdout));
    Run { code, stdout, stderr }
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn assert_no_panic(text: &str) {
    for word in ["panicked at", "RUST_BACKTRACE", "stack backtrace", "thread 'main'"] {
        assert!(!text.contains(word), "a panic reached the user:\n{text}");
    }
}

impl Run {
    /// The one JSON document on standard output, and nothing beside it.
    pub(crate) fn report(&self) -> Report {
        let value = serde_json::from_slice(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "standard output is not one JSON document ({error}), exit {}:\n{}\nstandard error:\n{}",
                self.code,
                String::from_utf8_lossy(&self.stdout),
                self.stderr
            )
        });
        Report(value)
    }

    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            code,
            "exit code\nstandard output:\n{}\nstandard error:\n{}",
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("standard output is UTF-8")
    }
}

/// `gc --format json` with these flags.
pub(crate) fn gc(tree: &Tree, flags: &[&str]) -> Run {
    finish(regsweep(&gc_arguments(&tree.root(), flags)))
}

pub(crate) fn gc_arguments(registry: &Path, flags: &[&str]) -> Vec<String> {
    let mut arguments = vec!["gc".to_owned(), "--format".to_owned(), "json".to_owned()];
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    arguments.push(registry.to_str().unwrap().to_owned());
    arguments
}

// ------------------------------------------------------------------------------------------------------------ the report

/// The report of section 2, read as a stranger reads it.
#[derive(Clone, Debug)]
pub(crate) struct Report(pub(crate) Value);

/// An action by the name of its object, with its reason and bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Action {
    pub(crate) kind: String,
    pub(crate) object: String,
    pub(crate) reason: String,
    pub(crate) bytes: u64,
}

impl Report {
    pub(crate) fn actions(&self) -> Vec<Action> {
        self.0["actions"].as_array().expect("actions is a list").iter().map(Action::read).collect()
    }

    /// The objects of the actions of one kind: `blob`, `revision`, `tag`, `tag_history`, `layer_link`, `upload`.
    pub(crate) fn actions_of(&self, kind: &str) -> BTreeSet<String> {
        self.actions().into_iter().filter(|action| action.kind == kind).map(|action| action.object).collect()
    }

    pub(crate) fn garbage_blobs(&self) -> BTreeSet<String> {
        self.actions_of("blob")
    }

    pub(crate) fn reason_of(&self, object: &str) -> Option<String> {
        self.actions().into_iter().find(|action| action.object == object).map(|action| action.reason)
    }

    /// The count of a kind in `garbage` or `removed`.
    pub(crate) fn count(&self, section: &str, kind: &str) -> u64 {
        self.0[section][kind]["count"].as_u64().unwrap_or_else(|| panic!("no count of {kind} in {section}: {}", self.0))
    }

    pub(crate) fn bytes(&self, section: &str, kind: &str) -> u64 {
        self.0[section][kind]["bytes"].as_u64().unwrap_or_else(|| panic!("no bytes of {kind} in {section}: {}", self.0))
    }

    pub(crate) fn findings(&self) -> &[Value] {
        self.0["findings"].as_array().expect("findings is a list")
    }

    /// Whether a finding says so: in its kind, message, repository or path.
    pub(crate) fn has_finding(&self, text: &str) -> bool {
        self.findings().iter().any(|finding| says(finding, text))
    }

    /// Whether a finding of this severity says so.
    pub(crate) fn has(&self, severity: &str, text: &str) -> bool {
        self.findings().iter().any(|finding| finding["severity"] == severity && says(finding, text))
    }

    /// Findings that are more than `info`.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        self.findings().iter().filter(|finding| finding["severity"] != "info").collect()
    }

    pub(crate) fn outcome(&self) -> &str {
        self.0["outcome"].as_str().expect("outcome is a word")
    }

    /// The repositories that the report calls tainted.
    pub(crate) fn tainted(&self) -> BTreeSet<&str> {
        let repositories = self.0["repositories"].as_array().expect("repositories is a list");
        let tainted = repositories.iter().filter(|repository| repository["tainted"] == true);
        tainted.map(|repository| repository["name"].as_str().unwrap()).collect()
    }

    /// The parts of a report that can say why a run refused: findings, objections, advice.
    pub(crate) fn reasons(&self) -> String {
        format!("{} {} {}", self.0["findings"], self.0["read_only"]["objections"], self.0["advice"])
    }

    pub(crate) fn run(&self) -> &str {
        self.0["run"].as_str().unwrap_or_else(|| panic!("a run that changed something has an id: {}", self.0))
    }
}

fn says(finding: &Value, text: &str) -> bool {
    ["kind", "message", "repository", "path"]
        .iter()
        .any(|key| finding[key].as_str().is_some_and(|it| it.contains(text)))
}

impl Action {
    fn read(value: &Value) -> Self {
        let field = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"));
        let kind = field("kind");
        let object = match kind {
            "blob" => format!("blob {}", field("digest")),
            "revision" => format!("{} revision {}", field("repository"), field("digest")),
            "tag" => format!("{} tag {}", field("repository"), field("name")),
            "tag_history" => format!("{} tag {} history {}", field("repository"), field("name"), field("digest")),
            "layer_link" => format!("{} layer {}", field("repository"), field("digest")),
            "upload" => format!("{} upload {}", field("repository"), field("name")),
            "repository" => field("repository").to_owned(),
            other => panic!("unknown kind of action: {other}"),
        };
        let bytes = value["bytes"].as_u64().unwrap_or(0);
        Self { kind: kind.to_owned(), object, reason: field("reason").to_owned(), bytes }
    }
}

// ----------------------------------------------------------------------------------------------------- a whole scenario

/// What a dry run and a real run over the same tree did.
pub(crate) struct Collected<'t> {
    tree: &'t Tree,
    pub(crate) dry: Report,
    pub(crate) real: Report,
    code: i32,
    /// What was there before and is not now.
    pub(crate) gone: BTreeSet<String>,
    /// What is there now.
    pub(crate) left: BTreeSet<String>,
}

/// A dry run, a real run with `--registry-stopped`, and a second real run, each held to what every run owes.
pub(crate) fn collect<'t>(tree: &'t Tree, flags: &[&str]) -> Collected<'t> {
    let untagged_goes = flags.iter().any(|flag| ["--delete-untagged", "-m"].contains(flag));
    let before = tree.objects();
    let delivered = tree.deliverable(!untagged_goes);
    let fingerprint = tree.fingerprint();

    let dry_run = gc(tree, &[&["--dry-run"], flags].concat());
    let dry = dry_run.report();
    assert_eq!(fingerprint.changes_to(&tree.fingerprint()), Vec::<String>::new(), "a dry run changes nothing");
    check_books(tree, &dry, true);
    assert_eq!(dry.0["dry_run"], true);
    assert_eq!(dry.0["delete_untagged"], untagged_goes);

    let real_run = gc(tree, &[&["--registry-stopped"], flags].concat());
    let real = real_run.report();
    assert_eq!(real.outcome(), "complete", "{}\n{}", tree.explain(&real.0.to_string()), real_run.stderr);
    assert_eq!(real.0["dry_run"], false);
    check_books(tree, &real, false);
    assert_eq!(dry.actions(), real.actions(), "the dry run names what the real run does");
    assert_eq!(dry_run.code, real_run.code, "the dry run ends as the real run does");

    let left = tree.objects();
    let gone: BTreeSet<String> = before.difference(&left).cloned().collect();
    check_against_plan(tree, &real, &gone, &left);
    assert_eq!(left.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new(), "nothing appears");
    let trash = tree.fingerprint();
    let trash: Vec<&Path> = trash
        .paths()
        .filter(|path| path.components().any(|part| part.as_os_str() == "trash") && tree.root().join(path).is_file())
        .collect();
    assert_eq!(trash, Vec::<&Path>::new(), "the trash is deleted: only then are the bytes free");

    let now = tree.deliverable(!untagged_goes);
    let lost: Vec<String> = delivered.difference(&now).map(|fact| tree.explain(fact)).collect();
    assert!(lost.is_empty(), "LOST: {lost:#?}\nactions: {}", tree.explain(&real.0["actions"].to_string()));

    let second = gc(tree, &[&["--registry-stopped"], flags].concat());
    assert_eq!(second.report().actions(), Vec::new(), "a second run finds nothing more");
    assert_eq!(tree.objects(), left, "a second run removes nothing more");
    assert!(!second.report().has_finding("_regsweep"), "its own folder is no stranger: {}", second.text());
    assert_eq!(second.code, real_run.code, "what was wrong is still wrong, and nothing else is: {}", second.text());
    Collected { tree, dry, real, code: real_run.code, gone, left }
}

/// Counts, bytes and actions agree with each other and with the files.
fn check_books(tree: &Tree, report: &Report, dry: bool) {
    assert_eq!(report.0["schema"], "regsweep.report/1");
    assert_eq!(report.0["command"], "gc");
    assert_eq!(report.0["root"].as_str().map(Path::new), Some(&*tree.v2()));
    let actions = report.actions();
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for action in &actions {
        let entry = counts.entry(&action.kind).or_default();
        *entry = (entry.0 + 1, entry.1 + action.bytes);
    }
    let kinds = [
        ("blob", "blobs"),
        ("revision", "revisions"),
        ("tag", "tags"),
        ("tag_history", "tag_history"),
        ("layer_link", "layer_links"),
        ("upload", "uploads"),
        ("repository", "repositories"),
    ];
    for (kind, plural) in kinds {
        let (count, bytes) = counts.get(kind).copied().unwrap_or_default();
        assert_eq!(report.count("garbage", plural), count, "count of {plural} against the actions");
        let removed = if dry { 0 } else { count };
        assert_eq!(report.count("removed", plural), removed, "{plural} removed, dry run: {dry}");
        if ["blob", "upload"].contains(&kind) {
            assert_eq!(report.bytes("garbage", plural), bytes, "bytes of {plural} against the actions");
            assert_eq!(report.bytes("removed", plural), if dry { 0 } else { bytes }, "bytes of {plural} removed");
        }
    }
    let reasons = ["unreferenced", "untagged", "deleted", "expired", "stale", "dangling", "empty"];
    for action in &actions {
        assert!(reasons.contains(&action.reason.as_str()), "a reason that the contract does not know: {action:?}");
        if ["blob", "layer_link"].contains(&action.kind.as_str()) {
            assert_eq!(action.reason, "unreferenced", "{}", tree.explain(&action.object));
        }
    }
    if dry {
        for action in actions.iter().filter(|action| action.kind == "blob") {
            let size = fs::metadata(tree.data(&action.object["blob ".len()..])).unwrap().len();
            assert_eq!(action.bytes, size, "{}: bytes are file sizes", tree.explain(&action.object));
        }
    }
}

/// Everything that went was named, and everything that was named went.
fn check_against_plan(tree: &Tree, report: &Report, gone: &BTreeSet<String>, left: &BTreeSet<String>) {
    let actions = report.actions();
    let named: BTreeSet<&str> = actions.iter().map(|action| action.object.as_str()).collect();
    assert_eq!(named.len(), actions.len(), "no object is named twice: {}", report.0["actions"]);
    for object in gone {
        // `team/app tag v1 history sha256:...` goes with `team/app tag v1`, and both with `team/app`.
        let mut covered = named.contains(object.as_str());
        for (at, _) in object.match_indices(' ') {
            covered |= named.contains(&object[..at]);
        }
        assert!(covered, "removed without being named: {}", tree.explain(object));
    }
    for object in named {
        assert!(!left.contains(object), "named and not removed: {}", tree.explain(object));
    }
}

impl Collected<'_> {
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "exit code; findings: {}", self.tree.explain(&self.real.0["findings"].to_string()));
        self
    }

    /// Exactly these objects were named and went; nothing else did.
    pub(crate) fn removes(&self, objects: &[String]) -> &Self {
        let expected: BTreeSet<&String> = objects.iter().collect();
        let actions = self.real.actions();
        let named: BTreeSet<&String> = actions.iter().map(|action| &action.object).collect();
        let explain = |objects: Vec<&&String>| objects.iter().map(|o| self.tree.explain(o)).collect::<Vec<_>>();
        let missing = explain(expected.difference(&named).collect());
        let surplus = explain(named.difference(&expected).collect());
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "should have gone and stayed: {missing:#?}\nshould have stayed and went: {surplus:#?}\nfindings: {}",
            self.tree.explain(&self.real.0["findings"].to_string())
        );
        self
    }

    /// This object went for one of these reasons.
    pub(crate) fn because(&self, object: &str, reasons: &[&str]) -> &Self {
        let reason = self.real.reason_of(object);
        assert!(
            reason.as_deref().is_some_and(|reason| reasons.contains(&reason)),
            "{} went because of {reason:?}, not {reasons:?}",
            self.tree.explain(object)
        );
        self
    }

    /// These objects are all still there.
    pub(crate) fn keeps<S: AsRef<str>>(&self, objects: &[S]) -> &Self {
        for object in objects {
            let object = object.as_ref();
            assert!(
                self.left.contains(object),
                "should have stayed and went: {}\nactions: {}",
                self.tree.explain(object),
                self.tree.explain(&self.real.0["actions"].to_string())
            );
        }
        self
    }

    /// Nobody complained: no error, no warning.
    pub(crate) fn without_complaint(&self) -> &Self {
        assert_eq!(self.real.complaints(), Vec::<&Value>::new(), "no errors, no warnings");
        self
    }
}

/// What a refused run said.
pub(crate) struct Refused {
    pub(crate) report: Report,
    pub(crate) stderr: String,
}

impl Refused {
    /// Whether the reason that it gives says so, to people or in the report.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.stderr.contains(text) || self.report.reasons().contains(text)
    }
}

/// A real run that must refuse: exit 4, one JSON document that says so, and not one file of the registry touched.
pub(crate) fn refuses(tree: &Tree, flags: &[&str]) -> Refused {
    let before = tree.fingerprint().files();
    let run = gc(tree, &[&["--registry-stopped"], flags].concat());
    run.exits(4);
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new(), "refused means untouched");
    let report = run.report();
    assert_eq!(report.outcome(), "refused");
    for kind in ["blobs", "revisions", "tags", "tag_history", "layer_links", "uploads", "repositories"] {
        assert_eq!(report.count("removed", kind), 0, "refused means that no {kind} went");
    }
    Refused { report, stderr: run.stderr }
}
