//! Brakes: what stops a run although the registry is read-only, because what was seen cannot be right.

/// What the brakes look at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// How many blobs there are.
    pub blobs: usize,
    /// How many repositories there are.
    pub repositories: usize,
    /// How many revision links there are.
    pub revisions: u64,
    /// Whether there is a `repositories` folder at all.
    pub has_repositories_folder: bool,
    /// Folders of links that could not be listed, each with the reason.
    pub unlistable: &'a [String],
}

/// Why a run is stopped before it removes anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Brake {
    /// There are blobs, and no folder of repositories: a wrong mount, or half a copy.
    #[error(
        "there is no 'repositories' folder beside {blobs} blobs: every blob would be garbage. Is the whole volume \
         mounted, and is this the right folder?"
    )]
    NoRepositoriesFolder {
        /// How many blobs.
        blobs: usize,
    },
    /// There are blobs, and not one repository.
    #[error(
        "the 'repositories' folder has no repository in it, beside {blobs} blobs: every blob would be garbage. Is the \
         whole volume mounted, and is this the right folder?"
    )]
    NoRepositories {
        /// How many blobs.
        blobs: usize,
    },
    /// There are revisions, and not one blob: the volume of the blobs is not mounted. The links would look dead.
    #[error(
        "the 'blobs' folder is missing or empty, beside {revisions} revisions that need blobs. Is the whole volume \
         mounted?"
    )]
    NoBlobs {
        /// How many revisions.
        revisions: u64,
    },
    /// Link folders that cannot be listed.
    #[error(
        "folders that cannot be listed: {count}, the first is {first}. Nobody knows which images are in them, so no \
         blob is safe to remove. Make them readable for this user, or mend the volume, and run again"
    )]
    Unlistable {
        /// How many folders.
        count: usize,
        /// The first of them, and why.
        first: String,
    },
}

/// Looks at what was seen. It never lets a run go on that could remove every blob there is.
///
/// # Errors
/// The [`Brake`] that stops the run.
pub fn check(seen: Seen<'_>) -> Result<(), Brake> {
    if let Some(first) = seen.unlistable.first() {
        return Err(Brake::Unlistable { count: seen.unlistable.len(), first: first.clone() });
    }
    match (seen.blobs, seen.repositories) {
        (0, _) if seen.revisions > 0 => Err(Brake::NoBlobs { revisions: seen.revisions }),
        (0, _) => Ok(()),
        (blobs, _) if !seen.has_repositories_folder => Err(Brake::NoRepositoriesFolder { blobs }),
        (blobs, 0) => Err(Brake::NoRepositories { blobs }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_a_run() {
        let none: &[String] = &[];
        let some = &["repositories/a/_layers (EIO)".to_owned()][..];
        for (blobs, repositories, revisions, has_repositories_folder, unlistable, fine) in [
            (5, 2, 3, true, none, true),
            (5, 2, 0, true, none, true),
            (0, 0, 0, true, none, true),
            (0, 0, 0, false, none, true),
            (0, 2, 0, true, none, true),
            (0, 2, 1, true, none, false),
            (5, 0, 0, true, none, false),
            (5, 0, 0, false, none, false),
            (5, 2, 3, true, some, false),
            (0, 0, 0, true, some, false),
        ] {
            let seen = Seen { blobs, repositories, revisions, has_repositories_folder, unlistable };
            assert_eq!(check(seen).is_ok(), fine, "{seen:?}");
        }
    }
}
