//! One run at a time where the file system has no locks (NFS without a lock service, some FUSE file systems).
//!
//! The file `_regsweep/lease` says who is at work. Only one process can make it. Whoever finds it there looks whether
//! its holder still lives: on the same machine by the process itself, so that a dead one never blocks anybody; from
//! another machine by the time of the file, which its holder writes anew every few seconds. A holder that has not done
//! so for [`LEASE`] counts as dead.
//!
//! What remains is a holder on another machine that stood still for longer than that, its disk hanging, and wakes up: a
//! real lock would have kept the second one away. That is why this is only done where there is none.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::disk::{Folder, OurFile};
use super::lock::Holder;

/// The file's name, below `_regsweep`.
const LEASE_FILE: &str = "lease";
/// How long a holder on another machine counts as alive after its last sign of life, in seconds.
const LEASE: i64 = 300;
/// How often a sign of life is given.
const BEAT: Duration = Duration::from_secs(10);
/// How long it is waited before it is believed that the lease is ours: another process may have found the same dead
/// holder in the same moment.
const SETTLE: Duration = Duration::from_millis(200);

/// What tells on a machine whether a process is still the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// This start of this machine (`/proc/sys/kernel/random/boot_id`).
    boot: String,
    /// The namespace in which the process number counts: containers of one machine have several.
    namespace: String,
    /// When the process began, in ticks since the machine did (`/proc/<pid>/stat`): numbers are used again.
    began: u64,
}

impl Process {
    /// The process of this number, if it lives.
    pub(super) fn of(pid: u32) -> Option<Process> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in brackets, and may hold anything.
        let began = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Process { boot, namespace, began })
    }
}

impl Holder {
    /// Whether the process lives; `None` if that cannot be told from here.
    fn lives(&self) -> Option<bool> {
        let theirs = self.process.as_ref()?;
        let ours = Process::of(std::process::id())?;
        if (&theirs.boot, &theirs.namespace) != (&ours.boot, &ours.namespace) {
            return None;
        }
        Some(Process::of(self.pid).as_ref() == Some(theirs))
    }
}

/// A lease that is held, with a thread that gives signs of life. It is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    folder: Folder,
    identity: (u64, u64),
    stop: Sender<()>,
    beat: Option<JoinHandle<()>>,
}

impl Lease {
    /// Takes the lease, or says who holds it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn take(folder: &Folder, me: &Holder) -> io::Result<Result<Lease, Holder>> {
        // Twice: what is taken away from a dead holder is made anew.
        for _ in 0..2 {
            if let Some(mut file) = folder.create_new(LEASE_FILE)? {
                let text = serde_json::to_vec(me)?;
                file.write_all(&text)?;
                file.sync()?;
                let (identity, _) = file.identity_and_time()?;
                std::thread::sleep(SETTLE);
                return match folder.read(LEASE_FILE)? {
                    Some(now) if now.identity_and_time()?.0 == identity => {
                        Ok(Ok(Lease::keep(folder.duplicate()?, file, identity, text)))
                    }
                    Some(now) => Ok(Err(read(&now)?)),
                    None => Err(io::Error::other("somebody has taken the lease away")),
                };
            }
            let Some(theirs) = folder.read(LEASE_FILE)? else { continue };
            let (identity, _) = theirs.identity_and_time()?;
            if is_alive(&theirs, || time_of_volume(folder))? {
                return Ok(Err(read(&theirs)?));
            }
            // Only the file that was looked at is taken away, not one that somebody has made since.
            let stale = format!("{LEASE_FILE}.{}", std::process::id());
            match folder.replace(LEASE_FILE, &stale) {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => continue,
                moved => moved?,
            }
            let moved = folder.read(&stale)?.map(|file| file.identity_and_time()).transpose()?;
            if moved.is_some_and(|(moved, _)| moved != identity) {
                folder.replace(&stale, LEASE_FILE)?;
            } else {
                folder.remove_file(std::path::Path::new(&stale))?;
            }
        }
        match folder.read(LEASE_FILE)? {
            Some(theirs) => Ok(Err(read(&theirs)?)),
            None => Err(io::Error::other("somebody makes and removes the lease all the time")),
        }
    }

    /// Who holds the lease; `None` if nobody does, or nobody who lives. Makes no file, so that the clock of this
    /// machine has to do.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn holder(folder: &Folder) -> io::Result<Option<Holder>> {
        match folder.read(LEASE_FILE)? {
            Some(theirs) if is_alive(&theirs, || Ok(jiff::Timestamp::now().as_second()))? => read(&theirs).map(Some),
            _ => Ok(None),
        }
    }

    fn keep(folder: Folder, file: OurFile, identity: (u64, u64), text: Vec<u8>) -> Lease {
        let (stop, stopped) = mpsc::channel();
        let beat = std::thread::spawn(move || {
            while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                // A sign of life that cannot be given now is given the next time: there are many before it is too late.
                drop(file.write_over(&text));
            }
        });
        Lease { folder, identity, stop, beat: Some(beat) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The thread is told, or has ended already.
        _ = self.stop.send(());
        if let Some(beat) = self.beat.take() {
            drop(beat.join());
        }
        let is_ours = self.folder.read(LEASE_FILE).and_then(|file| match file {
            Some(file) => Ok(file.identity_and_time()?.0 == self.identity),
            None => Ok(false),
        });
        if matches!(is_ours, Ok(true)) {
            // If that does not work, the next run sees that this process is dead.
            drop(self.folder.remove_file(std::path::Path::new(LEASE_FILE)));
        }
    }
}

/// Whether the holder of a lease lives: by the process, where that can be told from here, or else by the time of its
/// last sign of life.
fn is_alive(theirs: &OurFile, now: impl FnOnce() -> io::Result<i64>) -> io::Result<bool> {
    let (_, beaten) = theirs.identity_and_time()?;
    match Holder::written_in(theirs)?.and_then(|holder| holder.lives()) {
        Some(lives) => Ok(lives),
        None => Ok(now()? - beaten < LEASE),
    }
}

/// What time it is by the clock of the volume, since two machines need not agree on it: that of a file made now.
fn time_of_volume(folder: &Folder) -> io::Result<i64> {
    let name = format!("{LEASE_FILE}.{}.now", std::process::id());
    let mut file = folder.append(&name)?;
    file.truncate()?;
    file.write_all(b"?")?;
    let now = file.identity_and_time()?.1;
    folder.remove_file(std::path::Path::new(&name))?;
    Ok(now)
}

/// Who wrote this; somebody unknown, if it does not say.
fn read(file: &OurFile) -> io::Result<Holder> {
    let unknown =
        || Holder { pid: 0, host: "an unknown machine".to_owned(), since: "an unknown time".to_owned(), process: None };
    Ok(Holder::written_in(file)?.unwrap_or_else(unknown))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use jiff::Timestamp;

    use super::*;
    use crate::registry::Registry;
    use crate::seam::{Answer, Interceptor, Kind, Operation, Seam};
    use crate::sweep::lock::{LockError, acquire, is_held};

    /// A file system without locks.
    struct NoLocks;

    impl Interceptor for NoLocks {
        fn before(&self, operation: &Operation<'_>) -> Answer {
            if operation.kind == Kind::Lock { Answer::Fail(Errno::NOLCK) } else { Answer::Go }
        }
    }

    fn place() -> (tempfile::TempDir, Registry, std::path::PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("docker/registry/v2/_regsweep")).unwrap();
        let registry = Registry::open_with(temp.path(), Seam::intercepted_by(&NoLocks)).unwrap();
        let lease = registry.root().join("_regsweep").join(LEASE_FILE);
        (temp, registry, lease)
    }

    fn write(path: &std::path::Path, holder: &Holder, age: u64) {
        std::fs::write(path, serde_json::to_vec(holder).unwrap()).unwrap();
        let time = std::time::SystemTime::now() - Duration::from_secs(age);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn t22_without_locks_a_lease_takes_their_place() {
        let (_temp, registry, lease) = place();
        assert_eq!(is_held(&registry).unwrap(), None);
        let first = acquire(&registry, Timestamp::UNIX_EPOCH).unwrap();
        let LockError::Held(Some(holder)) = acquire(&registry, Timestamp::now()).unwrap_err() else {
            panic!("not held, or not said by whom");
        };
        assert_eq!((holder.pid, holder.since.as_str()), (std::process::id(), "1970-01-01T00:00:00Z"));
        assert_eq!(is_held(&registry).unwrap(), Some(Some(holder)));
        drop(first);
        assert!(!lease.exists(), "given back");
        assert_eq!(is_held(&registry).unwrap(), None);
        acquire(&registry, Timestamp::now()).unwrap();
    }

    #[test]
    fn t22_a_dead_holder_of_a_lease_blocks_nobody() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let living = Holder { pid: child.id(), process: Process::of(child.id()), ..Holder::me(Timestamp::now()) };
        let elsewhere = |holder: &Holder| {
            let process = holder.process.clone().map(|process| Process { boot: "another".to_owned(), ..process });
            Holder { host: "elsewhere".to_owned(), process, ..holder.clone() }
        };
        let reused = Holder {
            process: living.process.clone().map(|process| Process { began: process.began - 1, ..process }),
            ..living.clone()
        };
        let past = u64::try_from(LEASE).unwrap() + 10;
        let is_free = |holder: &Holder, age: u64| {
            let (_temp, registry, lease) = place();
            write(&lease, holder, age);
            std::fs::write(lease.with_file_name("lock"), "").unwrap();
            let seen_as_held = is_held(&registry).unwrap().is_some();
            let is_free = acquire(&registry, Timestamp::now()).is_ok();
            assert_eq!(seen_as_held, !is_free);
            let left: Vec<_> =
                std::fs::read_dir(lease.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert!(left.iter().all(|name| name == "lock" || name == LEASE_FILE), "{left:?}");
            is_free
        };
        assert!(!is_free(&living, 0), "it lives");
        assert!(!is_free(&living, past), "it lives, whatever the time says");
        assert!(is_free(&reused, 0), "another process has its number now");
        assert!(!is_free(&elsewhere(&living), 0), "on another machine, with a sign of life");
        assert!(is_free(&elsewhere(&living), past), "on another machine, without one");
        let unknown = Holder { process: None, ..living.clone() };
        assert!(!is_free(&unknown, 0) && is_free(&unknown, past));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_free(&living, 0), "it is dead");
    }

    /// What somebody else wrote there is no lease for ever.
    #[test]
    fn rubbish_in_a_lease_blocks_for_as_long_as_a_lease() {
        let (_temp, registry, lease) = place();
        std::fs::write(&lease, "rubbish").unwrap();
        assert!(matches!(acquire(&registry, Timestamp::now()), Err(LockError::Held(Some(_)))));
        let time = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&lease).unwrap().set_modified(time).unwrap();
        acquire(&registry, Timestamp::now()).unwrap();
    }
}
