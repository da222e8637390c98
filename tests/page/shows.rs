//! What is on the page, and what it must never do.

use serde_json::json;

use crate::browser::Browser;
use crate::samples::{self, HOSTILE};

/// Every page opens without an error, asks for nothing but itself, and violates nothing of its policy.
#[test]
fn a_page_opens_in_silence() {
    let findings = samples::findings();
    let mut browser = Browser::start();
    for page in [samples::small(&findings), samples::big(&findings), samples::empty(), samples::one_blob()] {
        browser.go_to(&page);
        browser.settle();
        assert_eq!(browser.text("document.querySelector('h1').textContent"), "What is in this registry");
        assert_eq!(browser.eval("getComputedStyle(document.body).margin !== '8px'"), true, "the style counts");
        browser.assert_quiet();
    }
}

/// The test can see what it looks for: a policy that forbids something, and a name that runs.
#[test]
fn what_should_not_be_is_seen() {
    let mut browser = Browser::open(&samples::one_blob());
    browser.eval(
        "(async () => {
            const image = document.createElement('img');
            image.src = 'file:///nothing.png';
            image.setAttribute('onerror', 'window.ran = 1');
            document.body.append(image);
            await new Promise((done) => document.addEventListener('securitypolicyviolation', done));
        })()",
    );
    let violations = browser.texts("window.violations");
    assert!(violations.iter().any(|text| text.starts_with("img-src")), "{violations:?}");
    assert!(violations.iter().any(|text| text.starts_with("script-src-attr")), "{violations:?}");
    assert!(browser.eval("window.ran ?? null").is_null(), "the policy forbids what an attribute would run");
}

/// Names that are markup run nothing and are there as text: in tables, in the picture, in what is read out.
#[test]
fn hostile_names_are_text() {
    let findings = samples::hostile_findings();
    let page = samples::hostile(&findings);
    let mut browser = Browser::open(&page);
    let walk = |browser: &mut Browser| {
        let text = browser
            .text("document.body.textContent + [...document.querySelectorAll('[aria-label]')].map(it => it.ariaLabel)");
        for name in &HOSTILE[..6] {
            assert!(text.contains(name), "{name}");
        }
        assert!(text.contains("app\\u{202e}gnp.exe") && !text.contains('\u{202e}'), "direction is shown, not obeyed");
        let made = browser.eval("document.querySelectorAll('img, svg [onload], [onerror], [onload]').length");
        assert_eq!(made, 0);
        assert_eq!(browser.eval("document.scripts.length"), 2);
        browser.assert_quiet();
    };
    walk(&mut browser);
    // Everything that the script makes from names: deeper into the picture, and sorted.
    browser.click("document.querySelector('#inside tbody button')");
    browser.click("document.querySelector('#inside tbody button')");
    assert_eq!(browser.eval("document.querySelectorAll('.place li').length"), 3);
    browser.click("document.querySelector('#images thead button')");
    walk(&mut browser);
}

/// Without its script, everything is there that can be there without one.
#[test]
fn the_page_is_whole_without_its_script() {
    let findings = samples::findings();
    let mut browser = Browser::start();
    browser.set_window(1280, 900);
    browser.set_script(false);
    browser.go_to(&samples::small(&findings));
    // The pictures of the page are those of the file.
    assert_eq!(browser.eval("document.querySelectorAll('#map .wide svg, #map .narrow svg').length"), 2);
    assert_eq!(browser.eval("document.querySelectorAll('button, input').length"), 0, "nothing that does nothing");
    let shown = "(selector) => getComputedStyle(document.querySelector(selector)).display";
    for (width, wide, narrow) in [(1280, "block", "none"), (360, "none", "block")] {
        browser.set_window(width, 800);
        browser.settle();
        let displays = browser.eval(&format!("['#map .wide', '#map .narrow'].map({shown})"));
        assert_eq!(displays, json!([wide, narrow]), "at {width}");
    }
    let rows = "[...document.querySelectorAll('#table-1 tbody td:nth-child(3)')].map(cell => Number(cell.dataset.v))";
    let sizes: Vec<u64> = serde_json::from_value(browser.eval(rows)).unwrap();
    assert_eq!(sizes.len(), 20);
    assert!(sizes.is_sorted_by(|a, b| a >= b), "in the best order: {sizes:?}");
    assert_eq!(browser.eval("document.querySelectorAll('.plot g').length"), 32, "a bar for each month, with its gaps");
    assert!(browser.text("document.querySelector('#findings tbody').textContent").contains("cannot be pulled"));
    // With the script there is the same picture, drawn anew for this window.
    let labels = "[...document.querySelectorAll('#map .wide title')].map(title => title.textContent)";
    let drawn = browser.texts(labels);
    browser.set_script(true);
    browser.set_window(1280, 900);
    browser.reload();
    browser.settle();
    let drawn_anew = browser.texts(&labels.replace(" .wide", ""));
    let first = |titles: &[String]| titles.iter().take(7).cloned().collect::<Vec<_>>();
    assert_eq!(first(&drawn_anew), first(&drawn), "sizes and words are the same from both");
    browser.assert_quiet();
}

/// The writer and the script say sizes in the same words: halves too, which go to the even digit.
#[test]
fn sizes_are_said_in_one_way() {
    let mut browser = Browser::open(&samples::one_blob());
    let written = browser.text("document.querySelector('.legend div:last-child b').textContent");
    let drawn = browser.text("document.querySelector('#map title').textContent");
    assert_eq!((written.as_str(), drawn.as_str()), ("1.12 KiB", "the store: 1.12 KiB, garbage"));
}

#[test]
fn an_empty_registry_is_no_error() {
    let mut browser = Browser::open(&samples::empty());
    let text = browser.text("document.querySelector('main').textContent");
    assert!(text.contains("the store is empty") && text.contains("Findings"), "{text}");
    browser.assert_quiet();
}
