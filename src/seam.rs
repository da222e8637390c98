//! The seam between regsweep and the system: where a test can stand between the two.
//!
//! Every call that looks at the registry's tree (`registry/dir.rs`) or changes it (`sweep/disk.rs`) asks here first. In
//! a normal run nobody stands there, and asking is one comparison. A test puts an [`Interceptor`] there, and can make
//! the n-th call fail, cut a listing short, let everything fail from the n-th call on (which is what a crash leaves
//! behind), or do something to the tree at that very moment, as a registry that is not read-only would.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;

/// What is about to be asked of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A folder is opened.
    OpenFolder,
    /// A folder is listed.
    List,
    /// A file is opened for reading.
    OpenFile,
    /// A file is read.
    Read,
    /// A file or folder is looked at (`stat`).
    Look,
    /// A folder is made.
    MakeFolder,
    /// A folder gets another owner.
    GiveAway,
    /// An entry is moved to another folder.
    Move,
    /// A file is removed.
    RemoveFile,
    /// An empty folder is removed.
    RemoveFolder,
    /// A file of regsweep's own is opened for writing, and made if it is not there.
    OpenToWrite,
    /// Bytes are written to such a file.
    Write,
    /// Such a file is emptied.
    Truncate,
    /// It is waited until a file is on the disk.
    SyncFile,
    /// It is waited until the names in a folder are on the disk.
    SyncFolder,
    /// It is waited until everything on the volume is on the disk.
    SyncVolume,
    /// A lock is asked for.
    Lock,
}

impl Kind {
    /// Whether something on the volume is other than before once this is done.
    pub const fn changes(self) -> bool {
        matches!(
            self,
            Kind::MakeFolder
                | Kind::GiveAway
                | Kind::Move
                | Kind::RemoveFile
                | Kind::RemoveFolder
                | Kind::OpenToWrite
                | Kind::Write
                | Kind::Truncate
        )
    }
}

/// A call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// What it does.
    pub kind: Kind,
    /// The folder that it is relative to, or the file that it is about.
    pub at: BorrowedFd<'a>,
    /// The name in that folder; empty for the folder or file itself.
    pub name: &'a Path,
    /// The other folder, where something is moved.
    pub to: Option<BorrowedFd<'a>>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is made.
    Go,
    /// It is not made, and fails like this.
    Fail(Errno),
    /// It succeeds with less than is there: so many entries of a folder, so many bytes of a file. For calls that have
    /// no such thing it means [`Answer::Go`].
    Short(usize),
    /// It fails after so many entries or bytes.
    Torn(usize, Errno),
}

/// Somebody who stands at the seam.
pub trait Interceptor: Sync {
    /// A call is about to be made; this decides what becomes of it.
    fn before(&self, operation: &Operation<'_>) -> Answer;
}

/// Who stands there; in every run but a test's, nobody.
#[derive(Clone, Copy, Default)]
pub struct Seam(Option<&'static dyn Interceptor>);

impl fmt::Debug for Seam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Seam(intercepted)" } else { "Seam" })
    }
}

/// How much of a call that can be cut short goes through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// So many entries or bytes.
    pub(crate) at_most: usize,
    /// And then this, if it was reached or not.
    pub(crate) then: Option<Errno>,
}

impl Limit {
    pub(crate) const NONE: Limit = Limit { at_most: usize::MAX, then: None };
}

impl Seam {
    /// Puts somebody there. For the rest of the process: the handles that carry it do not say how long they live.
    pub fn intercepted_by(interceptor: &'static dyn Interceptor) -> Seam {
        Seam(Some(interceptor))
    }

    /// Asks whether a call may be made.
    pub(crate) fn ask(self, kind: Kind, at: impl AsFd, name: &Path) -> Result<(), Errno> {
        match self.0 {
            None => Ok(()),
            Some(_) => self.limit(kind, at, name, None).map(drop),
        }
    }

    /// Asks whether an entry may be moved.
    pub(crate) fn ask_to_move(self, at: impl AsFd, name: &Path, to: impl AsFd) -> Result<(), Errno> {
        match self.0 {
            None => Ok(()),
            Some(_) => self.limit(Kind::Move, at, name, Some(to.as_fd())).map(drop),
        }
    }

    /// Asks how much of a call may go through that has parts.
    pub(crate) fn ask_how_much(self, kind: Kind, at: impl AsFd, name: &Path) -> Result<Limit, Errno> {
        match self.0 {
            None => Ok(Limit::NONE),
            Some(_) => self.limit(kind, at, name, None),
        }
    }

    fn limit(self, kind: Kind, at: impl AsFd, name: &Path, to: Option<BorrowedFd<'_>>) -> Result<Limit, Errno> {
        let Some(interceptor) = self.0 else { return Ok(Limit::NONE) };
        match interceptor.before(&Operation { kind, at: at.as_fd(), name, to }) {
            Answer::Go => Ok(Limit::NONE),
            Answer::Fail(errno) => Err(errno),
            Answer::Short(at_most) => Ok(Limit { at_most, then: None }),
            Answer::Torn(at_most, errno) => Ok(Limit { at_most, then: Some(errno) }),
        }
    }
}

/// Has threads meet: at a kind of call, each waits until so many are there.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Meet {
    at: Kind,
    threads: usize,
    came: std::sync::Mutex<usize>,
    met: std::sync::Condvar,
}

#[cfg(test)]
impl Meet {
    pub(crate) fn new(at: Kind, threads: usize) -> Meet {
        Meet { at, threads, came: std::sync::Mutex::default(), met: std::sync::Condvar::default() }
    }

    /// Whether so many were there at the same time.
    pub(crate) fn have_met(&self) -> bool {
        *self.came.lock().unwrap() >= self.threads
    }
}

#[cfg(test)]
impl Interceptor for Meet {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        if operation.kind == self.at {
            let mut came = self.came.lock().unwrap();
            *came += 1;
            self.met.notify_all();
            let patience = std::time::Duration::from_secs(5);
            let (mut came, waited) = self.met.wait_timeout_while(came, patience, |came| *came < self.threads).unwrap();
            // Who leaves alone has not met anybody.
            if waited.timed_out() {
                *came -= 1;
            }
        }
        Answer::Go
    }
}
