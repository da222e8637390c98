//! Words that stand in the source.

use std::fs;
use std::path::Path;

/// The variants of an enum, in kebab-case, from the source: `MissingBlob` is `missing-blob`.
pub(crate) fn variants(file: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let (_, body) = text.split_once(&format!("pub enum {name} {{\n")).unwrap_or_else(|| panic!("no {name} in {file}"));
    let (body, _) = body.split_once("\n}").unwrap();
    let mut variants = Vec::new();
    for line in body.lines().filter(|line| line.len() > 4 && line.starts_with("    ")) {
        let word: String = line[4..].chars().take_while(char::is_ascii_alphanumeric).collect();
        if word.starts_with(|c: char| c.is_ascii_uppercase()) {
            let mut kebab = String::new();
            for character in word.chars() {
                if character.is_ascii_uppercase() && !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.push(character.to_ascii_lowercase());
            }
            variants.push(kebab);
        }
    }
    assert!(variants.len() > 1, "{name} in {file}: {variants:?}");
    variants
}
