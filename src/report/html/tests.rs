//! The page as a whole, as text. What a browser makes of it is tested in `tests/page/`.

use sha2::{Digest as _, Sha256};

use super::*;
use crate::finding::{FindingKind, Severity};
use crate::report::Tool;

const HOSTILE: &str = "</script><script>alert(1)</script>\"><img src=x onerror='alert(2)'>\u{202e}";

fn page(findings: &[crate::finding::Finding]) -> Page<'_> {
    let tag = Node::leaf(HOSTILE, NodeKind::Tag, Bytes::of(Class::Live, 5000));
    let repository = Node::group(HOSTILE, NodeKind::Repository, vec![tag]);
    Page {
        title: HOSTILE.to_owned(),
        command: "du".to_owned(),
        root: HOSTILE.to_owned(),
        tool: Tool::THIS,
        made_at: "2026-11-22T00:00:00Z".to_owned(),
        summary: vec![Fact { label: HOSTILE.to_owned(), value: HOSTILE.to_owned(), tone: Tone::Bad }],
        store: Some(Node::group(HOSTILE, NodeKind::Store, vec![repository])),
        lead: Vec::new(),
        months: vec![Month { month: HOSTILE.to_owned(), bytes: Bytes::of(Class::Garbage, 1) }],
        images: vec![Image {
            name: HOSTILE.to_owned(),
            total: 2,
            exclusive: 1,
            pushed_at: Some(HOSTILE.to_owned()),
            shared_with: None,
        }],
        tables: vec![Table {
            caption: HOSTILE.to_owned(),
            note: HOSTILE.to_owned(),
            columns: vec![Column::new(HOSTILE, ColumnKind::Text)],
            rows: vec![vec![Cell::Time(HOSTILE.to_owned())]],
            sorted_by: None,
            left_out: None,
        }],
        findings,
        more_findings: 0,
        advice: vec![HOSTILE.to_owned()],
    }
}

fn written(page: &Page<'_>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes, page).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn finding() -> crate::finding::Finding {
    crate::finding::Finding {
        severity: Severity::Error,
        kind: FindingKind::MissingBlob,
        repository: Some(HOSTILE.to_owned()),
        path: HOSTILE.to_owned(),
        message: HOSTILE.to_owned(),
    }
}

#[test]
fn nothing_that_is_given_becomes_markup() {
    let text = written(&page(&[finding()]));
    assert!(text.matches("alert(1)").count() > 12, "it is all there, as text");
    assert!(!text.contains("<img") && !text.contains("<script>alert") && !text.contains('\u{202e}'));
    assert_eq!(text.matches("<script").count(), 2, "the script and the data");
    assert_eq!(text.matches("</script").count(), 2);
    // As text the attribute is there, with its quotes escaped.
    let without_text = text.replace("onerror=&#39;", "").replace("onerror='", "");
    assert!(!without_text.contains("onerror"));
}

/// The digests in the policy are those of what stands between the tags.
#[test]
fn the_policy_allows_the_style_and_the_script_that_are_there() {
    let text = written(&page(&[]));
    let between = |begin: &str, end: &str| {
        let (_, rest) = text.rsplit_once(begin).unwrap();
        rest.split_once(end).unwrap().0.to_owned()
    };
    let (style, script) = (between("<style>", "</style>"), between("<script>", "</script>"));
    for (kind, inline) in [("style-src", style), ("script-src", script)] {
        assert!(inline.len() > 1000, "{kind}: {} bytes", inline.len());
        let source =
            policy::policy(&inline, &inline).split_once("style-src ").unwrap().1.split_once(';').unwrap().0.to_owned();
        assert!(text.contains(&format!("{kind} {source};")), "{kind} {source}");
        assert_eq!(Sha256::digest(inline.as_bytes()).len(), 32);
    }
}

#[test]
fn nothing_is_asked_for_and_no_attribute_is_style_or_script() {
    // The name of SVG is no address.
    let text = written(&page(&[finding()])).replace("http://www.w3.org/2000/svg", "");
    // What may name an address: none does, but for places in the page itself.
    for pattern in
        ["src=\"", " style=", "http://", "https://", "@import", "<link", "<base", "<iframe", "<object", "data:"]
    {
        let found = text.replace("src=x", "").matches(pattern).count();
        assert_eq!(found, 0, "{pattern}");
    }
    let of = |what: &str| {
        text.match_indices(what).map(|(at, _)| text[at + what.len()..].chars().next().unwrap()).collect::<Vec<_>>()
    };
    assert!(of("href=\"").iter().all(|first| *first == '#'));
    assert!(of("url(").iter().all(|first| *first == '#'));
}

/// 5,000 repositories with 20 tags each, whose names are long and all markup.
#[test]
fn a_large_registry_makes_a_page_that_can_be_mailed() {
    let long = "<\"".repeat(100);
    let tag = |tag: u64| Node::leaf(format!("v{tag}.{long}"), NodeKind::Tag, Bytes::of(Class::Live, 1000 + tag));
    let repository = |repository: u64| Node {
        own: Bytes { shared: repository * 100, garbage: 10, ..Bytes::default() },
        ..Node::group(format!("{long}{repository}"), NodeKind::Repository, (0..20).map(tag).collect())
    };
    let findings = vec![finding(); 2000];
    let store = Node::group("", NodeKind::Store, (0..5000).map(repository).collect());
    let rows: Vec<Vec<Cell>> =
        (0..5000).map(|row| vec![Cell::Text(format!("{long}{row}")), Cell::Count(row)]).collect();
    let columns = || vec![Column::new("a", ColumnKind::Text), Column::new("b", ColumnKind::Count)];
    let table = || Table { columns: columns(), rows: rows.clone(), ..page(&[]).tables[0].clone() };
    let text = written(&Page { store: Some(store), tables: vec![table(), table(), table()], ..page(&findings) });
    assert!(text.len() < 5_000_000, "{} bytes", text.len());
    assert!(text.contains("the first 500 of 2,000 rows") && text.contains(" of 5,000 rows"));
    assert!(text.contains("are summed up in what they are in ("));
    let pictures: Vec<usize> = text
        .split("<svg class=\"map\"")
        .skip(1)
        .map(|rest| rest.split_once("</svg>").unwrap().0.matches("<rect").count())
        .collect();
    assert_eq!(pictures.len(), 2);
    assert!((900..=1500).contains(&pictures[0]) && (100..=400).contains(&pictures[1]), "{pictures:?}");
}

#[test]
fn what_the_command_was_for_comes_first() {
    let mut page = page(&[]);
    let lead = Table { caption: "What would go, and why".to_owned(), ..page.tables[0].clone() };
    page.lead = vec![lead];
    page.tables[0].caption = "What is below all else".to_owned();
    let text = written(&page);
    let at = |caption: &str| text.find(caption).unwrap_or_else(|| panic!("{caption} is there"));
    assert!(at("What would go, and why") < at("Where the bytes are"));
    assert!(at("Where the bytes are") < at("What is below all else"));
    // Each has an id of its own.
    let ids: Vec<&str> = text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let different: std::collections::HashSet<&&str> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
    // Where nobody has looked at the store nothing is said of it.
    page.store = None;
    assert!(!written(&page).contains("Where the bytes are"));
}

#[test]
fn an_empty_registry_says_so() {
    let empty = Page {
        store: Some(Node::leaf("", NodeKind::Store, Bytes::default())),
        months: Vec::new(),
        images: Vec::new(),
        tables: Vec::new(),
        summary: Vec::new(),
        advice: Vec::new(),
        ..page(&[])
    };
    let text = written(&empty);
    assert!(text.contains("the store is empty") && !text.contains("class=\"map\""));
    assert!(text.contains("Findings</h2>\n<p class=\"rows\">none</p>"), "no findings");
}
