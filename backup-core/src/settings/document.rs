//! Settings as they are written: a TOML file, and what is wrong with one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::DEFAULT_PATH;
use crate::component::control_plane::ReleaseRule;
use crate::component::postgres::connection::ConnectionString;
use crate::given::{refuse_cluster_conf, refuse_unlike};
use crate::hooks::{Around, When};
use crate::nearest::nearest;
use crate::restore::Assertion;
use crate::retention::Policy;
use crate::store::{Rate, S3Options, SftpOptions};
use crate::{Error, Kind, Result};

/// No settings and no `cluster.conf` are longer.
const LONGEST: u64 = 16 << 20;

/// A TOML file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    pub(super) cluster_conf: Option<PathBuf>,
    pub(super) postgres: PostgresTable,
    pub(super) release: ReleaseTable,
    pub(super) files: Vec<FilesTable>,
    pub(super) component: Vec<toml::Table>,
    pub(super) stores: Vec<StoreTable>,
    pub(super) encryption: EncryptionTable,
    pub(super) signing: SigningTable,
    pub(super) backup: BackupTable,
    pub(super) retention: Option<Policy>,
    pub(super) restore: RestoreTable,
    pub(super) hosts: HostsTable,
    pub(super) drill: DrillTable,
    pub(super) deploy: DeployTable,
    pub(super) agent: AgentTable,
    pub(super) databases: DatabasesTable,
    pub(super) schedule: Option<ScheduleTable>,
    pub(super) status: StatusTable,
    pub(super) notify: NotifyTable,
    pub(super) hooks: Vec<HookTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HookTable {
    pub(super) of: Option<Vec<Around>>,
    pub(super) when: When,
    pub(super) command: Vec<String>,
    pub(super) limit: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ScheduleTable {
    pub(super) backup: Option<String>,
    pub(super) databases: Option<String>,
    pub(super) drill: Option<String>,
    pub(super) random_delay: Option<String>,
    pub(super) limit: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StatusTable {
    pub(super) newest: Option<u32>,
    pub(super) drill: Option<u32>,
    pub(super) room: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NotifyTable {
    pub(super) ping: Option<String>,
    pub(super) webhook: Option<String>,
    pub(super) mail: Vec<String>,
    pub(super) sendmail: Option<PathBuf>,
    pub(super) metrics: Option<PathBuf>,
    pub(super) metrics_mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DatabasesTable {
    pub(super) directory: Option<PathBuf>,
    connection: Option<Spanned<String>>,
    #[serde(skip)]
    pub(super) said: ConnectionString,
    pub(super) user: Option<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) components: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PostgresTable {
    connection: Option<Spanned<String>>,
    #[serde(skip)]
    pub(super) said: ConnectionString,
    pub(super) databases: Vec<String>,
    pub(super) bin_dir: Option<PathBuf>,
    pub(super) role_passwords: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReleaseTable {
    pub(super) version: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) command: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesTable {
    pub(super) path: PathBuf,
    #[serde(default)]
    pub(super) exclude: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreTable {
    pub(super) path: Option<PathBuf>,
    pub(super) address: Option<String>,
    pub(super) require_mount: Option<PathBuf>,
    pub(super) elsewhere: Option<bool>,
    pub(super) limit_rate: Option<Rate>,
    pub(super) s3: Option<S3Options>,
    pub(super) sftp: Option<SftpOptions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EncryptionTable {
    pub(super) recipients: Vec<String>,
    pub(super) identities: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SigningTable {
    pub(super) key: Option<PathBuf>,
    pub(super) trusted: BTreeMap<String, String>,
    pub(super) required: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BackupTable {
    pub(super) level: Option<u32>,
    pub(super) jobs: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RestoreTable {
    pub(super) release: ReleaseRule,
    pub(super) jobs: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeployTable {
    pub(super) at_once: Option<NonZeroUsize>,
    pub(super) assets: Option<PathBuf>,
    pub(super) assets_directory: Option<PathBuf>,
    pub(super) components: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AgentTable {
    pub(super) settings: Option<PathBuf>,
    pub(super) command: Option<Vec<String>>,
    pub(super) version: Option<Vec<String>>,
    pub(super) sudo: Option<bool>,
    pub(super) limit: Option<NonZeroU32>,
    pub(super) orchestrator: Option<String>,
    pub(super) ports: Vec<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DrillTable {
    pub(super) limit: Option<String>,
    pub(super) memory: Option<NonZeroU32>,
    pub(super) assert: Vec<Assertion>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HostsTable {
    pub(super) ssh_port: Option<NonZeroU16>,
    pub(super) ssh_user: Option<String>,
}

/// Reads settings and their text.
pub(super) fn parse(path: &Path) -> Result<(Document, String)> {
    let text = read(path, "read the settings")?;
    let text = String::from_utf8(text)
        .map_err(|_| Error::new(Kind::Usage, format!("read the settings {}: not UTF-8", path.display())))?;
    refuse_cluster_conf(path, &text)?;
    parse_text(path, &text).map(|document| (document, text))
}

/// Reads the text of settings; `path` is its name for messages.
pub(super) fn parse_text(path: &Path, text: &str) -> Result<Document> {
    let mut document: Document = toml::from_str(text).map_err(|error| refused(path, text, &error))?;
    let (postgres, databases) = (&mut document.postgres, &mut document.databases);
    postgres.said = ConnectionString::read(postgres.connection.as_ref(), "[postgres] connection", path, text);
    databases.said = ConnectionString::read(databases.connection.as_ref(), "[databases] connection", path, text);
    Ok(document)
}

pub(super) fn read(path: &Path, doing: &str) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content));
    if content.len() as u64 > LONGEST {
        refuse_unlike(path, &content)?;
        return Err(Error::new(Kind::Usage, format!("{doing} {}: it is too long to be that", path.display())));
    }
    read.map(|_| content).map_err(|cause| {
        let hint = match cause.kind() {
            ErrorKind::NotFound if path == Path::new(DEFAULT_PATH) => {
                "write settings there, from deploy/orchestrator.toml or /usr/share/doc/orchestrator-cli/examples; or name others with --config"
            }
            ErrorKind::NotFound => "name an existing file with --config, or as cluster_conf in the settings",
            ErrorKind::PermissionDenied => "run as a user that may read it",
            ErrorKind::IsADirectory => "it is a directory: name the file in it",
            _ => "name a file that can be read",
        };
        let kind = match cause.kind() {
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::IsADirectory => Kind::Usage,
            _ => Kind::Failed,
        };
        Error::new(kind, format!("{doing} {}", path.display())).because(cause).hint(hint)
    })
}

/// The parser's message with the place, but without the line's text, which may be a secret.
fn refused(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let message = error.message().trim();
    // "invalid type: string "…", expected …" quotes the value, which may be a secret.
    let quotes = ["invalid type:", "invalid value:", "invalid length:"].iter().any(|start| message.starts_with(start));
    let message = message
        .rsplit_once(", expected ")
        .filter(|_| quotes)
        .map_or(message.to_owned(), |(_, expected)| format!("expected {}", plain(expected)));
    let message = if message == "wanted string or table" { "expected a text".into() } else { message };
    // A message about a key that nobody knows names it already.
    let key = error.span().filter(|_| !message.starts_with("unknown field")).and_then(|span| key_at(text, &span));
    let key = key.map_or_else(String::new, |key| format!("{key}: "));
    let refusal = Error::new(
        Kind::Usage,
        format!("read the settings {}, line {line}, column {column}: {key}{message}", path.display()),
    );
    match suggestion(&message) {
        Some(near) => refusal.hint(format!("did you mean {near}?")),
        None => refusal.hint("deploy/orchestrator.toml is a sample with every key"),
    }
}

/// The key of the innermost value that a place is in, with those of the tables around it.
fn key_at(text: &str, place: &Range<usize>) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let (mut table, mut path) = (Some(document.get_ref()), Vec::new());
    while let Some(within) = table.take() {
        // A list of tables stands at several places.
        let of = |value: &Spanned<DeValue<'_>>| holds(value, place);
        let Some((key, value)) = within.iter().find(|(_, value)| of(value)) else { break };
        path.push(key.get_ref().to_string());
        table = innermost(value.get_ref(), place);
    }
    (!path.is_empty()).then(|| path.join("."))
}

fn holds(value: &Spanned<DeValue<'_>>, place: &Range<usize>) -> bool {
    let span = value.span();
    (span.start <= place.start && place.end <= span.end)
        || match value.get_ref() {
            DeValue::Table(table) => table.iter().any(|(_, value)| holds(value, place)),
            DeValue::Array(all) => all.iter().any(|value| holds(value, place)),
            _ => false,
        }
}

/// The table that a value is, or that of its tables in which a place is.
fn innermost<'v, 'i>(value: &'v DeValue<'i>, place: &Range<usize>) -> Option<&'v DeTable<'i>> {
    match value {
        DeValue::Table(table) => Some(table),
        DeValue::Array(all) => innermost(all.iter().find(|value| holds(value, place))?.get_ref(), place),
        _ => None,
    }
}

/// What was expected, in words of TOML.
fn plain(expected: &str) -> &str {
    match expected {
        "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "a sequence" => "a list, as [\"one\"]",
        "a map" => "a table",
        other => other,
    }
}

/// The known key nearest to the unknown one, both taken from the parser's message.
fn suggestion(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    nearest(unknown, quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::SECTIONS;

    #[test]
    fn a_value_of_another_kind_is_named_by_its_key_and_not_shown() {
        let cases = [
            ("[backup]\nlevel = 'hunter2'", "line 3, column 9: backup.level: expected a whole number"),
            ("postgres.databases = 'hunter2'", "postgres.databases: expected a list"),
            ("[postgres]\ndatabases = ['x', 7]", "postgres.databases: expected a string"),
            ("[[stores]]\npath = 'a'\n[[stores]]\npath = 7", "line 5, column 8: stores.path: expected"),
            ("[[stores]]\npath = 'a'\ns3 = { region = 7 }", "stores.s3.region: expected a string"),
            ("schedule = 'hunter2'", "schedule: expected"),
            ("[hosts]\nssh_port = 0", "hosts.ssh_port: expected"),
            ("[restore]\nrelease = 7", "restore.release: expected a text"),
            ("[[files]]\nexclude = []", "files: missing field `path`"),
            ("[agent]\nports = [70000]", "agent.ports: expected"),
            ("[retention]\ndaily = -1", "retention.daily: expected"),
        ];
        for (toml, expected) in cases {
            let error = parse_text(Path::new("o.toml"), &format!("cluster_conf = 'cluster.conf'\n{toml}"))
                .expect_err("a mistake");
            assert!(error.chain().join(": ").contains(expected), "{toml}: {error:?}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn settings_are_told_by_all_the_sections_that_they_may_have() {
        let Err(error) = toml::from_str::<Document>("[other]") else { panic!("no such section") };
        let error = error.to_string();
        let sections: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        let mut expected = SECTIONS.to_vec();
        expected.sort_by_key(|name| sections.iter().position(|other| other == name));
        assert_eq!(sections, expected, "{error}");
    }
}
