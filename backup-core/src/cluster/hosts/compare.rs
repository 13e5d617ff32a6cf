//! Compares the hosts with what a bundle recorded of them.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Seen;
use super::probe::Answer;
use crate::bundle::manifest::control_plane::Host;
use crate::finding::{Finding, Severity};

/// Problems that the operator accepts, host by host.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Hosts that may be down.
    pub unreachable: Vec<String>,
    /// Hosts whose SSH host key may have changed or be unknown.
    pub host_key: Vec<String>,
}

impl Allowed {
    /// Names that stand for no host. A typo must not count as an answer.
    fn strangers<'a>(&'a self, hosts: &'a [Seen]) -> impl Iterator<Item = &'a String> {
        let all = self.unreachable.iter().chain(&self.host_key);
        all.filter(|name| !hosts.iter().any(|seen| seen.host == **name))
    }
}

/// A finding for every host. `recorded` comes from the bundle; it is empty if the bundle is older than such records.
pub fn compare(hosts: &[Seen], recorded: &[Host], allowed: &Allowed) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for name in allowed.strangers(hosts) {
        let finding = Finding::error("host-unknown", name, "a flag names this host, but the cluster does not have it");
        findings.push(finding.hint("name hosts as cluster.conf does"));
    }
    if recorded.is_empty() && !hosts.is_empty() {
        let message = "the bundle has no SSH host keys, so nobody can tell whether the hosts are the same";
        findings.push(Finding::warning("host-keys-missing", "hosts", message));
    }
    for seen in hosts {
        let before = recorded.iter().find(|host| host.host == seen.host);
        findings.push(match &seen.answer {
            None => unreachable(seen, before, allowed),
            Some(answer) => answered(seen, answer, before, recorded.is_empty(), allowed),
        });
    }
    findings.extend(duplicates(hosts));
    findings
}

/// An error, unless its flag names the host: then a warning.
fn gate(code: &str, host: &str, message: String, flag: &str, allowed: &[String]) -> Finding {
    if allowed.iter().any(|name| name == host) {
        return Finding::warning(code, host, format!("{message}; allowed by {flag}"));
    }
    let hint = format!("find out why first; {flag} {host} continues anyway");
    Finding::error(code, host, message).hint(hint)
}

fn unreachable(seen: &Seen, before: Option<&Host>, allowed: &Allowed) -> Finding {
    let why = match seen.addresses.is_empty() {
        true => "no address for this name".into(),
        false => format!("no answer to ping, nor to SSH on port {}", seen.port),
    };
    let then = match before {
        Some(host) if !host.reachable => "; the host did not answer the backup either",
        _ => "",
    };
    gate("host-unreachable", &seen.host, format!("{why}{then}"), "--allow-unreachable", &allowed.unreachable)
}

fn answered(seen: &Seen, answer: &Answer, before: Option<&Host>, unrecorded: bool, allowed: &Allowed) -> Finding {
    let how = how(seen.port, answer);
    let key = |code, message| gate(code, &seen.host, message, "--accept-host-key", &allowed.host_key);
    let Some(recorded) = before.map(|host| &host.keys).filter(|keys| !keys.is_empty()) else {
        return if unrecorded {
            Finding::ok("host", &seen.host, how)
        } else {
            key("host-key-unknown", format!("{how}; the bundle has no SSH host key of this host{}", shown(&seen.keys)))
        };
    };
    if seen.keys.is_empty() {
        let unseen =
            key("host-key-unseen", format!("{how}; the host showed no SSH host key, expected {}", recorded.join(", ")));
        let hint = unseen.hint.clone().map(|hint| format!("{hint}; --ssh-port names another port"));
        return Finding { hint, ..unseen };
    }
    // A host may have a new key of another kind. One known key proves the host.
    if seen.keys.iter().any(|key| recorded.contains(key)) {
        return Finding::ok("host", &seen.host, format!("{how}, SSH host key unchanged"));
    }
    key("host-key-changed", seen.key_changed(recorded))
}

fn how(port: u16, answer: &Answer) -> String {
    let ssh = match (answer.ssh, answer.refused) {
        (Some(_), _) => format!("SSH is open on port {port}"),
        (None, true) => format!("SSH is refused on port {port}"),
        (None, false) => format!("SSH is silent on port {port}"),
    };
    match answer.icmp {
        Some(time) => format!("answers ping in {:.1} ms, {ssh}", time.as_secs_f64() * 1000.0),
        None => format!("answers by TCP, {ssh}"),
    }
}

fn shown(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!(", got {}", keys.join(", ")) }
}

/// Several names that have the same address.
fn duplicates(hosts: &[Seen]) -> Vec<Finding> {
    let mut first: HashMap<IpAddr, &str> = HashMap::new();
    let mut findings = Vec::new();
    for seen in hosts {
        for address in &seen.addresses {
            match first.get(address) {
                Some(other) if *other != seen.host => {
                    let message = format!("same address as {other}: {address}");
                    let finding = Finding::new(Severity::Warning, "host-duplicate", &seen.host, message);
                    findings.push(
                        finding.hint("correct cluster.conf or the name service, unless both names mean one machine"),
                    );
                }
                _ => {
                    first.insert(*address, &seen.host);
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(host: &str, address: u8, keys: &[&str]) -> Seen {
        let address = IpAddr::from([10, 0, 0, address]);
        let answer = Answer { icmp: None, ssh: Some(address), refused: false };
        let keys = keys.iter().map(|key| (*key).into()).collect();
        Seen {
            host: host.into(),
            port: 22,
            addresses: vec![address],
            answer: Some(answer),
            keys,
            public_keys: Vec::new(),
        }
    }

    fn host(name: &str, keys: &[&str]) -> Host {
        Host {
            host: name.into(),
            reachable: !keys.is_empty(),
            keys: keys.iter().map(|key| (*key).into()).collect(),
            agent: None,
        }
    }

    #[test]
    fn every_difference_has_a_finding_of_its_own() {
        let dead = Seen { answer: None, ..seen("dead", 4, &[]) };
        let hosts = [
            seen("same", 1, &["rsa A", "ed B"]),
            seen("changed", 2, &["ed X"]),
            seen("new", 3, &["ed C"]),
            dead,
            seen("silent", 5, &[]),
            seen("twin", 1, &["ed B"]),
        ];
        let recorded = [
            host("same", &["ed B"]),
            host("changed", &["ed Y"]),
            host("dead", &["ed D"]),
            host("silent", &["ed E"]),
            host("twin", &["ed B"]),
        ];
        let codes = |allowed: &Allowed| -> Vec<(String, Severity)> {
            compare(&hosts, &recorded, allowed).into_iter().map(|finding| (finding.code, finding.severity)).collect()
        };
        let expected = [
            "host",
            "host-key-changed",
            "host-key-unknown",
            "host-unreachable",
            "host-key-unseen",
            "host",
            "host-duplicate",
        ];
        let found = codes(&Allowed::default());
        assert_eq!(found.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(found.iter().filter(|(_, severity)| *severity == Severity::Error).count(), 4);
        let all = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let allowed = Allowed { unreachable: all(&["dead"]), host_key: all(&["changed", "new", "silent"]) };
        assert!(codes(&allowed).iter().all(|(_, severity)| *severity != Severity::Error));
        // Each flag speaks of one kind of finding and of one host.
        let swapped = Allowed { unreachable: allowed.host_key.clone(), host_key: allowed.unreachable.clone() };
        assert_eq!(codes(&swapped), found);
        let typo = Allowed { unreachable: all(&["daed"]), ..Allowed::default() };
        assert_eq!(codes(&typo)[0], ("host-unknown".into(), Severity::Error));
    }

    #[test]
    fn a_bundle_without_records_costs_one_warning() {
        let found = compare(&[seen("a", 1, &["ed A"]), seen("b", 2, &[])], &[], &Allowed::default());
        assert_eq!(found.iter().filter(|finding| finding.severity != Severity::Info).count(), 1);
    }
}
