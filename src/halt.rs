//! When a run is to end before its end: somebody has asked for it, or its time is up.
//!
//! Nobody is interrupted. Work that comes in many pieces asks between two of them, finishes the one in hand, and says
//! that it did not do all. What was only seen in part is never decided upon: it ends as [`Halted`], not as a value.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Whether to go on. Clones share what was asked for. Once it says stop it never says anything else.
#[derive(Clone, Debug, Default)]
pub struct Halt {
    asked: Arc<OnceLock<&'static str>>,
    deadline: Option<Instant>,
    is_share: bool,
}

/// Why a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it: by what, such as `SIGTERM`.
    Asked(&'static str),
    /// The time is up.
    TimeIsUp,
    /// The part of it is up that was for moving things away; what is left is for deleting them.
    ShareIsUp,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Asked(by) => write!(f, "stopped by {by}"),
            Cause::TimeIsUp => f.write_str("stopped because its time was up"),
            Cause::ShareIsUp => f.write_str("stopped because the part of its time for moving things away was up"),
        }
    }
}

/// Not everything was seen, because the run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Halted(pub Cause);

impl Halt {
    /// Until somebody asks.
    pub fn never() -> Halt {
        Halt::default()
    }

    /// Until somebody asks, or this time has come.
    pub fn at(deadline: Option<Instant>) -> Halt {
        Halt { deadline, ..Halt::default() }
    }

    /// Asks to stop. Whoever was first is told of.
    pub fn ask(&self, by: &'static str) {
        // The second has nothing to add.
        let _first = self.asked.set(by);
    }

    /// Whether to stop.
    pub fn is_due(&self) -> bool {
        self.cause().is_some()
    }

    /// Why to stop, if it is so far.
    pub fn cause(&self) -> Option<Cause> {
        match self.asked.get() {
            Some(by) => Some(Cause::Asked(by)),
            None => {
                let cause = if self.is_share { Cause::ShareIsUp } else { Cause::TimeIsUp };
                self.deadline.filter(|deadline| Instant::now() >= *deadline).map(|_| cause)
            }
        }
    }

    /// An error if it is so far.
    ///
    /// # Errors
    /// [`Halted`].
    pub fn check(&self) -> Result<(), Halted> {
        self.cause().map_or(Ok(()), |cause| Err(Halted(cause)))
    }

    /// The same, with this part of the time that is left, for moving things away.
    pub fn with_share(&self, share: f64) -> Halt {
        let now = Instant::now();
        let part = |deadline: Instant| now + deadline.saturating_duration_since(now).mul_f64(share.clamp(0.0, 1.0));
        Halt { asked: Arc::clone(&self.asked), deadline: self.deadline.map(part), is_share: true }
    }

    /// How much time is left; `None` if there is no limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_until_somebody_asks() {
        let halt = Halt::never();
        let same = halt.clone();
        assert_eq!((halt.cause(), halt.check()), (None, Ok(())));
        same.ask("SIGTERM");
        same.ask("SIGINT");
        assert_eq!(halt.cause(), Some(Cause::Asked("SIGTERM")));
        assert_eq!(halt.check(), Err(Halted(Cause::Asked("SIGTERM"))));
        assert_eq!(halt.with_share(0.5).cause(), halt.cause());
    }

    #[test]
    fn it_stops_when_the_time_has_come() {
        let now = Instant::now();
        assert_eq!(Halt::at(Some(now)).cause(), Some(Cause::TimeIsUp));
        let later = Halt::at(Some(now + Duration::from_secs(4000)));
        assert_eq!(later.cause(), None);
        let part = later.with_share(0.25);
        let left = part.time_left().unwrap();
        assert!(left <= Duration::from_secs(1000) && left > Duration::from_secs(500), "{left:?}");
        part.ask("SIGINT");
        assert!(later.is_due(), "a part of the time is asked together with the whole");
        assert_eq!(Halt::never().with_share(0.25).time_left(), None);
        assert_eq!(Halt::at(Some(now)).with_share(0.25).cause(), Some(Cause::ShareIsUp));
    }
}
