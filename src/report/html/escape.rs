//! Text that is data and stays data, wherever in the page it stands.
//!
//! Names have been through [`crate::layout::shown`] before they come here, but a page that somebody opens in a browser
//! does not rely on that: characters that reorder or hide text are made visible here as well.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::layout::is_unsafe_to_show;

/// Text between two tags, or in an attribute in double quotes.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                _ if is_unsafe_to_show(character) => write!(out, "{}", character.escape_default())?,
                _ => out.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// A JSON string inside a `script` element: there nothing ends the element but `</script`, and nothing changes how it
/// is read but `<!--`, so neither may come up.
pub(super) struct JsonText<'a>(pub(super) &'a str);

impl Display for JsonText<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => out.write_str("\\\"")?,
                '\\' => out.write_str("\\\\")?,
                '<' | '>' | '&' => write!(out, "\\u{:04x}", u32::from(character))?,
                // As the page shows it, so with its backslash as a character.
                _ if is_unsafe_to_show(character) => write!(out, "\\{}", character.escape_default())?,
                _ => out.write_char(character)?,
            }
        }
        out.write_char('"')
    }
}

/// How many bytes a text takes at most once it is escaped: a name that is all markup becomes six times as long.
pub(super) fn weight(text: &str) -> usize {
    let of = |character: char| match character {
        '&' | '<' | '>' | '"' | '\'' | '\\' => 6,
        _ if is_unsafe_to_show(character) => 10,
        _ => character.len_utf8(),
    };
    text.chars().map(of).sum()
}

/// As much of a text as has room for so many narrow characters, with an ellipsis where something is missing. Characters
/// beyond Latin may be twice as wide.
pub(super) fn shortened(text: &str, room: usize) -> String {
    let width = |character: char| if character < '\u{2e80}' { 1 } else { 2 };
    if text.chars().map(width).sum::<usize>() <= room {
        return text.to_owned();
    }
    let mut used = 1;
    let mut short: String = text
        .chars()
        .take_while(|character| {
            used += width(*character);
            used <= room
        })
        .collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_is_text() {
        for (text, escaped) in [
            ("team/app:v1", "team/app:v1"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\"><img src=x onerror='a&b'>", "&quot;&gt;&lt;img src=x onerror=&#39;a&amp;b&#39;&gt;"),
            ("a\u{202e}b\u{7}", "a\\u{202e}b\\u{7}"),
        ] {
            assert_eq!(Text(text).to_string(), escaped);
        }
    }

    #[test]
    fn no_name_ends_the_data() {
        let json = JsonText("</script><!--<script>\u{2028}\"\\ \u{202e}").to_string();
        assert!(!json.contains('<') && !json.contains('>'), "{json}");
        let back: String = serde_json::from_str(&json).unwrap();
        assert_eq!(back, "</script><!--<script>\\u{2028}\"\\ \\u{202e}");
    }

    #[test]
    fn a_long_name_is_cut_where_it_ends() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abcde…");
        assert_eq!(shortened("漢字漢字", 6), "漢字…");
    }

    proptest! {
        #[test]
        fn whatever_the_text_it_is_neither_markup_nor_broken_json(text in any::<String>()) {
            let escaped = Text(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let json = JsonText(&text).to_string();
            prop_assert!(!json.contains(['<', '>', '&']));
            prop_assert!(weight(&text) >= escaped.len() && weight(&text) + 2 >= json.len());
            let back: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, crate::layout::shown(text.as_bytes()));
        }
    }
}
