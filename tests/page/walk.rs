//! The treemap: into it and back, by mouse and by keyboard.

use serde_json::Value;

use crate::browser::Browser;
use crate::samples;

const LABEL: &str = "document.querySelector('#map svg').ariaLabel";
const STATUS: &str = "document.getElementById('status').textContent";
/// What the focus is on, as it is read out.
const FOCUSED: &str = "document.activeElement.ariaLabel ?? document.activeElement.textContent";

fn trail(browser: &mut Browser) -> Vec<String> {
    browser.texts("[...document.querySelectorAll('.place li')].map(step => step.textContent)")
}

#[test]
fn enter_goes_in_and_escape_comes_back_to_the_same_place() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    // Tab by tab from the top, as somebody does who has nothing else.
    let mut stops = 0;
    while browser.eval("document.activeElement.closest('#map') === null") == Value::Bool(true) {
        browser.press("Tab");
        stops += 1;
        assert!(stops < 10, "the picture is near the top: {}", browser.text(FOCUSED));
    }
    assert!(browser.text(FOCUSED).starts_with("platform: "), "the largest first");
    assert_eq!(browser.eval("document.querySelector('#map .focus').getAttribute('visibility')"), "visible");
    browser.press("ArrowRight");
    assert!(browser.text(FOCUSED).starts_with("data: "));
    browser.press("ArrowDown");
    assert!(browser.text(FOCUSED).starts_with("data/ingest: "));
    browser.press("ArrowUp");
    browser.press("Enter");
    assert!(browser.text(LABEL).starts_with("Treemap of data, "));
    assert_eq!(trail(&mut browser), ["The store", "data"]);
    assert!(browser.text(STATUS).starts_with("data: 2.48 GiB: "), "{}", browser.text(STATUS));
    assert!(browser.text(FOCUSED).starts_with("data/ingest: "), "the focus is in the new picture");
    browser.press("Enter");
    assert_eq!(trail(&mut browser), ["The store", "data", "ingest"]);
    assert_eq!(browser.text("document.querySelector('#inside h3').textContent"), "What is in data/ingest");
    browser.shoot("small-1280-in-a-repository");
    browser.press("Escape");
    assert_eq!(trail(&mut browser), ["The store", "data"]);
    assert!(browser.text(FOCUSED).starts_with("data/ingest: "), "back where one came from");
    browser.press("Escape");
    assert!(browser.text(FOCUSED).starts_with("data: "));
    browser.press("Escape");
    assert!(browser.text(LABEL).starts_with("Treemap of the store, "), "there is nothing above the store");
    browser.assert_quiet();
}

#[test]
fn one_is_never_lost_between_trail_table_and_picture() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    browser.click("[...document.querySelectorAll('#inside tbody button')].find(it => it.textContent === 'mirror')");
    assert_eq!(trail(&mut browser), ["The store", "mirror"]);
    assert_eq!(browser.text(FOCUSED), "mirror", "the button is gone, so the focus is on the trail");
    browser
        .click("[...document.querySelectorAll('#inside tbody button')].find(it => it.textContent === 'mirror/nginx')");
    assert_eq!(trail(&mut browser), ["The store", "mirror", "nginx"]);
    let tags = browser.texts("[...document.querySelectorAll('#inside tbody th')].map(name => name.textContent)");
    assert!(tags.iter().all(|tag| tag.starts_with("mirror/nginx")) && tags.len() == 12, "{tags:?}");
    assert!(browser.text("document.querySelector('#inside tfoot th').textContent").ends_with(" more"));
    browser.click("document.querySelector('.place button')");
    assert_eq!(trail(&mut browser), ["The store"]);
    // Into what one points at: a tag cannot be entered, so its repository is.
    browser.click("[...document.querySelectorAll('#map g')].find(it => it.ariaLabel.startsWith('web/storefront:'))");
    assert_eq!(trail(&mut browser), ["The store", "web", "storefront"]);
    browser.assert_quiet();
}

/// What a part holds is in it: the table below the picture adds up to what the picture says, at every level.
#[test]
fn the_table_below_adds_up_to_the_picture() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::big(&findings));
    let sums = "(() => {
        const sum = [...document.querySelectorAll('#inside tbody tr, #inside tfoot tr')]
            .reduce((sum, row) => sum + Number(row.cells[2].dataset.v), 0);
        const parts = JSON.parse(document.getElementById('parts').textContent).parts;
        const own = parts.map(([,,,, ...own]) => own.reduce((sum, size) => sum + size, 0));
        for (let index = parts.length - 1; index > 0; index -= 1) own[parts[index][0]] += own[index];
        return [sum, own];
    })()";
    for depth in 0..3 {
        let answer = browser.eval(sums);
        let all: Vec<f64> = serde_json::from_value(answer[1].clone()).unwrap();
        let sum = answer[0].as_f64().unwrap();
        assert!(sum > 0.0 && all.contains(&sum), "{sum} is no part of the store at depth {depth}");
        if depth == 0 {
            assert_eq!(sum, all[0]);
        }
        if depth < 2 {
            browser.click("document.querySelector('#inside tbody button')");
        }
    }
    browser.assert_quiet();
}

/// The picture follows its window.
#[test]
fn a_picture_is_drawn_anew_for_a_narrower_window() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    browser.click("[...document.querySelectorAll('#inside tbody button')].find(it => it.textContent === 'mirror')");
    browser
        .eval("[...document.querySelectorAll('#map g')].find(it => it.ariaLabel.startsWith('mirror/redis')).focus()");
    let focused = browser.text(FOCUSED);
    browser.set_window(360, 800);
    browser.settle();
    assert_eq!(browser.text(FOCUSED), focused, "who was in it stays where he was");
    let view = browser.text("document.querySelector('#map svg').getAttribute('viewBox')");
    assert!(view.starts_with("0 0 328 "), "{view}");
    assert!(browser.text(LABEL).starts_with("Treemap of mirror, "), "and shows what it has shown");
}
