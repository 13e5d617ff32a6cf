//! Which databases come back, and whether the server takes them.

use rustix::fs::statvfs;

use super::names::beside;
use super::{Asked, Planned, Source, roles};
use crate::bundle::manifest::postgres::Database;
use crate::component::postgres::{self, Names, Target};
use crate::finding::{Finding, Findings, bytes};
use crate::{Error, Kind};

/// What else is written while a database grows: its log, and room to sort its indexes.
const ROOM: u64 = 2;

/// Looks at every database that is asked for; returns the roles that will be made, and the databases' names, which end in
/// `moment` while they stand aside.
pub(super) async fn look<S: Source>(
    asked: &Asked,
    source: &S,
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
        let settings = findings.keep("database", name, source.settings(database, name, target).await);
        findings.all.extend(settings.unwrap_or_default());
        let Some((occupant, found)) = findings.keep("database", name, target.occupant(name).await) else { continue };
        findings.all.extend(found);
        let [shadow, before] = ["restore", "before"].map(|infix| beside(name, infix, moment));
        let admission = findings.keep("database", name, target.admission_finding(name, &shadow).await);
        findings.all.extend(admission.flatten());
        source.place(name, occupant.is_some(), (asked, target), findings).await;
        let before = occupant.is_some().then_some(before);
        let connection_limit = S::connection_limit(database, occupant);
        let names = Names { name: name.into(), shadow, connection_limit, before };
        planned.push(Planned { index, names });
    }
    look_at_space(size, target, findings).await;
    Some((roles, planned))
}

async fn look_at_tablespaces(source: &impl Source, database: &Database, target: &Target, findings: &mut Findings) {
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
