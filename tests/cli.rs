//! What a user sees: whole output and exit status in one snapshot, in a cleared environment, on the sample registry.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

/// A copy of the sample registry, and the folder that commands run in.
struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    fn new() -> Sandbox {
        let folder = tempfile::tempdir().unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sample-registry");
        for entry in walkdir::WalkDir::new(&sample) {
            let entry = entry.unwrap();
            let to = folder.path().join("registry").join(entry.path().strip_prefix(&sample).unwrap());
            if entry.file_type().is_dir() {
                fs::create_dir_all(to).unwrap();
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
        Sandbox { folder }
    }

    fn v2(&self) -> PathBuf {
        self.folder.path().join("registry/docker/registry/v2")
    }

    /// Makes every push two minutes younger than the one before it, by name, so that times can be shown.
    fn set_times(&self) {
        let entries = walkdir::WalkDir::new(self.v2()).sort_by_file_name().into_iter().map(Result::unwrap);
        for (number, link) in entries.filter(|entry| entry.file_name() == "link").enumerate() {
            let time = UNIX_EPOCH + Duration::from_secs(1_795_000_000 + 120 * number as u64);
            fs::File::options().write(true).open(link.path()).unwrap().set_modified(time).unwrap();
        }
    }

    /// Makes all blobs as old as each other, so that their times can be shown.
    fn set_times_of_blobs(&self) {
        for entry in walkdir::WalkDir::new(self.v2().join("blobs")).into_iter().map(Result::unwrap) {
            if entry.file_type().is_file() {
                let time = UNIX_EPOCH + Duration::from_secs(1_794_000_000);
                fs::File::options().write(true).open(entry.path()).unwrap().set_modified(time).unwrap();
            }
        }
    }

    fn config(&self, more: &str) {
        let root = self.folder.path().join("registry");
        let text = format!("version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\n{more}", root.display());
        fs::write(self.folder.path().join("config.yml"), text).unwrap();
    }

    /// Runs regsweep, and writes everything down that it printed and how it ended.
    fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_regsweep"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let mut page = format!("$ regsweep {}\nexit {}\n", arguments.join(" "), output.status.code().unwrap());
        for (name, stream) in [("stdout", text(output.stdout)), ("stderr", text(output.stderr))] {
            if !stream.is_empty() {
                page.push_str(&format!("--- {name}\n{stream}"));
            }
        }
        page.replace(self.folder.path().canonicalize().unwrap().to_str().unwrap(), "[FOLDER]")
    }
}

/// What differs from run to run.
fn check(name: &str, page: String) {
    insta::with_settings!({
        filters => vec![
            (r"\d{8}T\d{6}Z-\d+", "[RUN]"),
            (r"\b(in|for|after|window)( +)\d+(\.\d+)? (ms|s)\b", "$1$2[TIME]"),
            (r#""\d{4}-\d\d-\d\dT[0-9:.]+Z""#, "\"[WHEN]\""),
            (r#""(seconds|window_seconds)":[0-9.e-]+"#, "\"$1\":[SECONDS]"),
            (r#""disk_bytes":\d+"#, "\"disk_bytes\":[BLOCKS]"),
            (r#""jobs":\d+"#, "\"jobs\":[JOBS]"),
        ],
        prepend_module_to_snapshot => false,
    }, { insta::assert_snapshot!(name, page) });
}

#[test]
fn dry_run() {
    check("dry-run", Sandbox::new().run(&["gc", "--dry-run", "registry"]));
}

#[test]
fn dry_run_without_untagged() {
    check("dry-run-delete-untagged", Sandbox::new().run(&["gc", "-d", "-m", "registry"]));
}

#[test]
fn dry_run_with_every_object() {
    check("dry-run-verbose", Sandbox::new().run(&["gc", "-d", "-v", "registry"]));
}

#[test]
fn dry_run_as_json() {
    check("dry-run-json", Sandbox::new().run(&["gc", "-d", "--format", "json", "registry"]));
}

#[test]
fn quiet_is_quiet() {
    check("quiet", Sandbox::new().run(&["gc", "-q", "--registry-stopped", "registry"]));
}

#[test]
fn damage_is_shown() {
    let sandbox = Sandbox::new();
    let current = sandbox.v2().join("repositories/team/web/_manifests/tags/latest/current/link");
    fs::write(&current, "").unwrap();
    fs::write(sandbox.v2().join("repositories/team/notes.txt"), "who put this here?").unwrap();
    check("damage", sandbox.run(&["gc", "-d", "registry"]));
    check("damage-quiet", sandbox.run(&["gc", "-d", "-q", "registry"]));
}

#[test]
fn refused_without_evidence() {
    let sandbox = Sandbox::new();
    check("refused", sandbox.run(&["gc", "registry"]));
    assert!(!sandbox.v2().join("_regsweep").exists(), "a refused run leaves nothing behind");
}

#[test]
fn refused_as_json() {
    check("refused-json", Sandbox::new().run(&["gc", "--format", "json", "registry"]));
}

#[test]
fn t24_refused_by_the_database() {
    let sandbox = Sandbox::new();
    let lockfiles = sandbox.folder.path().join("registry/docker/registry/lockfiles");
    fs::create_dir(&lockfiles).unwrap();
    fs::write(lockfiles.join("database-in-use"), "").unwrap();
    check("refused-database", sandbox.run(&["gc", "--registry-stopped", "registry"]));
}

#[test]
fn refused_for_a_pull_through_cache() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.folder.path().join("registry/scheduler-state.json"), "{}").unwrap();
    sandbox.config("  maintenance: {readonly: {enabled: true}}\n");
    check("refused-cache", sandbox.run(&["gc", "config.yml"]));
}

#[test]
fn a_sweep_and_the_one_after_it() {
    let sandbox = Sandbox::new();
    sandbox.config("  maintenance: {readonly: {enabled: true}}\n");
    check("sweep", sandbox.run(&["garbage-collect", "-m", "config.yml"]));
    check("sweep-again", sandbox.run(&["garbage-collect", "-m", "config.yml"]));
}

#[test]
fn a_policy_of_the_environment_counts() {
    let sandbox = Sandbox::new();
    sandbox.config("");
    let read_only = [("REGISTRY_STORAGE_MAINTENANCE_READONLY", r#"{"enabled":true}"#)];
    check("sweep-by-environment", sandbox.run_with(&["gc", "config.yml"], &read_only));
    let proves_nothing = [("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")];
    check("refused-by-environment", sandbox.run_with(&["gc", "config.yml"], &proves_nothing));
}

#[test]
fn quarantine_and_trash() {
    let sandbox = Sandbox::new();
    let run = |arguments: &[&str]| sandbox.run(arguments);
    check("quarantine", run(&["gc", "--quarantine", "--registry-stopped", "registry"]));
    let runs = fs::read_dir(sandbox.v2().join("_regsweep/runs")).unwrap();
    let id = runs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).next().unwrap();
    check("trash-list", run(&["trash", "list", "registry"]));
    check("trash-list-json", run(&["trash", "list", "--format", "json", "registry"]));
    check("trash-restore", run(&["trash", "restore", "--registry-stopped", "registry", &id]));
    check("trash-list-empty", run(&["trash", "list", "registry"]));
    check("trash-restore-again", run(&["trash", "restore", "--registry-stopped", "registry", &id]));
    check("trash-purge-nothing", run(&["trash", "purge", "registry"]));
    run(&["gc", "--quarantine", "--registry-stopped", "registry"]);
    check("trash-purge", run(&["trash", "purge", "registry"]));
}

#[test]
fn listings() {
    let sandbox = Sandbox::new();
    sandbox.set_times();
    for (name, arguments) in [
        ("ls", &["ls", "registry"][..]),
        ("ls-by-size", &["ls", "registry", "--sort", "size"]),
        ("ls-tags", &["ls", "registry", "platform/base/alpine"]),
        ("ls-tags-of-several", &["ls", "registry", "t*/**:*", "--sort", "pushed", "-r"]),
        ("ls-tree", &["ls", "registry", "--tree", "--untagged"]),
        ("ls-verbose", &["ls", "registry", "team/web", "--tree", "-v"]),
        ("ls-json", &["ls", "registry", "--format", "json"]),
        ("ls-tags-json", &["ls", "registry", "team/web:1.4.1", "--tree", "--format", "json"]),
        ("ls-nothing", &["ls", "registry", "team/wep"]),
        ("ls-no-glob", &["ls", "registry", "team/["]),
    ] {
        let page = sandbox.run(arguments);
        let is_narrow = |line: &str| line.starts_with("$ ") || line.chars().count() <= 80;
        assert!(name.ends_with("verbose") || name.ends_with("json") || page.lines().all(is_narrow), "{page}");
        check(name, page);
    }
    let current = sandbox.v2().join("repositories/team/web/_manifests/tags/latest/current/link");
    fs::write(&current, "").unwrap();
    sandbox.set_times();
    check("ls-damage", sandbox.run(&["ls", "registry", "team/web"]));
}

#[test]
fn answers() {
    let sandbox = Sandbox::new();
    sandbox.set_times();
    sandbox.set_times_of_blobs();
    for (name, arguments) in [
        ("why-chains", &["why", "registry", "5d569ae5b11b"][..]),
        ("why-garbage", &["why", "registry", "094957b0"]),
        ("why-tag", &["why", "--keep-last", "1", "registry", "team/web:1.4.0"]),
        ("why-nothing", &["why", "registry", "team/web:1.4.3"]),
    ] {
        let page = sandbox.run(arguments);
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        check(name, page);
    }
}

#[test]
fn where_the_bytes_are() {
    let sandbox = Sandbox::new();
    sandbox.set_times();
    for (name, arguments) in [
        ("du", &["du", "registry"][..]),
        ("du-by-namespace", &["du", "registry", "--depth", "1", "--sort", "garbage"]),
        ("du-tags", &["du", "registry", "--tags", "--top", "2"]),
        ("du-names", &["du", "registry", "t*/web:*"]),
        ("du-verbose", &["du", "registry", "-v", "platform"]),
        ("du-csv", &["du", "registry", "--format", "csv"]),
        ("du-nothing", &["du", "registry", "team/wep"]),
    ] {
        let page = sandbox.run(arguments);
        let is_narrow = |line: &str| line.starts_with("$ ") || line.chars().count() <= 80;
        assert!(name.ends_with("verbose") || name.ends_with("csv") || page.lines().all(is_narrow), "{page}");
        // What files take on the disk is the file system's business.
        let page = if name == "du-csv" { without_disk(&page) } else { page };
        check(name, page);
    }
}

/// A table without the columns of what files take on the disk.
fn without_disk(page: &str) -> String {
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let kept = cells.iter().enumerate().filter(|(at, _)| ![5, 7].contains(at)).map(|(_, cell)| *cell);
        kept.collect::<Vec<&str>>().join(",") + "\n"
    };
    page.lines().map(line).collect()
}

#[test]
fn wrong_usage() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.folder.path().join("empty")).unwrap();
    fs::write(sandbox.folder.path().join("s3.yml"), "version: 0.1\nstorage: {s3: {bucket: x}}\n").unwrap();
    let pages: Vec<String> = [
        &["gc"][..],
        &["gc", "absent"],
        &["gc", "empty"],
        &["gc", "s3.yml"],
        &["gc", "--config", "s3.yml", "registry"],
        &["gc", "--config", "absent.yml", "registry"],
        &["gc", "--registry", "ftp://user:secret@example.com", "registry"],
        &["gc", "http://user:secret@127.0.0.1:5000"],
        &["gc", "s3://bucket/registry"],
        &["ls", "registry:5000/team/web"],
        &["gc", "--dry-run=true", "registry"],
        &["gc", "--jobs", "0", "registry"],
        &["gc", "--uploads-older-than", "soon", "registry"],
        &["trash", "restore", "registry", "20200101T000000Z-1", "--registry-stopped"],
    ]
    .into_iter()
    // The commands themselves are in the page; what they print must not repeat a password.
    .map(|arguments| sandbox.run(arguments).replacen("user:secret", "user:[PASSWORD]", 1))
    .collect();
    let page = pages.join("\n");
    assert!(!page.contains("secret"), "a password is never shown");
    check("wrong-usage", page);
}

#[test]
fn help() {
    let sandbox = Sandbox::new();
    let pages: Vec<String> = [
        &["--help"][..],
        &["gc", "-h"],
        &["gc", "--help"],
        &["check", "--help"],
        &["ls", "--help"],
        &["du", "--help"],
        &["rm", "--help"],
        &["trash", "--help"],
        &["trash", "list", "--help"],
        &["trash", "restore", "--help"],
        &["trash", "purge", "--help"],
        &["why", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ]
    .into_iter()
    .map(|arguments| sandbox.run(arguments))
    .collect();
    check("help", pages.join("\n"));
}

#[test]
fn the_report_goes_to_a_file_as_well() {
    let sandbox = Sandbox::new();
    let printed = sandbox.run(&["gc", "-d", "--report", "report.json", "registry"]);
    assert!(printed.contains("Would free"));
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["schema"], "regsweep.report/1");
    assert_eq!(report["actions"].as_array().unwrap().len(), 16);
    assert!(sandbox.run(&["gc", "-d", "--report", "absent/report.json", "registry"]).contains("exit 1"));
}
