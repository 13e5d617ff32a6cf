//! The page's pictures, each in two forms: for a window, and for a telephone.

use std::fmt::Write;

use backup_core::runs::{Run, State};
use backup_core::schedule::Job;
use backup_core::status::{InStore, Status};
use chrono::{DateTime, TimeDelta, Utc};

use super::markup::escaped;
use crate::human::bytes;

/// Days that pictures show.
const DAYS: i64 = 30;
/// The two forms of every picture. A page shows the one that its window has room for.
const FRAMES: [Frame; 2] = [
    Frame { class: "broad", width: 960.0, left: 190.0, right: 90.0, bar: 8.0, weeks: 1 },
    Frame { class: "slim", width: 340.0, left: 96.0, right: 64.0, bar: 4.0, weeks: 2 },
];

/// A picture's measures, in points.
struct Frame {
    class: &'static str,
    width: f64,
    /// The room for names.
    left: f64,
    /// The room for what stands behind a row.
    right: f64,
    /// The width of a bar.
    bar: f64,
    /// Weeks from one date to the next.
    weeks: i64,
}

/// How a run that stands so is drawn.
pub(super) fn state_class(state: State) -> &'static str {
    match state {
        State::Running | State::Done => "good",
        State::Warned => "warn",
        _ => "bad",
    }
}

impl Frame {
    /// Where a moment stands; none before the picture begins.
    fn x(&self, status: &Status, time: DateTime<Utc>) -> Option<f64> {
        let begin = status.time - TimeDelta::days(DAYS);
        let share = (time - begin).as_seconds_f64() / TimeDelta::days(DAYS).as_seconds_f64();
        (0.0..=1.0).contains(&share).then_some(self.left + share * (self.width - self.left - self.right))
    }
}

/// Lines and dates of weeks.
fn weeks(frame: &Frame, status: &Status, height: f64) -> String {
    let mut text = String::new();
    for days in (0..=DAYS / 7 / frame.weeks).map(|number| number * 7 * frame.weeks) {
        let time = status.time - TimeDelta::days(days);
        let Some(at) = frame.x(status, time) else { continue };
        let _ = write!(
            text,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{height}\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            height + 14.0,
            time.format("%b %-d")
        );
    }
    text
}

/// A picture in both forms.
fn picture(label: &str, height: f64, content: impl Fn(&Frame) -> String) -> String {
    let form = |frame: &Frame| {
        let (class, width, content) = (frame.class, frame.width, content(frame));
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"{label}\">{content}</svg>",
            height + 20.0
        )
    };
    format!("<div class=\"panel chart\">{}</div>\n", FRAMES.iter().map(form).collect::<String>())
}

/// Each job's runs: a dot where all went well, a triangle with warnings, a cross where it did not do its work.
pub(super) fn timeline(status: &Status, runs: &[Run]) -> String {
    let jobs: Vec<Job> = status.jobs.iter().map(|job| job.job).collect();
    if jobs.is_empty() {
        return String::new();
    }
    let (row, height) = (34.0, jobs.len() as f64 * 34.0);
    let content = |frame: &Frame| {
        let mut content = weeks(frame, status, height);
        for (number, job) in jobs.iter().enumerate() {
            let y = number as f64 * row + row / 2.0;
            let _ = write!(content, "<text class=\"name\" x=\"0\" y=\"{}\">{}</text>", y + 4.0, job.name());
            for run in runs.iter().filter(|run| run.job == *job) {
                let Some(at) = frame.x(status, run.began) else { continue };
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
        content
    };
    let legend = "<p class=\"soft\">● went well &nbsp; ▲ with warnings &nbsp; ✕ did not do its work</p>\n";
    picture("runs of each job", height, content) + legend
}

/// Each series' bundles as bars, each series on its own scale; its newest length stands to the right.
pub(super) fn sizes(status: &Status) -> String {
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
    let content = |frame: &Frame| {
        let mut content = weeks(frame, status, height);
        for (number, one) in shown.iter().enumerate() {
            let base = number as f64 * row + row - 8.0;
            let recent = || one.bundles.iter().filter_map(|bundle| Some((frame.x(status, bundle.created)?, bundle)));
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
                    "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{tall:.1}\" rx=\"1.5\"><title>{}: {}</title></rect>",
                    at - frame.bar / 2.0,
                    base - tall,
                    frame.bar,
                    escaped(&bundle.file),
                    bytes(bundle.length)
                );
            }
            let newest = one.bundles.last().map_or_else(String::new, |newest| bytes(newest.length));
            let _ = write!(
                content,
                "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{newest}</text>",
                frame.left,
                frame.width - frame.right + 6.0,
                frame.width,
                base - 4.0
            );
        }
        content
    };
    picture("sizes of bundles", height, content)
}
