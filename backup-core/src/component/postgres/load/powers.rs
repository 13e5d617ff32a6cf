//! Roles of a bundle that may do more than databases' owners may: whoever can log in as one can do the same on the whole server.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Target;
use crate::Result;
use crate::component::postgres::globals::Globals;

/// What begins the names of the system's own roles, each of which may do something everywhere.
const PREDEFINED: &str = "pg_";

impl Target {
    /// The roles among `made` that could do more than databases' owners may, and what.
    ///
    /// # Errors
    /// A failed query.
    pub(crate) async fn powers(&self, globals: &Globals, made: &[String]) -> Result<BTreeMap<String, Vec<String>>> {
        let groups: Vec<&str> = globals.memberships.iter().map(|membership| membership.group.as_str()).collect();
        Ok(powers(globals, made, &self.powerful_roles(&groups).await?))
    }
}

/// The same, where `there` are those that the server has already and that may do more.
fn powers(globals: &Globals, made: &[String], there: &[String]) -> BTreeMap<String, Vec<String>> {
    let made: HashSet<&str> = made.iter().map(String::as_str).collect();
    let mut powers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for role in globals.roles.iter().filter(|role| made.contains(&*role.name)) {
        let own: Vec<String> = role.powers().map(Into::into).collect();
        if !own.is_empty() {
            powers.insert(role.name.clone(), own);
        }
    }
    for grant in globals.grants.iter().filter(|grant| grant.on_parameter && made.contains(&*grant.role)) {
        let what = format!("{} ON PARAMETER {}", grant.privilege, grant.name.join("."));
        powers.entry(grant.role.clone()).or_default().push(what);
    }
    // A member may become what it is a member of, and what that is a member of.
    let mut members: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for membership in globals.memberships.iter().filter(|one| made.contains(&*one.member)) {
        members.entry(&membership.group).or_default().insert(&membership.member);
    }
    let stay = there.iter().map(String::as_str).filter(|name| !made.contains(name));
    let predefined = members.keys().copied().filter(|group| group.starts_with(PREDEFINED));
    let mut seen: BTreeSet<&str> = stay.chain(predefined).collect();
    seen.extend(globals.roles.iter().map(|role| &*role.name).filter(|name| powers.contains_key(*name)));
    seen.extend(globals.grants.iter().map(|grant| &*grant.role).filter(|name| powers.contains_key(*name)));
    let mut todo: Vec<&str> = seen.iter().rev().copied().collect();
    while let Some(group) = todo.pop() {
        for member in members.get(group).into_iter().flatten() {
            powers.entry((*member).to_owned()).or_default().push(format!("member of {group}"));
            if seen.insert(*member) {
                todo.push(*member);
            }
        }
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::postgres::globals::read;

    #[test]
    fn who_may_become_somebody_powerful_is_powerful() {
        let role = |name: &str, is: &str| format!("CREATE ROLE \"{name}\" WITH {is} CONNECTION LIMIT -1;\n");
        let member = |group: &str, member: &str| format!("GRANT \"{group}\" TO \"{member}\";\n");
        let script = [
            role("root", "SUPERUSER LOGIN"),
            role("a", "NOSUPERUSER CREATEDB LOGIN"),
            role("b", "LOGIN"),
            role("c", "LOGIN"),
            role("d", "LOGIN"),
            role("there", "BYPASSRLS"),
            member("b", "a"),
            member("root", "b"),
            member("pg_monitor", "c"),
            member("admins", "c"),
            member("a", "root"),
            member("nobody", "d"),
        ];
        let globals = read(script.concat().as_bytes()).expect("facts");
        let made = ["root", "a", "b", "c", "d"].map(String::from);
        let found = powers(&globals, &made, &["admins".into(), "there".into()]);
        let found: Vec<String> = found.iter().map(|(name, what)| format!("{name}: {}", what.join(", "))).collect();
        let expected = [
            "a: member of b",
            "b: member of root",
            "c: member of admins, member of pg_monitor",
            "root: SUPERUSER, member of a",
        ];
        assert_eq!(found, expected);
    }
}
