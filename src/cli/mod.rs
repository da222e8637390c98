//! The command line: one file a command.

mod cache;
mod check;
mod du;
mod files;
mod gc;
mod limits;
mod ls;
mod monitor;
mod names;
mod output;
mod position;
mod probe;
mod progress;
mod rm;
mod runs;
mod signals;
mod target;
mod trash;
mod why;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use output::LogFormat;

/// How a command ended, for the shell. The same in every format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
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

/// An error with the exit code that belongs to it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit: Exit::Usage, error: error.into() }
    }

    fn refused(error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit: Exit::Refused, error: error.into() }
    }
}

/// Everything that nobody has judged is a plain failure.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure { exit: Exit::Failed, error: error.into() }
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, nothing wrong
  1  failed
  2  wrong usage, or REGISTRY is no registry
  3  done, but damage was found that touches a tagged image, or that made the
     sweep keep more than it should
  4  refused; nothing was touched
  5  stopped early; what was done is consistent";

/// Garbage collector for container registries, offline, on the registry's own folders.
#[derive(Debug, Parser)]
#[command(name = "regsweep", version, about, after_help = EXIT_CODES, max_term_width = 80)]
struct Cli {
    /// How standard error is written: human, or json, an object a line
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        default_value = "human",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "garbage-collect")]
    Gc(Box<gc::Args>),
    Check(Box<check::Args>),
    Ls(ls::Args),
    Du(du::Args),
    Rm(Box<rm::Args>),
    Runs(runs::Args),
    #[command(subcommand)]
    Trash(trash::Command),
    Why(Box<why::Args>),
    Probe(probe::Args),
}

/// Runs the command, and turns its end into an exit code.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| wrong_usage(&error));
    output::set_log_format(cli.log_format);
    let ended = match cli.command {
        Command::Gc(args) => gc::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Ls(args) => ls::main(&args),
        Command::Du(args) => du::main(&args),
        Command::Rm(args) => rm::main(&args),
        Command::Runs(args) => runs::main(&args),
        Command::Trash(command) => trash::main(&command),
        Command::Why(args) => why::main(&args),
        Command::Probe(args) => probe::main(&args),
    };
    let exit = ended.unwrap_or_else(|failure| {
        output::error(&format!("{:#}", failure.error));
        failure.exit
    });
    ExitCode::from(exit as u8)
}

/// Ends with what is wrong with the command line, or with the help that it asked for. What asks for JSON gets the one
/// as JSON too, as far as it can be seen that it does.
fn wrong_usage(error: &clap::Error) -> ! {
    let words: Vec<_> = std::env::args_os().collect();
    let asks = |pair: &[std::ffi::OsString]| pair[0] == "--log-format" && pair[1] == "json";
    let wants_json = words.windows(2).any(asks) || words.iter().any(|word| word == "--log-format=json");
    if !error.use_stderr() || !wants_json {
        error.exit();
    }
    output::set_log_format(LogFormat::Json);
    output::error(&error.to_string());
    std::process::exit(error.exit_code())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        super::Cli::command().debug_assert();
    }
}
