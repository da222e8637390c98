//! Themes, narrow windows, and screen readers.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::samples;

/// The contrast of two colours as WCAG 2 reckons it, and of every text on the page with what is behind it, in script.
const CONTRAST: &str = r"
    const parse = (text) => { const [r, g, b, a = '1'] = text.match(/[\d.]+/g); return [+r, +g, +b, +a]; };
    const linear = (value) => value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const contrast = (one, other) => {
        const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
        return (bright + 0.05) / (dark + 0.05);
    };
    const behind = (element) => {
        for (let at = element; at !== null; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour[3] === 1) return colour;
        }
        throw new Error('nothing is behind it');
    };
";

/// No page has to be scrolled sideways, from a phone to a desk; tables scroll in boxes of their own.
#[test]
fn no_page_is_wider_than_its_window() {
    let (findings, hostile) = (samples::findings(), samples::hostile_findings());
    let mut browser = Browser::start();
    let pages = [
        ("small", samples::small(&findings)),
        ("hostile", samples::hostile(&hostile)),
        ("big", samples::big(&findings)),
        ("empty", samples::empty()),
        ("one-blob", samples::one_blob()),
    ];
    for (name, page) in &pages {
        for is_script_on in [true, false] {
            browser.set_script(is_script_on);
            browser.set_window(1280, 900);
            browser.go_to(page);
            for width in [1280, 360] {
                browser.set_window(width, 800);
                browser.settle();
                let widths = browser.eval("[document.documentElement.scrollWidth, innerWidth]");
                assert_eq!(widths[0], width, "{name}, {widths}");
                for theme in ["light", "dark"] {
                    browser.set_theme(theme);
                    let script = if is_script_on { "" } else { "-no-script" };
                    browser.shoot(&format!("{name}-{width}-{theme}{script}"));
                }
            }
        }
    }
}

#[test]
fn text_stands_out_from_what_is_behind_it_in_both_themes() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    let mut pages = Vec::new();
    for theme in ["light", "dark"] {
        browser.set_theme(theme);
        let weak = browser.eval(&format!(
            "(() => {{ {CONTRAST}
            const weak = [];
            let seen = 0;
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            for (let text = walker.nextNode(); text !== null; text = walker.nextNode()) {{
                const element = text.parentElement;
                if (text.textContent.trim() === '' || element.closest('svg, script, style, .unseen, .skip')) continue;
                seen += 1;
                const ratio = contrast(parse(getComputedStyle(element).color), behind(element));
                if (ratio < 4.5) weak.push(`${{ratio.toFixed(2)}} ${{element.tagName}} ${{text.textContent}}`);
            }}
            return [seen, weak];
            }})()"
        ));
        assert!(weak[0].as_u64().unwrap() > 1000, "{} texts", weak[0]);
        assert_eq!(weak[1], json!([]), "{theme}");
        // In pictures: letters on each class, each class beside the gap around it, and names of frames.
        let ratios = browser.eval(&format!(
            "(() => {{ {CONTRAST}
            const fill = (selector) => parse(getComputedStyle(document.querySelector(selector)).fill);
            const stroke = (selector) => parse(getComputedStyle(document.querySelector(selector)).stroke);
            const page = behind(document.body);
            const ratios = [['head', contrast(fill('.map .head'), fill('.map .frame')), 4.5],
                            ['muted', contrast(fill('.chart .muted'), page), 4.5]];
            for (const name of ['live', 'shared', 'untagged', 'garbage']) {{
                const colour = fill(`#fill-${{name}} rect`);
                ratios.push([`on ${{name}}`, contrast(fill('.map .on'), colour), 4.5]);
                if (name !== 'live') {{
                    ratios.push([`on ${{name}}, lines`, contrast(fill('.map .on'), stroke(`.line-${{name}}`)), 4.5]);
                }}
                ratios.push([`${{name}} on page`, contrast(colour, page), 3]);
                ratios.push([`${{name}} in frame`, contrast(colour, fill('.map .frame')), 3]);
            }}
            return ratios;
            }})()"
        ));
        for ratio in ratios.as_array().unwrap() {
            assert!(ratio[1].as_f64().unwrap() >= ratio[2].as_f64().unwrap(), "{theme}: {ratio}");
        }
        pages.push(
            browser.eval("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"),
        );
    }
    assert_ne!(pages[0][0], pages[1][0]);
    assert_ne!(pages[0][1], pages[1][1]);
}

/// Where styles are forbidden, classes still have their colours, and nothing is there twice.
#[test]
fn without_styles_the_page_can_be_read() {
    let findings = samples::findings();
    let mut browser = Browser::start();
    browser.set_window(1280, 900);
    browser.set_script(false);
    browser.go_to(&samples::small(&findings));
    browser.eval("document.styleSheets[0].disabled = true");
    browser.settle();
    let fills = browser.texts(
        "['live', 'shared', 'untagged', 'garbage'].map(name =>
            getComputedStyle(document.querySelector(`#fill-${name} rect`)).fill)",
    );
    assert_eq!(fills, ["rgb(29, 91, 155)", "rgb(10, 112, 107)", "rgb(141, 85, 0)", "rgb(176, 42, 32)"]);
    assert_eq!(browser.text("getComputedStyle(document.querySelector('.map .on')).fill"), "rgb(255, 255, 255)");
    assert_eq!(browser.text("getComputedStyle(document.querySelector('#map .narrow')).display"), "none");
    browser.shoot("small-without-styles");
}

/// A node of the accessibility tree: what a screen reader knows.
fn heard(browser: &mut Browser) -> Vec<Value> {
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    nodes.iter().filter(|node| node["ignored"] == false).cloned().collect()
}

fn role(node: &Value) -> &str {
    node["role"]["value"].as_str().unwrap_or_default()
}

fn name(node: &Value) -> &str {
    node["name"]["value"].as_str().unwrap_or_default()
}

fn property<'a>(node: &'a Value, wanted: &str) -> &'a Value {
    let properties = node["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
    properties.iter().find(|property| property["name"] == wanted).map_or(&Value::Null, |found| &found["value"]["value"])
}

#[test]
fn a_screen_reader_finds_its_way() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    browser.eval("document.querySelector('details').open = true");
    browser.settle();
    let heard = heard(&mut browser);
    // Whatever can be used says what it is.
    let interactive = ["button", "link", "searchbox", "textbox", "combobox"];
    let used: Vec<&Value> = heard.iter().filter(|node| interactive.contains(&role(node))).collect();
    assert!(used.len() > 100, "{}", used.len());
    let nameless: Vec<&&Value> = used.iter().filter(|node| name(node).trim().is_empty()).collect();
    assert!(nameless.is_empty(), "{nameless:#?}");
    let mut filters: Vec<&str> = used.iter().filter(|node| role(node) == "searchbox").map(|node| name(node)).collect();
    filters.sort_unstable();
    assert_eq!(filters, ["Filter Bytes by month of push", "Filter Largest exclusive images", "Filter Repositories"]);
    let focusable: Vec<&Value> = heard
        .iter()
        .filter(|node| property(node, "focusable") == true && role(node) != "RootWebArea" && name(node).is_empty())
        .collect();
    let unnamed: Vec<&str> = focusable.iter().map(|node| role(node)).collect();
    assert!(unnamed.iter().all(|role| ["main", "listitem", "DisclosureTriangle"].contains(role)), "{unnamed:?}");
    // Headings go down one step at a time.
    let levels: Vec<u64> = heard
        .iter()
        .filter(|node| role(node) == "heading")
        .map(|node| property(node, "level").as_u64().unwrap())
        .collect();
    assert_eq!(levels[0], 1);
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    // Every table says what it is, and its headings what they head.
    let tables: Vec<&str> = heard.iter().filter(|node| role(node) == "table").map(name).collect();
    assert_eq!(tables.len(), 6, "{tables:?}");
    assert!(tables.iter().all(|name| !name.is_empty()), "{tables:?}");
    assert!(tables.contains(&"Repositories, 20 rows"), "{tables:?}");
    assert_eq!(heard.iter().filter(|node| role(node) == "rowheader").count(), 7 + 32 + 466 + 4 + 20 + 3);
    let scopes =
        browser.eval("document.querySelectorAll('thead th:not([scope=col]), tbody th:not([scope=row])').length");
    assert_eq!(scopes, 0);
    // Landmarks, the pictures, and the place where changes are told.
    for landmark in ["banner", "main", "contentinfo", "navigation", "status"] {
        assert_eq!(heard.iter().filter(|node| role(node) == landmark).count(), 1, "{landmark}");
    }
    let pictures: Vec<&str> = heard.iter().filter(|node| ["image", "group"].contains(&role(node))).map(name).collect();
    for begin in
        ["Treemap of the store, 14.70 GiB: ", "All bytes by class: ", "Bytes by the month of their push. From 2024-04"]
    {
        assert!(pictures.iter().any(|name| name.starts_with(begin)), "{begin}: {:?}", &pictures[..5]);
    }
}

/// One stop for the whole picture, and no stop without a visible focus.
#[test]
fn every_stop_of_the_tab_key_can_be_seen() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    let mut stops = Vec::new();
    loop {
        browser.press("Tab");
        let stop = browser.eval(
            "(() => {
                const it = document.activeElement;
                if (it === document.body) return null;
                const style = getComputedStyle(it);
                const ring = document.querySelector('#map .focus').getAttribute('visibility') === 'visible';
                const box = it.getBoundingClientRect();
                const outline = style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2;
                const seen = it.closest('#map') ? ring : outline;
                return [it.tagName, seen && box.width > 1 && box.height > 1];
            })()",
        );
        if stop.is_null() {
            break;
        }
        assert_eq!(stop[1], true, "{stop} after {stops:?}");
        stops.push(stop[0].as_str().unwrap().to_owned());
        assert!(stops.len() < 200, "there is an end: {stops:?}");
    }
    assert_eq!(stops[0], "A", "first the way past it all");
    assert_eq!(stops.iter().filter(|stop| *stop == "g").count(), 1, "{stops:?}");
    assert!(stops.len() > 30, "{stops:?}");
}

/// On paper nothing has to be scrolled, nothing has to be used, and everything is light.
#[test]
fn on_paper_everything_is_there_and_light() {
    let findings = samples::findings();
    let mut browser = Browser::open(&samples::small(&findings));
    let colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]";
    browser.set_theme("light");
    let light = browser.eval(colours);
    let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
    browser.call("Emulation.setEmulatedMedia", json!({"media": "print", "features": features}));
    browser.settle();
    assert_eq!(browser.eval(colours), light);
    let hidden = browser.eval(
        "[...document.querySelectorAll('.scroll')].filter(box => box.checkVisibility())
            .filter(box => getComputedStyle(box).overflowY !== 'visible' || box.scrollHeight > box.clientHeight + 1)
            .length",
    );
    assert_eq!(hidden, 0, "no table is cut");
    let used = browser.eval("[...document.querySelectorAll('input, .skip')].filter(it => it.checkVisibility()).length");
    assert_eq!(used, 0);
    browser.shoot("small-on-paper");
}
