//! The cluster's hosts, looked at while the databases are captured.

use tokio_util::task::AbortOnDropHandle;

use crate::bundle::manifest::control_plane::Host;
use crate::cluster::agent::Remote;
use crate::cluster::hosts::{self, Record, ask_if_let_in, records};
use crate::context::Context;
use crate::event::Event;
use crate::finding::Finding;
use crate::{Error, Kind, Result};

/// The cluster's hosts, and what those say of their owner that let us in.
pub(super) type Hosts = (Vec<Host>, Vec<(String, String)>);

/// Looks at the hosts, and asks those that let us in; the others need not.
pub(super) async fn look_at_hosts(hosts: &[String], remote: &Remote, context: &Context) -> Result<Hosts> {
    let seen = hosts::look(hosts, remote.login.port, context).await?;
    let record = Record::load(context).ok().flatten();
    let answered = ask_if_let_in(&seen, remote, record.as_ref(), context).await;
    let claims = answered.iter().filter_map(|(seen, said)| {
        let claim = said.as_ref().ok()?.claim.clone()?;
        Some((seen.host.clone(), claim))
    });
    let claims = claims.collect();
    Ok((records(&seen, &answered), claims))
}

/// What the bundle says of the cluster's hosts. That they can't be looked at is no reason to have no backup.
pub(super) async fn record_hosts(
    looking: AbortOnDropHandle<Result<Hosts>>,
    warnings: &mut Vec<Finding>,
    context: &Context,
) -> Hosts {
    let seen = looking.await.map_err(|cause| Error::new(Kind::Failed, "look at the cluster's hosts").because(cause));
    match seen.and_then(|seen| seen) {
        Ok(hosts) => hosts,
        Err(error) => {
            let finding = Finding::warning_from_error("hosts-not-recorded", "hosts", &error);
            context.observer.event(&Event::Finding(finding.clone()));
            warnings.push(finding);
            Hosts::default()
        }
    }
}

/// What a restore needs that no bundle holds: keys that could not be recorded, so that a restore can't tell whether they are the same.
pub(super) fn needs(hosts: &[Host]) -> Vec<Finding> {
    let need = |host: &Host| {
        let why = if host.reachable { "showed no SSH key" } else { "did not answer" };
        let message = format!("it {why}: a restore will want --accept-host-key for it");
        Finding::info("needs-host-key", format!("host {}", host.host), message)
    };
    hosts.iter().filter(|host| host.keys.is_empty()).map(need).collect()
}
