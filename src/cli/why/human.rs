//! An answer for a person.
//!
//! A chain is one line, as it is said: `team/app:v3 -> index -> linux/arm64 manifest -> layer 4 of 7`. One that is too
//! wide goes on at an arrow, further to the right.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Write};
use std::ops::ControlFlow;

use jiff::Timestamp;
use regsweep::digest::Digest;
use regsweep::plan::Reason;
use regsweep::report::human::{bytes, counted};
use regsweep::why::{Answer, Chain, Describer, Kept, Knowledge, RepositorySummary, RootKey, RootKind, State, Step};

use super::garbage;

/// How a person wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// The first line in bold, by ANSI escapes.
    pub(super) bold: bool,
    /// Whole digests, on lines as long as it takes.
    pub(super) verbose: bool,
    /// How many chains and traces are printed.
    pub(super) most: usize,
    /// The columns of the terminal.
    pub(super) width: usize,
}

/// How many hex digits of a digest are shown.
const DIGITS: usize = 12;
/// How many tags of one chain are shown.
const TAGS: usize = 3;
/// What stands before a line that goes on.
const INDENT: &str = "  ";

impl Style {
    pub(super) fn bold(self, text: &str) -> String {
        if self.bold { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn digest(self, digest: &Digest) -> String {
        if self.verbose { digest.to_string() } else { digest.hex().chars().take(DIGITS).collect() }
    }

    /// Breaks a text between words, so that it fits.
    pub(super) fn line(self, out: &mut dyn Write, text: &str) -> io::Result<()> {
        self.broken(out, text.split(' '), " ")
    }

    fn broken<'a>(self, out: &mut dyn Write, parts: impl Iterator<Item = &'a str>, between: &str) -> io::Result<()> {
        let mut line = String::new();
        let mut is_first = true;
        for part in parts {
            let fits = line.chars().count() + between.len() + part.chars().count() <= self.width;
            if is_first {
                line.push_str(part);
            } else if self.verbose || fits {
                line.extend([between, part]);
            } else {
                writeln!(out, "{line}")?;
                line = format!("{INDENT}{}{part}", between.trim_start());
            }
            is_first = false;
        }
        writeln!(out, "{line}")
    }
}

/// Writes what is known about a digest or a tag.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn answer(
    out: &mut dyn Write,
    knowledge: &Knowledge<'_>,
    answer: &Answer<'_>,
    style: Style,
) -> io::Result<()> {
    head(out, answer, style)?;
    match answer.state {
        State::Garbage => garbage::write(out, answer, style)?,
        State::Missing => {
            style.line(out, "missing: something names it, and it is not in the blob store")?;
            if answer.tags() > 0 {
                style.line(out, "The images below cannot be pulled; push them again, or restore the blob.")?;
            }
            garbage::traces(out, answer, style)?;
        }
        State::Kept => {
            style.line(out, kept(answer, knowledge).as_str())?;
            garbage::traces(out, answer, style)?;
        }
        State::Needed => {}
    }
    chains(out, knowledge, answer, style)
}

/// What it is.
fn head(out: &mut dyn Write, answer: &Answer<'_>, style: Style) -> io::Result<()> {
    if let Some(tag) = &answer.tag {
        writeln!(out, "{}", style.bold(&format!("{}:{}", tag.repository, tag.name)))?;
        let pushed = tag.pushed_at.map_or_else(|| "nobody knows when".to_owned(), time);
        match &answer.digest {
            Some(digest) => writeln!(out, "-> {digest}")?,
            None => style.line(out, "nobody knows what it points at: its current link cannot be used")?,
        }
        let verdict = match (&tag.explanation, tag.goes) {
            (Some(why), None) => format!("; stays ({why})"),
            (Some(why), Some(_)) => format!("; goes ({why})"),
            (None, _) => String::new(),
        };
        style.line(out, &format!("since {pushed}{verdict}"))?;
    } else if let Some(digest) = &answer.digest {
        writeln!(out, "{}", style.bold(&digest.to_string()))?;
    }
    if answer.digest.is_none() {
        return Ok(());
    }
    let mut text = answer.what.text();
    if let Some(size) = answer.bytes {
        text.push_str(&format!(" of {}", bytes(size)));
    }
    if let Some(at) = answer.written_at {
        text.push_str(&format!(", written {}", time(at)));
    }
    let linked = match answer.linked_in {
        0 => "linked in no repository".to_owned(),
        count => format!("linked in {}", counted(count, "repository", "repositories")),
    };
    let needed = match answer.tags() {
        0 => "no tag needs it".to_owned(),
        count => format!("{} it", counted(count, "tag needs", "tags need")),
    };
    style.line(out, &format!("{text}; {linked}, {needed}"))?;
    match &answer.problem {
        Some(why) => style.line(out, &format!("something is wrong with its blob: {why}")),
        None => Ok(()),
    }
}

fn kept(answer: &Answer<'_>, knowledge: &Knowledge<'_>) -> String {
    if answer.digest.is_none() {
        return "stays: what it may point at is not known".to_owned();
    }
    match answer.kept {
        Some(Kept::Young) => "stays: nothing needs it, but it or a link to it is younger than --min-age".to_owned(),
        Some(Kept::Refused) => {
            let why = knowledge.collection.brake.as_ref().map_or_else(String::new, ToString::to_string);
            format!("stays: gc refuses to remove anything here: {why}")
        }
        Some(Kept::Irremovable) => {
            "stays: nothing needs it, but it is not what a registry writes, or cannot be looked at".to_owned()
        }
        Some(Kept::Linked) => "stays: a link names it that cannot be removed, or may be needed".to_owned(),
        None => "stays".to_owned(),
    }
}

fn chains(out: &mut dyn Write, knowledge: &Knowledge<'_>, answer: &Answer<'_>, style: Style) -> io::Result<()> {
    let Some(chains) = answer.chains.as_ref().filter(|chains| chains.count > 0) else { return Ok(()) };
    writeln!(out)?;
    let describer = Describer::new(knowledge);
    let mut result = Ok(());
    let (mut printed, mut more) = (0, 0);
    let mut kinds = BTreeSet::new();
    let mut roots: HashSet<RootKey> = HashSet::new();
    let (mut tags, mut repositories) = (0, HashSet::new());
    let ended = chains.each(&mut |chain: Chain<'_>| {
        if printed < style.most {
            printed += 1;
            roots.insert(chain.root_key());
            kinds.insert(chain.root.kind);
            let parts = parts(knowledge, &describer, chain, style);
            result = style.broken(out, parts.iter().map(String::as_str), " -> ");
            return if result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        more += 1;
        if roots.insert(chain.root_key()) {
            tags += chain.root.tags.len() as u64;
        }
        repositories.extend(chain.root.repository);
        ControlFlow::Continue(())
    });
    result?;
    if more > 0 && ended.is_continue() {
        let of = counted(repositories.len() as u64, "repository", "repositories");
        let more = counted(more, "more", "more");
        style.line(out, &format!("and {more}: {} in {of} (--all shows them)", counted(tags, "tag", "tags")))?;
    }
    if chains.is_cut {
        style.line(out, "and more than anybody could count: indexes are nested in each other many times")?;
    }
    let notes: Vec<String> =
        kinds.into_iter().filter_map(|kind| Some(format!("{}: {}", label(kind)?, kind.text()))).collect();
    if !notes.is_empty() {
        writeln!(out)?;
    }
    notes.iter().try_for_each(|note| style.line(out, note))
}

/// What stands in brackets behind a root that is no tag.
fn label(kind: RootKind) -> Option<&'static str> {
    match kind {
        RootKind::Tag => None,
        RootKind::DamagedTag => Some("damaged tag"),
        RootKind::FormerTarget => Some("former target"),
        RootKind::Untagged => Some("untagged"),
        RootKind::Young => Some("young"),
        RootKind::Protected => Some("protected"),
        RootKind::Irremovable => Some("irremovable"),
        RootKind::Unclear => Some("unclear"),
        RootKind::Tainted => Some("tainted"),
        RootKind::OddLink => Some("odd link"),
    }
}

/// The parts of a chain, to be joined by arrows.
fn parts(knowledge: &Knowledge<'_>, describer: &Describer<'_>, chain: Chain<'_>, style: Style) -> Vec<String> {
    let root = chain.root;
    let steps = describer.steps(chain);
    let target = steps.first().map(|step| style.digest(&step.digest)).unwrap_or_default();
    let name = root.repository.map(|place| knowledge.repository_name(place)).unwrap_or_default();
    let mut begin = match (root.repository, root.tags.as_slice()) {
        (Some(place), [first, others @ ..]) => {
            let shown = if style.verbose { others.len() } else { others.len().min(TAGS - 1) };
            let mut text = format!("{name}:{}", knowledge.tag_name(place, *first));
            for &tag in &others[..shown] {
                text.push_str(&format!(", :{}", knowledge.tag_name(place, tag)));
            }
            if others.len() > shown {
                text.push_str(&format!(" and {} more", others.len() - shown));
            }
            text
        }
        (Some(_), []) => format!("{name}@{target}"),
        (None, _) => target.clone(),
    };
    if let Some(label) = label(root.kind) {
        begin.push_str(&format!(" ({label})"));
    }
    let is_told = root.tags.is_empty();
    let last = steps.len().saturating_sub(1);
    let text = |(place, step): (usize, &Step)| {
        let is_known = place == last || place == 0 && is_told;
        let digest = if is_known { String::new() } else { format!(" {}", style.digest(&step.digest)) };
        let what = step.what.text();
        match step.via {
            "subject" => format!("subject of {what}{digest}"),
            "revision-link" => format!("its revision link names {what}{digest}"),
            "layer-link" => format!("its layer link names {what}{digest}"),
            _ => format!("{what}{digest}"),
        }
    };
    std::iter::once(begin).chain(steps.iter().enumerate().map(text)).collect()
}

/// Writes what is known about a repository.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn repository(out: &mut dyn Write, it: &RepositorySummary, style: Style) -> io::Result<()> {
    writeln!(out, "{}", style.bold(&it.name))?;
    let (tags, revisions) = (counted(it.tags, "tag", "tags"), counted(it.revisions, "manifest", "manifests"));
    style.line(out, &format!("{tags}, {revisions}, {}", counted(it.layer_links, "layer link", "layer links")))?;
    if it.is_tainted {
        style.line(out, "tainted: something here could not be understood, so everything but named tags stays")?;
    }
    writeln!(out)?;
    for (why, count) in &it.tags_kept {
        let count = counted(*count, "tag stays", "tags stay");
        style.line(out, &if why == "tag" { count } else { format!("{count}: {why}") })?;
    }
    for (reason, count) in &it.tags_going {
        style.line(out, &format!("{}: {}", counted(*count, "tag goes", "tags go"), reason.name()))?;
    }
    for (kind, count) in &it.untagged_kept {
        let count = counted(*count, "more manifest stays", "more manifests stay");
        style.line(out, &format!("{count} ({}): {}", label(*kind).unwrap_or_default(), kind.text()))?;
    }
    for (reason, count) in &it.revisions_going {
        let (one, many) = match reason {
            Reason::Empty => ("folder of a deleted revision goes", "folders of deleted revisions go"),
            _ => ("manifest goes", "manifests go"),
        };
        style.line(out, &format!("{}: {}", counted(*count, one, many), reason.name()))?;
    }
    if it.layer_links_unneeded > 0 {
        let count = counted(it.layer_links_unneeded, "layer link is", "layer links are");
        style.line(out, &format!("{count} of no use to any manifest that stays here"))?;
    }
    match it.shared_with {
        0 => style.line(out, "no other repository links any of it"),
        with => style.line(
            out,
            &format!(
                "{} of its {} are linked in {} as well",
                it.shared,
                counted(it.digests, "manifest, config or layer", "manifests, configs and layers"),
                counted(with, "other repository", "other repositories")
            ),
        ),
    }
}

/// A time to the minute, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}
