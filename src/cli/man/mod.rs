//! `regsweep man`: the manual, a page for each command, made from the same definition as `--help`.
//!
//! What a page has beyond the help (exit status, environment, files) is in [`about`]; [`page`] writes it all in the
//! macros of man(7). It is written here and not by a crate that does so, because such a page needs its own synopsis (a
//! command with thirty options has one line), its options under their headings, and examples that keep their lines.

mod about;
mod page;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use regsweep::layout::{shown, shown_path};

use super::{Exit, Failure, command, files, output};

const EXAMPLES: &str = "\
Examples:
  Read a page without installing it:
    regsweep man gc | man -l -

  All pages, into the folder of this user's manual (`man regsweep-gc` then):
    regsweep man --dir ~/.local/share/man/man1";

/// Print a page of the manual, or write all of them
///
/// In the macros of man(7), for man, groff and mandoc. Without COMMAND the page of regsweep itself, which names the
/// others.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Of which command, such as gc, or trash restore
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Write all pages to this folder
    ///
    /// It is made where it is not there; pages of the same names are replaced.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    let mut root = command();
    root.build();
    let date = date()?;
    if let Some(folder) = &args.dir {
        write_all(&root, folder, &date)?;
        return Ok(Exit::Done);
    }
    let mut of = &root;
    for word in &args.command {
        let found = of.find_subcommand(word).filter(|found| page::has_page(found));
        of = found.ok_or_else(|| {
            let names: Vec<&str> = page::commands_of(of).map(clap::Command::get_name).collect();
            let known = if names.is_empty() { "it has none".to_owned() } else { names.join(", ") };
            let word = shown(word.as_bytes());
            Failure::usage(anyhow!("{} has no command '{word}': {known}", page::called(of)))
        })?;
    }
    let text = page::page(&root, of, &date);
    output::print(|out| out.write_all(text.as_bytes())).context("cannot write to standard output")?;
    Ok(Exit::Done)
}

/// Writes the page of each command, and of each other name that it has a page that leads there.
fn write_all(root: &clap::Command, folder: &Path, date: &str) -> Result<(), Failure> {
    let mut pages = vec![(page::name(root), page::page(root, root, date))];
    let mut next: Vec<&clap::Command> = page::commands_of(root).collect();
    while let Some(command) = next.pop() {
        let name = page::name(command);
        for alias in command.get_visible_aliases() {
            let other = format!("{}-{alias}", page::name(root));
            pages.push((other, format!(".so man1/{name}.1\n")));
        }
        pages.push((name, page::page(root, command, date)));
        next.extend(page::commands_of(command));
    }
    for (name, text) in pages {
        let path = folder.join(format!("{name}.1"));
        let write = || {
            files::make_folder_of(&path)?;
            files::replace(&path, |out| out.write_all(text.as_bytes()))
        };
        write().with_context(|| format!("cannot write {}", shown_path(&path)))?;
    }
    Ok(())
}

/// The day that stands on a page: today's, or that of `SOURCE_DATE_EPOCH`, so that a package can be built twice and be
/// the same.
fn date() -> Result<String, Failure> {
    let at = match std::env::var("SOURCE_DATE_EPOCH") {
        Err(std::env::VarError::NotPresent) => Timestamp::now(),
        given => {
            let seconds = given.ok().and_then(|text| text.parse().ok());
            let at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
            at.ok_or_else(|| Failure::usage(anyhow!("SOURCE_DATE_EPOCH: expected seconds since 1970")))?
        }
    };
    Ok(at.strftime("%Y-%m-%d").to_string())
}
