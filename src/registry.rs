//! A registry's `v2` folder: found from the path that somebody gave, and opened. What is in it is read through [`Dir`].
//!
//! Nothing in this module can change a file.

mod dir;
mod stamp;
mod volume;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use dir::kind_of;
pub use dir::{Cause, Content, Dir, Kind, Looked, MAX_LINK_BYTES, ReadThrough, Unreadable};
pub use stamp::{FileStamp, Stamp};
pub use volume::AccessTimes;

use crate::digest::Algorithm;
use crate::layout::{BLOBS, REPOSITORIES, component, shown_path};
use crate::seam::Seam;

/// A registry's `v2` folder, found and opened.
#[derive(Debug)]
pub struct Registry {
    root: PathBuf,
    /// The same folder by the path that was given, symbolic links and all.
    given: PathBuf,
    v2: Dir,
    identity: Stamp,
}

/// Why a path is no registry.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path cannot be opened.
    #[error("cannot open {} as a registry's rootdirectory or config.yml", shown_path(path))]
    Path {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing of a registry is there.
    #[error(
        "{} is no registry: expected docker/registry/v2 with the folders 'blobs' and 'repositories' in it, or a \
         config.yml; give the registry's rootdirectory (often /var/lib/registry)",
        shown_path(path)
    )]
    NoRegistry {
        /// The path as given.
        path: PathBuf,
    },
}

impl Registry {
    /// Finds the `v2` folder from the storage root, or from any folder on the way down to `v2`, and opens it.
    ///
    /// # Errors
    /// [`OpenError`] if the path cannot be read, or if neither `blobs` nor `repositories` is where it belongs.
    pub fn open(path: &Path) -> Result<Registry, OpenError> {
        Registry::open_with(path, Seam::default())
    }

    /// [`Registry::open`], with somebody at the seam of everything that is done with it from here on.
    ///
    /// # Errors
    /// As for [`Registry::open`].
    pub fn open_with(path: &Path, seam: Seam) -> Result<Registry, OpenError> {
        let failed = |source| OpenError::Path { path: path.to_owned(), source };
        let given = path.canonicalize().map_err(failed)?;
        if !given.is_dir() {
            return Err(OpenError::NoRegistry { path: path.to_owned() });
        }
        for below in ["docker/registry/v2", "registry/v2", "v2", ""] {
            let candidate = if below.is_empty() { given.clone() } else { given.join(below) };
            let dir = match Dir::open_root(&candidate) {
                Ok(dir) => dir,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(source) => return Err(OpenError::Path { path: candidate, source }),
            };
            let mut both = true;
            for name in [BLOBS, REPOSITORIES] {
                match dir.look(name) {
                    Ok(Some(looked)) => both &= looked.kind != Kind::File,
                    Ok(None) => both = false,
                    Err(unreadable) => {
                        let source = io::Error::other(unreadable.to_string());
                        return Err(OpenError::Path { path: candidate, source });
                    }
                }
            }
            // One of the two may be missing where the path itself says what it is: nobody has pushed yet, or damage,
            // which is for the brakes to judge. Elsewhere a folder named `blobs` is not enough to be collected.
            if both || candidate.ends_with("docker/registry/v2") {
                let root = candidate.canonicalize().map_err(failed)?;
                let identity = dir.stamp().map_err(|unreadable| failed(io::Error::other(unreadable.to_string())))?;
                let given = std::path::absolute(path).map_err(failed)?.join(below);
                return Ok(Registry { root, given, v2: dir.with_seam(seam), identity });
            }
        }
        Err(OpenError::NoRegistry { path: path.to_owned() })
    }

    /// The absolute path of the `v2` folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The `v2` folder.
    pub fn v2(&self) -> &Dir {
        &self.v2
    }

    /// The device that the `v2` folder lies on.
    pub fn device(&self) -> u64 {
        self.identity.device()
    }

    /// Whether the paths of this registry still lead to the folder that is open: another volume may have been mounted
    /// over it, or a symbolic link on the way turned round.
    ///
    /// # Errors
    /// What the system says of the path.
    pub fn is_where_it_was(&self) -> io::Result<bool> {
        for path in [&self.root, &self.given] {
            let stat = rustix::fs::stat(path)?;
            if Stamp::of(&stat).identity() != self.identity.identity() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the volume takes longer than this to say what a name is that it was not asked for lately. That is a
    /// millionth of a second where the answer is in memory, a tenth of a thousandth and more where it comes from a disk
    /// or over a network.
    ///
    /// A few names are asked for: folders that blobs are in, and then blobs in one of these. Of either a fourth part
    /// that takes longer decides, for neighbours come together from a disk, and a file system may have all of a folder
    /// from having listed it. A name that is not there takes as long as one that is, and whatever else is wrong with it
    /// comes out when it is opened.
    pub fn is_slower_than(&self, limit: Duration) -> bool {
        const ASKED: usize = 16;
        // A folder may hold any number of them.
        const CHOSEN_FROM: usize = 512;
        let folder = |number: usize| format!("{BLOBS}/{}/{number:02x}", Algorithm::Sha256.name());
        let folders: Vec<String> = (0..ASKED).map(|number| folder(number * 256 / ASKED)).collect();
        if self.takes_longer(&folders, limit) {
            return true;
        }
        let mut blobs = Vec::new();
        if let Ok(Some(dir)) = self.v2.open(folder(255)) {
            // What cannot be listed has no names to ask for.
            drop(dir.for_each(|name, _| {
                if blobs.len() < CHOSEN_FROM {
                    blobs.push(dir.path().join(component(name)));
                }
            }));
        }
        let blobs: Vec<PathBuf> = blobs.iter().step_by(blobs.len() / ASKED + 1).cloned().collect();
        self.takes_longer(&blobs, limit)
    }

    /// Whether a quarter of these takes longer than the limit. No more are asked for than it takes to know that.
    fn takes_longer(&self, names: &[impl AsRef<Path>], limit: Duration) -> bool {
        let takes_longer = |name: &&_| {
            let began = Instant::now();
            drop(self.v2.look(name));
            began.elapsed() > limit
        };
        let quarter = names.len().div_ceil(4);
        quarter > 0 && names.iter().filter(takes_longer).take(quarter).count() == quarter
    }

    /// Whether something lies at this path relative to the folder `above` levels above `v2`: 1 is `docker/registry`, 3
    /// the storage root. What cannot be looked at counts as there.
    ///
    /// Where symbolic links are on the way there are two such folders, above the path as it was given and above what it
    /// leads to; both are looked at.
    pub fn has_above(&self, above: usize, path: &str) -> bool {
        [&self.root, &self.given].into_iter().any(|v2| {
            let folder = v2.ancestors().nth(above);
            folder.is_some_and(|folder| !matches!(folder.join(path).try_exists(), Ok(false)))
        })
    }

    /// The storage root, if a file of this name lies in it or cannot be looked at there. Of two such folders (see
    /// [`Registry::has_above`]) the one above the path as it was given, which is the one that a registry is told.
    pub fn storage_root_with(&self, name: &str) -> Option<&Path> {
        [&self.given, &self.root]
            .into_iter()
            .filter_map(|v2| v2.ancestors().nth(3))
            .find(|folder| !matches!(folder.join(name).try_exists(), Ok(false)))
    }

    /// Opens a folder above `v2` for reading, with whoever stands at the seam of the registry.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open_above(&self, folder: &Path) -> io::Result<Dir> {
        Ok(Dir::open_root(folder)?.with_seam(self.v2.seam()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::seam::{self, Answer, Interceptor, Operation};

    #[test]
    fn a_registry_is_found_from_every_folder_on_the_way() {
        let temp = tempfile::tempdir().unwrap();
        let v2 = temp.path().join("docker/registry/v2");
        std::fs::create_dir_all(v2.join("repositories")).unwrap();
        for path in ["", "docker", "docker/registry", "docker/registry/v2"] {
            let registry = Registry::open(&temp.path().join(path)).unwrap();
            assert_eq!(registry.root(), v2.canonicalize().unwrap(), "{path}");
            assert!(!registry.has_above(3, "scheduler-state.json"));
        }
        for path in ["docker/registry/v2/repositories", "absent"] {
            assert!(Registry::open(&temp.path().join(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn what_lies_above_is_seen_through_symbolic_links_and_past_them() {
        let temp = tempfile::tempdir().unwrap();
        let v2 = temp.path().join("storage/docker/registry/v2");
        std::fs::create_dir_all(v2.join("repositories")).unwrap();
        std::fs::create_dir_all(v2.join("blobs")).unwrap();
        std::fs::create_dir_all(temp.path().join("other/docker/registry")).unwrap();
        std::os::unix::fs::symlink(&v2, temp.path().join("other/docker/registry/v2")).unwrap();
        for path in ["storage", "storage/docker/registry/v2", "other"] {
            let registry = Registry::open(&temp.path().join(path)).unwrap();
            assert!(!registry.has_above(1, "lockfiles/database-in-use"), "{path}");
        }
        for (mark, seen_from) in [("storage", &["storage", "other"][..]), ("other", &["other"])] {
            let lockfiles = temp.path().join(mark).join("docker/registry/lockfiles");
            std::fs::create_dir(&lockfiles).unwrap();
            std::fs::write(lockfiles.join("database-in-use"), "").unwrap();
            for path in ["storage", "other"] {
                let registry = Registry::open(&temp.path().join(path)).unwrap();
                let seen = registry.has_above(1, "lockfiles/database-in-use");
                assert_eq!(seen, seen_from.contains(&path), "{mark} from {path}");
            }
            std::fs::remove_dir_all(lockfiles).unwrap();
        }
    }

    /// A volume that lets everybody wait.
    struct Waits {
        how_long: Duration,
        asked: AtomicUsize,
    }

    impl Interceptor for Waits {
        fn before(&self, operation: &Operation<'_>) -> Answer {
            if operation.kind == seam::Kind::Look {
                self.asked.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(self.how_long);
            }
            Answer::Go
        }
    }

    /// A slow volume is asked no more than it takes to see that; another one for folders and for blobs.
    #[test]
    fn a_slow_volume_is_known_by_a_few_answers() {
        let temp = tempfile::tempdir().unwrap();
        let v2 = temp.path().join("docker/registry/v2");
        std::fs::create_dir_all(v2.join("repositories")).unwrap();
        for blob in 0..40 {
            std::fs::create_dir_all(v2.join(format!("blobs/sha256/ff/{blob}"))).unwrap();
        }
        for (limit, is_slower, asks) in [(Duration::from_millis(1), true, 4), (Duration::from_hours(1), false, 16 + 14)]
        {
            let waits: &Waits =
                Box::leak(Box::new(Waits { how_long: Duration::from_millis(3), asked: AtomicUsize::new(0) }));
            let registry = Registry::open_with(temp.path(), Seam::intercepted_by(waits)).unwrap();
            let before = waits.asked.load(Ordering::Relaxed);
            assert_eq!(registry.is_slower_than(limit), is_slower, "{limit:?}");
            assert_eq!(waits.asked.load(Ordering::Relaxed) - before, asks, "{limit:?}");
        }
    }

    #[test]
    fn a_folder_with_blobs_in_it_is_not_yet_a_registry() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("blobs/sha256")).unwrap();
        assert!(matches!(Registry::open(temp.path()), Err(OpenError::NoRegistry { .. })));
    }
}
