//! What regsweep writes for machines, in every state that gives another shape: made once, for all tests.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use crate::support::process::{Run, finish, regsweep};
use crate::support::tree::Tree;
use crate::{damaged, fail_if_any, scenes};

/// A document, or a line of a file.
pub(crate) struct Output {
    /// Where it comes from.
    pub(crate) name: String,
    pub(crate) json: Value,
}

/// Takes in what is written.
#[derive(Default)]
pub(crate) struct Collector {
    outputs: Vec<Output>,
    /// Runs that ended otherwise than they should.
    failures: Vec<String>,
}

/// All of them.
pub(crate) fn outputs() -> &'static [Output] {
    static ALL: LazyLock<Vec<Output>> = LazyLock::new(|| {
        let mut all = Collector::default();
        scenes::add(&mut all);
        damaged::add(&mut all);
        fail_if_any(&all.failures);
        assert!(all.outputs.len() > 100, "{} documents and lines", all.outputs.len());
        all.outputs
    });
    &ALL
}

impl Collector {
    /// Runs a command on this tree, whose one JSON document is taken in: the words of the command, its flags, then
    /// what stands behind REGISTRY.
    #[track_caller]
    pub(crate) fn run(&mut self, tree: &Tree, flags: &[&str], names: &[&str], code: i32) -> Value {
        let root = tree.root();
        let arguments = [flags, &["--format", "json", root.to_str().unwrap()], names].concat();
        let run = finish(regsweep(&arguments));
        let name = format!("{} {}", flags.join(" "), names.join(" "));
        if flags.contains(&"--log-format") {
            for (number, line) in run.stderr.lines().enumerate() {
                let json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
                self.outputs.push(Output { name: format!("standard error of {name}:{}", number + 1), json });
            }
        }
        if run.code != code {
            self.failures.push(format!("{name}: exit {}, not {code}: {}", run.code, run.stderr));
        }
        self.document(&name, &run)
    }

    #[track_caller]
    pub(crate) fn document(&mut self, name: &str, run: &Run) -> Value {
        let json = run.report().0;
        self.outputs.push(Output { name: name.to_owned(), json: json.clone() });
        json
    }

    /// The lines of a file, which hold JSON each.
    pub(crate) fn lines(&mut self, path: &Path) {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.ends_with('\n') || text.lines().count() == 1, "{}: half a line", path.display());
        for (number, line) in text.lines().enumerate() {
            let name = format!("{}:{}", path.file_name().unwrap().display(), number + 1);
            self.outputs.push(Output { name, json: serde_json::from_str(line).unwrap() });
        }
    }

    /// The journals of all runs of a tree, and its history.
    pub(crate) fn files(&mut self, tree: &Tree) {
        for run in fs::read_dir(tree.regsweep().join("runs")).unwrap() {
            self.lines(&run.unwrap().path().join("journal.jsonl"));
        }
        let history = tree.regsweep().join("history.jsonl");
        if history.exists() {
            self.lines(&history);
        }
    }
}
