//! Where the bytes are, for a person: a table with a bar for each row, 80 columns where there is no terminal.
//!
//! Nothing is ever wrapped. A bar is as long as the total is large; its dark part is what is exclusive, its light part
//! what is shared. The bars get what room is left, and the names are cut before the bars are.

use std::io::{self, Write};

use regsweep::plan::BlobTotals;
use regsweep::report::human::{bytes, counted, shortened};

use super::rows::{Kind, Row, Rows, cut_to};
use super::{Named, Trash};

/// How a person wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// The heads of tables in bold, by ANSI escapes.
    pub(super) bold: bool,
    /// Whether the bars are made of block characters.
    pub(super) has_blocks: bool,
    /// Everything whole, however wide it gets.
    pub(super) verbose: bool,
    /// What files take on the disk.
    pub(super) disk: bool,
    /// The columns of the terminal.
    pub(super) width: usize,
    /// How many rows there are at the most.
    pub(super) top: Option<usize>,
}

/// What stands between two columns.
const GAP: &str = "  ";
/// What tags stand further to the right.
const INDENT: &str = "  ";
/// Bars are at least so long, and at most.
const SHORTEST_BAR: usize = 8;
const LONGEST_BAR: usize = 40;
/// Names are not cut to less than this.
const LEAST: usize = 16;

/// Whether the terminal shows block characters: the locale says UTF-8, and nobody has asked for anything simpler.
pub(super) fn has_blocks() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    !is_dumb && (locale.contains("utf-8") || locale.contains("utf8"))
}

/// Writes it.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn write(out: &mut dyn Write, rows: &Rows<'_>, trash: Option<Trash>, style: Style) -> io::Result<()> {
    let page = Page { rows: *rows, style };
    let listed = rows.rows();
    // What only one row has to tell needs no column.
    let has_untagged = listed.iter().any(|row| row.untagged.count > 0);
    let has_garbage = listed.iter().any(|row| row.garbage.count > 0);
    let listed = cut_to(listed, style.top);
    if listed.is_empty() {
        writeln!(out, "no repositories")?;
    } else {
        page.table(out, &listed, has_untagged, has_garbage)?;
    }
    match rows.named {
        Some(named) => page.freed(out, named),
        None => {
            page.sum(out)?;
            page.sentences(out, trash)
        }
    }
}

struct Page<'a> {
    rows: Rows<'a>,
    style: Style,
}

/// The cells of one line.
struct Line {
    name: String,
    depth: usize,
    sizes: Vec<String>,
    exclusive: u64,
    all: Option<u64>,
}

impl Page<'_> {
    fn size(&self, size: BlobTotals) -> u64 {
        if self.style.disk { size.disk_bytes } else { size.bytes }
    }

    fn cell(&self, size: BlobTotals) -> String {
        match self.size(size) {
            0 if size.count == 0 => "-".to_owned(),
            size => bytes(size),
        }
    }

    fn table(&self, out: &mut dyn Write, rows: &[Row<'_>], untagged: bool, garbage: bool) -> io::Result<()> {
        let Style { verbose, width, .. } = self.style;
        let mut heads = vec!["TOTAL", "EXCLUSIVE"];
        heads.extend(verbose.then_some("SHARED"));
        heads.extend(untagged.then_some("UNTAGGED"));
        heads.extend(garbage.then_some("GARBAGE"));
        let mut lines = Vec::new();
        self.lines(rows, 0, (untagged, garbage), &mut lines);
        let head = match rows.iter().map(|row| row.kind).find(|kind| !matches!(kind, Kind::Repository | Kind::More(_)))
        {
            Some(_) => "NAME",
            None => "REPOSITORY",
        };
        let mut widths: Vec<usize> = heads.iter().map(|head| head.len()).collect();
        let mut names = head.len();
        for line in &lines {
            names = names.max(INDENT.len() * line.depth + line.name.chars().count());
            for (width, cell) in widths.iter_mut().zip(&line.sizes) {
                *width = cell.len().max(*width);
            }
        }
        let sizes: usize = widths.iter().map(|width| GAP.len() + width).sum();
        let room = width.saturating_sub(sizes + GAP.len());
        if !verbose {
            names = names.min(room.saturating_sub(SHORTEST_BAR).max(LEAST));
        }
        let bar = room.saturating_sub(names).clamp(SHORTEST_BAR, LONGEST_BAR);
        let put = |name: &str, sizes: &[String]| {
            let mut text = format!("{name}{}", " ".repeat(names.saturating_sub(name.chars().count())));
            for (cell, width) in sizes.iter().zip(&widths) {
                text.push_str(&format!("{GAP}{cell:>0$}", *width));
            }
            text
        };
        let heads: Vec<String> = heads.into_iter().map(str::to_owned).collect();
        let head = put(head, &heads);
        writeln!(out, "{}", if self.style.bold { format!("\x1b[1m{head}\x1b[0m") } else { head })?;
        let largest = lines.iter().filter_map(|line| line.all).max().unwrap_or(0);
        for line in &lines {
            let indent = INDENT.repeat(line.depth);
            let name = if verbose { line.name.clone() } else { shortened(&line.name, names - indent.len()) };
            let text = put(&format!("{indent}{name}"), &line.sizes);
            let bar = line.all.map_or(String::new(), |all| self.bar(line.exclusive, all, largest, bar));
            writeln!(out, "{}", format!("{text}{GAP}{bar}").trim_end())?;
        }
        Ok(())
    }

    fn lines(&self, rows: &[Row<'_>], depth: usize, (untagged, garbage): (bool, bool), lines: &mut Vec<Line>) {
        for row in rows {
            let mut sizes = vec![row.total.map_or(String::new(), |total| self.cell(total)), self.cell(row.exclusive)];
            if self.style.verbose {
                sizes.push(row.shared().map_or(String::new(), |shared| self.cell(shared)));
            }
            let is_node = matches!(row.kind, Kind::Namespace | Kind::Repository | Kind::More(_));
            for (is_shown, size) in [(untagged, row.untagged), (garbage, row.garbage)] {
                if is_shown {
                    sizes.push(if is_node || size.count > 0 { self.cell(size) } else { String::new() });
                }
            }
            lines.push(Line {
                name: self.name(row, depth, rows),
                depth,
                sizes,
                exclusive: self.size(row.exclusive),
                all: row.total.map(|total| self.size(total)),
            });
            self.lines(&row.below, depth + 1, (untagged, garbage), lines);
        }
    }

    fn name(&self, row: &Row<'_>, depth: usize, beside: &[Row<'_>]) -> String {
        match (row.kind, row.tag) {
            (Kind::Namespace, _) => format!("{}/", row.name),
            (Kind::Tag, Some(tag)) if depth == 0 => format!("{}:{tag}", row.name),
            (Kind::Tag, Some(tag)) if row.same > 0 => format!("{tag} (+{})", row.same),
            (Kind::Tag, Some(tag)) => tag.to_owned(),
            (Kind::Untagged, _) => "<untagged>".to_owned(),
            (Kind::Common, _) => "<shared by these>".to_owned(),
            (Kind::Kept, _) => "<kept, damaged>".to_owned(),
            (Kind::More(count), _) => {
                let is_of_tags = beside.iter().any(|row| row.kind == Kind::Tag);
                format!("and {count} more{}", if is_of_tags { " tags" } else { "" })
            }
            (Kind::Repository | Kind::Tag, _) => row.name.to_owned(),
        }
    }

    /// Something there is never no bar at all.
    fn bar(&self, exclusive: u64, all: u64, largest: u64, width: usize) -> String {
        let scaled = |size: u64| -> usize {
            let cells = (u128::from(size) * width as u128).div_ceil(u128::from(largest.max(1)));
            usize::try_from(cells).unwrap_or(width).min(width)
        };
        let length = scaled(all);
        let dark = match scaled(exclusive) {
            dark if exclusive < all && dark >= length && length > 1 => length - 1,
            dark => dark.min(length),
        };
        let (own, shared) = if self.style.has_blocks { ('\u{2588}', '\u{2591}') } else { ('#', '-') };
        let mut bar = String::new();
        bar.extend(std::iter::repeat_n(own, dark));
        bar.extend(std::iter::repeat_n(shared, length - dark));
        bar
    }

    /// What all of these names together are worth.
    fn freed(&self, out: &mut dyn Write, named: &Named) -> io::Result<()> {
        let Ok(freed) = &named.freed else { return Ok(()) };
        let what = match named.selected.len() {
            1 => "removing it".to_owned(),
            count => format!("removing these {count}"),
        };
        let blobs = counted(freed.count, "blob", "blobs");
        writeln!(out, "\n{what} frees {} ({blobs}) with the next gc", bytes(self.size(*freed)))
    }

    fn sum(&self, out: &mut dyn Write) -> io::Result<()> {
        let usage = self.rows.usage;
        let common = self.rows.common();
        let other = usage.other;
        let exclusive = [usage.all_garbage(), common, other, usage.unknown];
        let rest = exclusive.into_iter().fold(BlobTotals::default(), |sum, it| sum + it);
        let listed = BlobTotals {
            count: usage.blobs.count.saturating_sub(rest.count),
            bytes: usage.blobs.bytes.saturating_sub(rest.bytes),
            disk_bytes: usage.blobs.disk_bytes.saturating_sub(rest.disk_bytes),
        };
        let mut lines = vec![("exclusive", listed, ""), ("shared between them", common, "")];
        let garbage = usage.all_garbage();
        let frees = if garbage.count > 0 { "`regsweep gc` frees it" } else { "" };
        lines.push(("garbage", garbage, frees));
        if other.count > 0 {
            lines.push(("kept for other reasons", other, "odd or symbolic links"));
        }
        if usage.unknown.count > 0 {
            lines.push(("nobody knows", usage.unknown, "not all could be listed"));
        }
        lines.push(("all blobs", usage.blobs, ""));
        let size = |size: BlobTotals| bytes(self.size(size));
        let sizes = lines.iter().map(|(_, bytes, _)| size(*bytes).len()).max().unwrap_or(0);
        let names = lines.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        writeln!(out)?;
        for (name, bytes, hint) in &lines {
            let blobs = counted(bytes.count, "blob", "blobs");
            let line = format!("{name:names$}{GAP}{:>sizes$}{GAP}{blobs:<14}{GAP}{hint}", size(*bytes));
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// The few things that are most worth knowing.
    fn sentences(&self, out: &mut dyn Write, trash: Option<Trash>) -> io::Result<()> {
        let usage = self.rows.usage;
        let mut lines = Vec::new();
        let contents = || usage.store.walk().filter_map(|node| node.repository.as_deref());
        let tainted = contents().filter(|it| it.is_tainted).count() as u64;
        // In a damaged repository they stay, and where gc refuses all of it does.
        let untagged: u64 = contents().filter(|it| !it.is_tainted).map(|it| it.untagged_manifests).sum();
        if self.size(usage.store.untagged) > 0 && usage.brake.is_none() {
            lines.push(format!(
                "{} {} {}: `regsweep gc --delete-untagged`",
                counted(untagged, "untagged manifest", "untagged manifests"),
                if untagged == 1 { "holds" } else { "hold" },
                bytes(self.size(usage.store.untagged)),
            ));
        }
        if let Some(&(node, contents, image)) = usage.largest_images(1).first() {
            let first = image.tags.first().map_or("", |&tag| &contents.tags[tag as usize].name);
            let more = if image.tags.len() > 1 { format!(" (+{})", image.tags.len() - 1) } else { String::new() };
            let name = format!("{}:{first}{more}", node.name);
            let sizes = [image.exclusive, image.total].map(|size| bytes(self.size(size)));
            let what = format!("most to itself: {} (of {}) in ", sizes[0], sizes[1]);
            let room = if self.style.verbose { usize::MAX } else { self.style.width.saturating_sub(what.len()) };
            lines.push(format!("{what}{}", shortened(&name, room.max(LEAST))));
        }
        if usage.uploads.count > 0 {
            lines.push(format!(
                "{} in progress: {}, in no figure above",
                counted(usage.uploads.count, "upload", "uploads"),
                bytes(usage.uploads.bytes)
            ));
        }
        let trash = trash.unwrap_or_default();
        let is_one = trash.runs == 1;
        let kept = format!(
            "{} {} {} in {} trash, in no figure above: `regsweep trash list`",
            counted(trash.runs, "run", "runs"),
            if is_one { "keeps" } else { "keep" },
            bytes(trash.bytes),
            if is_one { "its" } else { "their" },
        );
        lines.extend((trash.runs > 0).then_some(kept));
        let unfinished = counted(trash.unfinished, "unfinished run has", "unfinished runs have");
        lines.extend((trash.unfinished > 0).then(|| format!("{unfinished} something in the trash: `regsweep runs`")));
        if tainted > 0 {
            let count = counted(tainted, "repository is", "repositories are");
            lines.push(format!("{count} damaged: gc keeps everything there (--tags shows it)"));
        }
        if !lines.is_empty() {
            writeln!(out)?;
        }
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}
