//! A listing for a person: tables that fit the terminal, 80 columns where there is none.
//!
//! Nothing is ever wrapped. A table of tags that is too wide gives up what is worth least: first the time of day at
//! which an image was built, then that of pushes, then the count of tags that share a digest (the digests show it),
//! then when an image was built; and only then are the names of tags cut.

use std::io::{self, Write};

use jiff::Timestamp;
use regsweep::listing::{ListedRepository, Listing, Request, Row, Way};
use regsweep::report::human::{bytes, counted, shortened};

/// How a person wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// The heads of tables in bold, by ANSI escapes.
    pub(super) bold: bool,
    /// Everything whole, however wide it gets.
    pub(super) verbose: bool,
    /// The columns of the terminal.
    pub(super) width: usize,
}

/// What stands between two columns.
const GAP: &str = "  ";
/// What each level of a tree stands further to the right.
const INDENT: &str = "  ";
/// How many hex digits of a digest are shown.
const DIGITS: usize = 12;
/// A column gives way before the name of a tag is cut to less than this.
const ENOUGH_FOR_A_TAG: usize = 20;
/// Names are not cut to less than this, even if the table gets wider than the terminal.
const LEAST: usize = 12;
/// Nor are those far down in a tree.
const FEWEST: usize = 8;

/// Writes it.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn write(out: &mut dyn Write, listing: &Listing, request: &Request, style: Style) -> io::Result<()> {
    if listing.repositories.is_empty() {
        return writeln!(out, "no repositories");
    }
    if !listing.has_manifests {
        return repositories(out, &listing.repositories, style);
    }
    // Whoever has written the name knows it.
    let named = request.pattern.as_ref().filter(|pattern| pattern.is_name()).map(|pattern| pattern.repository());
    let is_known = listing.repositories.iter().all(|repository| named == Some(&*repository.name));
    let page = Page { repositories: &listing.repositories, is_known, style };
    // Twice over the tree: its lines are not kept.
    let mut widths = Widths::of_heads();
    let mut is_empty = true;
    page.each(&mut |line| {
        if let Line::Row(cells) = line {
            widths.take(&cells);
            is_empty = false;
        }
        Ok(())
    })?;
    widths.fit(style);
    if !is_empty {
        writeln!(out, "{}", bold(&widths.head(), style))?;
    }
    page.each(&mut |line| match line {
        Line::Row(cells) => writeln!(out, "{}", widths.line(&cells, style)),
        Line::Title(depth, text) => writeln!(out, "{}{text}", INDENT.repeat(depth)),
    })
}

fn repositories(out: &mut dyn Write, repositories: &[ListedRepository], style: Style) -> io::Result<()> {
    let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let row = |it: &ListedRepository| {
        let size = match it.bytes {
            Some(size) if it.is_whole => bytes(size),
            Some(size) => format!(">{}", bytes(size)),
            None => "?".to_owned(),
        };
        [count(it.tags), count(it.revisions), time(it.newest_push, true), size]
    };
    let heads = ["TAGS", "REVISIONS", "PUSHED (UTC)", "SIZE"].map(str::to_owned);
    let mut widths = heads.each_ref().map(|head| head.len());
    let mut names = "REPOSITORY".len();
    for it in repositories {
        names = names.max(it.name.chars().count());
        for (width, cell) in widths.iter_mut().zip(row(it)) {
            *width = cell.len().max(*width);
        }
    }
    let others: usize = widths.iter().map(|width| GAP.len() + width).sum();
    if !style.verbose {
        names = names.min(style.width.saturating_sub(others).max(LEAST));
    }
    let line = |name: &str, [tags, revisions, pushed, size]: &[String; 4]| {
        let [a, b, c, d] = widths;
        let name = shortened(name, names);
        let padding = " ".repeat(names - name.chars().count());
        format!("{name}{padding}{GAP}{tags:>a$}{GAP}{revisions:>b$}{GAP}{pushed:<c$}{GAP}{size:>d$}")
    };
    writeln!(out, "{}", bold(&line("REPOSITORY", &heads), style))?;
    repositories.iter().try_for_each(|it| writeln!(out, "{}", line(&it.name, &row(it))))
}

/// What a table of tags shows beside what every one shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    /// Whether the time of a push has hours and minutes.
    pushed: bool,
    /// Whether it is shown when an image was built, and whether with hours and minutes.
    created: Option<bool>,
    shared: bool,
    /// How many spaces stand between two columns.
    gap: usize,
}

/// From the widest to the narrowest.
const COLUMNS: [Columns; 8] = [
    Columns { pushed: true, created: Some(true), shared: true, gap: 2 },
    Columns { pushed: true, created: Some(false), shared: true, gap: 2 },
    Columns { pushed: false, created: Some(false), shared: true, gap: 2 },
    Columns { pushed: false, created: Some(false), shared: true, gap: 1 },
    Columns { pushed: false, created: Some(false), shared: false, gap: 2 },
    Columns { pushed: true, created: None, shared: false, gap: 2 },
    Columns { pushed: false, created: None, shared: false, gap: 2 },
    Columns { pushed: false, created: None, shared: false, gap: 1 },
];

/// The cells of one line.
struct Cells {
    depth: usize,
    tag: String,
    digest: String,
    kind: &'static str,
    platforms: String,
    pushed: Option<Timestamp>,
    created: Option<Timestamp>,
    size: String,
    shared: String,
}

/// How wide the columns are.
#[derive(Debug)]
struct Widths {
    tag: usize,
    digest: usize,
    kind: usize,
    platforms: usize,
    size: usize,
    shared: usize,
    columns: Columns,
}

/// One line.
enum Line<'a> {
    Row(Cells),
    /// What stands above others, so far to the right.
    Title(usize, &'a str),
}

type Visit<'a> = dyn FnMut(Line<'_>) -> io::Result<()> + 'a;

/// Tables of tags, all as wide.
struct Page<'a> {
    repositories: &'a [ListedRepository],
    /// Whether the name of the repository need not be said.
    is_known: bool,
    style: Style,
}

impl Page<'_> {
    /// Goes over all lines in their order.
    fn each(&self, visit: &mut Visit<'_>) -> io::Result<()> {
        let depth = usize::from(!self.is_known);
        let top = Way::default();
        for repository in self.repositories {
            if !self.is_known {
                visit(Line::Title(0, &repository.name))?;
            }
            // What could not be listed is said on standard error, and is not nothing.
            if repository.manifests.is_empty() && repository.about_gone.is_empty() && repository.tags.is_some() {
                visit(Line::Title(depth, &nothing_in(repository)))?;
            }
            for row in &repository.manifests {
                self.row(repository, row, &top, depth, visit)?;
            }
            if !repository.about_gone.is_empty() {
                visit(Line::Title(depth, "<subject gone>"))?;
            }
            for row in &repository.about_gone {
                self.row(repository, row, &top, depth + 1, visit)?;
            }
        }
        Ok(())
    }

    fn row(
        &self,
        repository: &ListedRepository,
        row: &Row,
        way: &Way<'_>,
        depth: usize,
        visit: &mut Visit<'_>,
    ) -> io::Result<()> {
        let is_listed = way.length() == 0 && row.subject.is_none();
        visit(Line::Row(Cells::of(row, depth, is_listed, self.style)))?;
        let Some((digest, below)) = repository.below(row, way) else { return Ok(()) };
        let way = way.to(digest);
        let rows = below.children.iter().chain(&below.referrers);
        rows.into_iter().try_for_each(|row| self.row(repository, row, &way, depth + 1, visit))
    }
}

/// What is said of a repository of which nothing is shown.
fn nothing_in(repository: &ListedRepository) -> String {
    match repository.untagged_revisions {
        Some(0) | None => "no tags".to_owned(),
        Some(count) => format!("no tags; --untagged shows {}", counted(count, "manifest", "manifests")),
    }
}

impl Cells {
    fn of(row: &Row, depth: usize, is_listed: bool, style: Style) -> Cells {
        let digest = match &row.digest {
            Some(digest) if style.verbose => digest.to_string(),
            Some(digest) => digest.hex().chars().take(DIGITS).collect(),
            None => "-".to_owned(),
        };
        let platforms = match row.platforms.as_slice() {
            [] => "-".to_owned(),
            all if style.verbose => all.join(","),
            [one] => one.to_string(),
            [first, others @ ..] => format!("{first} +{}", others.len()),
        };
        Cells {
            depth,
            tag: label(row, is_listed),
            digest,
            kind: row.kind.name(),
            platforms,
            pushed: row.pushed,
            created: row.created,
            size: row.bytes.map_or_else(|| "?".to_owned(), bytes),
            shared: if row.shared_with > 0 { row.shared_with.to_string() } else { String::new() },
        }
    }
}

/// The name of a line: the tag, or in angle brackets what there is instead.
fn label(row: &Row, is_listed: bool) -> String {
    if let Some(tag) = &row.tag {
        return tag.to_string();
    }
    match (&row.artifact_type, row.platforms.as_slice()) {
        _ if is_listed => "<untagged>".to_owned(),
        (Some(of), _) => format!("<{}>", of.strip_prefix("application/").unwrap_or(of)),
        (None, [one]) => one.to_string(),
        (None, _) => format!("<{}>", row.kind.name()),
    }
}

impl Widths {
    fn of_heads() -> Widths {
        Widths {
            tag: "TAG".len(),
            digest: "DIGEST".len(),
            kind: "KIND".len(),
            platforms: "PLATFORMS".len(),
            size: "SIZE".len(),
            shared: "SHARED".len(),
            columns: COLUMNS[0],
        }
    }

    fn take(&mut self, cells: &Cells) {
        for (width, text) in [
            (&mut self.digest, cells.digest.as_str()),
            (&mut self.kind, cells.kind),
            (&mut self.platforms, &cells.platforms),
            (&mut self.size, &cells.size),
            (&mut self.shared, &cells.shared),
        ] {
            *width = text.chars().count().max(*width);
        }
        self.tag = (cells.depth * INDENT.len() + cells.tag.chars().count()).max(self.tag);
    }

    /// Chooses what is shown, and how wide names may be.
    fn fit(&mut self, style: Style) {
        if style.verbose {
            return;
        }
        let others = |columns: &Columns| self.line_without_tag(*columns);
        let fits = |columns: &&Columns| others(columns) + self.tag.min(ENOUGH_FOR_A_TAG) <= style.width;
        let columns = *COLUMNS.iter().find(fits).unwrap_or(&COLUMNS[COLUMNS.len() - 1]);
        self.tag = self.tag.min(style.width.saturating_sub(others(&columns)).max(LEAST));
        self.columns = columns;
    }

    /// How wide all of a line is but the name, with the gap behind that.
    fn line_without_tag(&self, columns: Columns) -> usize {
        let mut widths = vec![self.digest, self.kind, self.platforms, time_width(columns.pushed), self.size];
        widths.extend(columns.created.map(time_width));
        widths.extend(columns.shared.then_some(self.shared));
        widths.iter().map(|width| columns.gap + width).sum()
    }

    fn head(&self) -> String {
        let time = |name: &str, is_whole: bool| if is_whole { format!("{name} (UTC)") } else { name.to_owned() };
        let created = self.columns.created.map(|is_whole| time("CREATED", is_whole));
        let pushed = time("PUSHED", self.columns.pushed);
        self.joined("TAG", ["DIGEST", "KIND", "PLATFORMS", &pushed], created.as_deref(), "SIZE", "SHARED")
    }

    fn line(&self, cells: &Cells, style: Style) -> String {
        let indent = INDENT.repeat(cells.depth);
        let room = if style.verbose { usize::MAX } else { self.tag.saturating_sub(indent.len()).max(FEWEST) };
        let tag = format!("{indent}{}", cut(&cells.tag, room));
        let pushed = time(cells.pushed, self.columns.pushed);
        let created = self.columns.created.map(|is_whole| time(cells.created, is_whole));
        let fixed = [&*cells.digest, cells.kind, &cells.platforms, &pushed];
        self.joined(&tag, fixed, created.as_deref(), &cells.size, &cells.shared)
    }

    fn joined(&self, tag: &str, fixed: [&str; 4], created: Option<&str>, size: &str, shared: &str) -> String {
        let gap = " ".repeat(self.columns.gap);
        let mut line = padded(tag, self.tag);
        let widths = [self.digest, self.kind, self.platforms, time_width(self.columns.pushed)];
        for (text, width) in fixed.into_iter().zip(widths) {
            line.extend([gap.as_str(), &padded(text, width)]);
        }
        if let (Some(created), Some(is_whole)) = (created, self.columns.created) {
            line.extend([gap.as_str(), &padded(created, time_width(is_whole))]);
        }
        line.push_str(&format!("{gap}{size:>0$}", self.size));
        if self.columns.shared {
            line.push_str(&format!("{gap}{shared:>0$}", self.shared));
        }
        line.trim_end().to_owned()
    }
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())))
}

fn time_width(is_whole: bool) -> usize {
    if is_whole { "2026-11-21 14:05".len() } else { "2026-11-21".len() }
}

fn time(time: Option<Timestamp>, is_whole: bool) -> String {
    let Some(time) = time else { return "-".to_owned() };
    time.strftime(if is_whole { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d" }).to_string()
}

/// A name that is too long loses its middle: versions differ in the beginning, variants in the end.
fn cut(text: &str, width: usize) -> String {
    const DOTS: &str = "...";
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(DOTS.len());
    let tail = kept / 3;
    let head: String = text.chars().take(kept - tail).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}{DOTS}{tail}")
}

fn bold(text: &str, style: Style) -> String {
    if style.bold { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_tag_loses_its_middle() {
        for (text, width, expected) in [
            ("v1.2.3", 6, "v1.2.3"),
            ("1.2.3-rc.1-alpine", 12, "1.2.3-...ine"),
            ("sha256-0123456789abcdef.sig", 16, "sha256-01....sig"),
            ("äöüäöüäöüäöü", 9, "äöüä...öü"),
        ] {
            assert_eq!(cut(text, width), expected);
            assert!(cut(text, width).chars().count() <= width);
        }
    }

    #[test]
    fn times() {
        let at: Timestamp = "2026-11-21T14:05:59Z".parse().unwrap();
        assert_eq!(time(Some(at), true), "2026-11-21 14:05");
        assert_eq!(time(Some(at), false), "2026-11-21");
        assert_eq!(time(None, true), "-");
        let old: Timestamp = "0001-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(time(Some(old), true), "0001-01-01 00:00");
        for is_whole in [true, false] {
            assert_eq!(time(Some(at), is_whole).len(), time_width(is_whole));
        }
    }

    /// What is given up where, for a table of images for one platform.
    #[test]
    fn a_table_fits() {
        for (tag, width, columns, names) in [
            (6, 200, 0, 6),
            (6, 95, 0, 6),
            (6, 94, 1, 6),
            (6, 83, 2, 6),
            (6, 80, 3, 6),
            (10, 80, 3, 10),
            (11, 80, 4, 11),
            (13, 80, 5, 13),
            (16, 80, 5, 16),
            (75, 80, 6, 23),
            (75, 76, 7, 24),
            (75, 100, 2, 23),
            (75, 20, 7, LEAST),
        ] {
            let mut widths = Widths::of_heads();
            (widths.tag, widths.digest, widths.kind, widths.platforms, widths.size) = (tag, 12, 5, 11, 9);
            widths.fit(Style { bold: false, verbose: false, width });
            let chosen = COLUMNS.iter().position(|columns| *columns == widths.columns);
            assert_eq!((chosen, widths.tag), (Some(columns), names), "{tag} in {width}");
            assert!(width < 60 || widths.head().chars().count() <= width, "{tag} in {width}");
        }
    }
}
