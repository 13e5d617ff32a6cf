//! A status as one page that needs nothing else: no script, no font, no server.

use std::time::Duration;

use backup_core::finding::{Finding, News, Severity, age, worst};
use backup_core::runs::Run;
use backup_core::status::{InStore, JobState, Status};
use chrono::{DateTime, Utc};

use super::charts::{sizes, state_class, timeline};
use super::markup::{escaped, prose};
use super::text::unseen;
use crate::human::{bytes, days, duration};

const STYLE: &str = include_str!("page.css");
/// Runs that the last table lists.
const RUNS: usize = 50;

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
    let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!("<p class=\"soft\">{}</p>", prose(hint)));
    let text = prose(&format!("{}: {}", finding.subject, finding.message));
    let class = match (finding.severity, finding.news) {
        (Severity::Info, News::Note) => "soft",
        (Severity::Info, News::Unknown) => "warn",
        (severity, _) => class(Some(severity)),
    };
    format!("<li class=\"{class}\"><b>{}</b> <span>{text}</span>{hint}</li>\n", finding.word())
}

/// A table; of each column its heading and its class. Each cell has its heading, for windows where a row is a card.
fn table<const N: usize>(columns: [(&str, &str); N], rows: impl Iterator<Item = [String; N]>) -> String {
    let head: String = columns.iter().map(|(heading, class)| format!("<th class=\"{class}\">{heading}</th>")).collect();
    let row = |row: [String; N]| {
        let cell = |(text, (heading, class)): (&String, &(&str, &str))| {
            format!("<td class=\"{class}\" data-heading=\"{heading}\">{text}</td>")
        };
        let cells: String = row.iter().zip(&columns).map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let body: String = rows.map(row).collect();
    if body.is_empty() {
        return body;
    }
    format!("<div class=\"panel\"><table>\n<tr>{head}</tr>\n{body}</table></div>\n")
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
                format!("{}: {}", run.began.format("%F %H:%M UTC"), prose(why))
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
            prose(&what.join("; ")),
        ]
    });
    table([("Began", ""), ("Job", ""), ("", ""), ("Took", "number"), ("What", "free")], rows)
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
