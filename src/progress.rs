//! How far the work has come: a counter that workers add to and that somebody else may look at.
//!
//! The library only counts. Who shows it, how, and how often, is the command line's business (`cli/progress.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::halt::{Halt, Halted};

/// Done and expected of one phase. Adding is one relaxed atomic addition; nobody waits for anybody.
#[derive(Debug, Default)]
pub struct Meter {
    done: AtomicU64,
    expected: AtomicU64,
    halt: Halt,
}

impl Meter {
    /// A counter at zero, of work that goes on to its end.
    pub fn new() -> Meter {
        Meter::default()
    }

    /// A counter at zero, of work that ends when this says so.
    pub fn until(halt: Halt) -> Meter {
        Meter { halt, ..Meter::default() }
    }

    /// Whether the work is to end now, with the piece in hand. Once it is, it stays so.
    pub fn is_halted(&self) -> bool {
        self.halt.is_due()
    }

    /// For the end of work that is worth nothing unless all of it was done.
    ///
    /// # Errors
    /// [`Halted`], if it was to end meanwhile.
    pub fn check(&self) -> Result<(), Halted> {
        self.halt.check()
    }

    /// So much more work is known of.
    pub fn expect(&self, more: u64) {
        self.expected.fetch_add(more, Ordering::Relaxed);
    }

    /// So much of it is done.
    pub fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }

    /// How much is done.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How much there is to do, as far as is known.
    pub fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }
}

/// A part of the work that may take long enough for somebody to want to see it move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Folders are listed, links and manifests read.
    Scan,
    /// What they name is followed.
    Mark,
    /// Links are read one by one, and every blob is looked at.
    Check,
    /// Blobs are read whole; counted in bytes.
    Read,
    /// Blobs that nothing references are looked at.
    Plan,
    /// All blobs are looked at, for their sizes.
    Measure,
    /// Links are moved into the trash.
    Links,
    /// Blobs are moved into the trash.
    Blobs,
    /// The trash is deleted.
    Purge,
    /// Things are put back.
    Restore,
}

impl Phase {
    /// Its name, as in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Scan => "scan",
            Phase::Mark => "mark",
            Phase::Check => "check",
            Phase::Read => "read",
            Phase::Plan => "plan",
            Phase::Measure => "measure",
            Phase::Links => "links",
            Phase::Blobs => "blobs",
            Phase::Purge => "purge",
            Phase::Restore => "restore",
        }
    }
}

impl Phase {
    /// Whether what is done is counted in bytes, and not in things.
    pub const fn counts_bytes(self) -> bool {
        matches!(self, Phase::Read)
    }
}

/// Somebody who wants to know how far the work is.
pub trait Watch: Sync {
    /// A phase begins; the one before it has ended. The work adds to the meter.
    fn begin(&self, phase: Phase) -> Arc<Meter>;

    /// The last rename is done: the registry may be written to again. So many seconds it had to be read-only.
    fn window_closed(&self, seconds: f64);

    /// Whether the work is to end before its end.
    fn halt(&self) -> Halt {
        Halt::never()
    }
}

/// Nobody looks.
#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: Phase) -> Arc<Meter> {
        Arc::default()
    }

    fn window_closed(&self, _: f64) {}
}
