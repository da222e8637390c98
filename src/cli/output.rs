//! Standard output and standard error. Results go to the first, everything else to the second.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use regsweep::layout::shown_path;

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

/// Writes an error to standard error, the first line marked as one.
pub(crate) fn error(text: &str) {
    say(&format!("regsweep: {}", text.trim_end()));
}

/// Writes a line to standard error. Where nobody can read it, nobody can be told that either.
pub(crate) fn say(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// A path as it may stand in a command that is suggested: quoted for the shell where that is needed, and never raw.
pub(crate) fn quoted(path: &Path) -> String {
    let shown = shown_path(path);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !shown.is_empty() && shown.bytes().all(is_plain) { shown } else { format!("'{}'", shown.replace('\'', r"'\''")) }
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
