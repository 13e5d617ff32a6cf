//! The record that keeps a bundle from being deleted by rules. It lies beside the bundle.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// The most characters of a note.
pub const LONGEST_NOTE: usize = 500;

/// That a bundle is to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// When somebody said so.
    pub since: DateTime<Utc>,
    /// The last day, in UTC, of which it is kept; none until it is released.
    #[serde(default)]
    pub until: Option<NaiveDate>,
    /// Why.
    #[serde(default)]
    pub note: Option<String>,
    /// Who said so: the user, and the machine.
    #[serde(default)]
    pub by: Option<String>,
}

impl Keep {
    /// Whether it keeps the bundle at this moment.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now.date_naive() <= until)
    }

    /// That in a line, such as `kept until 2027-03-31: for the audit`.
    pub fn shown(&self) -> String {
        let until = self.until.map_or_else(String::new, |until| format!(" until {until}"));
        // Whoever can write into the store can write a note of many lines.
        let note = self.note.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        if note.is_empty() { format!("kept{until}") } else { format!("kept{until}: {note}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_day_is_kept_to_its_end() {
        let moment = |text: &str| text.parse::<DateTime<Utc>>().expect("a moment");
        let since = moment("2026-11-20T19:15:00Z");
        let keep = |until: Option<&str>| Keep {
            since,
            until: until.map(|until| until.parse().expect("a day")),
            note: None,
            by: None,
        };
        let day = keep(Some("2027-03-31"));
        assert!(day.holds(since) && day.holds(moment("2027-03-31T23:59:59Z")));
        assert!(!day.holds(moment("2027-04-01T00:00:00Z")));
        assert!(keep(None).holds(moment("2999-01-01T00:00:00Z")));
    }

    #[test]
    fn a_note_is_one_line() {
        let keep = |text: &str| serde_json::from_str::<Keep>(text).expect("a record").shown();
        assert_eq!(keep(r#"{"since":"2026-11-20T19:15:00Z"}"#), "kept");
        let all = r#"{"since":"2026-11-20T19:15:00Z","until":"2027-03-31","note":"for\n the audit","by":"ops@vm"}"#;
        assert_eq!(keep(all), "kept until 2027-03-31: for the audit");
    }
}
