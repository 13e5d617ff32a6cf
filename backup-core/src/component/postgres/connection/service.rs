//! Service files: `[name]` sections of `key=value`.

use std::fs;
use std::path::{Path, PathBuf};

use super::conninfo::Pairs;
use crate::context::Environment;
use crate::{Error, ErrorContext, Kind, Result};

/// Where Debian and the rest keep the system's service file, after `PGSYSCONFDIR`.
const SYSTEM: [&str; 2] = ["/etc/postgresql-common", "/usr/local/etc"];

/// The parameters of service `name`, from the user's file or else the system's.
pub(super) fn look_up(name: &str, environment: &Environment) -> Result<Pairs> {
    let user = match environment.get("PGSERVICEFILE") {
        Some(path) => Some(PathBuf::from(path)),
        None => environment.home.as_ref().map(|home| home.join(".pg_service.conf")),
    };
    let system =
        environment.get("PGSYSCONFDIR").into_iter().chain(SYSTEM).map(|dir| Path::new(dir).join("pg_service.conf"));
    for path in user.into_iter().chain(system).filter(|path| path.exists()) {
        let text = fs::read_to_string(&path).context(|| format!("read the service file {}", path.display()))?;
        if let Some(pairs) = section(&text, name) {
            return Ok(pairs);
        }
    }
    Err(Error::new(Kind::NotFound, format!("PostgreSQL service {name}: no service file defines it"))
        .hint("define it in ~/.pg_service.conf, or name the file with PGSERVICEFILE"))
}

fn section(text: &str, name: &str) -> Option<Pairs> {
    let mut found: Option<Pairs> = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            found = (section == name).then(Pairs::new);
        } else if let (Some(pairs), Some((key, value))) = (&mut found, line.split_once('=')) {
            // The first of doubled keys counts, as in libpq.
            pairs.entry(key.trim().into()).or_insert_with(|| value.trim().into());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_found_by_its_name() {
        let text = "# all\n[a]\nhost=1\n\n[b]\nhost = 2\nport=5433\nport=1\n[c]\nhost=3";
        let pairs = section(text, "b").expect("the section");
        assert_eq!((pairs["host"].as_str(), pairs["port"].as_str(), pairs.len()), ("2", "5433", 2));
        assert!(section(text, "d").is_none());
    }
}
