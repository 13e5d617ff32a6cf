//! What a restore needs that no bundle holds: found when the backup is made, and not at night.

use std::path::Path;

use crate::Result;
use crate::bundle::manifest::{Extension, Host};
use crate::cluster::{ClusterConf, Map, Value};
use crate::component::files::Tree;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::{self, DatabaseFacts, ServerFacts};
use crate::encryption::Recipients;
use crate::finding::Finding;

/// The extension that every server has.
const BUILT_IN: &str = "plpgsql";

/// What of one database: extensions, and a tablespace; `bound` are those that want a database of a certain name.
pub(crate) fn of_database(facts: &DatabaseFacts, extensions: &[Extension], bound: &[String]) -> Vec<Finding> {
    let mut needs: Vec<Finding> = extensions
        .iter()
        .filter(|extension| extension.name != BUILT_IN)
        .map(|extension| {
            let subject = format!("{}: extension {}", facts.name, extension.name);
            let message = format!("a restore needs its package on the server, version {}", extension.version);
            Finding::info("needs-extension", subject, message)
        })
        .collect();
    needs.extend(bound.iter().map(|name| {
        let subject = format!("{}: extension {name}", facts.name);
        let message = "it may want a database of this very name, and a restore builds under another one first: it is \
            refused then, and the database is restored by hand";
        Finding::info("needs-database-name", subject, message).hint("README.txt in the bundle says how; try it once")
    }));
    if !facts.tablespace.starts_with("pg_") {
        let message = format!("a restore needs the tablespace {} on the server", facts.tablespace);
        needs.push(Finding::info("needs-tablespace", &facts.name, message));
    }
    needs
}

/// What of the roles: passwords, unless they are captured, and what is granted to none of a bundle's.
pub(crate) async fn of_roles(
    connection: &Connection,
    server: &ServerFacts,
    databases: &[DatabaseFacts],
    passwords: bool,
) -> Result<Vec<Finding>> {
    let lacking = postgres::lacking(connection, server, databases, passwords).await?;
    let need = |name: &String| {
        let message = "a restore needs its password, if it logs in with one";
        Finding::info("needs-password", format!("role {name}"), message)
            .hint("postgres.role_passwords in the settings captures it")
    };
    Ok(lacking.passwords.iter().map(need).chain(lacking.others).collect())
}

/// What of the files: those of this machine that `cluster.conf` names and that no captured tree holds.
pub(crate) fn of_files(cluster: &ClusterConf, trees: &[Tree]) -> Vec<Finding> {
    let mut named = Vec::new();
    paths(&cluster.all, &mut String::new(), &mut named);
    let captured = |path: &Path| trees.iter().any(|tree| path.starts_with(&tree.path));
    let missing = named.into_iter().filter(|(_, path)| Path::new(path).is_file() && !captured(Path::new(path)));
    let need = |(key, path): (String, &str)| {
        Finding::info("needs-file", path, format!("{key} in cluster.conf names it, and it is not in the bundle"))
            .hint("capture it with [[files]] in the settings, or keep it elsewhere")
    };
    missing.map(need).collect()
}

/// What of encryption: an identity, without which a bundle is of no use to anybody.
pub(crate) fn of_encryption(recipients: &Recipients) -> Option<Finding> {
    let message = format!("a restore needs the identity of one of: {}", recipients.names().join(", "));
    let finding = Finding::info("needs-identity", "encryption", message);
    let hint = "keep it where the loss of this machine does not take it along; no one reads the bundle without";
    (!recipients.is_empty()).then(|| finding.hint(hint))
}

/// What of the hosts: keys that could not be recorded, so that a restore can't tell whether they are the same.
pub(crate) fn of_hosts(hosts: &[Host]) -> Vec<Finding> {
    let need = |host: &Host| {
        let why = if host.reachable { "showed no SSH key" } else { "did not answer" };
        let message = format!("it {why}: a restore will want --accept-host-key for it");
        Finding::info("needs-host-key", format!("host {}", host.host), message)
    };
    hosts.iter().filter(|host| host.keys.is_empty()).map(need).collect()
}

/// Every absolute path among the values, with the keys that lead to it.
fn paths<'m>(map: &'m Map, keys: &mut String, found: &mut Vec<(String, &'m str)>) {
    for (key, value) in map.effective() {
        let length = keys.len();
        if length > 0 {
            keys.push('.');
        }
        keys.push_str(key);
        paths_in(value, keys, found);
        keys.truncate(length);
    }
}

fn paths_in<'m>(value: &'m Value, keys: &mut String, found: &mut Vec<(String, &'m str)>) {
    match value {
        Value::String(text) if text.starts_with('/') => found.push((keys.clone(), text)),
        Value::Array(items) => items.iter().for_each(|item| paths_in(item, keys, found)),
        Value::Map(map) => paths(map, keys, found),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_the_configuration_names_are_needed_unless_captured() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        for name in ["cert.pem", "key.pem"] {
            std::fs::write(path(name), "").expect("a file");
        }
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let text = format!("chef {{ a {{ cert: \"{cert}\", list: [\"{key}\", \"/missing\", \"x\"] }} }}");
        let cluster = ClusterConf::parse(&text).expect("a cluster.conf");
        let tree = |path: &str| Tree { path: path.into(), exclude: None };
        let subjects = |trees: &[Tree]| -> Vec<String> {
            of_files(&cluster, trees).into_iter().map(|finding| finding.subject).collect()
        };
        assert_eq!(subjects(&[]), [cert.clone(), key]);
        assert_eq!(subjects(&[tree(&path("key.pem"))]), [cert]);
        assert!(subjects(&[tree(&path(""))]).is_empty());
        assert!(of_files(&cluster, &[])[1].message.starts_with("chef.a.list in"));
    }
}
