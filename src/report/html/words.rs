//! Figures in words, as the whole page says them.

use super::model::{Bytes, Class};
use crate::report::human;

/// A part of a whole, in whole percent; what is something is never called nothing, nor what is not all called all.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    if part > 0 && share < 1.0 {
        "<1%".to_owned()
    } else if part < whole && share > 99.0 {
        ">99%".to_owned()
    } else {
        format!("{share:.0}%")
    }
}

/// How many bytes, and why they are there: "1.20 GiB, live", "3.00 GiB: 1.00 GiB live, 2.00 GiB garbage".
pub(super) fn amount(bytes: &Bytes) -> String {
    let sum = human::bytes(bytes.sum());
    if bytes.sum() == 0 {
        return sum;
    }
    if let Some(class) = bytes.only_class() {
        return format!("{sum}, {}", class.name());
    }
    let of = |class: Class| format!("{} {}", human::bytes(bytes.get(class)), class.name());
    let parts: Vec<String> = Class::ALL.into_iter().filter(|class| bytes.get(*class) > 0).map(of).collect();
    format!("{sum}: {}", parts.join(", "))
}

/// A point in time to the minute, as people read it; what is no RFC 3339 stays as it is.
pub(super) fn minute(time: &str) -> String {
    match (time.get(..10), time.get(10..11), time.get(11..16)) {
        (Some(day), Some("T"), Some(clock)) => format!("{day} {clock}"),
        _ => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_not_nothing_and_not_all() {
        for (part, whole, text) in
            [(0, 0, "0%"), (0, 9, "0%"), (1, 1000, "<1%"), (1, 2, "50%"), (9999, 10_000, ">99%"), (7, 7, "100%")]
        {
            assert_eq!(percent(part, whole), text);
        }
    }

    #[test]
    fn amounts() {
        assert_eq!(amount(&Bytes::default()), "0 B");
        assert_eq!(amount(&Bytes::of(Class::Garbage, 2048)), "2.00 KiB, garbage");
        let two = Bytes { live: 1024, garbage: 1, ..Bytes::default() };
        assert_eq!(amount(&two), "1.00 KiB: 1.00 KiB live, 1 B garbage");
    }

    #[test]
    fn times_to_the_minute() {
        assert_eq!(minute("2026-11-22T00:30:13Z"), "2026-11-22 00:30");
        assert_eq!(minute("ünknown-xxTé"), "ünknown-xxTé");
    }
}
