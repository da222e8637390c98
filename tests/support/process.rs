//! Programs, run to their end: regsweep itself, in an empty environment, and what the tests need beside it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::report::Report;
use super::tree::Tree;

/// The user and group that own nothing, for permission bits that bind even where the tests run as root.
pub(crate) const NOBODY: u32 = 65534;

/// Long enough for a debug build on a busy machine, short enough to call it a hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// regsweep in an empty environment, in a folder that is not the tree's.
pub(crate) fn regsweep<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    clean(Command::new(the_binary()), arguments)
}

fn the_binary() -> &'static str {
    // Not `env!`: the example that captures the fixture uses this file too, and has no binary to run.
    let Some(binary) = option_env!("CARGO_BIN_EXE_regsweep") else { panic!("only tests know where regsweep is") };
    binary
}

fn clean<S: AsRef<OsStr>>(mut command: Command, arguments: &[S]) -> Command {
    command.env_clear().current_dir("/").args(arguments);
    command
}

/// regsweep as a user whom permission bits bind; where the tests run as root, a copy of it that this user can reach.
pub(crate) fn regsweep_bound_by_permissions<S: AsRef<OsStr>>(tree: &Tree, arguments: &[S]) -> Command {
    if rustix::process::geteuid().is_root() {
        bound_by_permissions(tree, &copy_of_the_binary(tree), arguments)
    } else {
        regsweep(arguments)
    }
}

/// A program as a user whom permission bits bind: where the tests run as root, the user that owns nothing, by `setpriv`
/// (which must be there: without it these tests fail, they do not pass in silence). Give the tree to that user first.
pub(crate) fn bound_by_permissions<S: AsRef<OsStr>>(tree: &Tree, program: &Path, arguments: &[S]) -> Command {
    if !rustix::process::geteuid().is_root() {
        return clean(Command::new(program), arguments);
    }
    assert_eq!(fs::metadata(tree.root()).unwrap().uid(), NOBODY, "the tree is given to nobody first");
    let mut command = Command::new("/usr/bin/setpriv");
    command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups").arg(program);
    clean(command, arguments)
}

pub(crate) fn copy_of_the_binary(tree: &Tree) -> PathBuf {
    let binary = tree.beside().join("regsweep-copy");
    if !binary.exists() {
        // By another process: a file that this one has open for writing is inherited by whatever another test starts in
        // that moment, and then the copy cannot be run ("text file busy").
        let copied = Command::new("install").arg("-m755").arg(the_binary()).arg(&binary).status().unwrap();
        assert!(copied.success(), "cannot copy the binary");
    }
    binary
}

/// What a run of a program gave back.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs it to its end. A run that hangs or panics fails the test here, whatever it was about.
pub(crate) fn finish(command: Command) -> Run {
    finish_watched(command, |_| {})
}

/// [`finish`] with this text on its standard input.
pub(crate) fn finish_reading(command: Command, text: &str) -> Run {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    input.rewind().unwrap();
    run_to_its_end(command, input.into(), |_| {})
}

/// [`finish`], and while it runs somebody looks at it again and again, by its process id.
pub(crate) fn finish_watched(command: Command, look: impl FnMut(u32)) -> Run {
    run_to_its_end(command, Stdio::null(), look)
}

/// [`finish`], and signals are sent to it in this order, each as soon as its time has come.
pub(crate) fn signalled(command: Command, signals: &[(Signal, &dyn Fn() -> bool)]) -> Run {
    let mut left = signals.iter();
    let mut next = left.next();
    let done = finish_watched(command, |process| {
        if let Some((signal, is_time)) = next
            && is_time()
        {
            kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), *signal).unwrap();
            next = left.next();
        }
    });
    assert!(next.is_none(), "it ended before it was sent them all: {done:?}");
    done
}

/// Whether a folder named by a digest lies anywhere below this one: something was moved into a trash.
pub(crate) fn holds_something(folder: &Path) -> bool {
    walkdir::WalkDir::new(folder).into_iter().any(|entry| entry.is_ok_and(|entry| entry.file_name().len() >= 64))
}

fn run_to_its_end(mut command: Command, stdin: Stdio, mut look: impl FnMut(u32)) -> Run {
    // Files, not pipes: nobody has to read while the program writes.
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(stdin).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let mut child = command.spawn().unwrap_or_else(|error| not_there(&command, &error));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        look(child.id());
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            let said = String::from_utf8_lossy(&content_of(&mut stderr)).into_owned();
            panic!("still running after {DEADLINE:?}: {command:?}\n{said}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let stdout = content_of(&mut stdout);
    let stderr = String::from_utf8(content_of(&mut stderr)).expect("standard error is UTF-8");
    let code = status.code().unwrap_or_else(|| panic!("ended by a signal, {status}: {command:?}\n{stderr}"));
    assert_no_panic(&stderr);
    assert_no_panic(&String::from_utf8_lossy(&stdout));
    Run { code, stdout, stderr }
}

fn content_of(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn assert_no_panic(text: &str) {
    for word in ["panicked at", "RUST_BACKTRACE", "stack backtrace", "thread 'main'"] {
        assert!(!text.contains(word), "a panic reached the user:\n{text}");
    }
}

/// Why a program did not start: most often because nobody has installed it.
pub(crate) fn not_there(command: &Command, error: &std::io::Error) -> ! {
    let name = command.get_program().display();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{name} does not start: {error}");
    panic!(
        "{name} is not installed, and this test needs it: `apt-get install docker-registry skopeo` on Debian and \
         Ubuntu, or run ./scripts/test, which installs both"
    );
}

impl Run {
    /// The one JSON document on standard output, and nothing beside it.
    #[track_caller]
    pub(crate) fn report(&self) -> Report {
        let value = serde_json::from_slice(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "standard output is not one JSON document ({error}), exit {}:\n{}\nstandard error:\n{}",
                self.code,
                String::from_utf8_lossy(&self.stdout),
                self.stderr
            )
        });
        Report(value)
    }

    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            code,
            "exit code\nstandard output:\n{}\nstandard error:\n{}",
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("standard output is UTF-8")
    }

    /// All that the program said, on both streams.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }
}
