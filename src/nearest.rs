//! The names nearest to one that does not exist, for messages that offer them.

use strsim::osa_distance;

/// How many names are offered.
const MOST: usize = 3;

/// The names that somebody who wrote `wanted` may have meant, the nearest first: at most three, none if nothing is
/// near. A name is near if it takes few edits (one for each three characters, at least one), or if one holds the other.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted_lower = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let lengths = name.len().abs_diff(wanted.len());
            let edits = if lengths <= allowed { osa_distance(&wanted_lower, &lower) } else { usize::MAX };
            if edits <= allowed {
                return Some((edits, name));
            }
            // `app` for `team/app`, `team/app` for `team/app-server`; after everything that is a few edits away.
            let is_part = wanted.len() >= 3 && (lower.contains(&wanted_lower) || wanted_lower.contains(&lower));
            is_part.then_some((allowed + lengths, name))
        })
        .collect();
    near.sort();
    near.truncate(MOST);
    near.into_iter().map(|(_, name)| name).collect()
}

/// The same as a question, ` (did you mean a, b or c?)`; empty if nothing is near.
pub fn did_you_mean<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    match *nearest(wanted, names).as_slice() {
        [] => String::new(),
        [one] => format!(" (did you mean {one}?)"),
        [ref some @ .., last] => format!(" (did you mean {} or {last}?)", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_may_have_meant() {
        let names = ["team/app", "team/api", "team/app-server", "base/alpine", "db"];
        for (wanted, expected) in [
            ("team/ap", &["team/api", "team/app", "team/app-server"][..]),
            ("team/app", &["team/app", "team/api", "team/app-server"]),
            ("Team/App", &["team/app", "team/api", "team/app-server"]),
            ("taem/app", &["team/app", "team/api"]),
            ("alpine", &["base/alpine"]),
            ("d", &["db"]),
            ("zzzzzz", &[]),
            ("", &[]),
        ] {
            assert_eq!(nearest(wanted, names), expected, "{wanted:?}");
        }
        assert_eq!(nearest("", []), Vec::<&str>::new());
        assert_eq!(did_you_mean("taem/app", names), " (did you mean team/app or team/api?)");
        assert_eq!(did_you_mean("alpine", names), " (did you mean base/alpine?)");
        assert_eq!(did_you_mean("zzzzzz", names), "");
    }
}
