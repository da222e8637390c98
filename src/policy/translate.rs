//! Globs as regular expressions, and the other way round: what somebody meant who took the one for the other.
//!
//! Only for what to write instead. Nothing is ever matched as something else than what it was written as.

/// What means something in a glob.
const GLOB: [char; 4] = ['*', '?', '[', '{'];

/// The regular expression that matches what this matches as a glob. `None` where nothing in it means anything in a
/// glob, or something can only be meant for a regular expression.
pub(super) fn to_regex(glob: &str) -> Option<String> {
    if !glob.contains(GLOB) || glob.contains(".*") && !glob.contains("*.*") && !glob.contains("}.*") {
        return None;
    }
    let mut regex = String::new();
    let (mut braces, mut has_comma, mut is_in_class) = (0, false, false);
    let mut letters = glob.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ']' if is_in_class => {
                is_in_class = false;
                regex.push(']');
            }
            _ if is_in_class && (letter.is_ascii_alphanumeric() || "._-".contains(letter)) => regex.push(letter),
            _ if is_in_class => return None,
            '[' => {
                is_in_class = true;
                regex.push('[');
                if letters.next_if_eq(&'!').is_some() {
                    regex.push('^');
                }
            }
            '*' => {
                while letters.next_if_eq(&'*').is_some() {}
                regex.push_str(".*");
            }
            '?' => regex.push('.'),
            '.' => regex.push_str("\\."),
            '{' => {
                has_comma = false;
                braces += 1;
                regex.push('(');
            }
            // `{3}` is no choice.
            '}' if has_comma => {
                braces -= 1;
                regex.push(')');
            }
            ',' if braces > 0 => {
                has_comma = true;
                regex.push('|');
            }
            _ if letter.is_ascii_alphanumeric() || "_-".contains(letter) => regex.push(letter),
            _ => return None,
        }
    }
    (braces == 0 && !is_in_class).then_some(regex)
}

/// Whether a regular expression has a letter, a digit or a hyphen repeated: nobody means that in the name of a tag.
pub(super) fn repeats_a_letter(regex: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    regex.as_bytes().windows(2).any(|pair| is_letter(pair[0]) && pair[1] == b'*')
}

/// The glob over names of repositories that comes nearest to a regular expression. `None` where nothing in it looks
/// like one, or it says more than a glob can.
pub(super) fn to_glob(regex: &str) -> Option<String> {
    let bare = regex.strip_prefix('^').unwrap_or(regex);
    let bare = bare.strip_suffix('$').unwrap_or(bare);
    let mut glob = String::new();
    let mut rest = bare;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        rest = after;
        if let Some(after) = after.strip_prefix(['*', '+']).filter(|_| letter == '.') {
            let is_component = (glob.is_empty() || glob.ends_with('/')) && (after.is_empty() || after.starts_with('/'));
            glob.push_str(if is_component { "**" } else { "*" });
            rest = after;
            continue;
        }
        match letter {
            '\\' if after.starts_with('.') => {
                glob.push('.');
                rest = &after[1..];
            }
            '(' => glob.push('{'),
            ')' => glob.push('}'),
            '|' => glob.push(','),
            _ if letter.is_ascii_alphanumeric() || "._-/".contains(letter) => glob.push(letter),
            _ => return None,
        }
    }
    (glob != regex && !glob.is_empty()).then_some(glob)
}
