use super::*;

const DAY: i64 = 86_400;
/// 2026-11-21 12:00:00 UTC, a Saturday.
const NOW: i64 = 1_795_262_400;

fn tag(name: &str, pushed: i64) -> Candidate<'_> {
    Candidate { name, pushed, held: None }
}

fn keep(keep: Keep) -> Rule {
    Rule::new("rule", Effect::Keep(keep))
}

fn of(count: u64) -> Option<Count> {
    Some(Count::Of(count))
}

fn tags(patterns: &[&str]) -> Vec<TagPattern> {
    patterns.iter().map(|text| TagPattern::parse(text).unwrap()).collect()
}

/// The names of the tags that stay under these rules, without a floor.
fn staying<'a>(rules: &[Rule], tags: &[Candidate<'a>]) -> Vec<&'a str> {
    let retention = Retention { rules: rules.to_vec(), floor: 0 };
    let verdicts = retention.judge("team/app", tags, NOW);
    tags.iter().zip(verdicts).filter(|(_, verdict)| !verdict.goes).map(|(tag, _)| tag.name).collect()
}

/// A push a day at noon, `d0` today, `d1` yesterday.
fn a_push_a_day(names: &[String]) -> Vec<Candidate<'_>> {
    names.iter().enumerate().map(|(days, name)| tag(name, NOW - days as i64 * DAY)).collect()
}

#[test]
fn what_each_criterion_keeps_of_a_push_a_day() {
    let names: Vec<String> = (0..800).map(|days| format!("d{days}")).collect();
    let pushes = a_push_a_day(&names);
    let with = |change: fn(&mut Keep)| {
        let mut wanted = Keep::default();
        change(&mut wanted);
        staying(&[keep(wanted)], &pushes)
    };
    assert_eq!(with(|keep| keep.last = of(3)), ["d0", "d1", "d2"]);
    assert_eq!(with(|keep| keep.last = of(0)), Vec::<&str>::new());
    assert_eq!(with(|keep| keep.last = Some(Count::Unlimited)).len(), 800);
    assert_eq!(with(|keep| keep.within = Some(2 * DAY)), ["d0", "d1", "d2"]);
    assert_eq!(with(|keep| keep.hourly = of(2)), ["d0", "d1"]);
    assert_eq!(with(|keep| keep.daily = of(3)), ["d0", "d1", "d2"]);
    // Saturday; the Sunday of the week before is the sixth day back, and so on.
    assert_eq!(with(|keep| keep.weekly = of(3)), ["d0", "d6", "d13"]);
    // The last of October, of September.
    assert_eq!(with(|keep| keep.monthly = of(3)), ["d0", "d21", "d52"]);
    // The last day of 2025; 2024 begins on d690 back from its last day. The oldest fills what is left of the count.
    assert_eq!(with(|keep| keep.yearly = of(2)), ["d0", "d325"]);
    assert_eq!(with(|keep| keep.yearly = of(9)), ["d0", "d325", "d690", "d799"]);
    assert_eq!(with(|keep| keep.tags = tags(&["d7", "d70"])), ["d7", "d70"]);
    let several = with(|keep| {
        keep.last = of(2);
        keep.weekly = of(2);
        keep.tags = tags(&["d99"]);
    });
    assert_eq!(several, ["d0", "d1", "d6", "d99"]);
}

/// T35, T37: tags are counted, whatever they point at; what no rule is about stays.
#[test]
fn rules_are_about_what_they_name() {
    let pushes = [tag("v1", NOW - 5), tag("v2", NOW - 4), tag("pr-1", NOW - 3), tag("pr-2", NOW - 2), tag("x", 7)];
    let mut versions = keep(Keep { last: of(1), ..Keep::default() });
    versions.tags = tags(&["v.*"]);
    assert_eq!(staying(&[versions.clone()], &pushes), ["v2", "pr-1", "pr-2", "x"]);
    versions.except_tags = tags(&["v1"]);
    assert_eq!(staying(&[versions.clone()], &pushes), ["v1", "v2", "pr-1", "pr-2", "x"]);
    versions.except_tags.clear();
    for (repositories, except, is_about) in
        [("team/*", "other", true), ("other/*", "x", false), ("**", "team/app", false), ("team/app", "team/ap", true)]
    {
        versions.repositories = vec![RepositoryPattern::parse(repositories).unwrap()];
        versions.except_repositories = vec![RepositoryPattern::parse(except).unwrap()];
        assert_eq!(staying(&[versions.clone()], &pushes).len(), if is_about { 4 } else { 5 }, "{repositories}");
    }
    assert_eq!(staying(&[], &pushes).len(), 5);
}

/// T36.
#[test]
fn protect_beats_keep_and_keep_beats_expire() {
    let old = [tag("a", NOW - 90 * DAY), tag("b", NOW - 80 * DAY), tag("c", NOW - 70 * DAY), tag("d", NOW - DAY)];
    let expire = Rule::new("expire", Effect::Expire(30 * DAY));
    let mut protect = Rule::new("protect", Effect::Protect);
    protect.tags = tags(&["a"]);
    let two = keep(Keep { last: of(2), ..Keep::default() });
    let all = [expire.clone(), two.clone(), protect.clone()];
    assert_eq!(staying(std::slice::from_ref(&expire), &old), ["d"]);
    assert_eq!(staying(&[expire.clone(), protect.clone()], &old), ["a", "d"]);
    for rules in [all.clone(), [protect, two, expire]] {
        assert_eq!(staying(&rules, &old), ["a", "c", "d"], "the order of the rules does not matter");
    }
    let retention = Retention { rules: all.to_vec(), floor: 0 };
    let said = |tag: usize| {
        let verdict = retention.judge("team/app", &old, NOW)[tag];
        (verdict.rule.map(|rule| &*retention.rules[rule].name), verdict.because)
    };
    assert_eq!(said(0), (Some("protect"), Because::Protected));
    assert_eq!(said(1), (Some("expire"), Because::Older));
    assert_eq!(said(2), (Some("rule"), Because::Last));
    assert_eq!(said(3), (Some("rule"), Because::Last));
}

#[test]
fn what_is_as_old_as_allowed_stays() {
    let expire = [Rule::new("expire", Effect::Expire(DAY))];
    assert_eq!(staying(&expire, &[tag("a", NOW - DAY), tag("b", NOW - DAY - 1)]), ["a"]);
    let within = [keep(Keep { within: Some(DAY), ..Keep::default() })];
    assert_eq!(staying(&within, &[tag("n", NOW - 9), tag("a", NOW - 9 - DAY), tag("b", NOW - 10 - DAY)]), ["n", "a"]);
}

/// T34: what cannot be told apart stays together.
#[test]
fn pushes_of_the_same_second_stay_together() {
    let same = ["a", "b", "c", "d"].map(|name| tag(name, 1000));
    for wanted in [
        Keep { last: of(1), ..Keep::default() },
        Keep { daily: of(1), ..Keep::default() },
        Keep { within: Some(0), ..Keep::default() },
    ] {
        assert_eq!(staying(&[keep(wanted)], &same).len(), 4);
    }
    // They take four places, though.
    let more = [same[0], same[1], same[2], tag("old", 999), tag("new", 1001)];
    assert_eq!(staying(&[keep(Keep { last: of(2), ..Keep::default() })], &more), ["a", "b", "c", "new"]);
    assert_eq!(staying(&[keep(Keep { last: of(4), ..Keep::default() })], &more), ["a", "b", "c", "new"]);
    assert_eq!(staying(&[keep(Keep { last: of(5), ..Keep::default() })], &more).len(), 5);
}

/// Whoever has no place of its own is known: of one second those that come later in the alphabet, which is as good as
/// any order.
#[test]
fn what_stays_for_a_neighbour_is_told_from_what_has_a_place() {
    let pushes = [tag("a", 5), tag("b", 5), tag("c", 5), tag("new", 9), tag("old", 1)];
    let tied = |rules: &[Rule], floor: u64| -> String {
        let verdicts = Retention { rules: rules.to_vec(), floor }.judge("team/app", &pushes, NOW);
        assert!(verdicts.iter().all(|verdict| !(verdict.goes && verdict.is_tied)));
        pushes.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_tied).map(|(tag, _)| tag.name).collect()
    };
    let last = |count| keep(Keep { last: of(count), ..Keep::default() });
    for (count, expected) in [(0, ""), (1, ""), (2, "bc"), (3, "c"), (4, ""), (5, "")] {
        assert_eq!(tied(&[last(count)], 0), expected, "{count}");
    }
    assert_eq!(tied(&[keep(Keep { last: Some(Count::Unlimited), ..Keep::default() })], 0), "");
    // One of a day; the four of these, and the oldest of all, are of the same day.
    assert_eq!(tied(&[keep(Keep { daily: of(1), ..Keep::default() })], 0), "");
    assert_eq!(tied(&[keep(Keep { hourly: of(2), last: of(2), ..Keep::default() })], 0), "bc");
    // What has a place for another reason has one, by this rule or by another.
    assert_eq!(tied(&[keep(Keep { last: of(2), tags: tags(&["c"]), ..Keep::default() })], 0), "b");
    assert_eq!(tied(&[keep(Keep { last: of(2), within: Some(4), ..Keep::default() })], 0), "");
    assert_eq!(tied(&[last(2), last(3)], 0), "c");
    assert_eq!(tied(&[last(3), last(2)], 0), "c");
    let mut protect = Rule::new("protect", Effect::Protect);
    protect.tags = tags(&["b"]);
    assert_eq!(tied(&[last(2), protect], 0), "c");
    for (floor, expected) in [(1, ""), (2, "bc"), (3, "c"), (4, "")] {
        assert_eq!(tied(&[last(0)], floor), expected, "a floor of {floor}");
    }
}

#[test]
fn times_that_decided() {
    let pushes = [tag("a", 5), tag("b", 6), tag("latest", 7), tag("next", NOW + 9 * DAY)];
    let times = |rules: &[Rule], floor: u64| {
        let retention = Retention { rules: rules.to_vec(), floor };
        let verdicts = retention.judge("team/app", &pushes, NOW);
        retention.times_that_decided("team/app", &pushes, &verdicts)
    };
    let last = |count| keep(Keep { last: of(count), ..Keep::default() });
    let protect = |names: &str| Rule { tags: tags(&[names]), ..Rule::new("protect", Effect::Protect) };
    let by_name = keep(Keep { tags: tags(&["x"]), ..Keep::default() });
    assert_eq!(times(&[last(1)], 0), [5, 6, 7]);
    assert_eq!(times(&[last(0)], 9), [5, 6, 7], "the floor goes by times");
    assert_eq!(times(std::slice::from_ref(&by_name), 2), [5, 6, 7], "among all that were to go");
    assert_eq!(times(&[by_name], 0), [] as [i64; 0]);
    assert_eq!(times(&[protect(".*")], 9), [] as [i64; 0]);
    assert_eq!(times(&[protect("a"), last(1)], 0), [6, 7]);
    assert_eq!(times(&[protect("[ab]"), last(1)], 0), [5, 6, 7], "a single one is held against the others");
    let old = Rule::new("old", Effect::Expire(DAY));
    assert_eq!(times(&[protect("[ab]"), old], 0), [7], "an age is held against nothing");
    let latest = Rule { tags: tags(&["latest"]), ..last(1) };
    assert_eq!(times(&[latest], 0), [7]);
}

#[test]
fn the_floor_holds_the_newest() {
    let pushes = [tag("a", 1), tag("b", 2), tag("c", 2), tag("d", 3), tag("x", 4)];
    let mut expire = Rule::new("expire", Effect::Expire(DAY));
    expire.tags = tags(&["[a-d]"]);
    let staying = |floor, of_rule, about: &str| {
        let mut rule = expire.clone();
        rule.floor = of_rule;
        rule.repositories = vec![RepositoryPattern::parse(about).unwrap()];
        let retention = Retention { rules: vec![rule], floor };
        let verdicts = retention.judge("team/app", &pushes, NOW);
        let names: Vec<&str> = pushes.iter().zip(&verdicts).filter(|(_, v)| !v.goes).map(|(tag, _)| tag.name).collect();
        names.concat()
    };
    for (floor, of_rule, left) in [
        (0, None, "x"),
        (1, None, "x"),
        (2, None, "dx"),
        (3, None, "bcdx"),
        (4, None, "bcdx"),
        (5, None, "abcdx"),
        (99, None, "abcdx"),
        (5, Some(0), "x"),
        (0, Some(2), "dx"),
    ] {
        assert_eq!(staying(floor, of_rule, "team/*"), left, "{floor} {of_rule:?}");
    }
    assert_eq!(staying(0, Some(9), "other"), "abcdx");
}

/// A clock that was wrong costs nobody else a place.
#[test]
fn a_push_in_the_future_takes_no_place() {
    let pushes = [tag("future", NOW + 400 * DAY), tag("soon", NOW + 60), tag("now", NOW), tag("old", NOW - 99 * DAY)];
    assert_eq!(staying(&[keep(Keep { last: of(2), ..Keep::default() })], &pushes), ["future", "soon", "now"]);
    let within = keep(Keep { within: Some(DAY), ..Keep::default() });
    assert_eq!(staying(std::slice::from_ref(&within), &pushes), ["future", "soon", "now"]);
    assert_eq!(staying(&[within], &[pushes[0], pushes[3]]), ["future", "old"]);
    assert_eq!(staying(&[Rule::new("expire", Effect::Expire(0))], &pushes), ["future", "soon", "now"]);
}

#[test]
fn what_is_held_stays_and_takes_its_place() {
    let held = |name, pushed| Candidate { held: Some(Because::Protected), ..tag(name, pushed) };
    let pushes = [held("a", 1), tag("b", 2), held("c", 3)];
    assert_eq!(staying(&[keep(Keep { last: of(1), ..Keep::default() })], &pushes), ["a", "c"]);
}

#[test]
fn times_before_1970_and_beyond_the_calendar() {
    let odd = [tag("a", i64::MIN), tag("b", -1), tag("c", 0), tag("d", i64::MIN + 1)];
    let wanted = Keep { yearly: of(2), ..Keep::default() };
    // 1970 and 1969 use up the count.
    assert_eq!(staying(&[keep(wanted)], &odd), ["b", "c"]);
    assert_eq!(staying(&[keep(Keep { within: Some(i64::MAX), ..Keep::default() })], &odd), ["b", "c", "d"]);
    assert_eq!(staying(&[Rule::new("expire", Effect::Expire(i64::MAX))], &odd).len(), 4);
}

#[test]
fn the_digests_that_a_tag_pointed_at_before() {
    use crate::digest::{Algorithm, Digest};
    use crate::inventory::{BlobTable, Digests};
    let digests = Digests::new(BlobTable::default());
    let mut ids = ["a", "b", "c", "d"].map(|text| digests.id(&Digest::of(Algorithm::Sha256, text.as_bytes())));
    ids.sort_unstable();
    let [a, b, c, d] = ids;
    let former = [(a, Some(NOW - 40 * DAY)), (b, Some(NOW - 30 * DAY)), (c, Some(NOW - 30 * DAY))];
    let kept = |history: &[History], former: &[(DigestId, Option<i64>)]| {
        let of = |&history| keep(Keep { history: Some(history), ..Keep::default() });
        let retention = Retention { rules: history.iter().map(of).collect(), floor: 0 };
        let mut kept = retention.history("team/app", "latest", former, NOW - 10 * DAY, NOW)?;
        kept.sort_unstable();
        Some(kept)
    };
    assert_eq!(kept(&[], &former), None);
    assert_eq!(kept(&[History::Last(0)], &former), Some(vec![]));
    assert_eq!(kept(&[History::Last(1)], &former), Some(vec![b, c]), "of the same second");
    assert_eq!(kept(&[History::Last(3)], &former), Some(vec![a, b, c]));
    // b and c until ten days ago, a until thirty days ago.
    assert_eq!(kept(&[History::Within(9 * DAY)], &former), Some(vec![]));
    assert_eq!(kept(&[History::Within(10 * DAY)], &former), Some(vec![b, c]));
    assert_eq!(kept(&[History::Within(30 * DAY)], &former), Some(vec![a, b, c]));
    assert_eq!(kept(&[History::Last(0), History::Within(10 * DAY)], &former), Some(vec![b, c]));
    assert_eq!(kept(&[History::Last(0)], &[(d, None)]), Some(vec![d]), "nobody knows when");
    // A rule that is only about history lets no tag go.
    assert_eq!(staying(&[keep(Keep { history: Some(History::Last(0)), ..Keep::default() })], &[tag("x", 1)]), ["x"]);
}
