//! Which databases come back, and whether the server takes them.

use std::collections::HashSet;

use rustix::fs::statvfs;

use super::names::beside;
use super::{Asked, Planned, Source, roles};
use crate::bundle::manifest::Database;
use crate::bundle::reader::OpenBundle;
use crate::component::postgres::plain::Contents;
use crate::component::postgres::{self, Names, Target};
use crate::finding::{Finding, Findings, Severity, bytes};
use crate::{Error, Kind, Result};

/// What else is written while a database grows: its log, and room to sort its indexes.
const ROOM: u64 = 2;

/// What a bundle of somebody unknown could do by programs that are too old. A drill's have nothing that they could reach.
pub(super) fn unsafe_tools(source: &Source, asked: &Asked, target: &Target) -> Option<Finding> {
    if !matches!(source, Source::Bundle(_)) || asked.proved {
        return None;
    }
    if asked.allow_old_clients {
        return postgres::unsafe_tools(&target.tools, Severity::Warning);
    }
    let finding = postgres::unsafe_tools(&target.tools, Severity::Error)?;
    let hint = finding.hint.clone().unwrap_or_default();
    Some(finding.hint(format!("{hint}; if you know who made the bundle, --allow-old-clients goes on all the same")))
}

/// What of the databases runs with more rights than whoever makes it run, by the bundle's word. A drill's server ends before that matters.
pub(super) fn later_powers(source: &Source, asked: &Asked) -> Vec<Finding> {
    let Source::Bundle(bundle) = source else { return Vec::new() };
    let chosen = asked.chosen(source.databases());
    chosen.filter_map(|(_, database, name)| later_powers_of(bundle, name, database)).collect()
}

fn later_powers_of(bundle: &OpenBundle, name: &str, database: &Database) -> Option<Finding> {
    /// More are counted.
    const SHOWN: usize = 8;
    let script = |part: &str| bundle.content(&format!("databases/{}/{part}.sql", database.directory));
    let mut powers = match (script("pre-data"), script("post-data")) {
        (Ok(before), Ok(after)) => postgres::later_powers_of(&before, &after),
        // It is a help for people, and keeps nobody from a restore.
        (Err(error), _) | (_, Err(error)) => {
            return Some(Finding::from_error("later-powers", name, &error).at_most(Severity::Info));
        }
    };
    let more = powers.len().saturating_sub(SHOWN);
    powers.truncate(SHOWN);
    powers.extend((more > 0).then(|| format!("{more} more")));
    let message = || format!("it brings what runs with rights of its own: {}", powers.join(", "));
    (!powers.is_empty()).then(|| Finding::info("later-powers", name, message()))
}

/// Looks at every database that is asked for; returns the roles that will be made, and the databases' names, which end in
/// `moment` while they stand aside.
pub(super) async fn look(
    asked: &Asked,
    source: &Source,
    target: &Target,
    moment: &str,
    findings: &mut Findings,
) -> Option<(Vec<String>, Vec<Planned>)> {
    let databases = source.databases();
    for (wanted, _) in &asked.databases {
        if !databases.iter().any(|database| database.name == *wanted) {
            let names = databases.iter().map(|database| database.name.as_str()).collect::<Vec<_>>().join(", ");
            let error = Error::new(Kind::NotFound, format!("database {wanted}: there is no such database in it"));
            findings.keep::<()>("database", wanted, Err(error.hint(format!("it has {names}"))));
        }
    }
    for (at, (wanted, _)) in asked.databases.iter().enumerate() {
        if asked.databases[..at].iter().any(|(earlier, _)| earlier == wanted) {
            let error = Error::new(Kind::Usage, format!("database {wanted}: it is named twice"));
            findings.keep::<()>("database", wanted, Err(error.hint("restore it once, and again afterwards")));
        }
    }
    let roles = roles::look(source, asked, target, findings).await?;
    let mut planned: Vec<Planned> = Vec::new();
    let mut size = 0u64;
    for (index, database, name) in asked.chosen(databases) {
        if planned.iter().any(|other| other.names.name == name) {
            let error = Error::new(Kind::Usage, format!("database {name}: two databases would have this name"));
            findings.keep::<()>("database", name, Err(error));
        }
        if ["template0", "template1"].contains(&name) {
            let error = Error::new(Kind::Refused, format!("database {name}: every new database would be a copy of it"));
            findings.keep::<()>(
                "database",
                name,
                Err(error.hint("restore it under another name: --database NAME=NEWNAME")),
            );
        }
        size = size.saturating_add(database.size);
        let needs = findings.keep("database", name, target.requirement_findings(database).await);
        findings.all.extend(needs.unwrap_or_default());
        findings.all.extend(database.elsewhere.iter().map(|one| postgres::before_restore(name, one)));
        look_at_tablespaces(source, database, target, findings).await;
        if let Source::Bundle(bundle) = source {
            let found = findings.keep("database", name, setting_findings(bundle, name, database, target).await);
            findings.all.extend(found.unwrap_or_default());
        }
        let Some((occupant, found)) = findings.keep("database", name, target.occupant(name).await) else { continue };
        findings.all.extend(found);
        let [shadow, before] = ["restore", "before"].map(|infix| beside(name, infix, moment));
        let admission = findings.keep("database", name, target.admission_finding(name, &shadow).await);
        findings.all.extend(admission.flatten());
        match (source, occupant) {
            (Source::Script(script, _), Some(_)) => look_at_occupant(script, name, target, findings).await,
            // No script says the name of its database.
            (Source::Script(..), None) if !asked.databases.is_empty() && !asked.renames_all() => {
                look_for_slip(name, target, findings).await
            }
            _ => {}
        }
        let before = occupant.is_some().then_some(before);
        // A script does not say how many it is to take.
        let connection_limit = match source {
            Source::Bundle(_) => database.connection_limit,
            Source::Script(..) => occupant.unwrap_or(database.connection_limit),
        };
        let names = Names { name: name.into(), shadow, connection_limit, before };
        planned.push(Planned { index, names });
    }
    look_at_space(size, target, findings).await;
    Some((roles, planned))
}

/// What of its settings the server does not take, and what its values will mean there.
async fn setting_findings(
    bundle: &OpenBundle,
    name: &str,
    database: &Database,
    target: &Target,
) -> Result<Vec<Finding>> {
    let content = |file: &str| bundle.content(&format!("databases/{}/{file}.sql", database.directory));
    let mut database = database.clone();
    if database.session.is_none() {
        // It was written before bundles had that, and says it by its types alone.
        database.money = memchr::memmem::find(&content("pre-data")?, b" money").is_some();
    }
    target.setting_findings(name, &database, &content("create")?).await
}

/// A database that a script's takes the place of lends it its properties; and should have some of its tables.
async fn look_at_occupant(script: &Contents, name: &str, target: &Target, findings: &mut Findings) {
    if findings.keep("database", name, target.creation_of(name).await).is_none() {
        return;
    }
    let live = findings.keep("database", name, target.tables_of(name).await).unwrap_or_default();
    let tables = &script.tables;
    let tables: HashSet<(&str, &str)> = tables.iter().map(|table| (&*table.schema, &*table.name)).collect();
    let known = |(schema, name): &(String, String)| tables.contains(&(&**schema, &**name));
    if script.counted && !live.is_empty() && !live.iter().any(known) {
        let message = format!("it has {} tables, and the script has none of them", live.len());
        let hint = "look whether it is the right script, and the right database: --database names another one";
        findings.all.push(Finding::warning("script-of-another", name, message).hint(hint));
    }
    let objects = findings.keep("database", name, target.large_objects_of(name).await).unwrap_or_default();
    if objects > 0 && script.large_objects == 0 {
        let message = format!("it has {objects} large objects, and the script has none: they would be gone");
        let hint =
            "dump anew with --large-objects (--blobs before version 16), or without --no-large-objects and --schema";
        findings.all.push(Finding::warning("large-objects-gone", name, message).hint(hint));
    }
}

/// Refuses a name that the server has not, where it has nearly the same.
async fn look_for_slip(name: &str, target: &Target, findings: &mut Findings) {
    let near = findings.keep("database", name, target.slip(name).await).flatten();
    if let Some(near) = near {
        let error = Error::new(Kind::NotFound, format!("database {name}: the server has none of this name"));
        let hint = format!("did you mean {near}? To make a new one, say so: --database {near}={name}");
        findings.keep::<()>("database", name, Err(error.hint(hint)));
    }
}

async fn look_at_tablespaces(source: &Source, database: &Database, target: &Target, findings: &mut Findings) {
    let Some(mut names) = findings.keep("tablespaces", &database.name, source.tablespaces(database)) else { return };
    names.push(database.tablespace.clone());
    names.sort();
    names.dedup();
    let found = target.tablespace_findings(&database.name, &names).await;
    let found = findings.keep("tablespaces", &database.name, found).unwrap_or_default();
    findings.all.extend(found);
}

async fn look_at_space(size: u64, target: &Target, findings: &mut Findings) {
    let needed = size.saturating_mul(ROOM);
    let directory = target.data_directory().await;
    let free = directory.as_ref().ok().and_then(|directory| statvfs(directory).ok());
    let directory = directory.unwrap_or_else(|_| "the server's disk".into());
    match free.map(|stat| stat.f_bavail * stat.f_frsize) {
        Some(free) if free < needed => {
            let message =
                format!("{} are free there, and building beside what is live may take {}", bytes(free), bytes(needed));
            let finding = Finding::error("space", directory, message);
            findings.all.push(finding.hint("make room first: a full disk would stop the live databases too"));
        }
        Some(free) => findings.all.push(Finding::ok("space", directory, format!("{} free", bytes(free)))),
        // Another machine's, or one that this user may not look into.
        None => {
            let message = format!("can't be looked at from here; it needs {} free", bytes(needed));
            findings.all.push(Finding::unknown("space-unknown", directory, message));
        }
    }
}
