//! `regsweep completions`: what a shell needs to complete command lines.

use anyhow::Context as _;
use clap_complete::aot;

use super::{Exit, Failure, command, output};

const EXAMPLES: &str = "\
Examples:
  For bash, for this user (packages bring these files along):
    mkdir -p ~/.local/share/bash-completion/completions
    regsweep completions bash \\
      > ~/.local/share/bash-completion/completions/regsweep

  For zsh:
    mkdir -p ~/.zfunc
    regsweep completions zsh > ~/.zfunc/_regsweep

  For fish:
    mkdir -p ~/.config/fish/completions
    regsweep completions fish > ~/.config/fish/completions/regsweep.fish";

/// Print completions for a shell
///
/// They complete commands, options and files. Nothing is installed: the text goes to standard output, and the examples
/// say where each shell looks for it. For zsh the folder must be in $fpath before compinit runs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    let shell = match args.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut text = Vec::new();
    aot::generate(shell, &mut command(), "regsweep", &mut text);
    output::print(|out| out.write_all(&text)).context("cannot write to standard output")?;
    Ok(Exit::Done)
}
