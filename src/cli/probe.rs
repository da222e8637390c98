//! `regsweep probe`: is a running registry read-only? For scripts that switch it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use regsweep::interlock::probe::{Credentials, ProbeAnswer, RegistryUrl, probe};

use super::output;
use super::target::{Age, PROBE_TIMEOUT};
use super::{Exit, Failure};

/// How long it waits between two questions.
const PAUSE: Duration = Duration::from_millis(250);

const EXAMPLES: &str = "\
Examples:
  Is it read-only?
    regsweep probe http://127.0.0.1:5000

  Wait until it is, after it was restarted:
    regsweep probe --expect read-only --wait 60s http://127.0.0.1:5000";

/// Ask a running registry whether it is read-only
///
/// The question is that of `gc --registry`: an empty manifest, which every registry refuses, with 405 if it is
/// read-only. Nothing is left behind. Without --expect the exit code is 0 if the answer is clear; with it, 0 if the
/// registry is as expected and 4 if it is not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The running registry, such as http://127.0.0.1:5000
    ///
    /// user:password@ or REGSWEEP_REGISTRY_AUTH=user:password for one that wants credentials.
    #[arg(value_name = "URL")]
    url: String,

    /// What it should be: read-only or writable
    #[arg(long, value_name = "STATE", hide_possible_values = true)]
    expect: Option<State>,

    /// Ask again for so long
    ///
    /// Until it is as expected, or without --expect until the answer is clear.
    #[arg(long, value_name = "D", default_value = "0s")]
    wait: Age,

    /// Print nothing unless something is wrong
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum State {
    /// It refuses pushes
    ReadOnly,
    /// It takes pushes
    Writable,
}

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    let url: RegistryUrl = args.url.parse().context("URL").map_err(Failure::usage)?;
    let credentials = Credentials::from_environment().context("REGSWEEP_REGISTRY_AUTH").map_err(Failure::usage)?;
    let credentials = url.credentials().or(credentials.as_ref());
    let until = Instant::now().checked_add(args.wait.duration);
    let answer = loop {
        let answer = probe(&url, credentials, PROBE_TIMEOUT);
        let is_over = until.is_some_and(|until| Instant::now() >= until);
        let will_do = state(&answer).is_some_and(|state| args.expect.is_none_or(|expected| expected == state));
        if will_do || is_over {
            break answer;
        }
        std::thread::sleep(PAUSE);
    };
    let text = format!("{url} {}", described(&answer));
    match (state(&answer), args.expect) {
        (Some(state), expected) if expected.is_none_or(|expected| expected == state) => {
            if !args.quiet {
                output::print(|out| writeln!(out, "{text}")).context("cannot write to standard output")?;
            }
            Ok(Exit::Done)
        }
        (_, Some(_)) => Err(Failure::refused(anyhow!(text))),
        (_, None) => Err(anyhow!(text).into()),
    }
}

fn state(answer: &ProbeAnswer) -> Option<State> {
    match answer {
        ProbeAnswer::ReadOnly => Some(State::ReadOnly),
        ProbeAnswer::Writable => Some(State::Writable),
        ProbeAnswer::CredentialsNeeded
        | ProbeAnswer::NobodyServes
        | ProbeAnswer::OtherStorage(_)
        | ProbeAnswer::Unclear(_) => None,
    }
}

fn described(answer: &ProbeAnswer) -> String {
    match answer {
        ProbeAnswer::ReadOnly => "is read-only: it answers 405 to a push".to_owned(),
        ProbeAnswer::Writable => "is writable: it would take a push".to_owned(),
        ProbeAnswer::CredentialsNeeded => {
            "wants credentials: give user:password@ in the URL, or REGSWEEP_REGISTRY_AUTH".to_owned()
        }
        ProbeAnswer::NobodyServes => "does not answer: nobody serves there".to_owned(),
        ProbeAnswer::OtherStorage(words) => format!("serves another storage: {words}"),
        ProbeAnswer::Unclear(words) => format!("gives no clear answer: {words}"),
    }
}
