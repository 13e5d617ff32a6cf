//! Finds the `pg_dump` and `pg_restore` that fit a server.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::command::run;
use super::connection::Parameters;
use crate::component::walls::Within;
use crate::context::Environment;
use crate::{Error, Kind, Result};

/// Where distributions keep one directory a version.
const VERSIONED: [(&str, &str); 3] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin"), ("/usr/local", "bin")];

/// PostgreSQL's client programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// The directory that holds them.
    pub directory: PathBuf,
    /// Their version as they state it, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// Their major version.
    pub major: u32,
    /// What they are begun with.
    pub(super) within: Within,
}

impl Tools {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// One of the programs, connecting as `parameters` say. Nothing secret is among its arguments.
    pub(super) fn client(&self, name: &str, parameters: &Parameters) -> Command {
        let mut command = self.within.command(self.program(name));
        for variable in Parameters::removed_variables() {
            command.env_remove(variable);
        }
        command.envs(parameters.variables()).env("PGOPTIONS", parameters.options()).env("LC_ALL", "C");
        command
    }
}

/// Whether the programs of a version write and read `\restrict` lines, as they do since the minor releases of August 2025.
pub fn know_restrict(version: &str) -> bool {
    let (major, minor) = numbers(version);
    match major {
        ..=12 => false,
        13 => minor >= 22,
        14 => minor >= 19,
        15 => minor >= 14,
        16 => minor >= 10,
        17 => minor >= 6,
        _ => true,
    }
}

/// Major and minor number of a version; 0 where there is none.
pub(super) fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The programs to use with a server of version `major`: those of the configured directory, else the oldest that are
/// new enough, in `PATH` first and then in the versioned directories. The server's own version comes before a newer
/// one, which writes settings that a restore into the same version would refuse.
///
/// # Errors
/// [`Kind::Unsupported`] where those found are too old, [`Kind::NotFound`] where none are.
pub async fn find(configured: Option<&Path>, environment: &Environment, major: u32) -> Result<Tools> {
    choose(candidates(configured, environment), configured, major).await
}

/// The same for programs that make and run a server, too.
///
/// # Errors
/// As [`find`].
pub async fn find_server(configured: Option<&Path>, environment: &Environment, major: u32) -> Result<Tools> {
    let mut candidates = candidates(configured, environment);
    candidates.retain(|directory| ["initdb", "postgres"].iter().all(|program| directory.join(program).is_file()));
    let found = choose(candidates, configured, major).await;
    found.map_err(|error| {
        Error::new(error.kind(), format!("find a PostgreSQL server of version {major} or newer on this machine"))
            .because(error)
            .hint(format!("install the package postgresql-{major} or newer; its own cluster need not run"))
    })
}

fn candidates(configured: Option<&Path>, environment: &Environment) -> Vec<PathBuf> {
    match configured {
        Some(directory) => vec![directory.to_owned()],
        None => in_path(environment).into_iter().chain(versioned()).collect(),
    }
}

async fn choose(candidates: Vec<PathBuf>, configured: Option<&Path>, major: u32) -> Result<Tools> {
    let mut newest: Option<Tools> = None;
    let mut fitting: Option<Tools> = None;
    for directory in &candidates {
        let Some(tools) = look_into(directory).await else { continue };
        if tools.major >= major && fitting.as_ref().is_none_or(|best| tools.major < best.major) {
            fitting = Some(tools.clone());
        }
        if newest.as_ref().is_none_or(|best| tools.major > best.major) {
            newest = Some(tools);
        }
    }
    let install = format!(
        "install the package postgresql-client-{major} or newer, or name its directory as postgres.bin_dir in the settings"
    );
    match (fitting, newest) {
        (Some(tools), _) => Ok(tools),
        (None, Some(old)) => Err(Error::new(
            Kind::Unsupported,
            format!(
                "find pg_dump: {} is version {}, too old for a server of version {major}",
                old.program("pg_dump").display(),
                old.major
            ),
        )
        .hint(install)),
        (None, None) => Err(Error::new(
            Kind::NotFound,
            match configured {
                Some(directory) => {
                    format!("find pg_dump: {} does not hold pg_dump and pg_restore", directory.display())
                }
                None => "find pg_dump: it is neither in PATH nor in the distribution's directories".into(),
            },
        )
        .hint(install)),
    }
}

/// The directory of the first `pg_dump` in `PATH`. Debian's wrapper is passed over: it stands for the versioned
/// directories, and picks a version by rules of its own.
fn in_path(environment: &Environment) -> Option<PathBuf> {
    let found =
        std::env::split_paths(environment.get("PATH")?).find(|directory| directory.join("pg_dump").is_file())?;
    let real = found.join("pg_dump").canonicalize().ok()?;
    real.file_name().is_none_or(|name| name != "pg_wrapper").then_some(found)
}

fn versioned() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for (parent, inner) in VERSIONED {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if parent == "/usr/lib/postgresql" || name.starts_with("pgsql") {
                directories.push(entry.path().join(inner));
            }
        }
    }
    directories.sort();
    directories
}

async fn look_into(directory: &Path) -> Option<Tools> {
    if !directory.join("pg_restore").is_file() {
        return None;
    }
    let mut command = Command::new(directory.join("pg_dump"));
    command.arg("--version");
    let output = run(command, "ask pg_dump for its version", None).await.ok()?.output;
    let version = version_of(&String::from_utf8_lossy(&output))?;
    let major = version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some(Tools { directory: directory.to_owned(), version, major, within: Within::default() })
}

/// The version in `pg_dump (PostgreSQL) 15.18 (Debian …)`.
fn version_of(output: &str) -> Option<String> {
    Some(output.trim().split_once("(PostgreSQL) ")?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_follows_the_product() {
        let read = |text| version_of(text);
        assert_eq!(
            read("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(),
            Some("15.18 (Debian 15.18-0+deb12u1)")
        );
        assert_eq!(read("pg_dump (PostgreSQL) 18beta1\n").as_deref(), Some("18beta1"));
        assert_eq!(read("something else"), None);
    }

    #[test]
    fn old_minor_releases_do_not_know_restrict() {
        assert!(["15.14", "17.6 (Debian 17.6-1)", "18beta2", "19devel"].iter().all(|version| know_restrict(version)));
        assert!(["15.13", "17.5 (Debian 17.5-1)", "12.22", ""].iter().all(|version| !know_restrict(version)));
    }
}
