//! What makes the packages, held against the tree: what takes minutes to build should not fail for a file's name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{output_of, repository};

fn text(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Cargo's answer, without asking anybody else.
fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let output = output_of(Command::new(env!("CARGO")).current_dir(folder).args(arguments).arg("--offline"));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn manifest() -> Value {
    let answer = cargo(repository(), &["metadata", "--format-version", "1", "--no-deps"]);
    serde_json::from_str::<Value>(&answer).unwrap()["packages"][0].clone()
}

#[test]
fn what_the_debian_package_holds_is_there() {
    let manifest = manifest();
    let deb = &manifest["metadata"]["deb"];
    let script = text("scripts/package");
    let mut goes_to = BTreeSet::new();
    for asset in deb["assets"].as_array().unwrap() {
        let [source, target, mode] = [0, 1, 2].map(|at| asset[at].as_str().unwrap());
        println!("{source} -> {target}");
        assert!(["644", "755"].contains(&mode), "{source}: {mode}");
        let (folder, file) = source.rsplit_once('/').unwrap_or((".", source));
        goes_to.insert(if target.ends_with('/') { format!("{target}{file}") } else { target.to_owned() });
        if let Some(made) = source.strip_prefix("target/release/dist/") {
            let made = made.strip_suffix("/*.1.gz").unwrap_or(made);
            assert!(script.contains(&format!("\"$stage/{made}\"")), "{source}: scripts/package does not make it");
        } else if source != "target/release/regsweep" {
            let ending = file.strip_prefix('*').unwrap_or(file);
            let mut names = fs::read_dir(repository().join(folder)).unwrap().map(|it| it.unwrap().file_name());
            assert!(names.any(|name| name.to_str().unwrap().ends_with(ending)), "{source} is not there");
        }
    }
    for path in [
        "usr/bin/regsweep",
        "usr/share/man/man1/*.1.gz",
        "usr/share/bash-completion/completions/regsweep",
        "usr/share/zsh/vendor-completions/_regsweep",
        "usr/share/fish/vendor_completions.d/regsweep.fish",
        "usr/share/doc/regsweep/changelog.Debian.gz",
        "usr/bin/regsweep-window",
        "usr/lib/systemd/system/regsweep.service",
        "usr/lib/systemd/system/regsweep.timer",
        "etc/regsweep/read-only.conf",
        "usr/share/doc/regsweep/docs/recipes/systemd/window.conf",
    ] {
        assert!(goes_to.contains(path), "{path} is not in the package: {goes_to:?}");
    }
    // Nothing runs when it is installed or removed, so nothing can be left behind.
    assert!(deb.get("maintainer-scripts").is_none());
}

#[test]
fn cargo_packages_what_the_program_is_made_of() {
    let listed = cargo(repository(), &["package", "--list", "--allow-dirty"]);
    let listed: BTreeSet<&str> = listed.lines().collect();
    for name in ["Cargo.lock", "src/main.rs", "src/report/html/page.css", "README.md", "LICENSE-MIT", "docs/running.md"]
    {
        assert!(listed.contains(name), "{name} is missing");
    }
    let is_ours =
        |name: &&str| ["tests/", "fixtures/", "benches/", "fuzz/", ".github/"].iter().any(|it| name.starts_with(it));
    assert_eq!(listed.iter().copied().find(|name| is_ours(name)), None, "is for whoever works on it");
}

/// The image is built from a part of the tree, which has to be enough for cargo.
#[test]
fn the_image_is_built_from_enough() {
    let folder = tempfile::tempdir().unwrap();
    let ignored = text(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "everything stays out but what is named");
    for name in lines.map(|line| line.strip_prefix('!').unwrap()) {
        let (parent, file) = name.rsplit_once('/').unwrap_or((".", name));
        let start = file.trim_end_matches('*');
        let names = fs::read_dir(repository().join(parent)).unwrap().map(|it| it.unwrap().file_name());
        let names: Vec<_> = names.filter(|it| it.to_str().unwrap().starts_with(start)).collect();
        assert!(!names.is_empty(), "{name} is not there");
        fs::create_dir_all(folder.path().join(parent)).unwrap();
        for found in names {
            std::os::unix::fs::symlink(repository().join(parent).join(&found), folder.path().join(parent).join(&found))
                .unwrap();
        }
    }
    // Before it compiles anything cargo looks for the binary by its name; before that, for whatever the manifest names.
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(folder.path()).args(["build", "--release", "--locked", "--offline", "--bin", "no-such-program"]);
    let said = String::from_utf8(output_of(&mut build).stderr).unwrap();
    assert!(said.contains("no bin target named `no-such-program`"), "{said}");
    assert!(folder.path().join("LICENSE-APACHE").exists() && folder.path().join("LICENSE-MIT").exists());
}

#[test]
fn the_image_has_no_shell_and_no_root() {
    let dockerfile = text("Dockerfile");
    let (build, last) = dockerfile.rsplit_once("\nFROM ").unwrap();
    assert!(last.starts_with("scratch\n"), "{last}");
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().expect("a number: there are no names")).collect();
    assert!(ids.len() == 2 && !ids.contains(&0), "{user}");
    assert!(!last.contains("\nRUN "), "there is no shell that could run it");
    let entry = last.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    let entry: Vec<String> = serde_json::from_str(entry).expect("without a shell, as JSON");
    assert!(build.contains(&format!("/out{}", entry[0])), "{entry:?} is not what was built");
    // The same compiler as everywhere.
    let version = manifest()["rust_version"].as_str().unwrap().to_owned();
    assert!(build.contains(&format!("FROM rust:{version}-")), "{version}");
}

/// Workflows: pinned, with the least that they need, calling what is there.
#[test]
fn workflows_are_pinned_and_call_what_is_there() {
    let mut seen = 0;
    for name in ["ci", "release"] {
        let workflow = text(&format!(".github/workflows/{name}.yml"));
        assert!(workflow.contains("\npermissions:\n  contents: read\n"), "{name}: may no more than read by default");
        for line in workflow.lines().map(str::trim) {
            if let Some((_, action)) = line.split_once("uses: ") {
                let (_, pinned) = action.split_once('@').unwrap_or_else(|| panic!("{name}: {action}"));
                let (hash, tag) = pinned.split_once(" # ").unwrap_or_else(|| panic!("{name}: {action}"));
                assert!(hash.len() == 40 && hash.bytes().all(|it| it.is_ascii_hexdigit()), "{name}: {action}");
                assert!(tag.starts_with('v'), "{name}: {action}");
                seen += 1;
            }
            for script in line.split([' ', '"', '\'', ';', '(']).filter_map(|word| word.strip_prefix("./")) {
                let mode = fs::metadata(repository().join(script)).unwrap_or_else(|it| panic!("{script}: {it}"));
                assert!(mode.permissions().mode() & 0o111 != 0, "{script} cannot be run");
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "{seen} actions and scripts were found");
}

/// `docs/installing.md` names the C library that scripts/package holds binaries to, and every direct dependency.
#[test]
fn the_page_on_installing_is_right() {
    let page = text("docs/installing.md");
    let script = text("scripts/package");
    let glibc = script.lines().find_map(|line| line.strip_prefix("newest_glibc=")).unwrap();
    assert!(page.contains(&format!("glibc {glibc}")), "glibc {glibc}");
    let rows = page.lines().skip_while(|line| !line.starts_with("| crate |"));
    let table = rows.filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let told: BTreeSet<&str> = table.flat_map(|(names, _)| names.split("`, `")).collect();
    let manifest = manifest();
    let dependencies = manifest["dependencies"].as_array().unwrap().iter();
    let normal = dependencies.filter(|it| it["kind"].is_null()).map(|it| it["name"].as_str().unwrap());
    assert_eq!(normal.collect::<BTreeSet<&str>>(), told);
    let crates = |of: &str| {
        let shown = ["--edges", "normal,no-proc-macro", "--target", "x86_64-unknown-linux-gnu", "--prefix", "none"];
        let listed = cargo(repository(), &[&["tree", "--locked", "--no-dedupe", "--package", of], &shown[..]].concat());
        listed.lines().map(str::to_owned).collect::<BTreeSet<String>>().len()
    };
    let (foreign, client) = (crates("regsweep") - 1, crates("ureq"));
    let told = format!("| {foreign}; {client} of them are the client for http and https");
    assert!(page.contains(&told), "docs/installing.md does not say: {told}");
}
