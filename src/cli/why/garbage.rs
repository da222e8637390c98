//! Why something goes, and what is still there of whatever led to it.

use std::io::{self, Write};

use regsweep::plan::Reason;
use regsweep::report::human::counted;
use regsweep::why::{Answer, Trace, TraceKind, What};

use super::human::{Style, time};

/// Writes why it goes.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn write(out: &mut dyn Write, answer: &Answer<'_>, style: Style) -> io::Result<()> {
    let Some(reason) = answer.reason else { return Ok(()) };
    let is_tag = answer.tag.is_some();
    let why = match reason {
        Reason::Unreferenced => "no manifest that stays needs it",
        Reason::Untagged if is_tag => "what it belongs to goes, for no tag leads there",
        Reason::Untagged => "no tag, no tagged index and no subject that stays leads to it",
        Reason::Deleted => "somebody took its image out by hand",
        Reason::Expired if is_tag => "a rule lets the tag go",
        Reason::Expired => "a rule lets all tags go that led to it",
        Reason::Evicted => "it was not pulled for long from a cache that was to become smaller",
        Reason::Dangling => "it names something that is gone",
        Reason::Empty => "nothing is left of the revision but its folder",
        Reason::Stale => "nobody has finished it",
        Reason::Damaged => "it is not what its digest names",
    };
    let place = match (&answer.repository, is_tag) {
        (Some(name), false) if reason != Reason::Unreferenced => format!(" in {name}"),
        _ => String::new(),
    };
    style.line(out, &format!("garbage{place} ({}): {why}", reason.name()))?;
    if answer.chains.as_ref().is_some_and(|chains| chains.count > 0) {
        style.line(out, "Its blob stays: the chains below need it.")?;
    }
    if let Some(since) = answer.since() {
        style.line(out, &format!("Since {}, as far as the traces below say.", time(since)))?;
    }
    traces(out, answer, style)
}

/// Writes what is still there.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn traces(out: &mut dyn Write, answer: &Answer<'_>, style: Style) -> io::Result<()> {
    if answer.digest.is_none() || answer.chains.as_ref().is_some_and(|it| it.count > 0) && answer.traces.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    if answer.traces.is_empty() {
        let mut text = "Nothing in this registry refers to it, and no trace is left of anything that did.".to_owned();
        if answer.written_at.is_some() {
            text.push_str(" An upload whose manifest was never pushed looks like this.");
        }
        style.line(out, &text)?;
    }
    for trace in answer.traces.iter().take(style.most) {
        let text = text(trace, answer, style);
        style.line(out, &text)?;
    }
    let more = answer.traces.len().saturating_sub(style.most) as u64;
    if more > 0 {
        style.line(out, &format!("and {} (--all shows them)", counted(more, "more trace", "more traces")))?;
    }
    if !answer.has_all_traces {
        style.line(out, "There are too many unlinked blobs to look into all: one of them may have named it.")?;
    }
    Ok(())
}

/// `layer 2 of 3`, but `the config`.
fn named(part: &What) -> String {
    if part.places.is_empty() { format!("the {}", part.text()) } else { part.text() }
}

fn text(trace: &Trace, answer: &Answer<'_>, style: Style) -> String {
    let repository = trace.repository.as_deref().unwrap_or_default();
    let digest = style.digest(&trace.digest);
    let at = trace.at.map_or_else(|| "nobody knows when".to_owned(), time);
    let is_itself = answer.digest.as_ref() == Some(&trace.digest);
    let who = match &trace.part {
        _ if is_itself => format!("{repository}@{digest} is the manifest itself"),
        Some(part) => format!("it is {} of {repository}@{digest}", named(part)),
        None => format!("{repository}@{digest} leads to it"),
    };
    let reason = trace.reason.map(Reason::name).unwrap_or_default();
    match trace.kind {
        TraceKind::DeletedRevision => {
            format!("- {who}, whose revision link was taken out {at} (the time of its folder)")
        }
        TraceKind::GoingRevision => format!("- {who}, pushed {at}, which goes ({reason})"),
        TraceKind::GoingTag => {
            let tag = trace.tag.as_deref().unwrap_or_default();
            format!("- {repository}:{tag}, pushed {at}, points at {digest} and goes ({reason})")
        }
        TraceKind::TagHistory => {
            let tag = trace.tag.as_deref().unwrap_or_default();
            let now = trace.now.as_ref().map_or_else(|| "nobody knows where".to_owned(), |now| style.digest(now));
            format!("- {repository}:{tag} pointed at {digest} before; since {at} it points at {now}")
        }
        TraceKind::LayerLink => format!("- linked as a layer in {repository} since {at}"),
        TraceKind::UnlinkedManifest => {
            let who = match &trace.part {
                Some(part) => format!("it is {} of {digest}", named(part)),
                None => format!("{digest} leads to it"),
            };
            format!("- {who}, a manifest without a link that is still in the blob store")
        }
    }
}
