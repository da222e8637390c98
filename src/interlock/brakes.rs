//! Brakes: what stops a run although the registry is read-only, because what was seen cannot be right.

use crate::words::counted;

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
    /// How many repositories the last completed run saw; `None` if there was none, or if that is not to be asked.
    pub last_repositories: Option<u64>,
}

/// A share of all blobs, in percent.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// From 0 to 100; `None` for everything else.
    pub fn new(percent: f64) -> Option<Percent> {
        (0.0..=100.0).contains(&percent).then_some(Percent(percent))
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// Why a run is stopped before it removes anything.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Brake {
    /// There are blobs, and no folder of repositories: a wrong mount, or half a copy.
    #[error(
        "there is no 'repositories' folder beside {}: every blob would be garbage. Is the whole volume mounted, and \
         is this the right folder?",
        counted(*blobs as u64, "blob", "blobs")
    )]
    NoRepositoriesFolder {
        /// How many blobs.
        blobs: usize,
    },
    /// There are blobs, and not one repository.
    #[error(
        "the 'repositories' folder has no repository in it, beside {}: every blob would be garbage. Is the whole \
         volume mounted, and is this the right folder?",
        counted(*blobs as u64, "blob", "blobs")
    )]
    NoRepositories {
        /// How many blobs.
        blobs: usize,
    },
    /// There are revisions, and not one blob: the volume of the blobs is not mounted. The links would look dead.
    #[error(
        "the 'blobs' folder is missing or empty, beside {}. Is the whole volume mounted?",
        counted(*revisions, "revision that needs blobs", "revisions that need blobs")
    )]
    NoBlobs {
        /// How many revisions.
        revisions: u64,
    },
    /// Fewer than half of the repositories that the last completed run saw.
    #[error(
        "{} there, and the last completed run saw {before}: fewer than half are left. Is the whole volume mounted? If \
         they were removed on purpose, --accept-shrink goes on, and remembers the new number",
        counted(*now as u64, "repository is", "repositories are")
    )]
    Shrunk {
        /// How many there are.
        now: usize,
        /// How many there were.
        before: u64,
    },
    /// Everything would go that is not named, and nothing is.
    #[error(
        "{} there and not one tag, so all that is there would go as untagged. Is the whole volume mounted? Some \
         registries keep their tags elsewhere. If it is right that nothing is left, --accept-shrink goes on",
        counted(*revisions, "revision is", "revisions are")
    )]
    NoTags {
        /// How many revisions.
        revisions: u64,
    },
    /// More of the blobs would go than the operator allowed.
    #[error(
        "{going} of {} would go ({:.1} %), which is more than --max-delete {allowed} allows. If that is right, run \
         again with a higher figure",
        counted(*blobs as u64, "blob", "blobs"),
        share(*going, *blobs)
    )]
    TooManyBlobs {
        /// How many would go.
        going: usize,
        /// How many there are.
        blobs: usize,
        /// How many may go.
        allowed: Percent,
    },
    /// A pull-through cache whose state cannot be brought in step.
    #[error(
        "scheduler-state.json cannot be used ({why}), so nothing can be evicted in step with it. The registry does not \
         start with such a file either: restore it, or move it away, and then nothing that is cached now expires by \
         itself any more"
    )]
    NoSchedule {
        /// What is wrong with it.
        why: String,
    },
    /// There is the state of a pull-through cache, and things were stored since that it knows nothing of.
    #[error(
        "scheduler-state.json was last written {state}, and {name} got something {stored}: a cache would have noted that. \
         This may be a registry that was a cache once, and then what was pushed to it can be fetched from nowhere. If it \
         is one, give its config (--config FILE, with proxy.remoteurl in it, and this folder as its storage root)"
    )]
    NoCacheAnyMore {
        /// When the state was written.
        state: String,
        /// The repository.
        name: String,
        /// When something was stored there.
        stored: String,
    },
    /// Folders of links that cannot be listed, or links that may name anything.
    #[error(
        "what keeps blobs alive cannot be read in {}{first}. Nobody knows which images need what, so no blob is safe \
         to remove. Make it readable for this user, or mend the volume, and run again",
        match count {
            1 => "one place: ".to_owned(),
            count => format!("{count} places, the first is "),
        }
    )]
    Unlistable {
        /// How many places.
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
        (_, now) => match seen.last_repositories {
            Some(before) if (now as u64) < before.div_ceil(2) => Err(Brake::Shrunk { now, before }),
            _ => Ok(()),
        },
    }
}

/// Looks at what would go.
///
/// # Errors
/// [`Brake::TooManyBlobs`].
pub fn check_share(going: usize, blobs: usize, allowed: Percent) -> Result<(), Brake> {
    if share(going, blobs) > allowed.0 { Err(Brake::TooManyBlobs { going, blobs, allowed }) } else { Ok(()) }
}

#[allow(clippy::cast_precision_loss, reason = "a table of 2^52 blobs does not fit into any memory")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
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
            let last_repositories = None;
            let seen = Seen { blobs, repositories, revisions, has_repositories_folder, unlistable, last_repositories };
            assert_eq!(check(seen).is_ok(), fine, "{seen:?}");
        }
    }

    #[test]
    fn fewer_than_half_of_the_repositories() {
        for (before, now, fine) in [
            (None, 1, true),
            (Some(0), 1, true),
            (Some(1), 1, true),
            (Some(2), 1, true),
            (Some(3), 1, false),
            (Some(3), 2, true),
            (Some(10), 5, true),
            (Some(10), 4, false),
            (Some(11), 5, false),
            (Some(11), 6, true),
            (Some(4), 9, true),
        ] {
            let seen = Seen {
                blobs: 5,
                repositories: now,
                revisions: 3,
                has_repositories_folder: true,
                unlistable: &[],
                last_repositories: before,
            };
            assert_eq!(check(seen).is_ok(), fine, "{before:?} {now}");
        }
    }

    #[test]
    fn more_blobs_than_allowed() {
        for (going, blobs, allowed, fine) in [
            (0, 0, 0.0, true),
            (0, 10, 0.0, true),
            (1, 10, 0.0, false),
            (1, 10, 10.0, true),
            (2, 10, 10.0, false),
            (1, 3, 33.3, false),
            (1, 3, 33.4, true),
            (10, 10, 100.0, true),
        ] {
            let allowed = Percent::new(allowed).unwrap();
            assert_eq!(check_share(going, blobs, allowed).is_ok(), fine, "{going} of {blobs}, {allowed}");
        }
        for wrong in [-1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percent::new(wrong), None);
        }
    }
}
