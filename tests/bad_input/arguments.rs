//! What regsweep is pointed at, and with which flags: what is no registry, configs that cannot be used, wrong usage.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::support::process::{finish, regsweep, regsweep_bound_by_permissions};
use crate::support::scenario::{gc, gc_arguments};
use crate::support::tree::Tree;
use crate::{gc_on, small, wrong_usage};

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

/// Where it can be seen what was meant, the line says what to give.
#[test]
fn what_to_give_in_place_of_it_is_said() {
    let tree = small();
    let (root, v2) = (tree.root(), tree.v2());
    let beside = tree.beside();
    let name = root.to_str().unwrap();
    for inside in [v2.join("repositories"), v2.join("repositories/team"), v2.join("blobs/sha256")] {
        let given = inside.to_str().unwrap();
        let says = [&*format!("{given} is a folder inside of a registry"), &*format!("rootdirectory: {name}")];
        wrong_usage(&gc_on(&inside), &says);
    }
    // A copy of the v2 folder alone is one as well, and has no root above it.
    let copy = beside.join("copy");
    fs::create_dir_all(copy.join("blobs")).unwrap();
    fs::create_dir_all(copy.join("repositories/team")).unwrap();
    wrong_usage(&gc_on(&copy.join("repositories")), &[&format!("rootdirectory: {}", copy.display())]);
    fs::remove_dir_all(&copy).unwrap();
    wrong_usage(&gc_on(beside), &["but there is one in it; give ", name]);
    // Of a dot nobody sees which folder it is.
    let empty = beside.join("empty");
    fs::create_dir(&empty).unwrap();
    let mut command = regsweep(&gc_arguments(Path::new("."), &["--dry-run"]));
    command.current_dir(&empty);
    wrong_usage(&finish(command), &[&format!(". ({}) is no registry: expected docker/registry/v2", empty.display())]);
    // A file is read as a config, which not everybody knows.
    let page = beside.join("README.md");
    fs::write(&page, "# A page\n\nWith text: in it\n").unwrap();
    wrong_usage(&gc_on(&page), &["a file as REGISTRY is read as the registry's config: ", "README.md"]);
    let config = beside.join("config.yml");
    fs::write(&config, "version: 0.2\n").unwrap();
    wrong_usage(&gc_on(&config), &["config.yml: version: 0.1 was expected"]);
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
