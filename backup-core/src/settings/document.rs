//! Settings as they are written: a TOML file, and what is wrong with one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::DEFAULT_PATH;
use crate::component::control_plane::ReleaseRule;
use crate::component::postgres::connection::ConnectionString;
use crate::given::{refuse_cluster_conf, refuse_unlike};
use crate::hooks::{Around, When};
use crate::restore::Assertion;
use crate::retention::Policy;
use crate::store::{Rate, RcloneOptions, S3Options, SftpOptions};
use crate::toml_text::{self, Table};
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
    component: Vec<toml::Table>,
    #[serde(skip)]
    pub(super) described: Vec<Table>,
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
    pub(super) rclone: Option<RcloneOptions>,
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
    let text = text_of(path)?;
    parse_text(path, &text).map(|document| (document, text))
}

/// The text of settings.
pub(super) fn text_of(path: &Path) -> Result<String> {
    let text = read(path, "read the settings")?;
    let text = String::from_utf8(text)
        .map_err(|_| Error::new(Kind::Usage, format!("read the settings {}: not UTF-8", path.display())))?;
    refuse_cluster_conf(path, &text)?;
    Ok(text)
}

/// Reads the text of settings; `path` is its name for messages.
pub(super) fn parse_text(path: &Path, text: &str) -> Result<Document> {
    toml_text::read(&path.display().to_string(), text).map(|document: Document| document.of_text(path, text))
}

/// Reads each section of the text of settings by itself.
pub(super) fn parse_apart(path: &Path, text: &str) -> Result<Vec<Result<Document>>> {
    let sections: Vec<Result<Document>> = toml_text::read_apart(&path.display().to_string(), text)?;
    Ok(sections.into_iter().map(|section| section.map(|document| document.of_text(path, text))).collect())
}

impl Document {
    /// It with what must know the text around it.
    fn of_text(mut self, path: &Path, text: &str) -> Self {
        let (postgres, databases) = (&mut self.postgres, &mut self.databases);
        postgres.said = ConnectionString::read(postgres.connection.as_ref(), "[postgres] connection", path, text);
        databases.said = ConnectionString::read(databases.connection.as_ref(), "[databases] connection", path, text);
        // Only a component's kind knows what its table may have.
        self.described = Table::list(text, "component", self.component.len());
        self
    }
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
                "`config init` writes settings there; or name others with --config"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::SECTIONS;

    #[test]
    fn a_wrong_value_is_named_by_its_place_and_key_and_not_shown() {
        let cases = [
            (
                "[backup]\nlevel = 'hunter2'",
                "line 3, column 9: backup.level: found a text, expected a whole number that is not negative",
            ),
            ("[backup]\nlevel = 1.5", "backup.level: found a number with a fraction, expected a whole number"),
            ("[backup]\njobs = [1]", "backup.jobs: found a list, expected a whole number"),
            (
                "[hosts]\nssh_port = 70000",
                "line 3, column 12: hosts.ssh_port: found 70000, expected a whole number from 1 to",
            ),
            (
                "hosts.ssh_port = 0",
                "line 2, column 18: hosts.ssh_port: found 0, expected a whole number from 1 to 65535",
            ),
            ("[hosts]\nssh_user = 7712", "hosts.ssh_user: found a whole number, expected a text in quotes"),
            ("postgres.databases = 'hunter2'", "postgres.databases: found a text, expected a list, as [\"one\"]"),
            ("[postgres]\ndatabases = ['x', 7712]", "line 3, column 19: postgres.databases: found a whole number"),
            ("[postgres]\nrole_passwords = 'hunter2'", "postgres.role_passwords: found a text, expected true or false"),
            (
                "[postgres]\nconnection = 7712",
                "line 3, column 14: postgres.connection: found a whole number, expected a",
            ),
            ("[databases]\nconnection = ['hunter2']", "databases.connection: found a list, expected a text in quotes"),
            ("[databases.components]\nx = 'hunter2'", "databases.components.x: found a text, expected a list"),
            ("[[stores]]\npath = 3", "line 3, column 8: stores.path: found a whole number, expected a path in quotes"),
            ("[[stores]]\npath = 'a'\n[[stores]]\npath = 7", "line 5, column 8: stores.path: found a whole number"),
            (
                "[stores]\npath = 'a'",
                "line 2, column 1: stores: found a table, expected a list of tables, each under [[",
            ),
            ("[[stores]]\npath = 'a'\ns3 = { region = 7 }", "stores.s3.region: found a whole number, expected a text"),
            ("[[stores]]\naddress = 's3://a'\ns3.tags = 'hunter2'", "stores.s3.tags: found a text, expected a table"),
            ("[[stores]]\npath = 'a'\nlimit_rate = 7", "stores.limit_rate: found a whole number, expected a text"),
            ("schedule = 'hunter2'", "line 2, column 12: schedule: found a text, expected a table"),
            ("schedule.backup = 1979-05-27", "schedule.backup: found a date or a time, expected a text in quotes"),
            ("[notify]\nping = true", "notify.ping: found true, expected a text in quotes"),
            ("[restore]\nrelease = 7", "restore.release: found a whole number, expected a text in quotes"),
            (
                "[restore]\nrelease = 'hunter2'",
                "restore.release: found another text, expected \"at-least\" or \"equal\"",
            ),
            ("[[files]]\nexclude = []", "files: the key path is missing"),
            (
                "[agent]\nports = [22, 70000]",
                "line 3, column 14: agent.ports: found 70000, expected a whole number from 0 to",
            ),
            ("[retention]\ndaily = -1", "retention.daily: found -1, expected a whole number"),
            ("[component]\nkind = 'redis'", "component: found a table, expected a list of tables, each under [[…]]"),
            ("component = ['hunter2']", "component: found a text, expected a table"),
            ("[backup]\nlevle = 'hunter2'", "line 3, column 1: backup.levle: unknown key, expected one of level, jobs"),
            ("stroes = 'hunter2'", "line 2, column 1: stroes: unknown key, expected one of cluster_conf, postgres"),
        ];
        for (toml, expected) in cases {
            let error = parse_text(Path::new("o.toml"), &format!("cluster_conf = 'cluster.conf'\n{toml}"))
                .expect_err("a mistake");
            let said = error.chain().join(": ");
            assert!(said.starts_with("read the settings o.toml, line ") && said.contains(expected), "{toml}: {said}");
            assert!(!format!("{error:?}").contains("hunter2") && !said.contains("7712"), "{error:?}");
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
