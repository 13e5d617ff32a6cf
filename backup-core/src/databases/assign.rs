//! Which of a server's databases are which component's.

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};

use crate::finding::Finding;
use crate::{Error, Kind, Result};

/// What has whatever no other component has.
const ALL: &str = "*";

/// The components that keep databases, each with patterns of their names.
#[derive(Debug, Clone)]
pub struct Owners(BTreeMap<String, Vec<GlobMatcher>>);

/// The databases of one component on one server.
pub(super) type Assigned = (String, Vec<String>);

impl Owners {
    /// The platform's components, with what settings say of them and of further ones.
    ///
    /// # Errors
    /// [`Kind::Usage`] where a pattern is none.
    pub fn with(own: &BTreeMap<String, Vec<String>>) -> Result<Self> {
        // The platform's manual names these; Zabbix creates its database as `zabbix`, and the auth server's is in component-database.
        let mut patterns: BTreeMap<String, Vec<String>> =
            [("auditlog-database", "auditlog*"), ("component-database", ALL), ("monitoring", "zabbix*")]
                .map(|(component, pattern)| (component.into(), vec![pattern.into()]))
                .into();
        patterns.extend(own.clone());
        let compiled = patterns.into_iter().map(|(component, patterns)| {
            let globs = patterns.iter().map(|pattern| matcher(&component, pattern)).collect::<Result<_>>()?;
            Ok((component, globs))
        });
        compiled.collect::<Result<_>>().map(Self)
    }

    pub(super) fn has(&self, component: &str) -> bool {
        self.0.contains_key(component)
    }

    /// Shares the databases of a server out among its components. None is left out: a lone component has them all, and what no
    /// pattern knows goes to the first one, with a finding.
    pub(super) fn assign(&self, components: &[String], databases: &[String]) -> (Vec<Assigned>, Vec<Finding>) {
        let mut assigned: Vec<Assigned> = components.iter().map(|component| (component.clone(), Vec::new())).collect();
        let mut findings = Vec::new();
        for database in databases {
            let owner = self.owner(components, database).or_else(|| {
                let message = format!("no pattern says whose it is; it goes with {}", components.first()?);
                let hint = "name its component in [databases.components] of the settings";
                findings.push(Finding::warning("database-of-nobody", database, message).hint(hint));
                Some(0)
            });
            if let Some((_, databases)) = owner.and_then(|owner| assigned.get_mut(owner)) {
                databases.push(database.clone());
            }
        }
        (assigned, findings)
    }

    /// The component's place among those of the server.
    fn owner(&self, components: &[String], database: &str) -> Option<usize> {
        if components.len() == 1 {
            return Some(0);
        }
        let matching = |catch_all: bool| {
            components.iter().position(|component| {
                let globs = self.0.get(component).into_iter().flatten();
                globs.into_iter().any(|glob| (glob.glob().glob() == ALL) == catch_all && glob.is_match(database))
            })
        };
        matching(false).or_else(|| matching(true))
    }
}

fn matcher(component: &str, pattern: &str) -> Result<GlobMatcher> {
    let glob = Glob::new(pattern).map_err(|cause| {
        Error::new(Kind::Usage, format!("databases.components: {component}: {pattern}")).because(cause)
    })?;
    Ok(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_is_somebodys() {
        let own = [("search".to_owned(), vec!["search".to_owned()])].into();
        let owners = Owners::with(&own).expect("patterns");
        let assign = |components: &[&str], databases: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let (assigned, findings) = owners.assign(&texts(components), &texts(databases));
            (assigned.into_iter().map(|(_, databases)| databases.join(" ")).collect::<Vec<_>>(), findings.len())
        };
        let all = ["auditlog", "auth", "jobs", "search", "zabbix"];
        assert_eq!(assign(&["monitoring"], &all), (vec!["auditlog auth jobs search zabbix".into()], 0));
        assert_eq!(
            assign(&["component-database", "auditlog-database", "monitoring", "search"], &all),
            (vec!["auth jobs".into(), "auditlog".into(), "zabbix".into(), "search".into()], 0)
        );
        assert_eq!(
            assign(&["auditlog-database", "monitoring"], &all),
            (vec!["auditlog auth jobs search".into(), "zabbix".into()], 3)
        );
        assert!(Owners::with(&[("x".to_owned(), vec!["[".to_owned()])].into()).is_err());
    }
}
