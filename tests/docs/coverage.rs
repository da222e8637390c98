//! Nothing is left out.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::examples::Machine;
use crate::names::prose;
use crate::source::variants;
use crate::{Page, fail_if_any, page, pages};

/// Every key of a JSON value, at any depth.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            keys(value, into);
        }),
        Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn every_kind_event_and_field_is_described() {
    let mut failures = Vec::new();
    let mut expect = |page: &Page, names: Vec<String>| {
        for name in names {
            if !page.text.contains(&format!("`{name}`")) {
                failures.push(format!("{}: `{name}` is not described", page.name));
            }
        }
    };
    let (report, on_disk) = (page("docs/report.md"), page("docs/on-disk.md"));
    expect(&report, variants("src/finding.rs", "FindingKind"));
    expect(&report, variants("src/plan.rs", "Reason"));
    expect(&report, variants("src/plan.rs", "ActionKind").into_iter().map(|kind| kind.replace('-', "_")).collect());
    expect(&report, variants("src/run/ended.rs", "Outcome"));
    expect(&report, variants("src/interlock/evidence.rs", "EvidenceKind"));
    let of_others = ["measure", "restore"];
    expect(
        &report,
        variants("src/progress.rs", "Phase").into_iter().filter(|phase| !of_others.contains(&phase.as_str())).collect(),
    );
    expect(&on_disk, variants("src/sweep/journal.rs", "Event"));

    let mut machine = Machine::new();
    let printed =
        machine.run("regsweep gc --registry-stopped --quarantine --format json /var/lib/registry 2>/dev/null");
    let mut fields = BTreeSet::new();
    keys(&serde_json::from_str(&printed).expect("one JSON document"), &mut fields);
    assert!(fields.len() > 40, "{fields:?}");
    expect(&report, fields.into_iter().collect());
    let printed = machine.run("regsweep rm --dry-run --format json /var/lib/registry team/web 2>/dev/null");
    let mut fields = BTreeSet::new();
    keys(&serde_json::from_str(&printed).expect("one JSON document"), &mut fields);
    expect(&report, fields.into_iter().collect());
    let printed = machine.run("cat /var/lib/registry/docker/registry/v2/_regsweep/runs/*/journal.jsonl");
    let mut fields = BTreeSet::new();
    printed.lines().for_each(|line| keys(&serde_json::from_str(line).unwrap(), &mut fields));
    expect(&on_disk, fields.into_iter().collect());

    let listing = page("docs/listing.md");
    expect(&listing, variants("src/listing/mod.rs", "Kind"));
    let printed = machine.run("regsweep ls --format json --tree --untagged /var/lib/registry");
    let mut fields = BTreeSet::new();
    keys(&serde_json::from_str(&printed).expect("one JSON document"), &mut fields);
    assert!(fields.len() > 20, "{fields:?}");
    expect(&listing, fields.into_iter().collect());

    let broken = ": > /var/lib/registry/docker/registry/v2/repositories/team/web/_manifests/tags/latest/current/link\n\
                  for link in /var/lib/registry/docker/registry/v2/repositories/team/worker/_layers/sha256/*/link; \
                  do : > $link; done\n\
                  rm -r /var/lib/registry/docker/registry/v2/blobs/sha256/73";
    let printed = machine.run(&format!(
        "{broken}\nregsweep check --repair --registry-stopped --read-data --format json /var/lib/registry 2>/dev/null"
    ));
    let mut fields = BTreeSet::new();
    keys(&serde_json::from_str(&printed).expect("one JSON document"), &mut fields);
    assert!(fields.contains("lacks") && fields.contains("was") && fields.contains("mend"), "{fields:?}");
    expect(&report, fields.into_iter().collect());
    let printed = machine.run("cat /var/lib/registry/docker/registry/v2/_regsweep/runs/*/journal.jsonl");
    let mut fields = BTreeSet::new();
    printed.lines().for_each(|line| keys(&serde_json::from_str(line).unwrap(), &mut fields));
    expect(&on_disk, fields.into_iter().collect());

    let why = page("docs/why.md");
    for (file, name) in [
        ("src/why/mod.rs", "State"),
        ("src/why/mod.rs", "Kept"),
        ("src/why/roots.rs", "RootKind"),
        ("src/why/traces.rs", "TraceKind"),
        ("src/why/graph.rs", "Edge"),
    ] {
        expect(&why, variants(file, name));
    }
    // What goes has gone from the other one.
    let (mut machine, mut fields) = (Machine::new(), BTreeSet::new());
    for asked in ["5d569ae5b11b", "094957b00bc4", "team/web:latest", "team/web"] {
        let printed = machine.run(&format!("regsweep why --format json /var/lib/registry {asked}"));
        keys(&serde_json::from_str(&printed).expect("one JSON document"), &mut fields);
    }
    assert!(fields.len() > 40, "{fields:?}");
    expect(&why, fields.into_iter().collect());

    let usage = page("docs/usage.md");
    let (mut machine, mut fields) = (Machine::new(), BTreeSet::new());
    for arguments in ["--tags /var/lib/registry", "/var/lib/registry team/web:latest"] {
        let printed = machine.run(&format!("regsweep du --format json {arguments}"));
        keys(&serde_json::from_str(&printed).expect("one JSON document"), &mut fields);
    }
    assert!(fields.len() > 30, "{fields:?}");
    expect(&usage, fields.into_iter().collect());
    let printed = machine.run("regsweep du --format csv /var/lib/registry");
    expect(&usage, printed.lines().next().unwrap().split(',').map(str::to_owned).collect());
    fail_if_any(&failures);
}

/// The schema of a policy knows the keys that the parser knows, and the page describes them.
#[test]
fn every_key_of_a_policy_is_in_its_schema_and_on_its_page() {
    use regsweep::policy::file::{EXPIRE_KEYS, KEEP_KEYS, KEYS, RULE_KEYS};
    let schema: Value = serde_json::from_str(&page("docs/policy.schema.json").text).unwrap();
    let page = page("docs/retention.md");
    let mut failures = Vec::new();
    for (place, keys) in
        [("", &KEYS[..]), ("/$defs/rule", &RULE_KEYS), ("/$defs/keep", &KEEP_KEYS), ("/$defs/expire", &EXPIRE_KEYS)]
    {
        let section = schema.pointer(place).unwrap();
        assert_eq!(section["additionalProperties"], false, "{place}");
        let in_schema: BTreeSet<&str> = section["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let known: BTreeSet<&str> = keys.iter().copied().collect();
        failures.extend(known.symmetric_difference(&in_schema).map(|key| format!("policy.schema.json: {place} {key}")));
        let missing = keys.iter().filter(|key| !page.text.contains(&format!("`{key}`")));
        failures.extend(missing.map(|key| format!("docs/retention.md: `{key}` is not described")));
    }
    fail_if_any(&failures);
}

/// Every policy that the documentation shows is one.
#[test]
fn every_policy_that_is_shown_is_one() {
    let mut failures = Vec::new();
    let mut shown = 0;
    for page in pages() {
        for block in page.text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            if block.contains("rules:") {
                shown += 1;
                let parsed = regsweep::policy::file::parse(block);
                failures.extend(parsed.err().map(|error| format!("{}: {error} in\n{block}", page.name)));
            }
        }
    }
    assert!(shown >= 4, "{shown} policies");
    fail_if_any(&failures);
}

#[test]
fn lines_are_at_most_120_columns_wide() {
    let mut failures = Vec::new();
    for page in pages() {
        for (number, line) in prose(&page.text) {
            // A row of a table cannot be wrapped, and neither can an address.
            let is_address = line.starts_with('[') && line.contains("]: http");
            if !line.starts_with('|') && !is_address && line.chars().count() > 120 {
                failures.push(format!("{}:{number}: {} columns", page.name, line.chars().count()));
            }
        }
    }
    fail_if_any(&failures);
}

/// What is said to take so many seconds or so much memory in the table of the README is a figure of the benchmark, as
/// it was measured last.
#[test]
fn figures_of_the_readme_are_those_of_the_benchmark() {
    const UNITS: [&str; 3] = ["s", "MiB", "%"];
    let (readme, benchmarks) = (page("README.md"), page("docs/benchmarks.md"));
    let figures = |text: &str| -> BTreeSet<String> {
        let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_end_matches([';', ',', '.'])).collect();
        let is_figure = |pair: &&[&str]| pair[0].parse::<f64>().is_ok() && UNITS.contains(&pair[1]);
        words.windows(2).filter(is_figure).map(|pair| pair.join(" ")).collect()
    };
    let measured = figures(&benchmarks.text);
    let quoted: BTreeSet<String> =
        readme.text.lines().filter(|line| line.starts_with("| ")).flat_map(figures).collect();
    assert!(quoted.len() >= 8, "{quoted:?}");
    let failures: Vec<String> = quoted
        .difference(&measured)
        .map(|figure| format!("README.md: {figure} is not in docs/benchmarks.md"))
        .collect();
    fail_if_any(&failures);
}
