//! An answer as one JSON document, `regsweep.why/1`. What its fields mean is in `docs/why.md`.
//!
//! Chains are written while they are walked: there may be a hundred thousand.

use std::io::{self, Write};
use std::ops::ControlFlow;

use jiff::Timestamp;
use regsweep::finding::Finding;
use regsweep::report::Tool;
use regsweep::why::{Answer, Chain, Chains, Describer, Knowledge, RepositorySummary, Step};
use serde::Serialize;
use serde::ser::{SerializeMap as _, SerializeSeq as _, Serializer};

/// What every answer has.
pub(super) struct Document<'a> {
    pub(super) knowledge: &'a Knowledge<'a>,
    pub(super) root: String,
    /// What was asked about, as it may be shown.
    pub(super) asked: &'a str,
    pub(super) delete_untagged: bool,
    pub(super) findings: &'a [&'a Finding],
}

struct About<'a> {
    document: Document<'a>,
    answer: Option<&'a Answer<'a>>,
    summary: Option<&'a RepositorySummary>,
}

struct AllChains<'a> {
    knowledge: &'a Knowledge<'a>,
    chains: Option<&'a Chains<'a>>,
}

/// Chains that are walked while they are written.
#[derive(Serialize)]
struct OneChain<'a> {
    kind: regsweep::why::RootKind,
    repository: Option<&'a str>,
    tags: Vec<&'a str>,
    steps: Vec<Step>,
}

/// Writes what is known about a digest or a tag.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn answer(out: &mut dyn Write, document: Document<'_>, answer: &Answer<'_>) -> io::Result<()> {
    write(out, &About { document, answer: Some(answer), summary: None })
}

/// Writes what is known about a repository.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn repository(out: &mut dyn Write, document: Document<'_>, it: &RepositorySummary) -> io::Result<()> {
    write(out, &About { document, answer: None, summary: Some(it) })
}

fn write(out: &mut dyn Write, about: &About<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, about)?;
    writeln!(out)
}

impl Serialize for About<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let About { document, answer, summary } = self;
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", "regsweep.why/1")?;
        map.serialize_entry("tool", &Tool::THIS)?;
        map.serialize_entry("root", &document.root)?;
        map.serialize_entry("asked", document.asked)?;
        map.serialize_entry("delete_untagged", &document.delete_untagged)?;
        map.serialize_entry("repository", &summary)?;
        map.serialize_entry("tag", &answer.and_then(|it| it.tag.as_ref()))?;
        map.serialize_entry("digest", &answer.and_then(|it| it.digest.as_ref()))?;
        map.serialize_entry("what", &answer.map(|it| &it.what))?;
        map.serialize_entry("bytes", &answer.and_then(|it| it.bytes))?;
        map.serialize_entry("written_at", &text(answer.and_then(|it| it.written_at)))?;
        map.serialize_entry("problem", &answer.and_then(|it| it.problem.as_deref()))?;
        map.serialize_entry("linked_in", &answer.map(|it| it.linked_in))?;
        map.serialize_entry("state", &answer.map(|it| it.state))?;
        map.serialize_entry("reason", &answer.and_then(|it| it.reason))?;
        map.serialize_entry("kept", &answer.and_then(|it| it.kept))?;
        map.serialize_entry("since", &text(answer.and_then(|it| it.since())))?;
        map.serialize_entry("goes", answer.map_or(&[][..], |it| &it.goes))?;
        map.serialize_entry("traces", answer.map_or(&[][..], |it| &it.traces))?;
        map.serialize_entry("has_all_traces", &answer.is_none_or(|it| it.has_all_traces))?;
        let chains = answer.and_then(|it| it.chains.as_ref());
        map.serialize_entry("chain_count", &chains.map_or(0, |it| it.count))?;
        map.serialize_entry("chain_tags", &chains.map_or(0, |it| it.tags))?;
        map.serialize_entry("chain_repositories", &chains.map_or(0, |it| it.repositories))?;
        map.serialize_entry("has_all_chains", &chains.is_none_or(|it| !it.is_cut))?;
        map.serialize_entry("chains", &AllChains { knowledge: document.knowledge, chains })?;
        map.serialize_entry("findings", &document.findings)?;
        map.end()
    }
}

impl Serialize for AllChains<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let knowledge = self.knowledge;
        let describer = Describer::new(knowledge);
        let mut list = serializer.serialize_seq(None)?;
        let mut result = Ok(());
        if let Some(chains) = self.chains {
            let mut one = |chain: Chain<'_>| -> Result<(), S::Error> {
                let root = chain.root;
                let name = |tag: &usize| Some(knowledge.tag_name(root.repository?, *tag));
                list.serialize_element(&OneChain {
                    kind: root.kind,
                    repository: root.repository.map(|place| knowledge.repository_name(place)),
                    tags: root.tags.iter().filter_map(name).collect(),
                    steps: describer.steps(chain),
                })
            };
            // It ends early for an error alone, and that is told below.
            let _ended = chains.each(&mut |chain: Chain<'_>| {
                result = one(chain);
                if result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        result?;
        list.end()
    }
}
