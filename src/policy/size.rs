//! Sizes, as people write them.

/// Bytes: `10GiB` (also KiB, MiB, TiB, or bytes without a unit; K, M, G, T are the same as with iB). `None` for what is
/// no size, for none at all, and for more than a volume can hold.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.strip_suffix("iB").unwrap_or(unit) {
        "" | "B" if !unit.ends_with("iB") => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", Some(1)),
            ("7B", Some(7)),
            ("10GiB", Some(10 << 30)),
            ("10G", Some(10 << 30)),
            ("3K", Some(3072)),
            ("2TiB", Some(2 << 40)),
            ("5MiB", Some(5 << 20)),
            ("0", None),
            ("", None),
            ("GiB", None),
            ("iB", None),
            ("1iB", None),
            ("10GB", None),
            ("-1", None),
            ("1.5G", None),
            ("99999999999T", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text:?}");
        }
    }
}
