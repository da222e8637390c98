//! Tables, cut to what a page can hold. What is left out is one row at the foot that sums it up.

use std::borrow::Cow;
use std::io::{self, Write};

use indicatif::HumanCount;

use super::escape::{Text, weight};
use super::model::{Cell, Column, ColumnKind, Image, LeftOut, Order, Table};
use super::words::minute;
use crate::finding::{Finding, Severity};
use crate::report::human;

/// How many rows a table has at most.
pub(super) const MOST_ROWS: usize = 1000;
/// How many findings are shown at most.
pub(super) const MOST_FINDINGS: usize = 500;
/// How many bytes of text a table has at most: names can be long, and a page is mailed.
const MOST_TEXT: usize = 250_000;

/// A table that is ready to be written.
struct Ready<'a> {
    table: &'a Table,
    rows: &'a [Vec<Cell>],
    left_out: Option<LeftOut>,
}

impl Ready<'_> {
    /// Cuts a table to so many rows.
    fn of(table: &Table, most: usize) -> Ready<'_> {
        let mut text = 0;
        let mut fits = |row: &Vec<Cell>| {
            text += row.iter().map(|cell| if let Cell::Text(text) = cell { weight(text) } else { 0 }).sum::<usize>();
            text <= MOST_TEXT
        };
        let shown = table.rows.iter().take(most).take_while(|row| fits(row)).count();
        let (rows, others) = table.rows.split_at(shown);
        if others.is_empty() && table.left_out.is_none() {
            return Ready { table, rows, left_out: None };
        }
        let known = table.left_out.clone().unwrap_or(LeftOut { rows: 0, cells: Vec::new() });
        let sum = |place: usize, column: &Column| {
            let others = others.iter().filter_map(|row| row.get(place));
            let number = others.chain(known.cells.get(place)).fold(0_u64, |sum, cell| match cell {
                Cell::Count(number) | Cell::Bytes(number) => sum.saturating_add(*number),
                Cell::Nothing | Cell::Text(_) | Cell::Time(_) => sum,
            });
            match column.kind {
                ColumnKind::Count if column.adds_up => Cell::Count(number),
                ColumnKind::Bytes if column.adds_up => Cell::Bytes(number),
                _ => Cell::Nothing,
            }
        };
        let cells = table.columns.iter().enumerate().map(|(place, column)| sum(place, column)).collect();
        let left_out = LeftOut { rows: known.rows.saturating_add(others.len() as u64), cells };
        Ready { table, rows, left_out: Some(left_out) }
    }

    /// How many rows there are, in words.
    fn counted(&self) -> String {
        let shown = self.rows.len() as u64;
        match self.left_out.as_ref().map_or(0, |left_out| left_out.rows) {
            0 => human::counted(shown, "row", "rows"),
            left_out => format!(
                "the first {} of {}",
                HumanCount(shown),
                human::counted(shown.saturating_add(left_out), "row", "rows")
            ),
        }
    }
}

/// Writes a table below a heading of this level; `id` is unique in the page.
pub(super) fn write(out: &mut dyn Write, id: &str, level: u8, table: &Table) -> io::Result<()> {
    write_up_to(out, id, level, table, MOST_ROWS)
}

fn write_up_to(out: &mut dyn Write, id: &str, level: u8, table: &Table, most: usize) -> io::Result<()> {
    let ready = Ready::of(table, most);
    let caption = Text(&table.caption);
    writeln!(out, r#"<div class="tabled" id="{id}"><div class="above"><h{level} id="{id}-name">{caption}</h{level}>"#)?;
    let is_empty = ready.rows.is_empty() && ready.left_out.is_none();
    let rows = if is_empty { "none".to_owned() } else { ready.counted() };
    writeln!(out, r#"<p class="rows">{rows}</p></div>"#)?;
    if !table.note.is_empty() {
        writeln!(out, "<p class=\"note\">{}</p>", Text(&table.note))?;
    }
    if is_empty {
        return writeln!(out, "</div>");
    }
    writeln!(out, r#"<div class="scroll" role="region" aria-labelledby="{id}-name" tabindex="0"><table>"#)?;
    writeln!(out, r#"<caption class="unseen">{caption}, {}</caption><thead><tr>"#, ready.counted())?;
    for (place, column) in table.columns.iter().enumerate() {
        let sorted = match table.sorted_by {
            Some((by, Order::Ascending)) if by == place => r#" aria-sort="ascending""#,
            Some((by, Order::Descending)) if by == place => r#" aria-sort="descending""#,
            _ => "",
        };
        writeln!(out, r#"<th scope="col"{}{sorted}>{}</th>"#, class_of(column.kind), Text(&column.name))?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for row in ready.rows {
        write!(out, "<tr>")?;
        cells(out, &table.columns, row)?;
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody>")?;
    if let Some(left_out) = &ready.left_out {
        let mut row = left_out.cells.clone();
        if let Some(first) = row.first_mut() {
            *first = Cell::Text(format!("{} more", HumanCount(left_out.rows)));
        }
        write!(out, "<tfoot><tr>")?;
        cells(out, &ready.table.columns, &row)?;
        writeln!(out, "</tr></tfoot>")?;
    }
    writeln!(out, "</table></div></div>")
}

fn class_of(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "",
        ColumnKind::Count | ColumnKind::Bytes => r#" class="number""#,
        ColumnKind::Time => r#" class="time""#,
    }
}

/// The cells of a row; the first one is its heading.
fn cells(out: &mut dyn Write, columns: &[Column], row: &[Cell]) -> io::Result<()> {
    for (place, column) in columns.iter().enumerate() {
        let cell = row.get(place).unwrap_or(&Cell::Nothing);
        // What is nothing stands back behind what is something.
        let is_zero = matches!(cell, Cell::Count(0) | Cell::Bytes(0));
        let class = if is_zero { r#" class="number zero""# } else { class_of(column.kind) };
        let end = if place == 0 { "th" } else { "td" };
        let begin = if place == 0 { r#"th scope="row""# } else { "td" };
        match cell {
            Cell::Nothing => write!(out, "<{begin}{class}></{end}>")?,
            Cell::Text(text) => write!(out, "<{begin}{class}>{}</{end}>", Text(text))?,
            Cell::Count(count) => write!(out, r#"<{begin}{class} data-v="{count}">{}</{end}>"#, HumanCount(*count))?,
            Cell::Bytes(bytes) => write!(out, r#"<{begin}{class} data-v="{bytes}">{}</{end}>"#, human::bytes(*bytes))?,
            Cell::Time(time) => {
                let (whole, short) = (Text(time), minute(time));
                write!(out, r#"<{begin}{class} data-v="{whole}">{}</{end}>"#, Text(&short))?;
            }
        }
    }
    Ok(())
}

/// The largest exclusive images, as a table.
pub(super) fn images(images: &[Image]) -> Table {
    let has_shared_with = images.iter().any(|image| image.shared_with.is_some());
    let mut columns = vec![
        Column::new("Image", ColumnKind::Text),
        Column::new("Exclusive", ColumnKind::Bytes),
        // What several images share is in the total of each of them.
        Column::new("Total", ColumnKind::Bytes).without_sum(),
        Column::new("Pushed", ColumnKind::Time),
    ];
    if has_shared_with {
        columns.push(Column::new("Shares with", ColumnKind::Count).without_sum());
    }
    let row = |image: &Image| {
        let mut row = vec![Cell::Text(image.name.clone()), Cell::Bytes(image.exclusive), Cell::Bytes(image.total)];
        row.push(image.pushed_at.clone().map_or(Cell::Nothing, Cell::Time));
        if has_shared_with {
            row.push(image.shared_with.map_or(Cell::Nothing, Cell::Count));
        }
        row
    };
    Table {
        caption: "Largest exclusive images".to_owned(),
        note: "Exclusive is what nothing else needs: what taking out the image would free.".to_owned(),
        columns,
        rows: images.iter().map(row).collect(),
        sorted_by: Some((1, Order::Descending)),
        left_out: None,
    }
}

/// How many findings of each severity there are, in words.
fn counted_findings(findings: &[Finding], more: u64) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let mut counts: Vec<String> = [
        (of(Severity::Error), "error", "errors"),
        (of(Severity::Warning), "warning", "warnings"),
        (of(Severity::Info), "note", "notes"),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, one, many)| human::counted(count, one, many))
    .collect();
    if more > 0 {
        counts.push(format!("{} more", HumanCount(more)));
    }
    counts.join(", ")
}

/// Writes the findings, the gravest first.
pub(super) fn findings(out: &mut dyn Write, findings: &[Finding], more: u64) -> io::Result<()> {
    let names = ["Severity", "Kind", "Repository", "Path", "Message"];
    let shown = &findings[..findings.len().min(MOST_FINDINGS)];
    let row = |finding: &Finding| -> io::Result<Vec<Cell>> {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        // The kind has a name in the report; the page calls it the same.
        let kind = serde_json::to_value(finding.kind)?;
        let repository = finding.repository.clone().map_or(Cell::Nothing, Cell::Text);
        Ok(vec![
            Cell::Text(severity.to_owned()),
            Cell::Text(kind.as_str().unwrap_or_default().to_owned()),
            repository,
            Cell::Text(finding.path.clone()),
            Cell::Text(finding.message.clone()),
        ])
    };
    let left_out = more.saturating_add((findings.len() - shown.len()) as u64);
    let note = if findings.is_empty() { String::new() } else { format!("{}.", counted_findings(findings, more)) };
    let table = Table {
        caption: "Findings".to_owned(),
        note,
        columns: names.map(|name| Column::new(name, ColumnKind::Text)).into(),
        rows: shown.iter().map(row).collect::<io::Result<_>>()?,
        sorted_by: None,
        left_out: (left_out > 0).then(|| LeftOut { rows: left_out, cells: Vec::new() }),
    };
    write_up_to(out, "findings", 2, &table, MOST_FINDINGS)
}

/// A caption as part of an `id`.
pub(super) fn id_of(place: usize) -> Cow<'static, str> {
    Cow::Owned(format!("table-{}", place + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: u64, left_out: Option<LeftOut>) -> Table {
        let row = |number: u64| vec![Cell::Text(format!("r{number}")), Cell::Bytes(number), Cell::Count(1)];
        Table {
            caption: "Some".to_owned(),
            note: String::new(),
            columns: vec![
                Column::new("Name", ColumnKind::Text),
                Column::new("Bytes", ColumnKind::Bytes),
                Column::new("Tags", ColumnKind::Count).without_sum(),
            ],
            rows: (0..rows).map(row).collect(),
            sorted_by: None,
            left_out,
        }
    }

    #[test]
    fn rows_that_are_left_out_are_summed_up() {
        let left_out = LeftOut { rows: 5, cells: vec![Cell::Nothing, Cell::Bytes(1_000_000)] };
        let table = table(1003, Some(left_out));
        let ready = Ready::of(&table, MOST_ROWS);
        assert_eq!(ready.rows.len(), 1000);
        assert_eq!(ready.counted(), "the first 1,000 of 1,008 rows");
        let left_out = ready.left_out.unwrap();
        assert_eq!(left_out.rows, 8);
        assert_eq!(left_out.cells, [Cell::Nothing, Cell::Bytes(1_000_000 + 1000 + 1001 + 1002), Cell::Nothing]);
    }

    #[test]
    fn a_table_that_fits_is_whole() {
        let table = table(1000, None);
        let ready = Ready::of(&table, MOST_ROWS);
        assert!(ready.left_out.is_none());
        assert_eq!(ready.counted(), "1,000 rows");
    }

    #[test]
    fn long_names_make_a_short_table() {
        let mut table = table(1000, None);
        table.rows.iter_mut().for_each(|row| row[0] = Cell::Text("n".repeat(1000)));
        let ready = Ready::of(&table, MOST_ROWS);
        assert_eq!((ready.rows.len(), ready.left_out.unwrap().rows), (250, 750));
    }

    #[test]
    fn cells_are_text_and_a_missing_one_is_empty() {
        let mut written = Vec::new();
        let row = [Cell::Text("<b>".to_owned()), Cell::Bytes(2048)];
        cells(&mut written, &table(0, None).columns, &row).unwrap();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "<th scope=\"row\">&lt;b&gt;</th><td class=\"number\" data-v=\"2048\">2.00 KiB</td>\
             <td class=\"number\"></td>"
        );
    }
}
