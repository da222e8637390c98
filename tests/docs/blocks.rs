//! What is for other programs: configs, units, tables of cron. Each is parsed as far as that can be done here.

use regsweep::config::RegistryConfig;

use crate::scripts::blocks_of;
use crate::{Page, fail_if_any, pages};

/// What is wrong with a block, if anything can be said.
fn problem(language: &str, text: &str) -> Option<String> {
    match language {
        // Run: `examples.rs`, `scripts.rs`. Pictures, and what cannot be run. Rust that is an excerpt.
        "console" | "sh" | "text" | "rust" => None,
        "json" => serde_json::from_str::<serde_json::Value>(text).err().map(|error| error.to_string()),
        "yaml" => yaml(text),
        "ini" => lines(text, |line| is_section(line) || is_setting(line)),
        "cron" => lines(text, |line| is_cron(line) || line.starts_with("MAILTO=")),
        "nginx" => nginx(text),
        "" => Some("has no language: `text` is for what is none".to_owned()),
        _ => Some(format!("nothing checks `{language}`")),
    }
}

/// The first line that is neither empty nor a comment nor right.
fn lines(text: &str, is_right: impl Fn(&str) -> bool) -> Option<String> {
    let wrong = text.lines().find(|line| !line.is_empty() && !line.starts_with(['#', ';']) && !is_right(line));
    wrong.map(|line| format!("cannot be: {line}"))
}

fn is_section(line: &str) -> bool {
    line.starts_with('[') && line.ends_with(']')
}

/// `Key=value`, where what is quoted ends: of a service or a timer.
fn is_setting(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, value)| {
        !key.is_empty() && key.chars().all(char::is_alphanumeric) && value.matches('\'').count() % 2 == 0
    })
}

/// Five times and a command, with or without a user before it; or `@reboot` in the place of the times.
fn is_cron(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.first() == Some(&"@reboot") {
        return words.len() > 1;
    }
    let is_time = |word: &&str| word.chars().all(|c| c.is_ascii_digit() || "*/,-".contains(c));
    words.len() > 5 && words.iter().take(5).all(is_time)
}

/// Each line opens a block, ends one, or is a directive that ends.
fn nginx(text: &str) -> Option<String> {
    let mut depth = 0_i32;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line {
            "}" => depth -= 1,
            _ if line.ends_with('{') => depth += 1,
            _ if line.ends_with(';') => {}
            _ => return Some(format!("cannot be: {line}")),
        }
    }
    (depth != 0).then(|| "its braces do not match".to_owned())
}

/// The registry's config has to be one, with what it says of read-only mode believed. Others are parsed as YAML only,
/// by the same parser: a config may have sections that the registry does not know. Policies are read in `coverage.rs`.
fn yaml(text: &str) -> Option<String> {
    for document in text.split("\n---\n") {
        let is_config = document.contains("storage:\n");
        let whole = match is_config {
            true => format!("version: 0.1\n{}", document.replacen("storage:\n", "storage:\n  filesystem: {}\n", 1)),
            false => format!("version: 0.1\nstorage: {{filesystem: {{}}}}\n{document}"),
        };
        match RegistryConfig::parse(whole.as_bytes(), &[]) {
            Err(error) => return Some(error.to_string()),
            Ok(config) if is_config && document.contains("readonly:") && !config.read_only => {
                return Some("does not make a registry read-only".to_owned());
            }
            Ok(_) => {}
        }
        let has = |key: &str| document.lines().any(|line| line.starts_with(key));
        if has("apiVersion:") && !(has("kind:") && has("metadata:")) {
            return Some("is no object of Kubernetes".to_owned());
        }
    }
    None
}

fn problems(page: &Page) -> Vec<String> {
    let blocks = blocks_of(page, |_| true);
    let problems = blocks.into_iter().filter_map(|(_, line, language, text)| {
        problem(&language, &text).map(|problem| format!("{}:{line}: {problem}", page.name))
    });
    problems.collect()
}

#[test]
fn what_is_for_other_programs_is_well_formed() {
    fail_if_any(&pages().iter().flat_map(problems).collect::<Vec<_>>());
}

#[test]
fn what_is_not_well_formed_is_told() {
    for (language, text) in [
        ("", "x"),
        ("toml", "a = 1"),
        ("json", "{"),
        ("yaml", "a: [1"),
        ("yaml", "storage:\n  maintenance:\n    readonly:\n      enabled: \"true\"\n"),
        ("yaml", "apiVersion: v1\nspec: {}\n"),
        ("ini", "[Service"),
        ("ini", "Environment='A"),
        ("cron", "15 3 * * *"),
        ("cron", "15 3 * * root regsweep"),
        ("cron", "@reboot"),
        ("cron", "@never root regsweep"),
        ("nginx", "location / {\n"),
        ("nginx", "deny all\n"),
    ] {
        assert!(problem(language, text).is_some(), "{language}: {text}");
    }
    assert_eq!(problem("yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n---\nrules: []\n"), None);
    assert_eq!(problem("ini", "[Service]\n# why\nEnvironment='A={\"b\":true}'\n"), None);
    assert_eq!(problem("cron", "MAILTO=root\n*/5 1-3 * * 0,6 root regsweep gc\n@reboot root regsweep-window\n"), None);
}
