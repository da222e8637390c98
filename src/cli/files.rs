//! Files that the operator named: the report, a page, a position. They lie outside of what this tool collects.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use regsweep::layout::shown_path;
use regsweep::report::html::{self, Page};

use super::Failure;

/// Replaces a file as a whole: whoever reads it sees what was there before, or this.
///
/// # Errors
/// Whatever the system says.
#[expect(clippy::disallowed_methods, reason = "the operator named this file; it is no part of the registry")]
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut out = BufWriter::new(File::create(&temporary)?);
    write(&mut out)?;
    out.flush()?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&temporary, path)
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
