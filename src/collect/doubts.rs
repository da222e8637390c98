//! What may be wrong with retention rules, or with the times that they go by: findings, and nothing else. A rule with a
//! slip in it is carried out as it was written.

use std::path::Path;

use crate::finding::{FindingKind, Findings, Severity};
use crate::inventory::{Inventory, Repository};
use crate::layout::{REPOSITORIES, shown};
use crate::mark::{Marking, Pushes, RepositoryMarking};
use crate::nearest::did_you_mean;
use crate::policy::retention::{Effect, Rule};
use crate::policy::{Because, RepositoryPattern, Retention, TagPattern, TagVerdict};

/// So many tags in several repositories are not pushed in [`SHORT_TIME`], unless somebody copies them.
const MANY_PUSHES: usize = 20;
/// In seconds.
const SHORT_TIME: i64 = 3600;

/// Says what may be wrong with the rules.
pub(super) fn about_rules(retention: &Retention, inventory: &Inventory, marking: &Marking, findings: &Findings) {
    let doubts = Doubts { inventory, marking, findings };
    doubts.about_times();
    for (place, rule) in retention.rules.iter().enumerate() {
        let named = Named::of(rule, place, inventory, marking);
        doubts.about_repositories(rule, &named);
        doubts.about_tags(rule, &named);
    }
}

struct Doubts<'a> {
    inventory: &'a Inventory,
    marking: &'a Marking,
    findings: &'a Findings,
}

/// What a rule that is to keep something finds of it.
struct Named {
    /// It keeps tags or protects them, there are tags, and it is about none of them.
    is_idle: bool,
    /// It keeps tags by their names, there are tags, and none has such a name.
    keeps_no_name: bool,
    /// How many tags it lets go then.
    let_go: usize,
}

impl Named {
    fn of(rule: &Rule, place: usize, inventory: &Inventory, marking: &Marking) -> Named {
        let verdicts = || marking.repositories.iter().flat_map(|marked| &marked.verdicts);
        let has_tags = verdicts().any(|verdict| is_judged(verdict.because));
        let keeps = match &rule.effect {
            Effect::Protect => true,
            Effect::Keep(keep) => keep.selects_tags(),
            Effect::Expire(_) => false,
        };
        let names = match &rule.effect {
            Effect::Keep(keep) => &*keep.tags,
            _ => &[],
        };
        let keeps_no_name = has_tags && !names.is_empty() && names.iter().all(|pattern| !pattern.was_used());
        let goes = |verdict: &&TagVerdict| verdict.goes.is_some() && verdict.rule == Some(place);
        Named {
            is_idle: has_tags && keeps && !is_about_any(rule, inventory),
            keeps_no_name,
            let_go: if keeps_no_name { verdicts().filter(goes).count() } else { 0 },
        }
    }

    /// What comes of it that nothing matches a pattern.
    fn consequence(&self, role: Role) -> Option<String> {
        match role {
            Role::IsAbout if self.is_idle => Some("so nothing stays because of this rule".to_owned()),
            Role::Keeps if self.keeps_no_name => Some(match self.let_go {
                0 => "so it keeps nothing".to_owned(),
                1 => "so it keeps nothing, and the rule lets 1 tag go".to_owned(),
                more => format!("so it keeps nothing, and the rule lets {more} tags go"),
            }),
            _ => None,
        }
    }
}

/// What a pattern of a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It says what the rule is about.
    IsAbout,
    /// It says what the rule is not about.
    Excepts,
    /// It says what the rule keeps.
    Keeps,
}

/// Whether rules had a say in it.
fn is_judged(because: Because) -> bool {
    !matches!(
        because,
        Because::Damaged
            | Because::Irremovable
            | Because::Tainted
            | Because::Subject
            | Because::WithSubject
            | Because::SubjectGone
            | Because::Dangling
            | Because::ByHand
            | Because::Named
            | Because::Evicted
    )
}

/// Whether a tag is here that the rule is about. Patterns that nothing has matched yet spare the second look.
fn is_about_any(rule: &Rule, inventory: &Inventory) -> bool {
    if !rule.tags.is_empty() && rule.tags.iter().all(|pattern| !pattern.was_used()) {
        return false;
    }
    about(rule, inventory).any(|repository| repository.tags.iter().any(|tag| rule.names(&tag.name)))
}

/// The repositories that the rule is about.
fn about<'a>(rule: &'a Rule, inventory: &'a Inventory) -> impl Iterator<Item = &'a Repository> {
    inventory.repositories.iter().filter(|repository| rule.is_about(&repository.name))
}

impl Doubts<'_> {
    fn add(&self, severity: Severity, message: String) {
        self.findings.add(severity, FindingKind::Retention, None, Path::new(REPOSITORIES), message);
    }

    fn repositories(&self) -> impl Iterator<Item = (&Repository, &RepositoryMarking)> {
        self.inventory.repositories.iter().zip(&self.marking.repositories)
    }

    fn about_times(&self) {
        let some = |names: Vec<&str>| match names.len() {
            0..=3 => names.join(", "),
            more => format!("{} and {} more", names[..3].join(", "), more - 3),
        };
        let of_one_second =
            |marked: &RepositoryMarking| marked.judged_by_time.count > 1 && marked.judged_by_time.seconds() == 0;
        let same: Vec<&str> =
            self.repositories().filter(|(_, marked)| of_one_second(marked)).map(|(seen, _)| &*seen.name).collect();
        let pushes = self.repositories().filter(|(_, marked)| marked.judged_by_time.count > 0);
        let (concerned, all) = pushes
            .fold((0, Pushes::default()), |(count, all), (_, marked)| (count + 1, all.and(marked.judged_by_time)));
        if concerned > 1 && all.count >= MANY_PUSHES && all.seconds() <= SHORT_TIME {
            let message = format!(
                "all {} tags that the rules are about, in {concerned} repositories, were pushed within {} minutes, as \
                 after a backup was restored without its times: then these say nothing of which is the newest",
                all.count,
                all.seconds() / 60 + 1
            );
            self.add(Severity::Warning, message);
        } else if !same.is_empty() {
            let count = same.len();
            let of = if count == 1 { "one repository".to_owned() } else { format!("{count} repositories") };
            let message = format!(
                "all tags of {of} that the rules are about were pushed in the same second ({}), as after a backup was \
                 restored without its times: counts and periods cannot tell them apart, and keep all or none",
                some(same)
            );
            self.add(Severity::Warning, message);
        }
        let future: Vec<&str> = self
            .repositories()
            .filter(|(_, marked)| marked.tags_of_the_future > 0)
            .map(|(seen, _)| &*seen.name)
            .collect();
        if !future.is_empty() {
            let message = format!("tags that were pushed in the future stay, and are not counted ({})", some(future));
            self.add(Severity::Warning, message);
        }
    }

    fn about_repositories(&self, rule: &Rule, named: &Named) {
        let about = rule.repositories.iter().map(|pattern| (pattern, Role::IsAbout));
        let except = rule.except_repositories.iter().map(|pattern| (pattern, Role::Excepts));
        for (pattern, role) in about.chain(except).filter(|(pattern, _)| !pattern.was_used()) {
            let text = shown(pattern.as_str().as_bytes());
            let consequence = named.consequence(role).map(|it| format!(", {it}")).unwrap_or_default();
            let instead = self.repository_meant(pattern);
            let message = format!("{}: no repository matches '{text}'{consequence}{instead}", rule.name);
            self.add(Severity::Warning, message);
        }
    }

    /// What to write in the place of a pattern that matches no repository; empty if nothing suggests itself.
    fn repository_meant(&self, pattern: &RepositoryPattern) -> String {
        if let Some(glob) = pattern.meant() {
            return format!(". It is a glob, not a regular expression: write '{glob}'");
        }
        let below = format!("{}/", pattern.as_str().trim_end_matches('/'));
        let names = || self.inventory.repositories.iter().map(|repository| &*repository.name);
        if names().any(|name| name.starts_with(&below)) {
            return format!(". For all that is below it, write '{}**'", shown(below.as_bytes()));
        }
        if pattern.as_str().contains(['*', '?', '[', '{']) {
            return String::new();
        }
        did_you_mean(pattern.as_str(), names())
    }

    fn about_tags(&self, rule: &Rule, named: &Named) {
        let kept = if let Effect::Keep(keep) = &rule.effect { &*keep.tags } else { &[] };
        let patterns = [(&*rule.tags, Role::IsAbout), (&*rule.except_tags, Role::Excepts), (kept, Role::Keeps)];
        for (pattern, role) in patterns.into_iter().flat_map(|(all, role)| all.iter().map(move |it| (it, role))) {
            if pattern.was_used() {
                self.about_used(rule, pattern);
            } else {
                self.about_unused(rule, pattern, named.consequence(role));
            }
        }
        // Where a pattern matches nothing, that has been said with it.
        let all_match =
            rule.tags.iter().all(TagPattern::was_used) && rule.repositories.iter().all(RepositoryPattern::was_used);
        if named.is_idle && all_match {
            let message = format!("{}: it is about no tag that is here, so nothing stays because of it", rule.name);
            self.add(Severity::Warning, message);
        }
    }

    fn about_unused(&self, rule: &Rule, pattern: &TagPattern, consequence: Option<String>) {
        let text = shown(pattern.as_str().as_bytes());
        let instead = self.tag_meant(rule, pattern);
        let severity = if consequence.is_some() || instead.is_some() { Severity::Warning } else { Severity::Info };
        let consequence = consequence.map(|it| format!(", {it}")).unwrap_or_default();
        let instead = match instead {
            Some((expression, _)) => format!(". It is a regular expression, not a glob: write '{expression}'"),
            None => String::new(),
        };
        let message = format!("{}: no tag matches '{text}', as a whole name{consequence}{instead}", rule.name);
        self.add(severity, message);
    }

    /// `v1*` does match `v1`, and `v11`.
    fn about_used(&self, rule: &Rule, pattern: &TagPattern) {
        if !pattern.looks_like_a_glob() {
            return;
        }
        if let Some((expression, Some(example))) = self.tag_meant(rule, pattern) {
            let message = format!(
                "{}: '{}' is a regular expression, not a glob, and does not match {example}: write '{expression}' if \
                 it should",
                rule.name,
                shown(pattern.as_str().as_bytes())
            );
            self.add(Severity::Warning, message);
        }
    }

    /// What to write in the place of an expression that was most likely meant as a glob, and the first tag that it
    /// would then match and does not match as it is.
    fn tag_meant(&self, rule: &Rule, pattern: &TagPattern) -> Option<(String, Option<String>)> {
        let meant = pattern.meant()?;
        let mut tags = about(rule, self.inventory).flat_map(|repository| &repository.tags);
        let example = tags.find(|tag| meant.matches(&tag.name) && !pattern.matches(&tag.name));
        let example = example.map(|tag| tag.name.to_string());
        (pattern.looks_like_a_glob() || example.is_some()).then(|| (meant.as_str().to_owned(), example))
    }
}
