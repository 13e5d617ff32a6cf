//! What is to run now, and what should have run: functions of the schedule, the last run and the time.

use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use sha2::{Digest, Sha256};

use super::Calendar;

/// Times of a job that are counted, at most: a machine may have been off for long.
const MOST: usize = 1000;

/// What a job is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It is to run now: it should have begun then.
    Now(DateTime<Utc>),
    /// It is to run then.
    At(DateTime<Utc>),
    /// It has no further time.
    Never,
}

/// What a job is to do, whose last run began then, or which is watched since then. A time that passed unseen is made up for at
/// once; several count as one. A clock that was set back makes nothing run twice.
pub fn due<Z: TimeZone>(
    calendar: &Calendar,
    last: DateTime<Utc>,
    (delay, seed): (Duration, &str),
    now: DateTime<Utc>,
    zone: &Z,
) -> Due {
    let Some(next) = calendar.next_after(&last.with_timezone(zone)) else { return Due::Never };
    let next = next.with_timezone(&Utc);
    let begin = next + share_of(delay, seed, next);
    if begin <= now { Due::Now(next) } else { Due::At(begin) }
}

/// A part of the delay that is always the same for one machine and time, so that a restart changes nothing.
fn share_of(delay: Duration, seed: &str, time: DateTime<Utc>) -> chrono::TimeDelta {
    let digest = Sha256::new().chain_update(seed).chain_update(time.timestamp().to_be_bytes()).finalize();
    let share = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let share = if millis == 0 { 0 } else { share % millis };
    chrono::TimeDelta::milliseconds(i64::try_from(share).unwrap_or(0))
}

/// The times between a run's beginning and now that nothing ran at, but the last one, which this run is for. `grace` is how late a
/// run may be that is not missed.
pub(super) fn missed<Z: TimeZone>(
    calendar: &Calendar,
    last: DateTime<Utc>,
    grace: Duration,
    now: DateTime<Utc>,
    zone: &Z,
) -> Vec<DateTime<Utc>> {
    let mut moment = last.with_timezone(zone);
    let mut times = Vec::new();
    while let Some(next) = calendar.next_after(&moment).filter(|next| *next <= now.with_timezone(zone)) {
        times.push(next.with_timezone(&Utc));
        if times.len() == MOST {
            break;
        }
        moment = next;
    }
    let grace = chrono::TimeDelta::from_std(grace).unwrap_or(chrono::TimeDelta::MAX);
    // The last one is what runs now, unless it is late.
    if times.last().is_some_and(|last| now - last <= grace) {
        times.pop();
    }
    times
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn a_job_runs_once_for_each_time_and_makes_up_for_what_it_missed() {
        let daily: Calendar = "02:30".parse().expect("a time");
        let due = |last: &str, now: &str| due(&daily, at(last), (Duration::ZERO, ""), at(now), &Utc);
        assert_eq!(due("2026-11-20T02:30:05Z", "2026-11-20T12:00:00Z"), Due::At(at("2026-11-21T02:30:00Z")));
        assert_eq!(due("2026-11-20T02:30:05Z", "2026-11-21T02:30:00Z"), Due::Now(at("2026-11-21T02:30:00Z")));
        // The machine was off, and has a run to make up for.
        assert_eq!(due("2026-11-17T02:30:05Z", "2026-11-21T09:00:00Z"), Due::Now(at("2026-11-18T02:30:00Z")));
        // The clock was set back: the run of this time is there.
        assert_eq!(due("2026-11-21T02:30:05Z", "2026-11-21T02:29:00Z"), Due::At(at("2026-11-22T02:30:00Z")));
        let grace = Duration::from_secs(3600);
        let missed = |last: &str, now: &str| missed(&daily, at(last), grace, at(now), &Utc).len();
        assert_eq!(missed("2026-11-17T02:30:05Z", "2026-11-18T02:31:00Z"), 0);
        assert_eq!(missed("2026-11-17T02:30:05Z", "2026-11-21T02:40:00Z"), 3);
        assert_eq!(missed("2026-11-17T02:30:05Z", "2026-11-21T09:00:00Z"), 4);
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_bound_and_always_the_same(seconds in 0..7200u64, seed: String, time in 0..4_000_000_000i64) {
            let (delay, time) = (Duration::from_secs(seconds), DateTime::from_timestamp(time, 0).expect("a time"));
            let one = share_of(delay, &seed, time);
            prop_assert!(one >= chrono::TimeDelta::zero() && one.to_std().expect("not negative") <= delay);
            prop_assert_eq!(one, share_of(delay, &seed, time));
        }
    }
}
