//! The report as a page: one file that can be mailed, opened anywhere, and forwarded.
//!
//! # What holds for every page
//! It asks for nothing: no file beside it, no font, no address. It carries a content security policy that forbids all
//! of that, and that allows its one style and its one script by their digests (`policy.rs`); there is no attribute with
//! style or script in it. Names from the registry are data: escaped where they are text (`escape.rs`), and put into the
//! page by the script as text only.
//!
//! It is whole without its script, for mail programs and servers that forbid scripts: the treemap and the bars are
//! pictures in the file, the tables are in their best order. The script sorts and filters tables and zooms into the
//! treemap. Where styles are forbidden too, colours and text are still there.
//!
//! # What is left out
//! A page stays usable with thousands of repositories and a hundred thousand tags: the writer keeps what is largest
//! (`cut.rs`, `layout.rs`, `tables.rs`) and sums up what it leaves out, in a rectangle or a row that says how many. The
//! model ([`Page`]) can be as large as the registry.
//!
//! # Colours
//! Four colours cannot each stand out from every other as much as WCAG 2 asks for (three to one, four times over, is
//! more than lies between black and white). So each stands out from the gap around it, and has a pattern of its own.

mod chart;
mod cut;
mod escape;
mod layout;
mod model;
mod policy;
mod squarify;
mod tables;
mod treemap;
mod words;

use std::io::{self, BufWriter, Write};

use escape::Text;
use indicatif::HumanCount;
pub use model::{
    Bytes, Cell, Class, Column, ColumnKind, Fact, Image, LeftOut, Month, Node, NodeKind, Order, Page, Table, Tone,
};

/// The style of every page.
const STYLE: &str = include_str!("page.css");
/// The script of every page.
const SCRIPT: &str = include_str!("page.js");
/// How many parts of the store are in a page.
const MOST_PARTS: usize = 12_000;
/// How many bytes of their names.
const MOST_NAMES: usize = 1_000_000;

/// Writes the page.
///
/// # Errors
/// Whatever the writer says.
pub fn write(out: &mut dyn Write, page: &Page<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    head(&mut out, page)?;
    body(&mut out, page)?;
    out.flush()
}

fn head(out: &mut dyn Write, page: &Page<'_>) -> io::Result<()> {
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    let policy = policy::policy(STYLE, SCRIPT);
    writeln!(out, r#"<meta http-equiv="Content-Security-Policy" content="{policy}">"#)?;
    writeln!(out, r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#)?;
    writeln!(out, r#"<meta name="color-scheme" content="light dark">"#)?;
    writeln!(out, r#"<meta name="referrer" content="no-referrer">"#)?;
    writeln!(out, r#"<meta name="robots" content="noindex">"#)?;
    writeln!(out, r#"<meta name="generator" content="{} {}">"#, Text(page.tool.name), Text(page.tool.version))?;
    writeln!(out, "<title>{}: {}</title>", Text(&page.title), Text(&page.root))?;
    // Exactly the text that the digests are of, without a line break around it.
    writeln!(out, "<style>{STYLE}</style>\n</head>")
}

fn body(out: &mut dyn Write, page: &Page<'_>) -> io::Result<()> {
    writeln!(out, r##"<body><a class="skip" href="#main">Skip to the figures</a>"##)?;
    treemap::patterns(out)?;
    writeln!(out, "<header><h1>{}</h1>", Text(&page.title))?;
    writeln!(
        out,
        r#"<p class="about"><code>{}</code> <span>{} {} · <time datetime="{}">{}</time></span></p></header>"#,
        Text(&page.root),
        Text(page.tool.name),
        Text(&page.command),
        Text(&page.made_at),
        Text(&words::minute(&page.made_at)),
    )?;
    writeln!(out, r#"<main id="main" tabindex="-1">"#)?;
    summary(out, &page.summary)?;
    advice(out, &page.advice)?;
    for (place, table) in page.lead.iter().enumerate() {
        section(out, &tables::id_of(place), table)?;
    }
    if let Some(node) = &page.store {
        store(out, node)?;
    }
    months(out, &page.months)?;
    if !page.images.is_empty() {
        section(out, "images", &tables::images(&page.images))?;
    }
    writeln!(out, "<section>")?;
    tables::findings(out, page.findings, page.more_findings)?;
    writeln!(out, "</section>")?;
    for (place, table) in page.tables.iter().enumerate() {
        section(out, &tables::id_of(page.lead.len() + place), table)?;
    }
    writeln!(out, r#"</main><p id="status" class="unseen" role="status"></p>"#)?;
    writeln!(
        out,
        "<footer><p>{} {}. This page is one file: it loads nothing and sends nothing.</p></footer>",
        Text(page.tool.name),
        Text(page.tool.version),
    )?;
    writeln!(out, "<script>{SCRIPT}</script>\n</body>\n</html>")
}

fn section(out: &mut dyn Write, id: &str, table: &Table) -> io::Result<()> {
    writeln!(out, "<section>")?;
    tables::write(out, id, 2, table)?;
    writeln!(out, "</section>")
}

fn summary(out: &mut dyn Write, facts: &[Fact]) -> io::Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        r#"<section aria-labelledby="summary"><h2 class="unseen" id="summary">Summary</h2><dl class="facts">"#
    )?;
    for fact in facts {
        let tone = match fact.tone {
            Tone::Good => " class=\"good\"",
            Tone::Bad => " class=\"bad\"",
            Tone::Plain => "",
        };
        writeln!(out, "<div{tone}><dt>{}</dt><dd>{}</dd></div>", Text(&fact.label), Text(&fact.value))?;
    }
    writeln!(out, "</dl></section>")
}

fn advice(out: &mut dyn Write, advice: &[String]) -> io::Result<()> {
    if advice.is_empty() {
        return Ok(());
    }
    writeln!(out, r#"<section class="advice" aria-labelledby="next"><h2 id="next">What to do next</h2><ul>"#)?;
    for sentence in advice {
        writeln!(out, "<li>{}</li>", Text(sentence))?;
    }
    writeln!(out, "</ul></section>")
}

fn store(out: &mut dyn Write, store: &Node) -> io::Result<()> {
    let parts = cut::cut(store, MOST_PARTS, MOST_NAMES);
    let bytes = parts.all[0].bytes;
    writeln!(out, r#"<section id="store" aria-labelledby="where"><h2 id="where">Where the bytes are</h2>"#)?;
    if bytes.sum() == 0 {
        return writeln!(out, "<p class=\"none\">There are none: the store is empty.</p></section>");
    }
    treemap::legend(out, &bytes)?;
    treemap::pictures(out, &parts)?;
    if parts.left_out > 0 {
        let (shown, left_out) = (HumanCount(parts.all.len() as u64 - 1), HumanCount(parts.left_out));
        let those = "the others are summed up in what they are in";
        writeln!(out, r#"<p class="note">The largest {shown} parts are in this page; {those} ({left_out}).</p>"#)?;
    }
    tables::write(out, "inside", 3, &treemap::table(&parts))?;
    treemap::data(out, &parts)?;
    writeln!(out, "</section>")
}

fn months(out: &mut dyn Write, months: &[Month]) -> io::Result<()> {
    if months.is_empty() {
        return Ok(());
    }
    writeln!(out, r#"<section aria-labelledby="when"><h2 id="when">When they were pushed</h2>"#)?;
    writeln!(
        out,
        "<p class=\"note\">What is still there, by the month in which it was pushed. Shared is here \
         what several repositories need.</p>"
    )?;
    chart::picture(out, months)?;
    writeln!(out, "<details><summary>The same as a table</summary>")?;
    tables::write(out, "months", 3, &chart::table(months))?;
    writeln!(out, "</details></section>")
}

#[cfg(test)]
mod tests;
