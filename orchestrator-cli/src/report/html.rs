//! A status as one page that needs nothing else: no script, no font, no server.

use std::fmt::Write;
use std::time::Duration;

use backup_core::finding::{Finding, News, Severity, age, worst};
use backup_core::runs::{Run, State};
use backup_core::schedule::Job;
use backup_core::status::{InStore, JobState, Status};
use backup_core::text::is_unseen;
use chrono::{DateTime, TimeDelta, Utc};

use super::text::unseen;
use crate::human::{bytes, days, duration};

const STYLE: &str = include_str!("page.css");
/// Days that pictures show.
const DAYS: i64 = 30;
/// Runs that the last table lists.
const RUNS: usize = 50;
/// Width of the pictures, and of the names to their left.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 90.0;

/// The page.
pub(crate) fn page(status: &Status, runs: &[Run]) -> String {
    let title = if status.cluster.is_empty() { &status.host } else { &status.cluster };
    let title = escaped(title);
    let body = [
        verdict(status, &title),
        section("Bundles", &series(status)),
        section("Sizes, last 30 days", &sizes(status)),
        section("Jobs", &jobs(status)),
        section("Runs, last 30 days", &timeline(status, runs)),
        section("Stores", &stores(status)),
        section("Latest runs", &latest(runs)),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}: backups</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        body.concat()
    )
}

fn section(heading: &str, content: &str) -> String {
    if content.is_empty() { String::new() } else { format!("<h2>{heading}</h2>\n{content}") }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if is_unseen(c) && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn class(severity: Option<Severity>) -> &'static str {
    match severity {
        Some(Severity::Error) => "bad",
        Some(Severity::Warning) => "warn",
        _ => "good",
    }
}

fn verdict(status: &Status, title: &str) -> String {
    let severity = worst(&status.findings);
    let said = match class(severity) {
        "bad" => "✕ Not safe",
        "warn" => "! Safe, something is to be looked at",
        _ if unseen(status) => "✓ Safe, as far as can be seen",
        _ => "✓ Safe",
    };
    let findings: String = status.findings.iter().map(item).collect();
    let findings = if findings.is_empty() { findings } else { format!("<ul class=\"findings\">\n{findings}</ul>\n") };
    format!(
        "<h1>{title}</h1>\n<p class=\"soft\">seen from {} at {}</p>\n\
         <div class=\"verdict {}\"><strong>{said}</strong>\n{findings}</div>\n",
        escaped(&status.host),
        status.time.format("%F %H:%M UTC"),
        class(severity),
    )
}

fn item(finding: &Finding) -> String {
    let hint =
        finding.hint.as_ref().map_or_else(String::new, |hint| format!("<p class=\"soft\">{}</p>", escaped(hint)));
    let text = escaped(&format!("{}: {}", finding.subject, finding.message));
    let class = match (finding.severity, finding.news) {
        (Severity::Info, News::Note) => "soft",
        (Severity::Info, News::Unknown) => "warn",
        (severity, _) => class(Some(severity)),
    };
    format!("<li class=\"{class}\"><b>{}</b> <span>{text}</span>{hint}</li>\n", finding.word())
}

/// A table; of each column its heading and its class.
fn table<const N: usize>(columns: [(&str, &str); N], rows: impl Iterator<Item = [String; N]>) -> String {
    let cell = |tag: &str, class: &str, text: &str| match class {
        "" => format!("<{tag}>{text}</{tag}>"),
        class => format!("<{tag} class=\"{class}\">{text}</{tag}>"),
    };
    let head: String = columns.iter().map(|(heading, class)| cell("th", class, heading)).collect();
    let row = |row: [String; N]| {
        let cells: String = row.iter().zip(&columns).map(|(text, (_, class))| cell("td", class, text)).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let body: String = rows.map(row).collect();
    if body.is_empty() {
        return body;
    }
    format!("<div class=\"wide\"><table>\n<tr>{head}</tr>\n{body}</table></div>\n")
}

fn ago(status: &Status, time: DateTime<Utc>) -> String {
    (status.time - time).to_std().map_or_else(|_| "in the future".into(), |since| format!("{} ago", age(since)))
}

fn series(status: &Status) -> String {
    let row = |one: &InStore| {
        let newest = one.bundles.last();
        let unseen = status.is_unseen(one);
        let never = if unseen { "unknown" } else { "never" };
        let drill = one.drill.as_ref().map_or_else(
            || format!("<span class=\"warn\">{never}</span>"),
            |drill| {
                let time = duration(Duration::try_from_secs_f64(drill.seconds).unwrap_or_default());
                match drill.passed {
                    true => format!("restored in {time}, {}", ago(status, drill.time)),
                    false => format!("<span class=\"bad\">failed {}</span>", ago(status, drill.time)),
                }
            },
        );
        let none = || match (unseen, one.expected) {
            (true, _) => "<span class=\"bad\">unknown</span>".into(),
            (false, true) => "<span class=\"bad\">none</span>".into(),
            (false, false) => "none".into(),
        };
        [
            escaped(&one.series.to_string()),
            newest.map_or_else(none, |newest| ago(status, newest.created)),
            newest.map_or_else(String::new, |newest| bytes(newest.length)),
            if unseen { "?".into() } else { one.counted() },
            drill,
            escaped(&one.store),
        ]
    };
    let columns = [
        ("Component", ""),
        ("Newest", ""),
        ("Size", "number"),
        ("Bundles", "number"),
        ("Last drill", ""),
        ("Store", "free"),
    ];
    table(columns, status.series.iter().map(row))
}

fn jobs(status: &Status) -> String {
    let row = |job: &JobState| {
        let known = |none: &str| if status.runs_unseen.is_some() { "unknown".to_owned() } else { none.into() };
        let last = job.last.as_ref().map_or_else(
            || known("never"),
            |run| {
                format!(
                    "<span class=\"{}\">{}: {}</span>",
                    state_class(run.state),
                    ago(status, run.began),
                    run.state.said()
                )
            },
        );
        let failure = job.last_failure.as_ref().map_or_else(
            || known("none"),
            |run| {
                let why = run.findings.first().map_or("", |finding| &finding.message);
                format!("{}: {}", run.began.format("%F %H:%M UTC"), escaped(why))
            },
        );
        let next = job.next.map_or_else(String::new, |next| next.format("%a %F %H:%M UTC").to_string());
        let when = job.schedule.as_deref().map_or_else(|| "by hand".into(), escaped);
        [job.job.name().into(), when, next, last, failure]
    };
    let columns = [("Job", ""), ("When", ""), ("Next", ""), ("Last run", ""), ("Last failure", "free")];
    table(columns, status.jobs.iter().map(row))
}

fn stores(status: &Status) -> String {
    let rows = status.stores.iter().map(|store| {
        let free = store.free.map_or_else(|| "unknown".into(), bytes);
        let days = store.days_left().map_or_else(|| "–".into(), days);
        let problem = store
            .problem
            .as_deref()
            .map_or_else(String::new, |why| format!(" <span class=\"bad\">{}</span>", escaped(why)));
        [format!("{}{problem}", escaped(&store.store)), free, days]
    });
    table([("Store", "free"), ("Free", "number"), ("Enough for", "number")], rows)
}

fn latest(runs: &[Run]) -> String {
    let rows = runs.iter().rev().take(RUNS).map(|run| {
        let took = run.ended.and_then(|ended| (ended - run.began).to_std().ok());
        let bundles = run.parts.iter().filter_map(|part| part.bundle.clone());
        let failed = run.parts.iter().filter_map(|part| part.failed.clone());
        let said = run.findings.iter().map(|one| one.message.clone());
        let what: Vec<String> = bundles.chain(failed).chain(said).collect();
        [
            run.began.format("%F %H:%M UTC").to_string(),
            run.job.name().into(),
            format!("<span class=\"{}\">{}</span>", state_class(run.state), run.state.said()),
            took.map_or_else(String::new, duration),
            escaped(&what.join("; ")),
        ]
    });
    table([("Began", ""), ("Job", ""), ("", ""), ("Took", "number"), ("What", "free")], rows)
}

fn state_class(state: State) -> &'static str {
    match state {
        State::Running | State::Done => "good",
        State::Warned => "warn",
        _ => "bad",
    }
}

/// Where a moment stands in a picture; none before it begins.
fn x(status: &Status, time: DateTime<Utc>) -> Option<f64> {
    let begin = status.time - TimeDelta::days(DAYS);
    let share = (time - begin).as_seconds_f64() / TimeDelta::days(DAYS).as_seconds_f64();
    (0.0..=1.0).contains(&share).then_some(LEFT + share * (WIDTH - LEFT - RIGHT))
}

/// Lines and dates of weeks.
fn weeks(status: &Status, height: f64) -> String {
    let mut text = String::new();
    for days in (0..=DAYS).rev().step_by(7) {
        let time = status.time - TimeDelta::days(days);
        let Some(at) = x(status, time) else { continue };
        let _ = write!(
            text,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{height}\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            height + 14.0,
            time.format("%b %-d")
        );
    }
    text
}

fn picture(label: &str, height: f64, content: &str) -> String {
    format!(
        "<div class=\"wide chart\"><svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{label}\">{content}</svg></div>\n",
        height + 20.0
    )
}

/// Each job's runs: a dot where all went well, a triangle with warnings, a cross where it did not do its work.
fn timeline(status: &Status, runs: &[Run]) -> String {
    let jobs: Vec<Job> = status.jobs.iter().map(|job| job.job).collect();
    if jobs.is_empty() {
        return String::new();
    }
    let (row, height) = (34.0, jobs.len() as f64 * 34.0);
    let mut content = weeks(status, height);
    for (number, job) in jobs.iter().enumerate() {
        let y = number as f64 * row + row / 2.0;
        let _ = write!(content, "<text class=\"name\" x=\"0\" y=\"{}\">{}</text>", y + 4.0, job.name());
        for run in runs.iter().filter(|run| run.job == *job) {
            let Some(at) = x(status, run.began) else { continue };
            let shape = match state_class(run.state) {
                "good" => format!("<circle class=\"good\" cx=\"{at:.1}\" cy=\"{y}\" r=\"5\">"),
                "warn" => format!("<path class=\"warn\" d=\"M{at:.1} {}l6 11h-12z\">", y - 6.0),
                _ => format!("<path class=\"bad\" d=\"M{:.1} {}l10 10m0 -10l-10 10\">", at - 5.0, y - 5.0),
            };
            let end = if shape.starts_with("<circle") { "circle" } else { "path" };
            let _ = write!(
                content,
                "{shape}<title>{}: {}</title></{end}>",
                run.began.format("%F %H:%M UTC"),
                run.state.said()
            );
        }
    }
    let legend = "<p class=\"soft\">● went well &nbsp; ▲ with warnings &nbsp; ✕ did not do its work</p>\n";
    picture("runs of each job", height, &content) + legend
}

/// Each series' bundles as bars, each series on its own scale; its newest length stands to the right.
fn sizes(status: &Status) -> String {
    let mut shown: Vec<&InStore> = Vec::new();
    for one in &status.series {
        if !one.bundles.is_empty() && !shown.iter().any(|other| other.series == one.series) {
            shown.push(one);
        }
    }
    if shown.is_empty() {
        return String::new();
    }
    let (row, height) = (56.0, shown.len() as f64 * 56.0);
    let mut content = weeks(status, height);
    for (number, one) in shown.iter().enumerate() {
        let base = number as f64 * row + row - 8.0;
        let recent = || one.bundles.iter().filter_map(|bundle| Some((x(status, bundle.created)?, bundle)));
        let most = recent().map(|(_, bundle)| bundle.length).max().unwrap_or(1).max(1);
        let _ = write!(
            content,
            "<text class=\"name\" x=\"0\" y=\"{}\">{}</text>",
            base - 4.0,
            escaped(&one.series.to_string())
        );
        for (at, bundle) in recent() {
            let tall = (bundle.length as f64 / most as f64 * (row - 16.0)).max(1.0);
            let _ = write!(
                content,
                "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"{tall:.1}\" rx=\"1.5\"><title>{}: {}</title></rect>",
                at - 4.0,
                base - tall,
                escaped(&bundle.file),
                bytes(bundle.length)
            );
        }
        let newest = one.bundles.last().map_or_else(String::new, |newest| bytes(newest.length));
        let _ = write!(
            content,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\"/><text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{newest}</text>",
            WIDTH - RIGHT + 6.0,
            base - 4.0
        );
    }
    picture("sizes of bundles", height, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_holds_is_text_and_nothing_else() {
        let status = Status {
            time: DateTime::from_timestamp(1_800_000_000, 0).expect("a time"),
            host: "<script>alert(1)</script>".into(),
            cluster: "a & \"b\"".into(),
            series: Vec::new(),
            stores: Vec::new(),
            jobs: Vec::new(),
            state: None,
            runs_unseen: None,
            unfinished: None,
            left_held: None,
            findings: vec![Finding::error("x", "<i>", "\u{1b}[31m")],
        };
        let page = page(&status, &[]);
        assert!(!page.contains("<script") && !page.contains("<i>") && !page.contains('\u{1b}'));
        assert!(page.contains("a &amp; &quot;b&quot;") && page.contains("Not safe"));
    }
}
