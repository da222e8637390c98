//! promtool, and the text format as a stranger reads it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::process::{Run, finish, finish_reading};

/// `promtool` with these arguments, and this on its standard input.
pub(crate) fn promtool(arguments: &[&str], input: &str) -> Run {
    let is_there = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join("promtool").exists());
    assert!(is_there, "promtool is missing: scripts/test installs it (it is in Debian's package prometheus)");
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    if input.is_empty() { finish(command) } else { finish_reading(command, input) }
}

/// Series by their names and labels, sorted: `regsweep_exit_code{command="gc",registry="/r"}`.
#[derive(Debug)]
pub(crate) struct Series(pub(crate) BTreeMap<String, f64>);

impl Series {
    /// Of a file, which has to be what promtool says is fine, and readable for everybody.
    #[track_caller]
    pub(crate) fn read(path: &Path) -> Series {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions();
        assert_eq!(mode.mode() & 0o7777, 0o644, "node_exporter runs as another user");
        let text = std::fs::read_to_string(path).unwrap();
        let checked = promtool(&["check", "metrics"], &text);
        assert_eq!((checked.code, checked.said().as_str()), (0, ""), "promtool on\n{text}");
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let is_new = series.insert(name.to_owned(), value.parse().unwrap()).is_none();
            assert!(is_new, "twice: {name}");
        }
        Series(series)
    }

    /// The value of the one series with this name and these words among its labels.
    #[track_caller]
    pub(crate) fn get(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let begins = format!("{name}{{");
        let has = |series: &str| series.starts_with(&begins) && labels.iter().all(|label| series.contains(label));
        let found: Vec<f64> = self.0.iter().filter(|(series, _)| has(series)).map(|(_, value)| *value).collect();
        assert!(found.len() < 2, "{} series of {name} {labels:?}: {self:#?}", found.len());
        found.first().copied()
    }

    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> f64 {
        self.get(name, &[]).unwrap_or_else(|| panic!("no {name}: {self:#?}"))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|series| series.split('{').next().unwrap())
    }
}
