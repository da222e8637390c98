//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use regsweep::finding::Severity;
use regsweep::halt::Halt;
use regsweep::progress::{Meter, Phase, Watch};
use regsweep::report::human::{bytes, duration};
use regsweep::report::log::{Entry, Fields};

use super::output::{self, LogFormat};
use super::{Failure, signals};

/// How often a bar is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(30);

/// Shows a run's progress. A thread looks at the meters; the work itself never waits for a terminal.
pub(crate) struct Shown {
    current: Arc<Mutex<Option<Current>>>,
    look: Look,
    bar: ProgressBar,
    halt: Halt,
    painter: Option<(Sender<()>, JoinHandle<()>)>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not at all.
    Silent,
    /// Bars.
    Bars,
    /// A line every 30 seconds.
    Lines,
}

impl Look {
    /// What suits standard error.
    pub(crate) fn suitable(quiet: bool) -> Look {
        let has_bars = std::io::stderr().is_terminal() && output::log_format() == LogFormat::Human;
        match (quiet, has_bars) {
            (true, _) => Look::Silent,
            (false, true) => Look::Bars,
            (false, false) => Look::Lines,
        }
    }
}

struct Current {
    phase: Phase,
    meter: Arc<Meter>,
    began: Instant,
}

impl Shown {
    /// Starts to show work that ends when this says so, or a signal does.
    pub(crate) fn until(look: Look, halt: Halt) -> Result<Shown, Failure> {
        let mut shown = Shown::new(look);
        shown.halt = halt;
        let bar = shown.bar.clone();
        signals::listen(shown.halt.clone(), move |text| bar.suspend(|| output::note(text)))
            .context("cannot wait for signals")?;
        Ok(shown)
    }

    /// Starts to show.
    pub(crate) fn new(look: Look) -> Shown {
        let bar = match look {
            Look::Bars => bar(),
            Look::Silent | Look::Lines => ProgressBar::hidden(),
        };
        let current: Arc<Mutex<Option<Current>>> = Arc::default();
        let painter = (look != Look::Silent).then(|| {
            let (stop, stopped) = mpsc::channel();
            let (current, bar) = (Arc::clone(&current), bar.clone());
            let every = if look == Look::Bars { FRAME } else { LINE };
            let thread = std::thread::spawn(move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    match &*current.lock().unwrap_or_else(PoisonError::into_inner) {
                        Some(current) if look == Look::Bars => current.paint(&bar),
                        Some(current) => current.log(),
                        None => {}
                    }
                }
            });
            (stop, thread)
        });
        Shown { current, look, bar, halt: Halt::never(), painter }
    }

    /// Takes the bar off the screen, until a phase begins.
    fn clear(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.bar.finish_and_clear();
    }

    /// Ends the showing, and leaves no bar behind.
    pub(crate) fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.clear();
        if let Some((stop, thread)) = self.painter.take() {
            // Without a sender the thread ends at once; a thread that has panicked has nothing more to show.
            drop(stop);
            drop(thread.join());
        }
    }
}

fn bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
}

/// A bar of at most 79 columns for up to ten million things or a thousand TiB, so that it never wraps on a terminal of
/// 80.
fn style(counts_bytes: bool) -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // What cannot be drawn now is drawn again in the next frame.
        let _drawn = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
    };
    let template = if counts_bytes {
        "{prefix:7} [{bar:12}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left"
    } else {
        "{prefix:7} [{bar:20}] {human_pos}/{human_len} {rate} {eta} left"
    };
    // The template is a constant; were it wrong, the default bar would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", rate).progress_chars("=> ")
}

impl Watch for Shown {
    fn begin(&self, phase: Phase) -> Arc<Meter> {
        let meter = Arc::new(Meter::until(self.halt.clone()));
        let next = Current { phase, meter: Arc::clone(&meter), began: Instant::now() };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if self.look != Look::Silent && output::log_format() == LogFormat::Json {
            next.log_that_it_begins();
        }
        *current = Some(next);
        if self.look == Look::Bars {
            self.bar.reset();
            self.bar.set_style(style(phase.counts_bytes()));
            self.bar.set_length(0);
            self.bar.set_prefix(phase.name());
        }
        meter
    }

    fn halt(&self) -> Halt {
        self.halt.clone()
    }

    fn window_closed(&self, seconds: f64) {
        if self.look == Look::Silent {
            return;
        }
        self.clear();
        let took = duration(seconds);
        let text = format!("swept after {took}; once restarted, the registry may be writable again");
        output::log(Severity::Info, Entry::Swept, &text, Fields::Swept { window_seconds: seconds });
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Current {
    fn paint(&self, bar: &ProgressBar) {
        let (done, expected) = (self.meter.done(), self.meter.expected());
        bar.set_length(expected.max(done));
        bar.set_position(done);
    }

    /// A log has a line for each phase, however short that is.
    fn log_that_it_begins(&self) {
        self.log_as(&format!("{} begins", self.phase.name()), 0, 0);
    }

    fn log(&self) {
        let (done, expected) = (self.meter.done(), self.meter.expected());
        self.log_as(&line(self.phase, done, expected, self.began.elapsed()), done, expected);
    }

    fn log_as(&self, text: &str, done: u64, expected: u64) {
        let unit = if self.phase.counts_bytes() { "bytes" } else { "things" };
        let (phase, expected, seconds) = (self.phase.name(), expected.max(done), self.began.elapsed().as_secs_f64());
        output::log(Severity::Info, Entry::Progress, text, Fields::Progress { phase, done, expected, unit, seconds });
    }
}

/// The line that is written where there is no terminal.
fn line(phase: Phase, done: u64, expected: u64, elapsed: Duration) -> String {
    let expected = expected.max(done);
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = match rate {
        rate if rate > 0.0 => {
            let seconds = (expected - done) as f64 / rate;
            format!("about {} left", HumanDuration(Duration::from_secs_f64(seconds.min(1e9))))
        }
        _ => "nothing done yet".to_owned(),
    };
    let name = phase.name();
    if phase.counts_bytes() {
        let (done, expected, rate) = (bytes(done), bytes(expected), bytes(rate as u64));
        return format!("{name} {done} of {expected}, {rate} a second, {left}");
    }
    format!("{name} {} of {}, {rate:.0} a second, {left}", HumanCount(done), HumanCount(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_count_rate_and_time() {
        assert_eq!(
            line(Phase::Scan, 1500, 4500, Duration::from_secs(30)),
            "scan 1,500 of 4,500, 50 a second, about 60 seconds left"
        );
        assert_eq!(line(Phase::Purge, 0, 10, Duration::from_secs(30)), "purge 0 of 10, 0 a second, nothing done yet");
        assert_eq!(
            line(Phase::Read, 3 << 30, 9 << 30, Duration::from_secs(30)),
            "read 3.00 GiB of 9.00 GiB, 102.40 MiB a second, about 60 seconds left"
        );
        // Work that turned up after it was counted.
        assert_eq!(
            line(Phase::Mark, 10, 5, Duration::from_secs(10)),
            "mark 10 of 10, 1 a second, about 0 seconds left"
        );
    }
}
