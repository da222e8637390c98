//! The alert rules and the dashboard: what they ask for is what regsweep writes, and the page describes all of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ends::all;
use crate::fail_if_any;
use crate::prom::promtool;

const ALERTS: &str = "docs/monitoring/alerts.yml";
const DASHBOARD: &str = "docs/monitoring/dashboard.json";
const PAGE: &str = "docs/monitoring.md";

fn text(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What is named like a metric of ours.
fn named(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("regsweep_") {
        let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_new_word = !text[..at].ends_with(|c: char| is_part(c) || c == '/');
        let name: String = text[at..].chars().take_while(|c| is_part(*c)).collect();
        if is_new_word {
            names.insert(name);
        }
    }
    names
}

/// The names of alerts in a file.
fn alerts(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in text.split("alert: ").chain(text.split("alertname: ")).skip(1) {
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        if name.starts_with("Regsweep") {
            names.insert(name);
        }
    }
    names
}

#[test]
fn the_alerts_are_rules_and_each_fires_where_it_should() {
    let checked = promtool(&["check", "rules", ALERTS], "");
    assert_eq!(checked.code, 0, "{}", checked.said());
    let tested = promtool(&["test", "rules", "tests/monitoring/alerts.test.yml"], "");
    assert_eq!(tested.code, 0, "{}", tested.said());
    // Each of them is tried, fires at one time, and not at another.
    let tests = text("tests/monitoring/alerts.test.yml");
    let defined = alerts(&text(ALERTS));
    assert!(defined.len() >= 9, "{defined:?}");
    for alert in &defined {
        let tries: Vec<&str> =
            tests.split("eval_time:").filter(|it| it.contains(&format!("alertname: {alert}"))).collect();
        let quiet = tries.iter().filter(|it| it.contains("exp_alerts: []")).count();
        assert!(quiet > 0 && tries.len() > quiet, "{alert}: {} times tried, {quiet} of them quiet", tries.len());
    }
}

#[test]
fn whatever_is_asked_for_is_written_and_all_that_is_written_is_described() {
    let written: BTreeSet<String> =
        all().iter().flat_map(|end| end.series.names().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(written.len() > 25, "{written:?}");
    let mut failures = Vec::new();
    for file in [ALERTS, DASHBOARD, PAGE, "tests/monitoring/alerts.test.yml"] {
        let asked = named(&text(file));
        assert!(asked.len() > 3, "{file}: {asked:?}");
        failures.extend(asked.difference(&written).map(|name| format!("{file}: nothing writes {name}")));
    }
    let page = text(PAGE);
    let described = |name: &&String| page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}{{"));
    failures.extend(written.iter().filter(|name| !described(name)).map(|name| format!("{PAGE}: no {name}")));
    let missing = alerts(&text(ALERTS)).into_iter().filter(|alert| !page.contains(&format!("`{alert}`")));
    failures.extend(missing.map(|alert| format!("{PAGE}: no {alert}")));
    fail_if_any(&failures);
}

/// Every `expr` of a dashboard.
fn queries(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| queries(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, into)),
        _ => {}
    }
}

#[test]
fn the_dashboard_can_be_imported_and_its_queries_are_queries() {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert_eq!(dashboard["id"], Value::Null, "the id is for the one who imports it");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let kind_of = |name: &str| variables.iter().find(|it| it["name"] == name).map(|it| it["type"].as_str().unwrap());
    assert_eq!(kind_of("datasource"), Some("datasource"));
    assert_eq!((kind_of("registry"), kind_of("command")), (Some("query"), Some("query")));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has its own id");
    let mut cells = BTreeSet::new();
    for panel in panels {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (x, y) in (0..place("w")).flat_map(|x| (0..place("h")).map(move |y| (x, y))) {
            let cell = (place("x") + x, place("y") + y);
            assert!(cell.0 < 24 && cells.insert(cell), "{} lies over another", panel["title"]);
        }
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    let mut all = Vec::new();
    queries(&dashboard, &mut all);
    assert!(all.len() >= panels.len(), "{all:?}");
    // As rules, so that promtool reads them.
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, query) in all.iter().enumerate() {
        let query = query.replace("$registry", ".*").replace("$command", ".*");
        assert!(!query.contains('$'), "a variable that is not there: {query}");
        rules.push_str(&format!("      - record: dashboard:query{number}\n        expr: '{query}'\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries.yml");
    fs::write(&path, rules).unwrap();
    let checked = promtool(&["check", "rules", path.to_str().unwrap()], "");
    assert_eq!(checked.code, 0, "{}", checked.said());
}
