//! How a command ended, for the shell.

/// The exit codes, the same in every format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, nothing wrong.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage, or REGISTRY is no registry.
    Usage = 2,
    /// Done, but damage was found that touches a tagged image or that made the sweep keep more than it should.
    Damage = 3,
    /// Refused; nothing was touched.
    Refused = 4,
    /// Stopped early; what was done is consistent.
    Stopped = 5,
}

impl Exit {
    /// What the shell sees.
    pub const fn code(self) -> u8 {
        self as u8
    }
}
