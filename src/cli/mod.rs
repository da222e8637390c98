//! The command line: one file a command.

mod cache;
mod check;
mod completions;
mod du;
mod files;
mod gc;
mod limits;
mod ls;
mod man;
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
mod usage;
mod why;
mod work;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use output::LogFormat;
use regsweep::exit::Exit;

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

const EXAMPLES: &str = "\
Examples:
  Begin with these; they change nothing, and need no option:
    regsweep ls /var/lib/registry
    regsweep du /var/lib/registry
    regsweep gc --dry-run /var/lib/registry

  Collect, once the registry is in read-only mode:
    regsweep gc --registry http://127.0.0.1:5000 /var/lib/registry";

/// Garbage collector for container registries, offline, on the registry's own folders
///
/// Works on the files of a registry in the layout of CNCF distribution (registry:2, registry:3), where they lie: on a
/// volume that is mounted here. Nothing that a tag can pull is ever removed, and nothing is changed unless it is shown
/// that nobody is pushing meanwhile.
#[derive(Debug, Parser)]
#[command(name = "regsweep", version, max_term_width = 80)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{EXIT_CODES}\n\n{EXAMPLES}"))]
struct Cli {
    /// Standard error: human or json
    ///
    /// json is an object a line, for log collectors.
    #[arg(
        long,
        value_name = "KIND",
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
    Completions(completions::Args),
    Man(man::Args),
}

/// The whole command line, as it is defined.
fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command, and turns its end into an exit code.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::tell(&error),
    };
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
        Command::Completions(args) => completions::main(&args),
        Command::Man(args) => man::main(&args),
    };
    let exit = ended.unwrap_or_else(|failure| {
        output::error(&format!("{:#}", failure.error));
        failure.exit
    });
    ExitCode::from(exit.code())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_holds_together() {
        super::command().debug_assert();
    }
}
