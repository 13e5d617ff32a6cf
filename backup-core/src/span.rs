//! Spans of time as people write them: `90min`, `24h`, `7d`, `2w`.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(Duration);

impl Span {
    /// How long it is.
    pub(crate) fn length(self) -> Duration {
        self.0
    }

    /// The moment that lies this span before `now`; the first moment there is if the span is longer than all time.
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let span = TimeDelta::from_std(self.0).ok();
        span.and_then(|span| now.checked_sub_signed(span)).unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

impl FromStr for Span {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_number_and_a_unit() {
        let hours = |text: &str| text.parse::<Span>().ok().map(|span| span.length().as_secs() / 3600);
        assert_eq!([hours("24h"), hours("7d"), hours("2w"), hours("1d 6h")], [24, 168, 336, 30].map(Some));
        for bad in ["", "7", "d", "-1d", "7 nights"] {
            assert_eq!(hours(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_span_leads_before_all_time() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a moment");
        let before = |text: &str| text.parse::<Span>().expect("a span").before(now);
        assert_eq!(before("1d"), now - TimeDelta::days(1));
        assert_eq!(before("500000000000y"), DateTime::<Utc>::MIN_UTC);
    }
}
