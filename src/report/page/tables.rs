//! The figures, as tables.

use std::collections::BTreeMap;

use crate::plan::{ActionKind, Reason};
use crate::report::html::{Cell, Column, ColumnKind, Order, Table};
use crate::report::{CheckReport, Report, RetentionReport, human};
use crate::usage::{Node, Usage};

/// Where the bytes are, by repository and by namespace.
pub(super) fn of_usage(usage: &Usage) -> Vec<Table> {
    let sizes = |node: &Node| {
        [node.total.bytes, node.exclusive.bytes, node.shared().bytes, node.untagged.bytes, node.garbage.bytes]
            .map(Cell::Bytes)
    };
    let mut repositories = Vec::new();
    let mut namespaces = Vec::new();
    for node in usage.store.walk() {
        let name = Cell::Text(node.name.to_string());
        match &node.repository {
            Some(contents) => {
                let counts = [Cell::Count(contents.tags.len() as u64), Cell::Count(contents.untagged_manifests)];
                repositories.push((node, [vec![name], counts.to_vec(), sizes(node).to_vec()].concat()));
            }
            None if !node.name.is_empty() => {
                namespaces.push((node, [vec![name, Cell::Count(node.repositories)], sizes(node).to_vec()].concat()));
            }
            None => {}
        }
    }
    let columns = |names: &[&str], counts: &[&str]| -> Vec<Column> {
        let names = names.iter().map(|name| Column::new(*name, ColumnKind::Text));
        let counts = counts.iter().map(|name| Column::new(*name, ColumnKind::Count));
        let bytes = ["Total", "Exclusive", "Shared", "Untagged", "Garbage"].map(|name| {
            let column = Column::new(name, ColumnKind::Bytes);
            // What several share is in the total of each.
            if matches!(name, "Total" | "Shared") { column.without_sum() } else { column }
        });
        names.chain(counts).chain(bytes).collect()
    };
    let note = "Exclusive is what a removal would free; untagged is the part of it that only manifests without a tag \
                need. Shared is what something else needs as well.";
    let mut tables = Vec::new();
    for (caption, mut rows, mut columns, sorted_by) in [
        ("Repositories", repositories, columns(&["Repository"], &["Tags", "Untagged manifests"]), 3),
        ("Namespaces", namespaces, columns(&["Namespace"], &["Repositories"]), 2),
    ] {
        if rows.is_empty() {
            continue;
        }
        if caption == "Namespaces" {
            // One lies in another.
            columns = columns.into_iter().map(Column::without_sum).collect();
        }
        rows.sort_by(|(a, _), (b, _)| b.total.bytes.cmp(&a.total.bytes).then_with(|| a.name.cmp(&b.name)));
        tables.push(Table {
            caption: caption.to_owned(),
            note: note.to_owned(),
            columns,
            rows: rows.into_iter().map(|(_, row)| row).collect(),
            sorted_by: Some((sorted_by, Order::Descending)),
            left_out: None,
        });
    }
    tables
}

/// What a command has done, or would do.
pub(super) fn of_report(report: &Report<'_>) -> Vec<Table> {
    let mut tables = Vec::new();
    if let Some(check) = &report.check {
        tables.extend(of_check(check));
    }
    tables.extend(actions(report));
    tables.extend(report.retention.as_ref().and_then(rules));
    tables
}

/// What goes, by kind and reason.
fn actions(report: &Report<'_>) -> Option<Table> {
    let mut sums: BTreeMap<(ActionKind, Reason), (u64, u64)> = BTreeMap::new();
    for action in report.plan.actions() {
        let sum = sums.entry((action.kind, action.reason)).or_default();
        sum.0 += 1;
        sum.1 = sum.1.saturating_add(action.bytes.unwrap_or(0));
    }
    if sums.is_empty() {
        return None;
    }
    let row = |((kind, reason), (count, bytes)): ((ActionKind, Reason), (u64, u64))| {
        let words = [human::kind(kind), reason.name()].map(|word| Cell::Text(word.to_owned()));
        [words.to_vec(), vec![Cell::Count(count), Cell::Bytes(bytes)]].concat()
    };
    let rows = sums.into_iter().map(row).collect();
    let columns = [("What", ColumnKind::Text), ("Why", ColumnKind::Text), ("How many", ColumnKind::Count)];
    let mut columns: Vec<Column> = columns.into_iter().map(|(name, kind)| Column::new(name, kind)).collect();
    columns.push(Column::new("Bytes", ColumnKind::Bytes));
    let caption = if report.dry_run { "What would go, and why" } else { "What was to go, and why" };
    Some(table(caption, "", columns, rows))
}

fn rules(retention: &RetentionReport<'_>) -> Option<Table> {
    let rows: Vec<Vec<Cell>> = retention
        .rules
        .iter()
        .map(|rule| {
            let name = rule.name.as_deref().unwrap_or("(no rule)");
            vec![Cell::Text(name.to_owned()), Cell::Count(rule.kept), Cell::Count(rule.let_go)]
        })
        .collect();
    let columns = [("Rule", ColumnKind::Text), ("Kept", ColumnKind::Count), ("Let go", ColumnKind::Count)];
    let columns = columns.into_iter().map(|(name, kind)| Column::new(name, kind)).collect();
    (!rows.is_empty()).then(|| table("Retention: tags by the rule that decided", "", columns, rows))
}

/// What a check found.
fn of_check(check: &CheckReport<'_>) -> Vec<Table> {
    let text = |text: &str| Cell::Text(text.to_owned());
    let lost: Vec<Vec<Cell>> =
        check.lost.iter().map(|image| vec![text(&image.name()), text(&image.lacks.join("; "))]).collect();
    let damaged: Vec<Vec<Cell>> = check
        .damaged
        .iter()
        .map(|blob| {
            vec![
                text(&blob.digest.to_string()),
                text(blob.part.unwrap_or("")),
                text(&blob.why),
                Cell::Count(blob.tags),
                Cell::Count(blob.untagged),
                text(&blob.examples.join(", ")),
                text(&blob.mend),
            ]
        })
        .collect();
    let mends: Vec<Vec<Cell>> = check
        .mends
        .iter()
        .map(|mend| {
            let tag = mend.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
            vec![
                text(&format!("{}{tag}", mend.repository)),
                text(human::kind(mend.kind())),
                text(&mend.digest.to_string()),
                text(&mend.was),
            ]
        })
        .collect();
    let words = |names: &[&str]| names.iter().map(|name| Column::new(*name, ColumnKind::Text)).collect::<Vec<_>>();
    let mut of_damaged = words(&["Blob", "It is a", "What is wrong", "", "", "Needed by", "What mends it"]);
    for (place, name) in [(3, "Tags"), (4, "Untagged manifests")] {
        // One image may need several.
        of_damaged[place] = Column::new(name, ColumnKind::Count).without_sum();
    }
    [
        ("What cannot be pulled", words(&["Image", "What it lacks"]), lost),
        ("Damaged blobs", of_damaged, damaged),
        ("Links that are written", words(&["Where", "Which link", "What it says", "What it was"]), mends),
    ]
    .into_iter()
    .filter(|(_, _, rows)| !rows.is_empty())
    .map(|(caption, columns, rows)| table(caption, "", columns, rows))
    .collect()
}

fn table(caption: &str, note: &str, columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Table {
    Table { caption: caption.to_owned(), note: note.to_owned(), columns, rows, sorted_by: None, left_out: None }
}
