//! Results and errors, as text or as JSON.
//!
//! Standard output carries the result alone. When the bundle itself goes there, the result goes to standard error.

use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use backup_core::Error;
use backup_core::finding::{Finding, Severity};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::json;

use crate::arguments::{Arguments, Command};
use crate::{exit, human};

/// Version of the JSON documents' shape.
pub(crate) const JSON_VERSION: u32 = 1;

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default();

/// Where and how results are printed.
pub(crate) struct Output {
    json: bool,
    stdout_taken: bool,
}

impl Output {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        let stdout_taken =
            matches!(&arguments.command, Command::Backup(backup) if backup.to.iter().any(|to| to.as_os_str() == "-"));
        Self { json: arguments.json, stdout_taken }
    }

    /// Prints a result: `text` for people, `value` for programs.
    pub(crate) fn result(&self, kind: &str, value: &impl Serialize, text: &str) {
        if !self.json {
            return self.print(text);
        }
        let document = json!({ "version": JSON_VERSION, "kind": kind, "result": value });
        self.print(&format!("{document}\n"));
    }

    fn print(&self, text: &str) {
        // A reader that went away is no reason to fail: the work is done.
        let _ = if self.stdout_taken {
            anstream::stderr().write_all(text.as_bytes())
        } else {
            anstream::stdout().write_all(text.as_bytes())
        };
    }

    /// Prints an error that a printed result states too, so that programs get one document; returns its exit code.
    pub(crate) fn fail_beside_result(&self, error: &Error) -> ExitCode {
        if self.json { ExitCode::from(exit::of(error.kind())) } else { self.fail(error) }
    }

    /// Prints an error and returns its exit code.
    pub(crate) fn fail(&self, error: &Error) -> ExitCode {
        let code = exit::of(error.kind());
        let chain = error.chain();
        let mut text = format!("{RED}error{RED:#}: {}\n", chain.first().map_or("", String::as_str));
        chain.iter().skip(1).for_each(|cause| text.push_str(&indented("  because: ", cause)));
        if let Some(hint) = error.first_hint() {
            text.push_str(&indented("  hint: ", hint));
        }
        if self.json {
            let error = json!({ "message": chain.join(": "), "hint": error.first_hint(), "exit_code": code });
            self.print(&format!("{}\n", json!({ "version": JSON_VERSION, "kind": "error", "error": error })));
        } else {
            let _ = anstream::stderr().write_all(text.as_bytes());
        }
        ExitCode::from(code)
    }
}

/// A text after a label, its further lines under its first.
fn indented(label: &str, text: &str) -> String {
    format!("{label}{}\n", text.trim_end().replace('\n', &format!("\n{:1$}", "", label.len())))
}

/// The lines of a table without borders; the columns `right` are aligned to the right.
pub(crate) fn table<const N: usize>(
    header: &[&str; N],
    right: &[usize],
    rows: impl Iterator<Item = [String; N]>,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(*header).add_rows(rows);
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// A finding as a line or more.
pub(crate) fn finding(finding: &Finding) -> String {
    let label = match finding.severity {
        Severity::Info => format!("{GREEN}ok{GREEN:#}      "),
        Severity::Warning => format!("{YELLOW}warning{YELLOW:#} "),
        Severity::Error => format!("{RED}error{RED:#}   "),
    };
    // The subject often stands in the message already.
    let subject =
        if finding.message.contains(&finding.subject) { String::new() } else { format!("{}: ", finding.subject) };
    let mut text = format!("{label}{}", indented("", &human::plain(&format!("{subject}{}", finding.message))));
    if let Some(hint) = &finding.hint {
        text.push_str(&indented("        hint: ", &human::plain(hint)));
    }
    text
}
