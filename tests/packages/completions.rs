//! Completions, in the shells that they are for: a command, an option, a file after an option, a registry's folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::{output_of, regsweep};

/// A folder with the shell's completions in `regsweep`, and something that can be completed.
fn folder(shell: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("_regsweep"), regsweep(&["completions", shell])).unwrap();
    fs::write(folder.path().join("report-of-today.json"), "").unwrap();
    fs::create_dir(folder.path().join("storage-of-the-registry")).unwrap();
    folder
}

/// What is typed, and what one of the candidates is.
const TYPED: [(&str, &str); 7] = [
    ("regsweep ch", "check"),
    ("regsweep garbage-c", "garbage-collect"),
    ("regsweep trash re", "restore"),
    ("regsweep gc --dry", "--dry-run"),
    ("regsweep garbage-collect --delete-u", "--delete-untagged"),
    ("regsweep gc --report rep", "report-of-today.json"),
    ("regsweep gc --dry-run stor", "storage-of-the-registry"),
];

/// Runs a shell in that folder, with nothing of anybody's own settings; no longer than a minute.
fn run(folder: &Path, shell: &[&str], script: &str) -> String {
    let mut command = Command::new("timeout");
    command.arg("60").args(shell).arg(script).current_dir(folder).env_clear();
    let binaries = Path::new(env!("CARGO_BIN_EXE_regsweep")).parent().unwrap();
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", binaries.display()));
    command.env("HOME", folder).env("TERM", "dumb").env("LC_ALL", "C.UTF-8");
    let output = output_of(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{shell:?}: {}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes() {
    let folder = folder("bash");
    for (typed, wanted) in TYPED {
        let words: Vec<&str> = typed.split(' ').collect();
        let (current, previous) = (words[words.len() - 1], words[words.len() - 2]);
        // As readline does it: by the function that is registered, and by file names where that has no answer.
        let script = format!(
            "source ./_regsweep
             complete -p regsweep | grep -q -- '-o default' || exit 3
             COMP_WORDS=({typed}); COMP_CWORD={}
             function=$(complete -p regsweep | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
             $function regsweep '{current}' '{previous}'
             ((${{#COMPREPLY[@]}})) || COMPREPLY=($(compgen -f -- '{current}'))
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let candidates = run(folder.path(), &["bash", "--norc", "--noprofile", "-c"], &script);
        assert!(candidates.lines().any(|line| line == wanted), "{typed}: {candidates}");
    }
}

#[test]
fn fish_completes() {
    let folder = folder("fish");
    for (typed, wanted) in TYPED {
        let script = format!("source ./_regsweep; complete --do-complete '{typed}'");
        let candidates = run(folder.path(), &["fish", "--no-config", "-c"], &script);
        let is_wanted = |line: &str| line.split('\t').next().unwrap().trim_end_matches('/') == wanted;
        assert!(candidates.lines().any(is_wanted), "{typed}: {candidates}");
    }
}

/// In a terminal of its own: what is on the command line after the key was pressed.
#[test]
fn zsh_completes() {
    let folder = folder("zsh");
    for (typed, wanted) in TYPED {
        let script = format!(
            r#"zmodload zsh/zpty
               zpty shell 'TERM=dumb zsh -f -i'
               settings='PS1=; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D;'
               settings+='show() {{ print -r -- "LINE<$BUFFER>"; BUFFER=; zle accept-line }};'
               settings+='zle -N show; bindkey "^Xs" show; stty -echo; print READ""Y'
               zpty -w shell $settings
               zpty -r shell seen '*READY*'
               zpty -n -w shell $'{typed}\t\x18s'
               zpty -r shell seen '*LINE<*>*'
               print -r -- "$seen"
               zpty -d shell"#
        );
        let seen = run(folder.path(), &["zsh", "-f", "-c"], &script);
        let (_, line) = seen.rsplit_once("LINE<").unwrap_or_else(|| panic!("{typed}: {seen:?}"));
        let completed = line.split('>').next().unwrap().trim_end().rsplit(' ').next().unwrap();
        assert_eq!(completed.trim_end_matches('/'), wanted, "{typed}: {seen:?}");
    }
}
