//! Not more than so many requests a second, for a volume that others share.
//!
//! It stands at the [seam](crate::seam), where every call that looks at the tree or changes it asks first, and lets each
//! go when its turn has come. Whoever waits holds nothing but its place.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::seam::{Answer, Interceptor, Operation};

/// How far requests may fall behind and catch up, in nanoseconds. Nobody wakes up to the microsecond.
const SLACK: u64 = 10_000_000;

/// Lets so many requests go in a second.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    turns: Turns,
}

impl Pace {
    /// Not more than this.
    pub fn new(requests_a_second: NonZeroU32) -> Pace {
        Pace { began: Instant::now(), turns: Turns::new(requests_a_second) }
    }
}

impl Interceptor for Pace {
    fn before(&self, _: &Operation<'_>) -> Answer {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let turn = self.turns.next(now);
        if turn > now {
            std::thread::sleep(Duration::from_nanos(turn - now));
        }
        Answer::Go
    }
}

/// Whose turn is when, in nanoseconds since the beginning.
#[derive(Debug)]
struct Turns {
    every: u64,
    next: AtomicU64,
}

impl Turns {
    fn new(requests_a_second: NonZeroU32) -> Turns {
        Turns { every: 1_000_000_000 / u64::from(requests_a_second.get()), next: AtomicU64::new(0) }
    }

    /// The turn of somebody who asks now.
    fn next(&self, now: u64) -> u64 {
        let earliest = now.saturating_sub(SLACK);
        let after = |next: u64| Some(next.max(earliest).saturating_add(self.every));
        // It always has an answer, so there is always a turn.
        let (Ok(next) | Err(next)) = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        next.max(earliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(a_second: u32, asked: &[u64]) -> Vec<u64> {
        let turns = Turns::new(NonZeroU32::new(a_second).unwrap());
        asked.iter().map(|&now| turns.next(now)).collect()
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn one_after_the_other() {
        assert_eq!(turns(2, &[0, 0, 0, 0]), [0, SECOND / 2, SECOND, 3 * SECOND / 2]);
        // Nobody who comes late waits for turns that have passed, and they are not made up for.
        let late = 5 * SECOND;
        assert_eq!(turns(2, &[0, late, late]), [0, late - SLACK, late - SLACK + SECOND / 2]);
        // As often as is asked for, however many ask.
        let many = turns(1000, &[7 * SECOND; 1001]);
        assert_eq!(many[1000] - many[0], SECOND);
    }
}
