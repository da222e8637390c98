//! T31: real permission bits, one file or folder after the other, and the binary itself as a user whom they bind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::inside::for_each_on_all_cores;
use super::support::process::{Run, bound_by_permissions, copy_of_the_binary, finish};
use super::support::scenario::gc_arguments;
use super::support::tree::{Manifest, Tree};

/// ```text
/// team/app   v1 => image    multi => INDEX -> child    moved => new, before that old      loose, old: untagged, go
///            orphan: goes
/// ```
fn small() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_with_layers("v1", &["v1"]);
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    app.index("multi", &[&child]);
    app.push_tagged("moved", &Manifest::oci("old", &["old"]));
    app.push_tagged("moved", &Manifest::oci("new", &["v1"]));
    app.untagged("loose");
    tree.orphan("orphan");
    tree
}

fn gc(tree: &Tree, binary: &Path, flags: &[&str]) -> Run {
    let flags = [&["--registry-stopped"], flags].concat();
    finish(bound_by_permissions(tree, binary, &gc_arguments(&tree.root(), &flags)))
}

/// How a finding or a refusal may name something: by its path below `v2`, its digest, or the tag that it is of.
fn names(path: &Path) -> Vec<String> {
    let below = path.strip_prefix("docker/registry/v2").unwrap();
    let mut names = vec![below.to_str().unwrap().to_owned()];
    for above in below.ancestors() {
        let name = above.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.len() == 64 {
            names.push(name.to_owned());
        }
        if above.parent().is_some_and(|parent| parent.ends_with("_manifests/tags")) {
            names.push(above.to_str().unwrap().to_owned());
        }
    }
    names
}

#[test]
fn t31_no_permission_on_any_one_thing_loses_nothing() {
    let template = small();
    let binary = copy_of_the_binary(&template);
    fs::set_permissions(template.beside(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut cases: Vec<(PathBuf, &[&str])> = Vec::new();
    for entry in walkdir::WalkDir::new(template.v2()).min_depth(1).sort_by_file_name() {
        let path = entry.unwrap().path().strip_prefix(template.root()).unwrap().to_owned();
        cases.push((path.clone(), &["--delete-untagged"]));
        if path.to_str().unwrap().contains("repositories") {
            cases.push((path, &[]));
        }
    }
    let faultless = [&[][..], &["--delete-untagged"]].map(|flags| {
        let tree = template.copy();
        tree.give_to_nobody();
        gc(&tree, &binary, flags).exits(0);
        tree.objects()
    });
    let [told, unnoticed] = [const { AtomicUsize::new(0) }; 2];
    for_each_on_all_cores(&cases, |(path, flags)| {
        let tree = template.copy();
        let delivered = tree.deliverable(flags.is_empty());
        tree.give_to_nobody();
        let denied = tree.root().join(path);
        let mode = fs::metadata(&denied).unwrap().permissions().mode();
        tree.chmod(&denied, 0o000);
        let run = gc(&tree, &binary, flags);
        // It may have gone, as garbage does.
        if denied.exists() {
            tree.chmod(&denied, mode);
        }
        for moved in walkdir::WalkDir::new(tree.v2()).into_iter().filter_map(Result::ok) {
            if moved.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o777 == 0) {
                tree.chmod(moved.path(), mode);
            }
        }
        let at = || format!("{} {flags:?}, exit {}\n{}\n{}", path.display(), run.code, run.text(), run.stderr);
        let (left, expected) = (tree.objects(), &faultless[usize::from(!flags.is_empty())]);
        let gone: Vec<_> = expected.difference(&left).map(|object| tree.explain(object)).collect();
        assert!(gone.is_empty(), "{}\ngone, and a run with all permissions keeps it: {gone:#?}", at());
        let now = tree.deliverable(flags.is_empty());
        let lost: Vec<_> = delivered.difference(&now).map(|fact| tree.explain(fact)).collect();
        assert!(lost.is_empty(), "{}\nLOST: {lost:#?}", at());
        if &left == expected && run.code == 0 {
            unnoticed.fetch_add(1, Ordering::Relaxed);
        } else {
            assert!(names(path).iter().any(|name| run.said().contains(name)), "{}\nnobody says which", at());
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let [told, unnoticed] = [told, unnoticed].map(AtomicUsize::into_inner);
    println!(
        "permissions: {} files and folders in turn, nothing lost: {told} named by a finding or a refusal, {unnoticed} \
         that no run asks for",
        cases.len()
    );
    assert!(cases.len() > 100 && told > 40, "{} cases, {told} told", cases.len());
}
