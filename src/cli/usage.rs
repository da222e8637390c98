//! Wrong usage: what somebody may have meant, and what to write in its place.

use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use regsweep::layout::shown_path;
use regsweep::registry::Registry;

use super::output::LogFormat;
use super::{Exit, output};

/// Tells what the command line lacks, or prints the help that was asked for. What asks for JSON gets the one as JSON
/// too, as far as it can be seen that it does.
pub(super) fn tell(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && wants_json() {
        output::set_log_format(LogFormat::Json);
        let hint = hint(error).map(|hint| format!("\n{hint}")).unwrap_or_default();
        output::error(&format!("{}{hint}", error.to_string().trim_end()));
        return ExitCode::from(Exit::Usage.code());
    }
    // Whoever closes the pipe has read enough.
    drop(error.print());
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if let Some(hint) = hint(error) {
        output::say(&hint);
    }
    ExitCode::from(Exit::Usage.code())
}

/// Whether standard error is to be JSON, on a command line that could not be read as a whole.
fn wants_json() -> bool {
    let words: Vec<_> = std::env::args_os().collect();
    let asks = |pair: &[std::ffi::OsString]| pair[0] == "--log-format" && pair[1] == "json";
    words.windows(2).any(asks) || words.iter().any(|word| word == "--log-format=json")
}

/// What to write in its place, where that is known better than from the usage line.
fn hint(error: &clap::Error) -> Option<String> {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.clone(),
        Some(ContextValue::Strings(arguments)) => arguments.join(" "),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument if argument.contains("<REGISTRY>") => Some(
            "REGISTRY is the folder that the registry keeps its data in (often\n\
             /var/lib/registry; where it runs in a container, the folder that is mounted\n\
             there), or the registry's own config.yml."
                .to_owned(),
        ),
        // `--dry-run=true`, as the stock collector takes it.
        ErrorKind::TooManyValues => {
            let flag = argument.split([' ', '=']).next().unwrap_or_default();
            Some(format!("{flag} is a switch: write {flag} alone, or leave it out."))
        }
        _ => None,
    }
}

/// What somebody meant who gave as REGISTRY what is no path at all: the address of a registry, a bucket, an image.
pub(super) fn meant(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|_| path.symlink_metadata().is_err())?;
    let shown = shown_path(path);
    let works_on = "regsweep works on the files of a registry, where they are mounted: give the folder that it keeps \
                    its data in (often /var/lib/registry), or its config.yml";
    if let Some((scheme, _)) = text.split_once("://") {
        return Some(match scheme {
            // The address may have a password in it.
            "http" | "https" => format!("REGISTRY is an address; {works_on}, and the address with --registry"),
            "file" => format!("{shown} is an address; write the path alone"),
            _ => format!("{shown} is no path, and data in object storage is not supported; {works_on}"),
        });
    }
    let is_relative = !text.starts_with(['/', '.', '~']);
    let first = text.split('/').next().unwrap_or_default();
    let has_port = first.contains(':') && text.contains('/');
    let has_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':')) || text.contains('@');
    (is_relative && (has_port || has_tag)).then(|| {
        format!("{shown} looks like the name of an image; {works_on}, and names after it: regsweep ls REGISTRY NAME")
    })
}

/// So many folders are looked into for a registry that may have been meant.
const LOOKED_INTO: usize = 256;
/// So many of them are named.
const NAMED: usize = 3;

/// What to give in place of a folder that is no registry, where that can be seen: it lies inside one, or one lies in
/// it; or it is named in a way that does not say which it is.
pub(super) fn near(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let around = real.ancestors().skip(1).filter_map(|above| Registry::open(above).ok());
    if let Some(registry) = around.into_iter().find(|registry| real.starts_with(registry.root())) {
        let v2 = registry.root();
        let root = if v2.ends_with("docker/registry/v2") { v2.ancestors().nth(3).unwrap_or(v2) } else { v2 };
        let (shown, root) = (shown_path(path), output::quoted(root));
        return Some(format!("{shown} is a folder inside of a registry; give the registry's rootdirectory: {root}"));
    }
    let folders = std::fs::read_dir(path).ok()?.take(LOOKED_INTO).filter_map(Result::ok);
    let mut inside: Vec<PathBuf> =
        folders.map(|entry| path.join(entry.file_name())).filter(|below| Registry::open(below).is_ok()).collect();
    inside.sort();
    let expected = "expected docker/registry/v2 with the folders 'blobs' and 'repositories' in it, or a config.yml";
    if !inside.is_empty() {
        let more = if inside.len() > NAMED { ", ..." } else { "" };
        let inside: Vec<String> = inside.iter().take(NAMED).map(|below| output::quoted(below)).collect();
        let (shown, names) = (shown_path(path), inside.join(", "));
        return Some(format!("{shown} is no registry, but there is one in it; give {names}{more}"));
    }
    // Of these nobody sees where they are.
    let is_relative_only = path.components().all(|part| matches!(part, Component::CurDir | Component::ParentDir));
    is_relative_only.then(|| {
        format!(
            "{} ({}) is no registry: {expected}; give the registry's rootdirectory (often /var/lib/registry)",
            shown_path(path),
            shown_path(&real)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        for (path, says) in [
            ("http://user:secret@127.0.0.1:5000", Some("--registry")),
            ("https://registry.example", Some("--registry")),
            ("s3://bucket/registry", Some("object storage")),
            ("file:///var/lib/registry", Some("the path alone")),
            ("registry:5000/team/app", Some("an image")),
            ("team/app:v1", Some("an image")),
            ("team/app@sha256:12", Some("an image")),
            ("team/app", None),
            ("/absent/it:is", None),
            ("./it:is", None),
            ("absent", None),
            ("/", None),
        ] {
            let meant = meant(Path::new(path));
            assert_eq!(meant.is_some(), says.is_some(), "{path}: {meant:?}");
            let text = meant.unwrap_or_default();
            assert!(text.contains(says.unwrap_or_default()) && !text.contains("secret"), "{path}: {text}");
        }
    }
}
