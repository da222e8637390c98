//! How runs end.

use serde::Serialize;

use crate::collect::Collection;
use crate::exit::Exit;
use crate::plan::Totals;
use crate::sweep::{self, Swept};
use crate::usage::Usage;

/// How a run ended that did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing was touched.
    Refused,
    /// Nothing was touched, because something that was named is not there.
    NotThere,
    /// Somebody was writing; what was done is consistent.
    Stopped,
    /// Something did not work; what was done is consistent.
    Failed,
}

impl How {
    /// What the shell is told.
    pub const fn exit(self) -> Exit {
        match self {
            How::Failed | How::NotThere => Exit::Failed,
            How::Refused => Exit::Refused,
            How::Stopped => Exit::Stopped,
        }
    }
}

/// The word for how a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All that was planned was done; in a dry run, all that there was to see was seen.
    Complete,
    /// It ended early. What was done is consistent.
    Incomplete,
    /// Nothing was touched.
    Refused,
}

impl Outcome {
    /// Of a run, by why it is not what was asked for, and what was done.
    pub fn of(complaint: Option<&Complaint>, swept: Option<&Swept>) -> Outcome {
        match complaint {
            Some(Complaint { how: How::Refused | How::NotThere, .. }) => Outcome::Refused,
            Some(_) => Outcome::Incomplete,
            None if swept.is_some_and(|swept| !swept.is_complete) => Outcome::Incomplete,
            None => Outcome::Complete,
        }
    }

    /// Of a command that has no more to say than its exit code.
    pub const fn of_exit(exit: Exit) -> Outcome {
        match exit {
            Exit::Done => Outcome::Complete,
            Exit::Usage | Exit::Refused => Outcome::Refused,
            Exit::Failed | Exit::Damage | Exit::Stopped => Outcome::Incomplete,
        }
    }

    /// The word itself.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Complete => sweep::COMPLETE,
            Outcome::Incomplete => "incomplete",
            Outcome::Refused => "refused",
        }
    }
}

/// Why a run did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// How it ended.
    pub how: How,
    /// One sentence or two for a person.
    pub text: String,
}

/// What a run had left in its trash, because it ended before that was deleted, and a later run has deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The run that left it.
    pub run: String,
    /// How many things were deleted.
    pub items: u64,
    /// The bytes of the blobs and uploads among them; `None` where nobody has counted them.
    pub bytes: Option<u64>,
    /// Whether some of it is still there.
    pub is_left: bool,
}

/// A run that has ended, one way or the other.
#[derive(Debug, Default)]
pub struct Ended {
    /// What was seen and decided; `None` if it did not come to that.
    pub collection: Option<Collection>,
    /// Where the bytes were before anything was done; `None` if nobody asked.
    pub usage: Option<Usage>,
    /// What was done; `None` if nothing was.
    pub swept: Option<Swept>,
    /// What is gone.
    pub removed: Totals,
    /// What earlier runs had left in their trash, and was deleted now.
    pub earlier: Vec<Leftover>,
    /// Why it is not what was asked for.
    pub complaint: Option<Complaint>,
}

impl Ended {
    /// Of a run that has done nothing.
    pub(super) fn early(complaint: Complaint) -> Ended {
        Ended { complaint: Some(complaint), ..Ended::default() }
    }
}
