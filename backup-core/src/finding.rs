//! What a gate or a capture has to say: code, severity, subject, message, hint.

use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Result};

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// The work went on, but somebody should look.
    Warning,
    /// The work can't go on, or must not.
    Error,
}

/// What kind of news a finding is, however serious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum News {
    /// Worth knowing.
    #[default]
    Note,
    /// Something is as it should be.
    Ok,
    /// Something could not be looked at.
    Unknown,
}

impl News {
    fn is_note(&self) -> bool {
        *self == Self::Note
    }
}

/// One thing that a check or a run has to say. It is returned, never only logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name for scripts, such as `file-changed`.
    pub code: String,
    /// How serious it is.
    pub severity: Severity,
    /// What kind of news it is; in JSON a note has no such field.
    #[serde(default, skip_serializing_if = "News::is_note")]
    pub news: News,
    /// What it is about: a path, a database, a host.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// A finding without a hint.
    pub fn new(severity: Severity, code: &str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, subject, message) = (code.into(), subject.into(), message.into());
        Self { code, severity, news: News::Note, subject, message, hint: None }
    }

    /// Something that stops the work.
    pub fn error(code: &str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, subject, message)
    }

    /// Something that does not stop the work.
    pub fn warning(code: &str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, subject, message)
    }

    /// Something that is as it should be. Nothing else may be called so.
    pub fn ok(code: &str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { news: News::Ok, ..Self::info(code, subject, message) }
    }

    /// Something that could not be looked at, and stops nothing.
    pub fn unknown(code: &str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::info(code, subject, message).unseen()
    }

    /// Something that is worth knowing.
    pub fn info(code: &str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, subject, message)
    }

    /// What it is called: `error`, `warning`, or of what is neither, `ok`, `note` or `unknown`.
    pub fn word(&self) -> &'static str {
        match (self.severity, self.news) {
            (Severity::Error, _) => "error",
            (Severity::Warning, _) => "warning",
            (Severity::Info, News::Ok) => "ok",
            (Severity::Info, News::Note) => "note",
            (Severity::Info, News::Unknown) => "unknown",
        }
    }

    /// The same finding with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same finding, of something that could not be looked at.
    pub fn unseen(self) -> Self {
        Self { news: News::Unknown, ..self }
    }

    /// The same finding, no more serious than that.
    pub fn at_most(self, severity: Severity) -> Self {
        Self { severity: self.severity.min(severity), ..self }
    }

    /// The finding that an error amounts to, its causes joined into one message.
    pub fn from_error(code: &str, subject: impl Into<String>, error: &Error) -> Self {
        Self { hint: error.first_hint().map(Into::into), ..Self::error(code, subject, error.chain().join(": ")) }
    }

    /// The warning that an error amounts to where the work went on without what failed.
    pub fn warning_from_error(code: &str, subject: impl Into<String>, error: &Error) -> Self {
        Self::from_error(code, subject, error).at_most(Severity::Warning)
    }
}

/// All that a preflight finds, and the first error as it happened.
#[derive(Default)]
pub struct Findings {
    /// All of them.
    pub all: Vec<Finding>,
    /// The first error, as it happened.
    pub(crate) first: Option<Error>,
}

impl Findings {
    /// Keeps a result's value, or its error as a finding.
    pub(crate) fn keep<T>(&mut self, code: &str, subject: &str, result: Result<T>) -> Option<T> {
        result
            .map_err(|error| {
                self.all.push(Finding::from_error(code, subject, &error));
                self.first.get_or_insert(error);
            })
            .ok()
    }

    /// Adds what was found after it.
    pub(crate) fn append(&mut self, later: Self) {
        self.all.extend(later.all);
        self.first = self.first.take().or(later.first);
    }

    /// Why nothing may go on: the first error as it happened, whose kind decides how the run ends, or a finding's.
    pub(crate) fn refusal(&mut self) -> Option<Error> {
        let errors = || self.all.iter().filter(|finding| finding.severity == Severity::Error);
        let first = self.first.take().or_else(|| {
            let finding = errors().next()?;
            let error = Error::new(Kind::Refused, format!("{}: {}", finding.subject, finding.message));
            Some(match &finding.hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        });
        first.map(|error| error.first_of(errors().count().max(1)))
    }
}

/// Findings of single files, of which there may be as many as there are files.
pub(crate) struct Told {
    all: Vec<Finding>,
    most: usize,
    /// How many there were that are not among them.
    more: u64,
}

impl Told {
    /// Keeps all.
    pub(crate) fn all() -> Self {
        Self::at_most(usize::MAX)
    }

    /// Keeps the first ones and counts the others.
    pub(crate) fn at_most(most: usize) -> Self {
        Self { all: Vec::new(), most, more: 0 }
    }

    /// How many are kept.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Keeps one, or counts it.
    pub(crate) fn tell(&mut self, finding: Finding) {
        match self.all.len() < self.most {
            true => self.all.push(finding),
            false => self.more += 1,
        }
    }

    /// Those that were kept, and how many there are beside them.
    pub(crate) fn into_findings(mut self) -> Vec<Finding> {
        if self.more > 0 {
            let message = format!("there are {} more findings of single files", self.more);
            self.all.push(Finding::warning("more-findings", "files", message));
        }
        self.all
    }
}

/// The most serious severity among `findings`.
pub fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).max()
}

/// A size with a unit of 1024, such as `1.5 GiB`.
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// A time that has passed, in its largest unit, such as `3 hours`.
pub fn age(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let (length, unit) = units.into_iter().find(|(length, _)| seconds >= *length).unwrap_or((1, "second"));
    let count = seconds / length;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
