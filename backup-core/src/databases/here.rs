//! The databases of the machine that this runs on.

use chrono::{DateTime, Utc};

use super::{Done, Fate, Request, Role, Server, Told, rule};
use crate::backup::{self, Outcome, prune_after};
use crate::component::postgres;
use crate::encryption::Identities;
use crate::event::Event;
use crate::finding::Finding;
use crate::names::Series;
use crate::store::{Address, Store, blocking, open_stored};
use crate::{Cause, Context, Error, ErrorContext, Kind, Result};

/// Attempts at a dump that a standby's master gets in the way of.
const ATTEMPTS: usize = 3;

/// Backs up the databases of every component that this machine has, as `server` says. One that fails does not hold up the others.
///
/// # Errors
/// Where PostgreSQL can't be looked at; [`Kind::Interrupted`].
pub(super) async fn back_up(
    server: &Server,
    told: Told<'_>,
    request: &Request,
    context: &Context,
) -> Result<Vec<Done>> {
    let backup = of_server(told);
    let told = Told { backup: &backup, ..told };
    context.phase(format!("look at the databases of {}", server.host));
    let found = postgres::find(&backup.postgres(&[]), context).await;
    let found = found.context(|| format!("back up the databases of {}", server.host))?;
    let role = if found.server.standby { Role::Standby } else { Role::Master };
    let names: Vec<String> = found.databases.iter().map(|facts| facts.name.clone()).collect();
    let (assigned, findings) = told.own.owners.assign(&server.components, &names);
    // Its connection is not needed while others read.
    drop(found);
    findings.iter().for_each(|finding| context.observer.event(&Event::Finding(finding.clone())));
    let mut all = Vec::new();
    for (component, databases) in assigned {
        let series = server.series(&component);
        let mut done = Done {
            host: server.host.clone(),
            series,
            role: Some(role),
            databases,
            fate: Fate::Left { why: String::new() },
            warnings: if all.is_empty() { findings.clone() } else { Vec::new() },
            pruned: Vec::new(),
        };
        done.fate = match one(&done.series, (role, &done.databases), told, request, context).await {
            Ok(fate) => fate,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => Fate::failed(&error),
        };
        if let (Fate::Made(outcome), false) = (&done.fate, request.keep_all) {
            let mut to = rule::places(role, told.own.bucket.as_ref(), &directory(told), false);
            to.retain(|place| !request.without.contains(&place.to_string()));
            let (pruned, warnings) = prune_after(&done.series, outcome, &to, told.backup, context).await;
            done.pruned = pruned;
            done.warnings.extend(warnings);
        }
        all.push(done);
    }
    Ok(all)
}

/// The settings for databases that are not the orchestrator's own.
fn of_server(told: Told<'_>) -> backup::Settings {
    backup::Settings {
        connection: told.own.connection.clone(),
        databases: Vec::new(),
        files: Vec::new(),
        ..told.backup.clone()
    }
}

fn directory(told: Told<'_>) -> Address {
    Address::Directory(told.own.directory.clone())
}

async fn one(
    series: &Series,
    (role, databases): (Role, &[String]),
    told: Told<'_>,
    request: &Request,
    context: &Context,
) -> Result<Fate> {
    if databases.is_empty() {
        let error = Error::new(Kind::NotFound, format!("back up {series}: no database of it is on this server"));
        return Err(error.hint("say in [databases.components] of the settings what its databases are called"));
    }
    let directory = directory(told);
    let left_out = |place: &Address| request.without.contains(&place.to_string());
    let bucket = told.own.bucket.as_ref().filter(|bucket| !left_out(bucket));
    let mut covered = false;
    if let (Role::Standby, Some(bucket)) = (role, bucket) {
        covered = is_covered(series, bucket, told, context).await?;
    }
    let mut to = rule::places(role, bucket, &directory, covered);
    if to.is_empty() {
        return Ok(Fate::Left { why: "it is a standby, and the bucket has today's bundle".into() });
    }
    to.retain(|place| !left_out(place));
    if to.is_empty() {
        let error = Error::new(Kind::Usage, format!("back up {series}: --without-store leaves none of the stores"));
        return Err(error.hint("the bucket and databases.directory of the settings are its stores"));
    }
    if request.dry_run {
        return Ok(Fate::Would { to: to.iter().map(Address::to_string).collect() });
    }
    let wanted = backup::Request {
        series: series.clone(),
        to,
        recipients: request.recipients.clone(),
        databases: databases.to_vec(),
        ..backup::Request::default()
    };
    dump(&wanted, role, told, context).await.map(Fate::Made)
}

/// Makes the bundle. What a standby ends, because its master's changes can't wait, shows in many ways; so what fails there is tried again.
async fn dump(wanted: &backup::Request, role: Role, told: Told<'_>, context: &Context) -> Result<Outcome> {
    let again =
        |error: &Error| role == Role::Standby && error.kind() == Kind::Failed && !error.came_of(Cause::DiskFull);
    // Large futures go onto the heap: of several one would hold all.
    let run = || Box::pin(backup::run(told.backup, wanted, None, context));
    for attempt in 1..ATTEMPTS {
        match run().await {
            Err(error) if again(&error) => {
                let message = format!("the standby ended attempt {attempt} of {ATTEMPTS}; it begins anew");
                let message = format!("{message}: {}", error.chain().join(": "));
                let finding = Finding::warning("recovery-conflict", wanted.series.to_string(), message);
                context.observer.event(&Event::Finding(finding));
            }
            made => return made,
        }
    }
    run().await.map_err(|error| {
        if !again(&error) || !error.came_of(Cause::CutOff) {
            return error;
        }
        let doing = format!("dump the standby: it ended each of {ATTEMPTS} attempts");
        Error::new(Kind::Failed, doing).because(error).hint(
            "set hot_standby_feedback = on there, or raise max_standby_streaming_delay, so that its master's changes wait",
        )
    })
}

/// Whether the bucket has a bundle of the series that was made today (UTC). One that can't be opened counts for nothing: whose
/// it is can't be seen.
async fn is_covered(series: &Series, bucket: &Address, told: Told<'_>, context: &Context) -> Result<bool> {
    let store = told.backup.access.store(bucket.clone(), context)?;
    let identities = Identities::read(&told.backup.access.identities).unwrap_or_default();
    let (series, cluster, now) = (series.clone(), told.backup.cluster.cluster_name.clone(), context.now());
    let look = blocking(move || has_todays(&*store, &series, cluster.as_deref(), now, &identities));
    context.until_cancelled(look).await.context(|| "look whether the master has backed up today".into())
}

fn has_todays(
    store: &dyn Store,
    series: &Series,
    cluster: Option<&str>,
    now: DateTime<Utc>,
    identities: &Identities,
) -> Result<bool> {
    let today = |time: DateTime<Utc>| time.date_naive() == now.date_naive();
    let listed = match store.list() {
        Err(error) if error.kind() == Kind::NotFound => return Ok(false),
        listed => listed?,
    };
    let candidates = listed.iter().rev().map(|stored| &stored.name);
    let mut candidates =
        candidates.filter(|name| name.bundle.component() == series.component && today(name.bundle.time()));
    Ok(candidates.any(|name| {
        let opened = open_stored(store, identities, name).ok().flatten();
        opened.is_some_and(|bundle| {
            let source = &bundle.manifest().source;
            source.cluster.as_deref() == cluster && source.group == series.group
        })
    }))
}
