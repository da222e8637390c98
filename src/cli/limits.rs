//! How long a run may take, and how much of the machine: options that commands share.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::civil::Time;
use jiff::{ToSpan as _, Zoned};
use regsweep::halt::Halt;
use regsweep::pace::Pace;
use regsweep::seam::Seam;

use super::output;
use super::target::Age;
use super::work::Began;

/// How long a window may be at most, in hours. A time of day that is further away has passed.
const LONGEST_WINDOW: i64 = 12;

/// When to end.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Time and load")]
pub(crate) struct Limits {
    /// End after this time, such as 45m
    ///
    /// In a consistent state; the next run goes on. The largest blobs are freed first. Of the time that is left when
    /// the plan is made, a quarter is for moving things away and the rest for deleting them, which takes longer; with
    /// --quarantine all of it is for moving. The exit code is 5 if something was left.
    #[arg(long, value_name = "D")]
    time_limit: Option<Age>,

    /// End at this time of day, such as 04:30
    ///
    /// As with --time-limit, in the machine's time zone. The next 04:30 if it is less than 12 hours away; otherwise it
    /// has passed, and nothing is done.
    #[arg(long, value_name = "HH:MM")]
    until: Option<TimeOfDay>,
}

impl Limits {
    /// When to end, at the latest.
    pub(crate) fn halt(&self, began: Began) -> Halt {
        let limit = self.time_limit.as_ref().map(|limit| limit.duration);
        let until = self.until.as_ref().map(|until| until.away(&Zoned::now()));
        let deadline = limit.into_iter().chain(until).min();
        Halt::at(deadline.and_then(|away| began.window.checked_add(away)))
    }

    /// The options as they were given, for a command that is suggested.
    pub(crate) fn as_given(&self) -> String {
        let mut given = String::new();
        if let Some(limit) = &self.time_limit {
            given.push_str(&format!(" --time-limit {}", output::quoted_word(&limit.text)));
        }
        if let Some(until) = &self.until {
            given.push_str(&format!(" --until {}", until.0.strftime("%H:%M")));
        }
        given
    }
}

/// A time of day, as somebody wrote it: `04:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeOfDay(Time);

impl std::str::FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<TimeOfDay, String> {
        let two = |text: &str| match text.as_bytes() {
            [b'0'..=b'9'] | [b'0'..=b'9', b'0'..=b'9'] => text.parse::<i8>().ok(),
            _ => None,
        };
        let parsed = text.split_once(':').and_then(|(hour, minute)| {
            let minute = Some(minute).filter(|minute| minute.len() == 2)?;
            Time::new(two(hour)?, two(minute)?, 0, 0).ok()
        });
        parsed.map(TimeOfDay).ok_or_else(|| format!("'{text}' is no time of day: write 04:30 or 22:00"))
    }
}

impl TimeOfDay {
    /// How far away it is; nothing if it has passed. Where clocks are set forward over it, it comes when they are.
    fn away(self, now: &Zoned) -> Duration {
        let today = now.date();
        let next = [Some(today), today.checked_add(1.day()).ok()].into_iter().flatten().find_map(|day| {
            let then = day.to_datetime(self.0).to_zoned(now.time_zone().clone()).ok()?;
            (then > *now).then_some(then)
        });
        let away = next.map(|then| now.duration_until(&then)).filter(|away| away.as_hours() < LONGEST_WINDOW);
        away.map_or(Duration::ZERO, |away| away.unsigned_abs())
    }
}

/// How much of the machine.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Time and load")]
pub(crate) struct Load {
    /// Make no more requests in a second
    ///
    /// For a volume that others share. A request opens, lists, reads, looks at, moves or removes one thing. It takes
    /// longer then, and the registry is read-only for longer.
    #[arg(long, value_name = "N", value_parser = parse_requests)]
    max_ops_per_second: Option<NonZeroU32>,

    /// Leave disk and processor to others
    ///
    /// The idle class of disk scheduling, and the lowest priority. The first needs the program ionice, and a disk
    /// scheduler that knows of classes (bfq, mq-deadline); a network volume does not.
    #[arg(long)]
    low_priority: bool,
}

impl Load {
    /// Who stands between regsweep and the volume.
    pub(crate) fn seam(&self) -> Seam {
        match self.max_ops_per_second {
            None => Seam::default(),
            // There is one for the life of the process.
            Some(requests) => Seam::intercepted_by(Box::leak(Box::new(Pace::new(requests)))),
        }
    }

    /// Steps back, before the first thread is started: they all inherit it. What does not work is said, and is no
    /// reason not to go on.
    pub(crate) fn step_back(&self) {
        if !self.low_priority {
            return;
        }
        const LOWEST: i32 = 19;
        let mut failed = Vec::new();
        if let Err(errno) = rustix::process::setpriority_process(None, LOWEST) {
            failed.push(format!("the processor's: {errno}"));
        }
        let idle = ["-c", "3", "-p", &std::process::id().to_string()];
        match std::process::Command::new("ionice").args(idle).output() {
            Ok(done) if done.status.success() => {}
            Ok(done) => failed.push(format!("the disk's: {}", String::from_utf8_lossy(&done.stderr).trim())),
            Err(error) => failed.push(format!("the disk's: ionice: {error}")),
        }
        if !failed.is_empty() {
            output::error(&format!("--low-priority: not lowered: {}", failed.join("; ")));
        }
    }

    /// The options as they were given, for a command that is suggested.
    pub(crate) fn as_given(&self) -> String {
        let mut given = String::new();
        if let Some(requests) = self.max_ops_per_second {
            given.push_str(&format!(" --max-ops-per-second {requests}"));
        }
        if self.low_priority {
            given.push_str(" --low-priority");
        }
        given
    }
}

fn parse_requests(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("'{text}' is no number of requests from 1 on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        for (text, time) in [
            ("04:30", Some((4, 30))),
            ("4:30", Some((4, 30))),
            ("00:00", Some((0, 0))),
            ("23:59", Some((23, 59))),
            ("24:00", None),
            ("04:60", None),
            ("04:3", None),
            ("4", None),
            ("+4:30", None),
            ("04:30:00", None),
            ("", None),
        ] {
            let parsed = text.parse::<TimeOfDay>().ok();
            assert_eq!(parsed.map(|TimeOfDay(time)| (time.hour(), time.minute())), time, "{text:?}");
        }
    }

    #[test]
    fn the_next_time_of_day_unless_it_has_passed() {
        for (now, until, minutes) in [
            ("2026-11-22T03:00:00[Europe/Berlin]", "04:30", 90),
            ("2026-11-22T23:30:00[Europe/Berlin]", "04:30", 300),
            ("2026-11-22T23:30:00[UTC]", "00:00", 30),
            // Started late: nobody wants to collect all day.
            ("2026-11-22T04:31:00[Europe/Berlin]", "04:30", 0),
            ("2026-11-22T04:30:00[Europe/Berlin]", "04:30", 0),
            ("2026-11-22T16:31:00[Europe/Berlin]", "04:30", 719),
            ("2026-11-22T16:30:00[Europe/Berlin]", "04:30", 0),
            // The night in which clocks are set back has an hour more, and the other one less.
            ("2026-10-25T01:00:00+02:00[Europe/Berlin]", "04:00", 240),
            ("2026-03-29T01:00:00+01:00[Europe/Berlin]", "04:00", 120),
            ("2026-03-29T01:00:00+01:00[Europe/Berlin]", "02:30", 90),
        ] {
            let now: Zoned = now.parse().unwrap();
            let until: TimeOfDay = until.parse().unwrap();
            assert_eq!(until.away(&now), Duration::from_secs(60 * minutes), "{until:?} at {now}");
        }
    }

    #[test]
    fn requests_a_second() {
        for (text, requests) in [("1", Some(1)), ("5000", Some(5000)), ("0", None), ("-1", None), ("x", None)] {
            assert_eq!(parse_requests(text).ok().map(NonZeroU32::get), requests, "{text:?}");
        }
    }
}
