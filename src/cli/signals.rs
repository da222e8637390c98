//! SIGTERM, SIGINT (^C) and SIGHUP: the first asks to end with what is in hand, a second leaves at once.
//!
//! Leaving at once is safe, because dying is: what was moved and not committed is put back by the next run. The first
//! is for those who want to keep what was done, and to read what that was.

use std::io;

use regsweep::halt::Halt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Exit;

const NAMES: [(i32, &str); 3] = [(SIGHUP, "SIGHUP"), (SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")];

/// Listens, for the rest of the process. `tell` is handed a line for the person who sends the first.
///
/// A signal that is ignored stays so: `nohup` has it that way, and so has the shell for what a script runs in the
/// background.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn listen(halt: Halt, tell: impl Fn(&str) + Send + 'static) -> io::Result<()> {
    let ignored = ignored();
    let wanted = NAMES.iter().map(|(signal, _)| *signal).filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(wanted)?;
    let work = move || {
        let mut was_asked = false;
        for signal in signals.forever() {
            if was_asked {
                std::process::exit(Exit::Stopped as i32);
            }
            was_asked = true;
            let name = NAMES.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name);
            halt.ask(name);
            tell(&format!("{name}: finishing what is in hand; a second signal leaves at once"));
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(work).map(drop)
}

/// The signals that whoever started this wants to be ignored, a bit for each. Where nobody can say, none.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
