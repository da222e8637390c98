//! One run at a time.

use std::fs::TryLockError;
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk::{self, Folder, OurFile};
use super::lease::{Lease, Process};
use crate::layout::REGSWEEP;
use crate::registry::Registry;

/// The lock file's name, below `_regsweep`.
pub(super) const LOCK: &str = "lock";

/// Who holds a lock; in the lock file, for the one who is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The machine that it runs on.
    pub host: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// What tells on this machine whether the process is still the same one; `None` if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Process>,
}

impl Holder {
    /// This process.
    pub(super) fn me(at: Timestamp) -> Holder {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let pid = std::process::id();
        Holder { pid, host, since: at.to_string(), process: Process::of(pid) }
    }

    /// Who has written this file; `None` if it does not say.
    pub(super) fn written_in(file: &OurFile) -> io::Result<Option<Holder>> {
        Ok(serde_json::from_slice(&file.first_bytes(4096)?).ok())
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = crate::layout::shown(self.host.as_bytes());
        let since = crate::layout::shown(self.since.as_bytes());
        write!(f, "process {} on {host}, since {since}", self.pid)
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error(
        "another run is at work on this registry and holds the lock {REGSWEEP}/{LOCK}: {}",
        .0.as_ref().map_or_else(|| "it has not written who it is".to_owned(), Holder::to_string)
    )]
    Held(Option<Holder>),
    /// The system refused.
    #[error("cannot take the lock {REGSWEEP}/{LOCK}")]
    Io(#[from] io::Error),
}

/// A lock that is held. It ends with this value, or with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _tree: Folder,
    _file: Option<OurFile>,
    _lease: Option<Lease>,
}

/// Takes the lock, or says who holds it.
///
/// Two things are locked: the file `_regsweep/lock`, which also tells who holds it, and the `v2` folder itself, which
/// needs no space: on a volume that is full to the last block the file may be impossible to make, and that is when
/// people need a collector most. Where the file system can lock neither, a lease takes their place (`lease.rs`).
///
/// # Errors
/// [`LockError::Held`] if another run holds either; everything else that is wrong is [`LockError::Io`].
pub fn acquire(registry: &Registry, at: Timestamp) -> Result<Lock, LockError> {
    let tree = Folder::of(registry.v2())?;
    let mut is_locked = match tree.lock() {
        Ok(true) => true,
        Ok(false) => return Err(LockError::Held(holder(registry)?)),
        // Some network file systems lock files and not folders.
        Err(error) if disk::has_no_locks(&error) => false,
        Err(error) => return Err(error.into()),
    };
    let ours = match tree.make_private(REGSWEEP).and_then(|folder| Ok((folder.append(LOCK)?, folder))) {
        Ok(ours) => Some(ours),
        Err(error) if disk::is_full(&error) && is_locked => None,
        Err(error) => return Err(error.into()),
    };
    let Some((mut file, folder)) = ours else {
        return Ok(Lock { _tree: tree, _file: None, _lease: None });
    };
    match file.try_lock() {
        Ok(()) => is_locked = true,
        Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(registry)?)),
        Err(TryLockError::Error(error)) if disk::has_no_locks(&error) => {}
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let me = Holder::me(at);
    let lease = match is_locked {
        true => None,
        false => match Lease::take(&folder, &me)? {
            Ok(lease) => Some(lease),
            Err(other) => return Err(LockError::Held(Some(other))),
        },
    };
    match file.truncate().and_then(|()| file.write_all(&serde_json::to_vec(&me)?)) {
        Ok(()) => {}
        // Nobody will know who holds it; it is held all the same.
        Err(error) if disk::is_full(&error) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Lock { _tree: tree, _file: Some(file), _lease: lease })
}

/// Whether a run is at work now: for commands that take no lock, because they change nothing. Makes no file.
///
/// # Errors
/// Whatever the system says.
pub fn is_held(registry: &Registry) -> io::Result<Option<Option<Holder>>> {
    let Some(folder) = Folder::of(registry.v2())?.open(Path::new(REGSWEEP))? else { return Ok(None) };
    let Some(file) = folder.read(LOCK)? else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder::written_in(&file)?)),
        Err(TryLockError::Error(error)) if disk::has_no_locks(&error) => Ok(Lease::holder(&folder)?.map(Some)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn holder(registry: &Registry) -> io::Result<Option<Holder>> {
    let Some(folder) = Folder::of(registry.v2())?.open(Path::new(REGSWEEP))? else { return Ok(None) };
    match folder.read(LOCK)? {
        Some(file) => Holder::written_in(&file),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_is_first() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("docker/registry/v2")).unwrap();
        let registry = Registry::open(temp.path()).unwrap();
        assert!(is_held(&registry).unwrap().is_none());
        let first = acquire(&registry, Timestamp::UNIX_EPOCH).unwrap();
        let LockError::Held(Some(holder)) =
            acquire(&Registry::open(temp.path()).unwrap(), Timestamp::now()).unwrap_err()
        else {
            panic!("the second run got the lock, or was not told who holds it");
        };
        assert_eq!((holder.pid, holder.since.as_str()), (std::process::id(), "1970-01-01T00:00:00Z"));
        assert_eq!(is_held(&registry).unwrap(), Some(Some(holder)));
        drop(first);
        assert!(is_held(&registry).unwrap().is_none());
        acquire(&registry, Timestamp::now()).unwrap();
    }
}
