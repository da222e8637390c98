//! Files of our own, open: the journal, the lock, a link that is being written.

#![expect(clippy::disallowed_methods, reason = "a part of the module that changes files")]

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{Gid, Mode, Stat, Uid};
use rustix::io::Errno;

use crate::seam::{self, Seam};

/// An open file of our own: the journal, the lock.
#[derive(Debug)]
pub struct OurFile {
    pub(super) file: File,
    pub(super) seam: Seam,
}

impl OurFile {
    fn ask(&self, kind: seam::Kind) -> io::Result<()> {
        Ok(self.seam.ask(kind, &self.file, Path::new(""))?)
    }

    /// Empties it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn truncate(&self) -> io::Result<()> {
        self.ask(seam::Kind::Truncate)?;
        self.file.set_len(0)
    }

    /// Waits until its content is on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn sync(&self) -> io::Result<()> {
        self.ask(seam::Kind::SyncFile)?;
        self.file.sync_data()
    }

    /// Writes over its beginning.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn write_over(&self, bytes: &[u8]) -> io::Result<()> {
        self.ask(seam::Kind::Write)?;
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, 0)
    }

    /// Gives it the owner and group of the folder that it is for, and lets everybody read it who may list that folder:
    /// the registry has to, whoever runs this.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn give_to(&self, folder: &Stat) -> io::Result<()> {
        self.ask(seam::Kind::GiveAway)?;
        let stat = rustix::fs::fstat(&self.file)?;
        if (stat.st_uid, stat.st_gid) != (folder.st_uid, folder.st_gid) {
            match rustix::fs::fchown(&self.file, Some(Uid::from_raw(folder.st_uid)), Some(Gid::from_raw(folder.st_gid)))
            {
                // Only root can give things away; for everybody else the file is their own anyway.
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(rustix::fs::fchmod(&self.file, Mode::from_raw_mode(folder.st_mode & 0o666))?)
    }

    /// Its first bytes, at most so many.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn first_bytes(&self, at_most: usize) -> io::Result<Vec<u8>> {
        self.ask(seam::Kind::Read)?;
        let mut bytes = vec![0; at_most];
        let count = std::os::unix::fs::FileExt::read_at(&self.file, &mut bytes, 0)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Its last byte; `None` if it is empty.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn last_byte(&self) -> io::Result<Option<u8>> {
        self.ask(seam::Kind::Read)?;
        let Some(last) = self.file.metadata()?.len().checked_sub(1) else { return Ok(None) };
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut byte, last)?;
        Ok(Some(byte[0]))
    }

    /// Which file it is (device and inode), and when it was last written, in seconds since 1970 by the clock of the
    /// volume.
    ///
    /// # Errors
    /// Whatever the system says.
    #[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
    pub fn identity_and_time(&self) -> io::Result<((u64, u64), i64)> {
        self.ask(seam::Kind::Look)?;
        let stat = rustix::fs::fstat(&self.file)?;
        Ok(((stat.st_dev as u64, stat.st_ino as u64), stat.st_mtime as i64))
    }

    /// Takes the file's lock, if nobody holds it.
    ///
    /// # Errors
    /// That somebody holds it, or whatever the system says.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.ask(seam::Kind::Lock).map_err(TryLockError::Error)?;
        self.file.try_lock()
    }

    /// Takes the file's lock together with others who do so; only to see whether somebody has it alone.
    ///
    /// # Errors
    /// That somebody holds it alone, or whatever the system says.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.ask(seam::Kind::Lock).map_err(TryLockError::Error)?;
        self.file.try_lock_shared()
    }
}

impl Read for OurFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ask(seam::Kind::Read)?;
        self.file.read(buffer)
    }
}

impl Seek for OurFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.ask(seam::Kind::Look)?;
        self.file.seek(to)
    }
}

impl Write for OurFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = self.seam.ask_how_much(seam::Kind::Write, &self.file, Path::new(""))?;
        let bytes = &bytes[..bytes.len().min(part.at_most)];
        match part.then {
            None => self.file.write(bytes),
            Some(errno) => self.file.write_all(bytes).and(Err(errno.into())),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
