use proptest::prelude::*;

use super::*;

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a time") + TimeDelta::hours(hours)
}

fn bundle(hours: i64) -> Candidate {
    let created = at(hours);
    let file = format!("b{hours}");
    let series = Series::orchestrator();
    Candidate {
        file,
        series,
        created,
        length: 1000,
        foreign: None,
        proved: false,
        unknown: None,
        verified: None,
        locked_until: None,
        kept: None,
    }
}

fn accepted(file: &str) -> Known {
    Known { accepted: vec![file.into()], ..Known::default() }
}

fn kept(verdict: &Verdict) -> Vec<&str> {
    verdict.decisions.iter().filter(|one| one.kept).map(|one| one.file.as_str()).collect()
}

#[test]
fn what_an_unfinished_restore_needs_is_kept() {
    let bundles: Vec<Candidate> =
        (0..4).map(|number| Candidate { file: format!("b{number}.tgz"), ..bundle(number) }).collect();
    let judge =
        |needed| Policy { last: 1, ..Policy::default() }.judge(&bundles, at(4), &Known { needed, ..Known::default() });
    let verdict = judge(Needed::Names(vec!["b1".into(), "b".into()]));
    assert_eq!(kept(&verdict), ["b1.tgz", "b3.tgz"]);
    assert_eq!(verdict.decisions[1].why, "an unfinished restore needs it");
    let unseen = judge(Needed::Unseen(Finding::warning("restores-unseen", "restores", "can't be read")));
    assert_eq!((kept(&unseen).len(), unseen.withheld.len()), (4, 1));
}

#[test]
fn what_somebody_keeps_stays_and_takes_its_place_as_before() {
    let mut bundles: Vec<Candidate> = (0..4).map(bundle).collect();
    bundles[1].kept = Some("kept until 2027-03-31: for the audit".into());
    let policy = Policy { last: 1, ..Policy::default() };
    let verdict = policy.judge(&bundles, at(4), &Known::default());
    assert_eq!((kept(&verdict), verdict.withheld.len()), (vec!["b1", "b3"], 0));
    assert_eq!(verdict.decisions[1].why, "kept until 2027-03-31: for the audit");
    // Nothing here knows who made it, and it is kept as well.
    bundles[1].unknown = Some("unknown".into());
    assert_eq!(kept(&policy.judge(&bundles, at(4), &Known::default())), ["b1", "b3"]);
}

#[test]
fn each_rule_keeps_what_it_says() {
    // One every twelve hours, for two years.
    let bundles: Vec<Candidate> = (0..1460).map(|number| bundle(number * 12)).collect();
    let now = at(1460 * 12);
    let count = |policy: Policy| kept(&policy.judge(&bundles, now, &Known::default())).len();
    assert_eq!(count(Policy { last: 5, ..Policy::default() }), 5);
    assert_eq!(count(Policy { days: 10, ..Policy::default() }), 20);
    assert_eq!(count(Policy { daily: 7, ..Policy::default() }), 7);
    assert_eq!(count(Policy { weekly: 4, ..Policy::default() }), 4);
    assert_eq!(count(Policy { monthly: 12, ..Policy::default() }), 12);
    // They lie in three years.
    assert_eq!(count(Policy { yearly: 10, ..Policy::default() }), 3);
    let all = Policy { last: 2, days: 2, daily: 7, weekly: 4, monthly: 6, yearly: 2, verified_within: None };
    assert!((7 + 3 + 5..=2 + 4 + 7 + 4 + 6 + 2).contains(&count(all)));
}

#[test]
fn what_must_not_be_deleted_is_not() {
    let policy = Policy { last: 1, ..Policy::default() };
    let now = at(1000);
    let mut bundles: Vec<Candidate> = (0..9).map(|number| bundle(number * 24)).collect();
    bundles[0].foreign = Some("it is of cluster other".into());
    bundles[1].locked_until = Some(at(2000));
    bundles[2].locked_until = Some(at(10));
    bundles[3].proved = true;
    bundles[4].proved = true;
    assert_eq!(kept(&policy.judge(&bundles, now, &Known::default())), ["b0", "b24", "b96", "b192"]);
    // A small one may lack something; whoever has looked says so.
    bundles[8].length = 400;
    let verdict = policy.judge(&bundles, now, &Known::default());
    assert_eq!((kept(&verdict).len(), verdict.withheld[0].code.as_str()), (9, "newest-small"));
    assert_eq!(kept(&policy.judge(&bundles, now, &accepted("b192"))).len(), 4);
    // A clock was wrong, or is.
    let verdict = policy.judge(&bundles, at(100), &accepted("b192"));
    assert_eq!((kept(&verdict).len(), verdict.withheld[0].code.as_str()), (9, "from-the-future"));
}

#[test]
fn each_series_is_judged_for_itself_and_none_after_a_failure() {
    let policy = Policy { last: 1, ..Policy::default() };
    let mut bundles: Vec<Candidate> = (0..8).map(|number| bundle(number * 24)).collect();
    let other = |group: &str| Series { component: "monitoring".into(), group: Some(group.into()) };
    for (at, group) in [(1, "east"), (3, "east"), (0, "west"), (2, "west")] {
        bundles[at].series = other(group);
    }
    let known = |failed| Known { failed: vec![(other("east"), failed)], ..Known::default() };
    assert_eq!(kept(&policy.judge(&bundles, at(1000), &Known::default())), ["b48", "b72", "b168"]);
    assert_eq!(kept(&policy.judge(&bundles, at(1000), &known(at(71)))), ["b48", "b72", "b168"]);
    let verdict = policy.judge(&bundles, at(1000), &known(at(73)));
    assert_eq!((kept(&verdict).len(), verdict.withheld[0].code.as_str()), (4, "last-failed"));
}

#[test]
fn what_nothing_here_knows_takes_no_place_and_may_go_itself() {
    let policy = Policy { last: 2, ..Policy::default() };
    let unknown = |hours: i64| Candidate { unknown: Some("nothing here knows who made it".into()), ..bundle(hours) };
    let known: Vec<Candidate> = (0..4).map(|number| bundle(number * 24)).collect();
    let mixed =
        |others: &[i64]| known.iter().cloned().chain(others.iter().map(|hours| unknown(*hours))).collect::<Vec<_>>();
    // Newer, in between, older, from the future: what is known fares as if they were not there.
    for others in [&[][..], &[73, 74, 75], &[50, 51], &[-1, -2], &[9999]] {
        let verdict = policy.judge(&mixed(others), at(100), &Known::default());
        let ours: Vec<&str> = verdict.decisions[..4].iter().filter(|one| one.kept).map(|one| &*one.file).collect();
        assert_eq!((ours, verdict.withheld.len()), (vec!["b48", "b72"], 0), "{others:?}");
        let kept = verdict.decisions[4..].iter().filter(|one| one.kept).count();
        // The newest of them stays in any case: it may be the last one of a machine that is lost.
        let newest = usize::from(!others.is_empty());
        let expected = others.iter().filter(|hours| **hours > 48).count().max(newest);
        assert_eq!(kept, expected, "{others:?}: {:?}", verdict.decisions);
    }
    let alone: Vec<Candidate> = (0..9).map(unknown).collect();
    assert_eq!(kept(&policy.judge(&alone, at(100), &Known::default())).len(), 9);
}

#[test]
fn where_the_settings_ask_for_it_nothing_goes_before_what_stays_was_read() {
    let policy = Policy { last: 1, verified_within: Some(8), ..Policy::default() };
    let mut bundles: Vec<Candidate> = (0..4).map(|number| bundle(number * 24)).collect();
    let codes = |bundles: &[Candidate]| {
        let verdict = policy.judge(bundles, at(24 * 30), &Known::default());
        (kept(&verdict).len(), verdict.withheld.iter().map(|one| one.code.clone()).collect::<Vec<_>>())
    };
    bundles[0].verified = Some(at(24 * 29));
    bundles[3].verified = Some(at(24 * 21));
    assert_eq!(codes(&bundles), (4, vec!["not-verified".to_owned()]));
    bundles[3].verified = Some(at(24 * 23));
    assert_eq!(codes(&bundles), (1, Vec::new()));
}

prop_compose! {
    fn any_bundle()(hours in 0..20_000i64, series in 0..2, length in 1..5000u64, foreign: bool, proved: bool, locked in proptest::option::of(0..30_000i64))
        -> Candidate
    {
        let foreign = foreign.then(|| "foreign".to_owned());
        let series = Series { group: (series > 0).then(|| "east".to_owned()), ..Series::orchestrator() };
        Candidate { series, length, foreign, proved, locked_until: locked.map(at), ..bundle(hours) }
    }
}

prop_compose! {
    fn any_policy()(last in 0..4usize, days in 0..9u32, daily in 0..5usize, weekly in 0..4usize, monthly in 0..4usize, yearly in 0..3usize)
        -> Policy
    {
        Policy { last, days, daily, weekly, monthly, yearly, verified_within: None }
    }
}

proptest! {
    #[test]
    fn the_newest_the_proved_the_locked_and_the_foreign_stay_and_what_is_left_is_left(
        policy in any_policy(), all in proptest::collection::vec(any_bundle(), 0..40), now in 0..30_000i64,
    ) {
        let mut bundles = all;
        bundles.sort_by_key(|bundle| bundle.created);
        bundles.dedup_by_key(|bundle| bundle.created);
        let now = at(now);
        let verdict = policy.judge(&bundles, now, &Known::default());
        let stays = |file: &str| verdict.decisions.iter().any(|one| one.file == file && one.kept);
        for group in [None, Some("east".to_owned())] {
            let ours = || bundles.iter().filter(|bundle| bundle.foreign.is_none() && bundle.series.group == group);
            prop_assert!(ours().next_back().is_none_or(|newest| stays(&newest.file)));
            prop_assert!(ours().rfind(|bundle| bundle.proved).is_none_or(|proved| stays(&proved.file)));
        }
        let untouched = bundles.iter().filter(|one| one.foreign.is_some() || one.locked_until.is_some_and(|until| until > now));
        prop_assert!(untouched.into_iter().all(|bundle| stays(&bundle.file)));
        // The order in which a store lists them means nothing, and nothing more goes the next time.
        let mut other = bundles.clone();
        other.reverse();
        let mut same = policy.judge(&other, now, &Known::default()).decisions;
        same.reverse();
        prop_assert_eq!(&same, &verdict.decisions);
        let left: Vec<Candidate> = bundles.iter().filter(|bundle| stays(&bundle.file)).cloned().collect();
        let again = policy.judge(&left, now, &Known::default());
        prop_assert!(again.decisions.iter().all(|one| one.kept) || !verdict.withheld.is_empty());
    }
}
