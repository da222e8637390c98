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
    if config_says_so {
        found.only_the_config(&answers);
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
            ProbeAnswer::NobodyServes | ProbeAnswer::OtherStorage(_) => false,
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
            ProbeAnswer::OtherStorage(words) if asked.given => self.object(
                format!("the registry at {url} does not serve this storage: {words}"),
                "Give the address of the registry that serves this folder. If it is the right one, somebody has changed \
                 the folder or the registry since, and nothing is shown.",
            ),
            ProbeAnswer::OtherStorage(words) => {
                self.advice.push(format!("the registry at {url}, the config's address, serves another storage: {words}"));
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

    /// A config that says read-only, where the address that was given to bear it out does not: the word of a file that
    /// may not be the one which the registry runs with.
    fn only_the_config(&mut self, answers: &[Asked]) {
        let Some(asked) = answers.iter().find(|asked| asked.given) else { return };
        let url = &asked.shown;
        let said = match &asked.answer {
            ProbeAnswer::NobodyServes => format!("nobody serves at {url}"),
            ProbeAnswer::CredentialsNeeded => format!("{url} wants other credentials"),
            ProbeAnswer::Unclear(words) => format!("{url} gave no clear answer ({words})"),
            // These speak for themselves.
            ProbeAnswer::ReadOnly | ProbeAnswer::Writable | ProbeAnswer::OtherStorage(_) => return,
        };
        for evidence in self.evidence.iter_mut().filter(|evidence| evidence.kind == EvidenceKind::Config) {
            evidence.detail.push_str(&format!("; {said}, so only this file says so"));
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
                ProbeAnswer::Writable | ProbeAnswer::OtherStorage(_) | ProbeAnswer::Unclear(_) => {}
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
mod tests;
