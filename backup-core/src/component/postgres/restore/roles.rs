//! The roles that a bundle makes: all of them named before, and those that could do more than databases' owners may only where
//! somebody known made the bundle or an operator names them.

use super::{Asked, Source};
use crate::component::postgres::Target;
use crate::finding::{Finding, Findings};
use crate::shell;

const FLAG: &str = "--allow-superuser";

/// The roles that will be made; one that may log in and has no password in the bundle needs one afterwards.
pub(super) async fn look<S: Source>(
    source: &S,
    asked: &Asked,
    target: &Target,
    findings: &mut Findings,
) -> Option<Vec<String>> {
    let globals = findings.keep("roles", "roles", source.globals())?;
    let made = globals.roles.iter().map(|role| role.name.clone());
    let named = source.databases().iter().flat_map(|database| database.roles.clone());
    let mut names: Vec<String> = made.chain(named).collect();
    names.sort();
    names.dedup();
    let existing = findings.keep("roles", "roles", target.existing_roles(&names).await)?;
    names.retain(|name| !existing.contains(name));
    if names.is_empty() {
        return Some(names);
    }
    let is_made = |name: &&String| globals.roles.iter().any(|role| role.name == **name);
    let lacking: Vec<&str> = names.iter().filter(|name| !is_made(name)).map(String::as_str).collect();
    if !lacking.is_empty() {
        let message = format!("the {} needs roles that are not there: {}", S::CALLED, lacking.join(", "));
        findings.all.push(
            Finding::error("roles-missing", "roles", message)
                .hint("make each one first: `createuser NAME`, with --pwprompt if it logs in with a password"),
        );
        return Some(names);
    }
    let missing = names.join(", ");
    findings.all.push(Finding::info("roles", "roles", format!("will be made: {missing}")));
    let found = findings.keep("roles", "roles", target.role_setting_findings(&globals, &names).await);
    findings.all.extend(found.unwrap_or_default());
    let without = globals.roles.iter().filter(|role| role.needs_password() && names.contains(&role.name));
    let without: Vec<&str> = without.map(|role| role.name.as_str()).collect();
    if !without.is_empty() {
        let message = format!("no password is in the bundle for: {}", without.join(", "));
        findings.all.push(
            Finding::warning("role-without-password", "roles", message)
                .hint("set each one's after the restore, with `\\password NAME` in psql, if it logs in with one"),
        );
    }
    let powers = findings.keep("roles", "roles", target.powers(&globals, &names).await)?;
    let flags: String = powers.keys().map(|name| format!(" {FLAG} {}", shell::word(name))).collect();
    for (name, what) in &powers {
        let subject = format!("role {name}");
        let message = format!("will be made and could do more than databases' owners: {}", what.join(", "));
        findings.all.push(if asked.proved {
            Finding::info("role-powerful", subject, message)
        } else if asked.allow_superuser.contains(name) {
            Finding::warning("role-powerful", subject, format!("{message}; allowed by {FLAG}"))
        } else {
            let message = format!("{message}; nothing here knows who made the bundle");
            let hint = format!(
                "see that the bundle is yours, and that each of them had that; `…{flags}` goes on all the same"
            );
            Finding::error("role-powerful", subject, message).hint(hint)
        });
    }
    Some(names)
}
