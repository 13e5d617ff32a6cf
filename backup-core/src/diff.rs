//! What differs between two pictures of a control plane: bundles, or a bundle and what is live.

mod bundle;
mod live;
mod rows;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub use bundle::of_bundle;
pub use live::of_live;
pub use rows::{DatabaseRows, Rows, TableRows, of_bundles as rows_of_bundles};

use crate::cluster::secret::{HIDDEN, is_secret, may_hold_a_secret};
use crate::cluster::{ClusterConf, Map, Value};

/// What is said of a file with holes, which a bundle stores in another form than a disk does.
const HOLES: &str = "file with holes";

/// A control plane as far as two can be compared: every fact under its area and subject.
#[derive(Default)]
pub struct Picture {
    facts: BTreeMap<(Area, String), Fact>,
    /// The files and trees that it was made of, where it is of a bundle.
    trees: Vec<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Fact {
    text: String,
    /// Whether the text must not be shown.
    secret: bool,
}

impl Fact {
    fn shown(&self) -> String {
        if self.secret { HIDDEN.into() } else { self.text.clone() }
    }
}

/// What a difference is about. What a restore would lose is worst where it stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// A database, by its owner.
    Database,
    /// A table, by its number of rows.
    Table,
    /// An extension, by its version.
    Extension,
    /// A file, by its content.
    File,
    /// A host, by the zone that it is in.
    Host,
    /// A component's tag, by how many there are of it.
    Tag,
    /// Any other key of `cluster.conf`, by its value.
    Config,
    /// The release.
    Release,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about.
    pub area: Area,
    /// Which one.
    pub subject: String,
    /// As it is in the bundle; none where it isn't there.
    pub bundle: Option<String>,
    /// As it is in the other one.
    pub other: Option<String>,
    /// Whether something of the other one would be gone after a restore of the bundle.
    pub lost: bool,
    /// Whether the other one alone has it, in a database or a tree that the bundle does not bring back: it stays as it is.
    pub untouched: bool,
}

impl Picture {
    fn note(&mut self, area: Area, subject: impl Into<String>, fact: impl Into<String>) {
        self.facts.insert((area, subject.into()), Fact { text: fact.into(), secret: false });
    }

    /// Hosts, tags and every other key of a `cluster.conf`; secrets are masked.
    fn note_cluster(&mut self, cluster: &ClusterConf) {
        for zone in &cluster.zones {
            zone.hosts.iter().for_each(|host| self.note(Area::Host, host, &zone.name));
        }
        for (tag, count) in &cluster.components {
            self.note(Area::Tag, tag, count.to_string());
        }
        self.note_map("", &cluster.all);
    }

    fn note_map(&mut self, above: &str, map: &Map) {
        for (key, value) in map.effective() {
            let path = if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
            // They are compared by themselves.
            let known = path == "components" || (path.starts_with("machines.") && key == "hosts");
            match value {
                Value::Map(map) if path != "components" => self.note_map(&path, map),
                value if !known => drop(self.facts.insert((Area::Config, path), config(key, value))),
                _ => {}
            }
        }
    }
}

fn config(key: &str, value: &Value) -> Fact {
    // Inside of lists secrets hide themselves, and so they compare as the same.
    let text = value.as_text().unwrap_or_else(|| format!("{value:?}"));
    Fact { secret: is_secret(key) || may_hold_a_secret(&text), text }
}

/// All that differs, what would be lost first.
pub fn diff(bundle: &Picture, other: &Picture) -> Vec<Difference> {
    let mut keys: Vec<&(Area, String)> = bundle.facts.keys().chain(other.facts.keys()).collect();
    keys.sort();
    keys.dedup();
    let is_untouched = |key: &(Area, String)| !bundle.touches(other, key);
    let mut differences: Vec<Difference> = keys
        .into_iter()
        .filter_map(|key| {
            let (bundle, other) = (bundle.facts.get(key), other.facts.get(key));
            // Nobody may have said which release runs here.
            if bundle == other || (key.0 == Area::Release && (bundle.is_none() || other.is_none())) {
                return None;
            }
            let untouched = is_untouched(key);
            let [bundle, other] = [bundle, other].map(|fact| fact.map(Fact::shown));
            let lost = !untouched && is_lost(key.0, bundle.as_deref(), other.as_deref());
            Some(Difference { area: key.0, subject: key.1.clone(), bundle, other, lost, untouched })
        })
        .collect();
    differences.sort_by_key(|difference| (!difference.lost, difference.untouched));
    differences
}

impl Picture {
    /// Names of the databases.
    fn databases(&self) -> impl Iterator<Item = &str> {
        self.facts.keys().filter(|(area, _)| *area == Area::Database).map(|(_, name)| name.as_str())
    }

    /// Whether a restore of this bundle touches what another one has.
    fn touches(&self, other: &Self, (area, subject): &(Area, String)) -> bool {
        match area {
            Area::Database => self.databases().any(|name| name == subject),
            Area::Table | Area::Extension => {
                let is_in = |name: &&str| subject.strip_prefix(*name).is_some_and(|rest| rest.starts_with(": "));
                let database = self.databases().chain(other.databases()).filter(is_in).max_by_key(|name| name.len());
                database.is_some_and(|database| self.databases().any(|name| name == database))
            }
            Area::File => self.trees.iter().any(|tree| {
                let rest = subject.strip_prefix(tree.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || tree.ends_with('/'))
            }),
            Area::Host | Area::Tag | Area::Config | Area::Release => true,
        }
    }
}

/// A restore takes away what the bundle has not, and rows that it has fewer of.
fn is_lost(area: Area, bundle: Option<&str>, other: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    match area {
        Area::Table => number(other) > number(bundle) || (other.is_some() && bundle.is_none()),
        Area::Release => false,
        _ => other.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(conf: &str, facts: &[(Area, &str, &str)]) -> Picture {
        let mut picture = Picture::default();
        picture.note_cluster(&ClusterConf::parse(conf).expect("a cluster.conf"));
        facts.iter().for_each(|(area, subject, fact)| picture.note(*area, *subject, *fact));
        picture
    }

    #[test]
    fn what_would_be_lost_comes_first_and_secrets_stay_hidden() {
        let bundle = picture(
            "machines { a { hosts: [h1, h2] } }, components { router: 1 }, chef { secret_key: hunter2, domain: x }",
            &[
                (Area::Table, "d: public.t", "5"),
                (Area::Table, "d: public.same", "1"),
                (Area::Database, "gone", "o"),
                (Area::Database, "d", "o"),
            ],
        );
        let bundle = Picture { trees: vec!["/etc/app".into()], ..bundle };
        let live = picture(
            "machines { a { hosts: [h1] }, b { hosts: [h3] } }, components { router: 2 }, chef { secret_key: hunter3, domain: x }",
            &[
                (Area::Database, "d", "o"),
                (Area::Database, "d: 2", "o"),
                (Area::Table, "d: 2: public.t", "9"),
                (Area::File, "/etc/app/new", "1 bytes"),
                (Area::File, "/etc/application", "1 bytes"),
                (Area::Table, "d: public.t", "7"),
                (Area::Table, "d: public.same", "1"),
                (Area::Table, "d: public.new", "0"),
            ],
        );
        let found = diff(&bundle, &live);
        let shown: Vec<String> =
            found.iter().map(|d| format!("{}{} {}", if d.lost { "lost " } else { "" }, d.area, d.subject)).collect();
        let untouched: Vec<&str> = found.iter().filter(|d| d.untouched).map(|d| d.subject.as_str()).collect();
        assert_eq!(untouched, ["d: 2", "d: 2: public.t", "/etc/application"]);
        let expected = [
            "lost table d: public.new",
            "lost table d: public.t",
            "lost file /etc/app/new",
            "lost host h3",
            "lost tag router",
            "lost config chef.secret_key",
            "database gone",
            "host h2",
            "database d: 2",
            "table d: 2: public.t",
            "file /etc/application",
        ];
        assert_eq!(shown, expected);
        assert!(!format!("{found:?}").contains("hunter"));
        assert!(diff(&bundle, &bundle).is_empty());
    }
}
