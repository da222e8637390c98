//! Retention: rules that say which tags stay.
//!
//! A rule names tags, by globs over repositories and regular expressions over tags, and says what becomes of them:
//!
//! - *protect*: they stay, whatever any other rule says;
//! - *keep*: the newest of them, one an hour, day, week, month or year, those within a time, or those of a pattern
//!   stay; the others go;
//! - *expire*: they go when they are older than an age.
//!
//! Where several rules name a tag, protect beats keep, and keep beats expire. A tag that no rule names stays. In every
//! repository a *floor* of tags stays, the newest ones, whatever the rules say.
//!
//! # Time
//!
//! The age of a tag is the time of its push: the mtime of its `current/link`, in whole seconds. Never the `created` of
//! an image: reproducible builds set that to 1970, and anybody can set it to anything. Tags that were pushed in the
//! same second are not told apart: where one of them stays, all of them do. So a backup that was restored without its
//! times loses nothing. A push in the future is a clock that was wrong: the tag stays, and takes nobody's place.
//!
//! Counts and periods are those of restic's `forget`: for each period, the newest of it stays, as often as the count
//! says; the oldest of all stays while a count is not used up; `within` counts back from the newest push, not from now,
//! so that a repository into which nobody pushes any more does not dry up. Periods are of UTC; weeks begin on Monday.
//!
//! This module looks at names and times and nothing else. What is damaged, what cannot be removed, and what belongs to
//! another manifest never gets here: see `mark`.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::pattern::{RepositoryPattern, TagPattern};
use crate::inventory::DigestId;

/// What is further in the future than this is a wrong clock, in seconds; less is two clocks that differ.
const SKEW: i64 = 3600;

/// Rules, and the floor below them.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// The rules, in the order in which they were written.
    pub rules: Vec<Rule>,
    /// How many tags stay in each repository at least, where no rule says another number.
    pub floor: u64,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, for the report.
    pub name: Box<str>,
    /// Which repositories it is about. Empty: all of them.
    pub repositories: Vec<RepositoryPattern>,
    /// Which of these it is not about.
    pub except_repositories: Vec<RepositoryPattern>,
    /// Which tags it is about. Empty: all of them.
    pub tags: Vec<TagPattern>,
    /// Which of these it is not about.
    pub except_tags: Vec<TagPattern>,
    /// How many tags stay at least in each repository that it is about, whichever rules they fall under.
    pub floor: Option<u64>,
    /// What becomes of the tags that it is about.
    pub effect: Effect,
}

/// What a rule does with the tags that it names.
#[derive(Clone, Debug)]
pub enum Effect {
    /// They stay.
    Protect,
    /// Some of them stay, the others go.
    Keep(Keep),
    /// They go when they are older than this, in seconds.
    Expire(i64),
}

/// What stays. A tag stays if any of these says so.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// The newest.
    pub last: Option<Count>,
    /// The newest of an hour, for so many hours in which there is one; and so on.
    pub hourly: Option<Count>,
    /// The same for days.
    pub daily: Option<Count>,
    /// The same for weeks.
    pub weekly: Option<Count>,
    /// The same for months.
    pub monthly: Option<Count>,
    /// The same for years.
    pub yearly: Option<Count>,
    /// Pushed no longer than this before the newest, in seconds.
    pub within: Option<i64>,
    /// Of one of these patterns.
    pub tags: Vec<TagPattern>,
    /// What stays of the digests that a tag pointed at before.
    pub history: Option<History>,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Of(u64),
    /// All of them.
    Unlimited,
}

/// Which of the digests that a tag pointed at before stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// The last so many.
    Last(u64),
    /// Those that it still pointed at so many seconds ago, or later.
    Within(i64),
}

/// A tag that the rules may let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was pushed, in seconds since 1970.
    pub pushed: i64,
    /// Why it stays, if it does so whatever the rules say. It takes the place of others all the same.
    pub held: Option<Because>,
}

/// What the rules say about a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it goes.
    pub goes: bool,
    /// The rule that decided, by its place; `None` if none did.
    pub rule: Option<usize>,
    /// What decided.
    pub because: Because,
    /// Whether it has no place of its own, and stays because another does that was pushed in the same second.
    pub is_tied: bool,
}

/// What decided about a tag. The first of them are for rules to say; what comes after `Older` is said by `mark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// It is protected.
    Protected,
    /// It is one of the newest.
    Last,
    /// It is the newest of an hour.
    Hourly,
    /// It is the newest of a day.
    Daily,
    /// It is the newest of a week.
    Weekly,
    /// It is the newest of a month.
    Monthly,
    /// It is the newest of a year.
    Yearly,
    /// It was pushed shortly before the newest.
    Within,
    /// Its name is one that stays.
    Pattern,
    /// It is not old enough to expire.
    NotOlder,
    /// No rule is about it.
    NoRule,
    /// Fewer would be left than have to be.
    Floor,
    /// It was pushed in the future.
    Future,
    /// A rule keeps others.
    NotKept,
    /// It is older than a rule allows.
    Older,
    /// It is younger than everything that may go.
    MinAge,
    /// It cannot be pulled, or nobody knows whether it can: that is no tag that a rule may count.
    Damaged,
    /// It cannot be removed: a symbolic link leads to it, or it has a name that no registry serves.
    Irremovable,
    /// Something in its repository could not be understood, so nothing goes from there.
    Tainted,
    /// It belongs to a manifest that stays.
    Subject,
    /// It belongs to a manifest that goes.
    WithSubject,
    /// It belongs to a manifest that was gone before.
    SubjectGone,
    /// It points at a revision that is gone.
    Dangling,
    /// Somebody took its image out by hand.
    ByHand,
    /// It was named to go.
    Named,
    /// It is in a pull-through cache, and was not pulled for long.
    Evicted,
}

impl Because {
    /// In a few words.
    pub fn text(self) -> &'static str {
        match self {
            Because::Protected => "protected",
            Because::Last => "last",
            Because::Hourly => "hourly",
            Because::Daily => "daily",
            Because::Weekly => "weekly",
            Because::Monthly => "monthly",
            Because::Yearly => "yearly",
            Because::Within => "within",
            Because::Pattern => "its name is kept",
            Because::NotOlder => "not old enough",
            Because::NoRule => "no rule is about it",
            Because::Floor => "the floor of the repository",
            Because::Future => "pushed in the future",
            Because::NotKept => "not among those kept",
            Because::Older => "too old",
            Because::MinAge => "younger than --min-age",
            Because::Damaged => "cannot be pulled; not judged",
            Because::Irremovable => "cannot be removed",
            Because::Tainted => "its repository is damaged",
            Because::Subject => "its subject stays",
            Because::WithSubject => "its subject goes",
            Because::SubjectGone => "its subject was gone before",
            Because::Dangling => "its revision is gone",
            Because::ByHand => "its image was taken out by hand",
            Because::Named => "named to go",
            Because::Evicted => "evicted from the cache",
        }
    }
}

/// A duration in the largest unit that it is a whole number of.
fn shown_duration(seconds: i64) -> String {
    for (unit, name) in [(365 * 86_400, "y"), (7 * 86_400, "w"), (86_400, "d"), (3600, "h"), (60, "min")] {
        if seconds != 0 && seconds % unit == 0 {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

impl Count {
    /// How many are left of it.
    fn left(self, used: u64) -> u64 {
        match self {
            Count::Of(most) => most.saturating_sub(used),
            Count::Unlimited => u64::MAX,
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Count::Of(count) => write!(f, "{count}"),
            Count::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl Rule {
    /// A rule about everything.
    pub fn new(name: &str, effect: Effect) -> Rule {
        Rule {
            name: name.into(),
            repositories: Vec::new(),
            except_repositories: Vec::new(),
            tags: Vec::new(),
            except_tags: Vec::new(),
            floor: None,
            effect,
        }
    }

    /// Whether it is about this repository.
    pub fn is_about(&self, repository: &str) -> bool {
        let any = |patterns: &[RepositoryPattern]| any(patterns, |pattern| pattern.matches(repository));
        (self.repositories.is_empty() || any(&self.repositories)) && !any(&self.except_repositories)
    }

    /// Whether the time of a push decides about what it is about.
    pub fn goes_by_time(&self) -> bool {
        match &self.effect {
            Effect::Protect => false,
            Effect::Expire(_) => true,
            Effect::Keep(keep) => keep.within.is_some() || keep.periods().iter().any(|period| period.count.is_some()),
        }
    }

    /// Whether it is about tags of this name, in a repository that it is about.
    pub fn names(&self, tag: &str) -> bool {
        let any = |patterns: &[TagPattern]| any(patterns, |pattern| pattern.matches(tag));
        (self.tags.is_empty() || any(&self.tags)) && !any(&self.except_tags)
    }
}

/// Whether any of them matches. Each is asked, so that each knows afterwards whether it ever matched anything.
fn any<T>(patterns: &[T], matches: impl Fn(&T) -> bool) -> bool {
    patterns.iter().filter(|pattern| matches(pattern)).count() > 0
}

impl Keep {
    /// Whether it lets anything go: one that is only about history does not.
    pub fn selects_tags(&self) -> bool {
        self.within.is_some() || !self.tags.is_empty() || self.periods().iter().any(|period| period.count.is_some())
    }

    fn periods(&self) -> [Period; 6] {
        // Of `last`, every push is a period by itself.
        [
            Period { because: Because::Last, count: self.last, of: |seconds| Some(seconds) },
            Period { because: Because::Hourly, count: self.hourly, of: |seconds| Some(seconds.div_euclid(3600)) },
            Period { because: Because::Daily, count: self.daily, of: |seconds| Some(day(seconds)) },
            // The first of January 1970 was a Thursday.
            Period {
                because: Because::Weekly,
                count: self.weekly,
                of: |seconds| Some((day(seconds) + 3).div_euclid(7)),
            },
            Period { because: Because::Monthly, count: self.monthly, of: month },
            Period { because: Because::Yearly, count: self.yearly, of: |seconds| Some(month(seconds)?.div_euclid(12)) },
        ]
    }

    /// Which of these stay, and why. They are sorted, the newest first; none of them is in the future.
    fn kept(&self, tags: &[Candidate<'_>]) -> Vec<Option<Kept>> {
        let mut kept: Vec<Option<Kept>> = vec![None; tags.len()];
        // The first has the word; a place of its own may come from any of them.
        let mut keep = |place: usize, because, is_tied: bool| {
            kept[place].get_or_insert(Kept { because, is_tied }).is_tied &= is_tied;
        };
        let oldest = tags.last().map_or(0, |tag| tag.pushed);
        for Period { because, count, of } in self.periods() {
            let Some(count) = count else { continue };
            let (mut used, mut last) = (0, None);
            let mut first = 0;
            // Of one second all stay, or none.
            for same in tags.chunk_by(|a, b| a.pushed == b.pushed) {
                let places = first..first + same.len();
                first = places.end;
                let period = of(same[0].pushed);
                let is_new = period.is_none() || period != last;
                let left = count.left(used);
                if left > 0 && (is_new || same[0].pushed == oldest) {
                    let wanted = if because == Because::Last { left } else { 1 };
                    places.zip(0..).for_each(|(place, nth)| keep(place, because, nth >= wanted));
                    last = period;
                    used += if because == Because::Last { same.len() as u64 } else { 1 };
                }
            }
        }
        if let (Some(within), Some(newest)) = (self.within, tags.first()) {
            let since = newest.pushed.saturating_sub(within);
            let is_within = |place: &usize| tags[*place].pushed >= since;
            (0..tags.len()).filter(is_within).for_each(|place| keep(place, Because::Within, false));
        }
        for (place, tag) in tags.iter().enumerate() {
            if any(&self.tags, |pattern| pattern.matches(tag.name)) {
                keep(place, Because::Pattern, false);
            }
        }
        kept
    }
}

/// Why a rule keeps a tag; see [`Verdict`].
#[derive(Clone, Copy, Debug)]
struct Kept {
    because: Because,
    is_tied: bool,
}

struct Period {
    because: Because,
    count: Option<Count>,
    /// Which period a time belongs to; `None` if the calendar does not reach that far, which is a period of its own.
    of: fn(i64) -> Option<i64>,
}

fn day(seconds: i64) -> i64 {
    seconds.div_euclid(86_400)
}

/// Months since the year 0.
fn month(seconds: i64) -> Option<i64> {
    let date = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::UTC).date();
    Some(i64::from(date.year()) * 12 + i64::from(date.month()) - 1)
}

impl Retention {
    /// Judges tags of one repository, at a time in seconds since 1970: a verdict for each, in their order.
    pub fn judge(&self, repository: &str, tags: &[Candidate<'_>], now: i64) -> Vec<Verdict> {
        let verdict = |goes, rule, because| Verdict { goes, rule, because, is_tied: false };
        let mut verdicts = vec![verdict(false, None, Because::NoRule); tags.len()];
        let mut newest_first: Vec<usize> = (0..tags.len()).collect();
        newest_first.sort_by(|&a, &b| tags[b].pushed.cmp(&tags[a].pushed).then_with(|| tags[a].name.cmp(tags[b].name)));
        let is_future = |place: usize| tags[place].pushed > now.saturating_add(SKEW);
        for (place, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.is_about(repository)) {
            let named: Vec<usize> =
                newest_first.iter().copied().filter(|&tag| rule.names(tags[tag].name) && !is_future(tag)).collect();
            let of_named: Vec<Candidate<'_>> = named.iter().map(|&tag| tags[tag]).collect();
            let kept = match &rule.effect {
                Effect::Keep(keep) if keep.selects_tags() => keep.kept(&of_named),
                _ => Vec::new(),
            };
            for (nth, &tag) in named.iter().enumerate() {
                let (goes, because) = match &rule.effect {
                    Effect::Protect => (false, Because::Protected),
                    Effect::Keep(keep) if !keep.selects_tags() => continue,
                    Effect::Keep(_) => kept[nth].map_or((true, Because::NotKept), |kept| (false, kept.because)),
                    Effect::Expire(age) if now.saturating_sub(tags[tag].pushed) > *age => (true, Because::Older),
                    Effect::Expire(_) => (false, Because::NotOlder),
                };
                let is_tied = kept.get(nth).is_some_and(|kept| kept.is_some_and(|kept| kept.is_tied));
                let new = Verdict { is_tied, ..verdict(goes, Some(place), because) };
                // Of two rules that say the same, the first has the word.
                if rank(new) < rank(verdicts[tag]) {
                    verdicts[tag] = new;
                } else if rank(new) == rank(verdicts[tag]) {
                    verdicts[tag].is_tied &= is_tied;
                }
            }
        }
        for (tag, verdict) in verdicts.iter_mut().enumerate() {
            if let Some(because) = tags[tag].held {
                *verdict = Verdict { goes: false, rule: None, because, is_tied: false };
            } else if is_future(tag)
                && self.rules.iter().any(|rule| rule.is_about(repository) && rule.names(tags[tag].name))
            {
                *verdict = Verdict { goes: false, rule: None, because: Because::Future, is_tied: false };
            }
        }
        self.hold_the_floor(repository, tags, &newest_first, &mut verdicts);
        verdicts
    }

    fn hold_the_floor(
        &self,
        repository: &str,
        tags: &[Candidate<'_>],
        newest_first: &[usize],
        verdicts: &mut [Verdict],
    ) {
        let of_rules = self.rules.iter().filter(|rule| rule.is_about(repository)).filter_map(|rule| rule.floor).max();
        let floor = of_rules.unwrap_or(self.floor);
        let mut stay = verdicts.iter().filter(|verdict| !verdict.goes).count() as u64;
        for same in newest_first.chunk_by(|&a, &b| tags[a].pushed == tags[b].pushed) {
            if stay >= floor {
                break;
            }
            for &tag in same.iter().filter(|&&tag| verdicts[tag].goes).collect::<Vec<_>>() {
                verdicts[tag] = Verdict { goes: false, rule: None, because: Because::Floor, is_tied: stay >= floor };
                stay += 1;
            }
        }
    }

    /// When the tags were pushed about which times decided: under a rule that goes by them, or under the floor. Where
    /// that is a single tag, these are the times of all that such rules name: a tag that stays for another reason takes
    /// its place all the same.
    pub fn times_that_decided(&self, repository: &str, tags: &[Candidate<'_>], verdicts: &[Verdict]) -> Vec<i64> {
        let has_floor_decided = verdicts.iter().any(|verdict| verdict.because == Because::Floor);
        let by_time = |verdict: &Verdict| {
            verdict.rule.is_some_and(|rule| self.rules[rule].goes_by_time())
                // The floor chose among all that were to go.
                || has_floor_decided && (verdict.goes || verdict.because == Because::Floor)
        };
        let decided: Vec<i64> =
            tags.iter().zip(verdicts).filter(|(_, verdict)| by_time(verdict)).map(|(tag, _)| tag.pushed).collect();
        if decided.len() != 1 {
            return decided;
        }
        let compares = |rule: &&Rule| matches!(rule.effect, Effect::Keep(_)) && rule.goes_by_time();
        let rules: Vec<&Rule> = self.rules.iter().filter(compares).filter(|rule| rule.is_about(repository)).collect();
        let is_compared = |tag: &Candidate<'_>, verdict: &Verdict| {
            by_time(verdict) || verdict.because != Because::Future && rules.iter().any(|rule| rule.names(tag.name))
        };
        let compared = tags.iter().zip(verdicts).filter(|(tag, verdict)| is_compared(tag, verdict));
        compared.map(|(tag, _)| tag.pushed).collect()
    }

    /// Which of the digests that a tag pointed at before stay; `None` if no rule says anything about that. `former` are
    /// those digests, each with the time at which the tag was pointed at it, if that is known; `pushed` is the time at
    /// which it was pointed at what it points at now.
    pub fn history(
        &self,
        repository: &str,
        tag: &str,
        former: &[(DigestId, Option<i64>)],
        pushed: i64,
        now: i64,
    ) -> Option<Vec<DigestId>> {
        let of_rules = self.rules.iter().filter(|rule| rule.is_about(repository) && rule.names(tag));
        let wanted: Vec<History> = of_rules
            .filter_map(|rule| match &rule.effect {
                Effect::Keep(keep) => keep.history,
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return None;
        }
        let mut known: Vec<(i64, DigestId)> = former.iter().filter_map(|&(id, at)| Some((at?, id))).collect();
        known.sort_by(|a, b| b.cmp(a));
        // Nobody knows when: it stays.
        let mut kept: Vec<DigestId> = former.iter().filter(|(_, at)| at.is_none()).map(|(id, _)| *id).collect();
        let (mut until, mut newer) = (pushed, 0);
        for same in known.chunk_by(|a, b| a.0 == b.0) {
            let stays = wanted.iter().any(|history| match history {
                History::Last(count) => newer < *count,
                History::Within(age) => until >= now.saturating_sub(*age),
            });
            if stays {
                kept.extend(same.iter().map(|(_, id)| *id));
            }
            (until, newer) = (same[0].0, newer + same.len() as u64);
        }
        Some(kept)
    }

    /// What decided about a tag, for a person: `releases: last 10`.
    pub fn explain(&self, rule: Option<usize>, because: Because) -> String {
        let rule = rule.and_then(|place| self.rules.get(place));
        let why = match (because, rule.map(|rule| &rule.effect)) {
            (Because::Older, Some(Effect::Expire(age))) => format!("older than {}", shown_duration(*age)),
            (Because::NotOlder, Some(Effect::Expire(age))) => format!("not older than {}", shown_duration(*age)),
            (because, Some(Effect::Keep(keep))) => match keep.periods().iter().find(|it| it.because == because) {
                Some(Period { count: Some(count), .. }) => format!("{} {count}", because.text()),
                _ => match (because, keep.within) {
                    (Because::Within, Some(within)) => format!("within {}", shown_duration(within)),
                    _ => because.text().to_owned(),
                },
            },
            _ => because.text().to_owned(),
        };
        match rule {
            Some(rule) => format!("{}: {why}", rule.name),
            None => why,
        }
    }

    /// Whether any rule says something about the digests that tags of this repository pointed at before.
    pub fn has_history(&self, repository: &str) -> bool {
        let says = |rule: &Rule| matches!(&rule.effect, Effect::Keep(keep) if keep.history.is_some());
        self.rules.iter().any(|rule| says(rule) && rule.is_about(repository))
    }
}

/// Protect beats keep, keep beats expire, and what lets a tag go beats what only says that it may stay.
fn rank(verdict: Verdict) -> u8 {
    match verdict.because {
        Because::Protected => 0,
        Because::NoRule => 4,
        Because::NotOlder => 3,
        _ if verdict.goes => 2,
        _ => 1,
    }
}

#[cfg(test)]
#[path = "retention/tests.rs"]
mod tests;
