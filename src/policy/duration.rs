//! Durations of rules, as people write them: `30d`, `12h`, `6mo`, `1y`, `1w2d`.

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The longest that is understood.
const LONGEST: &str = "19998y";

/// A duration in seconds. A week is 7 days, a month 30, a year 365.
///
/// `m` alone is refused: restic reads it as months, most others as minutes, and a rule that keeps six minutes of what
/// was to be kept for six months is not to be found out afterwards.
///
/// # Errors
/// One line that says how to write it.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let shown = crate::layout::shown(text.as_bytes());
    let wrong = || format!("'{shown}' is no duration: write 30d, 12h, 6mo, 1y or 1w2d");
    // Nobody means a longer one, and it would be repeated five times.
    if (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let offered = format!("{shown}h, {shown}d, {shown}w, {shown}mo or {shown}y");
        return Err(format!("'{shown}' is no duration, for want of a unit: write {offered}"));
    }
    let bytes = text.as_bytes();
    let has_bare_m = (1..bytes.len()).any(|at| {
        let next = bytes.get(at + 1);
        matches!(bytes[at], b'm' | b'M') && bytes[at - 1].is_ascii_digit() && !next.is_some_and(u8::is_ascii_alphabetic)
    });
    if has_bare_m {
        return Err(format!("'{shown}' may mean months or minutes: write mo or min, as in 6mo or 6min"));
    }
    let too_long = || format!("'{shown}' is too long a duration: the longest is {LONGEST}");
    let span: jiff::Span = text.parse().map_err(|_| if is_duration_of_ones(text) { too_long() } else { wrong() })?;
    let parts = [
        (i64::from(span.get_years()), 365 * DAY),
        (i64::from(span.get_months()), 30 * DAY),
        (i64::from(span.get_weeks()), 7 * DAY),
        (i64::from(span.get_days()), DAY),
        (i64::from(span.get_hours()), 3600),
        (span.get_minutes(), 60),
        (span.get_seconds(), 1),
    ];
    if span.is_negative() {
        let positive = shown.trim_start_matches('-');
        return Err(format!("'{shown}' is no duration, as it is negative: write {positive}"));
    }
    parts
        .iter()
        .try_fold(0_i64, |sum, (count, seconds)| sum.checked_add(count.checked_mul(*seconds)?))
        .ok_or_else(too_long)
}

/// Whether it would be a duration if each of its numbers were one: then they are what is wrong.
fn is_duration_of_ones(text: &str) -> bool {
    let mut ones = String::new();
    for letter in text.chars() {
        if !letter.is_ascii_digit() {
            ones.push(letter);
        } else if !ones.ends_with('1') {
            ones.push('1');
        }
    }
    ones.parse::<jiff::Span>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("30d", Some(30 * DAY)),
            ("12h", Some(12 * 3600)),
            ("2w", Some(14 * DAY)),
            ("6mo", Some(180 * DAY)),
            ("1y", Some(365 * DAY)),
            ("1y6mo2w3d4h", Some((365 + 180 + 14 + 3) * DAY + 4 * 3600)),
            ("90min", Some(5400)),
            ("1h 30s", Some(3630)),
            ("6 months", Some(180 * DAY)),
            ("P30D", Some(30 * DAY)),
            ("0d", Some(0)),
            ("6m", None),
            ("1h30m", None),
            ("6M", None),
            ("1y6m2d", None),
            ("30", None),
            ("-1d", None),
            ("", None),
            ("soon", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(parse_duration(text).ok(), seconds, "{text:?}");
        }
        for (text, says) in [
            ("6m", "'6m' may mean months or minutes: write mo or min, as in 6mo or 6min"),
            ("30", "'30' is no duration, for want of a unit: write 30h, 30d, 30w, 30mo or 30y"),
            ("9999999", "'9999999' is no duration: write 30d, 12h, 6mo, 1y or 1w2d"),
            ("soon", "'soon' is no duration: write 30d, 12h, 6mo, 1y or 1w2d"),
            ("", "'' is no duration: write 30d, 12h, 6mo, 1y or 1w2d"),
            ("-1d", "'-1d' is no duration, as it is negative: write 1d"),
            ("19999y", "'19999y' is too long a duration: the longest is 19998y"),
            ("1w99999999999999999999d", "'1w99999999999999999999d' is too long a duration: the longest is 19998y"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err(), says);
        }
        assert_eq!(parse_duration(LONGEST), Ok(19_998 * 365 * DAY));
    }
}
