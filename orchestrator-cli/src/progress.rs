//! Progress: a bar on a terminal, plain lines or JSON lines elsewhere. All of it goes to standard error.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backup_core::event::Mark;
use backup_core::event::{Event, Observer};
use backup_core::finding::{Finding, Severity};
use backup_core::text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle as BarStyle};

use crate::arguments::Arguments;
use crate::invocation::Invocation;
use crate::{findings, human};

/// How progress is shown.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum ProgressStyle {
    /// No progress, but what is wrong.
    Quiet,
    QuietJson,
    Bar,
    Lines,
    Json,
}

impl ProgressStyle {
    pub(crate) fn of(arguments: &Arguments) -> Self {
        match (arguments.quiet, arguments.json) {
            (true, true) => Self::QuietJson,
            (true, false) => Self::Quiet,
            (false, true) => Self::Json,
            (false, false) if std::io::stderr().is_terminal() => Self::Bar,
            (false, false) => Self::Lines,
        }
    }
}

/// Without a terminal a line is printed this often.
const EVERY: Duration = Duration::from_secs(5);

/// Renders events.
pub(crate) struct Progress {
    style: ProgressStyle,
    invocation: Arc<Invocation>,
    bar: ProgressBar,
    begun: Instant,
    last: Mutex<Instant>,
    phase: Mutex<String>,
    finished: AtomicBool,
}

impl Progress {
    pub(crate) fn new(style: ProgressStyle, invocation: Arc<Invocation>) -> Self {
        let bar = if style == ProgressStyle::Bar { ProgressBar::new(0) } else { ProgressBar::hidden() };
        // The wide message is cut to the terminal's width: a bar of two lines could not be taken off again.
        let template = "{spinner} [{bar:16}] {percent:>3}%, {eta} left, {wide_msg}";
        bar.set_style(
            BarStyle::with_template(template).unwrap_or_else(|_| BarStyle::default_bar()).progress_chars("=> "),
        );
        let now = Instant::now();
        Self {
            style,
            invocation,
            bar,
            begun: now,
            last: Mutex::new(now),
            phase: Mutex::default(),
            finished: AtomicBool::new(false),
        }
    }

    /// Takes the bar off the terminal; nothing is drawn any more.
    pub(crate) fn finish(&self) {
        if !self.finished.swap(true, Relaxed) {
            self.bar.finish_and_clear();
        }
    }

    /// Takes the bar off until [`Progress::show`].
    pub(crate) fn hide(&self) {
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Draws the bar again, where there is one.
    pub(crate) fn show(&self) {
        if self.style == ProgressStyle::Bar {
            self.bar.reset();
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Prints something while no bar is drawn over it.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    fn bar(&self, event: &Event) {
        match event {
            Event::Phase { name } => {
                let name = human::plain(name);
                self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&name);
                self.bar.set_message(name);
            }
            Event::Progress { done, total, read, written } => {
                self.bar.set_length((*total).max(*done).max(1));
                self.bar.set_position(*done);
                let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
                let figures = self.figures(*read, *written);
                self.bar.set_message(if figures.is_empty() { phase.clone() } else { format!("{figures}: {phase}") });
            }
            Event::Step { name, mark, number, of, .. } => {
                if let Some(text) = step(name, *mark, *number, *of) {
                    self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&text);
                    self.bar.set_message(text);
                }
            }
            Event::Finding(finding) => self.bar.suspend(|| print(&self.finding(finding))),
        }
    }

    fn lines(&self, event: &Event) {
        match event {
            Event::Phase { name } => print(&format!("{}\n", human::plain(name))),
            Event::Progress { done, total, read, written } if self.is_time() => {
                let percent = if *total > 0 {
                    format!("{}%, ", (u128::from(*done) * 100 / u128::from(*total)).min(100))
                } else {
                    String::new()
                };
                print(&format!("  {percent}{}\n", self.figures(*read, *written)));
            }
            Event::Progress { .. } => {}
            Event::Step { name, mark, number, of, .. } => {
                if let Some(text) = step(name, *mark, *number, *of) {
                    print(&format!("{text}\n"));
                }
            }
            Event::Finding(finding) => print(&self.finding(finding)),
        }
    }

    fn json(&self, event: &Event) {
        if matches!(event, Event::Progress { .. }) && !self.is_time() {
            return;
        }
        if let Ok(mut value) = serde_json::to_value(event) {
            self.invocation.complete_hints(&mut value);
            print(&format!("{}\n", text::json(&value.to_string())));
        }
    }

    fn finding(&self, finding: &Finding) -> String {
        self.invocation.complete(&findings::finding(finding))
    }

    fn figures(&self, read: u64, written: u64) -> String {
        if read == 0 {
            return String::new();
        }
        let rate = read as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let of_bundle = if written == 0 { String::new() } else { format!(" in {} of bundle", human::bytes(written)) };
        format!("{}/s, {}{of_bundle}", human::bytes(rate as u64), human::bytes(read))
    }

    fn is_time(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.elapsed() >= EVERY;
        if due {
            *last = Instant::now();
        }
        due
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event) {
        match self.style {
            ProgressStyle::Quiet | ProgressStyle::QuietJson if !is_wrong(event) => {}
            ProgressStyle::Quiet => self.lines(event),
            ProgressStyle::Bar if self.finished.load(Relaxed) => {}
            ProgressStyle::Bar => self.bar(event),
            ProgressStyle::Lines => self.lines(event),
            ProgressStyle::Json | ProgressStyle::QuietJson => self.json(event),
        }
    }
}

/// Whether an event says that something is wrong, which is told to those as well who want quiet.
fn is_wrong(event: &Event) -> bool {
    matches!(event, Event::Finding(finding) if finding.severity > Severity::Info)
}

/// What a journal's mark tells people: that a step begins, or is taken back.
fn step(name: &str, mark: Mark, number: usize, of: usize) -> Option<String> {
    // It has names of databases in it.
    let name = human::plain(name);
    match mark {
        Mark::Begin => Some(format!("[{number}/{of}] {name}")),
        Mark::Undo => Some(format!("[{number}/{of}] undo: {name}")),
        Mark::Done | Mark::Undone => None,
    }
}

fn print(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}
