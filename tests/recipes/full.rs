//! A volume with no room left: a small one, mounted where nobody else sees it.

use std::process::Command;

use crate::scene::{Scene, Shell};
use crate::support::process::finish;

/// `$1` is the storage, `$2` a folder for what is found out; then comes the window. The registry that it starts lives
/// in the same mount namespace, and goes on to serve that volume.
const SCRIPT: &str = r#"
    storage=$1 out=$2; shift 2
    cp -a "$storage" "$storage.copy"
    mount -t tmpfs -o size=2m tmpfs "$storage"
    cp -a "$storage.copy/." "$storage"
    dd if=/dev/zero of="$storage/filler" bs=1k 2>/dev/null && exit 97
    code=0; "$@" || code=$?
    ls -R "$storage/docker/registry/v2" >"$out/tree"
    rm "$storage/filler"
    exit $code"#;

#[test]
fn a_full_volume_is_collected_without_keeping_anything() {
    let scene = Scene::new();
    let file = scene.settings(&[("MIN_FREE", "1024"), ("KEEP", "7d")]);
    let window = scene.script(Shell::Dash, &file, &[]);
    let mut command = Command::new("unshare");
    // As anybody but root, a user namespace gives the right to mount; as root it would take rights away.
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--propagation", "private", "sh", "-e", "-c", SCRIPT, "sh"]);
    command.arg(scene.registry.root()).arg(scene.folder.path()).arg(window.get_program()).args(window.get_args());
    for (name, value) in window.get_envs() {
        command.env(name, value.unwrap());
    }
    let run = finish(command);
    assert_eq!(run.code, 0, "{}", run.said());
    assert!(run.stderr.contains("0 KiB are free, fewer than 1024: what goes is deleted at once"), "{}", run.stderr);
    scene.is_writable();
    let tree = scene.text("tree");
    assert!(tree.contains("/_layers/"), "{tree}");
    assert!(!tree.contains("/trash/blobs"), "nothing is kept: {tree}");
    scene.is_collected();
}
