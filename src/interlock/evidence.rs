//! The decision: is it shown that nobody writes to this registry, and does anything speak against it?
//!
//! # The rule
//!
//! Proven = (config or probe or stopped) and no objection. What is asked, and in which order, is decided here too;
//! how it is asked is not, so that the whole decision can be tested as a table.
//!
//! - A registry answers as a writable one, at the config's address or at `--registry`: an objection, whatever file or
//!   flag say.
//! - A registry in read-only mode answers at `--registry`: evidence. With `--registry-stopped` it contradicts the flag,
//!   which is said; but nothing can be pushed to it, so it is no objection.
//! - One answers at the config's address, which nobody has named: it bears out a config that says read-only, and proves
//!   nothing against one that does not. Every image of the registry comes with the address `:5000`, and what listens
//!   there on this machine may be another registry than the one that runs with this config in a container.
//! - 401 or 403: nothing proven, nothing objected.
//! - Connection refused: no evidence by itself, for it may serve elsewhere.
//! - Any other answer: nothing proven, nothing objected, told in the advice.
//! - A pull-through cache: an objection, unless it is stopped and nothing contradicts that.
//! - GitLab's database in use: an objection, always.
//!
//! A pull-through cache writes on every pull, in read-only mode too. "Stopped" is contradicted for it by any registry
//! that answers, and by anything but a refused connection at the config's own address: there the registry itself
//! would listen. (At `--registry` a front end may say 502 for a registry that is stopped.)
//!
//! # Races that remain
//!
//! Evidence is of one moment. A registry that is restarted as a writable one during the run is not noticed here; the
//! sweep looks for writes by itself before it removes anything.

use std::path::Path;

use serde::Serialize;

use super::probe::{Credentials, ProbeAnswer, RegistryUrl};
use crate::config::RegistryConfig;
use crate::layout::shown_path;

/// What kind of thing shows that nobody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// The registry's config says so.
    Config,
    /// The running registry says so.
    Probe,
    /// The operator says that no registry runs.
    Stopped,
}

/// One thing that shows that nobody writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// What kind of thing.
    pub kind: EvidenceKind,
    /// Where it was found and what it says, for a person.
    pub detail: String,
}

/// The answer. It serialises to `read_only` of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadOnly {
    /// Whether something that changes the volume may go on.
    pub proven: bool,
    /// What speaks for it. It may be there and not be enough.
    pub evidence: Vec<Evidence>,
    /// What speaks against it, a sentence each. One is enough.
    pub objections: Vec<String>,
    /// What the operator should know or can do, a sentence each: for the report's own `advice`.
    #[serde(skip)]
    pub advice: Vec<String>,
    /// What to do about each objection, for [`ReadOnly::refusal`].
    #[serde(skip)]
    remedies: Vec<String>,
}

/// Where evidence may come from.
pub struct Sources<'a> {
    /// The registry's config and the file it was read from. Its `http_url` is asked without being told to.
    pub config: Option<(&'a Path, &'a RegistryConfig)>,
    /// `--registry URL`.
    pub registry_url: Option<&'a RegistryUrl>,
    /// `--registry-stopped`.
    pub stopped: bool,
    /// Credentials from the environment. They are sent to `registry_url` only, where the URL has none of its own, and
    /// never to an address that merely stands in the config: while the registry is down, any user of this machine may
    /// listen there.
    pub credentials: Option<&'a Credentials>,
    /// `scheduler-state.json` lies in the storage root: a pull-through cache works or has worked there.
    pub pull_through_state: bool,
    /// GitLab's `docker/registry/lockfiles/database-in-use` is there.
    pub database_in_use: bool,
}

/// Collects the evidence and decides. Each address is asked once, with the credentials that belong to it.
///
/// It does nothing by itself but call `probe`; it never fails: what cannot be found out is no evidence.
pub fn gather(sources: &Sources<'_>, probe: &dyn Fn(&RegistryUrl, Option<&Credentials>) -> ProbeAnswer) -> ReadOnly {
    let mut found = ReadOnly {
        proven: false,
        evidence: Vec::new(),
        objections: Vec::new(),
        advice: Vec::new(),
        remedies: Vec::new(),
    };
    if sources.database_in_use {
        found.object(
            "docker/registry/lockfiles/database-in-use exists: this registry keeps its metadata in a database, and \
             its files do not tell what is in use",
            "No flag overrides this. Use the registry's own online garbage collection.",
        );
    }
    if let Some((path, config)) = sources.config {
        if let Some(source) = &config.read_only_source {
            found.evidence(EvidenceKind::Config, format!("{}: {source}", shown_path(path)));
        }
        found.advice.extend(config.notes.iter().map(|note| format!("{}: {note}", shown_path(path))));
    }
    let answers = ask(sources, probe, &mut found);
    let config_says_so = !found.evidence.is_empty();
    for asked in &answers {
        found.weigh(asked, config_says_so);
    }
    if sources.stopped {
        found.stopped(&answers);
    }
    if let Some(cache) = pull_through(sources) {
        found.pull_through(&cache, sources.stopped, &answers);
    }
    found.proven = !found.evidence.is_empty() && found.objections.is_empty();
    if found.evidence.is_empty() && found.objections.is_empty() {
        found.advice.push(
            "nothing shows that the registry is read-only: set storage.maintenance.readonly.enabled: true and give \
             its config.yml, or give --registry URL, or --registry-stopped"
                .to_owned(),
        );
    }
    found
}

/// One address, and what answered there.
struct Asked {
    shown: String,
    /// Whether it is the config's own address rather than (or as well as) `--registry`.
    from_config: bool,
    /// Whether it was given with `--registry`.
    given: bool,
    with_credentials: bool,
    answer: ProbeAnswer,
}

impl Asked {
    /// Whether the answer can only come from something that serves there.
    fn contradicts_stopped(&self) -> bool {
        match self.answer {
            ProbeAnswer::ReadOnly | ProbeAnswer::Writable | ProbeAnswer::CredentialsNeeded => true,
            ProbeAnswer::Unclear(_) => self.from_config,
            ProbeAnswer::NobodyServes => false,
        }
    }
}

fn ask(
    sources: &Sources<'_>,
    probe: &dyn Fn(&RegistryUrl, Option<&Credentials>) -> ProbeAnswer,
    found: &mut ReadOnly,
) -> Vec<Asked> {
    let mut answers = Vec::new();
    let mut given_is_asked = false;
    let own = sources.config.and_then(|(path, config)| Some((path, config.http_url.as_deref()?)));
    if let Some((path, own)) = own {
        match own.parse::<RegistryUrl>() {
            Err(error) => {
                found.advice.push(format!("{}: its http.addr was not asked: {error}", shown_path(path)));
            }
            Ok(url) => {
                let given = sources.registry_url.filter(|given| **given == url);
                given_is_asked = given.is_some();
                let credentials = given.and_then(|given| given.credentials().or(sources.credentials));
                answers.push(Asked {
                    shown: url.to_string(),
                    from_config: true,
                    given: given.is_some(),
                    with_credentials: credentials.is_some(),
                    answer: probe(&url, credentials),
                });
            }
        }
    }
    if let Some(url) = sources.registry_url.filter(|_| !given_is_asked) {
        let credentials = url.credentials().or(sources.credentials);
        answers.push(Asked {
            shown: url.to_string(),
            from_config: false,
            given: true,
            with_credentials: credentials.is_some(),
            answer: probe(url, credentials),
        });
    }
    answers
}

/// What makes this registry a pull-through cache, if anything does.
fn pull_through(sources: &Sources<'_>) -> Option<String> {
    if let Some((path, config)) = sources.config
        && config.proxy_remote_url.is_some()
    {
        // The URL itself is not shown: it may hold a password.
        return Some(format!("proxy.remoteurl is set in {} or in the environment", shown_path(path)));
    }
    sources.pull_through_state.then(|| "scheduler-state.json lies in its storage root".to_owned())
}

impl ReadOnly {
    fn evidence(&mut self, kind: EvidenceKind, detail: String) {
        self.evidence.push(Evidence { kind, detail });
    }

    fn object(&mut self, objection: impl Into<String>, remedy: impl Into<String>) {
        self.objections.push(objection.into());
        let remedy = remedy.into();
        if !self.remedies.contains(&remedy) {
            self.remedies.push(remedy);
        }
    }

    /// What one answer is worth by itself.
    fn weigh(&mut self, asked: &Asked, config_says_so: bool) {
        let url = &asked.shown;
        match &asked.answer {
            ProbeAnswer::ReadOnly if !asked.given && !config_says_so => self.advice.push(format!(
                "a registry in read-only mode answers at {url}, the config's address; that it is this one is shown by \
                 naming it: --registry {url}"
            )),
            ProbeAnswer::ReadOnly => {
                self.evidence(EvidenceKind::Probe, format!("{url} answers 405 to a push: it is in read-only mode"));
            }
            ProbeAnswer::Writable => {
                let remedy = if asked.from_config {
                    "Restart the registry with `storage.maintenance.readonly.enabled: true`, or stop it. If another \
                     registry answers at that address, for this one runs in a container, give the storage root in \
                     place of config.yml, and --registry URL."
                } else {
                    "Restart the registry with `storage.maintenance.readonly.enabled: true`, or stop it and leave \
                     out --registry."
                };
                self.object(format!("the registry at {url} takes pushes"), remedy);
            }
            ProbeAnswer::CredentialsNeeded if asked.with_credentials => self.advice.push(format!(
                "the registry at {url} did not accept the credentials, so its answer proves nothing; it must take \
                 Basic authentication and let that user push"
            )),
            ProbeAnswer::CredentialsNeeded => self.advice.push(format!(
                "the registry at {url} wants credentials, so its answer proves nothing; give --registry {url} and \
                 REGSWEEP_REGISTRY_AUTH=user:password"
            )),
            ProbeAnswer::NobodyServes if asked.given => self.advice.push(format!(
                "nobody serves at {url}; that alone does not show that the registry is stopped (--registry-stopped \
                 says so)"
            )),
            // The config's address may be that of a container: said only where somebody asked.
            ProbeAnswer::NobodyServes => {}
            ProbeAnswer::Unclear(words) => {
                self.advice.push(format!("{url} gave no clear answer, so it proves nothing: {words}"));
            }
        }
    }

    /// The operator's word, and what the answers say to it.
    fn stopped(&mut self, answers: &[Asked]) {
        let mut detail = "the operator says that no registry is running (--registry-stopped)".to_owned();
        for asked in answers {
            let url = &asked.shown;
            match asked.answer {
                ProbeAnswer::NobodyServes => detail.push_str(&format!("; nobody serves at {url}")),
                ProbeAnswer::ReadOnly => {
                    detail.push_str(&format!("; yet one answers at {url}, in read-only mode"));
                    self.advice.push(format!(
                        "--registry-stopped was given, but a registry in read-only mode answers at {url}; leave the \
                         flag out"
                    ));
                }
                ProbeAnswer::CredentialsNeeded => {
                    detail.push_str(&format!("; yet something at {url} asks for credentials"));
                    self.advice.push(format!(
                        "--registry-stopped was given, but something at {url} asks for credentials: make sure that \
                         it is another service"
                    ));
                }
                // An objection, or nothing that could be said for certain.
                ProbeAnswer::Writable | ProbeAnswer::Unclear(_) => {}
            }
        }
        self.evidence(EvidenceKind::Stopped, detail);
    }

    fn pull_through(&mut self, cache: &str, stopped: bool, answers: &[Asked]) {
        const REMEDY: &str = "Stop the cache (no process may serve this storage root), then give --registry-stopped.";
        let what = format!("this is a pull-through cache ({cache}), which writes on every pull, in read-only mode too");
        if !stopped {
            self.object(what, REMEDY);
            return;
        }
        if let Some(asked) = answers.iter().find(|asked| asked.contradicts_stopped()) {
            let url = &asked.shown;
            let seen = match &asked.answer {
                ProbeAnswer::Unclear(words) => format!("it may not be stopped: {url} gives no clear answer ({words})"),
                _ => format!("it is not stopped: {url} answers"),
            };
            self.object(format!("{what}, and {seen}"), REMEDY);
        }
    }

    /// Why nothing is done to `root` and what would change that, as plain text of at most 78 columns (a longer word,
    /// such as a URL or a path, stays whole). It ends with a newline. Meaningful only where `proven` is false.
    pub fn refusal(&self, root: &Path) -> String {
        let mut text = String::new();
        let root = shown_path(root);
        if self.objections.is_empty() {
            wrap(
                &mut text,
                "",
                &format!("regsweep does not touch {root}: nothing shows that its registry is read-only."),
            );
            for advice in self.advice.iter().filter(|line| !line.starts_with("nothing shows")) {
                wrap(&mut text, "  ", &format!("seen: {advice}"));
            }
            text.push_str(WAYS);
            return text;
        }
        let why = self.objections.join("; ");
        wrap(&mut text, "", &format!("regsweep does not touch {root}: {why}."));
        if !self.evidence.is_empty() {
            text.push('\n');
            wrap(&mut text, "", "This was found, and does not outweigh it:");
            for evidence in &self.evidence {
                wrap(&mut text, "  ", &evidence.detail);
            }
        }
        text.push('\n');
        for remedy in &self.remedies {
            wrap(&mut text, "", remedy);
        }
        text
    }
}

/// The ways to show it, exact enough to be copied.
const WAYS: &str = "
Any one of these shows it:

  1. In the registry's config.yml, followed by a restart of the registry:

       storage:
         maintenance:
           readonly:
             enabled: true

     Give regsweep that file in place of the storage root, or with
     --config FILE. By environment, for the registry and for regsweep (this
     form works with 2.8 and 3.x; ..._READONLY_ENABLED=true does not):

       REGISTRY_STORAGE_MAINTENANCE_READONLY='{\"enabled\":true}'

  2. --registry URL, and the running registry answers that it is read-only.
     Credentials: REGSWEEP_REGISTRY_AUTH=user:password

  3. --registry-stopped, if no registry is running on this storage.

--dry-run needs none of them.
";

/// Appends words in lines of at most 78 columns, each beginning with `indent`.
fn wrap(text: &mut String, indent: &str, words: &str) {
    const COLUMNS: usize = 78;
    let mut column = 0;
    for word in words.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > COLUMNS {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.push_str(indent);
            column = indent.len();
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
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

    /// The rule itself, written a second time and as shortly as it can be, over all 2 x 2 x 3 x 6 x 6 situations.
    #[test]
    fn every_combination() {
        use ProbeAnswer::{CredentialsNeeded, NobodyServes, ReadOnly, Unclear, Writable};
        let answers = [
            None,
            Some(ReadOnly),
            Some(Writable),
            Some(CredentialsNeeded),
            Some(NobodyServes),
            Some(Unclear("x".to_owned())),
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
                        let objection = any(&Writable) || cache && (!stopped || live);
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
            (
                "T17: read-only cache, nobody answers",
                case(Some(true), Some(NobodyServes), None, false, true),
                false,
                "c",
            ),
            ("stopped cache", case(Some(false), Some(NobodyServes), None, true, true), true, "s"),
            ("stopped cache, front end answers 502", case(None, None, unclear.clone(), true, true), true, "s"),
            ("stopped cache, its own address answers 502", case(Some(true), unclear, None, true, true), false, "cs"),
            ("stopped cache that answers", case(Some(true), Some(ReadOnly), None, true, true), false, "cps"),
            (
                "stopped cache that asks for credentials",
                case(None, None, Some(CredentialsNeeded), true, true),
                false,
                "s",
            ),
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
    fn a_database_in_use_always_refuses() {
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
}
