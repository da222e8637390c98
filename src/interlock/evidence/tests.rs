use std::cell::RefCell;
use std::path::PathBuf;

use super::*;

const OWN: &str = "http://127.0.0.1:5000";
const GIVEN: &str = "https://registry.example.org";

fn config(read_only: bool, proxy: bool) -> RegistryConfig {
    RegistryConfig {
        root_directory: PathBuf::from("/data"),
        read_only,
        read_only_source: read_only.then(|| "storage.maintenance.readonly.enabled: true (line 9)".to_owned()),
        http_url: Some(OWN.to_owned()),
        proxy_remote_url: proxy.then(|| "https://user:secret@upstream.example.org".to_owned()),
        notes: Vec::new(),
    }
}

/// One situation. `None` for an answer: that address is not there to be asked.
struct Case {
    config: Option<bool>,
    own: Option<ProbeAnswer>,
    given: Option<ProbeAnswer>,
    stopped: bool,
    cache: bool,
}

fn decide(case: &Case) -> ReadOnly {
    let mut config = config(case.config == Some(true), false);
    if case.own.is_none() {
        config.http_url = None;
    }
    let given: RegistryUrl = GIVEN.parse().unwrap();
    let sources = Sources {
        config: case.config.is_some().then_some((Path::new("/etc/config.yml"), &config)),
        registry_url: case.given.is_some().then_some(&given),
        stopped: case.stopped,
        credentials: None,
        pull_through_state: case.cache,
        database_in_use: false,
    };
    gather(&sources, &|url, _| {
        let answer = if *url == given { &case.given } else { &case.own };
        answer.clone().unwrap()
    })
}

fn kinds(found: &ReadOnly) -> String {
    let letter = |evidence: &Evidence| match evidence.kind {
        EvidenceKind::Config => 'c',
        EvidenceKind::Probe => 'p',
        EvidenceKind::Stopped => 's',
    };
    found.evidence.iter().map(letter).collect()
}

/// The rule itself, written a second time and as shortly as it can be, over all 2 x 2 x 3 x 7 x 7 situations.
#[test]
fn every_combination() {
    use ProbeAnswer::{CredentialsNeeded, NobodyServes, OtherStorage, ReadOnly, Unclear, Writable};
    let answers = [
        None,
        Some(ReadOnly),
        Some(Writable),
        Some(CredentialsNeeded),
        Some(NobodyServes),
        Some(Unclear("x".to_owned())),
        Some(OtherStorage("x".to_owned())),
    ];
    let mut proven = 0;
    for config in [None, Some(false), Some(true)] {
        for own in answers.iter().filter(|own| config.is_some() || own.is_none()) {
            for given in &answers {
                for (stopped, cache) in [(false, false), (false, true), (true, false), (true, true)] {
                    let case = Case { config, own: own.clone(), given: given.clone(), stopped, cache };
                    let found = decide(&case);
                    let any = |answer: &ProbeAnswer| own.as_ref() == Some(answer) || given.as_ref() == Some(answer);
                    let evidence = config == Some(true) || given == &Some(ReadOnly) || stopped;
                    let live = any(&ReadOnly) || any(&CredentialsNeeded) || matches!(own, Some(Unclear(_)));
                    let is_other = matches!(given, Some(OtherStorage(_)));
                    let objection = any(&Writable) || is_other || cache && (!stopped || live);
                    let what = format!("{config:?} {own:?} {given:?} stopped={stopped} cache={cache}: {found:?}");
                    assert_eq!(!found.evidence.is_empty(), evidence, "{what}");
                    assert_eq!(!found.objections.is_empty(), objection, "{what}");
                    assert_eq!(found.proven, evidence && !objection, "{what}");
                    assert_eq!(found.remedies.is_empty(), !objection, "{what}");
                    proven += usize::from(found.proven);
                    let refusal = found.refusal(Path::new("/srv/registry"));
                    for line in refusal.lines() {
                        assert!(line.chars().count() <= 78, "{line}");
                        assert_eq!(line, line.trim_end(), "{refusal}");
                    }
                    assert!(refusal.ends_with('\n') && refusal.is_ascii(), "{refusal}");
                }
            }
        }
    }
    assert!(proven > 50, "{proven}");
}

#[test]
fn situations_by_name() {
    use ProbeAnswer::{CredentialsNeeded, NobodyServes, ReadOnly, Unclear, Writable};
    let case = |config, own: Option<ProbeAnswer>, given: Option<ProbeAnswer>, stopped, cache| Case {
        config,
        own,
        given,
        stopped,
        cache,
    };
    let unclear = Some(Unclear("502 Bad Gateway".to_owned()));
    // (name, situation, proven, evidence)
    let table = [
        ("nothing at all", case(None, None, None, false, false), false, ""),
        ("config", case(Some(true), Some(NobodyServes), None, false, false), true, "c"),
        ("config and its registry agree", case(Some(true), Some(ReadOnly), None, false, false), true, "cp"),
        (
            "T16: config says read-only, the registry is writable",
            case(Some(true), Some(Writable), None, false, false),
            false,
            "c",
        ),
        ("stopped, but one is writable", case(Some(true), Some(Writable), None, true, false), false, "cs"),
        ("stopped, and --registry finds one writable", case(None, None, Some(Writable), true, false), false, "s"),
        ("one of two is writable", case(Some(true), Some(Writable), Some(ReadOnly), false, false), false, "cp"),
        (
            "the config does not say read-only, and some registry at its address is",
            case(Some(false), Some(ReadOnly), None, false, false),
            false,
            "",
        ),
        ("the same, named with --registry", case(Some(false), None, Some(ReadOnly), false, false), true, "p"),
        (
            "connection refused alone",
            case(Some(false), Some(NobodyServes), Some(NobodyServes), false, false),
            false,
            "",
        ),
        ("credentials needed", case(Some(false), Some(CredentialsNeeded), None, false, false), false, ""),
        ("credentials needed, config", case(Some(true), Some(CredentialsNeeded), None, false, false), true, "c"),
        ("unclear", case(None, None, unclear.clone(), false, false), false, ""),
        ("stopped", case(None, None, None, true, false), true, "s"),
        ("stopped, read-only answer", case(None, None, Some(ReadOnly), true, false), true, "ps"),
        ("T17: read-only cache", case(Some(true), Some(ReadOnly), None, false, true), false, "cp"),
        ("T17: read-only cache, nobody answers", case(Some(true), Some(NobodyServes), None, false, true), false, "c"),
        ("stopped cache", case(Some(false), Some(NobodyServes), None, true, true), true, "s"),
        ("stopped cache, front end answers 502", case(None, None, unclear.clone(), true, true), true, "s"),
        ("stopped cache, its own address answers 502", case(Some(true), unclear, None, true, true), false, "cs"),
        ("stopped cache that answers", case(Some(true), Some(ReadOnly), None, true, true), false, "cps"),
        ("stopped cache that asks for credentials", case(None, None, Some(CredentialsNeeded), true, true), false, "s"),
    ];
    for (name, case, proven, evidence) in table {
        let found = decide(&case);
        assert_eq!(found.proven, proven, "{name}: {found:?}");
        assert_eq!(kinds(&found), evidence, "{name}");
    }
    let contradicted = decide(&case(None, None, Some(ReadOnly), true, false));
    assert!(contradicted.evidence[1].detail.contains("yet one answers"), "{contradicted:?}");
    assert!(contradicted.advice[0].contains("leave the flag out"), "{contradicted:?}");
}

#[test]
fn t24_a_database_in_use_always_refuses() {
    let config = config(true, false);
    for stopped in [false, true] {
        let sources = Sources {
            config: Some((Path::new("c.yml"), &config)),
            registry_url: None,
            stopped,
            credentials: None,
            pull_through_state: false,
            database_in_use: true,
        };
        let found = gather(&sources, &|_, _| ProbeAnswer::ReadOnly);
        assert!(!found.proven);
        assert!(found.refusal(Path::new("/r")).contains("No flag overrides this"));
    }
}

#[test]
fn a_config_with_a_remote_is_a_cache_and_its_url_is_not_shown() {
    let config = config(true, true);
    let sources = Sources {
        config: Some((Path::new("c.yml"), &config)),
        registry_url: None,
        stopped: false,
        credentials: None,
        pull_through_state: false,
        database_in_use: false,
    };
    let found = gather(&sources, &|_, _| ProbeAnswer::NobodyServes);
    assert!(!found.proven && found.objections[0].contains("proxy.remoteurl"), "{found:?}");
    assert!(!format!("{found:?} {}", found.refusal(Path::new("/r"))).contains("secret"));
}

#[test]
fn credentials_go_only_to_the_address_they_are_for() {
    let environment = Credentials::parse("env:e").unwrap();
    let own = Credentials::parse("url:u").unwrap();
    let config = config(false, false);
    // (--registry, what is asked with what)
    type Row<'a> = (Option<&'a str>, &'a [(&'a str, Option<&'a Credentials>)]);
    let table: &[Row<'_>] = &[
        (None, &[(OWN, None)]),
        (Some(GIVEN), &[(OWN, None), (GIVEN, Some(&environment))]),
        (Some("https://url:u@registry.example.org"), &[(OWN, None), (GIVEN, Some(&own))]),
        (Some("http://127.0.0.1:5000/"), &[(OWN, Some(&environment))]),
        (Some("http://url:u@127.0.0.1:5000"), &[(OWN, Some(&own))]),
    ];
    for (given, expected) in table {
        let given: Option<RegistryUrl> = given.map(|text| text.parse().unwrap());
        let sources = Sources {
            config: Some((Path::new("c.yml"), &config)),
            registry_url: given.as_ref(),
            stopped: false,
            credentials: Some(&environment),
            pull_through_state: false,
            database_in_use: false,
        };
        let asked = RefCell::new(Vec::new());
        gather(&sources, &|url, credentials| {
            asked.borrow_mut().push((url.to_string(), credentials.cloned()));
            ProbeAnswer::CredentialsNeeded
        });
        let expected: Vec<_> = expected.iter().map(|(url, with)| ((*url).to_owned(), with.cloned())).collect();
        assert_eq!(*asked.borrow(), expected);
    }
}

#[test]
fn the_config_s_own_address_counts_once_it_is_named() {
    let config = config(false, false);
    let own: RegistryUrl = OWN.parse().unwrap();
    for (given, proven) in [(None, false), (Some(&own), true)] {
        let sources = Sources {
            config: Some((Path::new("c.yml"), &config)),
            registry_url: given,
            stopped: false,
            credentials: None,
            pull_through_state: false,
            database_in_use: false,
        };
        let found = gather(&sources, &|_, _| ProbeAnswer::ReadOnly);
        assert_eq!(found.proven, proven, "{found:?}");
        let hint = format!("--registry {OWN}");
        assert_eq!(found.advice.iter().any(|line| line.contains(&hint)), !proven, "{found:?}");
        assert!(proven || found.refusal(Path::new("/r")).contains("by naming it"), "{found:?}");
    }
}

/// A config that says read-only proves it, whoever answers or not; but whoever gave an address is told that it did not
/// bear it out.
#[test]
fn a_config_alone_says_that_it_is_alone() {
    use ProbeAnswer::{CredentialsNeeded, NobodyServes, ReadOnly, Unclear};
    let alone = "so only this file says so";
    for (given, said) in [
        (Some(NobodyServes), Some("nobody serves at https://registry.example.org")),
        (Some(CredentialsNeeded), Some("wants other credentials")),
        (Some(Unclear("502 Bad Gateway".to_owned())), Some("no clear answer (502 Bad Gateway)")),
        (Some(ReadOnly), None),
        (None, None),
    ] {
        let case = Case { config: Some(true), own: Some(NobodyServes), given, stopped: false, cache: false };
        let found = decide(&case);
        assert!(found.proven, "{found:?}");
        let detail = &found.evidence[0].detail;
        assert_eq!(detail.contains(alone), said.is_some(), "{detail}");
        assert!(detail.contains(said.unwrap_or_default()), "{detail}");
    }
    // A config that does not say so has nothing to be alone with.
    let case =
        Case { config: Some(false), own: Some(NobodyServes), given: Some(NobodyServes), stopped: true, cache: false };
    assert!(decide(&case).evidence.iter().all(|evidence| !evidence.detail.contains(alone)));
}

#[test]
fn the_json_is_that_of_the_report() {
    let found = decide(&Case {
        config: Some(true),
        own: Some(ProbeAnswer::Writable),
        given: None,
        stopped: true,
        cache: false,
    });
    let expected = serde_json::json!({
        "proven": false,
        "evidence": [
            {"kind": "config", "detail": "/etc/config.yml: storage.maintenance.readonly.enabled: true (line 9)"},
            {"kind": "stopped", "detail": "the operator says that no registry is running (--registry-stopped)"},
        ],
        "objections": ["the registry at http://127.0.0.1:5000 takes pushes"],
    });
    assert_eq!(serde_json::to_value(&found).unwrap(), expected);
}

#[test]
fn the_refusal_says_what_is_missing_and_how_to_give_it() {
    let found = decide(&Case { config: None, own: None, given: None, stopped: false, cache: false });
    let text = found.refusal(Path::new("/srv/registry"));
    for part in [
        "regsweep does not touch /srv/registry: nothing shows that its registry is\nread-only.\n",
        "             enabled: true\n",
        "REGISTRY_STORAGE_MAINTENANCE_READONLY='{\"enabled\":true}'\n",
        "--registry URL",
        "--registry-stopped",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let found = decide(&Case {
        config: Some(true),
        own: Some(ProbeAnswer::Writable),
        given: None,
        stopped: false,
        cache: false,
    });
    let expected = "regsweep does not touch /srv/registry: the registry at http://127.0.0.1:5000\n\
        takes pushes.\n\
        \n\
        This was found, and does not outweigh it:\n\
        \x20 /etc/config.yml: storage.maintenance.readonly.enabled: true (line 9)\n\
        \n\
        Restart the registry with `storage.maintenance.readonly.enabled: true`, or\n\
        stop it. If another registry answers at that address, for this one runs in a\n\
        container, give the storage root in place of config.yml, and --registry URL.\n";
    assert_eq!(found.refusal(Path::new("/srv/registry")), expected);
}

#[test]
fn wrapping() {
    let mut text = String::new();
    wrap(&mut text, "  ", &format!("a {} b", "x".repeat(90)));
    assert_eq!(text, format!("  a\n  {}\n  b\n", "x".repeat(90)));
}
