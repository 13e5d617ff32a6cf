//! What this tool reads from a `cluster.conf`; everything else in it is kept.

use std::collections::HashSet;

use super::lines::Lines;
use super::secret::Secret;
use super::value::{Map, Value};
use crate::{Error, Kind, Result};

/// A zone, or server group: machines that take the same roles.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Addresses of its machines.
    pub hosts: Vec<String>,
    /// Component tags that its machines may take.
    pub suitable_tags: Vec<String>,
}

/// Where the platform itself keeps database backups in S3.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseBackups {
    /// Access key, if one is given.
    pub access_key: Option<Secret>,
    /// Secret key, if one is given.
    pub secret_key: Option<Secret>,
    /// A region, or a host such as `s3.amazonaws.com`.
    pub endpoint: Option<String>,
    /// Name of the bucket.
    pub bucket: Option<String>,
}

/// A typed view of a `cluster.conf`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConf {
    /// `chef.continuum.cluster_name`.
    pub cluster_name: Option<String>,
    /// `chef.continuum.base_domain`.
    pub base_domain: Option<String>,
    /// `machines`, in the order of the file.
    pub zones: Vec<Zone>,
    /// `components`: how many of each tag.
    pub components: Vec<(String, i64)>,
    /// `chef.continuum.database_backups`.
    pub database_backups: Option<DatabaseBackups>,
    /// The whole file, unknown keys included.
    pub all: Map,
    /// Where its values stand.
    pub lines: Lines,
    /// The first line that is not UTF-8, where one is not; nothing that is read here stands in one.
    pub not_utf8: Option<usize>,
}

impl ClusterConf {
    /// Reads the text of a `cluster.conf`.
    ///
    /// # Errors
    /// [`Kind::Usage`] where the text can't be understood, or a known key has a value of another kind.
    pub fn parse(source: &str) -> Result<Self> {
        let (all, lines) = super::parser::parse_with_lines(source)
            .map_err(|error| Error::new(Kind::Usage, "the text can't be understood").because(error))?;
        let continuum = Place::root(&all).at("chef")?.at("continuum")?;
        Ok(Self {
            cluster_name: continuum.text("cluster_name")?,
            base_domain: continuum.text("base_domain")?,
            zones: zones(&Place::root(&all).at("machines")?)?,
            components: components(&Place::root(&all).at("components")?)?,
            database_backups: database_backups(&continuum.at("database_backups")?)?,
            all: all.clone(),
            lines,
            not_utf8: None,
        })
    }

    /// The line of the value at a path of keys and of numbers of items.
    pub fn line(&self, path: &[&str]) -> Option<usize> {
        self.lines.of(&self.all, path)
    }

    /// Every host of every zone, each once.
    pub fn hosts(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.zones.iter().flat_map(|zone| &zone.hosts).map(String::as_str).filter(|host| seen.insert(*host)).collect()
    }
}

/// A map and the keys that lead to it, for errors.
struct Place<'m> {
    path: String,
    map: Option<&'m Map>,
}

impl<'m> Place<'m> {
    fn root(map: &'m Map) -> Self {
        Self { path: String::new(), map: Some(map) }
    }

    fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn at(&self, key: &str) -> Result<Place<'m>> {
        match self.map.and_then(|map| map.get(key)) {
            None => Ok(Place { path: self.path(key), map: None }),
            Some(value) => self.below(key, value),
        }
    }

    fn below(&self, key: &str, value: &'m Value) -> Result<Place<'m>> {
        let path = self.path(key);
        match value {
            Value::Map(map) => Ok(Place { path, map: Some(map) }),
            other => Err(wrong(&path, "a map", other)),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        let Some(value) = self.map.and_then(|map| map.get(key)) else { return Ok(None) };
        value.as_text().map(Some).ok_or_else(|| wrong(&self.path(key), "a string", value))
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        let path = self.path(key);
        let Some(value) = self.map.and_then(|map| map.get(key)) else { return Ok(Vec::new()) };
        let Value::Array(items) = value else { return Err(wrong(&path, "an array of strings", value)) };
        items.iter().map(|item| item.as_text().ok_or_else(|| wrong(&path, "an array of strings", item))).collect()
    }
}

fn wrong(path: &str, expected: &str, found: &Value) -> Error {
    Error::new(Kind::Usage, format!("{path}: expected {expected}, found {}", found.kind()))
}

fn zones(machines: &Place<'_>) -> Result<Vec<Zone>> {
    let zones = machines.map.map(Map::effective).into_iter().flatten();
    zones
        .map(|(name, value)| {
            let zone = machines.below(name, value)?;
            Ok(Zone { name: name.into(), hosts: zone.texts("hosts")?, suitable_tags: zone.texts("suitable_tags")? })
        })
        .collect()
}

fn components(components: &Place<'_>) -> Result<Vec<(String, i64)>> {
    let pairs = components.map.map(Map::effective).into_iter().flatten();
    pairs
        .map(|(tag, count)| match count {
            Value::Integer(count) if *count >= 0 => Ok((tag.into(), *count)),
            other => Err(wrong(&components.path(tag), "how many, a whole number", other)),
        })
        .collect()
}

fn database_backups(place: &Place<'_>) -> Result<Option<DatabaseBackups>> {
    if place.map.is_none() {
        return Ok(None);
    }
    let filled = |key: &str| Ok::<_, Error>(place.text(key)?.filter(|text| !text.is_empty()));
    Ok(Some(DatabaseBackups {
        access_key: filled("access_key")?.map(Secret::new),
        secret_key: filled("secret_key")?.map(Secret::new),
        endpoint: filled("endpoint")?,
        bucket: filled("bucket")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = r#"
provisioner { type: generic }
machines: {
  central: {                       # a zone
    hosts: ['10.0.0.11', '10.0.0.12']
    suitable_tags: [ "component-database" "api-server" ]
  }
  edge: { hosts: ['10.0.0.12', 10.0.0.13] }
}
components: { api-server: 2, component-database: 1 }
chef: {
  "continuum": {
    "cluster_name": "example"
    "base_domain": "example.com"
    "tls_key": (-----BEGIN PRIVATE KEY-----
hunter2
-----END PRIVATE KEY-----
)
    "database_backups": {
      "access_key": "hunter2", "secret_key": "hunter2",
      "endpoint": "",                # S3 region
      "bucket": "backups"
    }
  }
}
"#;

    #[test]
    fn a_real_file_is_understood_and_its_secrets_do_not_print() {
        let conf = ClusterConf::parse(REAL).expect("a good file");
        assert_eq!(conf.cluster_name.as_deref(), Some("example"));
        assert_eq!(conf.hosts(), ["10.0.0.11", "10.0.0.12", "10.0.0.13"]);
        assert_eq!(conf.zones[0].suitable_tags, ["component-database", "api-server"]);
        assert_eq!(conf.components, [("api-server".to_owned(), 2), ("component-database".to_owned(), 1)]);
        let backups = conf.database_backups.clone().expect("the section");
        assert_eq!((backups.bucket.as_deref(), backups.endpoint.as_deref()), (Some("backups"), None));
        assert_eq!(backups.secret_key.as_ref().map(Secret::expose), Some("hunter2"));
        assert!(conf.all.at(&["provisioner", "type"]).is_some(), "unknown keys are kept");
        assert!(!format!("{conf:?}").contains("hunter2"));
    }

    #[test]
    fn a_value_of_another_kind_is_named_by_its_path() {
        let cases = [
            (
                "machines: { central: { hosts: 'x' } }",
                "machines.central.hosts: expected an array of strings, found a string",
            ),
            ("components: { router: many }", "components.router: expected how many, a whole number, found a string"),
            ("chef: { continuum: [] }", "chef.continuum: expected a map, found an array"),
        ];
        for (source, message) in cases {
            assert_eq!(ClusterConf::parse(source).expect_err("a bad file").to_string(), message);
        }
    }
}
