//! How this program was called, so that every command it prints can be pasted as it stands.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory};
use serde_json::Value;

use crate::arguments::Arguments;
use crate::human::{plain, shell_word};

/// What is said once holds for the next command too: arguments by their long names.
const CARRIED: [&str; 3] = ["config", "identity", "ssh-port"];
/// What this program is called where nobody has called it otherwise.
const NAME: &str = "orchestrator-cli";
/// What names the source of a restore; the first two can stand alone.
const SOURCES: [&str; 3] = ["--file", "--sql", "--cluster-conf"];
/// With these a command asks nothing.
const ASKS_NOTHING: [&str; 4] = ["--resume", "--dry-run", "--dry", "--yes"];

/// How this program was called.
pub(crate) struct Invocation {
    /// The program, as it was typed.
    program: String,
    /// All that was typed after it, as a shell takes it.
    typed: Vec<String>,
    /// What was said that the next command has to be told too: a long name, and a value as a shell takes it.
    carried: Vec<(&'static str, String)>,
    /// What was typed of a restore but its source; none of another command.
    restore: Option<Vec<String>>,
    /// Whether nobody can be asked.
    alone: bool,
}

impl Invocation {
    /// How it was called by these arguments, whose first is the program.
    pub(crate) fn of(words: &[PathBuf], matches: &ArgMatches) -> Self {
        let mut typed = words.iter().map(|word| plain(&shell_word(word)));
        let program = typed.next().unwrap_or_else(|| NAME.into());
        let mut carried = Vec::new();
        let (mut command, mut matches) = (Arguments::command(), matches);
        while let Some((name, inner)) = matches.subcommand() {
            let Some(found) = command.find_subcommand(name).cloned() else { break };
            carried.extend(CARRIED.into_iter().flat_map(|long| said(&found, inner, long)));
            (command, matches) = (found, inner);
        }
        let typed: Vec<String> = typed.collect();
        let bundle = said_at("bundle", matches);
        let restore = (command.get_name() == "restore").then(|| without_source(&typed, bundle.as_deref()));
        Self { program, typed, carried, restore, alone: !std::io::stdin().is_terminal() }
    }

    /// This very command between backticks, without a flag by which it only looked; with `--yes` where nobody can be asked.
    pub(crate) fn again(&self, without: &str) -> String {
        let words: Vec<&str> = self.typed.iter().map(String::as_str).filter(|word| *word != without).collect();
        let yes = if self.needs_yes(&words) { " --yes" } else { "" };
        format!("`{} {}{yes}`", self.program, words.join(" "))
    }

    /// Whether a command that would ask has nobody to be asked.
    fn needs_yes(&self, words: &[&str]) -> bool {
        let command = subcommand(words.iter().copied().skip_while(|word| word.starts_with('-')));
        let takes = command.is_some_and(|command| takes(&command, "yes"));
        self.alone && takes && !words.iter().any(|word| ASKS_NOTHING.contains(word))
    }

    /// A text in which every command of this program that stands between backticks is one that can be pasted: with the program,
    /// what was said of settings and keys, and `--yes` where nobody can be asked.
    pub(crate) fn complete(&self, text: &str) -> String {
        // A name that holds a backtick spoils its own line alone.
        text.split_inclusive('\n').map(|line| bare_hint(&self.complete_line(line))).collect()
    }

    fn complete_line(&self, text: &str) -> String {
        let mut complete = String::new();
        // Between backticks stands every second part, if there are as many.
        let parts: Vec<&str> = text.split('`').collect();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                complete.push('`');
            }
            let command = (index % 2 == 1 && index + 1 < parts.len()).then(|| self.command(part)).flatten();
            complete.push_str(command.as_deref().unwrap_or(part));
        }
        complete
    }

    /// The same of a hint.
    pub(crate) fn complete_hint(&self, hint: &str) -> String {
        let complete = self.complete(hint);
        bare(&complete).map_or_else(|| complete.clone(), Into::into)
    }

    /// The same for all hints of a JSON document.
    pub(crate) fn complete_hints(&self, value: &mut Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(|value| self.complete_hints(value)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name == "hint" => *text = self.complete_hint(text),
                        value => self.complete_hints(value),
                    }
                }
            }
            _ => {}
        }
    }

    /// This very restore of another source; where this is none, a restore of that.
    fn restore_of(&self, source: &str) -> String {
        match &self.restore {
            Some(typed) => {
                let words: Vec<&str> = typed.iter().map(String::as_str).collect();
                let yes = if self.needs_yes(&words) { " --yes" } else { "" };
                format!("{} {} {source}{yes}", self.program, words.join(" "))
            }
            None => self.command(&format!("restore {source}")).unwrap_or_default(),
        }
    }

    /// A command in full; none where the text is no command of this program.
    fn command(&self, text: &str) -> Option<String> {
        // This very command by somebody else, or with more.
        if let Some(before) = text.strip_suffix('…').filter(|before| before.starts_with("sudo ")) {
            return Some(format!("{before}{} {}", self.program, self.typed.join(" ")));
        }
        if let Some(more) = text.strip_prefix("… ") {
            if SOURCES[..2].iter().any(|source| more.strip_prefix(source).is_some_and(|rest| rest.starts_with(' '))) {
                return Some(self.restore_of(more));
            }
            return Some(format!("{} {} {more}", self.program, self.typed.join(" ")));
        }
        let text = text.strip_prefix(NAME).unwrap_or(text).trim();
        let words: Vec<&str> = text.split_whitespace().collect();
        let command = subcommand(words.iter().copied())?;
        let has = |long: &str| {
            let is = |word: &&str| {
                *word == "-c" && long == "config" || word.split('=').next() == Some(&*format!("--{long}"))
            };
            words.iter().any(is)
        };
        let mut full = format!("{} {text}", self.program);
        for (long, value) in self.carried.iter().filter(|(long, _)| takes(&command, long) && !has(long)) {
            let name = if *long == "config" { "-c".into() } else { format!("--{long}") };
            full.push_str(&format!(" {name} {value}"));
        }
        if self.needs_yes(&words) {
            full.push_str(" --yes");
        }
        Some(full)
    }
}

/// A command without its backticks, where a text is nothing else: it is pasted as it stands.
fn bare(text: &str) -> Option<&str> {
    text.strip_prefix('`')?.strip_suffix('`').filter(|bare| !bare.contains('`'))
}

/// The same for a line that is a finding's hint.
fn bare_hint(line: &str) -> String {
    let hint = line.split_once("hint: ").filter(|(before, _)| before.trim().is_empty());
    let bare = hint.and_then(|(before, hint)| Some(format!("{before}hint: {}\n", bare(hint.trim_end())?)));
    bare.unwrap_or_else(|| line.into())
}

/// What was typed, without that which names the source of a restore; `bundle` is one that no flag names.
fn without_source(typed: &[String], bundle: Option<&str>) -> Vec<String> {
    let (mut left, mut words, mut bundle) = (Vec::new(), typed.iter(), bundle);
    while let Some(word) = words.next() {
        let flag = word.split('=').next().unwrap_or_default();
        if SOURCES.contains(&flag) {
            if flag.len() == word.len() {
                words.next();
            }
        } else if bundle == Some(word) {
            bundle = None;
        } else {
            left.push(word.clone());
        }
    }
    left
}

/// The command that words begin with.
fn subcommand<'w>(mut words: impl Iterator<Item = &'w str>) -> Option<Command> {
    let mut command = Arguments::command().find_subcommand(words.next()?).cloned()?;
    for name in words {
        let Some(found) = command.find_subcommand(name).cloned() else { break };
        command = found;
    }
    Some(command)
}

fn takes(command: &Command, long: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(long))
}

/// The value of an argument by its name here, as a shell takes it.
fn said_at(id: &str, matches: &ArgMatches) -> Option<String> {
    matches.try_contains_id(id).is_ok_and(|there| there).then(|| matches.get_raw(id)?.next()).flatten().map(shown)
}

fn shown(value: &std::ffi::OsStr) -> String {
    plain(&shell_word(&PathBuf::from(value)))
}

/// The values of an argument that was given.
fn said(command: &Command, matches: &ArgMatches, long: &'static str) -> Vec<(&'static str, String)> {
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(long));
    let given = argument.filter(|argument| {
        matches.try_contains_id(argument.get_id().as_str()).is_ok()
            && matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
    });
    let values = given.and_then(|argument| matches.get_raw(argument.get_id().as_str()));
    values.into_iter().flatten().map(|value| (long, shown(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Invocation {
        let words: Vec<PathBuf> = line.split(' ').map(PathBuf::from).collect();
        let matches = Arguments::command().try_get_matches_from(&words).expect("arguments");
        Invocation { alone: false, ..Invocation::of(&words, &matches) }
    }

    #[test]
    fn a_printed_command_has_all_that_the_next_one_must_be_told() {
        let restore = called("/opt/orchestrator-cli restore -c o.toml --identity key b.tgz");
        for (text, full) in [
            ("`restore --resume` goes on", "`/opt/orchestrator-cli restore --resume -c o.toml --identity key` goes on"),
            ("`restore cleanup`", "`/opt/orchestrator-cli restore cleanup -c o.toml`"),
            ("`orchestrator-cli list`", "`/opt/orchestrator-cli list -c o.toml --identity key`"),
            ("`show` or `psql -l`", "`/opt/orchestrator-cli show -c o.toml --identity key` or `psql -l`"),
            ("a`b\n`list`", "a`b\n`/opt/orchestrator-cli list -c o.toml --identity key`"),
            ("`show 'two  blanks'`", "`/opt/orchestrator-cli show 'two  blanks' -c o.toml --identity key`"),
            ("`list --config x`", "`/opt/orchestrator-cli list --config x --identity key`"),
            ("restore `", "restore `"),
        ] {
            assert_eq!(restore.complete(text), full, "{text}");
        }
        assert_eq!(called("o list").complete("`restore --rollback`"), "`o restore --rollback`");
        let alone = Invocation { alone: true, ..called("o ownership show -c 'c") };
        assert_eq!(alone.complete("`ownership claim`"), r"`o ownership claim -c ''\''c' --yes`");
        assert_eq!(alone.complete("`restore --resume`"), r"`o restore --resume -c ''\''c'`");
        let dry = called("o restore --dry-run -c o.toml b.tgz");
        assert_eq!(dry.again("--dry-run"), "`o restore -c o.toml b.tgz`");
        assert_eq!(dry.complete(&dry.again("--dry-run")), "`o restore -c o.toml b.tgz`");
        assert_eq!(dry.complete("`sudo -u x …`"), "`sudo -u x o restore --dry-run -c o.toml b.tgz`");
        assert_eq!(called("o config init").complete("`… --cluster-conf c`"), "`o config init --cluster-conf c`");
        assert_eq!(dry.complete("`… --more`"), "`o restore --dry-run -c o.toml b.tgz --more`");
        for (typed, full) in [
            ("o restore --dry-run -c o.toml o.sql", "`o restore --dry-run -c o.toml --sql o.sql`"),
            ("o -q restore --file o.sql --only databases", "`o -q restore --only databases --sql o.sql`"),
            ("o restore --sql=b.tgz --cluster-conf x --yes", "`o restore --yes --sql o.sql`"),
            ("o restore --resume --file o.sql", "`o restore --resume --sql o.sql`"),
            ("o verify -c o.toml o.sql", "`o restore --sql o.sql -c o.toml`"),
        ] {
            assert_eq!(called(typed).complete("`… --sql o.sql`"), full, "{typed}");
        }
        assert_eq!(Invocation { alone: true, ..called("o backup --dry-run") }.again("--dry-run"), "`o backup`");
        assert_eq!(Invocation { alone: true, ..called("o -q restore b") }.again(""), "`o -q restore b --yes`");
        let mut value = serde_json::json!({ "a": [{ "hint": "`list`", "text": "`list`" }] });
        alone.complete_hints(&mut value);
        assert_eq!(value, serde_json::json!({ "a": [{ "hint": r"o list -c ''\''c'", "text": "`list`" }] }));
    }

    /// Every file of sources below a directory.
    fn sources(directory: &std::path::Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            match entry.file_type().expect("a type").is_dir() {
                true => sources(&entry.path(), found),
                false => found.push(entry.path()),
            }
        }
    }

    #[test]
    fn every_command_that_stands_in_a_text_is_one_that_there_is() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        ["orchestrator-cli/src", "backup-core/src", "s3-store/src"]
            .iter()
            .for_each(|src| sources(&root.join(src), &mut files));
        let (mut checked, mut wrong) = (0, Vec::new());
        for file in files.iter().filter(|file| !file.ends_with("invocation.rs")) {
            let text = std::fs::read_to_string(file).expect("a source");
            for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
                for command in line.split('`').skip(1).step_by(2) {
                    let words = command.strip_prefix(NAME).map_or(command, str::trim_start);
                    let first = words.split(' ').next().unwrap_or_default();
                    if Arguments::command().find_subcommand(first).is_none() {
                        continue;
                    }
                    checked += 1;
                    // What is glued to a word brings further arguments; what stands apart is one.
                    let filled = words
                        .replace("{}", "x")
                        .replace("{deploy}", "")
                        .replace("{release}", "")
                        .replace("{flags}", "");
                    let words = [NAME].into_iter().chain(filled.split(' '));
                    if filled.split(' ').any(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase())) {
                        wrong.push(format!("{}: {command}: a word stands for another", file.display()));
                    }
                    if let Err(error) = Arguments::command().try_get_matches_from(words) {
                        wrong.push(format!("{}: {command}: {:?}", file.display(), error.kind()));
                    }
                }
            }
        }
        assert!(checked > 40, "{checked}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
