//! Which bundles of a store are kept and which are deleted: a function of what is there, and of nothing else.
//!
//! Ages count from the newest good bundle and not from a clock, so that a cluster which is no longer backed up loses nothing, and
//! calendar periods are those of UTC. A bundle from the future shows that a clock was or is wrong; nothing is deleted then.
//!
//! Whoever can write into a store can put bundles there, and records of drills. So only what a key or a journal of ours knows takes a
//! place in a rule; every other bundle is judged as if it were the only one of its kind, beside those that are known.

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
/// Why a bundle stays that no rule keeps.
const NOT_NOW: &str = "nothing is deleted now";
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
    /// Nothing is deleted unless one of those that stay was read in full within so many days.
    pub verified_within: Option<u32>,
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
    /// Whether a drill has proved it that is ours.
    pub proved: bool,
    /// Why it takes no place in any rule, where it does not: nothing here knows it.
    pub unknown: Option<String>,
    /// When this machine last read it in full.
    pub verified: Option<DateTime<Utc>>,
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
        Self { verified_within: None, ..self.clone() } == Self::default()
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
            let known_first = self.rules(bundles, &newest_first, now, &mut reasons);
            let needed = newest_first.iter().filter(|at| known.needed.is(&bundles[**at].file));
            needed.for_each(|at| reasons[*at].push("an unfinished restore needs it".into()));
            let mut doubts = Vec::new();
            if newest_first.iter().any(|at| reasons[*at].is_empty()) {
                doubts.extend(from_the_future(bundles, &known_first, now));
                doubts.extend(suspiciously_small(bundles, &known_first, &known.accepted));
                doubts.extend(known_first.first().and_then(|at| last_failed(series, &bundles[*at], &known.failed)));
                doubts.extend(known.needed.unseen());
                let stays: Vec<&Candidate> =
                    known_first.iter().filter(|at| !reasons[**at].is_empty()).map(|at| &bundles[*at]).collect();
                doubts.extend(self.not_verified(series, &stays, now));
            }
            for at in newest_first {
                why_kept[at] = match (reasons[at].is_empty(), doubts.is_empty()) {
                    (false, _) => Some(reasons[at].join(", ")),
                    (true, false) => Some(NOT_NOW.into()),
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

    /// Holds the rules against a series, and gives those of it that are known, newest first. The others take no place of theirs, and
    /// none of one another's.
    fn rules(
        &self,
        bundles: &[Candidate],
        newest_first: &[usize],
        now: DateTime<Utc>,
        reasons: &mut [Vec<String>],
    ) -> Vec<usize> {
        let (known, unknown): (Vec<usize>, Vec<usize>) =
            newest_first.iter().partition(|at| bundles[**at].unknown.is_none());
        self.reasons(bundles, &known, now, reasons);
        for at in unknown {
            let Some(why) = &bundles[at].unknown else { continue };
            let newer = |other: &usize| bundles[*other].created > bundles[at].created;
            let place = known.iter().position(|other| !newer(other)).unwrap_or(known.len());
            let among = [&known[..place], &[at], &known[place..]].concat();
            let mut own = vec![Vec::new(); bundles.len()];
            self.reasons(bundles, &among, now, &mut own);
            let mut own = std::mem::take(&mut own[at]);
            if let (Some(first), 0) = (own.first_mut(), place) {
                *first = if known.is_empty() {
                    "no bundle here is known".into()
                } else {
                    "newer than those that are known".into()
                };
            }
            if !own.is_empty() {
                own.push(format!("{why}, so it takes no other's place"));
                reasons[at] = own;
            }
        }
        known
    }

    /// That none of those that stay was read in full lately, where the settings ask for that.
    fn not_verified(&self, series: &Series, stays: &[&Candidate], now: DateTime<Utc>) -> Option<Finding> {
        let days = self.verified_within?;
        let since = now - TimeDelta::days(days.into());
        if stays.iter().any(|bundle| bundle.verified.is_some_and(|time| time >= since)) {
            return None;
        }
        let message = format!("none of the bundles that would stay was read in full within {days} days");
        let hint = "verify or drill the newest one; retention.verified_within says how many days it may be ago";
        Some(Finding::warning("not-verified", series.to_string(), message).hint(hint))
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
mod tests;
