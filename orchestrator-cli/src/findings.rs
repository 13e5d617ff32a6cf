//! Findings as text.

use anstyle::{AnsiColor, Style};
use backup_core::finding::{Finding, News, Severity};

use crate::human::{indented, plain};

pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();

/// What a restore needs beside a bundle, under a heading; nothing where it needs nothing.
pub(crate) fn needs(needs: &[Finding]) -> String {
    if needs.is_empty() {
        return String::new();
    }
    let line = |need: &Finding| indented("  ", &plain(&format!("{}: {}", need.subject, need.message)));
    format!("not in the bundle\n{}", needs.iter().map(line).collect::<String>())
}

/// What a drill could not show, as a line or more.
pub(crate) fn unproved(finding: &Finding) -> String {
    labelled(&format!("{YELLOW}not proved{YELLOW:#} "), finding)
}

/// A finding as a line or more.
pub(crate) fn finding(finding: &Finding) -> String {
    let (word, style) = match (finding.severity, finding.news) {
        (Severity::Info, _) if finding.code.starts_with("needs-") => ("needs", Style::new()),
        (Severity::Info, News::Note) => (finding.word(), Style::new()),
        (Severity::Info, News::Ok) => (finding.word(), GREEN),
        (Severity::Info, News::Unknown) | (Severity::Warning, _) => (finding.word(), YELLOW),
        (Severity::Error, _) => (finding.word(), RED),
    };
    labelled(&format!("{style}{word}{style:#}{:1$}", "", 8 - word.len()), finding)
}

fn labelled(label: &str, finding: &Finding) -> String {
    let subject =
        if names(&finding.message, &finding.subject) { String::new() } else { format!("{}: ", finding.subject) };
    let mut text = format!("{label}{}", indented("", &plain(&format!("{subject}{}", finding.message))));
    if let Some(hint) = &finding.hint {
        text.push_str(&indented("        hint: ", &plain(hint)));
    }
    text
}

/// Whether a message names its subject already. A subject that is a plain word could stand there by chance.
fn names(message: &str, subject: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric();
    !subject.chars().all(part_of_word)
        && message.match_indices(subject).any(|(at, _)| {
            !message[..at].ends_with(part_of_word) && !message[at + subject.len()..].starts_with(part_of_word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_left_out_only_where_the_message_names_it() {
        let text = |subject: &str| finding(&Finding::warning("space", subject, "open /b: it can be read"));
        assert!(text("/b").ends_with("open /b: it can be read\n") && !text("/b").contains("/b: open"));
        assert!(text("be").contains("be: open"));
        assert!(text("/").contains("/: open"));
    }
}
