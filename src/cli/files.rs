//! Files that the operator named: the report, a page, a position. They lie outside of what this tool collects.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use regsweep::layout::shown_path;
use regsweep::registry::Registry;
use regsweep::report::html::{self, Page};

use super::Failure;

/// Replaces a file as a whole: whoever reads it sees what was there before, or this. A symbolic link leads to the file
/// that is replaced; what is no regular file (a device, a pipe) is written to and stays what it is.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    replace_with(path, None, write)
}

/// [`replace`], and everybody may read it, whatever the umask is: what reads it runs as another user.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn replace_for_all(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    replace_with(path, Some(Permissions::from_mode(0o644)), write)
}

#[expect(clippy::disallowed_methods, reason = "the operator named this file; it is no part of the registry")]
fn replace_with(
    path: &Path,
    permissions: Option<Permissions>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let path = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => path.to_owned(),
        Err(error) => return Err(error),
    };
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let mut out = BufWriter::new(File::options().write(true).open(&path)?);
        write(&mut out)?;
        return out.flush();
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // Never through a symbolic link that somebody has laid there.
    let mut out = BufWriter::new(File::options().write(true).create_new(true).open(&temporary)?);
    let written = (|| {
        write(&mut out)?;
        out.flush()?;
        if let Some(permissions) = permissions {
            out.get_ref().set_permissions(permissions)?;
        }
        out.get_ref().sync_all()?;
        std::fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        // Why it could not be written is what there is to say.
        drop(std::fs::remove_file(&temporary));
    }
    written
}

/// A file that is written for the operator does not belong among the registry's.
pub(crate) fn is_outside(path: &Path, registry: &Registry) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_inside = |path: &Path| path.canonicalize().is_ok_and(|real| real.starts_with(registry.root()));
    if is_inside(folder) || is_inside(path) {
        let path = shown_path(path);
        return Err(Failure::usage(anyhow!("{path} lies in the registry's own folders: name a file somewhere else")));
    }
    Ok(())
}

/// Files with the flags that they were given with: each is another one, for the last would be all that is left. What is
/// no regular file, such as a pipe or `/dev/null`, takes several.
pub(crate) fn are_apart(named: &[(&str, &Path)]) -> Result<(), Failure> {
    let real = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(named).unwrap_or_else(|| path.to_owned())
    };
    let is_file = |path: &Path| path.metadata().map_or(true, |metadata| metadata.is_file());
    for (place, (flag, path)) in named.iter().enumerate().filter(|(_, (_, path))| is_file(path)) {
        if let Some((other, _)) = named[..place].iter().find(|(_, other)| real(other) == real(path)) {
            let path = shown_path(path);
            return Err(Failure::usage(anyhow!("{other} and {flag} name the same file, {path}: name two")));
        }
    }
    Ok(())
}

/// Whether this lies in the folders of a registry that is not open, as far as names tell.
pub(crate) fn lies_in_any_registry(path: &Path) -> bool {
    let is_inside = |path: &Path| {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let parts: Vec<_> = real.components().map(|part| part.as_os_str().to_owned()).collect();
        parts.windows(3).any(|parts| parts == ["docker", "registry", "v2"])
    };
    is_inside(path) || path.parent().is_some_and(is_inside)
}

/// Writes a page for a browser.
pub(crate) fn write_page(path: &Path, page: &Page<'_>) -> Result<(), Failure> {
    let written = replace(path, |out| html::write(out, page));
    written.with_context(|| format!("cannot write the page to {}", shown_path(path))).map_err(Failure::from)
}

/// Makes the folder that a file of ours goes into, where the operator did not name one.
///
/// # Errors
/// Whatever the system says.
#[expect(clippy::disallowed_methods, reason = "the user's own folder for state; it is no part of the registry")]
pub(crate) fn make_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}
