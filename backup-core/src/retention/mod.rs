//! Which bundles of a store are kept and which are deleted: a function of what is there, and of nothing else.
//!
//! Ages count from the newest good bundle and not from a clock, so that a cluster which is no longer backed up loses nothing, and
//! calendar periods are those of UTC. A bundle from the future shows that a clock was or is wrong; nothing is deleted then.

mod after;
mod prune;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

pub use after::{Pruned, prune_after};
use chrono::{DateTime, Datelike, TimeDelta, Utc};
pub use prune::Pruning;
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::catalog::Series;
use crate::finding::{Finding, bytes};

/// Clocks may differ by so much.
const SKEW: TimeDelta = TimeDelta::minutes(10);
/// Bundles before the newest that it is measured against.
const MEASURE: usize = 7;

/// What is kept. A bundle that any rule keeps is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The newest ones.
    pub last: usize,
    /// Those that are not so many days older than the newest.
    pub days: u32,
    /// The newest one of each of the last days that have one.
    pub daily: usize,
    /// The same of weeks, which begin on Monday.
    pub weekly: usize,
    /// The same of months.
    pub monthly: usize,
    /// The same of years.
    pub yearly: usize,
}

/// A bundle as it is judged.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its file's name.
    pub file: String,
    /// What it is one of; each series is judged for itself.
    pub series: Series,
    /// When it was begun, by its name.
    pub created: DateTime<Utc>,
    /// Its length in bytes.
    pub length: u64,
    /// Why it may not be judged at all: it can't be opened, is another cluster's, or does not have all that the others have.
    pub foreign: Option<String>,
    /// Whether a drill has proved it.
    pub proved: bool,
    /// Until when its store keeps it from being deleted.
    pub locked_until: Option<DateTime<Utc>>,
}

/// What is known beside the bundles.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Names of bundles that an operator has found to be well although they are small.
    pub accepted: Vec<String>,
    /// Series whose last backup failed, and when.
    pub failed: Vec<(Series, DateTime<Utc>)>,
    /// Names of the bundles that unfinished restores need; or why that can't be seen.
    pub needed: Needed,
}

/// The bundles that unfinished restores on this machine need.
#[derive(Debug, Clone)]
pub enum Needed {
    /// Their names.
    Names(Vec<String>),
    /// It can't be seen.
    Unseen(Finding),
}

impl Default for Needed {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

impl Needed {
    /// Looks into the journals of restores.
    pub fn of(context: &Context) -> Self {
        match crate::restore::needed(context) {
            Ok(names) => Self::Names(names),
            Err(error) => Self::Unseen(Finding::warning_from_error("restores-unseen", "restores", &error)),
        }
    }

    fn is(&self, file: &str) -> bool {
        let needs = |name: &String| file.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        matches!(self, Self::Names(names) if names.iter().any(needs))
    }

    fn unseen(&self) -> Option<Finding> {
        match self {
            Self::Names(_) => None,
            Self::Unseen(finding) => Some(finding.clone()),
        }
    }
}

/// What becomes of a bundle, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Its file's name.
    pub file: String,
    /// Whether it is kept.
    pub kept: bool,
    /// Every rule that keeps it; or why it is deleted.
    pub why: String,
}

/// What becomes of all bundles of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Of each bundle, in the order in which they were given.
    pub decisions: Vec<Decision>,
    /// Why something is not deleted that rules might have deleted.
    pub withheld: Vec<Finding>,
}

impl Policy {
    /// Whether it keeps nothing, which no one means.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges all bundles of one store, each series for itself.
    pub fn judge(&self, bundles: &[Candidate], now: DateTime<Utc>, known: &Known) -> Verdict {
        let mut by_series: BTreeMap<&Series, Vec<usize>> = BTreeMap::new();
        for (at, bundle) in bundles.iter().enumerate().filter(|(_, bundle)| bundle.foreign.is_none()) {
            by_series.entry(&bundle.series).or_default().push(at);
        }
        let mut why_kept: Vec<Option<String>> = bundles.iter().map(|bundle| bundle.foreign.clone()).collect();
        let mut reasons = vec![Vec::new(); bundles.len()];
        let mut withheld = Vec::new();
        for (series, mut newest_first) in by_series {
            newest_first.sort_by_key(|at| Reverse((bundles[*at].created, &bundles[*at].file)));
            self.reasons(bundles, &newest_first, now, &mut reasons);
            let needed = newest_first.iter().filter(|at| known.needed.is(&bundles[**at].file));
            needed.for_each(|at| reasons[*at].push("an unfinished restore needs it".into()));
            let mut doubts = Vec::new();
            if newest_first.iter().any(|at| reasons[*at].is_empty()) {
                doubts.extend(from_the_future(bundles, &newest_first, now));
                doubts.extend(suspiciously_small(bundles, &newest_first, &known.accepted));
                doubts.extend(last_failed(series, &bundles[newest_first[0]], &known.failed));
                doubts.extend(known.needed.unseen());
            }
            for at in newest_first {
                why_kept[at] = match (reasons[at].is_empty(), doubts.is_empty()) {
                    (false, _) => Some(reasons[at].join(", ")),
                    (true, false) => Some("nothing is deleted now".into()),
                    (true, true) => None,
                };
            }
            withheld.append(&mut doubts);
        }
        let judged = bundles.iter().zip(why_kept).map(|(bundle, why)| {
            let (file, kept) = (bundle.file.clone(), why.is_some());
            Decision { file, kept, why: why.unwrap_or_else(|| "no rule keeps it".into()) }
        });
        Verdict { decisions: judged.collect(), withheld }
    }

    /// Of each bundle of a series every reason to keep it.
    fn reasons(&self, bundles: &[Candidate], newest_first: &[usize], now: DateTime<Utc>, reasons: &mut [Vec<String>]) {
        if let Some(newest) = newest_first.first() {
            reasons[*newest].push("the newest".into());
            let oldest = bundles[*newest].created - TimeDelta::days(self.days.into());
            let young = newest_first.iter().filter(|at| self.days > 0 && bundles[**at].created > oldest);
            young.for_each(|at| reasons[*at].push(format!("within {} days", self.days)));
        }
        if let Some(proved) = newest_first.iter().find(|at| bundles[**at].proved) {
            reasons[*proved].push("the newest that a drill has proved".into());
        }
        newest_first.iter().take(self.last).for_each(|at| reasons[*at].push(format!("of the last {}", self.last)));
        for at in newest_first {
            if let Some(until) = bundles[*at].locked_until.filter(|until| *until > now) {
                reasons[*at].push(format!("locked until {}", until.format("%F %T UTC")));
            }
        }
        let mut of_each = |count: usize, period: &dyn Fn(DateTime<Utc>) -> String| {
            let mut seen = BTreeSet::new();
            for at in newest_first {
                let period = period(bundles[*at].created);
                if seen.len() < count && seen.insert(period.clone()) {
                    reasons[*at].push(period);
                }
            }
        };
        of_each(self.daily, &|time| format!("of {}", time.format("%F")));
        of_each(self.weekly, &|time| format!("of week {}", time.format("%G-W%V")));
        of_each(self.monthly, &|time| format!("of {}", time.format("%Y-%m")));
        of_each(self.yearly, &|time| format!("of {}", time.year()));
    }
}

fn from_the_future(bundles: &[Candidate], newest_first: &[usize], now: DateTime<Utc>) -> Option<Finding> {
    let ahead = newest_first.iter().map(|at| &bundles[*at]).find(|bundle| bundle.created > now + SKEW)?;
    let message = format!("it is from the future, by this machine's clock ({})", now.format("%F %T UTC"));
    let hint = "see to the clock; if it was wrong when the bundle was made, move that bundle elsewhere";
    Some(Finding::warning("from-the-future", &ahead.file, message).hint(hint))
}

/// What could not be backed up today may be lost tomorrow, and an older bundle may be what is needed then.
fn last_failed(series: &Series, newest: &Candidate, failed: &[(Series, DateTime<Utc>)]) -> Option<Finding> {
    let (_, time) = failed.iter().find(|(of, time)| of == series && *time >= newest.created)?;
    let message = format!("its last backup failed, at {}", time.format("%F %T UTC"));
    let hint = "make a good one first; where there is no room for it, `prune --after-failure` makes some";
    Some(Finding::warning("last-failed", series.to_string(), message).hint(hint))
}

fn suspiciously_small(bundles: &[Candidate], newest_first: &[usize], accepted: &[String]) -> Option<Finding> {
    let newest = &bundles[*newest_first.first()?];
    let mut before: Vec<u64> = newest_first.iter().skip(1).take(MEASURE).map(|at| bundles[*at].length).collect();
    before.sort_unstable();
    let median = *before.get(before.len() / 2)?;
    if newest.length >= median / 2 || accepted.contains(&newest.file) {
        return None;
    }
    let (length, usual) = (bytes(newest.length), bytes(median));
    let message = format!("it has {length}, and those before it about {usual}: something may be missing");
    let hint = format!("look what is in it; if all is well, --accept {}", newest.file);
    Some(Finding::warning("newest-small", &newest.file, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).expect("a time") + TimeDelta::hours(hours)
    }

    fn bundle(hours: i64) -> Candidate {
        let created = at(hours);
        let file = format!("b{hours}");
        let series = Series::orchestrator();
        Candidate { file, series, created, length: 1000, foreign: None, proved: false, locked_until: None }
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
        let judge = |needed| {
            Policy { last: 1, ..Policy::default() }.judge(&bundles, at(4), &Known { needed, ..Known::default() })
        };
        let verdict = judge(Needed::Names(vec!["b1".into(), "b".into()]));
        assert_eq!(kept(&verdict), ["b1.tgz", "b3.tgz"]);
        assert_eq!(verdict.decisions[1].why, "an unfinished restore needs it");
        let unseen = judge(Needed::Unseen(Finding::warning("restores-unseen", "restores", "can't be read")));
        assert_eq!((kept(&unseen).len(), unseen.withheld.len()), (4, 1));
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
        let all = Policy { last: 2, days: 2, daily: 7, weekly: 4, monthly: 6, yearly: 2 };
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
            Policy { last, days, daily, weekly, monthly, yearly }
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
}
