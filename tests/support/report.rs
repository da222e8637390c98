//! The report of a run, read as a stranger reads it.

use std::collections::BTreeSet;

use serde_json::Value;

/// The report of section 2, read as a stranger reads it.
#[derive(Clone, Debug)]
pub(crate) struct Report(pub(crate) Value);

/// An action by the name of its object, with its reason and bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Action {
    pub(crate) kind: String,
    pub(crate) object: String,
    pub(crate) reason: String,
    pub(crate) bytes: u64,
}

impl Report {
    pub(crate) fn actions(&self) -> Vec<Action> {
        self.0["actions"].as_array().expect("actions is a list").iter().map(Action::read).collect()
    }

    /// The objects of the actions of one kind: `blob`, `revision`, `tag`, `tag_history`, `layer_link`, `upload`.
    pub(crate) fn actions_of(&self, kind: &str) -> BTreeSet<String> {
        self.actions().into_iter().filter(|action| action.kind == kind).map(|action| action.object).collect()
    }

    pub(crate) fn garbage_blobs(&self) -> BTreeSet<String> {
        self.actions_of("blob")
    }

    pub(crate) fn reason_of(&self, object: &str) -> Option<String> {
        self.actions().into_iter().find(|action| action.object == object).map(|action| action.reason)
    }

    /// The count of a kind in `garbage` or `removed`.
    pub(crate) fn count(&self, section: &str, kind: &str) -> u64 {
        self.0[section][kind]["count"].as_u64().unwrap_or_else(|| panic!("no count of {kind} in {section}: {}", self.0))
    }

    pub(crate) fn bytes(&self, section: &str, kind: &str) -> u64 {
        self.0[section][kind]["bytes"].as_u64().unwrap_or_else(|| panic!("no bytes of {kind} in {section}: {}", self.0))
    }

    pub(crate) fn findings(&self) -> &[Value] {
        self.0["findings"].as_array().expect("findings is a list")
    }

    /// Whether a finding says so: in its kind, message, repository or path.
    pub(crate) fn has_finding(&self, text: &str) -> bool {
        self.findings().iter().any(|finding| says(finding, text))
    }

    /// Whether a finding of this severity says so.
    pub(crate) fn has(&self, severity: &str, text: &str) -> bool {
        self.findings().iter().any(|finding| finding["severity"] == severity && says(finding, text))
    }

    /// Findings that are more than `info`.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        self.findings().iter().filter(|finding| finding["severity"] != "info").collect()
    }

    pub(crate) fn outcome(&self) -> &str {
        self.0["outcome"].as_str().expect("outcome is a word")
    }

    /// The repositories that the report calls tainted.
    pub(crate) fn tainted(&self) -> BTreeSet<&str> {
        let repositories = self.0["repositories"].as_array().expect("repositories is a list");
        let tainted = repositories.iter().filter(|repository| repository["tainted"] == true);
        tainted.map(|repository| repository["name"].as_str().unwrap()).collect()
    }

    /// The parts of a report that can say why a run refused: findings, objections, advice.
    pub(crate) fn reasons(&self) -> String {
        format!("{} {} {}", self.0["findings"], self.0["read_only"]["objections"], self.0["advice"])
    }

    pub(crate) fn run(&self) -> &str {
        self.0["run"].as_str().unwrap_or_else(|| panic!("a run that changed something has an id: {}", self.0))
    }
}

fn says(finding: &Value, text: &str) -> bool {
    ["kind", "message", "repository", "path"]
        .iter()
        .any(|key| finding[key].as_str().is_some_and(|it| it.contains(text)))
}

impl Action {
    fn read(value: &Value) -> Self {
        let field = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"));
        let kind = field("kind");
        let object = match kind {
            "blob" => format!("blob {}", field("digest")),
            "revision" => format!("{} revision {}", field("repository"), field("digest")),
            "tag" => format!("{} tag {}", field("repository"), field("name")),
            "tag_history" => format!("{} tag {} history {}", field("repository"), field("name"), field("digest")),
            "layer_link" => format!("{} layer {}", field("repository"), field("digest")),
            "upload" => format!("{} upload {}", field("repository"), field("name")),
            "repository" => field("repository").to_owned(),
            other => panic!("unknown kind of action: {other}"),
        };
        let bytes = value["bytes"].as_u64().unwrap_or(0);
        Self { kind: kind.to_owned(), object, reason: field("reason").to_owned(), bytes }
    }
}
