//! Bad input, as section 5 of the design lists it: what is no registry, what is damaged in odd ways, and names that
//! nobody should print. Nothing of it may end in a panic, a hang, a lost image or a line of somebody else's escape
//! sequences on the operator's terminal.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::tree::{Blob, Manifest, Tree, blob_object, sha256, write};
use support::{Run, collect, finish, gc, gc_arguments, regsweep, regsweep_bound_by_permissions};

/// A tree with an image and something to collect.
fn small() -> Tree {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    tree.orphan("orphan");
    tree
}

/// Exit 2, nothing on standard output, and one line on standard error that says all of this.
fn wrong_usage(run: &Run, says: &[&str]) {
    run.exits(2);
    assert_eq!(run.text(), "", "nothing goes to standard output");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line, not {lines:#?}");
    for word in says {
        assert!(lines[0].contains(word), "the line does not say {word:?}: {}", lines[0]);
    }
}

fn gc_on(registry: &Path) -> Run {
    finish(regsweep(&[OsStr::new("gc"), OsStr::new("--dry-run"), registry.as_os_str()]))
}

// ======================================================================================================= no registry

#[test]
fn what_is_no_registry_is_refused_in_one_line() {
    let tree = small();
    let beside = tree.beside();
    let file = beside.join("a-file");
    fs::write(&file, b"\x7fELF no config either").unwrap();
    let empty = beside.join("empty");
    fs::create_dir(&empty).unwrap();
    let half = beside.join("half");
    fs::create_dir_all(half.join("docker/registry")).unwrap();
    let other = beside.join("other");
    fs::create_dir_all(other.join("var/lib/docker")).unwrap();
    let device = Path::new("/dev/null").to_owned();
    for path in [beside.join("missing"), file, empty, half, other, device] {
        println!("{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        wrong_usage(&gc_on(&path), &[name]);
    }
    // The line says what was expected there.
    wrong_usage(&gc_on(&beside.join("empty")), &["docker/registry/v2"]);
    wrong_usage(&gc_on(&beside.join("half")), &["v2"]);
}

/// JSON for machines, too: one document or none, and the same exit code.
#[test]
fn what_is_no_registry_prints_no_half_document() {
    let tree = small();
    let run = finish(regsweep(&gc_arguments(&tree.beside().join("missing"), &["--dry-run"])));
    run.exits(2);
    if !run.stdout.is_empty() {
        run.report();
    }
}

#[test]
fn a_root_that_may_not_be_read_is_refused_in_one_line() {
    for folder in ["registry", "registry/docker", "registry/docker/registry/v2"] {
        println!("{folder} may not be read");
        let tree = small();
        let objects = tree.objects();
        tree.give_to_nobody();
        let denied = tree.beside().join(folder);
        tree.chmod(&denied, 0o000);
        let run = finish(regsweep_bound_by_permissions(
            &tree,
            &[OsStr::new("gc"), OsStr::new("--registry-stopped"), tree.root().as_os_str()],
        ));
        tree.chmod(&denied, 0o755);
        wrong_usage(&run, &["ermission denied"]);
        assert_eq!(tree.objects(), objects);
    }
}

/// No folder `blobs`, or one that cannot be listed, is not "no blobs".
#[test]
fn a_blob_store_that_cannot_be_listed_is_not_empty() {
    let tree = small();
    let delivered = tree.deliverable(true);
    let broken = tree.unreadable(&tree.v2().join("blobs"));
    let run = gc(&tree, &["--registry-stopped", "-m"]);
    assert!([1, 2, 3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
    broken.mend();
    assert_eq!(tree.deliverable(true), delivered);
}

#[test]
fn each_folder_on_the_way_down_is_the_registry() {
    let tree = small();
    let expected = gc(&tree, &["--dry-run"]).report();
    assert_eq!(expected.garbage_blobs().len(), 1);
    let root = tree.root();
    let symlinked = tree.beside().join("by-another-name");
    tree.symlink(&root, &symlinked);
    let folders = [
        root.clone(),
        root.join("docker"),
        root.join("docker/registry"),
        root.join("docker/registry/v2"),
        root.join("docker/registry/v2/"),
        root.join("docker/../docker/registry"),
        symlinked,
    ];
    for folder in folders {
        println!("{}", folder.display());
        let run = finish(regsweep(&gc_arguments(&folder, &["--dry-run"])));
        run.exits(0);
        assert_eq!(run.report().actions(), expected.actions());
        let v2 = run.report().0["root"].as_str().unwrap().to_owned();
        assert!(v2.ends_with("docker/registry/v2"), "{v2}");
    }
    // And from within, by a relative name.
    let mut command = regsweep(&gc_arguments(Path::new("."), &["--dry-run"]));
    command.current_dir(tree.root());
    assert_eq!(finish(command).report().actions(), expected.actions());
}

/// A folder below `v2` is not on the way down to it.
#[test]
fn a_folder_below_v2_is_no_registry() {
    let tree = small();
    for folder in ["blobs", "repositories", "repositories/team", "repositories/team/app", "blobs/sha256"] {
        wrong_usage(&gc_on(&tree.v2().join(folder)), &[]);
    }
}

// =============================================================================================================== config

fn config(tree: &Tree, text: &str) -> std::path::PathBuf {
    let path = tree.beside().join("config.yml");
    fs::write(&path, text.replace("ROOT", tree.root().to_str().unwrap())).unwrap();
    path
}

#[test]
fn a_config_is_the_registry_that_it_names() {
    let tree = small();
    let expected = gc(&tree, &["--dry-run"]).report();
    let path = config(&tree, "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ROOT\n");
    let run = finish(regsweep(&gc_arguments(&path, &["--dry-run"])));
    run.exits(0);
    assert_eq!(run.report().actions(), expected.actions());
    // Under the stock collector's name, with its flags, and nothing else.
    let mut command = regsweep(&[OsStr::new("garbage-collect"), OsStr::new("-d"), OsStr::new("-m"), path.as_os_str()]);
    command.current_dir("/");
    finish(command).exits(0);
    // It does not prove that the registry is read-only, so nothing goes.
    let before = tree.objects();
    let run = finish(regsweep(&gc_arguments(&path, &[])));
    run.exits(4);
    assert_eq!(run.report().outcome(), "refused");
    assert_eq!(tree.objects(), before);
}

#[test]
fn a_config_that_says_read_only_is_proof() {
    let tree = small();
    let text = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ROOT\n  maintenance:\n    readonly:\n      enabled: true\n";
    let run = finish(regsweep(&gc_arguments(&config(&tree, text), &[])));
    run.exits(0);
    let report = run.report();
    assert_eq!(report.0["read_only"]["proven"], true);
    assert_eq!(report.0["read_only"]["evidence"][0]["kind"], "config");
    assert_eq!(report.count("removed", "blobs"), 1);
    assert_eq!(tree.objects().iter().filter(|object| object.starts_with("blob ")).count(), 4);
}

#[test]
fn a_config_that_says_writable_is_no_proof() {
    for readonly in
        ["", "    readonly:\n      enabled: false\n", "    readonly:\n", "    uploadpurging:\n      enabled: true\n"]
    {
        let tree = small();
        let maintenance = if readonly.is_empty() { String::new() } else { format!("  maintenance:\n{readonly}") };
        let text = format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ROOT\n{maintenance}");
        let objects = tree.objects();
        let run = finish(regsweep(&gc_arguments(&config(&tree, &text), &[])));
        run.exits(4);
        assert_eq!(run.report().0["read_only"]["proven"], false);
        assert_eq!(tree.objects(), objects);
    }
}

#[test]
fn a_config_that_cannot_be_used_is_refused_in_one_line() {
    let cases: [(&str, &[&str]); 7] = [
        ("storage: [\n", &["config.yml"]),
        ("version: 0.1\nstorage:\n\tfilesystem: x\n", &["config.yml"]),
        ("version: 0.1\nstorage:\n  s3:\n    bucket: b\n    region: r\n", &["s3", "filesystem"]),
        ("version: 0.1\nstorage:\n  inmemory: {}\n", &["inmemory", "filesystem"]),
        ("version: 0.1\n", &["storage"]),
        ("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /nowhere/at/all\n", &["/nowhere/at/all"]),
        ("", &["config.yml"]),
    ];
    for (text, says) in cases {
        println!("{text:?}");
        let tree = small();
        let path = config(&tree, text);
        wrong_usage(&gc_on(&path), says);
        // Beside a path, the same.
        if !text.contains("nowhere") {
            let root = tree.root();
            let config = ["gc", "--dry-run", "--config", path.to_str().unwrap(), root.to_str().unwrap()];
            wrong_usage(&finish(regsweep(&config)), says);
        }
    }
}

#[test]
fn the_registrys_environment_overrides_its_config() {
    let tree = small();
    let path = config(&tree, "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /nowhere/at/all\n");
    let mut command = regsweep(&gc_arguments(&path, &["--dry-run"]));
    command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", tree.root());
    let run = finish(command);
    run.exits(0);
    assert_eq!(run.report().garbage_blobs().len(), 1);

    let mut command = regsweep(&gc_arguments(&path, &[]));
    command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", tree.root());
    command.env("REGISTRY_STORAGE_MAINTENANCE_READONLY", r#"{"enabled":true}"#);
    let run = finish(command);
    run.exits(0);
    assert_eq!(run.report().0["read_only"]["evidence"][0]["kind"], "config");
}

// ============================================================================================================== usage

#[test]
fn unknown_flags_and_missing_arguments_are_wrong_usage() {
    let tree = small();
    let root = tree.root();
    let root = root.to_str().unwrap();
    let cases: [&[&str]; 10] = [
        &[],
        &["gc"],
        &["gc", "--no-such-flag", root],
        &["gc", "--format", "xml", root],
        &["gc", "--jobs", "many", root],
        &["gc", "--uploads-older-than", "soon", root],
        &["gc", root, "and another"],
        &["sweep", root],
        &["trash", root],
        &["trash", "restore"],
    ];
    let objects = tree.objects();
    for arguments in cases {
        let run = finish(regsweep(arguments));
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
        assert_eq!(run.text(), "", "{arguments:?}: nothing on standard output");
        assert!(!run.stderr.is_empty());
    }
    assert_eq!(tree.objects(), objects);
    // Help and version are no errors and go to standard output.
    for arguments in [&["--help"][..], &["gc", "--help"], &["--version"]] {
        let run = finish(regsweep(arguments));
        run.exits(0);
        assert!(!run.stdout.is_empty() && run.stderr.is_empty());
    }
}

#[test]
fn jobs_may_be_few_or_many() {
    let tree = small();
    let expected = gc(&tree, &["--dry-run"]).report();
    for jobs in ["1", "2", "64"] {
        let run = gc(&tree, &["--dry-run", "--jobs", jobs]);
        run.exits(0);
        assert_eq!(run.report().actions(), expected.actions());
    }
}

#[test]
fn a_run_that_does_not_exist_cannot_be_restored() {
    let tree = small();
    let root = tree.root();
    let before = tree.fingerprint().files();
    for run in ["20200101T000000Z-0000", "..", "../../blobs", "/etc", ""] {
        let run = finish(regsweep(&["trash", "restore", "--registry-stopped", root.to_str().unwrap(), run]));
        assert!([1, 2, 4].contains(&run.code), "exit {}: {}", run.code, run.stderr);
        assert!(!run.stderr.is_empty());
        assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    }
    finish(regsweep(&["trash", "list", root.to_str().unwrap()])).exits(0);
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
}

// ============================================================================================== output, for whom it is

#[test]
fn json_is_one_document_whatever_happens() {
    let tree = small();
    for flags in [&["--dry-run"][..], &["--dry-run", "-v"], &["--dry-run", "-q"], &[], &["--registry-stopped", "-v"]] {
        let run = gc(&tree, flags);
        assert_eq!(run.code, if flags.is_empty() { 4 } else { 0 }, "{flags:?}");
        run.report();
    }
}

/// Refused for want of proof: what is missing and how to give it, for people on standard error or output, and no more
/// than a paragraph.
#[test]
fn a_refusal_names_the_flags_that_would_help() {
    let tree = small();
    let run = finish(regsweep(&[OsStr::new("gc"), tree.root().as_os_str()]));
    run.exits(4);
    let said = format!("{}{}", run.text(), run.stderr);
    for word in ["--registry-stopped", "--registry", "readonly"] {
        assert!(said.contains(word), "it does not name {word}:\n{said}");
    }
}

/// `regsweep gc ... | head -1`: the reader leaves, and that is no error.
#[test]
fn a_closed_pipe_is_no_error() {
    let tree = small();
    let app = tree.repository("team/app");
    for n in 0..300 {
        app.stray_layer(&format!("stray {n}"));
    }
    for flags in
        [&["gc", "--dry-run", "-v"][..], &["gc", "--dry-run", "--format", "json"], &["gc", "--dry-run"], &["--help"]]
    {
        let mut arguments: Vec<OsString> = flags.iter().map(OsString::from).collect();
        arguments.push(tree.root().into_os_string());
        let mut command = regsweep(&arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked") && !stderr.to_lowercase().contains("broken pipe"), "{flags:?}: {stderr}");
        assert_eq!(output.status.code(), Some(0), "{flags:?}: {stderr}");
    }
}

/// The sweep itself is not cut short by a reader who has left.
#[test]
fn a_closed_pipe_does_not_stop_the_sweep() {
    let tree = small();
    let arguments = ["gc", "--registry-stopped", "-v", tree.root().to_str().unwrap()].map(OsString::from);
    let mut command = regsweep(&arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(gc(&tree, &["--dry-run"]).report().actions(), Vec::new(), "the run was done");
}

fn escapes(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == 0x1b).count()
}

/// No colours where nobody sees them, and none with `NO_COLOR` on a terminal (`script` gives one).
#[test]
fn no_colour_where_it_is_not_wanted() {
    let tree = small();
    let run = finish(regsweep(&[OsStr::new("gc"), OsStr::new("--dry-run"), tree.root().as_os_str()]));
    assert_eq!(escapes(&run.stdout) + escapes(run.stderr.as_bytes()), 0, "no terminal, no escape sequences");
    let run = finish(regsweep(&[OsStr::new("gc"), OsStr::new("--dri-run"), tree.root().as_os_str()]));
    assert_eq!(escapes(run.stderr.as_bytes()), 0, "usage errors, likewise: {:?}", run.stderr);

    let on_a_terminal = |arguments: &str| {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_regsweep"));
        let mut command = std::process::Command::new("script");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm-256color").env("NO_COLOR", "1");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir("/");
        command.stdin(Stdio::null()).output()
    };
    let Ok(output) = on_a_terminal("gc --dri-run /") else {
        println!("no `script` here: a terminal could not be had");
        return;
    };
    let colour = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("\x1b[3");
    assert!(!colour(&output.stdout), "{}", String::from_utf8_lossy(&output.stdout).escape_debug());
    let output = on_a_terminal(&format!("gc --dry-run {}", tree.root().display())).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!colour(&output.stdout), "{}", String::from_utf8_lossy(&output.stdout).escape_debug());
}

// =============================================================================================================== names

/// Names that would repaint the operator's terminal, forge a line of a report, or turn text around.
const EVIL: [&str; 4] = ["evil\nname", "evil\x1b[2Jname", "evil\u{9b}31mname", "evil\rname\u{202e}"];

fn evil_tree() -> Tree {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    for (n, evil) in EVIL.iter().enumerate() {
        let repository = tree.repository(&format!("team/{evil}"));
        repository.image(&format!("tag-{n}"));
        repository.untagged("old");
        repository.upload(evil, Duration::from_secs(9_000_000));
        let app = tree.repository("team/app");
        app.tag(evil, &Manifest::docker("nowhere", &[]));
        write(&app.folder().join("_layers").join(evil).join("x"), b"?");
        write(&tree.v2().join("blobs/sha256").join(evil).join("x"), b"?");
        write(&tree.v2().join(evil), b"?");
    }
    tree
}

#[test]
fn names_never_reach_the_terminal_raw() {
    let tree = evil_tree();
    let root = tree.root();
    let cases: [&[&str]; 5] = [
        &["gc", "--dry-run", "-m", "-v"],
        &["gc", "--dry-run", "-m"],
        &["gc", "--dry-run", "-m", "-v", "--format", "json"],
        &["gc", "--registry-stopped", "-m", "-v", "--quarantine"],
        &["gc", "--registry-stopped", "-m", "-v", "--format", "json"],
    ];
    for arguments in cases {
        let run = finish(regsweep(&[arguments, &[root.to_str().unwrap()]].concat()));
        for said in [run.text(), run.stderr.clone()] {
            assert!(!said.contains('\x1b'), "{arguments:?}: an escape sequence: {said:?}");
            assert!(!said.contains("evil\n"), "{arguments:?}: a line break in a name: {said:?}");
            assert!(!said.contains("evil\r"), "{arguments:?}: a carriage return in a name: {said:?}");
            if !arguments.contains(&"json") {
                assert!(!said.contains('\u{9b}'), "{arguments:?}: an eight-bit escape sequence: {said:?}");
                assert!(!said.contains('\u{202e}'), "{arguments:?}: text turned around: {said:?}");
            }
        }
        // It does speak of them, or this tests nothing.
        assert!(run.text().contains("evil"), "{arguments:?}: {}", run.text());
        if arguments.contains(&"json") {
            run.report();
        }
    }
}

#[test]
fn a_registry_path_with_escape_sequences_is_not_printed_raw() {
    let tree = small();
    let missing = tree.beside().join("evil\x1b[2J\nname");
    let run = gc_on(&missing);
    wrong_usage(&run, &["evil"]);
    assert!(!run.stderr.contains('\x1b'), "{:?}", run.stderr);
    // Nor where there is something.
    tree.symlink(&tree.root(), &missing);
    let run = gc_on(&missing);
    run.exits(0);
    assert!(!run.text().contains('\x1b') && !run.stderr.contains('\x1b'), "{:?}", run.text());
}

/// Names that are no UTF-8: found, kept, and nobody else's image suffers.
#[test]
fn names_that_are_no_utf8_are_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let orphan = tree.orphan("orphan");
    let bad = OsString::from_vec(b"bad\xff\xfename".to_vec());
    let manifests = app.folder().join("_manifests");
    let places = [
        tree.v2().join(&bad),
        tree.v2().join("blobs").join(&bad).join("x"),
        tree.v2().join("blobs/sha256").join(&bad).join("x"),
        tree.v2().join("blobs/sha256/ab").join(&bad).join("data"),
        tree.repositories().join(&bad).join("_uploads/x/data"),
        tree.repositories().join("team").join(&bad).join("x"),
        app.folder().join(&bad),
        manifests.join("revisions").join(&bad).join("x"),
        manifests.join("revisions/sha256").join(&bad).join("link"),
        manifests.join("tags/v1/index/sha256").join(&bad).join("link"),
        app.folder().join("_layers/sha256").join(&bad).join("link"),
        app.folder().join("_uploads").join(&bad).join("data"),
    ];
    for place in &places {
        write(place, b"?");
    }
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]).removes(&[blob_object(&orphan.digest)]);
    for place in &places {
        assert!(place.exists(), "{}", place.display());
    }
    assert!(run.real.has_finding("bad"), "{}", run.real.0["findings"]);
    let human = finish(regsweep(&[OsStr::new("gc"), OsStr::new("-dmv"), tree.root().as_os_str()]));
    human.text();
}

/// A tag whose name is no UTF-8 is a tag that nobody can pull; what it points at is kept all the same.
#[test]
fn a_tag_that_is_no_utf8_keeps_what_it_points_at() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let tag = app.folder().join("_manifests/tags").join(OsStr::from_bytes(b"bad\xff"));
    write(&tag.join("current/link"), old.digest.as_bytes());
    let run = collect(&tree, &["-m"]);
    run.keeps(&app.objects_of(&old));
    assert!(tag.exists());
    assert!(run.real.has_finding("bad"), "{}", run.real.0["findings"]);
}

#[test]
fn unknown_files_everywhere_are_info_and_kept() {
    let tree = small();
    let app = tree.repository("team/app");
    let v1 = fs::read_to_string(app.current("v1")).unwrap();
    let strangers: BTreeSet<_> = [
        tree.root(),
        tree.root().join("docker"),
        tree.root().join("docker/registry"),
        tree.v2(),
        tree.v2().join("blobs"),
        tree.v2().join("blobs/sha256"),
        tree.blob(&v1).parent().unwrap().to_owned(),
        tree.blob(&v1),
        tree.repositories(),
        tree.repositories().join("team"),
        app.folder(),
        app.folder().join("_manifests"),
        app.folder().join("_manifests/revisions"),
        app.folder().join("_manifests/revisions/sha256"),
        app.revision(&v1),
        app.folder().join("_manifests/tags"),
        app.tag_folder("v1"),
        app.tag_folder("v1").join("current"),
        app.tag_folder("v1").join("index"),
        app.tag_folder("v1").join("index/sha256"),
        app.history("v1", &v1),
        app.folder().join("_layers"),
        app.folder().join("_layers/sha256"),
        app.folder().join("_uploads"),
    ]
    .into_iter()
    .flat_map(|folder| [folder.join("unknown.txt"), folder.join("unknown folder/inside")])
    // A folder there is a tag, if one that was never finished.
    .filter(|path| !path.starts_with(app.tag_folder("unknown folder")))
    .collect();
    for stranger in &strangers {
        write(stranger, b"somebody's");
    }
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.exits(0).without_complaint();
    assert_eq!(run.real.actions().len(), 1, "the orphan: {}", run.real.0["actions"]);
    for stranger in &strangers {
        assert!(stranger.exists(), "removed: {}", stranger.display());
    }
    assert!(run.real.has("info", "unknown.txt") && run.real.has("info", "unknown folder"));
}

// ========================================================================================================= odd files

/// A named pipe in the place of a file: whoever opens it to read waits for a writer who never comes.
#[test]
fn named_pipes_do_not_stop_a_run() {
    let places: [(&str, &[i32]); 8] = [
        ("current link", &[3]),
        ("revision link", &[3]),
        ("manifest", &[3]),
        ("untagged revision link", &[0, 3]),
        ("untagged manifest", &[0, 3]),
        ("layer link", &[0, 3]),
        ("orphan's data", &[0, 3]),
        ("startedat", &[0, 3]),
    ];
    for (place, codes) in places {
        for flags in [&[][..], &["-m"]] {
            println!("the {place} is a named pipe, {flags:?}");
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let v1 = app.image("v1");
            let old = app.untagged("old");
            let orphan = tree.orphan("orphan");
            let pipe = tree.orphan("pipe");
            let upload = app.upload("odd", Duration::from_secs(60));
            let at = match place {
                "current link" => app.current("v1"),
                "revision link" => app.revision(&v1.digest).join("link"),
                "manifest" => tree.data(&v1.digest),
                "untagged revision link" => app.revision(&old.digest).join("link"),
                "untagged manifest" => tree.data(&old.digest),
                "layer link" => app.layer(&v1.blobs[1].digest).join("link"),
                "orphan's data" => tree.data(&pipe.digest),
                _ => upload.join("startedat"),
            };
            tree.fifo(&at);
            let began = Instant::now();
            let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
            assert!(began.elapsed() < Duration::from_secs(30), "it waited");
            assert!(codes.contains(&run.code), "exit {}: {}", run.code, run.text());
            let left = tree.objects();
            assert!(left.contains(&app.tag_object("v1")) && left.contains(&blob_object(&v1.digest)));
            for digest in v1.blob_digests() {
                assert!(left.contains(&blob_object(digest)) && left.contains(&app.layer_object(digest)));
            }
            assert!(!left.contains(&blob_object(&orphan.digest)), "the rest is collected");
        }
    }
}

/// 100 MB where a manifest should be, sparse, under a tag: not read to its end, and not believed.
#[test]
fn a_huge_manifest_is_not_read_to_its_end() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let stray = app.stray_layer("stray");
    let orphan = tree.orphan("orphan");
    fs::write(tree.data(&v1.digest), b"").unwrap();
    tree.grow(&tree.data(&v1.digest), 4 << 30);
    let began = Instant::now();
    let run = collect(&tree, &["-m"]);
    assert!(began.elapsed() < Duration::from_secs(20), "it was read: {:?}", began.elapsed());
    run.exits(3).removes(&[blob_object(&orphan.digest)]);
    run.keeps(&app.objects_of(&v1)).keeps(&[app.layer_object(&stray.digest)]);
}

/// 100 MB where a link should be.
#[test]
fn a_huge_link_is_not_read_to_its_end() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let orphan = tree.orphan("orphan");
    tree.grow(&app.current("v1"), 4 << 30);
    let began = Instant::now();
    let run = collect(&tree, &["-m"]);
    assert!(began.elapsed() < Duration::from_secs(20), "it was read: {:?}", began.elapsed());
    run.exits(3).removes(&[blob_object(&orphan.digest)]).keeps(&app.objects_of(&v1));
}

/// The largest manifest that the registry accepts, 4 MiB, is still a manifest.
#[test]
fn a_manifest_of_four_mebibytes_is_read() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = Manifest::docker("large", &["its layer"]);
    let text = String::from_utf8(image.bytes.clone()).unwrap();
    let padding = (4 << 20) - text.len();
    let mut large = Manifest::raw(format!("{}{text}", " ".repeat(padding)));
    assert_eq!(large.bytes.len(), 4 << 20);
    large.blobs = image.blobs;
    app.push_tagged("v1", &large);
    let stray = app.stray_layer("stray");
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&[blob_object(&stray.digest), app.layer_object(&stray.digest)]);
    run.keeps(&app.objects_of(&large));
}

/// JSON that overflows the stack of a careless parser, under its right digest and a tag.
#[test]
fn deeply_nested_json_taints_and_does_no_more() {
    let depth = 500_000;
    let nests = [
        "[".repeat(depth) + &"]".repeat(depth),
        "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth),
        "[".repeat(depth),
        format!("{{\"schemaVersion\":2,\"config\":{}1{}}}", "[".repeat(depth), "]".repeat(depth)),
    ];
    for nest in nests {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.push_tagged("v1", &Manifest::raw(nest));
        let stray = app.stray_layer("perhaps its layer");
        let orphan = tree.orphan("orphan");
        let run = collect(&tree, &["-m"]);
        run.exits(3).removes(&[blob_object(&orphan.digest)]).keeps(&[app.layer_object(&stray.digest)]);
    }
}

/// Manifests of odd JSON, each under its right digest and a tag. None may lose what it could mean.
#[test]
fn manifests_of_odd_json_lose_nothing() {
    let config = Blob::layer("config");
    let layer = Blob::layer("layer");
    let (c, l) = (&config.digest, &layer.digest);
    let odd = [
        // Types that are not what the specification says.
        format!(r#"{{"schemaVersion":2,"config":"{c}","layers":["{l}"]}}"#),
        format!(r#"{{"schemaVersion":"2","mediaType":7,"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}]}}"#),
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"{c}"}},"layers":{{"0":{{"digest":"{l}"}}}}}}"#),
        format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{c}","size":-1}},"layers":[{{"digest":"{l}","size":1e400}}]}}"#
        ),
        // Keys twice: which one counts is the reader's choice.
        format!(r#"{{"config":{{"digest":"{c}"}},"layers":[],"layers":[{{"digest":"{l}"}}]}}"#),
        format!(r#"{{"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}],"layers":[]}}"#),
        // Null, and more than one of them.
        format!(r#"{{"config":{{"digest":"{c}"}},"layers":[null,{{"digest":"{l}"}}]}}"#),
        format!(r#"{{"mediaType":null,"manifests":null,"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}]}}"#),
        // A byte order mark, and space around.
        format!("\u{feff}{{\"config\":{{\"digest\":\"{c}\"}},\"layers\":[{{\"digest\":\"{l}\"}}]}}"),
        format!("\n\t {{\"config\":{{\"digest\":\"{c}\"}},\"layers\":[{{\"digest\":\"{l}\"}}]}} \n"),
        // Escapes in keys and digests.
        format!(r#"{{"c\u006fnfig":{{"digest":"{c}"}},"layers":[{{"digest":"{}"}}]}}"#, l.replacen(':', r"\u003a", 1)),
        // A media type that says one thing and members that say another.
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}]}}"#
        ),
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[{{"digest":"{c}"}},{{"digest":"{l}"}}]}}"#
        ),
        // Trailing garbage after a whole document.
        format!(r#"{{"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}]}} trailing"#),
    ];
    for json in odd {
        println!("{json}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let mut manifest = Manifest::raw(json);
        manifest.blobs = vec![config.clone(), layer.clone()];
        app.push_tagged("v1", &manifest);
        let orphan = tree.orphan("orphan");
        let run = collect(&tree, &["-m"]);
        run.removes(&[blob_object(&orphan.digest)]).keeps(&app.objects_of(&manifest));
    }
}

/// A digest in another notation is not another digest, and no reason to lose the blob that it means.
#[test]
fn digests_in_odd_notation_lose_nothing() {
    let layer = Blob::layer("layer");
    let upper = format!("sha256:{}", layer.digest["sha256:".len()..].to_uppercase());
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let json =
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"sha256:short"}},"layers":[{{"digest":"{upper}"}}]}}"#);
    let mut manifest = Manifest::raw(json);
    manifest.blobs = vec![layer];
    app.push_tagged("v1", &manifest);
    let run = collect(&tree, &["-m"]);
    run.keeps(&app.objects_of(&manifest));
    assert!(run.real.has_finding("team/app"), "{}", run.real.0["findings"]);
    assert_ne!(sha256(b""), upper);
}

// ==================================================================================================== symbolic links

/// A repository on another volume, behind a symbolic link: its tags count, and nothing behind the link is removed.
/// ```text
/// linked -> elsewhere/linked     v1 => M -> config, L      old, stray
/// ```
#[test]
fn a_symlinked_repository_counts_and_nothing_is_removed_through_it() {
    for flags in [&[][..], &["-m"], &["-m", "--remove-empty-repositories"]] {
        let tree = Tree::new();
        tree.repository("team/app").image("v1");
        let linked = tree.repository("linked");
        let v1 = linked.image("v1");
        linked.untagged("old");
        linked.stray_layer("stray");
        linked.upload("stale", Duration::from_secs(9_000_000));
        let orphan = tree.orphan("orphan");
        let elsewhere = tree.beside().join("elsewhere");
        fs::rename(linked.folder(), &elsewhere).unwrap();
        tree.symlink(&elsewhere, &linked.folder());
        let links = || -> BTreeSet<_> {
            let entries = walkdir::WalkDir::new(&elsewhere).into_iter().map(Result::unwrap);
            entries.map(|entry| entry.into_path()).collect()
        };
        let (before, delivered) = (links(), tree.deliverable(false));
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        assert!([0, 3].contains(&run.code), "exit {}: {}", run.code, run.stderr);
        assert_eq!(links(), before, "{flags:?}: nothing goes through the link");
        assert_eq!(tree.deliverable(false), delivered);
        let left = tree.objects();
        linked.objects_of(&v1).iter().for_each(|object| assert!(left.contains(object), "{}", tree.explain(object)));
        assert!(!left.contains(&blob_object(&orphan.digest)));
        assert!(run.report().has_finding("linked"), "{}", run.report().0["findings"]);
    }
}

/// A shard, and one blob, on another volume: read through the link, removed through none.
#[test]
fn a_symlinked_shard_and_a_symlinked_blob_are_read_and_not_removed() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let shard = tree.blob(&v1.digest).parent().unwrap().to_owned();
    let in_shard = (0..)
        .map(|n| Blob::layer(&format!("orphan {n}")))
        .find(|blob| tree.blob(&blob.digest).parent() == Some(&shard));
    let in_shard = in_shard.unwrap();
    tree.put(&in_shard);
    let moved = tree.orphan("orphan behind a link of its own");
    let plain = tree.orphan("orphan");
    for (n, folder) in [shard.clone(), tree.blob(&moved.digest)].iter().enumerate() {
        let elsewhere = tree.beside().join(format!("elsewhere-{n}"));
        fs::rename(folder, &elsewhere).unwrap();
        tree.symlink(&elsewhere, folder);
    }
    let delivered = tree.deliverable(true);
    for flags in [&[][..], &["-m"]] {
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        assert!([0, 3].contains(&run.code), "exit {}: {}", run.code, run.text());
        assert_eq!(tree.deliverable(true), delivered);
        assert!(tree.data(&in_shard.digest).exists() && tree.data(&moved.digest).exists(), "behind a link it stays");
        assert!(fs::symlink_metadata(&shard).unwrap().is_symlink());
        assert!(!tree.blob(&plain.digest).exists(), "the rest is collected");
    }
}

/// A tag that is a symbolic link to its sibling, as somebody made it by hand: the registry follows it.
#[test]
fn a_symlinked_tag_keeps_what_it_points_at() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let elsewhere = tree.beside().join("tag");
    write(&elsewhere.join("current/link"), old.digest.as_bytes());
    write(&elsewhere.join("index/sha256").join(&old.digest[7..]).join("link"), old.digest.as_bytes());
    tree.symlink(&elsewhere, &app.tag_folder("by-link"));
    let run = collect(&tree, &["-m"]);
    run.keeps(&app.objects_of(&old)).keeps(&[app.tag_object("by-link")]);
    assert!(elsewhere.join("current/link").exists());
}

/// Loops end; links to nowhere are reported and kept.
#[test]
fn loops_and_links_to_nowhere_end_and_stay() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let orphan = tree.orphan("orphan");
    let nowhere = Path::new("/nowhere/at/all");
    let links = [
        (tree.repositories().join("team/loop"), Path::new("..").to_owned()),
        (tree.repositories().join("up"), tree.repositories()),
        (tree.repositories().join("nowhere"), nowhere.to_owned()),
        (tree.v2().join("blobs/sha256/loop"), Path::new("../..").to_owned()),
        (tree.v2().join("nowhere"), nowhere.to_owned()),
    ];
    for (path, target) in &links {
        tree.symlink(target, path);
    }
    for flags in [&["--dry-run"][..], &["--registry-stopped", "-m", "--remove-empty-repositories"]] {
        let run = gc(&tree, flags);
        assert!([0, 3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
        assert!(run.report().has_finding("nowhere"), "{}", run.report().0["findings"]);
    }
    for (path, _) in &links {
        assert!(fs::symlink_metadata(path).unwrap().is_symlink(), "{}", path.display());
    }
    assert!(tree.data(&v1.digest).exists() && app.tag_folder("v1").exists());
    assert!(orphan.bytes.len() > 1);
}
