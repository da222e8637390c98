//! Links that are written because it is known what they have to say.
//!
//! Each is written whole, beside what is there, and then takes its place by one rename. So each mend is right by itself,
//! wherever a run is cut off, and none of them is ever undone; what a link said before stands in the journal.

use std::io;
use std::path::Path;

use super::disk::{Folder, Gone};
use crate::digest::Digest;
use crate::layout::LINK;
use crate::plan::Mend;
use crate::registry::MAX_LINK_BYTES;

/// Writes one link. `Gone::Before` if it says already what it has to say.
///
/// # Errors
/// Whatever the system says; also if the link is not what it was when it was looked at.
pub(super) fn write(tree: &Folder, mend: &Mend) -> io::Result<Gone> {
    // A tag's folder that is gone is a tag that is gone.
    if let Some(tag) = mend.tag_folder()
        && tree.open(&tag)?.is_none()
    {
        return Err(io::Error::other("the tag is gone"));
    }
    // Made where it is missing, and never through a symbolic link.
    let folder = tree.make(&mend.folder())?;
    if let Some(file) = folder.read(LINK)? {
        let said = file.first_bytes(usize::try_from(MAX_LINK_BYTES).unwrap_or(0))?;
        match Digest::parse(&said) {
            Ok(said) if said == mend.digest => return Ok(Gone::Before),
            Ok(said) if Some(&said) != mend.instead_of.as_ref() => {
                return Err(io::Error::other(format!("it names {said} now, which it did not when it was looked at")));
            }
            Ok(_) | Err(_) => {}
        }
    } else if folder.kind(Path::new(LINK))?.is_some() {
        return Err(io::Error::other("it is no file"));
    }
    folder.write_whole(LINK, mend.digest.to_string().as_bytes())?;
    Ok(Gone::Now)
}
