//! Times that come again: cron expressions of five fields, and calendar expressions as systemd has them, as far as days and
//! minutes go.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeZone};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use crate::{Error, Kind, Result};

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const HINT: &str = "such as \"02:30\", \"Sun 04:00\", \"Mon..Fri 02:30\", \"*-*-01 03:00\", \"daily\", or \"30 2 * * *\" as cron has it";

/// Times that come again, by the wall clock. A time that a change to summer time leaves out comes as soon as it is over; one that
/// comes twice in autumn comes once.
#[derive(Clone)]
pub struct Calendar {
    text: String,
    /// Minute, hour, day of the month, month, day of the week, as cron has them.
    fields: [String; 5],
    cron: Cron,
}

impl Calendar {
    /// The first time after a moment.
    pub fn next_after<Z: TimeZone>(&self, moment: &DateTime<Z>) -> Option<DateTime<Z>> {
        self.cron.find_next_occurrence(moment, false).ok()
    }

    /// The expression as systemd's `OnCalendar=` takes it.
    pub fn on_calendar(&self) -> String {
        let [minute, hour, day, month, weekday] = &self.fields;
        let weekdays = if weekday == "*" { String::new() } else { format!("{} ", named_days(weekday)) };
        let number = |field: &str, first: &str| of_systemd(field, first);
        let (month, day) = (number(month, "01"), number(day, "01"));
        format!("{weekdays}*-{month}-{day} {}:{}:00", number(hour, "00"), number(minute, "00"))
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Calendar {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |why: &str| Error::new(Kind::Usage, format!("read the time {text:?}: {why}")).hint(HINT);
        let words: Vec<&str> = text.split_whitespace().collect();
        let fields = match words.len() {
            5 => words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().try_into().ok(),
            _ => of_calendar(&words),
        };
        let mut fields: [String; 5] =
            fields.ok_or_else(|| refused("it is neither a calendar expression nor one of cron"))?;
        fields[4] = with_short_days(&fields[4]);
        let plain = |place: usize, field: &String| {
            let letters = place == 4;
            field.chars().all(|c| c.is_ascii_digit() || "*,-/".contains(c) || letters && c.is_ascii_alphabetic())
        };
        if !fields.iter().enumerate().all(|(place, field)| plain(place, field)) {
            return Err(refused("only numbers, * , - and / may stand in it, and names of days"));
        }
        // cron takes either of both, systemd only where both hold.
        if fields[2] != "*" && fields[4] != "*" {
            return Err(refused("it names days of the month and of the week"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(&fields.join(" ")).map_err(|_| refused(&what_is_wrong(&parser, &fields)))?;
        if cron.find_next_occurrence(&DateTime::UNIX_EPOCH, false).is_err() {
            return Err(refused("this time never comes"));
        }
        Ok(Self { text: text.into(), fields, cron })
    }
}

/// The first field that means nothing.
fn what_is_wrong(parser: &CronParser, fields: &[String; 5]) -> String {
    let names = ["minute", "hour", "day of the month", "month", "day of the week"];
    let alone = |place: usize| {
        let mut alone = ["*"; 5];
        alone[place] = &fields[place];
        alone.join(" ")
    };
    let wrong = (0..5).find(|place| parser.parse(&alone(*place)).is_err());
    wrong.map_or_else(|| "it means nothing".into(), |place| format!("{} is no {}", fields[place], names[place]))
}

/// Days of the week by the names that cron knows; systemd takes whole ones, too.
fn with_short_days(field: &str) -> String {
    const WHOLE: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    WHOLE.iter().fold(field.to_ascii_lowercase(), |field, whole| field.replace(whole, &whole[..3]))
}

/// The fields of `[WEEKDAYS] [DATE] [TIME]`, or of a word.
fn of_calendar(words: &[&str]) -> Option<[String; 5]> {
    let word = match words {
        ["hourly"] => Some("0 * * * *"),
        ["daily"] => Some("0 0 * * *"),
        ["weekly"] => Some("0 0 * * Mon"),
        ["monthly"] => Some("0 0 1 * *"),
        _ => None,
    };
    if let Some(word) = word {
        return words_of(word);
    }
    if words.is_empty() {
        return None;
    }
    let (mut weekday, mut date, mut time) = (None, None, None);
    for word in words {
        let place = match word {
            word if word.contains(':') => &mut time,
            word if word.starts_with(|c: char| c.is_ascii_alphabetic()) => &mut weekday,
            _ => &mut date,
        };
        if place.replace(*word).is_some() {
            return None;
        }
    }
    let time: Vec<&str> = time.unwrap_or("00:00").split(':').collect();
    let (hour, minute) = match time[..] {
        [hour, minute] | [hour, minute, "00" | "0"] => (hour, minute),
        _ => return None,
    };
    let date: Vec<&str> = date.unwrap_or("*-*-*").split('-').collect();
    let (month, day) = match date[..] {
        ["*", month, day] | [month, day] => (month, day),
        _ => return None,
    };
    let weekday = weekday.unwrap_or("*");
    Some([
        of_cron(minute, 0, 59),
        of_cron(hour, 0, 23),
        of_cron(day, 1, 31),
        of_cron(month, 1, 12),
        of_cron(weekday, 0, 6),
    ])
}

fn words_of(text: &str) -> Option<[String; 5]> {
    text.split(' ').map(Into::into).collect::<Vec<String>>().try_into().ok()
}

/// A field of a calendar expression as cron writes it, whose numbers go from `first` to `last`: ranges have a hyphen, and steps a range.
fn of_cron(field: &str, first: u32, last: u32) -> String {
    let part = |part: &str| match part.split_once('/') {
        Some((from, step)) if from != "*" && !from.contains("..") => match from.parse::<u32>() {
            Ok(from) if from != first => format!("{from}-{last}/{step}"),
            Ok(_) => format!("*/{step}"),
            Err(_) => part.into(),
        },
        _ => part.replace("..", "-"),
    };
    field.split(',').map(part).collect::<Vec<_>>().join(",")
}

/// A field of numbers of cron as a calendar expression writes it; steps from `*` begin with the `first`.
fn of_systemd(field: &str, first: &str) -> String {
    let name = |number: &str| format!("{number:0>2}");
    let part = |part: &str| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let range = match range.split_once('-') {
            _ if range == "*" && step.is_some() => first.into(),
            _ if range == "*" => range.into(),
            Some((from, to)) => format!("{}..{}", name(from), name(to)),
            None => name(range),
        };
        step.map_or(range.clone(), |step| format!("{range}/{step}"))
    };
    field.split(',').map(part).collect::<Vec<_>>().join(",")
}

/// The days of the week of a field of cron: each by its name, for systemd's week begins on Monday, and has no steps.
fn named_days(field: &str) -> String {
    let number = |day: &str| {
        let named = DAYS.iter().position(|name| day.eq_ignore_ascii_case(name));
        named.or_else(|| day.parse().ok()).unwrap_or(0)
    };
    let mut days = [false; 8];
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap_or(1)));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (0, 6),
            Some((from, to)) => (number(from), number(to)),
            None => (number(range), number(range)),
        };
        (from..=to.min(7)).step_by(step.max(1)).for_each(|day| days[day] = true);
    }
    let is = |day: usize| days[day] || day == 0 && days[7];
    (1..=7).map(|day| day % 7).filter(|day| is(*day)).map(|day| DAYS[day]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;

    use super::*;

    fn times(text: &str, from: &str, count: usize) -> Vec<String> {
        let calendar: Calendar = text.parse().expect("an expression");
        let mut moment = Berlin.from_local_datetime(&from.parse().expect("a time")).unwrap();
        let mut next = || {
            moment = calendar.next_after(&moment)?;
            Some(moment.format("%m-%d %H:%M %Z").to_string())
        };
        std::iter::from_fn(&mut next).take(count).collect()
    }

    #[test]
    fn calendar_and_cron_expressions_mean_the_same_times() {
        for (calendar, cron, systemd) in [
            ("02:30", "30 2 * * *", "*-*-* 02:30:00"),
            ("daily", "0 0 * * *", "*-*-* 00:00:00"),
            ("Sun 04:00", "0 4 * * 7", "Sun *-*-* 04:00:00"),
            ("Mon..Fri 02:30", "30 2 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 02:30:00"),
            ("Monday,tuesday,Wed,Sun", "0 0 * * 0-3", "Mon,Tue,Wed,Sun *-*-* 00:00:00"),
            ("*-*-01/2 03:00", "0 3 */2 * *", "*-*-01/2 03:00:00"),
            ("Mon,Thu 22:05:00", "5 22 * * 1,4", "Mon,Thu *-*-* 22:05:00"),
            ("*-*-01 03:00", "0 3 1 * *", "*-*-01 03:00:00"),
            ("*-01,07-15", "0 0 15 1,7 *", "*-01,07-15 00:00:00"),
            ("*:00/15", "*/15 * * * *", "*-*-* *:00/15:00"),
            ("hourly", "0 * * * *", "*-*-* *:00:00"),
        ] {
            let [one, other]: [Calendar; 2] = [calendar, cron].map(|text| text.parse().expect(text));
            assert_eq!(
                times(calendar, "2026-11-22T12:00:00", 20),
                times(cron, "2026-11-22T12:00:00", 20),
                "{calendar}"
            );
            assert_eq!((one.on_calendar(), other.on_calendar()), (systemd.into(), systemd.into()), "{calendar}");
        }
    }

    #[test]
    fn a_time_that_is_left_out_comes_late_and_one_that_is_twice_comes_once() {
        let spring = times("02:30", "2027-03-27T12:00:00", 2);
        assert_eq!(spring, ["03-28 03:00 CEST", "03-29 02:30 CEST"]);
        let autumn = times("02:30", "2026-10-24T12:00:00", 2);
        assert_eq!(autumn, ["10-25 02:30 CEST", "10-26 02:30 CET"]);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "noon",
            "25:00",
            "02:60",
            "02:30:15",
            "1 2 3",
            "* * * * * *",
            "0 0 1 * 1",
            "Sun *-*-01",
            "30 2 * * x",
            "2026-01-01",
            "02:30 03:30",
            "@daily",
            "02:30;",
            "*-02-30 02:30",
            "0 0 L * *",
        ] {
            let error = bad.parse::<Calendar>().expect_err(bad);
            assert_eq!(error.kind(), Kind::Usage, "{bad}");
        }
        for (bad, why) in
            [("25:00", "25 is no hour"), ("Sonday 04:00", "sonday is no day of the week"), ("2:30 pm", "pm is no day")]
        {
            let error = bad.parse::<Calendar>().expect_err(bad).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
