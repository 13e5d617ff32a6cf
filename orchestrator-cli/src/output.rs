//! Results and errors, as text or as JSON.
//!
//! Standard output carries the result alone. When the bundle itself goes there, the result goes to standard error.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;

use backup_core::finding::{Finding, Severity};
use backup_core::text::json as json_text;
use backup_core::{Error, ErrorContext, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::json;

use crate::arguments::{Arguments, Command};
use crate::exit;
use crate::findings::{self, RED};
use crate::human::{counted, indented, plain};
use crate::invocation::Invocation;
use crate::progress::Progress;

/// Version of the JSON documents' shape.
pub(crate) const JSON_VERSION: u32 = 1;

/// Where and how results are printed.
pub(crate) struct Output {
    progress: Arc<Progress>,
    invocation: Arc<Invocation>,
    json: bool,
    quiet: bool,
    stdout_taken: bool,
}

impl Output {
    pub(crate) fn new(arguments: &Arguments, progress: Arc<Progress>, invocation: Arc<Invocation>) -> Self {
        let stdout_taken =
            matches!(&arguments.command, Command::Backup(backup) if backup.to.iter().any(|to| to.as_os_str() == "-"));
        Self { progress, invocation, json: arguments.json, quiet: arguments.quiet, stdout_taken }
    }

    /// Prints a result: `text` for people, `value` for programs.
    ///
    /// # Errors
    /// Where it can't be written.
    pub(crate) fn result(&self, kind: &str, value: &impl Serialize, text: &str) -> Result<()> {
        if !self.json {
            return self.print(&self.invocation.complete(text));
        }
        let mut document = json!({ "version": JSON_VERSION, "kind": kind, "result": value });
        self.invocation.complete_hints(&mut document);
        self.print(&format!("{}\n", json_text(&document.to_string())))
    }

    /// Prints a text as it is, for people and programs alike.
    ///
    /// # Errors
    /// Where it can't be written.
    pub(crate) fn print(&self, text: &str) -> Result<()> {
        // The bar would draw over what is printed under it.
        self.progress.finish();
        let written = if self.stdout_taken {
            anstream::stderr().write_all(text.as_bytes())
        } else {
            let mut stdout = anstream::stdout();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        };
        match written {
            // A reader that went away is no reason to fail: the work is done.
            Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.context(|| "print the result".into()),
        }
    }

    /// Prints an error and returns its exit code.
    pub(crate) fn fail(&self, error: &Error) -> ExitCode {
        self.fail_with(error, None)
    }

    /// Prints an error, and what it means for all that was to be changed: `state` for programs, `line` for people.
    pub(crate) fn fail_in_state(&self, error: &Error, state: &str, line: &str) -> ExitCode {
        self.fail_with(error, Some((state, line)))
    }

    fn fail_with(&self, error: &Error, ending: Option<(&str, &str)>) -> ExitCode {
        let code = exit::of(error.kind());
        let chain = error.chain();
        let hint = error.first_hint().map(|hint| self.invocation.complete_hint(hint));
        let several = (error.errors() > 1).then(|| counted(error.errors() as u64, "error"));
        if self.json {
            let mut value = json!({ "message": chain.join(": "), "hint": hint, "exit_code": code });
            if several.is_some() {
                value["errors"] = error.errors().into();
            }
            if let Some((state, _)) = ending {
                value["state"] = state.into();
            }
            // Where even this can't be printed, the exit code says it.
            let document = json!({ "version": JSON_VERSION, "kind": "error", "error": value });
            let _ = self.print(&format!("{}\n", json_text(&document.to_string())));
            return ExitCode::from(code);
        }
        let mut text = format!("{RED}error{RED:#}: {}\n", plain(chain.first().map_or("", String::as_str)));
        chain.iter().skip(1).for_each(|cause| text.push_str(&indented("  because: ", &plain(cause))));
        if let Some(hint) = hint {
            text.push_str(&indented("  hint: ", &plain(&hint)));
        }
        match (ending.map(|(_, line)| self.invocation.complete(line)), several) {
            (Some(line), _) => text.push_str(&format!("{}\n", with_count(&line, error))),
            (None, Some(several)) => text.push_str(&format!("{several}\n")),
            (None, None) => {}
        }
        self.progress.finish();
        let _ = anstream::stderr().write_all(text.as_bytes());
        ExitCode::from(code)
    }

    /// Prints each finding as an error of `doing`, and `line`, what that means for all that was to be changed; returns the exit code
    /// of a check that refuses.
    pub(crate) fn fail_with_findings(&self, doing: &str, findings: &[Finding], line: &str) -> ExitCode {
        self.progress.finish();
        if self.json {
            let sentence = |finding: &Finding| format!("{doing}: {}.", finding.message);
            let message = findings.iter().map(sentence).collect::<Vec<_>>().join(" ");
            let mut value = json!({ "message": message, "findings": findings, "exit_code": exit::REFUSED });
            self.invocation.complete_hints(&mut value);
            let document = json!({ "version": JSON_VERSION, "kind": "error", "error": value });
            let _ = self.print(&format!("{}\n", json_text(&document.to_string())));
            return ExitCode::from(exit::REFUSED);
        }
        let mut text = String::new();
        for finding in findings {
            text.push_str(&format!("{RED}error{RED:#}: {}\n", plain(doing)));
            let because = format!("{}: {}", finding.subject, finding.message);
            text.push_str(&indented("  because: ", &plain(&because)));
            if let Some(hint) = &finding.hint {
                text.push_str(&indented("  hint: ", &plain(&self.invocation.complete_hint(hint))));
            }
        }
        text.push_str(&format!("{}\n", counting(line, findings.len())));
        let _ = anstream::stderr().write_all(text.as_bytes());
        ExitCode::from(exit::REFUSED)
    }

    /// Says that the answer was no, which is no error; returns the exit code of what was stopped.
    pub(crate) fn stopped(&self) -> Result<ExitCode> {
        let text = "stopped; nothing was changed\n";
        match self.json {
            true => self.result("stopped", &json!({ "state": "unchanged" }), text)?,
            false => self.ask(text),
        }
        Ok(ExitCode::from(exit::INTERRUPTED))
    }

    /// Prints a question, whatever else is to be printed; nothing is drawn over it until it is answered.
    pub(crate) fn ask(&self, text: &str) {
        self.progress.hide();
        let mut stderr = anstream::stderr();
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Lets progress be drawn again.
    pub(crate) fn answered(&self) {
        self.progress.show();
    }

    /// This very command between backticks, without a flag by which it only looked.
    pub(crate) fn again(&self, without: &str) -> String {
        self.invocation.again(without)
    }

    /// Another command of this program, as it can be pasted.
    pub(crate) fn command(&self, command: &str) -> String {
        self.invocation.complete_hint(&format!("`{command}`"))
    }

    /// Whether results are for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether people want to see nothing but results and what is wrong.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says what was found, on standard error; to people who want quiet only what is wrong.
    pub(crate) fn found<'f>(&self, found: impl IntoIterator<Item = &'f Finding>) {
        let shown = found.into_iter().filter(|finding| !self.quiet || finding.severity > Severity::Info);
        self.say(&shown.map(findings::finding).collect::<String>());
    }

    /// Prints something for people to read meanwhile, on standard error, unless they want quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    fn say(&self, text: &str) {
        if !self.json {
            let text = self.invocation.complete(text);
            self.progress.suspend(|| {
                let _ = anstream::stderr().write_all(text.as_bytes());
            });
        }
    }
}

/// A last line that says how many errors there were, where there was more than one: `refused, 3 errors: nothing was changed`.
pub(crate) fn with_count(line: &str, error: &Error) -> String {
    counting(line, error.errors())
}

fn counting(line: &str, errors: usize) -> String {
    match errors {
        1 => line.into(),
        errors => line.replacen(':', &format!(", {}:", counted(errors as u64, "error")), 1),
    }
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

/// The text of a table whose first column begins with the line.
pub(crate) fn flush_left(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", line.trim_start())).collect()
}
