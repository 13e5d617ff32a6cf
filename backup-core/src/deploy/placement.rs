//! Which machine takes which components.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Components, place_of};
use crate::cluster::ClusterConf;
use crate::finding::Finding;
use crate::{Error, Kind, Result};

/// A machine of the cluster, with what it is to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name or address, as `cluster.conf` has it.
    pub host: String,
    /// The zone that it stands in.
    pub zone: String,
    /// Tags of its components, in the order of `components`.
    pub components: Vec<String>,
}

impl Machine {
    /// What operators call it: its name, or eight hexadecimal digits that are made of its address and never change.
    pub fn name(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(_) => hex::encode(&Sha256::digest(&self.host)[..4]),
            Err(_) => self.host.clone(),
        }
    }

    /// Whether it is called so: by its name or address, its zone or a tag.
    fn is_called(&self, query: &str) -> bool {
        self.name() == query
            || self.host == query
            || self.zone == query
            || self.components.iter().any(|tag| tag == query)
    }

    /// Whether a part of its name or address is this.
    fn has_part(&self, query: &str) -> bool {
        self.name().contains(query) || self.host.contains(query)
    }
}

/// The machines that a query means: those that are called so, or where none is, those with such a part in their name or address.
///
/// # Errors
/// [`Kind::NotFound`] where it means none; an empty one never means all.
pub fn matching<'m>(machines: &'m [Machine], query: &str) -> Result<Vec<&'m Machine>> {
    let called: Vec<&Machine> = machines.iter().filter(|machine| machine.is_called(query)).collect();
    let found = match called.is_empty() && !query.is_empty() {
        true => machines.iter().filter(|machine| machine.has_part(query)).collect(),
        false => called,
    };
    if found.is_empty() {
        let error = Error::new(Kind::NotFound, format!("no machine matches {query:?}"));
        return Err(error.hint("`nodes` lists them: a query is a name, an address or a part of them, a zone or a tag"));
    }
    Ok(found)
}

/// Gives every component the machines that suit it and have least to do so far, the first of them in the file: the same
/// `cluster.conf` always gives the same.
pub(super) fn place(cluster: &ClusterConf, components: &Components) -> (Vec<Machine>, Vec<Finding>) {
    let mut findings = unknown(cluster, components);
    let mut machines: Vec<Machine> = Vec::new();
    let mut lines: BTreeMap<&str, String> = BTreeMap::new();
    for zone in &cluster.zones {
        for (index, host) in zone.hosts.iter().enumerate() {
            let place = place_of(cluster, &["machines", &zone.name, "hosts", &index.to_string()]);
            if !is_host(host) {
                let message = format!("machines.{}: {host:?} is no name or address of a host", zone.name);
                findings.push(Finding::error("host-invalid", place, message));
                continue;
            }
            if let Some(first) = lines.get(host.as_str()) {
                let message = format!("{host} is a machine of zone {} already: {first}", zone_of(&machines, host));
                findings.push(Finding::error("host-twice", place, message).hint("a machine stands in one zone, once"));
                continue;
            }
            lines.insert(host, place);
            machines.push(Machine { host: host.clone(), zone: zone.name.clone(), components: Vec::new() });
        }
    }
    if machines.is_empty() && findings.is_empty() {
        findings.push(Finding::error("no-machines", "cluster.conf", "it names no machines"));
    }
    for (tag, count) in &cluster.components {
        let mut suitable: Vec<usize> = (0..machines.len()).filter(|at| suits(cluster, &machines[*at], tag)).collect();
        let wanted = usize::try_from(*count).unwrap_or(usize::MAX);
        if wanted > suitable.len() && components.knows(tag) {
            findings.push(too_few(cluster, tag, wanted, suitable.len()));
        }
        suitable.sort_by_key(|at| machines[*at].components.len());
        for at in suitable.into_iter().take(wanted) {
            machines[at].components.push(tag.clone());
        }
    }
    (machines, findings)
}

/// Whether a text can be a host's name or address. Others could be taken for something else by a program that gets them: an
/// option, a part of a command.
fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._:%-".contains(c);
    !text.is_empty() && text.len() <= 255 && !text.starts_with('-') && text.chars().all(plain)
}

fn zone_of<'m>(machines: &'m [Machine], host: &str) -> &'m str {
    machines.iter().find(|machine| machine.host == host).map_or("", |machine| &machine.zone)
}

fn suits(cluster: &ClusterConf, machine: &Machine, tag: &str) -> bool {
    let zone = cluster.zones.iter().find(|zone| zone.name == machine.zone);
    zone.is_some_and(|zone| zone.suitable_tags.iter().any(|suitable| suitable == tag))
}

fn too_few(cluster: &ClusterConf, tag: &str, wanted: usize, suitable: usize) -> Finding {
    let message = match suitable {
        0 => format!("components.{tag}: no machine is suitable, and {wanted} are wanted"),
        1 => format!("components.{tag}: one machine is suitable, and {wanted} are wanted"),
        some => format!("components.{tag}: {some} machines are suitable, and {wanted} are wanted"),
    };
    let hint = format!("add {tag} to the suitable_tags of a zone that has machines left, or want fewer");
    Finding::error("component-unplaceable", place_of(cluster, &["components", tag]), message).hint(hint)
}

/// Tags that no component has: a slip of the fingers would leave a machine without what it was meant for.
fn unknown(cluster: &ClusterConf, components: &Components) -> Vec<Finding> {
    let suitable = cluster.zones.iter().flat_map(|zone| {
        let path = |index: usize| vec!["machines".into(), zone.name.clone(), "suitable_tags".into(), index.to_string()];
        zone.suitable_tags.iter().enumerate().map(move |(index, tag)| (tag, path(index)))
    });
    let counted = cluster.components.iter().map(|(tag, _)| (tag, vec!["components".into(), tag.clone()]));
    let unknown = suitable.chain(counted).filter(|(tag, _)| !components.knows(tag));
    let finding = |(tag, path): (&String, Vec<String>)| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let hint = match components.nearest(tag) {
            Some(near) => format!("did you mean {near}? Others belong into [deploy.components] of the settings"),
            None => "if it is right, add it to [deploy.components] of the settings, with what it needs".into(),
        };
        Finding::error("tag-unknown", place_of(cluster, &path), format!("no component has the tag {tag}")).hint(hint)
    };
    unknown.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(source: &str) -> (Vec<Machine>, Vec<(String, String)>) {
        let cluster = ClusterConf::parse(source).expect("a good file");
        let (machines, findings) = place(&cluster, &Components::default());
        (machines, findings.into_iter().map(|finding| (finding.code, finding.subject)).collect())
    }

    #[test]
    fn components_go_where_they_suit_and_spread() {
        let (machines, findings) = placed(
            "machines: { a: { hosts: [x, y], suitable_tags: [router, nats-server] }\n b: { hosts: [z], suitable_tags: [vault] } }\n\
             components: { router: 1, nats-server: 2, vault: 1 }",
        );
        assert_eq!(findings, []);
        let on: Vec<Vec<&str>> =
            machines.iter().map(|machine| machine.components.iter().map(String::as_str).collect()).collect();
        assert_eq!(on, [vec!["router", "nats-server"], vec!["nats-server"], vec!["vault"]]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let (_, findings) = placed(
            "machines: {\n a: {\n  hosts: [\n   x\n   y\n   x ]\n  suitable_tags: [router\n rooter]\n }\n}\ncomponents: {\n router: 3\n \
             vault: 1\n}",
        );
        let expected = [
            ("tag-unknown", "cluster.conf, line 8"),
            ("host-twice", "cluster.conf, line 6"),
            ("component-unplaceable", "cluster.conf, line 12"),
            ("component-unplaceable", "cluster.conf, line 13"),
        ];
        assert_eq!(findings, expected.map(|(code, place)| (code.to_owned(), place.to_owned())));
    }
}
