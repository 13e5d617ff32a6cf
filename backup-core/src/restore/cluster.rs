//! The cluster that the bundle is of: its hosts, and what they know this machine by.

use std::net::IpAddr;

use super::Settings;
use super::ownership::{self, Shown};
use super::source::Source;
use super::{Plan, Request};
use crate::bundle::manifest::control_plane::Host;
use crate::cluster::ClusterConf;
use crate::cluster::agent::Remote;
use crate::cluster::hosts::{self, Record, SSH_PORT, Seen, ask_if_let_in, compare, own_addresses};
use crate::finding::{Finding, Findings, Severity};
use crate::{Context, ErrorContext, Kind, Result};

/// What a plan keeps of the hosts.
#[derive(Default)]
pub(super) struct Hosts {
    /// Those that are down.
    pub(super) down: Vec<String>,
    /// Who they are.
    pub(super) known: Option<Vec<Host>>,
    /// Who owns their cluster.
    pub(super) ownership: Option<Shown>,
}

/// Looks at every host of the `cluster.conf` that is restored, and at this machine's own addresses.
pub(super) async fn look(
    source: &Source,
    request: &Request,
    settings: &Settings,
    context: &Context,
    findings: &mut Findings,
) -> Hosts {
    let remote = reach(source, request, settings);
    let conf = findings.keep("cluster-conf", "cluster.conf", conf_of(source));
    let hosts = conf.as_ref().map(hosts_of).unwrap_or_default();
    if !hosts.is_empty() {
        context.phase(hosts::looking_at(&hosts));
    }
    let seen = findings.keep("hosts", "hosts", hosts::look(&hosts, remote.login.port, context).await);
    let seen = seen.unwrap_or_default();
    findings.all.extend(compare(&seen, &source.hosts, &request.allowed));
    findings.all.extend(address_finding(&source.from.addresses, &own_addresses()));
    let down = seen.iter().filter(|seen| seen.answer.is_none()).map(|seen| seen.host.clone()).collect();
    let mut known = source.hosts.clone();
    let accepted = |host: &str| request.allowed.host_key.iter().any(|name| name == host);
    for seen in seen.iter().filter(|seen| accepted(&seen.host) && !seen.keys.is_empty()) {
        known.retain(|host| host.host != seen.host);
        known.push(seen.record());
    }
    let record = Record { bundle: source.name.clone(), hosts: known, ssh_port: Some(remote.login.port) };
    let claims = ask(&seen, &record, &remote, context, findings).await;
    let ownership = match &conf {
        Some(conf) => ownership::look((conf, source), &claims, request, settings, (context, findings)).await,
        None => None,
    };
    // Who brings a part back takes nobody's place.
    let whole = request.databases.is_empty() && request.databases_wanted() && !source.from.partial;
    let ownership = ownership.filter(|_| whole);
    Hosts { down, known: Some(record.hosts), ownership }
}

/// How the hosts are reached: by the port that is asked for, that of the settings, or the one that the bundle has.
pub(super) fn reach(source: &Source, request: &Request, settings: &Settings) -> Remote {
    let mut remote = settings.remote.clone();
    let port = request.ssh_port.or(settings.ssh_port).or(source.from.ssh_port);
    remote.login.port = port.unwrap_or(SSH_PORT);
    remote
}

/// Asks the machines that let us in for their way back, their clock, room and agent; a restore needs none of it, and a deploy will.
/// Gives what they say of their owner.
async fn ask(
    seen: &[Seen],
    record: &Record,
    remote: &Remote,
    context: &Context,
    findings: &mut Findings,
) -> Vec<(String, String)> {
    let answered = ask_if_let_in(seen, remote, Some(record), context).await;
    if let [(first, Err(error)), ..] = &answered[..]
        && answered.iter().all(|(_, said)| said.is_err())
    {
        // Nobody may be meant to.
        let message = format!("none that was asked lets us in over ssh; {}: {}", first.host, error.chain().join(": "));
        findings.all.push(Finding::unknown("hosts-not-asked", "hosts", message).hint("a deploy needs a way in"));
        return Vec::new();
    }
    let mut claims = Vec::new();
    for (seen, said) in answered {
        let found = match said {
            Ok(said) => {
                claims.extend(said.claim.clone().map(|claim| (seen.host.clone(), claim)));
                said.findings(&seen.host, &record.hosts)
            }
            // That it is another machine has been said.
            Err(error) if error.kind() == Kind::Refused => Vec::new(),
            Err(error) => vec![Finding::from_error("login-failed", &seen.host, &error)],
        };
        findings.all.extend(found.into_iter().map(|finding| finding.at_most(Severity::Warning)));
    }
    claims
}

/// Keeps who the hosts are for what is done with them afterwards.
pub(super) fn remember(plan: &Plan, context: &Context) -> Result<()> {
    let Some(hosts) = &plan.hosts else { return Ok(()) };
    Record { bundle: plan.bundle.clone(), hosts: hosts.clone(), ssh_port: Some(plan.ssh_port) }.keep(context)?;
    plan.ownership.as_ref().map_or(Ok(()), |shown| ownership::remember(shown, context))
}

/// Looks at the hosts once more, for those that answered when the restore began and don't any more.
pub(super) async fn look_again(source: &Source, plan: &Plan, context: &Context) -> Result<Vec<Finding>> {
    if source.is_of_component {
        return Ok(Vec::new());
    }
    let mut hosts = hosts_of(&conf_of(source)?);
    hosts.retain(|host| !plan.hosts_down.contains(host));
    let seen = hosts::look(&hosts, plan.ssh_port, context).await?;
    let gone = seen.into_iter().filter(|seen| seen.answer.is_none());
    let finding = |host: String| {
        Finding::warning("host-gone", host, "it answered before the restore, and does not any more")
            .hint("a deploy won't reach it: look into it first")
    };
    Ok(gone.map(|seen| finding(seen.host)).collect())
}

pub(super) fn conf_of(source: &Source) -> Result<ClusterConf> {
    ClusterConf::read(&source.files.cluster_conf()?).context(|| "read the cluster.conf that is restored".into())
}

fn hosts_of(conf: &ClusterConf) -> Vec<String> {
    conf.hosts().into_iter().map(Into::into).collect()
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
        return Some(Finding::ok(
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
