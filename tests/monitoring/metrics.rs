//! `--metrics`: a file however the run ends, and in it what the report says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::ends::{End, all, end, succeeded};
use crate::prom::Series;
use crate::support::process::{finish, finish_watched, regsweep};
use crate::support::tree::everything;
use crate::{STOPPED, fail_if_any, run};

const LAST_SUCCESS: &str = "regsweep_last_success_timestamp_seconds";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// What a family has to be, by the report.
fn expected(report: &Value) -> BTreeMap<String, f64> {
    let mut expected = BTreeMap::new();
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    let mut put = |name: &str, label: &str, value: f64| {
        expected.insert(format!("{name} {label}"), value);
    };
    let count = |severity: &str| {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().filter(|finding| finding["severity"] == severity).count() as f64
    };
    for severity in ["error", "warning", "info"] {
        put("regsweep_findings", &format!("severity=\"{severity}\""), count(severity));
    }
    let is_seen = report["phases"].as_array().is_some_and(|phases| !phases.is_empty());
    let takes = report["check"].is_null() || report["check"]["repair"] == true;
    let kinds = [
        ("blob", "blobs"),
        ("revision", "revisions"),
        ("tag", "tags"),
        ("layer_link", "layer_links"),
        ("upload", "uploads"),
        ("repository", "repositories"),
    ];
    for (kind, plural) in kinds {
        let label = format!("kind=\"{kind}\"");
        if is_seen {
            put("regsweep_scanned_objects", &label, number(&report["scanned"][plural]));
        }
        for (section, is_there) in [("garbage", is_seen && takes), ("removed", takes)].into_iter().filter(|it| it.1) {
            assert!(is_there);
            put(&format!("regsweep_{section}_objects"), &label, number(&report[section][plural]["count"]));
            if let Some(bytes) = report[section][plural]["bytes"].as_f64() {
                put(&format!("regsweep_{section}_bytes"), &label, bytes);
            }
        }
    }
    for phase in report["phases"].as_array().unwrap() {
        let label = format!("phase=\"{}\"", phase["name"].as_str().unwrap());
        put("regsweep_phase_duration_seconds", &label, number(&phase["seconds"]));
    }
    if let Some(seconds) = report["window_seconds"].as_f64() {
        put("regsweep_window_seconds", "", seconds);
    }
    if let Some(check) = report["check"].as_object() {
        let left = |field: &str, of: &Value| report["check"]["afterwards"].get(field).unwrap_or(of).as_f64().unwrap();
        put("regsweep_checked_tags", "", number(&check["tags"]["checked"]));
        put("regsweep_lost_tags", "", left("lost_tags", &check["tags"]["lost"]));
        put("regsweep_wrong_links", "", left("wrong_links", &check["links"]["wrong"]));
        put("regsweep_scanned_bytes", "", number(&check["blob_bytes"]));
        put("regsweep_damaged_blobs", "", check["damaged"].as_array().unwrap().len() as f64);
    }
    put("regsweep_dry_run", "", f64::from(u8::from(report["dry_run"] == true)));
    expected
}

#[test]
fn every_end_leaves_metrics_that_promtool_accepts_and_the_report_confirms() {
    let mut failures = Vec::new();
    let ends = all();
    for End { name, series, report, .. } in &ends {
        let Some(report) = report else {
            let is_about_figures = |name: &&str| ["scanned", "removed", "findings"].iter().any(|it| name.contains(it));
            // In one case the figures are known, and it is the report that could not be written.
            let has_figures = series.names().any(|name| is_about_figures(&name));
            if has_figures != (*name == "a report that cannot be written") {
                failures.push(format!("{name}: no report, and figures: {has_figures}"));
            }
            continue;
        };
        let expected = expected(report);
        for (what, value) in &expected {
            let (family, label) = what.split_once(' ').unwrap();
            let found = series.get(family, &[label]);
            if found != Some(*value) {
                failures.push(format!("{name}: {what} is {found:?}, not {value}"));
            }
        }
        for family in ["regsweep_scanned_objects", "regsweep_garbage_objects", "regsweep_removed_objects"] {
            let is_expected = expected.keys().any(|what| what.starts_with(&format!("{family} ")));
            let is_there = series.names().any(|it| it == family);
            failures.extend((is_expected != is_there).then(|| format!("{name}: {family}, there: {is_there}")));
        }
    }
    let with_report = ends.iter().filter(|end| end.report.is_some()).count();
    assert!(with_report >= 12 && with_report < ends.len(), "{with_report} of {} have a report", ends.len());
    let known = |name: &str| ends.iter().find(|end| end.name == name).unwrap();
    let live = |name: &str| known(name).series.get("regsweep_live_bytes", &[]);
    assert_eq!(live("done"), None, "nobody has looked at every blob");
    assert!(live("sizes known").is_some() && live("checked").is_some());
    assert_eq!(known("done").series.one("regsweep_trash_runs"), 1.0);
    assert!(known("damage").series.one("regsweep_tainted_repositories") >= 1.0);
    assert!(known("lost").series.one("regsweep_lost_tags") >= 1.0);
    fail_if_any(&failures);
}

/// Blobs that are needed, and blobs that are not, are all there are; and so are their bytes.
#[test]
fn live_and_garbage_are_all_there_is() {
    let tree = everything();
    let series = end(&tree, "dry run", &["gc", "-d", "-m", "--html", "/dev/null"], 0).series;
    let blob = |family: &str| series.get(family, &["kind=\"blob\""]).unwrap();
    let garbage = blob("regsweep_garbage_objects");
    assert!(garbage > 0.0);
    assert_eq!(series.one("regsweep_live_blobs") + garbage, blob("regsweep_scanned_objects"));
    let bytes = tree.fingerprint().bytes_below("docker/registry/v2/blobs") as f64;
    assert_eq!(series.one("regsweep_scanned_bytes"), bytes, "what is there");
    assert_eq!(series.one("regsweep_live_bytes") + blob("regsweep_garbage_bytes"), bytes);
}

#[test]
fn the_last_success_outlives_what_comes_after_it() {
    let before = now();
    let (tree, first) = succeeded();
    let success = first.one(LAST_SUCCESS);
    assert!(success >= before - 0.002 && success <= now(), "{success} is the end of that run");
    // A file that is there already tells, where the registry cannot be read.
    let not_mounted = tree.root().with_file_name("away");
    let registry = tree.root();
    fs::rename(&registry, &not_mounted).unwrap();
    let failed = end(&tree, "not mounted", &["gc", STOPPED], 2).series;
    assert_eq!(failed.one(LAST_SUCCESS), success);
    fs::rename(&not_mounted, &registry).unwrap();
    for (name, words, code) in [
        ("refused", &["gc"][..], 4),
        ("brake", &["gc", STOPPED, "-m", "--max-delete", "0"], 4),
        ("dry run", &["gc", "-d", "-m"], 0),
    ] {
        assert_eq!(end(&tree, name, words, code).series.one(LAST_SUCCESS), success, "{name}");
    }
    // The file is gone since the machine was started: the registry knows, to the moment in which the line was written.
    fs::remove_file(tree.beside().join("metrics.prom")).unwrap();
    let refused = end(&tree, "refused", &["gc"], 4).series;
    let remembered = refused.one(LAST_SUCCESS);
    assert!(remembered <= success && remembered > success - 60.0, "{remembered}, {success}");
    // Another success counts, and damage is one: the run did all that it was to do.
    tree.truncate(&tree.repository("team/app").current("v1"), 0);
    let again = end(&tree, "damage", &["gc", STOPPED], 3).series.one(LAST_SUCCESS);
    assert!(again > success, "{again}, {success}");
    let checked = end(&tree, "checked", &["check"], 3).series;
    assert!(checked.one(LAST_SUCCESS) >= again, "of its own command");
}

#[test]
fn no_success_is_none() {
    let tree = everything();
    assert_eq!(end(&tree, "refused", &["gc"], 4).series.one(LAST_SUCCESS), 0.0);
    let dry = end(&tree, "dry run", &["gc", "-d"], 0).series;
    assert_eq!(dry.get(LAST_SUCCESS, &[]), None, "a dry run does not say that nothing has ever succeeded");
    // A time that is still to come is none either: it would hide for years that nothing succeeds.
    let path = tree.beside().join("metrics.prom");
    let text = fs::read_to_string(&path).unwrap();
    let series = format!("{LAST_SUCCESS}{{command=\"gc\",registry=\"{}\"}}", tree.root().display());
    fs::write(&path, format!("{text}{series} {}\n", now() + 1e9)).unwrap();
    assert_eq!(end(&tree, "refused", &["gc"], 4).series.one(LAST_SUCCESS), 0.0);
    fs::write(&path, format!("{text}{series} 1700000000\n")).unwrap();
    assert_eq!(end(&tree, "refused", &["gc"], 4).series.one(LAST_SUCCESS), 1_700_000_000.0);
}

/// Whoever reads the file at whatever moment sees a whole one.
#[test]
fn nobody_sees_half_a_file() {
    let (tree, _) = succeeded();
    let path = tree.beside().join("metrics.prom");
    let mut looks = 0;
    for _ in 0..3 {
        let root = tree.root();
        let words = ["gc", STOPPED, "-m", "--metrics", path.to_str().unwrap(), root.to_str().unwrap()];
        finish_watched(regsweep(&words), |_| {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.ends_with('\n') && text.contains("regsweep_tainted_repositories{"), "half a file:\n{text}");
            looks += 1;
        })
        .exits(0);
    }
    assert!(looks > 3, "{looks} looks");
    let others: Vec<_> = fs::read_dir(tree.beside()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!others.iter().any(|name| name.to_string_lossy().contains(".tmp")), "nothing is left: {others:?}");
}

/// The umask of cron and of systemd may be anything.
#[test]
fn everybody_may_read_it_whatever_the_umask() {
    let tree = everything();
    let path = tree.beside().join("metrics.prom");
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_regsweep"), "gc", "-d", "--metrics"]);
    command.arg(&path).arg(tree.root());
    finish(command).exits(0);
    Series::read(&path);
}

#[test]
fn not_among_the_registrys_own_files() {
    let tree = everything();
    let inside = tree.v2().join("metrics.prom");
    let before = tree.fingerprint();
    let inside = inside.to_str().unwrap();
    let refused = run(&tree, &["gc", "-d", "--metrics", inside]);
    refused.exits(2);
    assert!(refused.stderr.contains("lies in the registry's own folders"), "{}", refused.stderr);
    // And not where it cannot be opened: a config that does not parse.
    let config = tree.beside().join("config.yml");
    fs::write(&config, "version: [").unwrap();
    let words = ["gc", "--metrics", inside, config.to_str().unwrap()];
    let refused = finish(regsweep(&words));
    refused.exits(2);
    assert!(refused.stderr.contains("no metrics are written"), "{}", refused.stderr);
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_written_is_no_success() {
    let tree = everything();
    let run = run(&tree, &["gc", "-q", STOPPED, "--metrics", "/nowhere/metrics.prom"]);
    run.exits(1);
    assert!(run.stderr.contains("cannot write the metrics to /nowhere/metrics.prom"), "{}", run.stderr);
}

/// node_exporter passes over other names in silence.
#[test]
fn a_name_that_is_not_read_is_told() {
    let tree = everything();
    let path = |name: &str| tree.beside().join(name).to_str().unwrap().to_owned();
    assert!(run(&tree, &["gc", "-d", "--metrics", &path("x.txt")]).stderr.contains("only files that end in .prom"));
    assert_eq!(run(&tree, &["gc", "-d", "--metrics", &path("x.prom")]).stderr, "");
    assert_eq!(run(&tree, &["gc", "-d", "-q", "--metrics", &path("x.txt")]).stderr, "");
}

/// Names that could end a label, or a line.
#[test]
fn a_hostile_path_stays_in_its_label() {
    let tree = everything();
    let odd = tree.beside().join("a\"} 1\nregsweep_exit_code{x=\"\\ \u{1b}[31m");
    std::os::unix::fs::symlink(tree.root(), &odd).unwrap();
    let path = tree.beside().join("metrics.prom");
    let run = finish(regsweep(&[Path::new("gc"), Path::new("-d"), Path::new("--metrics"), &path, &odd]));
    run.exits(0);
    let series = Series::read(&path);
    assert_eq!(series.one("regsweep_exit_code"), 0.0);
    assert!(series.0.keys().all(|name| !name.contains('\u{1b}')), "{series:#?}");
}
