//! What is printed, and for whom: one JSON document, closed pipes, colours.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;

use crate::small;
use crate::support::process::{finish, regsweep};
use crate::support::scenario::gc;
use crate::support::tree::Manifest;

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
    (0..2000).for_each(|n| app.tag(&format!("tag-{n}"), &Manifest::docker("team/app v1", &["base", "team/app v1"])));
    for flags in [
        &["gc", "--dry-run", "-v"][..],
        &["gc", "--dry-run", "--format", "json"],
        &["gc", "--dry-run"],
        &["ls", "--tree"],
        &["ls", "--tree", "--format", "json"],
        &["--help"],
    ] {
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

/// Of two things in one file only the last would be left, and a monitor would read a report.
#[test]
fn two_outputs_in_the_same_file_are_refused() {
    let tree = small();
    let root = tree.root();
    let one = tree.beside().join("one.prom");
    let other = tree.beside().join("folder/../one.prom");
    std::fs::create_dir(tree.beside().join("folder")).unwrap();
    let link = tree.beside().join("link");
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (one, other, link, root) = (text(&one), text(&other), text(&link), text(&root));
    for exists in [false, true] {
        for (command, flags) in [
            ("gc", ["--report", &one, "--metrics", &one]),
            ("gc", ["--metrics", &one, "--report", &other]),
            ("gc", ["--html", &one, "--metrics", &other]),
            ("check", ["--report", &one, "--html", &one]),
            ("check", ["--report", &link, "--metrics", &one]),
        ] {
            // A link that leads nowhere yet is no name of that file.
            if !exists && flags.contains(&link.as_str()) {
                continue;
            }
            let run = finish(regsweep(&[&[command], &flags[..], &[&root]].concat()));
            run.exits(2);
            assert!(run.stderr.contains("name the same file"), "{command} {flags:?}: {}", run.stderr);
            let left = std::fs::read_to_string(&one).unwrap_or_default();
            assert_eq!(left, if exists { "what was there" } else { "" }, "{command} {flags:?}");
        }
        std::fs::write(&one, "what was there").unwrap();
    }
    finish(regsweep(&["gc", "--dry-run", "--report", "/dev/null", "--metrics", "/dev/null", &root])).exits(0);
}
