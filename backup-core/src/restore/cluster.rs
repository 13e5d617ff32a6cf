//! The cluster that the bundle is of: its hosts, and what they know this machine by.

use std::net::IpAddr;

use super::source::Source;
use super::{Plan, Request};
use crate::bundle::manifest::Host;
use crate::cluster::ClusterConf;
use crate::cluster::hosts::{self, Record, compare, own_addresses};
use crate::finding::{Finding, Findings};
use crate::settings::RestoreSettings;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// What a plan keeps of the hosts.
#[derive(Default)]
pub(super) struct Hosts {
    /// Those that are down.
    pub(super) down: Vec<String>,
    /// Who they are.
    pub(super) known: Option<Vec<Host>>,
}

/// Looks at every host of the `cluster.conf` that is restored, and at this machine's own addresses.
pub(super) async fn look(
    source: &Source,
    request: &Request,
    settings: &RestoreSettings,
    context: &Context,
    findings: &mut Findings,
) -> Hosts {
    let hosts = findings.keep("cluster-conf", "cluster.conf", hosts_of(source)).unwrap_or_default();
    if !hosts.is_empty() {
        context.phase(format!("look at {} hosts", hosts.len()));
    }
    let seen = findings.keep("hosts", "hosts", hosts::look(&hosts, settings.ssh_port, context).await);
    let (seen, manifest) = (seen.unwrap_or_default(), source.manifest());
    findings.all.extend(compare(&seen, &manifest.hosts, &request.allowed));
    findings.all.extend(address_finding(&manifest.source.addresses, &own_addresses()));
    let down = seen.iter().filter(|seen| seen.answer.is_none()).map(|seen| seen.host.clone()).collect();
    let mut known = manifest.hosts.clone();
    let accepted = |host: &str| request.allowed.host_key.iter().any(|name| name == host);
    for seen in seen.iter().filter(|seen| accepted(&seen.host) && !seen.keys.is_empty()) {
        known.retain(|host| host.host != seen.host);
        known.push(seen.record());
    }
    Hosts { down, known: Some(known) }
}

/// Keeps who the hosts are for what is done with them afterwards.
pub(super) fn remember(plan: &Plan, context: &Context) -> Result<()> {
    let Some(hosts) = &plan.hosts else { return Ok(()) };
    Record { bundle: plan.bundle.clone(), hosts: hosts.clone() }.keep(context)
}

/// Looks at the hosts once more, for those that answered when the restore began and don't any more.
pub(super) async fn look_again(source: &Source, plan: &Plan, context: &Context) -> Result<Vec<Finding>> {
    let mut hosts = hosts_of(source)?;
    hosts.retain(|host| !plan.hosts_down.contains(host));
    let seen = hosts::look(&hosts, plan.ssh_port, context).await?;
    let gone = seen.into_iter().filter(|seen| seen.answer.is_none());
    let finding = |host: String| {
        Finding::warning("host-gone", host, "it answered before the restore, and does not any more")
            .hint("a deploy won't reach it: look into it first")
    };
    Ok(gone.map(|seen| finding(seen.host)).collect())
}

fn hosts_of(source: &Source) -> Result<Vec<String>> {
    let bytes = source.cluster_conf()?;
    let text = String::from_utf8(bytes)
        .map_err(|cause| Error::new(Kind::Unsupported, "read the cluster.conf that is restored").because(cause))?;
    let cluster = ClusterConf::parse(&text).context(|| "read the cluster.conf that is restored".into())?;
    Ok(cluster.hosts().into_iter().map(Into::into).collect())
}

/// Agents know the orchestrator by its address, so a machine that takes its place had best have the same.
fn address_finding(before: &[IpAddr], now: &[IpAddr]) -> Option<Finding> {
    let list = |addresses: &[IpAddr]| match addresses {
        [] => String::from("none"),
        some => some.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "),
    };
    if before.is_empty() {
        return None;
    }
    if before.iter().any(|address| now.contains(address)) {
        return Some(Finding::info(
            "address",
            "this machine",
            format!("has an address that the bundle's had: {}", list(now)),
        ));
    }
    let message = format!("has other addresses than the bundle's had: {} instead of {}", list(now), list(before));
    Some(Finding::warning("address-differs", "this machine", message).hint(
        "give it the old address if it takes the old machine's place; otherwise deploy after the restore, so that the \
         agents learn of the new one, and see that it may reach every host",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_in_common_is_enough() {
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        let code = |before: &[IpAddr], now: &[IpAddr]| address_finding(before, now).map(|finding| finding.code);
        assert_eq!(code(&[a, b], &[b, c]).as_deref(), Some("address"));
        assert_eq!(code(&[a], &[b, c]).as_deref(), Some("address-differs"));
        assert_eq!(code(&[a], &[]).as_deref(), Some("address-differs"));
        assert_eq!(code(&[], &[a]), None);
    }
}
