//! The treemap as it stands in the page before any script has run, and the data from which the script draws it anew.
//!
//! There are two pictures of it, one for a wide and one for a narrow window: a picture that is scaled down has letters
//! that nobody can read. Where styles count for nothing, the narrow one is hidden by an attribute.

use std::io::{self, Write};

use indicatif::HumanCount;

use super::cut::{Parts, separator};
use super::escape::{JsonText, Text, shortened};
use super::layout::{Drawn, Look, layout};
use super::model::{Bytes, Cell, Class, Column, ColumnKind, LeftOut, NodeKind, Order, Table};
use super::squarify::Rect;
use super::words::{amount, percent};
use crate::report::human;

/// The picture for a wide window.
const WIDE: Rect = Rect { x: 0.0, y: 0.0, width: 1100.0, height: 560.0 };
/// How many rectangles it has at most.
const WIDE_MOST: usize = 1500;
/// The picture for a narrow window.
const NARROW: Rect = Rect { x: 0.0, y: 0.0, width: 340.0, height: 460.0 };
/// How many rectangles it has at most.
const NARROW_MOST: usize = 400;
/// How wide a letter is taken to be, in pixels; most are narrower.
const LETTER: f64 = 6.6;
/// The same of the bold letters in the head of a frame.
const BOLD_LETTER: f64 = 7.2;
/// How long a name is at most in a picture; it is whole in the table, and where the script shows it.
const MOST_LETTERS: usize = 160;
/// How many parts the table beside the picture names.
const INSIDE: usize = 12;

/// The colour of a class where styles count for nothing, and that of its pattern. The style of the page has the same,
/// and others for the dark.
fn colours(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::Live => ("#1d5b9b", "#1d5b9b"),
        Class::Shared => ("#0a706b", "#08514d"),
        Class::Untagged => ("#8d5500", "#673e00"),
        Class::Garbage => ("#b02a20", "#7f1710"),
    }
}

/// Patterns of the classes, which everything else that is drawn refers to.
pub(super) fn patterns(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, r#"<svg class="defs" width="0" height="0" aria-hidden="true" focusable="false"><defs>"#)?;
    for class in Class::ALL {
        let (fill, line) = colours(class);
        let name = class.name();
        let lines = match class {
            Class::Live => "",
            Class::Shared => "M0 4h8",
            Class::Untagged => "M-2 2l4 -4M0 8l8 -8M6 10l4 -4",
            Class::Garbage => "M0 8l8 -8M-2 2l4 -4M6 10l4 -4M0 0l8 8M-2 6l4 4M6 -2l4 4",
        };
        write!(out, r#"<pattern id="fill-{name}" width="8" height="8" patternUnits="userSpaceOnUse">"#)?;
        write!(out, r#"<rect class="{name}" width="8" height="8" fill="{fill}"/>"#)?;
        write!(out, r#"<path class="line-{name}" d="{lines}" fill="none" stroke="{line}" stroke-width="1.5"/>"#)?;
        writeln!(out, "</pattern>")?;
    }
    writeln!(out, "</defs></svg>")
}

/// The attributes of a rectangle that is filled as this class is, with a gap to its neighbours.
pub(super) fn filled_with_gap(class: Class) -> String {
    format!(r##"fill="url(#fill-{})" stroke="#ffffff" stroke-width="1""##, class.name())
}

/// The bar of all classes, and what they mean.
pub(super) fn legend(out: &mut dyn Write, bytes: &Bytes) -> io::Result<()> {
    let all = bytes.sum();
    writeln!(
        out,
        r#"<svg class="bar" width="100%" height="16" role="img" aria-label="{}">"#,
        Text(&format!("All bytes by class: {}", amount(bytes)))
    )?;
    let mut begin = 0.0;
    for class in Class::ALL.into_iter().filter(|class| bytes.get(*class) > 0) {
        let width = bytes.get(class) as f64 / all as f64 * 100.0;
        let filled = filled_with_gap(class);
        writeln!(out, r#"<rect class="gap" x="{begin:.3}%" width="{width:.3}%" height="16" {filled}/>"#)?;
        begin += width;
    }
    writeln!(out, "</svg>\n<dl class=\"legend\">")?;
    for class in Class::ALL {
        let (name, title, size) = (class.name(), class.title(), bytes.get(class));
        write!(out, r#"<div><dt><svg width="12" height="12" aria-hidden="true" focusable="false">"#)?;
        write!(out, r##"<rect width="12" height="12" fill="url(#fill-{name})"/></svg> {title}</dt>"##)?;
        writeln!(
            out,
            r#"<dd><b title="{} bytes">{}</b> <span>{}</span> <small>{}</small></dd></div>"#,
            HumanCount(size),
            human::bytes(size),
            percent(size, all),
            class.meaning(),
        )?;
    }
    writeln!(out, "</dl>")
}

/// Both pictures.
pub(super) fn pictures(out: &mut dyn Write, parts: &Parts<'_>) -> io::Result<()> {
    writeln!(out, r#"<div id="map">"#)?;
    write!(out, r#"<div class="wide">"#)?;
    picture(out, parts, WIDE, WIDE_MOST)?;
    write!(out, r#"</div><div class="narrow" hidden>"#)?;
    picture(out, parts, NARROW, NARROW_MOST)?;
    writeln!(out, "</div></div>")
}

fn picture(out: &mut dyn Write, parts: &Parts<'_>, frame: Rect, most: usize) -> io::Result<()> {
    let label = format!("Treemap of the store, {}. The table below has the same figures.", amount(&parts.all[0].bytes));
    writeln!(
        out,
        r#"<svg class="map" viewBox="0 0 {} {}" width="100%" role="img" aria-label="{}" font-size="11">"#,
        frame.width,
        frame.height,
        Text(&label)
    )?;
    for drawn in layout(parts, frame, most) {
        rectangle(out, parts, &drawn)?;
    }
    writeln!(out, "</svg>")
}

fn rectangle(out: &mut dyn Write, parts: &Parts<'_>, drawn: &Drawn) -> io::Result<()> {
    let (name, full) = match drawn.part {
        Some(part) => (own_name(parts, part), parts.full_name(part)),
        None => (format!("{} more", drawn.count), format!("{} more", drawn.count)),
    };
    let full = shortened(&full, MOST_LETTERS);
    write!(out, "<g><title>{}: {}</title>", Text(&full), Text(&amount(&drawn.bytes)))?;
    if drawn.look == Look::Filled {
        for (class, rect) in drawn.pieces() {
            let name = class.name();
            write!(out, r##"<rect {} fill="url(#fill-{name})"/>"##, Place(rect))?;
        }
    } else {
        write!(out, r##"<rect class="frame" {} fill="#e3e6ea"/>"##, Place(drawn.rect))?;
    }
    for (line, y) in lines(&name, drawn) {
        let (class, colour) = if drawn.look == Look::Filled { ("on", "#ffffff") } else { ("head", "#1b1f24") };
        let x = drawn.rect.x + 4.0;
        write!(out, r#"<text class="{class}" x="{x:.1}" y="{y:.1}" fill="{colour}">{}</text>"#, Text(&line))?;
    }
    writeln!(out, "</g>")
}

/// What is written on a rectangle, and at which height: as much as there is room for.
fn lines(name: &str, drawn: &Drawn) -> Vec<(String, f64)> {
    let Rect { y, width, height, .. } = drawn.rect;
    let letter = if drawn.look == Look::Filled { LETTER } else { BOLD_LETTER };
    let room = ((width - 8.0) / letter).max(0.0) as usize;
    let size = human::bytes(drawn.bytes.sum());
    match drawn.look {
        Look::Frame => Vec::new(),
        Look::FrameWithHead => {
            let with_size = format!("{name}  {size}");
            let line = if with_size.chars().count() <= room { with_size } else { shortened(name, room) };
            vec![(line, y + 13.0)]
        }
        Look::Filled if room < 4 || height < 16.0 => Vec::new(),
        Look::Filled => {
            let mut lines = vec![(shortened(name, room), y + 13.0)];
            if height >= 32.0 && size.len() <= room {
                lines.push((size, y + 27.0));
            }
            lines
        }
    }
}

/// A rectangle's attributes, with a gap to its neighbours.
struct Place(Rect);

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rect { x, y, width, height } = self.0;
        let (width, height) = ((width - 1.0).max(0.5), (height - 1.0).max(0.5));
        write!(out, r#"x="{:.1}" y="{:.1}" width="{width:.1}" height="{height:.1}""#, x + 0.5, y + 0.5)
    }
}

/// The name within what it is in.
fn own_name(parts: &Parts<'_>, part: usize) -> String {
    let part = &parts.all[part];
    if part.name.is_empty() { part.kind.name().to_owned() } else { part.name.clone().into_owned() }
}

/// What is in the store, as a table.
pub(super) fn table(parts: &Parts<'_>) -> Table {
    let mut columns = vec![Column::new("Name", ColumnKind::Text), Column::new("Kind", ColumnKind::Text)];
    columns.push(Column::new("Bytes", ColumnKind::Bytes));
    columns.extend(Class::ALL.map(|class| Column::new(class.title(), ColumnKind::Bytes)));
    let cells = |bytes: &Bytes| {
        let each = Class::ALL.map(|class| Cell::Bytes(bytes.get(class)));
        std::iter::once(Cell::Bytes(bytes.sum())).chain(each).collect::<Vec<_>>()
    };
    let store = &parts.all[0];
    let is_named = |child: &usize| parts.all[*child].kind != NodeKind::Rest || parts.all[*child].count == 0;
    let (mut rows, mut rest, mut left_out) = (Vec::new(), Bytes::default(), 0);
    // A store without parts is what there is.
    let children: &[usize] = if store.children.is_empty() { &[0] } else { &store.children };
    for child in children {
        let part = &parts.all[*child];
        if rows.len() < INSIDE && is_named(child) {
            let name = parts.full_name(*child);
            let is_plain = part.name.is_empty() || part.kind == NodeKind::Rest;
            let kind = if is_plain { String::new() } else { part.kind.name().to_owned() };
            let head = [Cell::Text(name), Cell::Text(kind)];
            rows.push(head.into_iter().chain(cells(&part.bytes)).collect());
        } else {
            rest.add(part.bytes);
            left_out += if is_named(child) { 1 } else { part.count };
        }
    }
    let head = [Cell::Nothing, Cell::Nothing];
    Table {
        caption: "What is in the store".to_owned(),
        note: String::new(),
        columns,
        rows,
        sorted_by: Some((2, Order::Descending)),
        left_out: (left_out > 0)
            .then(|| LeftOut { rows: left_out, cells: head.into_iter().chain(cells(&rest)).collect() }),
    }
}

/// The parts as JSON, for the script: `[parent, kind, count, name, bytes of each class]`, where only a part without
/// parts has bytes, and zeros at the end are left out.
pub(super) fn data(out: &mut dyn Write, parts: &Parts<'_>) -> io::Result<()> {
    const KINDS: [NodeKind; 8] = [
        NodeKind::Store,
        NodeKind::Namespace,
        NodeKind::Repository,
        NodeKind::Tag,
        NodeKind::Untagged,
        NodeKind::Garbage,
        NodeKind::Shared,
        NodeKind::Rest,
    ];
    let kinds: Vec<[&str; 2]> = KINDS.iter().map(|kind| [kind.name(), separator(*kind)]).collect();
    let kinds = serde_json::to_string(&kinds)?;
    write!(out, r#"<script type="application/json" id="parts">{{"kinds":{kinds},"parts":["#)?;
    for (index, part) in parts.all.iter().enumerate() {
        let parent = part.parent.map_or(-1, |parent| i64::try_from(parent).unwrap_or(-1));
        let kind = KINDS.iter().position(|kind| *kind == part.kind).unwrap_or(0);
        let comma = if index > 0 { ",\n" } else { "\n" };
        write!(out, "{comma}[{parent},{kind},{},{}", part.count, JsonText(&part.name))?;
        if part.children.is_empty() {
            let last = Class::ALL.iter().rposition(|class| part.bytes.get(*class) > 0).map_or(0, |last| last + 1);
            for class in &Class::ALL[..last] {
                write!(out, ",{}", part.bytes.get(*class))?;
            }
        }
        write!(out, "]")?;
    }
    writeln!(out, "\n]}}</script>")
}
