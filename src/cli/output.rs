//! Standard output and standard error. Results go to the first, everything else to the second.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;

use jiff::Timestamp;
use regsweep::finding::{Finding, Severity};
use regsweep::layout::shown_path;
use regsweep::report::log::{self, Entry, Fields};

/// How standard error is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for a person
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

/// Set once, before anything is written; people read where nobody has set it.
static LOG_FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Sets how standard error is written, once and for all.
pub(crate) fn set_log_format(format: LogFormat) {
    // Whoever comes second finds it set, and nobody does.
    let _is_first = LOG_FORMAT.set(format).is_ok();
}

/// How standard error is written.
pub(crate) fn log_format() -> LogFormat {
    LOG_FORMAT.get().copied().unwrap_or_default()
}

/// Writes a result to standard output. Somebody who has read enough and closes the pipe is no error.
///
/// # Errors
/// Whatever else the system says.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        // What serde_json makes of a closed pipe.
        Err(error) if error.to_string().contains("Broken pipe") => Ok(()),
        done => done,
    }
}

/// Writes an error to standard error, the first line marked as ours.
pub(crate) fn error(text: &str) {
    log(Severity::Error, Entry::Error, text, Fields::None {});
}

/// Writes a remark to standard error, the first line marked as ours.
pub(crate) fn note(text: &str) {
    log(Severity::Info, Entry::Note, text, Fields::None {});
}

/// Writes an explanation of several lines to standard error: why something is refused.
pub(crate) fn explain(text: &str) {
    match log_format() {
        LogFormat::Human => line(text.trim_end()),
        LogFormat::Json => error(text),
    }
}

/// Writes a finding to standard error.
pub(crate) fn finding(finding: &Finding) {
    let Finding { severity, kind, repository, path, message } = finding;
    let text = match log_format() {
        LogFormat::Human => format!("{path}: {message}"),
        LogFormat::Json => message.clone(),
    };
    log(*severity, Entry::Finding, &text, Fields::Finding { finding: *kind, repository: repository.as_deref(), path });
}

/// Writes to standard error: to a person the message, marked as ours, to a log collector all of it.
pub(crate) fn log(level: Severity, entry: Entry, message: &str, fields: Fields<'_>) {
    let message = message.trim_end();
    match log_format() {
        LogFormat::Human => line(&format!("regsweep: {message}")),
        LogFormat::Json => {
            let time = Timestamp::now().to_string();
            let logged = log::Line { schema: log::SCHEMA, time, level, entry, message, fields };
            // Names and numbers: there is nothing in them that JSON could not say.
            line(&serde_json::to_string(&logged).unwrap_or_default());
        }
    }
}

/// Writes a line to standard error, as it stands. Where nobody can read it, nobody can be told that either.
fn line(text: &str) {
    drop(io::stderr().lock().write_all(format!("{text}\n").as_bytes()));
}

/// Writes lines for a person to standard error, as they stand.
pub(crate) fn say(text: &str) {
    match log_format() {
        LogFormat::Human => line(text),
        LogFormat::Json => note(text),
    }
}

/// A path as it may stand in a command that is suggested: quoted for the shell where that is needed, and never raw.
pub(crate) fn quoted(path: &Path) -> String {
    let shown = shown_path(path);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !shown.is_empty() && shown.bytes().all(is_plain) { shown } else { format!("'{}'", shown.replace('\'', r"'\''")) }
}

/// The same for a word that somebody gave.
pub(crate) fn quoted_word(word: &str) -> String {
    quoted(Path::new(word))
}

/// How many columns standard output has: those of the terminal, 80 where there is none.
pub(crate) fn width() -> usize {
    const USUAL: usize = 80;
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        // No terminal, or one that does not know.
        Ok(_) | Err(_) => USUAL,
    }
}

/// Whether standard output may have colours: a terminal, and nobody has asked for none (no-color.org).
pub(crate) fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    io::stdout().is_terminal() && !refused && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_command() {
        for (path, text) in [
            ("/var/lib/registry", "/var/lib/registry"),
            ("/mnt/my registry", "'/mnt/my registry'"),
            ("it's", r"'it'\''s'"),
            ("a\nb", r"'a\nb'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), text);
        }
    }
}
