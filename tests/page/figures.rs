//! Tables: sorted and filtered, by mouse and by keyboard.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::samples;

/// The texts of a column of the table of repositories, as they stand there; rows that are hidden are not.
fn column(browser: &mut Browser, place: usize) -> Vec<String> {
    browser.texts(&format!(
        "[...document.querySelectorAll('#table-1 tbody tr')].filter(row => !row.hidden)
            .map(row => row.cells[{place}].textContent)"
    ))
}

/// The exact figures of a column.
fn figures(browser: &mut Browser, place: usize) -> Vec<u64> {
    let list = browser.eval(&format!(
        "[...document.querySelectorAll('#table-1 tbody tr')].map(row => Number(row.cells[{place}].dataset.v))"
    ));
    serde_json::from_value(list).unwrap()
}

/// What the headings say of how the table is sorted.
fn sorted(browser: &mut Browser) -> Vec<Value> {
    let list = browser.eval("[...document.querySelectorAll('#table-1 thead th')].map(head => head.ariaSort)");
    list.as_array().unwrap().clone()
}

fn heading(place: usize) -> String {
    format!("document.querySelectorAll('#table-1 thead button')[{place}]")
}

#[test]
fn a_click_on_a_heading_sorts_and_another_turns_it_round() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    assert_eq!(sorted(&mut browser)[2], "descending", "as the page was written");
    browser.click(&heading(1));
    let tags = figures(&mut browser, 1);
    assert!(tags.is_sorted_by(|a, b| a >= b) && tags.len() == 20, "{tags:?}");
    assert_eq!(
        sorted(&mut browser),
        [
            json!(null),
            json!("descending"),
            json!(null),
            json!(null),
            json!(null),
            json!(null),
            json!(null),
            json!(null)
        ]
    );
    assert_eq!(
        browser.text("document.getElementById('status').textContent"),
        "Repositories: sorted by Tags, descending"
    );
    browser.click(&heading(1));
    assert!(figures(&mut browser, 1).is_sorted(), "the other way round");
    assert_eq!(sorted(&mut browser)[1], "ascending");
    // Sizes go by their bytes, not by what is written: 1.10 GiB is more than 900 MiB.
    browser.click(&heading(2));
    let sizes = figures(&mut browser, 2);
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    let texts = column(&mut browser, 2);
    assert!(texts[0].ends_with("GiB") && texts[19].ends_with("MiB"), "{texts:?}");
    browser.click(&heading(0));
    assert!(column(&mut browser, 0).is_sorted(), "words from A");
    browser.assert_quiet();
}

#[test]
fn a_table_is_sorted_by_keyboard() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    browser.eval(&format!("{}.focus()", heading(0)));
    browser.press("Tab");
    assert_eq!(browser.text("document.activeElement.textContent"), "Tags", "each heading is a stop");
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.text(outline), "solid", "and one sees where one is");
    browser.press("Enter");
    assert_eq!(sorted(&mut browser)[1], "descending");
    browser.press(" ");
    assert_eq!(sorted(&mut browser)[1], "ascending");
    assert_eq!(browser.text("document.activeElement.textContent"), "Tags", "the focus stays");
}

#[test]
fn a_filter_leaves_the_rows_with_all_its_words() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    browser.eval("document.querySelector('#table-1 input').focus()");
    browser.type_text("PLAT base");
    let mut names = column(&mut browser, 0);
    names.sort();
    assert_eq!(names, ["platform/base-debian", "platform/base-node"]);
    let rows = "document.querySelector('#table-1 .rows').textContent";
    assert_eq!(browser.text(rows), "2 of 20 rows");
    assert_eq!(browser.text("document.getElementById('status').textContent"), "Repositories: 2 of 20 rows");
    // What is sorted now is filtered still.
    browser.click(&heading(0));
    assert_eq!(column(&mut browser, 0), ["platform/base-debian", "platform/base-node"]);
    browser.eval(
        "(() => { const input = document.querySelector('#table-1 input'); input.value = '';
         input.dispatchEvent(new Event('input')); })()",
    );
    assert_eq!((column(&mut browser, 0).len(), browser.text(rows).as_str()), (20, "20 rows"));
}

/// 5,000 repositories and 100,000 tags.
#[test]
fn a_large_page_opens_and_sorts() {
    let findings = samples::findings();
    let page = samples::big(&findings);
    let mut browser = Browser::open(&page);
    browser.settle();
    assert_eq!(browser.eval("document.querySelectorAll('#table-1 tbody tr').length"), 1000);
    assert_eq!(browser.text("document.querySelector('#table-1 .rows').textContent"), "the first 1,000 of 5,000 rows");
    let foot = browser.text("document.querySelector('#table-1 tfoot th').textContent");
    assert_eq!(foot, "4,000 more");
    // What is shown and what is left out is the whole.
    let in_tables: u64 = figures(&mut browser, 2).iter().sum::<u64>()
        + browser.eval("Number(document.querySelector('#table-1 tfoot td:nth-child(3)').dataset.v)").as_u64().unwrap();
    let in_repositories: u64 = page.tables[0]
        .rows
        .iter()
        .map(|row| match row[2] {
            regsweep::report::html::Cell::Bytes(bytes) => bytes,
            _ => panic!("bytes are in the third column"),
        })
        .sum();
    assert_eq!(in_tables, in_repositories);
    let rectangles = browser.eval("document.querySelectorAll('#map rect').length").as_u64().unwrap();
    assert!((500..=1600).contains(&rectangles), "{rectangles}");
    let parts = browser.eval("JSON.parse(document.getElementById('parts').textContent).parts.length").as_u64().unwrap();
    assert!((5000..=12_000).contains(&parts), "{parts}");
    browser.click(&heading(1));
    let tags = figures(&mut browser, 1);
    assert!(tags.is_sorted_by(|a, b| a >= b) && tags.len() == 1000);
    browser.assert_quiet();
}
