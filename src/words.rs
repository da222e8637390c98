//! Counts with their nouns, wherever something is told.

use indicatif::HumanCount;

/// A count with its noun, in the singular or the plural.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", HumanCount(count), if count == 1 { one } else { many })
}
