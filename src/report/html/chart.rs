//! Bytes by the month in which they were pushed: bars, and the same as a table.
//!
//! Months without a push are drawn as gaps. More months than can be told apart are drawn as years; where even these
//! would be too many, for a clock that was wrong, only those are drawn in which anything was pushed.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::escape::Text;
use super::model::{Bytes, Cell, Class, Column, ColumnKind, Month, Table};
use super::treemap::filled_with_gap;
use super::words::amount;
use crate::report::human;

/// How many bars there are at most.
const MOST: usize = 60;
/// The height of the plot, and what is below it.
const HEIGHT: f64 = 200.0;
const FOOT: f64 = 38.0;
/// Room above the highest line for half its label.
const TOP: f64 = 8.0;

/// One bar.
#[derive(Clone, Debug, PartialEq)]
struct Bar {
    /// What it stands for: `2026-11`, `2026`, `earlier`, `unknown`.
    label: String,
    /// What is written below it, mostly nothing.
    mark: String,
    /// The year below that.
    year: String,
    bytes: Bytes,
}

impl Bar {
    fn named(label: &str, mark: &str, bytes: Bytes) -> Bar {
        Bar { label: label.to_owned(), mark: mark.to_owned(), year: String::new(), bytes }
    }
}

/// The month as a number, if it is one.
fn number(month: &str) -> Option<i32> {
    let (year, month) = month.split_once('-')?;
    let is_number = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(year, 4) || !is_number(month, 2) {
        return None;
    }
    let (year, month): (i32, i32) = (year.parse().ok()?, month.parse().ok()?);
    (1..=12).contains(&month).then_some(year * 12 + month - 1)
}

/// The bars of these months, by time; what is no month comes last.
fn bars(months: &[Month]) -> Vec<Bar> {
    let mut by_month: BTreeMap<i32, Bytes> = BTreeMap::new();
    let mut others = Bytes::default();
    for month in months {
        match number(&month.month) {
            Some(number) => by_month.entry(number).or_default().add(month.bytes),
            None => others.add(month.bytes),
        }
    }
    let mut bars = Vec::new();
    if let (Some(first), Some(last)) = (by_month.keys().next().copied(), by_month.keys().next_back().copied()) {
        let is_few = |span: i32| usize::try_from(span).is_ok_and(|span| span < MOST);
        if is_few(last - first) {
            for month in first..=last {
                let (year, of_year) = (month / 12, month % 12);
                let (mark, below) = marks_of(month, first, last);
                let bytes = by_month.get(&month).copied().unwrap_or_default();
                bars.push(Bar { label: format!("{year:04}-{:02}", of_year + 1), mark, year: below, bytes });
            }
        } else {
            let mut by_year: BTreeMap<i32, Bytes> = BTreeMap::new();
            by_month.iter().for_each(|(month, bytes)| by_year.entry(month / 12).or_default().add(*bytes));
            let (first, last) = (first / 12, last / 12);
            let years: Vec<i32> =
                if is_few(last - first) { (first..=last).collect() } else { by_year.keys().copied().collect() };
            // The last of them, and what was before.
            let (before, years) = years.split_at(years.len().saturating_sub(MOST - 1));
            if !before.is_empty() {
                let mut bytes = Bytes::default();
                before.iter().filter_map(|year| by_year.get(year)).for_each(|of_year| bytes.add(*of_year));
                bars.push(Bar::named("earlier", "", bytes));
            }
            let step = years.len().div_ceil(6);
            for (place, year) in years.iter().enumerate() {
                let label = format!("{year:04}");
                let mark = if place % step == 0 { label.as_str() } else { "" };
                bars.push(Bar::named(&label, mark, by_year.get(year).copied().unwrap_or_default()));
            }
        }
    }
    if others.sum() > 0 {
        bars.push(Bar::named("unknown", "?", others));
    }
    bars
}

/// What is written below a month, and the year below that: of few each, of many each January, and the first if there is
/// room for it.
fn marks_of(month: i32, first: i32, last: i32) -> (String, String) {
    const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, of_year) = (month / 12, month % 12);
    let year_if = |is_shown: bool| if is_shown { format!("{year:04}") } else { String::new() };
    if last - first < 12 {
        let name = usize::try_from(of_year).ok().and_then(|place| NAMES.get(place)).copied().unwrap_or_default();
        return (name.to_owned(), year_if(month == first || of_year == 0));
    }
    let until_january = (12 - first % 12) % 12;
    let has_room = month == first && until_january > (last - first) / 8;
    (year_if(of_year == 0 || has_room), String::new())
}

/// Lines across the plot: round figures up to the one above the highest bar.
fn lines(highest: u64) -> Vec<u64> {
    // Half of a binary unit is a round figure of the next smaller one, so steps are powers of two.
    let step = (0..u64::BITS).map(|power| 1_u64 << power).find(|step| highest.div_ceil(*step) <= 5);
    let step = step.unwrap_or(1 << 63);
    (0..=highest.div_ceil(step).max(1)).map(|line| line.saturating_mul(step)).collect()
}

/// The bars.
pub(super) fn picture(out: &mut dyn Write, months: &[Month]) -> io::Result<()> {
    let bars = bars(months);
    let highest = bars.iter().map(|bar| bar.bytes.sum()).max().unwrap_or(0);
    let lines = lines(highest);
    let top = lines.last().copied().unwrap_or(1).max(1) as f64;
    let y_of = |bytes: f64| TOP + HEIGHT * (1.0 - bytes / top);
    let all = TOP + HEIGHT + FOOT;
    writeln!(out, r#"<div class="chart">"#)?;
    writeln!(
        out,
        r#"<svg class="axis" width="72" height="{all}" aria-hidden="true" focusable="false" font-size="11">"#
    )?;
    for line in &lines {
        let (y, text) = (y_of(*line as f64) + 4.0, round(*line));
        writeln!(out, r##"<text class="muted" x="66" y="{y:.1}" text-anchor="end" fill="#545b64">{text}</text>"##)?;
    }
    let label = format!("Bytes by the month of their push. {}", span(&bars));
    writeln!(
        out,
        r#"</svg><svg class="plot" width="100%" height="{all}" role="img" aria-label="{}" font-size="11">"#,
        Text(&label)
    )?;
    for line in &lines {
        let y = y_of(*line as f64);
        writeln!(out, r##"<line class="rule" x1="0" x2="100%" y1="{y:.1}" y2="{y:.1}" stroke="#d5d9de"/>"##)?;
    }
    let each = 100.0 / bars.len().max(1) as f64;
    // Few bars do not have to be as wide as there is room.
    let width = (each * 0.8).min(8.0);
    for (place, bar) in bars.iter().enumerate() {
        let x = each * place as f64 + (each - width) / 2.0;
        write!(out, "<g><title>{}: {}</title>", Text(&bar.label), Text(&amount(&bar.bytes)))?;
        let mut below = 0.0;
        for class in Class::ALL.into_iter().filter(|class| bar.bytes.get(*class) > 0) {
            let size = bar.bytes.get(class) as f64;
            // What is there can be seen.
            let height = (HEIGHT * size / top).max(0.7);
            let y = y_of(below) - height;
            write!(
                out,
                r##"<rect class="gap" x="{x:.2}%" y="{y:.1}" width="{width:.2}%" height="{height:.1}" {}/>"##,
                filled_with_gap(class),
            )?;
            below += size;
        }
        // The first of many begins with its bar, for its middle may be too near to the edge.
        let is_at_edge = place == 0 && bars.len() > 12;
        let (x, anchor) = if is_at_edge { (x, "start") } else { (each * (place as f64 + 0.5), "middle") };
        for (text, below) in [(&bar.mark, 16.0), (&bar.year, 30.0)].into_iter().filter(|(text, _)| !text.is_empty()) {
            let (y, text) = (TOP + HEIGHT + below, Text(text));
            write!(
                out,
                r##"<text class="muted" x="{x:.2}%" y="{y:.1}" text-anchor="{anchor}" fill="#545b64">{text}</text>"##
            )?;
        }
        writeln!(out, "</g>")?;
    }
    writeln!(out, "</svg></div>")
}

/// A round figure without the digits that are zero.
fn round(bytes: u64) -> String {
    human::bytes(bytes).replace(".00", "")
}

/// From when to when, in words.
fn span(bars: &[Bar]) -> String {
    match bars {
        [] => "There are none.".to_owned(),
        [only] => format!("{}: {}.", only.label, amount(&only.bytes)),
        [first, .., last] => {
            let largest = bars.iter().max_by_key(|bar| bar.bytes.sum()).unwrap_or(first);
            let (first, last) = (&first.label, &last.label);
            format!("From {first} to {last}; the most in {}, {}.", largest.label, human::bytes(largest.bytes.sum()))
        }
    }
}

/// The same as a table, with how much it has become until then.
pub(super) fn table(months: &[Month]) -> Table {
    let mut columns = vec![Column::new("Pushed in", ColumnKind::Text)];
    columns.extend(Class::ALL.map(|class| Column::new(class.title(), ColumnKind::Bytes)));
    columns.push(Column::new("Together", ColumnKind::Bytes));
    columns.push(Column::new("Until then", ColumnKind::Bytes).without_sum());
    let mut until_then = 0_u64;
    let row = |bar: Bar| {
        until_then = until_then.saturating_add(bar.bytes.sum());
        let each = Class::ALL.map(|class| Cell::Bytes(bar.bytes.get(class)));
        let sums = [Cell::Bytes(bar.bytes.sum()), Cell::Bytes(until_then)];
        std::iter::once(Cell::Text(bar.label)).chain(each).chain(sums).collect()
    };
    Table {
        caption: "Bytes by month of push".to_owned(),
        note: String::new(),
        columns,
        rows: bars(months).into_iter().map(row).collect(),
        sorted_by: Some((0, super::model::Order::Ascending)),
        left_out: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn month(month: &str, garbage: u64) -> Month {
        Month { month: month.to_owned(), bytes: Bytes::of(Class::Garbage, garbage) }
    }

    fn labels(months: &[Month]) -> Vec<String> {
        bars(months).into_iter().map(|bar| bar.label).collect()
    }

    #[test]
    fn gaps_are_filled_and_months_are_sorted() {
        let months = [month("2026-02", 1), month("2025-11", 2), month("2026-02", 4)];
        assert_eq!(labels(&months), ["2025-11", "2025-12", "2026-01", "2026-02"]);
        assert_eq!(bars(&months)[3].bytes.garbage, 5);
        assert_eq!(bars(&months)[2].bytes.garbage, 0);
    }

    #[test]
    fn many_months_become_years_and_a_wrong_clock_does_not_make_thousands() {
        let since_1970 = labels(&[month("1970-01", 1), month("2026-11", 1)]);
        assert_eq!((since_1970.len(), since_1970[0].as_str()), (57, "1970"));
        assert_eq!(labels(&[month("1970-01", 1), month("2026-11", 1), month("9999-12", 1)]), ["1970", "2026", "9999"]);
        let centuries: Vec<Month> = (1000..1200).map(|year| month(&format!("{year}-05"), 1)).collect();
        let bars = bars(&centuries);
        assert_eq!((bars.len(), bars[0].label.as_str(), bars[0].bytes.garbage), (60, "earlier", 141));
    }

    #[test]
    fn bars_say_when_they_were() {
        let marks = |months: &[Month]| -> Vec<String> {
            bars(months).iter().map(|bar| format!("{} {}", bar.mark, bar.year).trim().to_owned()).collect()
        };
        assert_eq!(marks(&[month("2025-11", 1), month("2026-02", 1)]), ["Nov 2025", "Dec", "Jan 2026", "Feb"]);
        let of_two_years = marks(&[month("2024-06", 1), month("2026-05", 1)]);
        let written: Vec<&str> = of_two_years.iter().map(String::as_str).filter(|mark| !mark.is_empty()).collect();
        assert_eq!(written, ["2024", "2025", "2026"]);
        // There is no room for 2024 beside 2025.
        assert_eq!(marks(&[month("2024-12", 1), month("2026-05", 1)])[..2], ["", "2025"]);
    }

    #[test]
    fn what_is_no_month_comes_last() {
        let months = [month("<b>", 1), month("2026-13", 2), month("2026-11", 4)];
        assert_eq!(labels(&months), ["2026-11", "unknown"]);
        assert_eq!(bars(&months)[1].bytes.garbage, 3);
    }

    #[test]
    fn lines_are_round_and_reach_above_the_highest() {
        for (highest, expected) in [
            (0, vec![0, 1]),
            (5, vec![0, 1, 2, 3, 4, 5]),
            (3 << 30, vec![0, 1 << 30, 2 << 30, 3 << 30]),
            (700 << 30, vec![0, 256 << 30, 512 << 30, 768 << 30]),
        ] {
            assert_eq!(lines(highest), expected);
        }
        let enormous = lines(u64::MAX);
        assert!(enormous.len() <= 7 && enormous.last() == Some(&u64::MAX), "{enormous:?}");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_no_bar_too_many(
            months in prop::collection::vec(("[0-9]{4}-(0[1-9]|1[0-9])", 0u64..1000), 0..90),
        ) {
            let months: Vec<Month> = months.into_iter().map(|(text, bytes)| month(&text, bytes)).collect();
            let bars = bars(&months);
            let sum = |bytes: u64, bar: &Bar| bytes + bar.bytes.sum();
            prop_assert_eq!(bars.iter().fold(0, sum), months.iter().map(|month| month.bytes.garbage).sum::<u64>());
            prop_assert!(bars.len() <= MOST + 1, "{}", bars.len());
        }
    }
}
