//! Which bundles of a store are kept and which are deleted: a function of what is there, and of nothing else.
//!
//! Ages count from the newest good bundle and not from a clock, so that a cluster which is no longer backed up loses nothing, and
//! calendar periods are those of UTC. A bundle from the future shows that a clock was or is wrong; nothing is deleted then.
//!
//! Whoever can write into a store can put bundles there, and records of drills. So only what a key or a journal of ours knows takes a
//! place in a rule; every other bundle is judged as if it were the only one of its kind, beside those that are known. The newest of
//! these stays in any case: a new machine knows nothing yet, and its first backup must not cost the last one of the machine before.

mod prune;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
pub use prune::Pruning;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::finding::{Finding, bytes};
use crate::names::Series;

/// Clocks may differ by so much.
const SKEW: TimeDelta = TimeDelta::minutes(10);
/// Why a bundle stays that no rule keeps.
const NOT_NOW: &str = "nothing is deleted now";
/// Why the newest of those stays that nothing here knows.
const NEWEST_UNKNOWN: &str = "the newest of those that nothing here knows";
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
    /// Why it stays whatever the rules say: somebody keeps it.
    pub kept: Option<String>,
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
    /// What the journals of restores say.
    pub fn of(journals: Result<Vec<String>>) -> Self {
        match journals {
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
        let any_known = newest_first.iter().any(|at| bundles[*at].unknown.is_none());
        let newest = if any_known { "newer than those that are known" } else { "no bundle here is known" };
        let (mut known, mut newer, mut any_unknown) = (Vec::new(), Newer::default(), false);
        for at in newest_first {
            let bundle = &bundles[*at];
            let mut own = self.reasons(bundle, &newer, now);
            if bundle.unknown.is_some() && !std::mem::replace(&mut any_unknown, true) && own.is_empty() {
                own.push(NEWEST_UNKNOWN.into());
            }
            match &bundle.unknown {
                None => {
                    newer.take(bundle, self);
                    known.push(*at);
                }
                Some(why) if !own.is_empty() => {
                    if newer.newest.is_none() {
                        own[0] = newest.into();
                    }
                    own.push(format!("{why}, so it takes no other's place"));
                }
                Some(_) => {}
            }
            reasons[*at] = own;
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

    /// Every reason to keep a bundle.
    fn reasons(&self, bundle: &Candidate, newer: &Newer<'_>, now: DateTime<Utc>) -> Vec<String> {
        let mut reasons = Vec::new();
        if newer.newest.is_none() {
            reasons.push("the newest".into());
        }
        let newest = newer.newest.unwrap_or(bundle).created;
        if self.days > 0 && bundle.created > newest - TimeDelta::days(self.days.into()) {
            reasons.push(format!("within {} days", self.days));
        }
        if bundle.proved && !newer.proved {
            reasons.push("the newest that a drill has proved".into());
        }
        if newer.count < self.last {
            reasons.push(format!("of the last {}", self.last));
        }
        if let Some(until) = bundle.locked_until.filter(|until| *until > now) {
            reasons.push(format!("locked until {}", until.format("%F %T UTC")));
        }
        reasons.extend(bundle.kept.clone());
        let periods = self.periods(bundle).into_iter().zip(&newer.periods);
        let free = periods.filter(|((count, period), taken)| taken.len() < *count && !taken.contains(period));
        reasons.extend(free.map(|((_, period), _)| period));
        reasons
    }

    /// How many of each kind of period keep a bundle, and which one it is of.
    fn periods(&self, bundle: &Candidate) -> [(usize, String); 4] {
        let time = bundle.created;
        [
            (self.daily, format!("of {}", time.format("%F"))),
            (self.weekly, format!("of week {}", time.format("%G-W%V"))),
            (self.monthly, format!("of {}", time.format("%Y-%m"))),
            (self.yearly, format!("of {}", time.year())),
        ]
    }
}

/// What a series has of known bundles that are newer than one that is judged: the places of rules that are taken.
#[derive(Default)]
struct Newer<'b> {
    newest: Option<&'b Candidate>,
    count: usize,
    proved: bool,
    periods: [BTreeSet<String>; 4],
}

impl<'b> Newer<'b> {
    fn take(&mut self, bundle: &'b Candidate, policy: &Policy) {
        self.newest.get_or_insert(bundle);
        self.count += 1;
        self.proved |= bundle.proved;
        for (taken, (count, period)) in self.periods.iter_mut().zip(policy.periods(bundle)) {
            if taken.len() < count {
                taken.insert(period);
            }
        }
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
