//! The first page of help: commands in groups, by when people need them.

use std::fmt::Write as _;

use clap::Subcommand as _;
use clap::builder::StyledStr;
use clap::builder::styling::Styles;

/// Every command stands in exactly one group.
const GROUPS: [(&str, &[&str]); 4] = [
    ("At night", &["restore", "show", "extract", "diff", "verify", "list"]),
    (
        "Every day",
        &["config", "backup", "check", "drill", "copy", "keep", "prune", "cleanup", "status", "schedule", "key"],
    ),
    ("The cluster", &["deploy", "nodes", "ssh", "databases", "ownership"]),
    ("The shell", &["completions", "man"]),
];

pub(super) const AFTER: &str = "Examples:\n  \
    orchestrator-cli list /mnt/backups\n  \
    orchestrator-cli restore latest --dry-run\n  \
    orchestrator-cli status\n\n\
    `orchestrator-cli COMMAND --help` explains a command, with examples.\n\n\
    Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings, 10 not found, 11 locked, \
    12 damaged or unsupported, 13 refused by a check, 14 resume or rollback needed, 130 interrupted.";

/// What clap fills in: the groups stand where its own list of commands would be.
pub(super) fn template() -> StyledStr {
    let commands = super::Command::augment_subcommands(clap::Command::new("orchestrator-cli"));
    let styles = Styles::default();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (title, names) in GROUPS {
        // Writing to a text does not fail.
        let _ = write!(text, "\n{header}{title}:{header:#}\n");
        for name in names {
            let about = commands.find_subcommand(name).and_then(clap::Command::get_about).map(ToString::to_string);
            let about = about.unwrap_or_default();
            let first = about.split(". ").next().unwrap_or_default();
            let _ = writeln!(text, "  {literal}{name:11}{literal:#}  {first}");
        }
    }
    let _ = write!(text, "\n{header}Options:{header:#}\n{{options}}{{after-help}}");
    text.into()
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;
    use crate::arguments::Arguments;

    /// A command and those below it, each with its words.
    fn all(command: &Command, words: &str, found: &mut Vec<(String, Command)>) {
        found.push((words.into(), command.clone()));
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        below.for_each(|below| all(below, &format!("{words} {}", below.get_name()), found));
    }

    fn commands() -> Vec<(String, Command)> {
        let mut found = Vec::new();
        all(&Arguments::command(), "orchestrator-cli", &mut found);
        found
    }

    #[test]
    fn every_command_stands_in_exactly_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        grouped.sort_unstable();
        let command = Arguments::command();
        let mut there: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        there.sort_unstable();
        assert_eq!(grouped, there);
    }

    #[test]
    fn the_first_page_shows_every_command_on_a_line_of_a_small_terminal() {
        let help = Arguments::command().term_width(80).render_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 80 || line.starts_with("  orchestrator-cli "), "{line}");
        }
        for (title, names) in GROUPS {
            let (_, group) = help.split_once(&format!("\n{title}:\n")).expect(title);
            let shown: Vec<&str> = group
                .lines()
                .take_while(|line| !line.is_empty())
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            assert_eq!(shown, names, "{help}");
        }
    }

    #[test]
    fn every_level_has_examples_that_the_program_takes() {
        for (words, command) in commands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help
                .lines()
                .filter_map(|line| line.strip_prefix("  "))
                .filter(|line| line.starts_with(&words))
                .collect();
            assert!(!examples.is_empty(), "{words}: {help}");
            for example in examples {
                assert!(example.chars().count() <= 78, "a small terminal would break {example}");
                // What follows is the shell's.
                let typed = example.split(['|', '>']).next().unwrap_or_default();
                let typed: Vec<&str> = typed.split_whitespace().collect();
                let taken = Arguments::command().try_get_matches_from(typed);
                assert!(taken.is_ok(), "{example}: {:?}", taken.err());
            }
        }
    }

    #[test]
    fn no_sentence_of_the_help_has_more_than_thirty_words() {
        for (words, command) in commands() {
            let own = command.get_about().map(ToString::to_string);
            let arguments = command.get_arguments().filter_map(|argument| argument.get_help().map(ToString::to_string));
            for text in own.into_iter().chain(arguments) {
                for sentence in text.split(['.', ';', ':']) {
                    let count = sentence.split_whitespace().count();
                    assert!(count <= 30, "{words}: {count} words: {sentence}");
                }
            }
        }
    }
}
