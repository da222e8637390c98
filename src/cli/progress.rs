//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use regsweep::progress::{Meter, Phase, Watch};
use regsweep::report::human::duration;

use super::output::say;

/// How often a bar is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(30);

/// Shows a run's progress. A thread looks at the meters; the work itself never waits for a terminal.
pub(crate) struct Shown {
    current: Arc<Mutex<Option<Current>>>,
    look: Look,
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
        match (quiet, std::io::stderr().is_terminal()) {
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
    bar: Option<ProgressBar>,
}

impl Shown {
    /// Starts to show.
    pub(crate) fn new(look: Look) -> Shown {
        let current: Arc<Mutex<Option<Current>>> = Arc::default();
        let painter = (look != Look::Silent).then(|| {
            let (stop, stopped) = mpsc::channel();
            let current = Arc::clone(&current);
            let every = if look == Look::Bars { FRAME } else { LINE };
            let thread = std::thread::spawn(move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    if let Some(current) = &*current.lock().unwrap_or_else(PoisonError::into_inner) {
                        current.paint();
                    }
                }
            });
            (stop, thread)
        });
        Shown { current, look, painter }
    }

    fn replace(&self, next: Option<Current>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Current { bar: Some(bar), .. }) = &*current {
            bar.finish_and_clear();
        }
        *current = next;
    }

    /// Ends the showing, and leaves no bar behind.
    pub(crate) fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.replace(None);
        if let Some((stop, thread)) = self.painter.take() {
            // Without a sender the thread ends at once; a thread that has panicked has nothing more to show.
            drop(stop);
            drop(thread.join());
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Watch for Shown {
    fn begin(&self, phase: Phase) -> Arc<Meter> {
        let meter = Arc::new(Meter::new());
        let bar = (self.look == Look::Bars).then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let template = "{prefix:8} [{bar:30}] {human_pos}/{human_len}  {per_sec}  {eta} left";
            // The template is a constant; were it wrong, the default bar would do.
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(phase.name());
            bar
        });
        self.replace(Some(Current { phase, meter: Arc::clone(&meter), began: Instant::now(), bar }));
        meter
    }

    fn window_closed(&self, seconds: f64) {
        let line = format!(
            "regsweep: the last rename is done after {}; once the registry has been restarted it may be writable again",
            duration(seconds)
        );
        match self.look {
            Look::Silent => {}
            Look::Lines => say(&line),
            Look::Bars => {
                self.replace(None);
                say(&line);
            }
        }
    }
}

impl Current {
    fn paint(&self) {
        let (done, expected) = (self.meter.done(), self.meter.expected());
        match &self.bar {
            Some(bar) => {
                bar.set_length(expected.max(done));
                bar.set_position(done);
            }
            None => say(&line(self.phase, done, expected, self.began.elapsed())),
        }
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
    format!("regsweep: {} {} of {}, {:.0} a second, {left}", phase.name(), HumanCount(done), HumanCount(expected), rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_count_rate_and_time() {
        assert_eq!(
            line(Phase::Scan, 1500, 4500, Duration::from_secs(30)),
            "regsweep: scan 1,500 of 4,500, 50 a second, about 60 seconds left"
        );
        assert_eq!(
            line(Phase::Purge, 0, 10, Duration::from_secs(30)),
            "regsweep: purge 0 of 10, 0 a second, nothing done yet"
        );
        // Work that turned up after it was counted.
        assert_eq!(
            line(Phase::Mark, 10, 5, Duration::from_secs(10)),
            "regsweep: mark 10 of 10, 1 a second, about 0 seconds left"
        );
    }
}
