//! The scripts: blocks that are marked `sh`.
//!
//! Each is run, with regsweep itself and with stubs in place of the programs that are not there ([`STUBS`]), on the
//! machine of `examples.rs`. The blocks of a section (`## `) follow each other in one shell, which ends at the first
//! command that fails; one that begins with `#!` runs by itself. A command that is no stub and not on every machine is
//! not found, so a mistake in a name is a failure. What cannot be run is parsed, and stands in [`ONLY_PARSED`].

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::examples::Machine;
use crate::names::prose;
use crate::{Page, fail_if_any, pages, repository};

/// Programs that scripts call and that the tests do not: what each prints. Every one succeeds, whatever it is told.
const STUBS: [(&str, &str); 11] = [
    ("check-jsonschema", ""),
    ("crane", "2.1.0"),
    ("docker", ""),
    ("gitlab-ctl", ""),
    ("kubectl", "registry.example.com/team/web:latest"),
    ("oc", ""),
    ("registry", ""),
    ("restic", ""),
    ("skopeo", "{\"Tags\": [\"2.1.0\"], \"Created\": \"2026-03-01T00:00:00Z\"}"),
    ("systemctl", ""),
    ("aws", ""),
];

/// Blocks that are parsed and not run: the page, how the block begins, and why.
const ONLY_PARSED: [(&str, &str, &str); 12] = [
    ("README.md", "./scripts/test", "runs these tests"),
    ("CONTRIBUTING.md", "./scripts/test", "runs these tests"),
    ("CONTRIBUTING.md", "./scripts/package", "takes minutes"),
    ("CONTRIBUTING.md", "cargo test", "runs these tests"),
    ("CONTRIBUTING.md", "mkdir -p fuzz", "fuzzes until it is stopped"),
    ("CONTRIBUTING.md", "scripts/figures", "runs these tests"),
    ("CONTRIBUTING.md", "REGSWEEP_BLESS", "runs these tests"),
    ("docs/benchmarks.md", "benches/compare", "takes half an hour"),
    ("docs/installing.md", "cargo install", "compiles, and writes to the home of the user"),
    ("docs/installing.md", "./scripts/package", "takes minutes, and installs"),
    ("docs/installing.md", "docker build", "starts a container"),
    ("docs/installing.md", "sha256sum", "asks for a release that is not there"),
];

/// Paths that a script may name although they are no folder of the machine: they lead to a stub or nowhere.
const PATHS_ELSEWHERE: [&str; 3] = ["/bin/sh", "/dev/null", "/usr/bin/dockerregistry"];

/// What looks like paths and is a script for `sed`.
const NO_PATHS: [&str; 1] = [r#"'/readonly:/{n;s/enabled: .*/enabled: '"${1:-true}"'/}'"#];

/// The blocks of one language, with the section that each is in (a count) and the line that it begins at.
pub(crate) fn blocks_of(page: &Page, is_wanted: impl Fn(&str) -> bool) -> Vec<(usize, usize, String, String)> {
    let (mut section, mut blocks) = (0, Vec::new());
    let mut lines = page.text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        section += usize::from(line.starts_with("## "));
        let Some(language) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        if is_wanted(language) {
            blocks.push((section, number + 1, language.to_owned(), format!("{}\n", text.join("\n"))));
        }
    }
    blocks
}

fn is_only_parsed(page: &str, script: &str) -> bool {
    ONLY_PARSED.iter().any(|(known, begins, _)| *known == page && script.starts_with(begins))
}

/// Makes the stubs in a folder.
fn stubs(folder: &Path) {
    for (name, prints) in STUBS {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\nprintf '%s\\n' '{prints}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Absolute paths in a script that are neither the machine's nor known to be harmless: it would really touch them.
fn strange_paths(script: &str, machine: &Machine) -> Vec<String> {
    let script = NO_PATHS.iter().fold(script.to_owned(), |script, part| script.replace(part, ""));
    let code = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = code.flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'=<>;()|&,".contains(c)));
    let mut strange = Vec::new();
    for word in words.map(|word| word.replace("://", " ")).filter(|word| !word.contains(' ')) {
        for path in word.split(':').filter(|part| part.starts_with('/')) {
            let is_ours = machine.folders().any(|folder| Path::new(path).starts_with(folder));
            let is_known = PATHS_ELSEWHERE.contains(&path);
            if !is_ours && !is_known {
                strange.push(path.to_owned());
            }
        }
    }
    strange
}

/// Where `regsweep-window` is.
pub(crate) fn recipes() -> PathBuf {
    repository().join("docs/recipes")
}

fn sh(arguments: &[&str], machine: &Machine, stubs: &Path) -> Output {
    let binaries = Path::new(env!("CARGO_BIN_EXE_regsweep")).parent().unwrap();
    Command::new("/bin/sh")
        .args(arguments)
        .env_clear()
        .env("PATH", format!("{}:{}:{}:/usr/bin:/bin", stubs.display(), binaries.display(), recipes().display()))
        .env("LC_ALL", "C")
        .env("HOME", machine.checkout())
        .current_dir(machine.checkout())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The scripts of a page, one for each section, and those that run by themselves.
fn scripts_of(page: &Page) -> Vec<(usize, String)> {
    let mut scripts: Vec<(usize, usize, String)> = Vec::new();
    for (section, line, _, text) in blocks_of(page, |language| language == "sh") {
        if is_only_parsed(&page.name, &text) {
            continue;
        }
        match scripts.last_mut() {
            Some((of, _, script)) if *of == section && !text.starts_with("#!") && !script.starts_with("#!") => {
                script.push_str(&text);
            }
            _ => scripts.push((section, line, text)),
        }
    }
    scripts.into_iter().map(|(_, line, script)| (line, script)).collect()
}

fn try_out(page: &Page, stubs: &Path) -> (usize, Vec<String>) {
    let mut failures = Vec::new();
    let scripts = scripts_of(page);
    for (line, script) in &scripts {
        let place = format!("{}:{line}", page.name);
        let machine = Machine::new().with_places_of(script);
        let real = machine.real(script);
        let strange = strange_paths(&real, &machine);
        if !strange.is_empty() {
            failures.push(format!("{place}: the script would touch {}", strange.join(", ")));
            continue;
        }
        let output = sh(&["-e", "-c", &real], &machine, stubs);
        if !output.status.success() {
            let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            failures.push(format!("{place}: {}\n{script}--- printed\n{printed}{errors}", output.status));
        }
    }
    (scripts.len(), failures)
}

#[test]
fn the_scripts_run() {
    let folder = tempfile::tempdir().unwrap();
    stubs(folder.path());
    let pages = pages();
    let results: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
        let running: Vec<_> = pages.iter().map(|page| scope.spawn(|| try_out(page, folder.path()))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let scripts: usize = results.iter().map(|(count, _)| count).sum();
    assert!(scripts >= 15, "{scripts} scripts were found: the search is broken");
    fail_if_any(&results.into_iter().flat_map(|(_, failures)| failures).collect::<Vec<_>>());
}

/// The list of what is not run is no longer than it has to be, and what is on it is a script.
#[test]
fn scripts_that_are_not_run_are_parsed() {
    let mut failures = Vec::new();
    let pages = pages();
    for (name, begins, reason) in ONLY_PARSED {
        let page = pages.iter().find(|page| page.name == name);
        let blocks = page.map(|page| blocks_of(page, |language| language == "sh")).unwrap_or_default();
        let scripts: Vec<&String> =
            blocks.iter().map(|(_, _, _, text)| text).filter(|text| text.starts_with(begins)).collect();
        if scripts.is_empty() {
            failures.push(format!("{name}: no script begins with `{begins}` ({reason}): take it off the list"));
        }
        for script in scripts {
            let output = Command::new("/bin/sh").args(["-n", "-c", script]).output().unwrap();
            if !output.status.success() {
                failures.push(format!("{name}: {}\n{script}", String::from_utf8_lossy(&output.stderr)));
            }
        }
    }
    fail_if_any(&failures);
}

/// Commands of regsweep between backquotes, which a line may break.
fn commands_in_the_text(page: &Page) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for (_, line) in prose(&page.text) {
        if line.is_empty() || line.starts_with('|') {
            paragraphs.push(String::new());
        }
        paragraphs.last_mut().unwrap().push_str(&format!("{line} "));
    }
    let code = paragraphs.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
    code.filter(|code| code.starts_with("regsweep ")).map(|code| code.replace('\\', "")).collect()
}

/// With `--help` behind it a command does nothing, and is refused all the same if it is none.
#[test]
fn commands_in_the_text_are_understood() {
    let machine = Machine::new();
    let (mut tried, mut failures) = (0, Vec::new());
    for page in pages().iter().filter(|page| page.name != "CHANGELOG.md") {
        for command in commands_in_the_text(page) {
            if command.contains([';', '>', '<', '&']) {
                failures.push(format!("{}: `{command}` is a script: make it a block", page.name));
                continue;
            }
            tried += 1;
            let output = sh(&["-c", &format!("{command} --help")], &machine, machine.checkout());
            if !output.status.success() {
                failures.push(format!("{}: `{command}`: {}", page.name, String::from_utf8_lossy(&output.stderr)));
            }
        }
    }
    assert!(tried >= 30, "{tried} commands were found: the search is broken");
    fail_if_any(&failures);
}

#[test]
fn a_script_that_would_touch_this_machine_is_seen() {
    let machine = Machine::new();
    let ours = machine.real("regsweep gc --registry http://127.0.0.1:5000 /var/lib/registry >/dev/null # /etc\n");
    assert_eq!(strange_paths(&ours, &machine), ["/etc"], "a comment behind a command counts");
    assert_eq!(strange_paths("rm -rf /var/lib/other\n", &machine), ["/var/lib/other"]);
    assert_eq!(strange_paths("x=/etc/passwd; cat <\"/etc/shadow\"\n", &machine), ["/etc/passwd", "/etc/shadow"]);
    assert_eq!(strange_paths("rm -rf /\n", &machine), ["/"]);
    assert!(strange_paths("# /etc/fstab\ncrane ls docker://x/y\n", &machine).is_empty());
}
